"""Results of a session that was asked for, and its page."""

from dataclasses import replace

from exporter.metrics import ExpositionFormat, ProbedSession, probe_page
from exporter.profiles import BUILT_IN
from exporter.result import (
    Close,
    Evidence,
    FactoryReason,
    Initiator,
    Phase,
    Probe,
    Reason,
    Result,
    Trigger,
    Verdict,
)

FACTORY = BUILT_IN["factory"]
PASS = dict.fromkeys(Probe, Verdict.PASS)
SECONDS = {
    Phase.RESOLVE: 0.001,
    Phase.TCP: 0.002,
    Phase.TLS: 0.02,
    Phase.UPGRADE: 0.01,
    Phase.ADMISSION: 0.1,
    Phase.REPLY: 0.05,
    Phase.CLOSE: 0.004,
}
HEALTHY = Result(
    target="staging",
    identity="pool-001",
    run="r1",
    depth=Probe.SEND,
    trigger=Trigger.CHECK,
    started_at=1_000.0,
    verdicts=PASS,
    durations={Probe.CONNECT: 0.033, Probe.AUTH: 0.133, Probe.SEND: 0.183},
    phases=SECONDS,
    close=Close(1000, Initiator.LOCAL, Phase.CLOSE),
    evidence=Evidence(clock_skew=-0.5, certificate_expiry=4_102_358_400.0, address="192.0.2.7"),
)
INCIDENT = replace(
    HEALTHY,
    verdicts=PASS | {Probe.SEND: Verdict.FAIL},
    durations={Probe.CONNECT: 0.033, Probe.AUTH: 0.05},
    phases={phase: SECONDS[phase] for phase in (Phase.RESOLVE, Phase.TCP, Phase.TLS, Phase.UPGRADE)},
    phase=Phase.ADMISSION,
    reason=Reason.FACTORY,
    factory_reason=FactoryReason.SLOT_LIMIT,
    slot_limit=5,
    close=Close(1011, Initiator.REMOTE, Phase.ADMISSION),
)
REFUSED = replace(
    HEALTHY,
    verdicts=dict.fromkeys(Probe, Verdict.FAIL),
    durations={},
    phases={Phase.RESOLVE: 0.001},
    phase=Phase.TCP,
    reason=Reason.REFUSED,
    close=None,
    evidence=Evidence(address="2001:db8::7"),
)
DNS = replace(REFUSED, phases={}, phase=Phase.RESOLVE, reason=Reason.DNS, evidence=Evidence())
GATEWAY = replace(
    REFUSED,
    phases={phase: SECONDS[phase] for phase in (Phase.RESOLVE, Phase.TCP, Phase.TLS)},
    phase=Phase.UPGRADE,
    reason=Reason.HTTP_STATUS,
    http_status=502,
)
SILENT = replace(
    INCIDENT,
    verdicts={Probe.CONNECT: Verdict.PASS, Probe.AUTH: Verdict.FAIL, Probe.SEND: Verdict.FAIL},
    reason=Reason.TIMEOUT,
    factory_reason=None,
    slot_limit=None,
    close=Close(1006, Initiator.NONE, Phase.ADMISSION),
)
NOT_PROVED = replace(
    INCIDENT,
    depth=Probe.AUTH,
    verdicts={Probe.CONNECT: Verdict.PASS, Probe.AUTH: Verdict.NONE, Probe.SEND: Verdict.NONE},
    phase=None,
    reason=None,
    factory_reason=FactoryReason.INTERNAL_ERROR,
    slot_limit=None,
)
EVERY = (HEALTHY, INCIDENT, REFUSED, DNS, GATEWAY, SILENT, NOT_PROVED)


def page(result, form=ExpositionFormat.TEXT, *, depth=Probe.SEND, profile=FACTORY):
    return probe_page(ProbedSession(result, depth, profile, took=0.2, timeout=9.5), form)
