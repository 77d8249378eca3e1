"""The arithmetic of cycles: when they fall due, and which of them take a slot.

Rule 1: whole microseconds inside, the finest a `datetime` keeps: no drift, and a cycle is the same cycle whether its
moment went through a float or through a datetime.
"""

import zlib
from bisect import bisect_left
from dataclasses import dataclass
from math import ceil, floor, gcd, lcm
from typing import Self

MICROSECONDS_PER_SECOND = 1_000_000


def microseconds(seconds: float) -> int:
    """Give the nearest whole number of microseconds; exact for moments until the year 2106."""
    whole = floor(seconds)  # what is left of a float is exact, and so small that its product is
    return whole * MICROSECONDS_PER_SECOND + round((seconds - whole) * MICROSECONDS_PER_SECOND)


@dataclass(frozen=True, slots=True)
class Cadence:
    """The moments of one target's cycles, in unix microseconds: cycle c is due at `offset` + c × `interval`."""

    interval: int
    offset: int

    @classmethod
    def of(cls, name: str, seconds: float) -> Self:
        """Spread targets over the interval by a checksum of the name: the same after every restart."""
        interval = max(1, microseconds(seconds))
        return cls(interval, zlib.crc32(name.encode()) * interval >> 32)

    def cycle_at(self, moment: float) -> int:
        """Give the number of the last cycle due at or before `moment` (unix seconds)."""
        return (microseconds(moment) - self.offset) // self.interval

    def due(self, cycle: int) -> float:
        """When the cycle is due, unix seconds; `cycle_at` of it is the cycle again."""
        return (self.offset + cycle * self.interval) / MICROSECONDS_PER_SECOND


@dataclass(frozen=True, slots=True)
class SlotPattern:
    """Which cycles take a slot: those of `taking` within every block of `period` cycles."""

    period: int
    taking: tuple[int, ...]

    @classmethod
    def every(cls, steps: tuple[int, ...]) -> Self:
        """Make it each cycle whose number is a multiple of any of `steps`; none of them: no cycle."""
        needed = [step for step in steps if not any(step % other == 0 and step > other for other in steps)]
        period = lcm(*needed)
        return cls(period, tuple(sorted({cycle for step in needed for cycle in range(0, period, step)})))

    def before(self, cycle: int) -> int:
        """How many cycles from 0 on take a slot before this one."""
        blocks, rest = divmod(cycle, self.period)
        return blocks * len(self.taking) + bisect_left(self.taking, rest)

    def takes(self, cycle: int) -> bool:
        """Whether the cycle takes a slot."""
        return self.before(cycle + 1) > self.before(cycle)

    def runs(self, span: int) -> list[int]:
        """For each taking cycle of a block: how many take a slot from it to `span` cycles later, both included."""
        return [self.before(cycle + span + 1) - number for number, cycle in enumerate(self.taking)]

    def most(self, span: int) -> int:
        """Give the most slots taken in `span` + 1 cycles in a row."""
        return max(self.runs(span), default=0)

    def peaks(self, span: int, identities: int) -> list[int]:
        """Give the most slots that each identity takes in `span` + 1 cycles in a row, if they take turns.

        Exact: identity i has the taking cycles i, i + n, i + 2n …; which places of the block those can be depends on
        i modulo the common divisor of n and the block's size alone.
        """
        if not self.taking:
            return [0] * identities
        kinds = gcd(identities, len(self.taking))
        most = [0] * kinds
        for number, run in enumerate(self.runs(span)):
            most[number % kinds] = max(most[number % kinds], ceil(run / identities))
        return [most[index % kinds] for index in range(identities)]


def most_connects(grids: list[Cadence], window: int) -> int:
    """Give the most cycles that fall due in any `window` microseconds (begin included, end not), over all grids.

    Exact for grids of one interval; a bound that can only be too high for a mixture.
    """
    offsets: dict[int, list[int]] = {}
    for grid in grids:
        offsets.setdefault(grid.interval, []).append(grid.offset)
    return sum(_most_of_one(interval, sorted(starts), window) for interval, starts in offsets.items())


def _most_of_one(interval: int, starts: list[int], window: int) -> int:
    whole, rest = divmod(window, interval)
    twice = [*starts, *(start + interval for start in starts)]
    crowd = max(bisect_left(twice, start + rest) - number for number, start in enumerate(starts))
    return whole * len(starts) + max(0, crowd)
