"""Checks as `check` would hand them in, made by hand: the slot-limit incident and its neighbours.

`cd tests && python -m support.report_cases` writes the golden files tests/data/report-*.
"""

from dataclasses import replace

from exporter.config import Profile, Target
from exporter.plan import Job
from exporter.profiles import BUILT_IN
from exporter.report import (
    FORMATS,
    SERIES_FORMATS,
    CheckReport,
    CheckSeries,
    RenderContext,
    TargetContext,
    compare,
    name_shape,
    read_document,
)
from exporter.result import (
    Close,
    ConnectionEnd,
    Direction,
    Evidence,
    FactoryReason,
    Frame,
    Heartbeats,
    HeldConnection,
    HoldEnd,
    Impairment,
    Initiator,
    LineLevel,
    Opcode,
    Phase,
    Probe,
    Reason,
    Result,
    RoundTrip,
    Trigger,
    Verdict,
)
from support.paths import DATA

STARTED = 1757372500.0
NOW = STARTED + 2
VIEW = RenderContext(NOW)
PHASES = {
    Phase.RESOLVE: 0.004,
    Phase.TCP: 0.011,
    Phase.TLS: 0.032,
    Phase.UPGRADE: 0.05,
    Phase.ADMISSION: 0.113,
    Phase.REPLY: 0.021,
    Phase.CLOSE: 0.012,
}
WITNESS = Evidence(
    connection_id="ws_staging-_1757372500_9f3a2b1c",
    server_time=STARTED + 0.41,
    clock_skew=0.2,
    heartbeat_interval=25,
    max_message_size=8192,
    certificate_expiry=STARTED + 41.5 * 86_400,
    address="203.0.113.7",
    address_number=1,
    addresses=1,
)
EXCHANGE = (
    Frame(0.21, Direction.IN, Opcode.TEXT, 412, "welcome"),
    Frame(0.21, Direction.IN, Opcode.TEXT, 41, "ping"),
    Frame(0.2101, Direction.OUT, Opcode.TEXT, 15, "answer"),
    Frame(0.2102, Direction.OUT, Opcode.TEXT, 45, "send"),
    Frame(0.231, Direction.IN, Opcode.TEXT, 187, "reply"),
    Frame(0.2311, Direction.OUT, Opcode.CLOSE, 2, code="1000"),
    Frame(0.243, Direction.IN, Opcode.CLOSE, 2, code="1000"),
)
REFUSAL = (
    Frame(0.21, Direction.IN, Opcode.TEXT, 544, "error", "FACTORY_INIT_FAILED"),
    Frame(0.211, Direction.IN, Opcode.CLOSE, 33, code="1011"),
    Frame(0.2111, Direction.OUT, Opcode.CLOSE, 33, code="1011"),
)
PASSED = Result(
    target="staging",
    identity="pool-001",
    run="6b2f0c41d9e87a35",
    depth=Probe.SEND,
    trigger=Trigger.CHECK,
    started_at=STARTED,
    verdicts=dict.fromkeys(Probe, Verdict.PASS),
    durations={Probe.CONNECT: 0.097, Probe.AUTH: 0.21, Probe.SEND: 0.231},
    phases=PHASES,
    close=Close(1000, Initiator.LOCAL, Phase.CLOSE),
    passed_over={"ping": 1},
    evidence=WITNESS,
    transcript=EXCHANGE,
)
"""A healthy session of the factory profile."""


def until(phase):
    """Seconds of the phases before this one."""
    return {done: took for done, took in PHASES.items() if list(Phase).index(done) < list(Phase).index(phase)}


def failed(phase, reason, verdicts, **known):
    """A session that failed in a phase: `verdicts` as `pass/-/fail`."""
    found = dict(zip(Probe, map(Verdict, verdicts.split("/")), strict=True))
    won = {probe: took for probe, took in PASSED.durations.items() if found[probe] is Verdict.PASS}
    rest = {"close": None, "passed_over": {}, "transcript": (), "phases": until(phase), "durations": won, **known}
    if phase is Phase.ADMISSION:
        rest["durations"] = {Probe.CONNECT: 0.097}
    rest.setdefault(
        "evidence",
        replace(
            WITNESS,
            connection_id=None,
            server_time=None,
            clock_skew=None,
            heartbeat_interval=None,
            max_message_size=None,
        ),
    )
    return replace(PASSED, verdicts=found, phase=phase, reason=reason, **rest)


def remote(code, phase=Phase.ADMISSION):
    """The server's close."""
    return Close(code, Initiator.REMOTE, phase)


SLOT_LIMIT = failed(
    Phase.ADMISSION,
    Reason.FACTORY,
    "pass/pass/fail",
    factory_reason=FactoryReason.SLOT_LIMIT,
    close=remote(1011),
    slot_limit=5,
    transcript=REFUSAL,
    frames_left_out=1,
)
NO_WELCOME = failed(
    Phase.ADMISSION, Reason.TIMEOUT, "pass/fail/fail", close=Close(1000, Initiator.LOCAL, Phase.ADMISSION)
)
INTERNAL_ERROR = failed(
    Phase.ADMISSION,
    Reason.FACTORY,
    "pass/-/fail",
    factory_reason=FactoryReason.INTERNAL_ERROR,
    close=remote(1011),
)
TOKEN_REJECTED = failed(Phase.ADMISSION, Reason.AUTH_REJECTED, "pass/fail/fail", close=remote(1008))
ZOMBIE = failed(
    Phase.REPLY,
    Reason.TIMEOUT,
    "pass/pass/fail",
    evidence=WITNESS,
    close=Close(1000, Initiator.LOCAL, Phase.REPLY),
)
DEGRADED = replace(
    PASSED,
    verdicts={**PASSED.verdicts, Probe.SEND: Verdict.FAIL},
    phase=Phase.ADMISSION,
    reason=Reason.FACTORY,
    factory_reason=FactoryReason.DEGRADED,
    passed_over={"ping": 1, "degraded": 1},
)
IMPAIRED = replace(
    PASSED,
    verdicts=dict.fromkeys(Probe, Verdict.NONE),
    durations={},
    phases={},
    phase=Phase.PREPARE,
    impairment=Impairment.TOKEN,
    close=None,
    passed_over={},
    evidence=Evidence(),
    transcript=(),
)
REFUSED_UPGRADE = failed(Phase.UPGRADE, Reason.HTTP_STATUS, "fail/fail/fail", http_status=503)


