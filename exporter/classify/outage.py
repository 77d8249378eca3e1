"""Detects the outages of one target and their causes from its sessions.

Rule 1: sessions and cycles are counted, never seconds, so that the interval and the scrapes do not matter.
Rule 2: one failed cycle and its first extra run are no outage, but for a token that two refuse; a restart is one only
if cycle after cycle meets it.
Rule 3: during an outage the active cause is the one that the last sessions met.
"""

from collections import deque
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from itertools import pairwise, takewhile
from math import ceil
from typing import Final, NamedTuple

from websockets.frames import CloseCode

from exporter.classify.rules import LEGAL_FAILURES, PHASES_OF_PROBE, failing_phases
from exporter.config import Profile
from exporter.result import EXTRA_RUNS, FactoryReason, Initiator, Phase, Probe, Reason, Result, Trigger, Verdict


class OutageCause(StrEnum):
    """What an outage is paged as. A label value: names here never change."""

    CONNECT = "connect"
    AUTH_REJECTED = "auth_rejected"
    AUTH_UNAVAILABLE = "auth_unavailable"
    NOT_ADMITTED = "not_admitted"
    SLOTS = "slots"
    FACTORY = "factory"
    FACTORY_DEGRADED = "factory_degraded"
    INTERNAL_ERROR = "internal_error"
    REPLY = "reply"
    RESTARTING = "restarting"


OUTAGE_WINDOW_CYCLES: Final = 6
"""Scheduled cycles whose sessions and confirm runs decide on an outage."""

MIN_FAILED_ONE_IN: Final = 4
"""At least one in this many sessions must have failed, so that chance among many confirm runs is no outage."""

MIN_FAILURES: Final = 3
"""Failures of one cause that make an outage; also the most passes in a row that its first end takes."""

MAX_RECOVERY_SECONDS: Final = 60.0
"""Seconds within which an outage ends after its first pass, if no failure follows."""

RELAPSE_SESSIONS: Final = 24
"""Sessions within which an outage that returns is the same one: it then takes twice as many passes to end."""

GOING_AWAY_CODES: Final = frozenset({1001, 1012, 1013})
"""Close codes of a server that stops, restarts or asks to retry later (RFC 6455 section 7.4.1 and IANA's registry)."""


LOGIN_REFUSALS: Final = frozenset({Reason.AUTH_REJECTED, Reason.AUTH_UNAVAILABLE})
"""Reasons of a login that the backend refused, or could not decide."""

PROBE_OF: Final[Mapping[OutageCause, Probe]] = {
    OutageCause.CONNECT: Probe.CONNECT,
    OutageCause.AUTH_REJECTED: Probe.AUTH,
    OutageCause.AUTH_UNAVAILABLE: Probe.AUTH,
    OutageCause.NOT_ADMITTED: Probe.AUTH,
    OutageCause.SLOTS: Probe.SEND,
    OutageCause.FACTORY: Probe.SEND,
    OutageCause.FACTORY_DEGRADED: Probe.SEND,
    OutageCause.INTERNAL_ERROR: Probe.SEND,
    OutageCause.REPLY: Probe.SEND,
    OutageCause.RESTARTING: Probe.SEND,
}
"""Cause → the probe whose sessions can show it."""

MIN_FAILURES_OF_CAUSE: Final[Mapping[OutageCause, int]] = dict.fromkeys(OutageCause, MIN_FAILURES) | {
    OutageCause.AUTH_REJECTED: 2,
    OutageCause.AUTH_UNAVAILABLE: 2,
}
"""Failures that make an outage. Two for a refused token, because a third would be sent for nothing."""

NO_EVIDENCE: Final[Mapping[OutageCause, Container[Trigger]]] = {
    OutageCause.RESTARTING: EXTRA_RUNS,
    OutageCause.AUTH_REJECTED: {Trigger.CONFIRM},
    OutageCause.AUTH_UNAVAILABLE: {Trigger.CONFIRM},
}
"""Sessions that make no outage of a cause: they may meet one deploy, or one refusal, together with their cycle."""

