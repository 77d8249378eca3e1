"""The tables, and the one function that reads them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import chain
from math import inf
from typing import Any, Final, NamedTuple

from exporter.classify.memory import Memory
from exporter.config import CloseRule, ErrorRule, Profile, Welcome
from exporter.profiles import Ruling, lookup, matches, own_codes, phases_of, sort_close, sort_error
from exporter.result import (
    RANKS,
    Close,
    Evidence,
    FactoryReason,
    Facts,
    Fault,
    Initiator,
    Kind,
    Phase,
    Probe,
    Reason,
    Verdict,
    evidence_text,
)

NORMAL: Final = 1000
INTERNAL_ERROR: Final = 1011
UNAUTHORIZED: Final = 401
TOO_MANY_REQUESTS: Final = 429
UNAVAILABLE: Final = 503
REDIRECTS: Final = range(300, 400)

REASONS: Final[Mapping[Kind, Reason]] = {
    Kind.DNS: Reason.DNS,
    Kind.REFUSED: Reason.REFUSED,
    Kind.UNREACHABLE: Reason.UNREACHABLE,
    Kind.RESET: Reason.RESET,
    Kind.EOF: Reason.RESET,
    Kind.DEADLINE: Reason.TIMEOUT,
    Kind.CERTIFICATE: Reason.TLS_CERTIFICATE,
    Kind.TLS: Reason.TLS_HANDSHAKE,
    Kind.STATUS: Reason.HTTP_STATUS,
    Kind.UPGRADE: Reason.BAD_HANDSHAKE,
    Kind.PROTOCOL: Reason.PROTOCOL_ERROR,
    Kind.TOO_BIG: Reason.TOO_BIG,
    Kind.CLOSED: Reason.CLOSED,
    Kind.REFUSAL: Reason.BAD_REPLY,
    Kind.WRONG_REPLY: Reason.BAD_REPLY,
}
"""What a fault is called, where its phase can have it (`_reason`). `STATUS` is refined by the status, `CLOSED` and
`REFUSAL` by the tables of the profile."""

_NETWORK: Final = frozenset({Reason.TIMEOUT, Reason.RESET})
_WIRE: Final = _NETWORK | {Reason.PROTOCOL_ERROR, Reason.TOO_BIG}
_REFUSALS: Final = frozenset({Reason.AUTH_REJECTED, Reason.AUTH_UNAVAILABLE, Reason.RATE_LIMITED})
_ANSWERS: Final = _WIRE | {Reason.CLOSED, Reason.SERVER_ERROR, Reason.BAD_REPLY}

LEGAL_FAILURES: Final[Mapping[Phase, frozenset[Reason]]] = {
    Phase.RESOLVE: frozenset({Reason.DNS, Reason.TIMEOUT}),
    Phase.TCP: _NETWORK | {Reason.REFUSED, Reason.UNREACHABLE},
    Phase.TLS: _NETWORK | {Reason.TLS_CERTIFICATE, Reason.TLS_HANDSHAKE},
    Phase.UPGRADE: _NETWORK | _REFUSALS | {Reason.HTTP_STATUS, Reason.REDIRECT, Reason.BAD_HANDSHAKE},
    Phase.ADMISSION: _WIRE | _REFUSALS | {Reason.FACTORY},
    Phase.AUTH: _ANSWERS | _REFUSALS,
    Phase.REPLY: _ANSWERS | {Reason.RATE_LIMITED},
}
"""Which reasons each phase can have; a probe can fail in the phases up to its own (`failing_phases`)."""

OTHERWISE: Final[Mapping[Phase, Reason]] = {
    Phase.RESOLVE: Reason.DNS,
    Phase.TCP: Reason.UNREACHABLE,
    Phase.TLS: Reason.TLS_HANDSHAKE,
    Phase.UPGRADE: Reason.BAD_HANDSHAKE,
    Phase.ADMISSION: Reason.PROTOCOL_ERROR,
    Phase.AUTH: Reason.PROTOCOL_ERROR,
    Phase.REPLY: Reason.PROTOCOL_ERROR,
}
"""What a phase calls a fault whose usual name it cannot have."""

_BROKEN: Final = frozenset({Kind.REFUSED, Kind.UNREACHABLE, Kind.CERTIFICATE, Kind.TLS})
"""Kinds that, met where they have no name of their own, are a broken connection: Linux answers a late read with
EHOSTUNREACH when a router said so (RFC 1122 section 4.2.3.9)."""

REMOTE_CODES: Final = (
    "1000",
    "1001",
    "1002",
    "1003",
    "1005",
    "1007",
    "1008",
    "1009",
    "1010",
    "1011",
    "1012",
    "1013",
    "1014",
    "3xxx",
    "4xxx",
)
"""Codes a server can put on the wire (RFC 6455 section 7.4 and the registry), and 1005 for an empty close frame."""

_OPEN_PHASES: Final = (Phase.ADMISSION, Phase.AUTH, Phase.REPLY)
_VIOLATIONS: Final = ("1002", "1007", "1009")

OWN_PHASE: Final[Mapping[Probe, tuple[Phase, ...]]] = {
    Probe.CONNECT: (Phase.RESOLVE, Phase.TCP, Phase.TLS, Phase.UPGRADE),
    Probe.AUTH: (Phase.ADMISSION, Phase.AUTH),
    Probe.SEND: (Phase.REPLY,),
}


_REACH: Final[Mapping[Probe, frozenset[Phase]]] = {
    probe: frozenset(phase for asked in Probe if asked.rank <= probe.rank for phase in OWN_PHASE[asked])
    for probe in Probe
}


def failing_phases(probe: Probe, profile: Profile, *, tls: bool) -> tuple[Phase, ...]:
    """The phases in which a probe of this profile can fail: its own and all before."""
    return tuple(phase for phase in phases_of(profile, tls=tls) if phase in _REACH[probe])


def close_label(code: int, profile: Profile) -> str:
    """The label value of a close code: registered codes and the profile's own as they are, else `3xxx` or `4xxx`."""
    if code in own_codes(profile) or str(code) in (*REMOTE_CODES, "1006"):
        return str(code)
    return f"{code // 1000}xxx" if 3000 <= code < 5000 else "1002"  # noqa: PLR2004 - else never on the wire


