"""Of this process and its machine: clocks, steps of the wall clock, and how late the event loop is.

Rule 1: the only room that reads a clock for others; they are handed a `Clock`, so that tests can bring their own.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from typing import Final, TypeVar

T = TypeVar("T")

STEP: Final = 1.0
"""Seconds the wall clock may move against the monotonic one between two looks before it is a step, not a slew."""

SLICE: Final = 0.0005
"""Seconds of work that may be done between two turns of the event loop."""

LOOK: Final = 0.5
"""Seconds between two looks at clocks and loop."""

SHOWN: Final = 60.0
"""Seconds that a late loop stays to be seen: a gauge of the last look would hide most of them from every scrape."""


@dataclass(frozen=True, slots=True)
class Clock:
    """Seconds: `monotonic` for durations, `wall` (unix) for moments. `kernel_stamps`: the kernel's stamps are of it."""

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    kernel_stamps: bool = True


class StepWatch:
    """Tells steps of the wall clock against the monotonic one; a slew is followed, not told."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._apart = self._difference()

    def step(self) -> float:
        """Seconds the wall clock has stepped since the last look, 0.0 if it has not."""
        apart = self._difference()
        moved, self._apart = apart - self._apart, apart
        return moved if abs(moved) > STEP else 0.0

    def _difference(self) -> float:
        """Wall less monotonic, read again if the process was stopped in between: that would look like a step."""
        while True:
            before, wall, after = self._clock.monotonic(), self._clock.wall(), self._clock.monotonic()
            if after - before < STEP / 2:
                return wall - after


async def in_slices(items: Iterable[T]) -> AsyncIterator[T]:
    """The items, with a turn for everybody else whenever `SLICE` is over."""
    now = asyncio.get_running_loop().time
    end = now() + SLICE
    for item in items:
        yield item
        if now() >= end:
            await asyncio.sleep(0)
            end = now() + SLICE


async def watch_loop(told: Callable[[float], None]) -> None:
    """Tell, every `LOOK` seconds and until cancelled, by how many seconds the loop was late at worst within `SHOWN`."""
    loop = asyncio.get_running_loop()
    recent = deque[float](maxlen=round(SHOWN / LOOK))
    while True:
        due = loop.time() + LOOK
        await asyncio.sleep(LOOK)
        recent.append(max(0.0, loop.time() - due))
        told(max(recent))
