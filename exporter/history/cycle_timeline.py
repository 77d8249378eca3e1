"""The last cycles of one target. A cycle takes nine bytes, since every target keeps more than a hundred of them."""

from array import array
from enum import StrEnum
from typing import Final, NamedTuple

from exporter.result import FactoryReason, Impairment, Probe, Reason, SkipCause


class CycleOutcome(StrEnum):
    """The outcome of a cycle that was due."""

    PASS = "pass"  # noqa: S105
    FAIL = "fail"
    SKIP = "skip"
    IMPAIRED = "impaired"
    DISTORTED = "distorted"


class CycleMark(NamedTuple):
    """One cycle; `at` in unix seconds.

    `reason`, from closed lists: of a pass the deepest probe that passed, of a failure the factory's reason or else the
    reason, of a skip its cause, of an impaired cycle the impairment.
    """

    at: float
    outcome: CycleOutcome
    reason: str


MarkKind = tuple[CycleOutcome, str]

MARK_KINDS: Final[tuple[MarkKind, ...]] = (
    *((CycleOutcome.PASS, probe.value) for probe in Probe),
    *((CycleOutcome.FAIL, reason.value) for reason in (*Reason, *FactoryReason)),
    *((CycleOutcome.SKIP, cause.value) for cause in SkipCause if cause is not SkipCause.DISTORTED),
    *((CycleOutcome.IMPAIRED, impairment.value) for impairment in Impairment),
    (CycleOutcome.DISTORTED, SkipCause.DISTORTED.value),
)
"""Every outcome and reason that a mark can have; a timeline stores the index into this tuple as one byte."""

MARK_NUMBERS: Final = {kind: number for number, kind in enumerate(MARK_KINDS)}

RETAINED_CYCLES: Final = 120
"""Cycles: 40 minutes of the default interval, and more than the page shows."""


class CycleTimeline:
    """The last `RETAINED_CYCLES` cycles, in a ring."""

    __slots__ = ("_kinds", "_next", "_times")

    def __init__(self) -> None:
        self._times = array("d")
        self._kinds = bytearray()
        self._next = 0

    def add(self, at: float, outcome: CycleOutcome, reason: str) -> None:
        """Append a cycle; raises KeyError for a pair that is not in `MARK_KINDS`."""
        number = MARK_NUMBERS[outcome, reason]
        if len(self._kinds) < RETAINED_CYCLES:
            self._times.append(at)
            self._kinds.append(number)
            return
        self._times[self._next] = at
        self._kinds[self._next] = number
        self._next = (self._next + 1) % RETAINED_CYCLES

    def last(self, limit: int) -> list[CycleMark]:
        """The last `limit` cycles, or all if there are fewer, oldest first."""
        places = [*range(self._next, len(self._kinds)), *range(self._next)][-limit:] if limit > 0 else []
        return [CycleMark(self._times[place], *MARK_KINDS[self._kinds[place]]) for place in places]
