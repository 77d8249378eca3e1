"""A stretch of time."""

import math
from dataclasses import dataclass


@dataclass(slots=True)
class TimeSpan:
    """A stretch of time. Start and length apart, so that a start in the future can be cut to now."""

    start: float = -math.inf
    length: float = 0.0

    @property
    def until(self) -> float:
        """Its end, unix seconds."""
        return self.start + self.length
