"""The arithmetic of cycles: when they fall due, and which of them take a slot.

Rule 1: calculations use whole microseconds, the resolution of a `datetime`: no drift, and a cycle keeps its number
whether its due time passed through a float or a datetime.
"""

import zlib
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import ceil, floor, gcd, lcm
from typing import Self

MICROSECONDS_PER_SECOND = 1_000_000


def to_microseconds(seconds: float) -> int:
    """Return the nearest whole number of microseconds; exact for moments until the year 2106."""
    whole_seconds = floor(seconds)  # the remainder is exact, and small enough for an exact product
    return whole_seconds * MICROSECONDS_PER_SECOND + round((seconds - whole_seconds) * MICROSECONDS_PER_SECOND)


@dataclass(frozen=True, slots=True)
class Cadence:
    """The due times of one target's cycles, in unix microseconds: cycle c is due at `offset_us` + c × `interval_us`."""

    interval_us: int
    offset_us: int

    @classmethod
    def of(cls, name: str, interval_seconds: float) -> Self:
        """Make a cadence with an offset from a checksum of the name: the same after every restart."""
        interval_us = max(1, to_microseconds(interval_seconds))
        return cls(interval_us, zlib.crc32(name.encode()) * interval_us >> 32)

    def cycle_at(self, moment: float) -> int:
        """Return the number of the last cycle due at or before `moment` (unix seconds)."""
        return (to_microseconds(moment) - self.offset_us) // self.interval_us

    def due(self, cycle: int) -> float:
        """Return when the cycle is due, unix seconds; `cycle_at` of it is the cycle again."""
        return (self.offset_us + cycle * self.interval_us) / MICROSECONDS_PER_SECOND

    def parts(self) -> Iterator["Cadence"]:
        """Yield the cadence itself, as `BetweenCycles.parts` does those of which it is made."""
        yield self


@dataclass(frozen=True, slots=True)
class BetweenCycles:
    """The due times between the cycles of a cadence: `every_us` after each cycle, and so on until the next one is due.

    Cycles and runs together are at most `every_us` apart, and no run falls on a cycle. `every_us` must be less than the
    interval of the cycles. Methods as of `Cadence`.
    """

    cycles: Cadence
    every_us: int

    @property
    def runs(self) -> int:
        """How many runs lie between two cycles."""
        return ceil(self.cycles.interval_us / self.every_us) - 1

    @property
    def interval_us(self) -> int:
        """Microseconds between two runs, or less where a cycle lies between them."""
        return self.every_us

    def cycle_at(self, moment: float) -> int:
        """Return the number of the last run due at or before `moment` (unix seconds)."""
        cycle, since_us = divmod(to_microseconds(moment) - self.cycles.offset_us, self.cycles.interval_us)
        return cycle * self.runs + min(since_us // self.every_us, self.runs) - 1

    def due(self, run: int) -> float:
        """Return when the run is due, unix seconds; `cycle_at` of it is the run again."""
        cycle, number = divmod(run, self.runs)
        since_us = cycle * self.cycles.interval_us + (number + 1) * self.every_us
        return (self.cycles.offset_us + since_us) / MICROSECONDS_PER_SECOND

    def parts(self) -> Iterator[Cadence]:
        """Yield cadences that together have these due times."""
        for number in range(1, self.runs + 1):
            yield Cadence(self.cycles.interval_us, self.cycles.offset_us + number * self.every_us)


@dataclass(frozen=True, slots=True)
class SlotPattern:
    """Which cycles take a slot: those of `slot_cycles` within every block of `period` cycles."""

    period: int
    slot_cycles: tuple[int, ...]

    @classmethod
    def every(cls, steps: tuple[int, ...]) -> Self:
        """Make the pattern of cycles whose number is a multiple of any of `steps`; without steps, of none."""
        needed = [step for step in steps if not any(step % other == 0 and step > other for other in steps)]
        period = lcm(*needed)
        return cls(period, tuple(sorted({cycle for step in needed for cycle in range(0, period, step)})))

    def slots_before(self, cycle: int) -> int:
        """Return how many cycles from 0 on take a slot before this one."""
        blocks, remainder = divmod(cycle, self.period)
        return blocks * len(self.slot_cycles) + bisect_left(self.slot_cycles, remainder)

    def takes_slot(self, cycle: int) -> bool:
        """Whether the cycle takes a slot."""
        return self.slots_before(cycle + 1) > self.slots_before(cycle)

    def slots_within(self, cycles: int) -> list[int]:
        """Return, for each slot cycle of a block, the slots taken from it to `cycles` cycles later, both included."""
        return [self.slots_before(cycle + cycles + 1) - number for number, cycle in enumerate(self.slot_cycles)]

    def max_slots(self, cycles: int) -> int:
        """Return the most slots taken in `cycles` + 1 cycles in a row."""
        return max(self.slots_within(cycles), default=0)

    def max_slots_per_identity(self, cycles: int, identities: int) -> list[int]:
        """Return the most slots that each identity takes in `cycles` + 1 cycles in a row, by round robin.

        Exact: identity i has the slot cycles i, i + n, i + 2n …; their possible places in the block depend only on i
        modulo the greatest common divisor of n and the block's size.
        """
        if not self.slot_cycles:
            return [0] * identities
        classes = gcd(identities, len(self.slot_cycles))
        most = [0] * classes
        for number, run in enumerate(self.slots_within(cycles)):
            most[number % classes] = max(most[number % classes], ceil(run / identities))
        return [most[index % classes] for index in range(identities)]


def max_connects(cadences: Iterable[Cadence | BetweenCycles], window_us: int) -> int:
    """Return the most cycles due in any `window_us` microseconds (begin included, end not), over all cadences.

    Exact for cadences of one interval; an upper bound for a mixture.
    """
    offsets: dict[int, list[int]] = {}
    for cadence in cadences:
        for part in cadence.parts():
            offsets.setdefault(part.interval_us, []).append(part.offset_us % part.interval_us)
    return sum(
        _max_connects_of_interval(interval_us, sorted(starts), window_us) for interval_us, starts in offsets.items()
    )


def _max_connects_of_interval(interval_us: int, starts: list[int], window_us: int) -> int:
    intervals, remainder = divmod(window_us, interval_us)
    twice = [*starts, *(start + interval_us for start in starts)]
    crowd = max(bisect_left(twice, start + remainder) - number for number, start in enumerate(starts))
    return intervals * len(starts) + max(0, crowd)
