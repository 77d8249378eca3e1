"""All targets: what they are told, what they tell, and who gives way when memory is short."""

import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, NamedTuple

from exporter.history.cycle_timeline import NUMBER_OF_WORD, CycleMark, CycleOutcome, CycleTimeline
from exporter.history.result_buffer import ResultBuffer
from exporter.history.target_state import UNKNOWN_STATE, TargetState, TargetStateTracker
from exporter.history.windowed_counter import WindowedCounter
from exporter.result import (
    FactoryReason,
    Initiator,
    Phase,
    Probe,
    Reason,
    Result,
    Skip,
    SkipCause,
    Trigger,
    Verdict,
)

RETAINED_RESULTS: Final = 100
RETAINED_FAILURES: Final = 100
MAX_HISTORY_BYTES: Final = 32 << 20
"""Some 12,000 healthy sessions: all that 50 targets may keep."""

OTHER_CODE: Final = 0
"""The code under which those are counted that come after `tally.KINDS` others."""


_PASS, _PASSED, _SCHEDULE = Verdict.PASS, CycleOutcome.PASS, Trigger.SCHEDULE
"""At hand: see `standing`."""


class CloseKey(NamedTuple):
    """How a session was closed; `code` is `OTHER_CODE` for a server that invents too many."""

    code: int
    initiator: Initiator
    phase: Phase


class FailureKey(NamedTuple):
    """Why a session failed."""

    phase: Phase
    reason: Reason
    factory_reason: FactoryReason | None = None


@dataclass(frozen=True, slots=True)
class HistorySnapshot:
    """What a file keeps of a target beside its results. `at`: when the newest session began that is taken in.

    `closes`, `reasons`: counts by steps, as `Tally.steps` tells them.
    """

    at: float
    verdicts: Mapping[Probe, Verdict]
    since: float
    impaired_since: float | None
    marks: tuple[CycleMark, ...]
    closes: tuple[tuple[CloseKey, Mapping[int, int]], ...]
    reasons: tuple[tuple[FailureKey, Mapping[int, int]], ...]


class _TargetHistory:
    """All that is known of one target."""

    __slots__ = ("closes", "reasons", "shelf", "standing", "strip")

    def __init__(self, last: int, failures: int) -> None:
        self.shelf = ResultBuffer(last, failures)
        self.standing = TargetStateTracker()
        self.strip = CycleTimeline()
        self.closes: WindowedCounter[CloseKey] = WindowedCounter()
        self.reasons: WindowedCounter[FailureKey] = WindowedCounter()