def legal_closes(profile: Profile, *, tls: bool) -> Iterator[tuple[Phase, str, Initiator]]:
    """Every (phase, code label, initiator) that `ws_probe_closes_total` can have for this profile."""
    phases = [phase for phase in phases_of(profile, tls=tls) if phase in _OPEN_PHASES]
    for phase in [*phases, Phase.CLOSE]:
        for code in (*REMOTE_CODES, *sorted(map(str, own_codes(profile)))):
            yield phase, code, Initiator.REMOTE
        yield phase, "1006", Initiator.NONE
    for phase in phases:
        for code in _VIOLATIONS:
            yield phase, code, Initiator.LOCAL
    yield Phase.CLOSE, "1000", Initiator.LOCAL


DISTORTED: Final = 0.05
"""Seconds of lateness from which a session's durations are not believed: the narrowest bucket of a probe's duration is
half as wide, and an idle machine is late by a hundredth of it."""

ASLEEP: Final = 0.1
BLIND: Final = 0.05
"""Seconds, and the share of its timeout, from the greater of which on a session that was late may have missed its
deadline by our doing. It takes the sum of several such delays to miss one; and a real outage must not be void because a
wait of ten seconds saw one hiccup, or because the server held us with a flood of small frames."""


@dataclass(frozen=True, slots=True)
class Case:
    """What a session was sent to find out.

    `started_at`: unix seconds of the start of `resolve`. `timeout`: seconds it had. `late`: seconds by which the event
    loop was late meanwhile. `credential`: the upgrade request held one.
    """

    profile: Profile
    depth: Probe
    started_at: float
    memory: Memory = field(repr=False)
    subject: str | None = field(default=None, repr=False)
    environment: str | None = None
    timeout: float = inf
    late: float = 0.0
    credential: bool = False


class Judgement(NamedTuple):
    """What the facts mean. `reason` and `phase` are those of every probe that failed.

    `distorted`: durations are not to be believed. `void`: nothing is, since a deadline struck that we slept through.
    """

    verdicts: Mapping[Probe, Verdict]
    phase: Phase | None = None
    reason: Reason | None = None
    factory_reason: FactoryReason | None = None
    slot_limit: int | None = None
    retry_after: float | None = None
    evidence: Evidence = Evidence()
    distorted: bool = False
    void: bool = False


@dataclass(frozen=True, slots=True)
class _Cause:
    """Why a session did not get all it came for; `auth` is that probe's verdict, open only in admission."""

    phase: Phase
    reason: Reason
    auth: Verdict = Verdict.FAIL
    factory: FactoryReason | None = None
    limit: int | None = None
    retry_after: float | None = None