_BY_REASON: Final[Mapping[Reason, OutageCause]] = {
    Reason.AUTH_REJECTED: OutageCause.AUTH_REJECTED,
    Reason.AUTH_UNAVAILABLE: OutageCause.AUTH_UNAVAILABLE,
    Reason.FACTORY: OutageCause.FACTORY,
}
_BY_PHASE: Final[Mapping[Phase, OutageCause]] = {
    **dict.fromkeys(PHASES_OF_PROBE[Probe.CONNECT], OutageCause.CONNECT),
    Phase.ADMISSION: OutageCause.NOT_ADMITTED,
    Phase.AUTH: OutageCause.NOT_ADMITTED,
    Phase.REPLY: OutageCause.REPLY,
}
_BY_FACTORY: Final[Mapping[FactoryReason, OutageCause]] = dict.fromkeys(FactoryReason, OutageCause.FACTORY) | {
    FactoryReason.SLOT_LIMIT: OutageCause.SLOTS,
    FactoryReason.DEGRADED: OutageCause.FACTORY_DEGRADED,
    FactoryReason.ENVIRONMENT_MISMATCH: OutageCause.FACTORY_DEGRADED,
    FactoryReason.NOT_READY: OutageCause.FACTORY_DEGRADED,
}


FACTORY_OUTAGES: Final = frozenset(_BY_FACTORY.values())
"""Causes that only a profile with a factory can show."""


def possible_causes(profile: Profile, *, tls: bool, factory: bool) -> tuple[OutageCause, ...]:
    """Return the causes that sessions of this profile can show; `factory`: whether they show those of a factory."""
    phases = failing_phases(Probe.SEND, profile, tls=tls)
    found = {
        _default_cause(phase, reason) for phase in phases for reason in LEGAL_FAILURES[phase] - {Reason.RATE_LIMITED}
    }
    found = found | FACTORY_OUTAGES if factory else found - FACTORY_OUTAGES
    if not found.isdisjoint({OutageCause.NOT_ADMITTED, OutageCause.REPLY}):
        found |= {OutageCause.INTERNAL_ERROR, OutageCause.RESTARTING}
    return tuple(cause for cause in OutageCause if cause in found)


def _default_cause(phase: Phase, reason: Reason) -> OutageCause:
    return _BY_REASON.get(reason) or _BY_PHASE[phase]


def proves_nothing(result: Result, *, token_withheld: bool) -> bool:
    """Whether the session is no evidence: it has no verdict, or the backend only asked for the withheld token.

    `token_withheld`: connect-deep sessions leave out the token that deeper ones put into the upgrade request. A refusal
    for lack of it (RFC 9110 section 15.5.2, or the profile's rule) says nothing about sessions that send it.
    """
    token_demanded = result.http_status == HTTPStatus.UNAUTHORIZED or result.reason in LOGIN_REFUSALS
    demands_token = (
        token_withheld and result.depth is Probe.CONNECT and result.phase is Phase.UPGRADE and token_demanded
    )
    return result.void or result.impairment is not None or demands_token


def causes_of(result: Result) -> frozenset[OutageCause]:
    """Return the causes that this session is evidence of; a rate limit is evidence of none."""
    return frozenset(_causes(result))


def _causes(result: Result) -> Iterator[OutageCause]:
    if result.factory_reason is not None:
        yield _BY_FACTORY[result.factory_reason]
    refused = result.reason in (*LOGIN_REFUSALS, Reason.RATE_LIMITED)
    close = result.close
    ended = close is not None and close.initiator is Initiator.REMOTE and close.phase is not Phase.CLOSE
    is_1011 = close is not None and close.code == CloseCode.INTERNAL_ERROR
    is_stop = is_1011 and result.reason is Reason.CLOSED and result.rule is None  # as the server at hand closes then
    if ended and is_1011 and not refused and not is_stop:
        yield OutageCause.INTERNAL_ERROR
    if result.phase is None or result.reason in (None, Reason.RATE_LIMITED, Reason.FACTORY):
        return
    goes_away = close is not None and close.code in GOING_AWAY_CODES and result.reason is Reason.CLOSED
    if ended and (goes_away or is_stop):
        yield OutageCause.RESTARTING
    elif result.reason is not None:
        yield _default_cause(result.phase, result.reason)


class _JudgedSession(NamedTuple):
    """One session in a window. `cycles`: the number of cycles it answers."""

    trigger: Trigger
    cycles: int
    causes: frozenset[OutageCause]
    identity: str | None

    @property
    def scheduled(self) -> bool:
        return self.trigger not in EXTRA_RUNS

    def shows(self, cause: OutageCause) -> bool:
        """Whether it counts among the failures that make an outage of this cause."""
        return cause in self.causes and self.trigger not in NO_EVIDENCE.get(cause, ())


