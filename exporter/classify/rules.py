"""The tables of the classification, and `classify`, which applies them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Final, NamedTuple

from websockets.frames import CloseCode

from exporter.classify.context import ClassifyContext
from exporter.classify.welcome import examine_welcome, notice_reason
from exporter.config import CloseRule, ErrorRule, Profile
from exporter.profiles import (
    RuleMatch,
    has_factory,
    own_codes,
    phases_of,
    probes_of,
    sort_close,
    sort_error,
    sort_status,
)
from exporter.result import (
    RANKS,
    SERVERS,
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
    Software,
    Verdict,
)
from exporter.software import is_stop

RESTART_OR_OVERLOAD_CODES: Final = frozenset({1001, 1012, 1013})
"""Close codes of a server that stops or asks to retry later (RFC 6455 section 7.4.1 and IANA's registry)."""
REDIRECTS: Final = range(300, 400)
_LOGIN_STATUSES: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})

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
"""The reason of an error, if its phase can have it (`_error_reason`). The HTTP status refines `STATUS`; the profile's
tables refine `CLOSED` and `REFUSAL`."""

_NETWORK_REASONS: Final = frozenset({Reason.TIMEOUT, Reason.RESET})
_FRAME_REASONS: Final = _NETWORK_REASONS | {Reason.PROTOCOL_ERROR, Reason.TOO_BIG}
_REFUSAL_REASONS: Final = frozenset({Reason.AUTH_REJECTED, Reason.AUTH_UNAVAILABLE, Reason.RATE_LIMITED})
_LOGIN_REASONS: Final = frozenset({Reason.AUTH_REJECTED, Reason.AUTH_UNAVAILABLE})
_OPEN_REASONS: Final = _FRAME_REASONS | {Reason.CLOSED, Reason.SERVER_ERROR, Reason.BAD_REPLY}

_REACH_REASONS: Final = _NETWORK_REASONS | {
    Reason.DNS,
    Reason.REFUSED,
    Reason.UNREACHABLE,
    Reason.TLS_CERTIFICATE,
    Reason.TLS_HANDSHAKE,
}
_ANSWER_REASONS: Final = frozenset({Reason.HTTP_STATUS, Reason.REDIRECT, Reason.BAD_REPLY, Reason.TOO_BIG})

LEGAL_FAILURES: Final[Mapping[Phase, frozenset[Reason]]] = {
    Phase.BEFORE: _REACH_REASONS | _REFUSAL_REASONS | _ANSWER_REASONS,
    Phase.RESOLVE: frozenset({Reason.DNS, Reason.TIMEOUT}),
    Phase.TCP: _NETWORK_REASONS | {Reason.REFUSED, Reason.UNREACHABLE},
    Phase.TLS: _NETWORK_REASONS | {Reason.TLS_CERTIFICATE, Reason.TLS_HANDSHAKE},
    Phase.UPGRADE: _NETWORK_REASONS | _REFUSAL_REASONS | {Reason.HTTP_STATUS, Reason.REDIRECT, Reason.BAD_HANDSHAKE},
    Phase.ADMISSION: _OPEN_REASONS | _REFUSAL_REASONS | {Reason.FACTORY},
    Phase.AUTH: _OPEN_REASONS | _REFUSAL_REASONS,
    Phase.REPLY: _OPEN_REASONS | _REFUSAL_REASONS,
}
"""The reasons each phase can have; a probe can fail in the phases up to its own (`failing_phases`)."""

FALLBACK_REASONS: Final[Mapping[Phase, Reason]] = {
    Phase.BEFORE: Reason.BAD_REPLY,
    Phase.RESOLVE: Reason.DNS,
    Phase.TCP: Reason.UNREACHABLE,
    Phase.TLS: Reason.TLS_HANDSHAKE,
    Phase.UPGRADE: Reason.BAD_HANDSHAKE,
    Phase.ADMISSION: Reason.PROTOCOL_ERROR,
    Phase.AUTH: Reason.PROTOCOL_ERROR,
    Phase.REPLY: Reason.PROTOCOL_ERROR,
}
"""The reason of an error whose usual reason the phase cannot have."""

_BROKEN_CONNECTION_ERRORS: Final = frozenset(
    {ErrorKind.REFUSED, ErrorKind.UNREACHABLE, ErrorKind.CERTIFICATE, ErrorKind.TLS}
)
"""Errors that mean a broken connection in a phase without a reason for them: a late read on Linux returns EHOSTUNREACH
after a router's ICMP message (RFC 1122 section 4.2.3.9)."""

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
"""Codes a server can send (RFC 6455 section 7.4 and IANA's registry), and 1005 for an empty close frame."""