URL = "wss://api.staging.example.com/ws"
SIGNED = {"jwt": {"key_env": "KEY"}}


def context(profile="factory", **settings):
    """The context of a target with this profile: the name of a built-in one, or a mapping."""
    known = {"name": "staging", "url": URL, "identities": {"pool-001": "u1"}, **settings}
    named = {} if profile is None else {"profile": profile if isinstance(profile, str) else "own"}
    made = BUILT_IN[profile or "factory"] if not isinstance(profile, dict) else Profile.model_validate(profile)
    return TargetContext.of(Job.of(Target.model_validate(known | named), made, 60))


STAGING = context(auth=SIGNED)
"""The target of the golden files."""


def checked(*results, **known):
    """A check of `staging` with a timeout of 10 s."""
    known = {"url": URL, "timeout": 10.0, "context": STAGING, **known}
    return CheckReport("staging", results=results, started_at=STARTED, version="0.1.0", **known)


HELD = HeldConnection(
    STARTED - 2_130,
    round_trips={
        LineLevel.PROTOCOL: RoundTrip(0.0012, 0.0083, STARTED - 4),
        LineLevel.APPLICATION: RoundTrip(0.031, 0.044, STARTED - 47),
    },
    heartbeats={
        LineLevel.PROTOCOL: Heartbeats(20.0, False, STARTED - 11),
        LineLevel.APPLICATION: Heartbeats(25.0, True, STARTED - 3),
    },
    last_end=ConnectionEnd(HoldEnd.OVER, STARTED - 2_140, 3_600, True, 1000, Initiator.LOCAL),
    idle_cut=60.0,
    age_cut=0.0,
)
"""A held connection that nothing is wrong with."""
RESTARTED = replace(
    HELD, last_end=ConnectionEnd(HoldEnd.RESTART, STARTED - 2_140, 2_120, False, 1001, Initiator.REMOTE)
)
ENDED = replace(RESTARTED, opened_at=None)
DEAF = replace(HELD, deaf_since=STARTED - 720)

CASES = {
    "slot-limit": checked(SLOT_LIMIT),
    "healthy": checked(PASSED),
    "deaf": checked(PASSED, held=DEAF),
    "no-welcome": checked(NO_WELCOME),
    "refused-upgrade": checked(REFUSED_UPGRADE),
    "impaired": checked(IMPAIRED),
    "budget-refusal": checked(refusal="the identity rests after a slot limit"),
}
SHAPES = {
    "pool-001": name_shape("staging-e2e-user-001"),
    "pool-002": name_shape("staging-e2e-user-002"),
    "uuid-001": name_shape("6f1d0f3e-8a57-4b8e-9d0e-2f6a1f0c9a11"),
}


def runs(*results, identities=tuple(SHAPES), every=20.0):
    """These results one after the other, round robin over the identities, each with its own id and server time."""
    return tuple(
        replace(
            result,
            identity=identities[number % len(identities)],
            run=f"{number:016x}",
            started_at=STARTED + every * number,
            evidence=replace(
                result.evidence,
                connection_id=result.evidence.connection_id and f"ws_staging-_{number:04}",
                server_time=result.evidence.server_time and STARTED + every * number + 0.4,
            ),
        )
        for number, result in enumerate(results)
    )


def series(*results, **known):
    """A series of 20 s steps that ran all it planned."""
    known = {"planned": len(results), "shapes": SHAPES, **known}
    return CheckSeries(checked(*results), every=20.0, finished_at=STARTED + 20.0 * len(results), **known)


ONE_SHAPE = series(*runs(*(PASSED if number % 3 == 2 else INTERNAL_ERROR for number in range(9))))
"""Case 22 of docs/backend-protocol.md#incidents: the pool's users refused, the UUID let in."""

MENDED = series(*runs(*[INTERNAL_ERROR] * 2, *[PASSED] * 4), planned=30, until_healthy=600.0)
SERIES = {"one-shape": (ONE_SHAPE, None), "mended": (MENDED, ONE_SHAPE)}
"""By name: a series, and the one before it."""

ENDINGS = {
    "text": "txt",
    "json": "json",
    "nagios": "nagios.txt",
    "markdown": "md",
    "junit": "xml",
    "github": "github.txt",
}


def golden(case, output):
    """The file that holds what a case must look like."""
    return DATA / f"report-{case}.{ENDINGS[output]}"


def renderings():
    """Every golden file and what it must hold."""
    for case, check in CASES.items():
        yield from ((golden(case, output), render(check, VIEW)) for output, render in FORMATS.items())
    for case, (now, before) in SERIES.items():
        beside = before and compare(read_document(SERIES_FORMATS["json"](before, VIEW, None)), now)
        for output, render in SERIES_FORMATS.items():
            yield golden(f"series-{case}", output), render(now, VIEW, beside)


def main():
    for file, rendered in renderings():
        file.write_text(rendered, "utf-8")


if __name__ == "__main__":
    main()