@dataclass(slots=True)
class _CauseState:
    """The state of one cause.

    active: whether the outage lasts; None: unknown
    sessions_without: sessions in a row that did not show the cause
    required_passes: how many of those end the outage
    sessions_since_end: since the last outage of this cause
    """

    active: bool | None = None
    sessions_without: int = 0
    required_passes: int = 1
    sessions_since_end: int = RELAPSE_SESSIONS + 1


class OutagePolicy(NamedTuple):
    """The properties of a target that decide how its sessions count.

    intervals: probe → seconds between two of its scheduled runs
    pool: number of identities
    token_withheld: see `proves_nothing`
    confirm_after: seconds from a first failure to a confirm run
    """

    causes: tuple[OutageCause, ...]
    intervals: Mapping[Probe, float]
    pool: int
    token_withheld: bool = False
    confirm_after: float = 0.0


class OutageDetector:
    """The outages of one target. Call `record_result` for every session of its schedule, in the order of their ends.

    An address that refuses connections counts once the name has no other address left to try (RFC 8305 section 5).
    """

    def __init__(self, policy: OutagePolicy) -> None:
        self._states = {cause: _CauseState() for cause in policy.causes}
        self._windows: dict[Probe, deque[_JudgedSession]] = {probe: deque() for probe in policy.intervals}
        self._probe = {cause: _deciding_probe(PROBE_OF[cause], policy.intervals) for cause in self._states}
        self._untried_results: deque[Result] = deque(maxlen=MIN_FAILURES)
        self._apply_policy(policy)

    def update_policy(self, policy: OutagePolicy) -> bool:
        """Continue with another schedule or pool; False, and no change, if the causes or the probes differ."""
        same = set(policy.causes) == self._states.keys() and policy.intervals.keys() == self._windows.keys()
        if same:
            self._apply_policy(policy)
        return same

    def _apply_policy(self, policy: OutagePolicy) -> None:
        self._withheld = policy.token_withheld
        self._required_passes = {
            probe: max(1, min(MIN_FAILURES, int(MAX_RECOVERY_SECONDS / each)))
            for probe, each in policy.intervals.items()
        }
        self._cycles_per_confirm_run = {
            probe: int(policy.confirm_after / each) for probe, each in policy.intervals.items()
        }
        self._slot_failures = max(1, min(MIN_FAILURES, policy.pool))

    def record_result(self, result: Result) -> dict[OutageCause, bool]:
        """Record a scheduled session or a confirm run; return the causes whose outage it began (True) or ended."""
        if proves_nothing(result, token_withheld=self._withheld):
            return {}
        if result.untried_addresses:
            self._untried_results.append(result)
            return {}
        earlier = tuple(self._untried_results) if OutageCause.CONNECT in causes_of(result) else ()
        self._untried_results.clear()
        before = {cause: state.active for cause, state in self._states.items()}
        for one in (*earlier, result):
            self._count(one)
        return {
            cause: state.active
            for cause, state in self._states.items()
            if state.active is not None and state.active is not before[cause]
        }

    def record_token_cooldown(self) -> tuple[OutageCause, ...]:
        """Record that a rejected token is not sent again until it changes: one rejection is an outage then."""
        state = self._states.get(OutageCause.AUTH_REJECTED)
        if state is None or state.active:
            return ()
        self._begin(OutageCause.AUTH_REJECTED, state)
        return (OutageCause.AUTH_REJECTED,)

    def _count(self, result: Result) -> None:
        causes = causes_of(result) & self._states.keys()
        probes = [probe for probe in self._windows if self._is_evidence(result, causes, probe)]
        replaces = self._replaces_active_causes(causes, probes)
        for probe in probes:
            cycles = self._cycles_per_confirm_run[probe] if result.trigger in EXTRA_RUNS else 1
            self._add_to_window(probe, _JudgedSession(result.trigger, cycles, causes, result.identity))
        for cause, state in self._states.items():
            if self._probe[cause] in probes:
                self._update_cause(cause, state, shown=cause in causes)
        if replaces:
            self._replace_active_causes(causes)
        elif not self._active_causes() and any(self._none_passed(probe, MIN_FAILURES) for probe in probes):
            for cause in causes:
                self._begin(cause, self._states[cause])

    def _is_evidence(self, result: Result, causes: Iterable[OutageCause], probe: Probe) -> bool:
        """Whether the session counts for the probe: by a verdict that no rate limit caused, or by a cause."""
        verdict = result.verdicts.get(probe, Verdict.NONE)
        limited = verdict is Verdict.FAIL and result.reason is Reason.RATE_LIMITED
        return (verdict is not Verdict.NONE and not limited) or any(self._probe[cause] is probe for cause in causes)

    def _add_to_window(self, probe: Probe, session: _JudgedSession) -> None:
        """Keep the sessions of the last cycles: scheduled ones, and confirm runs, which may answer cycles too."""
        window = self._windows[probe]
        window.append(session)
        beyond = sum(one.cycles for one in window) - OUTAGE_WINDOW_CYCLES
        while beyond > 0 or (len(window) > OUTAGE_WINDOW_CYCLES and not window[0].scheduled):
            beyond -= window.popleft().cycles

    def _update_cause(self, cause: OutageCause, state: _CauseState, *, shown: bool) -> None:
        state.sessions_since_end += 1
        if shown:
            state.sessions_without = 0
            if not state.active and self._is_outage(cause):
                self._begin(cause, state)
            return
        state.sessions_without += 1
        if state.active is None:
            state.active = False
        elif state.active and state.sessions_without >= state.required_passes:
            self._end(cause, state)

    def _is_outage(self, cause: OutageCause) -> bool:
        window = self._windows[self._probe[cause]]
        if cause is OutageCause.SLOTS:  # one user without slots is a finding about that user; all of them are an outage
            last = list(window)[-self._slot_failures :]
            return len({one.identity for one in last if cause in one.causes}) == self._slot_failures
        count = sum(one.shows(cause) for one in window)
        return count >= max(MIN_FAILURES_OF_CAUSE[cause], ceil(len(window) / MIN_FAILED_ONE_IN))

    def _begin(self, cause: OutageCause, state: _CauseState) -> None:
        """Begin an outage. More passes in a row than lay between its failures end it, twice as many in a relapse."""
        usual = max(self._required_passes[self._probe[cause]], self._longest_gap(cause) + 1)
        state.required_passes = (
            max(usual, min(2 * state.required_passes, RELAPSE_SESSIONS))
            if state.sessions_since_end <= RELAPSE_SESSIONS
            else usual
        )
        state.active, state.sessions_without = True, 0

    def _longest_gap(self, cause: OutageCause) -> int:
        shown = [cause in one.causes for one in self._windows[self._probe[cause]]]
        marks = [at for at, one in enumerate(shown) if one]
        return max((after - at - 1 for at, after in pairwise(marks)), default=0)

    def _end(self, cause: OutageCause, state: _CauseState) -> None:
        """End an outage, and drop its failures from the window."""
        state.active, state.sessions_since_end = False, 0
        window = self._windows[self._probe[cause]]
        kept = [one._replace(causes=one.causes - {cause}) for one in window]
        window.clear()
        window.extend(kept)

    def _active_causes(self) -> list[OutageCause]:
        return [cause for cause, state in self._states.items() if state.active]

    def _none_passed(self, probe: Probe, length: int) -> bool:
        """Whether none of the last sessions passed, whatever the cause of each."""
        failed = takewhile(lambda one: one.causes - {OutageCause.SLOTS}, reversed(self._windows[probe]))
        return sum(one.scheduled or one.causes != {OutageCause.RESTARTING} for one in failed) >= length

    def _replaces_active_causes(self, causes: frozenset[OutageCause], probes: Iterable[Probe]) -> bool:
        """Whether these causes, met for the first time while nothing passes, replace the active ones."""
        active_causes = self._active_causes()
        if not causes or not active_causes or not causes.isdisjoint(active_causes):
            return False
        length = max(MIN_FAILURES_OF_CAUSE[cause] for cause in active_causes)
        seen = {cause for window in self._windows.values() for one in window for cause in one.causes}
        return causes.isdisjoint(seen) and any(self._none_passed(probe, length) for probe in probes)

    def _replace_active_causes(self, causes: frozenset[OutageCause]) -> None:
        for cause, state in self._states.items():
            if cause in causes:
                self._begin(cause, state)
            elif state.active:
                state.active = False


def _deciding_probe(probe: Probe, probes: Iterable[Probe]) -> Probe:
    """Return the probe whose verdicts end an outage of `probe`: itself, else the next deeper, or the deepest."""
    by_depth = sorted(probes, key=lambda one: one.rank)
    return next((one for one in by_depth if one.rank >= probe.rank), by_depth[-1])
