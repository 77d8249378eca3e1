"""The recent past of all targets, and which results are evicted when memory is short."""

import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, NamedTuple

from exporter.history.cycle_timeline import MARK_NUMBERS, RETAINED_CYCLES, CycleMark, CycleOutcome, CycleTimeline
from exporter.history.result_buffer import ResultBuffer
from exporter.history.target_state import UNKNOWN_STATE, TargetState, TargetStateTracker
from exporter.history.windowed_counter import WindowedCounter
from exporter.result import (
    FactoryReason,
    HeldConnection,
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
"""Bytes for the results of all targets: some 12,000 healthy sessions, which is all that 50 targets may keep."""

OTHER_CODE: Final = 0
"""The close code under which all codes beyond the first `MAX_KINDS` are counted."""

_PASS, _PASSED, _SCHEDULE = Verdict.PASS, CycleOutcome.PASS, Trigger.SCHEDULE
"""Bound to names for speed, as in `target_state`."""


class CloseKey(NamedTuple):
    """How a session was closed; `code` is `OTHER_CODE` if the server has used more than `MAX_KINDS` others."""

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
    """What a file stores of a target beside its results.

    `at`: unix seconds at which the newest recorded session began.
    `closes`, `reasons`: counts, as `WindowedCounter.buckets` returns them.
    """

    at: float
    verdicts: Mapping[Probe, Verdict]
    since: float
    impaired_since: float | None
    marks: tuple[CycleMark, ...]
    closes: tuple[tuple[CloseKey, Mapping[int, int]], ...]
    reasons: tuple[tuple[FailureKey, Mapping[int, int]], ...]


class _TargetHistory:
    """The recent past of one target."""

    __slots__ = ("closes", "held", "reasons", "results", "state", "timeline")

    def __init__(self, last: int, failures: int) -> None:
        self.results = ResultBuffer(last, failures)
        self.state = TargetStateTracker()
        self.timeline = CycleTimeline()
        self.closes: WindowedCounter[CloseKey] = WindowedCounter()
        self.reasons: WindowedCounter[FailureKey] = WindowedCounter()
        self.held: HeldConnection | None = None


class History:
    """Per target the `last` results and `failures` failures before them; all results in about `max_bytes`.

    Beyond `max_bytes`, a result is evicted for every new one: from the target of the new one if it holds more than an
    equal share, else from the target that holds most. The oldest success goes first, then the oldest failure, never
    the newest result. Results within a target's share are therefore never evicted for another target (unless a single
    result is larger than a share), and failures outlive successes.

    States, cycles and counts have a fixed size that `max_bytes` does not include: 6 KB for a target that passes, 20 KB
    for one that fails in ten ways.
    """

    def __init__(
        self, last: int = RETAINED_RESULTS, failures: int = RETAINED_FAILURES, max_bytes: int = MAX_HISTORY_BYTES
    ) -> None:
        self._last = last
        self._failures = failures
        self._max_bytes = max_bytes
        self._targets: dict[str, _TargetHistory] = {}
        self._bytes = 0

    # Recording ----------------------------------------------------------------------------------------------------

    def add(self, result: Result) -> None:
        """Record a finished session, scheduled or not."""
        target = self._get_or_create(result.target)
        self._store_result(target, result)
        target.state.add(result)
        at = result.started_at
        if result.close is not None:
            close = CloseKey(result.close.code, result.close.initiator, result.close.phase)
            if not target.closes.count(close, at):
                target.closes.count(close._replace(code=OTHER_CODE), at, max_kinds=sys.maxsize)
        if result.reason is not None and result.phase is not None:
            target.reasons.count(FailureKey(result.phase, result.reason, result.factory_reason), at)
        if result.impairment is not None and result.trigger is _SCHEDULE:
            target.timeline.add(at, CycleOutcome.IMPAIRED, result.impairment.value)

    def add_cycle(self, result: Result) -> None:
        """Record a scheduled cycle by the session that answers it, after `add` of that session."""
        self._get_or_create(result.target).timeline.add(result.started_at, *_outcome(result))

    def add_skip(self, skip: Skip, at: float) -> None:
        """Record a cycle that opened no session or proved nothing; `at` in unix seconds."""
        outcome = CycleOutcome.DISTORTED if skip.cause is SkipCause.DISTORTED else CycleOutcome.SKIP
        self._get_or_create(skip.target).timeline.add(at, outcome, skip.cause.value)

    def set_probes(self, target: str, probes: tuple[Probe, ...]) -> None:
        """Set the probes of a target; verdicts of other probes no longer count in its state."""
        self._get_or_create(target).state.set_probes(probes)

    def set_held_connection(self, target: str, held: HeldConnection | None) -> bool:
        """Set what the held connection of a target shows, None: nothing yet; False for a target that was removed."""
        history = self._targets.get(target)
        if history is not None:
            history.held = held
        return history is not None

    def remove(self, target: str) -> None:
        """Forget a target."""
        removed = self._targets.pop(target, None)
        if removed is not None:
            self._bytes -= removed.results.size

    def retain(self, names: Iterable[str]) -> None:
        """Forget all targets but these."""
        for name in self._targets.keys() - set(names):
            self.remove(name)

    # Reading; a target without a history has empty answers ----------------------------------------------------------

    def targets(self) -> tuple[str, ...]:
        """The targets that have a history."""
        return tuple(self._targets)

    def results(self, target: str) -> Sequence[Result]:
        """All results in memory, newest first."""
        history = self._targets.get(target)
        return history.results.newest_first() if history else ()

    def recent(self, target: str) -> Sequence[Result]:
        """The last sessions without a gap, oldest first."""
        history = self._targets.get(target)
        return history.results.recent() if history else ()

    def failures(self, target: str, limit: int) -> Sequence[Result]:
        """At most `limit` failures, newest first."""
        history = self._targets.get(target)
        return list(islice(history.results.failures(), limit)) if history else ()

    def latest(self, target: str) -> Result | None:
        """The last session, whatever its outcome."""
        history = self._targets.get(target)
        return history.state.latest if history else None

    def state(self, target: str) -> TargetState:
        """The state now; `UNKNOWN_STATE` for a target without a history."""
        history = self._targets.get(target)
        return history.state.state() if history else UNKNOWN_STATE

    def cycles(self, target: str, limit: int) -> Sequence[CycleMark]:
        """At most `limit` scheduled cycles, the last ones, oldest first."""
        history = self._targets.get(target)
        return history.timeline.last(limit) if history else ()

    def closes(self, target: str, since: float) -> Counter[CloseKey]:
        """How sessions were closed in the last day, from the bucket of `since` (unix seconds) on."""
        history = self._targets.get(target)
        return history.closes.since(since) if history else Counter()

    def reasons(self, target: str, since: float) -> Counter[FailureKey]:
        """Why sessions failed in the last day, from the bucket of `since` (unix seconds) on."""
        history = self._targets.get(target)
        return history.reasons.since(max(since, history.closes.begin)) if history else Counter()

    def held_connection(self, target: str) -> HeldConnection | None:
        """What the held connection of a target shows; None: nothing yet."""
        history = self._targets.get(target)
        return history.held if history else None

    # Over a restart -----------------------------------------------------------------------------------------------

    def snapshot(self, target: str) -> HistorySnapshot | None:
        """What a file should store beside the results; None before the first of them."""
        history = self._targets.get(target)
        if history is None or history.state.latest is None:
            return None
        state = history.state
        return HistorySnapshot(
            at=history.state.latest.started_at,
            verdicts=dict(state.verdicts),
            since=state.since,
            impaired_since=state.impaired_since,
            marks=tuple(history.timeline.last(RETAINED_CYCLES)),
            closes=tuple(history.closes.buckets().items()),
            reasons=tuple(history.reasons.buckets().items()),
        )

    def restore(self, target: str, snapshot: HistorySnapshot | None, results: Iterable[Result]) -> None:
        """Continue from the snapshot and the results of an earlier process, oldest first.

        Results that are newer than the snapshot are recorded as if their sessions had just ended.
        """
        history = self._get_or_create(target)
        if snapshot is not None:
            history.state.restore(snapshot.verdicts, snapshot.since, snapshot.impaired_since)
            history.closes.restore(dict(snapshot.closes))
            history.reasons.restore(dict(snapshot.reasons))
            for mark in snapshot.marks:
                if mark[1:] in MARK_NUMBERS:
                    history.timeline.add(*mark)
        for result in results:
            if snapshot is not None and result.started_at <= snapshot.at:
                self._store_result(history, result)
                history.state.attach_result(result)
                continue
            self.add(result)
            if result.trigger is _SCHEDULE and result.impairment is None and not result.void:
                self.add_cycle(result)

    # Bounds -------------------------------------------------------------------------------------------------------

    def _get_or_create(self, name: str) -> _TargetHistory:
        history = self._targets.get(name)
        if history is None:
            history = self._targets[name] = _TargetHistory(self._last, self._failures)
        return history

    def _store_result(self, history: _TargetHistory, result: Result) -> None:
        self._bytes -= history.results.size
        history.results.add(result)
        self._bytes += history.results.size
        while self._bytes > self._max_bytes and self._evict_one(history.results):
            pass

    def _evict_one(self, own: ResultBuffer) -> bool:
        """Evict one result, from `own` or the largest buffer; False if every target has only its newest."""
        if own.size * len(self._targets) > self._max_bytes and self._shrink(own):
            return True
        buffers = (history.results for history in self._targets.values())
        return self._shrink(max(buffers, key=lambda buffer: buffer.evictable_bytes))

    def _shrink(self, buffer: ResultBuffer) -> bool:
        before = buffer.size
        buffer.shrink()
        self._bytes += buffer.size - before
        return buffer.size < before


def _outcome(result: Result) -> tuple[CycleOutcome, str]:
    if result.failed:
        return CycleOutcome.FAIL, result.factory_reason or result.reason or FactoryReason.OTHER
    deepest = Probe.CONNECT
    for probe, verdict in result.verdicts.items():
        if verdict is _PASS:
            deepest = probe
    return _PASSED, deepest