_HTTP_PHASES: Final = (Phase.BEFORE, Phase.UPGRADE)
_OPEN_PHASES: Final = (Phase.ADMISSION, Phase.AUTH, Phase.REPLY)
_VIOLATION_CODES: Final = ("1002", "1007", "1009")

PHASES_OF_PROBE: Final[Mapping[Probe, tuple[Phase, ...]]] = {
    Probe.CONNECT: (Phase.BEFORE, Phase.RESOLVE, Phase.TCP, Phase.TLS, Phase.UPGRADE),
    Probe.AUTH: (Phase.ADMISSION, Phase.AUTH),
    Probe.SEND: (Phase.REPLY,),
}


_PHASES_UP_TO_PROBE: Final[Mapping[Probe, frozenset[Phase]]] = {
    probe: frozenset(phase for asked in Probe if asked.rank <= probe.rank for phase in PHASES_OF_PROBE[asked])
    for probe in Probe
}


def failing_phases(probe: Probe, profile: Profile, *, tls: bool) -> tuple[Phase, ...]:
    """Return the phases in which a probe of this profile can fail: its own and all before."""
    return tuple(phase for phase in phases_of(profile, tls=tls) if phase in _PHASES_UP_TO_PROBE[probe])


def close_label(code: int, profile: Profile) -> str:
    """Return the label value of a close code: registered codes and the profile's as they are, else `3xxx` or `4xxx`."""
    if code in own_codes(profile) or str(code) in (*REMOTE_CODES, "1006"):
        return str(code)
    return f"{code // 1000}xxx" if 3000 <= code < 5000 else "1002"  # noqa: PLR2004 - no server can send another


def legal_closes(profile: Profile, *, tls: bool) -> Iterator[tuple[Phase, str, Initiator]]:
    """Yield every (phase, code label, initiator) that `ws_probe_closes_total` can have for this profile."""
    phases = [phase for phase in phases_of(profile, tls=tls) if phase in _OPEN_PHASES]
    for phase in [*phases, Phase.CLOSE]:
        for code in (*REMOTE_CODES, *sorted(map(str, own_codes(profile)))):
            yield phase, code, Initiator.REMOTE
        yield phase, "1006", Initiator.NONE
    for phase in phases:
        for code in _VIOLATION_CODES:
            yield phase, code, Initiator.LOCAL
    yield Phase.CLOSE, "1000", Initiator.LOCAL


DISTORTION_SECONDS: Final = 0.05
"""Seconds of the exporter's own delay above which a session's durations are unreliable: twice the narrowest bucket of a
probe's duration, and a hundred times the delay of an idle machine."""

MIN_STALL_SECONDS: Final = 0.1
STALL_FRACTION: Final = 0.05
"""Seconds, and a share of the timeout. Above the greater of both, a stall of the exporter may have caused a missed
deadline. Several such stalls are needed to miss one; a real outage must not become inconclusive by one hiccup in a wait
of ten seconds, or because the server kept the exporter busy with a flood of small frames."""


class Classification(NamedTuple):
    """What an observation means.

    phase, reason: of every probe that failed
    rule: the path of the profile's rule that sorted what ended the session
    distorted: durations are unreliable
    void: verdicts are too, because a stall of the exporter may have caused the missed deadline
    """

    verdicts: Mapping[Probe, Verdict]
    phase: Phase | None = None
    reason: Reason | None = None
    factory_reason: FactoryReason | None = None
    slot_limit: int | None = None
    retry_after: float | None = None
    no_token: bool = False
    rule: str | None = None
    evidence: Evidence = Evidence()
    distorted: bool = False
    void: bool = False


@dataclass(frozen=True, slots=True)
class _FailureCause:
    """Why a session did not reach its depth. `auth`: the verdict of that probe, which may pass only in admission."""

    phase: Phase
    reason: Reason
    auth: Verdict = Verdict.FAIL
    factory: FactoryReason | None = None
    limit: int | None = None
    retry_after: float | None = None
    no_token: bool = False
    rule: str | None = None


