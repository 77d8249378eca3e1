"""Detects welcomes that repeat a connection id or a server time, which a live server does not.

Rule 1: a repetition proves something only within the life of one server. A counter starts again after a restart, so a
sequence that starts again is no finding; the same id again and again is.
"""

import re
from collections import deque
from itertools import takewhile
from typing import Final, NamedTuple

REPLAY_WINDOW_SECONDS: Final = 600.0
"""Seconds for which a sighting counts: a frozen context repeats in the next sessions, and an older id may be that of a
server that restarted in between."""

MAX_REMEMBERED_IDS: Final = 256
"""Ids remembered: those of ten minutes at a session every two seconds."""

COUNTER_ID: Final = re.compile(r"(.*?)(?<!\d)(?<![0-9A-Fa-f]{4})(\d{1,7})", re.DOTALL)
"""An id that ends in a number but not in hexadecimal digits: it may count the connections of a process."""

REPLAY_SIGHTINGS: Final = 3
"""Sightings of one id that are a repetition, even with other ids between them."""

COUNTER_REPLAY_SIGHTINGS: Final = 4
"""The same for a counter: three instances that were started together give each number three times, in a row."""


class _Sighting(NamedTuple):
    """One welcome: hash of its id (which may be a megabyte long), prefix and counter if it has one, unix seconds."""

    id_hash: int
    prefix: int
    number: int | None
    at: float


class WelcomeReplayDetector:
    """The connection ids and server times of one target within the last `age` seconds."""

    def __init__(self, age: float = REPLAY_WINDOW_SECONDS, times: int = 16) -> None:
        self._age = age
        self._ids: deque[_Sighting] = deque(maxlen=MAX_REMEMBERED_IDS)
        self._times: deque[tuple[float, float]] = deque(maxlen=times)

    def clear(self) -> None:
        """Forget everything: the server may have restarted."""
        self._ids.clear()
        self._times.clear()

    def is_repeated_id(self, connection_id: str, now: float) -> bool:
        """Record an id at `now` (unix seconds); True if it repeats in a way that no restart explains."""
        sighting = _sighting(connection_id, now)
        self._drop_expired(now)
        last = self._ids[-1] if self._ids else None
        if last is not None and _counter_decreased(last, sighting):
            self.clear()
        times = 1 + sum(known.id_hash == sighting.id_hash for known in self._ids)
        in_a_row = last is not None and last.id_hash == sighting.id_hash
        self._ids.append(sighting)
        if sighting.number is not None:
            return times >= COUNTER_REPLAY_SIGHTINGS
        return in_a_row or times >= REPLAY_SIGHTINGS

    def is_frozen_time(self, server_time: float, now: float) -> bool:
        """Record a server time; True if the server sent the same one 2 s ago or earlier.

        An earlier time than the last one is no finding: it is another instance's clock, or a restarted server.
        """
        self._drop_expired(now)
        first = next((at for earlier, at in self._times if earlier == server_time), None)
        if first is None:
            if self._times and server_time < self._times[-1][0]:
                self._ids.clear()
            self._times.append((server_time, now))
            return False
        return now - first >= 2  # noqa: PLR2004

    def _drop_expired(self, now: float) -> None:
        for _ in list(takewhile(lambda known: now - known.at > self._age, self._ids)):
            self._ids.popleft()
        for _ in list(takewhile(lambda known: now - known[1] > self._age, self._times)):
            self._times.popleft()


def _sighting(connection_id: str, at: float) -> _Sighting:
    found = COUNTER_ID.fullmatch(connection_id)
    number = int(found[2]) if found else None
    return _Sighting(hash(connection_id), hash(found[1]) if found else 0, number, at)


def _counter_decreased(last: _Sighting, now: _Sighting) -> bool:
    """Whether both ids count with the same prefix, and the later number is the smaller one."""
    if last.number is None or now.number is None or last.prefix != now.prefix:
        return False
    return now.number < last.number
