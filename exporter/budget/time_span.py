"""A span of time."""

import math
from dataclasses import dataclass


@dataclass(slots=True)
class TimeSpan:
    """A span of time: start (unix seconds) and length (seconds), so that a start in the future can be moved to now."""

    start: float = -math.inf
    length: float = 0.0

    @property
    def until(self) -> float:
        """The end, unix seconds."""
        return self.start + self.length