def classify(observation: SessionObservation, context: ClassifyContext) -> Classification:
    """Return the verdict of each probe up to the context's depth, and one (phase, reason) for those that failed.

    A deadline that the exporter's own stall may have missed proves nothing. Otherwise the first of these counts
    (docs/design.md#classification): the error that ended the session before the welcome; an error in the welcome; the
    outcome of the reply. Call this once per session, because the replay detector records the welcome. In a session of
    the profile's full depth every cause fails some probe: where nothing is sent after the login, it fails the login.
    """
    max_loop_stall = max(observation.late, context.max_loop_stall)
    if _missed_own_deadline(observation, max_loop_stall, context.timeout):
        return Classification(dict.fromkeys(Probe, Verdict.NONE), distorted=True, void=True)
    if _may_have_restarted(observation):
        context.replay_detector.clear()
    evidence, factory_reason = examine_welcome(observation, context)
    cause = _choose_cause(_welcome_cause(factory_reason), _session_cause(observation, context))
    if cause is not None and context.token_withheld and _demands_token(observation, cause):
        return Classification(
            dict.fromkeys(Probe, Verdict.NONE), evidence=evidence, distorted=max_loop_stall > DISTORTION_SECONDS
        )
    verdicts = {
        probe: _verdict(probe, cause, observation, context.profile) if rank <= context.depth.rank else Verdict.NONE
        for probe, rank in RANKS.items()
    }
    if cause is None:
        return Classification(verdicts, evidence=evidence, distorted=max_loop_stall > DISTORTION_SECONDS)
    deepest = probes_of(context.profile)[-1]
    if Verdict.FAIL not in verdicts.values() and context.depth.rank >= deepest.rank:
        verdicts[deepest] = Verdict.FAIL  # no deeper probe exists that could fail by this cause
    failed = Verdict.FAIL in verdicts.values()
    return Classification(
        verdicts=verdicts,
        phase=cause.phase if failed else None,
        reason=cause.reason if failed else None,
        factory_reason=cause.factory,
        slot_limit=cause.limit,
        retry_after=cause.retry_after if cause.reason is Reason.RATE_LIMITED else None,
        no_token=cause.no_token,
        rule=cause.rule,
        evidence=evidence,
        distorted=max_loop_stall > DISTORTION_SECONDS,
    )


def _missed_own_deadline(observation: SessionObservation, max_loop_stall: float, timeout: float) -> bool:
    """Whether the session missed its deadline, perhaps because the exporter itself stalled."""
    timed_out = observation.fault is not None and observation.fault.kind is ErrorKind.DEADLINE
    return timed_out and max_loop_stall > max(MIN_STALL_SECONDS, STALL_FRACTION * timeout)


def _choose_cause(finding: _FailureCause | None, stopped: _FailureCause | None) -> _FailureCause | None:
    """The welcome came first, so its error counts; but a refused auth message is never reported as a passed login."""
    if finding and finding.auth is Verdict.PASS and stopped and stopped.phase is Phase.AUTH:
        return replace(stopped, factory=finding.factory)
    return finding or stopped


def own_phases(probe: Probe, profile: Profile) -> tuple[Phase, ...]:
    """Return the phases that prove a probe of this profile (the upgrade may be its login); none: no such probe."""
    phases = phases_of(profile, tls=True)
    own = tuple(phase for phase in PHASES_OF_PROBE[probe] if phase in phases)
    return own or ((Phase.UPGRADE,) if probe is Probe.AUTH and profile.auth_by is not None else ())


def _welcome_cause(factory_reason: FactoryReason | None) -> _FailureCause | None:
    if factory_reason is None:
        return None
    auth = Verdict.FAIL if factory_reason is FactoryReason.USER_MISMATCH else Verdict.PASS
    return _FailureCause(Phase.ADMISSION, Reason.FACTORY, auth, factory_reason)


def _demands_token(observation: SessionObservation, cause: _FailureCause) -> bool:
    """Whether the upgrade was refused because it had no credential (RFC 9110 section 15.5.2, or the profile's rule)."""
    status = observation.fault.status if observation.fault else None
    return cause.phase is Phase.UPGRADE and (status == HTTPStatus.UNAUTHORIZED or cause.reason in _LOGIN_REASONS)


def _may_have_restarted(observation: SessionObservation) -> bool:
    """Whether the server announced its stop, refused the connection, or broke it."""
    close = observation.close
    stopped = close is not None and close.initiator is Initiator.REMOTE and close.code in RESTART_OR_OVERLOAD_CODES
    return stopped or (
        observation.fault is not None and observation.fault.kind in (ErrorKind.REFUSED, ErrorKind.RESET, ErrorKind.EOF)
    )


