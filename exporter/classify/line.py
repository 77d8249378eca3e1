"""What a held connection shows: whether the server's heartbeats stay out, and at which age connections are cut.

A path that cuts connections does it at the same age each time. With traffic of the exporter's own a connection is never
idle, so what cuts it is a limit of its age. A quiet one is cut at its age or for being idle; it is idleness if
connections with traffic live longer (docs/hold.md).

Rule 1: no clock: moments and ages are arguments, monotonic seconds.
Rule 2: what a connection outlives is no limit any more.
"""

from collections import deque
from dataclasses import dataclass, field
from statistics import median
from typing import Final, NamedTuple

MIN_ALIKE: Final = 3
"""Ends at the same age that make it a usual one."""
MAX_ENDS: Final = 5
TOLERANCE_FRACTION: Final = 0.1
TOLERANCE_SECONDS: Final = 2.0
"""Two ages are the same within this fraction or these seconds, whichever is more."""
MAX_MISSED_INTERVALS: Final = 3
"""Intervals without a heartbeat after which it is lost."""
MAX_INTERVALS: Final = 9


def _tolerance(age: float) -> float:
    return max(TOLERANCE_SECONDS, TOLERANCE_FRACTION * age)


class Cuts(NamedTuple):
    """Ages at which the path cuts connections, in seconds; 0: none was met; None: not known.

    idle: the seconds without traffic after which it is cut
    age: the seconds after which it is cut, whatever passes over it
    """

    idle: float | None = None
    age: float | None = None


@dataclass(slots=True)
class EndLearner:
    """The ends of connections of one kind, with traffic or quiet.

    outlived: the greatest age that one of them has reached
    survived: the last one whose time was over was not cut
    """

    outlived: float = 0.0
    survived: bool = False
    _ages: deque[float] = field(default_factory=lambda: deque(maxlen=MAX_ENDS))

    @property
    def usual(self) -> float | None:
        """The age at which connections are cut; None: they are not, or it is not known."""
        alike = max(
            ([other for other in self._ages if abs(other - age) <= _tolerance(age)] for age in self._ages),
            key=len,
            default=[],
        )
        return median(alike) if len(alike) >= MIN_ALIKE else None

    def is_usual(self, age: float) -> bool:
        """Whether an end at that age is a usual one."""
        return self.usual is not None and abs(age - self.usual) <= _tolerance(self.usual)

    def record_age(self, age: float) -> None:
        """Record that a connection has reached an age: ends that came clearly sooner were no limit of the path."""
        self.outlived = max(self.outlived, age)
        limit = self.usual
        if limit is not None and age > limit + _tolerance(limit):
            self._ages.clear()

    def record_cut(self, age: float) -> None:
        """Record an end that was not ours."""
        self.record_age(age)
        self._ages.append(age)
        self.survived = False

    def record_over(self, age: float) -> None:
        """Record that a connection's time was over."""
        self.record_age(age)
        self.survived = True


def find_cuts(busy: EndLearner, quiet: EndLearner) -> Cuts:
    """Return what the ends of connections with traffic (`busy`) and of quiet ones show together."""
    age = busy.usual if busy.usual is not None else 0.0 if busy.survived else None
    if quiet.usual is None:
        return Cuts(0.0 if quiet.survived else None, age)
    if busy.usual is not None and abs(busy.usual - quiet.usual) <= _tolerance(quiet.usual):
        return Cuts(0.0, age)
    return Cuts(quiet.usual if busy.outlived > quiet.usual + _tolerance(quiet.usual) else None, age)


@dataclass(slots=True)
class HeartbeatCadence:
    """The server's heartbeats of one level, over all connections of a target.

    announced: seconds between two, as the last welcome says
    lost: they stay out on the connection that is open
    """

    announced: float | None = None
    lost: bool = False
    _last: float | None = None
    _heard: bool = False
    _intervals: deque[float] = field(default_factory=lambda: deque(maxlen=MAX_INTERVALS))

    @property
    def interval(self) -> float | None:
        """Seconds between two: as announced, else as learned; None: not known."""
        if self.announced is not None:
            return self.announced
        return median(self._intervals) if len(self._intervals) >= MIN_ALIKE else None

    @property
    def lost_at(self) -> float | None:
        """When they count as lost if none comes; None: they are lost, or their interval is not known."""
        if self.interval is None or self._last is None or self.lost:
            return None
        return self._last + MAX_MISSED_INTERVALS * self.interval

    def begin(self, at: float) -> None:
        """Begin a connection: the first heartbeat is awaited as long as any.

        What a whole connection did not bring is not expected of the next one, unless it is announced.
        """
        if self._last is not None and not self._heard:
            self._intervals.clear()
        self._last, self._heard, self.lost = at, False, False

    def record(self, at: float) -> None:
        """Record a heartbeat."""
        if self._heard and self._last is not None and not self.lost:
            self._intervals.append(at - self._last)
        self._last, self._heard, self.lost = at, True, False
