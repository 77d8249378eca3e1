"""The last cycles of one target, a mark each: nine bytes, since every target has a hundred of them."""

from array import array
from enum import StrEnum
from typing import Final, NamedTuple

from exporter.result import FactoryReason, Impairment, Probe, Reason, SkipCause


class CycleOutcome(StrEnum):
    """What came of a cycle that was due."""

    PASS = "pass"  # noqa: S105
    FAIL = "fail"
    SKIP = "skip"
    IMPAIRED = "impaired"
    DISTORTED = "distorted"


class CycleMark(NamedTuple):
    """One cycle; `at` in unix seconds. `reason` is a word of a closed list.

    Of a pass the deepest probe that passed, of a failure the factory's reason or else the reason, of a skip its cause.
    """

    at: float
    word: CycleOutcome
    reason: str


Sort = tuple[CycleOutcome, str]

CYCLE_WORDS: Final[tuple[Sort, ...]] = (
    *((CycleOutcome.PASS, probe.value) for probe in Probe),
    *((CycleOutcome.FAIL, reason.value) for reason in (*Reason, *FactoryReason)),
    *((CycleOutcome.SKIP, cause.value) for cause in SkipCause if cause is not SkipCause.DISTORTED),
    *((CycleOutcome.IMPAIRED, impairment.value) for impairment in Impairment),
    (CycleOutcome.DISTORTED, SkipCause.DISTORTED.value),
)
"""Every mark there can be."""

NUMBER_OF_WORD: Final = {sort: number for number, sort in enumerate(CYCLE_WORDS)}

RETAINED_CYCLES: Final = 120
"""Cycles: more than a page shows, 40 minutes of the shipped interval."""


class CycleTimeline:
    """The last `RETAINED_CYCLES` cycles."""

    __slots__ = ("_moments", "_next", "_sorts")

    def __init__(self) -> None:
        self._moments = array("d")
        self._sorts = bytearray()
        self._next = 0

    def add(self, at: float, word: CycleOutcome, reason: str) -> None:
        """Mark a cycle; raises KeyError for words that no cycle has."""
        number = NUMBER_OF_WORD[word, reason]
        if len(self._sorts) < RETAINED_CYCLES:
            self._moments.append(at)
            self._sorts.append(number)
            return
        self._moments[self._next] = at
        self._sorts[self._next] = number
        self._next = (self._next + 1) % RETAINED_CYCLES

    def last(self, number: int) -> list[CycleMark]:
        """So many marks at most, oldest first."""
        places = [*range(self._next, len(self._sorts)), *range(self._next)][-number:] if number > 0 else []
        return [CycleMark(self._moments[place], *CYCLE_WORDS[self._sorts[place]]) for place in places]
