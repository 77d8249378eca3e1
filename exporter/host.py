"""Of this process and its machine: clocks, steps of the wall clock, how late the event loop is, what it may open.

Rule 1: the only room that reads a clock for others; they are handed a `Clock`, so that tests can bring their own.
"""

import asyncio
import gc
import resource
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, TypeVar

T = TypeVar("T")

STEP: Final = 1.0
"""Seconds the wall clock may move against the monotonic one between two looks before it is a step, not a slew."""

SLICE: Final = 0.0005
"""Seconds of work that may be done between two turns of the event loop."""

TICK: Final = 0.025
"""Seconds between two looks at the loop: by so much at most a hold is longer than it looks."""

LOOK: Final = 0.5
"""Seconds between two looks at the clocks, and two tellings of how late the loop is."""

NOTICED: Final = 0.001
"""Seconds below which a look that comes late is on time."""

REMEMBERED: Final = 16_384
"""Late looks that are remembered: those of more than six minutes."""

YOUNG: Final = 1.0
"""Seconds between two collections of young garbage while nothing is in flight; while something is, ten times that."""

OLD: Final = 600.0
"""Seconds between two collections of all garbage."""

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


async def aside(work: Callable[[], T]) -> T:
    """Do work in a thread that leaves Python's lock to the event loop after `SLICE`, not after Python's own 5 ms."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(SLICE)
    try:
        return await asyncio.to_thread(work)
    finally:
        sys.setswitchinterval(before)


class LoopWatch:
    """How late the event loop is, seen by a timer. `now`: the clock of sessions, in seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._late: deque[tuple[float, float]] = deque(maxlen=REMEMBERED)
        self._due: float | None = None

    def worst(self, since: float) -> float:
        """By how many seconds the loop was late at worst since a moment, the present one included."""
        worst = 0.0 if self._due is None else max(0.0, self._now() - self._due)
        for at, late in reversed(self._late):
            if at < since:
                break
            worst = max(worst, late)
        return worst

    async def run(self, told: Callable[[float], None]) -> None:
        """Look until cancelled; tell the worst within `SHOWN` every `LOOK` seconds."""
        while True:
            for _ in range(round(LOOK / TICK)):
                self._due = self._now() + TICK
                await asyncio.sleep(TICK)
                at = self._now()
                if at - self._due > NOTICED:
                    self._late.append((at, at - self._due))
            told(self.worst(self._now() - SHOWN))


async def collect_garbage(is_idle: Callable[[], bool], is_crowded: Callable[[], bool] = lambda: False) -> None:
    """Take Python's collector out of sessions, until cancelled.

    What is there now is never looked at again; the rest when nothing is in flight, or at last all the same. A session
    leaves no cycles behind unless something broke. `is_crowded`: just now there is much that will go by itself, and to
    look at it would hold the loop (23 ms while the config of 1,000 targets is read).
    """
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        waited = 0.0
        while True:
            await asyncio.sleep(YOUNG)
            waited += YOUNG
            if is_crowded():
                continue
            if waited >= OLD:
                gc.collect()
                waited = 0.0
            elif is_idle() or waited % (10 * YOUNG) < YOUNG:
                gc.collect(1)
    finally:
        gc.enable()
        gc.unfreeze()


def descriptors() -> int:
    """How many descriptors this process may have, after asking for all that it may ask for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