class History:
    """Per target the `last` results and `failures` failures before them; all results in about `max_bytes`.

    When those are used up, a target that holds more than an equal share gives way for its own next result, and else
    the target that holds most: its oldest success first, then its oldest failure, never its newest result. So what a
    target keeps within its share is never taken from it by others (unless a single result is larger than a share), and
    failures outlive successes.

    States, cycles and counts are of fixed size, and not in `max_bytes`: 6 KB for a target that passes, 20 KB for one
    that fails in ten ways.
    """

    def __init__(
        self, last: int = RETAINED_RESULTS, failures: int = RETAINED_FAILURES, max_bytes: int = MAX_HISTORY_BYTES
    ) -> None:
        self._last = last
        self._failures = failures
        self._max_bytes = max_bytes
        self._targets: dict[str, _TargetHistory] = {}
        self._bytes = 0

    # Told ---------------------------------------------------------------------------------------------------------

    def add(self, result: Result) -> None:
        """A finished session, scheduled or not."""
        target = self._known(result.target)
        self._keep(target, result)
        target.standing.add(result)
        at = result.started_at
        if result.close is not None:
            ending = CloseKey(result.close.code, result.close.initiator, result.close.phase)
            if not target.closes.count(ending, at):
                target.closes.count(ending._replace(code=OTHER_CODE), at, most=sys.maxsize)
        if result.reason is not None and result.phase is not None:
            target.reasons.count(FailureKey(result.phase, result.reason, result.factory_reason), at)
        if result.impairment is not None and result.trigger is _SCHEDULE:
            target.strip.add(at, CycleOutcome.IMPAIRED, result.impairment.value)

    def cycle(self, result: Result) -> None:
        """The session that answers one scheduled cycle, after it was added."""
        self._known(result.target).strip.add(result.started_at, *_mark(result))

    def skip(self, skip: Skip, at: float) -> None:
        """A cycle that opened no session, or one that proved nothing; `at` in unix seconds."""
        word = CycleOutcome.DISTORTED if skip.cause is SkipCause.DISTORTED else CycleOutcome.SKIP
        self._known(skip.target).strip.add(at, word, skip.cause.value)

    def expect(self, target: str, probes: tuple[Probe, ...]) -> None:
        """What a target is asked from now on; what another probe said last does not count in its state any more."""
        self._known(target).standing.expect(probes)

    def remove(self, target: str) -> None:
        """Forget a target."""
        gone = self._targets.pop(target, None)
        if gone is not None:
            self._bytes -= gone.shelf.size

    def retain(self, names: Iterable[str]) -> None:
        """Forget all targets but these."""
        for name in self._targets.keys() - set(names):
            self.remove(name)

    # Asked --------------------------------------------------------------------------------------------------------

    def targets(self) -> tuple[str, ...]:
        """The targets that anything is known of."""
        return tuple(self._targets)

    def results(self, target: str) -> Sequence[Result]:
        """What is kept, newest first."""
        known = self._targets.get(target)
        return known.shelf.newest_first() if known else ()

    def recent(self, target: str) -> Sequence[Result]:
        """The last sessions without a gap, oldest first."""
        known = self._targets.get(target)
        return known.shelf.recent() if known else ()

    def failures(self, target: str, limit: int) -> Sequence[Result]:
        """The failures that are kept, newest first, so many at most."""
        known = self._targets.get(target)
        return list(islice(known.shelf.failures(), limit)) if known else ()

    def latest(self, target: str) -> Result | None:
        """The last session, whatever came of it."""
        known = self._targets.get(target)
        return known.standing.latest if known else None

    def state(self, target: str) -> TargetState:
        """How it does; of a target that is not known, that."""
        known = self._targets.get(target)
        return known.standing.state() if known else UNKNOWN_STATE

    def strip(self, target: str, number: int) -> Sequence[CycleMark]:
        """The last scheduled cycles, oldest first, so many at most."""
        known = self._targets.get(target)
        return known.strip.last(number) if known else ()

    def closes(self, target: str, since: float) -> Counter[CloseKey]:
        """How often sessions of the last day ended how, from five minutes before `since` (unix seconds) on."""
        known = self._targets.get(target)
        return known.closes.since(since) if known else Counter()

    def reasons(self, target: str, since: float) -> Counter[FailureKey]:
        """How often sessions of the last day failed why, from five minutes before `since` (unix seconds) on."""
        known = self._targets.get(target)
        return known.reasons.since(max(since, known.closes.begin)) if known else Counter()

    # Kept over a restart ------------------------------------------------------------------------------------------

    def snapshot(self, target: str) -> HistorySnapshot | None:
        """What a file should keep beside the results; None before the first of them."""
        known = self._targets.get(target)
        if known is None or known.standing.latest is None:
            return None
        standing = known.standing
        return HistorySnapshot(
            at=known.standing.latest.started_at,
            verdicts=dict(standing.verdicts),
            since=standing.since,
            impaired_since=standing.impaired_since,
            marks=tuple(known.strip.last(len(NUMBER_OF_WORD) * 100)),
            closes=tuple(known.closes.steps().items()),
            reasons=tuple(known.reasons.steps().items()),
        )

    def recall(self, target: str, snapshot: HistorySnapshot | None, results: Iterable[Result]) -> None:
        """Go on where an earlier process ended: its results of a target, oldest first.

        Those that the snapshot does not know are taken in as if they had just been.
        """
        known = self._known(target)
        if snapshot is not None:
            known.standing.recall(snapshot.verdicts, snapshot.since, snapshot.impaired_since)
            known.closes.recall(dict(snapshot.closes))
            known.reasons.recall(dict(snapshot.reasons))
            for mark in snapshot.marks:
                if mark[1:] in NUMBER_OF_WORD:
                    known.strip.add(*mark)
        for result in results:
            if snapshot is not None and result.started_at <= snapshot.at:
                self._keep(known, result)
                known.standing.remember(result)
                continue
            self.add(result)
            if result.trigger is _SCHEDULE and result.impairment is None and not result.void:
                self.cycle(result)

    # Bounds -------------------------------------------------------------------------------------------------------

    def _known(self, name: str) -> _TargetHistory:
        target = self._targets.get(name)
        if target is None:
            target = self._targets[name] = _TargetHistory(self._last, self._failures)
        return target

    def _keep(self, target: _TargetHistory, result: Result) -> None:
        self._bytes -= target.shelf.size
        target.shelf.add(result)
        self._bytes += target.shelf.size
        while self._bytes > self._max_bytes and self._give_way(target.shelf):
            pass

    def _give_way(self, own: ResultBuffer) -> bool:
        """Have one result given up; False if each target has only its newest."""
        if own.size * len(self._targets) > self._max_bytes and self._shrink(own):
            return True
        return self._shrink(max((known.shelf for known in self._targets.values()), key=lambda shelf: shelf.spare))

    def _shrink(self, shelf: ResultBuffer) -> bool:
        before = shelf.size
        shelf.shrink()
        self._bytes += shelf.size - before
        return shelf.size < before


def _mark(result: Result) -> tuple[CycleOutcome, str]:
    if result.failed:
        return CycleOutcome.FAIL, result.factory_reason or result.reason or FactoryReason.OTHER
    deepest = Probe.CONNECT
    for probe, verdict in result.verdicts.items():
        if verdict is _PASS:
            deepest = probe
    return _PASSED, deepest
