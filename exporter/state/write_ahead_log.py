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

_HEADER: Final = Struct(">24x8s")
"""Of the log: 24 bytes, two salts, and a checksum of 8 bytes."""
_HEADER_BYTES: Final = 32
_FRAME: Final = Struct(">4xI8s8x")
"""Of each frame: page number, size of the database if the frame ends a write (else 0), two salts, checksum."""
MAX_FRAMES: Final = 4096
"""Frames that are looked at; a log is written over again long before."""


def last_frames_of_writes(log: Path, page_bytes: int) -> tuple[int, ...]:
    """Return the number of each frame that ends a write, counted from 1; () without a log. Raises OSError.

    Frames of an older turn of the log lie behind the present ones and have other salts. The salts of the log's header
    and of its first frame are the same, and both count, because one of the two may be what is damaged.
    """
    try:
        with open(log, "rb", opener=_open_without_waiting) as file:
            salts = {_HEADER.unpack(head)[0]} if len(head := file.read(_HEADER_BYTES)) == _HEADER_BYTES else set()
            frames = list(_frames(file.read(MAX_FRAMES * (_FRAME.size + page_bytes)), page_bytes))
    except FileNotFoundError:
        return ()
    salts |= {salt for _, salt in frames[:1]}
    return tuple(number for number, (size, salt) in enumerate(frames, 1) if size and salt in salts)


def _frames(data: bytes, page_bytes: int) -> Iterator[tuple[int, bytes]]:
    length = _FRAME.size + page_bytes
    for start in range(0, len(data) - length + 1, length):
        yield _FRAME.unpack_from(data, start)


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)
