"""Whether a backend gives slots back: judged from the connections of a canary, a user of its own.

The canary walks: in each round it opens and closes `2 × opens` connections at an even pace, by which it holds up to
`opens` slots of the `slots` that the backend keeps for a user (docs/canary.md). A slot that has not come back is one
more that the backend counts, so the backend refuses the canary once more than `slots − opens` are missing.

Rule 1: a connection that failed for another reason than a slot is no evidence of a leak. It may hold a slot, so it
makes the figure of a later refusal smaller, never larger.
Rule 2: what was held before this process is unknown: nothing is judged for one `window` after its start.
Rule 3: behind a balancer each backend process has a count of its own, and only some of the connections of a round reach
the one that leaks. So the figure is the least that is missing, and two rounds in a row must show that all came back.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from exporter.result import FactoryReason, Probe, Result, Verdict

MIN_CLEAN_ROUNDS: Final = 2
"""Rounds in a row without a refusal after which slots that were missing count as back."""
MAX_FAILED_FRACTION: Final = 0.1
"""Of the connections of a round: with more of them failed or skipped it proves nothing."""


class CanaryLimits(NamedTuple):
    """What a canary may do, and what its backend is said to do.

    slots: that the backend keeps for a user, by the config
    opens: slots that the canary may hold; a round has twice as many connections
    slot_release: seconds after a disconnect until its slot is back, by the config
    window: seconds that a connection of the canary holds its slot at most
    """

    slots: int
    opens: int
    slot_release: float
    window: float


class CanaryOpen(NamedTuple):
    """One connection of a canary.

    number: of its round, from 0
    started, ended: monotonic seconds
    accepted: whether the backend gave it a slot; None: it failed for another reason
    limit: the slots per user that a refusal states; None: it states none
    """

    number: int
    started: float
    ended: float
    accepted: bool | None
    limit: int | None = None

    @classmethod
    def of(cls, number: int, started: float, ended: float, result: Result) -> "CanaryOpen":
        """Read the result of a canary's session."""
        if result.factory_reason is FactoryReason.SLOT_LIMIT:
            return cls(number, started, ended, accepted=False, limit=result.slot_limit)
        welcomed = result.factory_reason is None and result.verdicts.get(Probe.AUTH) is Verdict.PASS
        return cls(number, started, ended, accepted=True if welcomed else None)


@dataclass(frozen=True, slots=True)
class LeakFindings:
    """What a canary knows; None: not known yet.

    leaked: slots that had not come back after their release, at least; 0: none is known to be missing
    release: seconds within which a slot came back in the last round, at most
    """

    leaked: int | None = None
    release: float | None = None


@dataclass(slots=True)
class _Round:
    """The connections of a round so far.

    seen: opened or skipped
    failed: opened without an answer about slots, or skipped for another reason than the budget
    proved: one was accepted after as many as the canary may hold
    release: seconds, the least bound of the round
    """

    seen: int = 0
    failed: int = 0
    refused: bool = False
    proved: bool = False
    release: float | None = None


@dataclass(slots=True)
class LeakDetector:
    """Judges the connections of one canary, in their order. `since`: when its memory begins, monotonic seconds."""

    limits: CanaryLimits
    since: float
    findings: LeakFindings = LeakFindings()
    _round: _Round = field(default_factory=_Round)
    _opens: deque[CanaryOpen] = field(default_factory=deque)
    _capacity: int = 0
    _clean_rounds: int = 0

    def record_open(self, opened: CanaryOpen) -> LeakFindings:
        """Record a connection; return what is known now."""
        self._begin(opened.number)
        held = self._held(opened.started)
        if opened.accepted is False:
            self._record_refusal(opened, held)
        else:
            self._record_slot(opened, held)
        self._end(opened.number)
        return self.findings

    def record_skip(self, number: int, *, over_budget: bool) -> LeakFindings:
        """Record a connection that was due and not opened; `over_budget`: the ledger permits fewer slots by now."""
        self._begin(number)
        self._round.failed += not over_budget
        self._end(number)
        return self.findings

    def _begin(self, number: int) -> None:
        if number == 0:
            self._round = _Round()
        self._round.seen += 1

    def _held(self, now: float) -> int:
        """Return how many slots the canary may rightly hold."""
        return sum(now < opened.ended + self.limits.slot_release for opened in self._opens)

    def _record_refusal(self, opened: CanaryOpen, held: int) -> None:
        """Of the slots that the backend counts, those that the canary does not hold have not come back.

        A refusal that states no limit is compared with what the backend has been seen to accept.
        """
        self._round.refused, self._clean_rounds = True, 0
        if opened.started < self.since + self.limits.window:
            return
        missing = (opened.limit or self._capacity) - held
        if missing > 0:
            self.findings = LeakFindings(missing, self.findings.release)

    def _record_slot(self, opened: CanaryOpen, held: int) -> None:
        if opened.accepted is None:
            self._round.failed += 1
        else:
            self._capacity = max(self._capacity, held + 1)
            self._round.proved |= opened.number >= self.limits.opens
            self._record_release(opened)
        self._opens.append(opened)
        if len(self._opens) > 2 * self.limits.slots:
            self._opens.popleft()

    def _record_release(self, opened: CanaryOpen) -> None:
        """Had none of the last `slots` slots come back, there would have been none left: one of them did."""
        slots = [earlier.ended for earlier in self._opens if earlier.accepted]
        if len(slots) >= self.limits.slots:
            seconds = opened.started - slots[-self.limits.slots]
            self._round.release = min(seconds, self._round.release or seconds)

    def _end(self, number: int) -> None:
        """After the last connection of a round: judge it."""
        if number != 2 * self.limits.opens - 1:
            return
        ended, self._round = self._round, _Round()
        leaked = self.findings.leaked
        if ended.proved and not ended.refused and self._is_whole(ended):
            self._clean_rounds += 1
            if leaked is None or self._clean_rounds >= MIN_CLEAN_ROUNDS:
                leaked = 0
        self.findings = LeakFindings(leaked, self.findings.release if ended.release is None else ended.release)

    def _is_whole(self, ended: _Round) -> bool:
        """Whether every connection of the round was due in this process, and nearly all were answered."""
        connects = 2 * self.limits.opens
        return ended.seen == connects and ended.failed <= MAX_FAILED_FRACTION * connects
