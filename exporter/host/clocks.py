"""The clocks of the machine, and steps of the wall clock."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

CLOCK_STEP_SECONDS: Final = 1.0
"""Seconds between two checks by which the wall clock moves against the monotonic one: more is a step, less a slew."""


@dataclass(frozen=True, slots=True)
class Clock:
    """The clocks that a package works by, each a function that returns seconds.

    `monotonic`: for durations. `wall`: for moments, in unix seconds.
    `kernel_stamps`: whether both run with the machine's, as the kernel's receive stamps do; False for virtual time.
    """

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    kernel_stamps: bool = True


class ClockStepDetector:
    """Detects steps of the wall clock against the monotonic one; a slew is no step."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset_seconds = self._read_offset_seconds()

    def detect_step_seconds(self) -> float:
        """Return the seconds by which the wall clock has stepped since the last call, 0.0 if it has not."""
        offset = self._read_offset_seconds()
        moved, self._offset_seconds = offset - self._offset_seconds, offset
        return moved if abs(moved) > CLOCK_STEP_SECONDS else 0.0

    def _read_offset_seconds(self) -> float:
        """Return wall less monotonic; a stop of the process between the two readings would look like a step."""
        while True:
            before, wall, after = self._clock.monotonic(), self._clock.wall(), self._clock.monotonic()
            if after - before < CLOCK_STEP_SECONDS / 2:
                return wall - after
