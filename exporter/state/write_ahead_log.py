"""What an SQLite log says of itself before SQLite reads it: how many writes it holds.

SQLite reads a log up to the first frame whose checksum is wrong, and drops the rest of it without a word. The number of
writes that the log names and the number of frames that SQLite then took show whether a write was lost.
Source: SQLite, "Database File Format", sections 4.1 to 4.3.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from struct import Struct
from typing import Final

_HEADER: Final = Struct(">16x4s4s8x")
"""Of the log: 16 bytes, two salts of 4 bytes, and a checksum."""
_FRAME: Final = Struct(">4xI4s4s8x")
"""Of each frame: page number, size of the database if the frame ends a write (else 0), two salts, checksum."""
MAX_FRAMES: Final = 4096
"""Frames that are looked at; a log is written over again long before."""


def last_frames_of_writes(log: Path, page_bytes: int) -> tuple[int, ...]:
    """Return the number of each frame that ends a write, counted from 1; () without a log. Raises OSError.

    Frames of an older turn of the log lie behind the present ones and have two other salts. One that is right will do,
    and those of the log's header and of its first frame are the same: a salt may be what is damaged.
    """
    try:
        with open(log, "rb", opener=_open_without_waiting) as file:
            data = file.read(_HEADER.size + MAX_FRAMES * (_FRAME.size + page_bytes))
    except FileNotFoundError:
        return ()
    frames = list(_frames(data, page_bytes))
    if not frames:
        return ()
    _, *first = frames[0]
    salts = {*_HEADER.unpack_from(data), *first}
    return tuple(number for number, (size, *own) in enumerate(frames, 1) if size and not salts.isdisjoint(own))


def _frames(data: bytes, page_bytes: int) -> Iterator[tuple[int, bytes, bytes]]:
    length = _FRAME.size + page_bytes
    for start in range(_HEADER.size, len(data) - length + 1, length):
        yield _FRAME.unpack_from(data, start)


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)
