"""How long a target's phases usually take at worst, from its own last sessions.

Rule 1: of each phase the largest durations of two generations are kept, and nothing else: the quantile is exact, the
memory bounded.
"""

from bisect import insort
from collections.abc import Mapping
from typing import Final, NamedTuple

from exporter.result import Phase

USUAL_FRACTION: Final = 0.995
"""The usual worst is no less than what this fraction of the last sessions took, those of one or two generations."""
GENERATION_SESSIONS: Final = 500
LARGEST_KEPT: Final = round(2 * GENERATION_SESSIONS * (1 - USUAL_FRACTION)) + 1
"""Durations that decide on the quantile of two full generations."""
MIN_SESSIONS: Final = 20
"""Sessions without which nothing is usual yet."""
OVERDUE_SCALE: Final = 1.5
MIN_OVERDUE_SECONDS: Final = 2.0
"""A wait is overdue after this multiple of the usual worst, and never before these seconds."""


class Wait(NamedTuple):
    """What one phase may take. `usual`: the usual worst; `overdue_after`: when waiting longer is a reason to look."""

    usual: float
    overdue_after: float


class UsualWaits:
    """The phases of one target's sessions."""

    __slots__ = ("_phases",)

    def __init__(self) -> None:
        self._phases: dict[Phase, _Durations] = {}

    def record(self, phases: Mapping[Phase, float]) -> None:
        """Record the completed phases of one session, in seconds."""
        for phase, seconds in phases.items():
            self._phases.setdefault(phase, _Durations()).add(seconds)

    def wait(self, phase: Phase) -> Wait | None:
        """Return what the phase may take; None: too few sessions have completed it."""
        durations = self._phases.get(phase)
        usual = None if durations is None else durations.usual_worst()
        return None if usual is None else Wait(usual, max(MIN_OVERDUE_SECONDS, OVERDUE_SCALE * usual))


class _Durations:
    """The largest durations of the running generation and of the one before it, in ascending order."""

    __slots__ = ("_count", "_earlier", "_earlier_count", "_largest")

    def __init__(self) -> None:
        self._count = self._earlier_count = 0
        self._largest: list[float] = []
        self._earlier: list[float] = []

    def add(self, seconds: float) -> None:
        """Keep it if it is one of the largest."""
        if self._count == GENERATION_SESSIONS:
            self._earlier, self._earlier_count = self._largest, self._count
            self._largest, self._count = [], 0
        self._count += 1
        insort(self._largest, seconds)
        if len(self._largest) > LARGEST_KEPT:
            del self._largest[0]

    def usual_worst(self) -> float | None:
        """Return the quantile; None: there are too few."""
        count = self._count + self._earlier_count
        if count < MIN_SESSIONS:
            return None
        return sorted([*self._largest, *self._earlier])[-1 - int(count * (1 - USUAL_FRACTION))]
