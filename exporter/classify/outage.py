"""Which outages stand: sessions of one target, counted into causes.

Rule 1: counts sessions and cycles, never seconds, so that an outage is one whatever the interval and whoever scrapes.
Rule 2: one failed cycle and its first confirm run are a blip, not an outage; nor are restarts one, unless cycle after
cycle meets them.
Rule 3: while an outage stands, the cause that stands is the one that the last sessions met.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from itertools import pairwise, takewhile
from math import ceil
from typing import Final, NamedTuple

from websockets.frames import CloseCode

from exporter.classify.rules import LEGAL_FAILURES, PHASES_OF_PROBE, failing_phases
from exporter.config import Profile
from exporter.result import FactoryReason, Initiator, Phase, Probe, Reason, Result, Trigger, Verdict


class OutageCause(StrEnum):
    """What an outage is paged as. A label value: this list is a promise."""

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
"""An outage is judged by the sessions of so many scheduled cycles and their confirm runs."""

MIN_FAILED_ONE_IN: Final = 4
"""One session in so many must have failed, so that chance among many confirm runs is no outage."""

MIN_FAILURES: Final = 3
"""Failures of one cause that make an outage, and passes in a row that end it at most at once."""

MAX_RECOVERY_SECONDS: Final = 60.0
"""Seconds within which an outage that is over ends, if its first passes are not followed by a failure."""

RELAPSE_SESSIONS: Final = 24
"""Sessions within which an outage that comes back is the same one: then it takes twice as many passes to end it."""

GOING_AWAY_CODES: Final = frozenset({1001, 1012, 1013})
"""Close codes of a server that stops, restarts or asks to come again (RFC 6455 section 7.4.1 and the registry)."""


LOGIN_REFUSALS: Final = frozenset({Reason.AUTH_REJECTED, Reason.AUTH_UNAVAILABLE})
"""Of a token; one that could not be judged too."""

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
"""The probe whose sessions can show the cause."""

MIN_FAILURES_OF_CAUSE: Final[Mapping[OutageCause, int]] = dict.fromkeys(OutageCause, MIN_FAILURES) | {
    OutageCause.AUTH_REJECTED: 2,
    OutageCause.AUTH_UNAVAILABLE: 2,
}
"""Failures that make an outage. Two refusals of a token, because no confirm run follows one."""

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
    """The causes that sessions of this profile can show; `factory`: whether they tell of one."""
    phases = failing_phases(Probe.SEND, profile, tls=tls)
    found = {_usual(phase, reason) for phase in phases for reason in LEGAL_FAILURES[phase] - {Reason.RATE_LIMITED}}
    found = found | FACTORY_OUTAGES if factory else found - FACTORY_OUTAGES
    if not found.isdisjoint({OutageCause.NOT_ADMITTED, OutageCause.REPLY}):
        found |= {OutageCause.INTERNAL_ERROR, OutageCause.RESTARTING}
    return tuple(cause for cause in OutageCause if cause in found)


def _usual(phase: Phase, reason: Reason) -> OutageCause:
    return _BY_REASON.get(reason) or _BY_PHASE[phase]


def says_nothing(result: Result, *, withheld: bool) -> bool:
    """Whether the session is no sign of anything.

    Nothing was judged, or the backend only asked for what we kept back.

    `withheld`: a session that only connects leaves out the token that deeper ones hold in the upgrade request. Then a
    refusal for want of it (RFC 9110 section 15.5.2, or what the profile calls so) says nothing of those that send it.
    """
    wanted = result.http_status == HTTPStatus.UNAUTHORIZED or result.reason in LOGIN_REFUSALS
    asked_for = withheld and result.depth is Probe.CONNECT and result.phase is Phase.UPGRADE and wanted
    return result.void or result.impairment is not None or asked_for


def causes_of(result: Result) -> frozenset[OutageCause]:
    """What outages this session is a sign of; a rate limit is none."""
    return frozenset(_causes(result))


def _causes(result: Result) -> Iterator[OutageCause]:
    if result.factory_reason is not None:
        yield _BY_FACTORY[result.factory_reason]
    refused = result.reason in (*LOGIN_REFUSALS, Reason.RATE_LIMITED)
    close = result.close
    ended = close is not None and close.initiator is Initiator.REMOTE and close.phase is not Phase.CLOSE
    if ended and close is not None and close.code == CloseCode.INTERNAL_ERROR and not refused:
        yield OutageCause.INTERNAL_ERROR
    if result.phase is None or result.reason in (None, Reason.RATE_LIMITED, Reason.FACTORY):
        return
    if ended and close is not None and close.code in GOING_AWAY_CODES and result.reason is Reason.CLOSED:
        yield OutageCause.RESTARTING
    elif result.reason is not None:
        yield _usual(result.phase, result.reason)


class _JudgedSession(NamedTuple):
    """What is kept of one; `cycles`: how many it answers."""

    scheduled: bool
    cycles: int
    causes: frozenset[OutageCause]
    identity: str | None


@dataclass(slots=True)
class _CauseState:
    """Of one cause. `stands`: None while nothing is known.

    `quiet`: sessions in a row that did not show it. `calm`: how many of those end it. `over`: sessions since it ended.
    """

    stands: bool | None = None
    quiet: int = 0
    calm: int = 1
    over: int = RELAPSE_SESSIONS + 1


class OutagePolicy(NamedTuple):
    """What of a target decides how its sessions are judged.

    `intervals`: seconds between two scheduled runs of each probe that the target asks. `pool`: how many identities it
    has. `withheld`: see `says_nothing`. `confirm_after`: seconds from a first failure to a confirm run.
    """

    causes: tuple[OutageCause, ...]
    intervals: Mapping[Probe, float]
    pool: int
    withheld: bool = False
    confirm_after: float = 0.0


class OutageDetector:
    """The outages of one target: `observe` every finished session of its schedule, in the order of their ends.

    An address that takes no connection is a sign once the name has none left that may (RFC 8305 section 5).
    """

    def __init__(self, watched: OutagePolicy) -> None:
        self._states = {cause: _CauseState() for cause in watched.causes}
        self._windows: dict[Probe, deque[_JudgedSession]] = {probe: deque() for probe in watched.intervals}
        self._probe = {cause: _telling(PROBE_OF[cause], watched.intervals) for cause in self._states}
        self._untried: deque[Result] = deque(maxlen=MIN_FAILURES)
        self._plan(watched)

    def follow(self, watched: OutagePolicy) -> bool:
        """Go on with another schedule or pool; False, and nothing else, if the causes or the probes are others."""
        same = set(watched.causes) == self._states.keys() and watched.intervals.keys() == self._windows.keys()
        if same:
            self._plan(watched)
        return same

    def _plan(self, watched: OutagePolicy) -> None:
        self._withheld = watched.withheld
        self._calm = {
            probe: max(1, min(MIN_FAILURES, int(MAX_RECOVERY_SECONDS / each)))
            for probe, each in watched.intervals.items()
        }
        self._owed = {probe: int(watched.confirm_after / each) for probe, each in watched.intervals.items()}
        self._slots = max(1, min(MIN_FAILURES, watched.pool))

    def observe(self, result: Result) -> dict[OutageCause, bool]:
        """One more session, of the schedule or a confirm run; the causes that began or ended to stand by it."""
        if says_nothing(result, withheld=self._withheld):
            return {}
        if result.untried_addresses:
            self._untried.append(result)
            return {}
        earlier = tuple(self._untried) if OutageCause.CONNECT in causes_of(result) else ()
        self._untried.clear()
        before = {cause: state.stands for cause, state in self._states.items()}
        for one in (*earlier, result):
            self._count(one)
        return {
            cause: state.stands
            for cause, state in self._states.items()
            if state.stands is not None and state.stands is not before[cause]
        }

    def last_token(self) -> tuple[OutageCause, ...]:
        """The backend rejected the token, and none is sent until it is another: one rejection is an outage then."""
        state = self._states.get(OutageCause.AUTH_REJECTED)
        if state is None or state.stands:
            return ()
        self._begin(OutageCause.AUTH_REJECTED, state)
        return (OutageCause.AUTH_REJECTED,)

    def _count(self, result: Result) -> None:
        causes = causes_of(result) & self._states.keys()
        asked = [probe for probe in self._windows if self._tells(result, causes, probe)]
        handed_over = self._is_handed_over(causes, asked)
        for probe in asked:
            scheduled = result.trigger is not Trigger.CONFIRM
            self._note(probe, _JudgedSession(scheduled, 1 if scheduled else self._owed[probe], causes, result.identity))
        for cause, state in self._states.items():
            if self._probe[cause] in asked:
                self._judge(cause, state, shown=cause in causes)
        if handed_over:
            self._hand_over(causes)
        elif not self._standing() and any(self._is_dark(probe, MIN_FAILURES) for probe in asked):
            for cause in causes:
                self._begin(cause, self._states[cause])

    def _tells(self, result: Result, causes: Iterable[OutageCause], probe: Probe) -> bool:
        """Whether the session says something of the probe: by a verdict that no rate limit made, or by a cause."""
        verdict = result.verdicts.get(probe, Verdict.NONE)
        limited = verdict is Verdict.FAIL and result.reason is Reason.RATE_LIMITED
        return (verdict is not Verdict.NONE and not limited) or any(self._probe[cause] is probe for cause in causes)

    def _note(self, probe: Probe, session: _JudgedSession) -> None:
        """Keep the sessions of the last cycles: scheduled ones, and confirm runs, which may answer cycles too."""
        window = self._windows[probe]
        window.append(session)
        beyond = sum(one.cycles for one in window) - OUTAGE_WINDOW_CYCLES
        while beyond > 0 or (len(window) > OUTAGE_WINDOW_CYCLES and not window[0].scheduled):
            beyond -= window.popleft().cycles

    def _judge(self, cause: OutageCause, state: _CauseState, *, shown: bool) -> None:
        state.over += 1
        if shown:
            state.quiet = 0
            if not state.stands and self._is_outage(cause):
                self._begin(cause, state)
            return
        state.quiet += 1
        if state.stands is None:
            state.stands = False
        elif state.stands and state.quiet >= state.calm:
            self._end(cause, state)

    def _is_outage(self, cause: OutageCause) -> bool:
        window = self._windows[self._probe[cause]]
        if cause is OutageCause.SLOTS:  # a user without slots is a finding about the user: an outage is one of all
            last = list(window)[-self._slots :]
            return len({one.identity for one in last if cause in one.causes}) == self._slots
        count = sum(cause in one.causes and (one.scheduled or cause is not OutageCause.RESTARTING) for one in window)
        return count >= max(MIN_FAILURES_OF_CAUSE[cause], ceil(len(window) / MIN_FAILED_ONE_IN))

    def _begin(self, cause: OutageCause, state: _CauseState) -> None:
        """As many passes in a row as there were between its failures do not end it, nor do those that ended it once."""
        usual = max(self._calm[self._probe[cause]], self._longest_pause(cause) + 1)
        state.calm = max(usual, min(2 * state.calm, RELAPSE_SESSIONS)) if state.over <= RELAPSE_SESSIONS else usual
        state.stands, state.quiet = True, 0

    def _longest_pause(self, cause: OutageCause) -> int:
        shown = [cause in one.causes for one in self._windows[self._probe[cause]]]
        marks = [at for at, one in enumerate(shown) if one]
        return max((after - at - 1 for at, after in pairwise(marks)), default=0)

    def _end(self, cause: OutageCause, state: _CauseState) -> None:
        """It is over, and the failures that it was made of count no more."""
        state.stands, state.over = False, 0
        window = self._windows[self._probe[cause]]
        kept = [one._replace(causes=one.causes - {cause}) for one in window]
        window.clear()
        window.extend(kept)

    def _standing(self) -> list[OutageCause]:
        return [cause for cause, state in self._states.items() if state.stands]

    def _is_dark(self, probe: Probe, length: int) -> bool:
        """Whether none of the last sessions passed, whatever each of them met."""
        failed = takewhile(lambda one: one.causes - {OutageCause.SLOTS}, reversed(self._windows[probe]))
        return sum(one.scheduled or one.causes != {OutageCause.RESTARTING} for one in failed) >= length

    def _is_handed_over(self, causes: frozenset[OutageCause], asked: Iterable[Probe]) -> bool:
        """While nothing passes, what is met for the first time is what the outage is from now on."""
        standing = self._standing()
        if not causes or not standing or not causes.isdisjoint(standing):
            return False
        length = max(MIN_FAILURES_OF_CAUSE[cause] for cause in standing)
        seen = {cause for window in self._windows.values() for one in window for cause in one.causes}
        return causes.isdisjoint(seen) and any(self._is_dark(probe, length) for probe in asked)

    def _hand_over(self, causes: frozenset[OutageCause]) -> None:
        for cause, state in self._states.items():
            if cause in causes:
                self._begin(cause, state)
            elif state.stands:
                state.stands = False


def _telling(probe: Probe, asked: Iterable[Probe]) -> Probe:
    """The probe whose verdicts end an outage that `probe` would show: itself, the next deeper one, or the deepest."""
    known = sorted(asked, key=lambda one: one.rank)
    return next((one for one in known if one.rank >= probe.rank), known[-1])