def judge(facts: Facts, case: Case) -> Judgement:
    """The verdict of each probe up to the case's depth, and one (phase, reason) for those that failed.

    A deadline that we slept through proves nothing. Else the order of design 3: what stopped the session before the
    welcome; what is wrong with the welcome; what became of the reply. The case's memory is told of the welcome, so a
    session is judged once.
    """
    late = max(facts.late, case.late)
    if _is_void(facts, late, case.timeout):
        return Judgement(dict.fromkeys(Probe, Verdict.NONE), distorted=True, void=True)
    evidence, finding = _examine(facts, case)
    cause = _first(finding, _stopped(facts, case))
    phases = phases_of(case.profile, tls=True)
    verdicts = {
        probe: _verdict(probe, cause, facts, phases, by_upgrade=case.profile.auth_by is not None)
        if rank <= case.depth.rank
        else Verdict.NONE
        for probe, rank in RANKS.items()
    }
    if cause is None:
        return Judgement(verdicts, evidence=evidence, distorted=late > DISTORTED)
    failed = Verdict.FAIL in verdicts.values()
    return Judgement(
        verdicts=verdicts,
        phase=cause.phase if failed else None,
        reason=cause.reason if failed else None,
        factory_reason=cause.factory,
        slot_limit=cause.limit,
        retry_after=cause.retry_after if cause.reason is Reason.RATE_LIMITED else None,
        evidence=evidence,
        distorted=late > DISTORTED,
    )


def _is_void(facts: Facts, late: float, timeout: float) -> bool:
    """True if the deadline struck, and we may have slept through what would have kept it."""
    struck = facts.fault is not None and facts.fault.kind is Kind.DEADLINE
    return struck and late > max(ASLEEP, BLIND * timeout)


def _first(finding: _Cause | None, stopped: _Cause | None) -> _Cause | None:
    """The welcome came before what followed; but a refused auth message is no pass for the sake of a bad welcome."""
    if finding and finding.auth is Verdict.PASS and stopped and stopped.phase is Phase.AUTH:
        return replace(stopped, factory=finding.factory)
    return finding or stopped


def _verdict(probe: Probe, cause: _Cause | None, facts: Facts, phases: Sequence[Phase], *, by_upgrade: bool) -> Verdict:
    """Failed by a cause in the probe's reach, passed by the end of its own last phase, else nothing was proved."""
    own = [phase for phase in OWN_PHASE[probe] if phase in phases]
    if probe is Probe.AUTH and by_upgrade and not own:
        own = [Phase.UPGRADE]  # to be let in with a token is the answer
    if not own:
        return Verdict.NONE
    if cause is None or cause.phase not in _REACH[probe]:
        return Verdict.PASS if own[-1] in facts.phases else Verdict.NONE
    return cause.auth if probe is Probe.AUTH else Verdict.FAIL


def _stopped(facts: Facts, case: Case) -> _Cause | None:
    """What ended the session before it had all it came for; how it closes afterwards is no cause."""
    fault, profile = facts.fault, case.profile
    if fault is None:
        return None
    phase = fault.phase or facts.ended
    if phase not in LEGAL_FAILURES:
        return None
    if phase in OWN_PHASE[Probe.CONNECT]:
        reason = _by_status(fault, case) if fault.kind is Kind.STATUS else _reason(fault, phase)
        return _Cause(phase, reason, retry_after=fault.retry_after)
    if facts.refusal is not None:
        fault = Fault(Kind.REFUSAL)  # the frame is asked first, whatever came after it
    ruling = _ruling(facts, profile)
    if phase is not Phase.ADMISSION:
        return _later(facts, fault, phase, ruling)
    return _unsorted(facts, fault, profile) if ruling is None else _refused(ruling)


def _reason(fault: Fault, phase: Phase) -> Reason:
    """What a fault is called in the phase that must answer for it: only what that phase can have."""
    usual = REASONS[fault.kind]
    if usual in LEGAL_FAILURES[phase]:
        return usual
    broken = fault.kind in _BROKEN and Reason.RESET in LEGAL_FAILURES[phase]
    return Reason.RESET if broken else OTHERWISE[phase]


