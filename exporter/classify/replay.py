"""What a target has shown before: what a live server would not show twice.

Rule 1: a repetition proves something only within the life of one server. A counter begins again after a restart, so a
sequence that does is no finding; one id that comes over and over is.
"""

import re
from collections import deque
from itertools import takewhile
from typing import Final, NamedTuple

REPLAY_WINDOW_SECONDS: Final = 600.0
"""Seconds after which what was shown proves nothing any more: a context that is frozen repeats in the next sessions,
and ids of longer ago may be those of a server that was restarted while nobody looked."""

MAX_REMEMBERED_IDS: Final = 256
"""Ids that are remembered at most: those of ten minutes, at a session every two seconds or so."""

COUNTER_ID: Final = re.compile(r"(.*?)(?<!\d)(?<![0-9A-Fa-f]{4})(\d{1,7})", re.DOTALL)
"""An id that ends in a number, and not in hexadecimal digits: it may count the connections of a process."""

REPLAY_SIGHTINGS: Final = 3
"""Sightings of one id that are a repetition, whatever came in between."""

COUNTER_REPLAY_SIGHTINGS: Final = 4
"""The same for a counter: three instances that were started together give each number three times, in a row."""


class _Sighting(NamedTuple):
    """An id as its hash (a stranger's may be a megabyte long), the counter in it if there is one, and when it came."""

    mark: int
    prefix: int
    number: int | None
    at: float


class WelcomeReplayDetector:
    """What a target has shown within `age` seconds: the last connection ids and server times."""

    def __init__(self, age: float = REPLAY_WINDOW_SECONDS, times: int = 16) -> None:
        self._age = age
        self._ids: deque[_Sighting] = deque(maxlen=MAX_REMEMBERED_IDS)
        self._times: deque[tuple[float, float]] = deque(maxlen=times)

    def forget(self) -> None:
        """Forget all: the server may be another one now."""
        self._ids.clear()
        self._times.clear()

    def repeats(self, connection_id: str, now: float) -> bool:
        """True if this id came before in a way that no restart explains; it is seen now (unix seconds)."""
        seen = _seen(connection_id, now)
        self._drop_old(now)
        last = self._ids[-1] if self._ids else None
        if last is not None and _went_back(last, seen):
            self.forget()
        times = 1 + sum(known.mark == seen.mark for known in self._ids)
        in_a_row = last is not None and last.mark == seen.mark
        self._ids.append(seen)
        if seen.number is not None:
            return times >= COUNTER_REPLAY_SIGHTINGS
        return in_a_row or times >= REPLAY_SIGHTINGS

    def frozen(self, server_time: float, now: float) -> bool:
        """True if the server told this very time 2 s ago or longer. Equal, not earlier: instances' clocks differ.

        Another time that is earlier than the last one is another instance, or a server that was restarted.
        """
        self._drop_old(now)
        first = next((at for told, at in self._times if told == server_time), None)
        if first is None:
            if self._times and server_time < self._times[-1][0]:
                self._ids.clear()
            self._times.append((server_time, now))
            return False
        return now - first >= 2  # noqa: PLR2004

    def _drop_old(self, now: float) -> None:
        for _ in list(takewhile(lambda known: now - known.at > self._age, self._ids)):
            self._ids.popleft()
        for _ in list(takewhile(lambda known: now - known[1] > self._age, self._times)):
            self._times.popleft()


def _seen(connection_id: str, at: float) -> _Sighting:
    found = COUNTER_ID.fullmatch(connection_id)
    number = int(found[2]) if found else None
    return _Sighting(hash(connection_id), hash(found[1]) if found else 0, number, at)


def _went_back(last: _Sighting, now: _Sighting) -> bool:
    """True if both count with one prefix, and the later one is the smaller."""
    if last.number is None or now.number is None or last.prefix != now.prefix:
        return False
    return now.number < last.number
