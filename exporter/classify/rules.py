"""The tables, and the one function that reads them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Final, NamedTuple

from websockets.frames import CloseCode

from exporter.classify.context import ClassifyContext
from exporter.classify.welcome import by_notice, examine
from exporter.config import CloseRule, ErrorRule, Profile
from exporter.profiles import RuleMatch, has_factory, own_codes, phases_of, probes_of, sort_close, sort_error
from exporter.result import (
    RANKS,
    Close,
    ErrorKind,
    Evidence,
    FactoryReason,
    Initiator,
    Phase,
    Probe,
    ProbeError,
    Reason,
    SessionObservation,
    Verdict,
)

RESTART_OR_OVERLOAD_CODES: Final = frozenset({1001, 1012, 1013})
"""A server that stops, or that says to come again (RFC 6455 section 7.4.1 and the registry it founded)."""
REDIRECTS: Final = range(300, 400)

REASON_OF_ERROR: Final[Mapping[ErrorKind, Reason]] = {
    ErrorKind.DNS: Reason.DNS,
    ErrorKind.REFUSED: Reason.REFUSED,
    ErrorKind.UNREACHABLE: Reason.UNREACHABLE,
    ErrorKind.RESET: Reason.RESET,
    ErrorKind.EOF: Reason.RESET,
    ErrorKind.DEADLINE: Reason.TIMEOUT,
    ErrorKind.CERTIFICATE: Reason.TLS_CERTIFICATE,
    ErrorKind.TLS: Reason.TLS_HANDSHAKE,
    ErrorKind.STATUS: Reason.HTTP_STATUS,
    ErrorKind.UPGRADE: Reason.BAD_HANDSHAKE,
    ErrorKind.PROTOCOL: Reason.PROTOCOL_ERROR,
    ErrorKind.TOO_BIG: Reason.TOO_BIG,
    ErrorKind.CLOSED: Reason.CLOSED,
    ErrorKind.REFUSAL: Reason.BAD_REPLY,
    ErrorKind.WRONG_REPLY: Reason.BAD_REPLY,
}
"""What a fault is called, where its phase can have it (`_reason`). `STATUS` is refined by the status, `CLOSED` and
`REFUSAL` by the tables of the profile."""

_NETWORK: Final = frozenset({Reason.TIMEOUT, Reason.RESET})
_WIRE: Final = _NETWORK | {Reason.PROTOCOL_ERROR, Reason.TOO_BIG}
_REFUSALS: Final = frozenset({Reason.AUTH_REJECTED, Reason.AUTH_UNAVAILABLE, Reason.RATE_LIMITED})
_LOGIN: Final = frozenset({Reason.AUTH_REJECTED, Reason.AUTH_UNAVAILABLE})
_ANSWERS: Final = _WIRE | {Reason.CLOSED, Reason.SERVER_ERROR, Reason.BAD_REPLY}

LEGAL_FAILURES: Final[Mapping[Phase, frozenset[Reason]]] = {
    Phase.RESOLVE: frozenset({Reason.DNS, Reason.TIMEOUT}),
    Phase.TCP: _NETWORK | {Reason.REFUSED, Reason.UNREACHABLE},
    Phase.TLS: _NETWORK | {Reason.TLS_CERTIFICATE, Reason.TLS_HANDSHAKE},
    Phase.UPGRADE: _NETWORK | _REFUSALS | {Reason.HTTP_STATUS, Reason.REDIRECT, Reason.BAD_HANDSHAKE},
    Phase.ADMISSION: _ANSWERS | _REFUSALS | {Reason.FACTORY},
    Phase.AUTH: _ANSWERS | _REFUSALS,
    Phase.REPLY: _ANSWERS | _REFUSALS,
}
"""Which reasons each phase can have; a probe can fail in the phases up to its own (`failing_phases`)."""

FALLBACK_REASONS: Final[Mapping[Phase, Reason]] = {
    Phase.RESOLVE: Reason.DNS,
    Phase.TCP: Reason.UNREACHABLE,
    Phase.TLS: Reason.TLS_HANDSHAKE,
    Phase.UPGRADE: Reason.BAD_HANDSHAKE,
    Phase.ADMISSION: Reason.PROTOCOL_ERROR,
    Phase.AUTH: Reason.PROTOCOL_ERROR,
    Phase.REPLY: Reason.PROTOCOL_ERROR,
}
"""What a phase calls a fault whose usual name it cannot have."""

_BROKEN: Final = frozenset({ErrorKind.REFUSED, ErrorKind.UNREACHABLE, ErrorKind.CERTIFICATE, ErrorKind.TLS})
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

PHASES_OF_PROBE: Final[Mapping[Probe, tuple[Phase, ...]]] = {
    Probe.CONNECT: (Phase.RESOLVE, Phase.TCP, Phase.TLS, Phase.UPGRADE),
    Probe.AUTH: (Phase.ADMISSION, Phase.AUTH),
    Probe.SEND: (Phase.REPLY,),
}


_REACH: Final[Mapping[Probe, frozenset[Phase]]] = {
    probe: frozenset(phase for asked in Probe if asked.rank <= probe.rank for phase in PHASES_OF_PROBE[asked])
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


DISTORTION_SECONDS: Final = 0.05
"""Seconds of lateness from which a session's durations are not believed: the narrowest bucket of a probe's duration is
half as wide, and an idle machine is late by a hundredth of it."""

MIN_STALL_SECONDS: Final = 0.1
STALL_FRACTION: Final = 0.05
"""Seconds, and the share of its timeout, from the greater of which on a session that was late may have missed its
deadline by our doing. It takes the sum of several such delays to miss one; and a real outage must not be void because a
wait of ten seconds saw one hiccup, or because the server held us with a flood of small frames."""


class Classification(NamedTuple):
    """What the facts mean. `reason` and `phase` are those of every probe that failed.

    `distorted`: durations are not to be believed. `void`: nothing is, since a deadline struck that we slept through.
    """

    verdicts: Mapping[Probe, Verdict]
    phase: Phase | None = None
    reason: Reason | None = None
    factory_reason: FactoryReason | None = None
    slot_limit: int | None = None
    retry_after: float | None = None
    no_token: bool = False
    evidence: Evidence = Evidence()
    distorted: bool = False
    void: bool = False


@dataclass(frozen=True, slots=True)
class _FailureCause:
    """Why a session did not get all it came for; `auth` is that probe's verdict, open only in admission."""

    phase: Phase
    reason: Reason
    auth: Verdict = Verdict.FAIL
    factory: FactoryReason | None = None
    limit: int | None = None
    retry_after: float | None = None
    no_token: bool = False