def _by_status(fault: Fault, case: Case) -> Reason:
    """What an HTTP answer to the upgrade means: by the profile's `statuses`, else by RFC 9110 section 15.

    A 401 judges the credential only if one was sent; a 503 that says when to come again is a limit.
    """
    status = fault.status
    named = next((rule.reason for rule in case.profile.statuses if rule.status == status), None)
    if named is not None:
        return named
    if status == TOO_MANY_REQUESTS or (status == UNAVAILABLE and fault.retry_after is not None):
        return Reason.RATE_LIMITED
    if status == UNAUTHORIZED and case.credential:
        return Reason.AUTH_REJECTED
    return Reason.REDIRECT if status in REDIRECTS else Reason.HTTP_STATUS


def _ruling(facts: Facts, profile: Profile) -> Ruling | None:
    """What the profile's tables say of the error frame, else of the server's close frame."""
    by_frame = sort_error(profile, facts.refusal) if facts.refusal is not None else None
    close = _server_close(facts)
    return by_frame if by_frame or close is None else sort_close(profile, close.code, close.text)


def _server_close(facts: Facts) -> Close | None:
    """The server's close, unless it only answers ours: that one caused nothing."""
    close = facts.close
    return close if close and close.initiator is Initiator.REMOTE and close.phase is not Phase.CLOSE else None


def _refused(ruling: Ruling) -> _Cause:
    """Design 3: refusals met during admission, by the profile's tables; a rule's word counts if admission has it."""
    rule: ErrorRule | CloseRule = ruling.rule
    reason = rule.reason if rule.reason in LEGAL_FAILURES[Phase.ADMISSION] else Reason.FACTORY
    by_factory = reason is Reason.FACTORY
    unproved = Verdict.NONE if by_factory else Verdict.FAIL
    return _Cause(
        Phase.ADMISSION,
        reason,
        auth=Verdict.PASS if rule.proves_auth else unproved,
        factory=rule.factory or FactoryReason.OTHER if by_factory else None,
        limit=ruling.limit,
        retry_after=ruling.retry_after,
    )


def _unsorted(facts: Facts, fault: Fault, profile: Profile) -> _Cause:
    """No row matches: a close is the factory's doing, a notice that no welcome followed says what; else the fault."""
    if fault.kind in (Kind.CLOSED, Kind.REFUSAL):
        factory = FactoryReason.INTERNAL_ERROR if _is_internal_error(facts) else FactoryReason.OTHER
        return _Cause(Phase.ADMISSION, Reason.FACTORY, Verdict.NONE, factory)
    said = _by_notice(facts, profile) if fault.kind is Kind.DEADLINE else None
    if said is not None:
        return _Cause(Phase.ADMISSION, Reason.FACTORY, Verdict.NONE, said)
    return _Cause(Phase.ADMISSION, _reason(fault, Phase.ADMISSION))


def _is_internal_error(facts: Facts) -> bool:
    close = _server_close(facts)
    return close is not None and close.code == INTERNAL_ERROR


def _by_notice(facts: Facts, profile: Profile, *, despite_welcome: bool = False) -> FactoryReason | None:
    if not facts.notices:
        return None
    rules = {rule.kind: rule for rule in profile.noise if rule.factory and (rule.fails_welcome or not despite_welcome)}
    return next((rules[kind].factory for kind in facts.notices if kind in rules), None)


def _later(facts: Facts, fault: Fault, phase: Phase, ruling: Ruling | None) -> _Cause:
    """After the welcome: a close or an error frame; a rule's word counts where the phase can have it."""
    reason = _reason(fault, phase)
    if fault.kind is Kind.CLOSED and _is_internal_error(facts):
        reason = Reason.SERVER_ERROR
    if ruling is None:
        return _Cause(phase, reason)
    if ruling.rule.reason in LEGAL_FAILURES[phase]:
        reason = ruling.rule.reason or reason
    return _Cause(phase, reason, Verdict.FAIL, ruling.rule.factory, ruling.limit, ruling.retry_after)


# The welcome (design 3, protocol page section 2) -----------------------------------------------------------------