def _verdict(probe: Probe, cause: _FailureCause | None, observation: SessionObservation, profile: Profile) -> Verdict:
    """Fail by a cause in a phase up to the probe's own; pass by the end of its last phase; else prove nothing."""
    own = own_phases(probe, profile)
    if not own:
        return Verdict.NONE
    if cause is None or cause.phase not in _PHASES_UP_TO_PROBE[probe]:
        return Verdict.PASS if own[-1] in observation.phases else Verdict.NONE
    return cause.auth if probe is Probe.AUTH else Verdict.FAIL


def _session_cause(observation: SessionObservation, context: ClassifyContext) -> _FailureCause | None:
    """Return what ended the session before its full depth; its close afterwards is no cause."""
    error, profile = observation.fault, context.profile
    if error is None:
        return None
    phase = error.phase or observation.ended
    if phase not in LEGAL_FAILURES:
        return None
    if phase in PHASES_OF_PROBE[Probe.CONNECT]:
        by_status = error.kind is ErrorKind.STATUS and phase in _HTTP_PHASES
        reason = _status_reason(error, phase, context) if by_status else _error_reason(error, phase)
        sorted_by = sort_status(profile, error.status) if by_status else None
        return _FailureCause(
            phase, reason, retry_after=error.retry_after, rule=None if sorted_by is None else sorted_by[0]
        )
    if observation.refusal is not None:
        error = ProbeError(ErrorKind.REFUSAL)  # the error frame counts, whatever followed it
    rule_match = _match_rule(observation, profile)
    if rule_match is None and _is_servers_stop(observation, context.server):
        return _FailureCause(phase, Reason.CLOSED, Verdict.NONE if phase is Phase.ADMISSION else Verdict.FAIL)
    if phase is not Phase.ADMISSION:
        return _cause_after_admission(observation, error, phase, rule_match, profile)
    return _cause_without_rule(observation, error, profile) if rule_match is None else _cause_by_rule(rule_match)


def _error_reason(error: ProbeError, phase: Phase) -> Reason:
    """Return the reason of an error in its phase, always one that the phase can have."""
    usual = REASON_OF_ERROR[error.kind]
    if usual in LEGAL_FAILURES[phase]:
        return usual
    broken = error.kind in _BROKEN_CONNECTION_ERRORS and Reason.RESET in LEGAL_FAILURES[phase]
    return Reason.RESET if broken else FALLBACK_REASONS[phase]


def _status_reason(error: ProbeError, phase: Phase, context: ClassifyContext) -> Reason:
    """Return the reason of an HTTP response by the profile's `statuses`, else by RFC 9110 section 15.

    A 401 rejects the credential only if one was sent. So does a 403 to the request before the upgrade: there is no
    other path and no Origin that it could refuse. A 503 with Retry-After is a rate limit.
    """
    status = error.status
    named = sort_status(context.profile, status)
    if named is not None:
        return named[1].reason
    if status == HTTPStatus.TOO_MANY_REQUESTS or (
        status == HTTPStatus.SERVICE_UNAVAILABLE and error.retry_after is not None
    ):
        return Reason.RATE_LIMITED
    if phase is Phase.BEFORE and context.credential_sent_before and status in _LOGIN_STATUSES:
        return Reason.AUTH_REJECTED
    if phase is Phase.UPGRADE and context.credential_sent and status == HTTPStatus.UNAUTHORIZED:
        return Reason.AUTH_REJECTED
    return Reason.REDIRECT if status in REDIRECTS else Reason.HTTP_STATUS


def _match_rule(observation: SessionObservation, profile: Profile) -> RuleMatch | None:
    """Return the profile's rule for the error frame, else for the server's close frame.

    If no rule matches the error frame, and a rule matches only the close text and says that the token was rejected,
    the reason is `AUTH_UNAVAILABLE`: the login failed, but nothing shows that the token is to blame.
    """
    by_frame = sort_error(profile, observation.refusal) if observation.refusal is not None else None
    close = _server_close(observation)
    if by_frame or close is None:
        return by_frame
    by_close = sort_close(profile, close.code, close.text)
    if observation.refusal is None or by_close is None or by_close.rule.reason is not Reason.AUTH_REJECTED:
        return by_close
    vague = isinstance(by_close.rule, CloseRule) and by_close.rule.code is None
    unavailable = by_close.rule.model_copy(update={"reason": Reason.AUTH_UNAVAILABLE})
    return replace(by_close, rule=unavailable) if vague else by_close


def _server_close(observation: SessionObservation) -> Close | None:
    """Return the server's close, unless it only answers the exporter's: that one is no cause."""
    close = observation.close
    return close if close and close.initiator is Initiator.REMOTE and close.phase is not Phase.CLOSE else None


