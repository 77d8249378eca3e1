"""What every framing gives: a pair of pure functions, and one error."""

from collections.abc import Callable
from typing import Any, NamedTuple


class FramingError(ValueError):
    """Bytes or a value that the framing does not permit. The text is for a config's author, and quotes neither."""


class Decoded(NamedTuple):
    """What was read from the bytes of a WebSocket message.

    `values`: JSON values, at most as many as the limit.
    `consumed`: bytes used; the others begin the next message's (a packet of MQTT, for example, may span two).
    """

    values: list[Any]
    consumed: int


class Codec(NamedTuple):
    """One framing. Both functions raise FramingError and nothing else.

    `decode`: (bytes, limit of values) to what they hold; the work is linear in the bytes.
    `encode`: a JSON value to the bytes of one message.
    `is_text`: True if our messages are sent in text frames, False if in binary ones.
    """

    decode: Callable[[bytes, int], Decoded]
    encode: Callable[[Any], bytes]
    is_text: bool