def _examine(facts: Facts, case: Case) -> tuple[Evidence, _Cause | None]:
    """What the welcome tells and the first thing that is wrong with it."""
    rules, welcome = case.profile.welcome, facts.welcome
    if rules is None or welcome is None:
        return _of_wire(facts), None
    arrived = case.started_at + facts.marks.get(Phase.ADMISSION, 0.0)
    server_time = unix_time(_field(welcome, rules.server_time))
    evidence = replace(
        _of_wire(facts),
        connection_id=evidence_text(_field(welcome, rules.connection_id)),
        server_time=server_time,
        clock_skew=None if server_time is None else server_time - arrived,
        heartbeat_interval=_number(_field(welcome, rules.heartbeat_interval)),
        max_message_size=_number(_field(welcome, rules.max_message_size)),
    )
    remembered = tuple(_repetitions(rules, welcome, case.memory, server_time, arrived))  # told, whatever else is wrong
    wrong = next(chain(_misfits(rules, welcome, case, server_time), remembered, _own_word(rules, facts, case)), None)
    if wrong is None:
        return evidence, None
    auth = Verdict.FAIL if wrong is FactoryReason.USER_MISMATCH else Verdict.PASS
    return evidence, _Cause(Phase.ADMISSION, Reason.FACTORY, auth, wrong)


def _of_wire(facts: Facts) -> Evidence:
    """What every session tells, whatever the profile."""
    return Evidence(
        certificate_expiry=facts.certificate_expiry,
        address=facts.address,
        address_number=facts.address_number,
        addresses=facts.addresses,
        failed_addresses=facts.failed_addresses,
    )


def _misfits(
    rules: Welcome, welcome: Mapping[str, Any], case: Case, server_time: float | None
) -> Iterator[FactoryReason]:
    """Another user's context, gravest of all; no sound one; another environment's."""
    subject = _field(welcome, rules.subject)
    if case.subject is not None and isinstance(subject, str) and subject not in ("", case.subject):
        yield FactoryReason.USER_MISMATCH
    if not _well_formed(rules, welcome, case, server_time):
        yield FactoryReason.INVALID_WELCOME
    if rules.environment and case.environment is not None and _field(welcome, rules.environment) != case.environment:
        yield FactoryReason.ENVIRONMENT_MISMATCH


def _repetitions(
    rules: Welcome, welcome: Mapping[str, Any], memory: Memory, server_time: float | None, arrived: float
) -> Iterator[FactoryReason]:
    """What a live server would not say twice; the memory is told of this welcome."""
    connection_id = _field(welcome, rules.connection_id)
    if isinstance(connection_id, str) and memory.repeats(connection_id):
        yield FactoryReason.DUPLICATE_CONNECTION_ID
    if server_time is not None and memory.frozen(server_time, arrived):
        yield FactoryReason.FROZEN_TIME


def _own_word(rules: Welcome, facts: Facts, case: Case) -> Iterator[FactoryReason]:
    """What the server itself says is wrong: by a notice before the welcome, then in the welcome."""
    notice = _by_notice(facts, case.profile, despite_welcome=True)
    if notice is not None:
        yield notice
    yield from (
        check.factory for check in rules.checks if not matches(check.equals, lookup(facts.welcome, check.field))
    )


def _well_formed(rules: Welcome, welcome: Mapping[str, Any], case: Case, server_time: float | None) -> bool:
    """True if what must be there is, our subject above all, and each field is of its kind."""
    ours = [rules.subject] if rules.subject and case.subject is not None else []
    there = all(lookup(welcome, path) is not None for path in (*rules.required, *ours))
    told = [_field(welcome, path) for path in (rules.subject, rules.connection_id, rules.environment)]
    texts = all(text is None or (isinstance(text, str) and text) for text in told)
    times = _field(welcome, rules.server_time) is None or server_time is not None
    return there and texts and times


def _field(welcome: Mapping[str, Any], path: str | None) -> Any:
    return lookup(welcome, path) if path else None


def _number(value: Any) -> float | None:
    """A finite non-negative figure, or None: JSON of a stranger may hold anything, `1e999` too."""
    good = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e15  # noqa: PLR2004
    return float(value) if good else None


def unix_time(value: Any) -> float | None:
    """Unix seconds of an ISO 8601 text (UTC if it names no zone) or a number; None if it is neither."""
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value[:64])
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            return None
    return _number(value)


def told(facts: Facts, depth: Probe, profile: Profile) -> Close | None:
    """The close as a `Result` carries it: without the peer's text, and without the refusal we asked for.

    A connect-deep session without a token is refused for want of one (design 4): its close is ours, whoever was faster.
    """
    close = facts.close
    if close is None:
        return None
    if depth is Probe.CONNECT and profile.connect_without_token and close.initiator is Initiator.REMOTE:
        ruling = sort_close(profile, close.code, close.text)
        if ruling is not None and ruling.rule.reason is Reason.AUTH_REJECTED:
            return Close(NORMAL, Initiator.LOCAL, Phase.CLOSE)
    return replace(close, text="") if close.text else close
