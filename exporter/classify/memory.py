"""What a target has shown before: what a live server would not show twice."""

from collections import deque
from typing import Final

MARK: Final = 8
"""Bytes that an id is remembered by: two of a thousand are taken for one once in 10 ** 13 rings."""


class Memory:
    """What a target has shown before: connection ids (the last `size`, 8 bytes each) and server times."""

    def __init__(self, size: int = 1024, times: int = 16) -> None:
        self._size = size * MARK
        self._ids = bytearray()
        self._next = 0
        self._times: deque[tuple[float, float]] = deque(maxlen=times)

    def repeats(self, connection_id: str) -> bool:
        """True if this id was seen before; it is seen now."""
        mark = hash(connection_id).to_bytes(MARK, "little", signed=True)  # a stranger's id may be a megabyte long
        if self._knows(mark):
            return True
        self._ids[self._next : self._next + MARK] = mark
        self._next = (self._next + MARK) % self._size
        return False

    def _knows(self, mark: bytes) -> bool:
        at = self._ids.find(mark)
        while at % MARK and at >= 0:  # across two others
            at = self._ids.find(mark, at + 1)
        return at >= 0

    def frozen(self, server_time: float, now: float) -> bool:
        """True if the server told this very time 2 s ago or longer. Equal, not earlier: instances' clocks differ."""
        first = next((at for told, at in self._times if told == server_time), None)
        if first is None:
            self._times.append((server_time, now))
            return False
        return now - first >= 2  # noqa: PLR2004