def classify(facts: SessionObservation, case: ClassifyContext) -> Classification:
    """The verdict of each probe up to the case's depth, and one (phase, reason) for those that failed.

    A deadline that we slept through proves nothing. Else, in this order (docs/design.md#classification): what stopped
    the session before the welcome; what is wrong with the welcome; what became of the reply. The case's memory is told
    of the welcome, so a session is judged once. Every cause is the failure of some probe in a session as deep as the
    profile goes: where nothing is sent after the login, what a reply would else have failed for fails the login.
    """
    late = max(facts.late, case.late)
    if _is_void(facts, late, case.timeout):
        return Classification(dict.fromkeys(Probe, Verdict.NONE), distorted=True, void=True)
    if _may_have_restarted(facts):
        case.memory.forget()
    evidence, wrong = examine(facts, case)
    cause = _first(_finding(wrong), _stopped(facts, case))
    if cause is not None and case.withheld and _asks_for_token(facts, cause):
        return Classification(
            dict.fromkeys(Probe, Verdict.NONE), evidence=evidence, distorted=late > DISTORTION_SECONDS
        )
    verdicts = {
        probe: _verdict(probe, cause, facts, case.profile) if rank <= case.depth.rank else Verdict.NONE
        for probe, rank in RANKS.items()
    }
    if cause is None:
        return Classification(verdicts, evidence=evidence, distorted=late > DISTORTION_SECONDS)
    deepest = probes_of(case.profile)[-1]
    if Verdict.FAIL not in verdicts.values() and case.depth.rank >= deepest.rank:
        verdicts[deepest] = Verdict.FAIL  # nothing deeper is ever asked that could answer for the cause
    failed = Verdict.FAIL in verdicts.values()
    return Classification(
        verdicts=verdicts,
        phase=cause.phase if failed else None,
        reason=cause.reason if failed else None,
        factory_reason=cause.factory,
        slot_limit=cause.limit,
        retry_after=cause.retry_after if cause.reason is Reason.RATE_LIMITED else None,
        no_token=cause.no_token,
        evidence=evidence,
        distorted=late > DISTORTION_SECONDS,
    )


def _is_void(facts: SessionObservation, late: float, timeout: float) -> bool:
    """True if the deadline struck, and we may have slept through what would have kept it."""
    struck = facts.fault is not None and facts.fault.kind is ErrorKind.DEADLINE
    return struck and late > max(MIN_STALL_SECONDS, STALL_FRACTION * timeout)


def _first(finding: _FailureCause | None, stopped: _FailureCause | None) -> _FailureCause | None:
    """The welcome came before what followed; but a refused auth message is no pass for the sake of a bad welcome."""
    if finding and finding.auth is Verdict.PASS and stopped and stopped.phase is Phase.AUTH:
        return replace(stopped, factory=finding.factory)
    return finding or stopped


