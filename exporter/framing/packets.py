"""Packets that follow one another in the bytes of a connection, whatever the borders of the WebSocket messages."""

from collections.abc import Callable
from typing import Any, Final

from exporter.framing.codec import Decoded, FramingError

MAX_HEAD_BYTES: Final = 65_536
"""Of a line or a block of header lines: more is refused, so that a rest is not searched again and again."""

Read = Callable[[bytes, int], tuple[Any, int] | None]
"""Read the packet that begins at a position: its value and its end, or None if it is not complete yet.

Raises FramingError if no further bytes could make a packet of it.
"""


def _stay(_: bytes, at: int) -> int:
    return at


def decoder(read: Read, skip: Callable[[bytes, int], int] = _stay) -> Callable[[bytes, int], Decoded]:
    """Return `Codec.decode` for a kind of packet; `skip` passes over what may stand between two of them.

    Packets before a bad one are returned, and the bad one is left: the next call raises.
    """

    def decode(data: bytes, limit: int) -> Decoded:
        values: list[Any] = []
        at = skip(data, 0)
        while at < len(data) and len(values) < limit:
            try:
                packet = read(data, at)
            except FramingError:
                if values:
                    break
                raise
            if packet is None:
                break
            values.append(packet[0])
            at = skip(data, packet[1])
        return Decoded(values, at)

    return decode


def could_begin(data: bytes, at: int, words: tuple[bytes, ...], enders: bytes) -> bool:
    """True if a packet at this position begins with one of the words, as far as there are bytes."""
    head = data[at : at + max(map(len, words)) + 1]
    for word in words:
        if len(head) <= len(word):
            if word.startswith(head):
                return True
        elif head.startswith(word) and head[len(word)] in enders:
            return True
    return False