def _cause_by_rule(rule_match: RuleMatch) -> _FailureCause:
    """Return the cause of a refusal in admission, by a rule of the profile (docs/design.md#classification)."""
    rule: ErrorRule | CloseRule = rule_match.rule
    unproved = Verdict.NONE if rule.reason is None else Verdict.FAIL
    return _FailureCause(
        Phase.ADMISSION,
        rule.reason or Reason.FACTORY,
        auth=Verdict.PASS if rule.proves_auth else unproved,
        factory=rule.factory,
        limit=rule_match.limit,
        retry_after=rule_match.retry_after,
        no_token=rule.no_token,
        rule=rule_match.path,
    )


def _cause_without_rule(observation: SessionObservation, error: ProbeError, profile: Profile) -> _FailureCause:
    """Return the cause of a failed admission that no rule matches.

    In this order: a restart, which proves nothing about the login; the factory, if the profile has one; a notice that
    no welcome followed; the error itself.
    """
    close = _server_close(observation)
    if error.kind is ErrorKind.CLOSED and close is not None and close.code in RESTART_OR_OVERLOAD_CODES:
        return _FailureCause(Phase.ADMISSION, Reason.CLOSED, Verdict.NONE)
    if error.kind in (ErrorKind.CLOSED, ErrorKind.REFUSAL) and has_factory(profile):
        factory = FactoryReason.INTERNAL_ERROR if _is_internal_error(observation) else FactoryReason.OTHER
        return _FailureCause(Phase.ADMISSION, Reason.FACTORY, Verdict.NONE, factory)
    notice = notice_reason(observation, profile) if error.kind is ErrorKind.DEADLINE else None
    if notice is not None:
        return _FailureCause(Phase.ADMISSION, Reason.FACTORY, Verdict.NONE, notice)
    return _FailureCause(Phase.ADMISSION, _open_phase_reason(observation, error, Phase.ADMISSION))


def _open_phase_reason(observation: SessionObservation, error: ProbeError, phase: Phase) -> Reason:
    """Return the reason of an error on the open WebSocket that no rule names."""
    by_error = error.kind is ErrorKind.CLOSED and _is_internal_error(observation)
    return Reason.SERVER_ERROR if by_error else _error_reason(error, phase)


def _is_servers_stop(observation: SessionObservation, configured: Software | None) -> bool:
    """Whether the server closed as it does when it is stopped: hypercorn with 1011, after three seconds of silence."""
    close = _server_close(observation)
    if close is None or observation.refusal is not None or observation.refused_after is None:
        return False
    named = observation.answered_by if observation.answered_by in SERVERS else configured
    waited = observation.refused_after - sum(observation.phases.values())
    return is_stop(named, close.code, waited)


def _is_internal_error(observation: SessionObservation) -> bool:
    close = _server_close(observation)
    return close is not None and close.code == CloseCode.INTERNAL_ERROR


def _cause_after_admission(
    observation: SessionObservation, error: ProbeError, phase: Phase, rule_match: RuleMatch | None, profile: Profile
) -> _FailureCause:
    """Return the cause of an error after the welcome, by the rule that matches it, else by the error.

    In the reply, a rule's reason about the login counts only if no earlier phase proves the login: else the rule says
    nothing of this failure.
    """
    reason = _open_phase_reason(observation, error, phase)
    if rule_match is None:
        return _FailureCause(phase, reason)
    named = rule_match.rule.reason
    answered = phase is Phase.REPLY and named in _LOGIN_REASONS and own_phases(Probe.AUTH, profile)
    if named is not None and not answered:
        reason = named
    rule = rule_match.rule
    return _FailureCause(
        phase,
        reason,
        Verdict.FAIL,
        rule.factory,
        rule_match.limit,
        rule_match.retry_after,
        rule.no_token,
        None if answered else rule_match.path,
    )


def reported_close(observation: SessionObservation, depth: Probe, profile: Profile) -> Close | None:
    """Return the close for a `Result`, without the peer's text.

    A server refuses a connect-deep session that has no token (docs/design.md#connecting-without-a-token). That close is
    expected and is reported as the exporter's own.
    """
    close = observation.close
    if close is None:
        return None
    if depth is Probe.CONNECT and profile.connect_without_token and close.initiator is Initiator.REMOTE:
        rule_match = sort_close(profile, close.code, close.text)
        if rule_match is not None and rule_match.rule.reason is Reason.AUTH_REJECTED:
            return Close(CloseCode.NORMAL_CLOSURE, Initiator.LOCAL, Phase.CLOSE)
    return replace(close, text="") if close.text else close