def own_phases(probe: Probe, profile: Profile) -> tuple[Phase, ...]:
    """The phases that answer a probe of this profile; none: it cannot be asked. An opened WebSocket may be a login."""
    phases = phases_of(profile, tls=True)
    own = tuple(phase for phase in PHASES_OF_PROBE[probe] if phase in phases)
    return own or ((Phase.UPGRADE,) if probe is Probe.AUTH and profile.auth_by is not None else ())


def _finding(wrong: FactoryReason | None) -> _FailureCause | None:
    if wrong is None:
        return None
    auth = Verdict.FAIL if wrong is FactoryReason.USER_MISMATCH else Verdict.PASS
    return _FailureCause(Phase.ADMISSION, Reason.FACTORY, auth, wrong)


def _asks_for_token(facts: SessionObservation, cause: _FailureCause) -> bool:
    """True if the upgrade was refused for want of a credential (RFC 9110 section 15.5.2), or as the profile says."""
    status = facts.fault.status if facts.fault else None
    return cause.phase is Phase.UPGRADE and (status == HTTPStatus.UNAUTHORIZED or cause.reason in _LOGIN)


def _may_have_restarted(facts: SessionObservation) -> bool:
    """True if the server says that it stops, nothing listens there, or the connection broke."""
    close = facts.close
    stopped = close is not None and close.initiator is Initiator.REMOTE and close.code in RESTART_OR_OVERLOAD_CODES
    return stopped or (
        facts.fault is not None and facts.fault.kind in (ErrorKind.REFUSED, ErrorKind.RESET, ErrorKind.EOF)
    )


def _verdict(probe: Probe, cause: _FailureCause | None, facts: SessionObservation, profile: Profile) -> Verdict:
    """Failed by a cause in the probe's reach, passed by the end of its own last phase, else nothing was proved."""
    own = own_phases(probe, profile)
    if not own:
        return Verdict.NONE
    if cause is None or cause.phase not in _REACH[probe]:
        return Verdict.PASS if own[-1] in facts.phases else Verdict.NONE
    return cause.auth if probe is Probe.AUTH else Verdict.FAIL


def _stopped(facts: SessionObservation, case: ClassifyContext) -> _FailureCause | None:
    """What ended the session before it had all it came for; how it closes afterwards is no cause."""
    fault, profile = facts.fault, case.profile
    if fault is None:
        return None
    phase = fault.phase or facts.ended
    if phase not in LEGAL_FAILURES:
        return None
    if phase in PHASES_OF_PROBE[Probe.CONNECT]:
        by_status = fault.kind is ErrorKind.STATUS and phase is Phase.UPGRADE
        reason = _by_status(fault, case) if by_status else _reason(fault, phase)
        return _FailureCause(phase, reason, retry_after=fault.retry_after)
    if facts.refusal is not None:
        fault = ProbeError(ErrorKind.REFUSAL)  # the frame is asked first, whatever came after it
    ruling = _ruling(facts, profile)
    if phase is not Phase.ADMISSION:
        return _later(facts, fault, phase, ruling, profile)
    return _unsorted(facts, fault, profile) if ruling is None else _refused(ruling)


def _reason(fault: ProbeError, phase: Phase) -> Reason:
    """What a fault is called in the phase that must answer for it: only what that phase can have."""
    usual = REASON_OF_ERROR[fault.kind]
    if usual in LEGAL_FAILURES[phase]:
        return usual
    broken = fault.kind in _BROKEN and Reason.RESET in LEGAL_FAILURES[phase]
    return Reason.RESET if broken else FALLBACK_REASONS[phase]


def _by_status(fault: ProbeError, case: ClassifyContext) -> Reason:
    """What an HTTP answer to the upgrade means: by the profile's `statuses`, else by RFC 9110 section 15.

    A 401 judges the credential only if one was sent; a 503 that says when to come again is a limit.
    """
    status = fault.status
    named = next((rule.reason for rule in case.profile.statuses if rule.status == status), None)
    if named is not None:
        return named
    if status == HTTPStatus.TOO_MANY_REQUESTS or (
        status == HTTPStatus.SERVICE_UNAVAILABLE and fault.retry_after is not None
    ):
        return Reason.RATE_LIMITED
    if status == HTTPStatus.UNAUTHORIZED and case.credential:
        return Reason.AUTH_REJECTED
    return Reason.REDIRECT if status in REDIRECTS else Reason.HTTP_STATUS


def _ruling(facts: SessionObservation, profile: Profile) -> RuleMatch | None:
    """What the profile's tables say of the error frame, else of the server's close frame.

    An error that no rule knows, behind it a close whose text alone says that auth failed: why it failed is not known,
    and least of all that the token is to blame.
    """
    by_frame = sort_error(profile, facts.refusal) if facts.refusal is not None else None
    close = _server_close(facts)
    if by_frame or close is None:
        return by_frame
    by_close = sort_close(profile, close.code, close.text)
    if facts.refusal is None or by_close is None or by_close.rule.reason is not Reason.AUTH_REJECTED:
        return by_close
    vague = isinstance(by_close.rule, CloseRule) and by_close.rule.code is None
    unavailable = by_close.rule.model_copy(update={"reason": Reason.AUTH_UNAVAILABLE})
    return replace(by_close, rule=unavailable) if vague else by_close


def _server_close(facts: SessionObservation) -> Close | None:
    """The server's close, unless it only answers ours: that one caused nothing."""
    close = facts.close
    return close if close and close.initiator is Initiator.REMOTE and close.phase is not Phase.CLOSE else None


def _refused(ruling: RuleMatch) -> _FailureCause:
    """Refusals met during admission, by the profile's tables; a rule's word counts if admission has it.

    See docs/design.md#classification.
    """
    rule: ErrorRule | CloseRule = ruling.rule
    reason = rule.reason if rule.reason in LEGAL_FAILURES[Phase.ADMISSION] else Reason.FACTORY
    by_factory = reason is Reason.FACTORY
    unproved = Verdict.NONE if by_factory else Verdict.FAIL
    return _FailureCause(
        Phase.ADMISSION,
        reason,
        auth=Verdict.PASS if rule.proves_auth else unproved,
        factory=rule.factory or FactoryReason.OTHER if by_factory else None,
        limit=ruling.limit,
        retry_after=ruling.retry_after,
        no_token=rule.no_token,
    )


def _unsorted(facts: SessionObservation, fault: ProbeError, profile: Profile) -> _FailureCause:
    """No row matches: a restart, else the factory's doing if there is one; a notice that no welcome followed; a fault.

    A restart proves nothing about the login.
    """
    close = _server_close(facts)
    if fault.kind is ErrorKind.CLOSED and close is not None and close.code in RESTART_OR_OVERLOAD_CODES:
        return _FailureCause(Phase.ADMISSION, Reason.CLOSED, Verdict.NONE)
    if fault.kind in (ErrorKind.CLOSED, ErrorKind.REFUSAL) and has_factory(profile):
        factory = FactoryReason.INTERNAL_ERROR if _is_internal_error(facts) else FactoryReason.OTHER
        return _FailureCause(Phase.ADMISSION, Reason.FACTORY, Verdict.NONE, factory)
    said = by_notice(facts, profile) if fault.kind is ErrorKind.DEADLINE else None
    if said is not None:
        return _FailureCause(Phase.ADMISSION, Reason.FACTORY, Verdict.NONE, said)
    return _FailureCause(Phase.ADMISSION, _met(facts, fault, Phase.ADMISSION))


def _met(facts: SessionObservation, fault: ProbeError, phase: Phase) -> Reason:
    """What a fault of the open WebSocket is called that no row names."""
    by_error = fault.kind is ErrorKind.CLOSED and _is_internal_error(facts)
    return Reason.SERVER_ERROR if by_error else _reason(fault, phase)


def _is_internal_error(facts: SessionObservation) -> bool:
    close = _server_close(facts)
    return close is not None and close.code == CloseCode.INTERNAL_ERROR


def _later(
    facts: SessionObservation, fault: ProbeError, phase: Phase, ruling: RuleMatch | None, profile: Profile
) -> _FailureCause:
    """After the welcome: a close or an error frame; a rule's word counts where the phase can have it.

    What a rule says of the login counts in the reply only where nothing before it has answered for the login.
    """
    reason = _met(facts, fault, phase)
    if ruling is None:
        return _FailureCause(phase, reason)
    named = ruling.rule.reason
    answered = phase is Phase.REPLY and named in _LOGIN and own_phases(Probe.AUTH, profile)
    if named in LEGAL_FAILURES[phase] and not answered:
        reason = named or reason
    rule = ruling.rule
    return _FailureCause(phase, reason, Verdict.FAIL, rule.factory, ruling.limit, ruling.retry_after, rule.no_token)


def told(facts: SessionObservation, depth: Probe, profile: Profile) -> Close | None:
    """The close as a `Result` carries it: without the peer's text, and without the refusal we asked for.

    A connect-deep session without a token is refused for want of one (docs/design.md#connecting-without-a-token): its
    close is ours, whoever was faster.
    """
    close = facts.close
    if close is None:
        return None
    if depth is Probe.CONNECT and profile.connect_without_token and close.initiator is Initiator.REMOTE:
        ruling = sort_close(profile, close.code, close.text)
        if ruling is not None and ruling.rule.reason is Reason.AUTH_REJECTED:
            return Close(CloseCode.NORMAL_CLOSURE, Initiator.LOCAL, Phase.CLOSE)
    return replace(close, text="") if close.text else close
