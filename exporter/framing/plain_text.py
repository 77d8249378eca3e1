"""Plain text: the whole message is one JSON string."""

from typing import Any

from exporter.framing.codec import Decoded, FramingError
from exporter.framing.fields import utf8


def decode(data: bytes, limit: int) -> Decoded:
    """Return the message as a text; raises FramingError for what is no UTF-8."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise FramingError("is no UTF-8") from None
    return Decoded([text][: max(limit, 0)], len(data))


def encode(value: Any) -> bytes:
    """Return the bytes of a text."""
    if not isinstance(value, str):
        raise FramingError("a message must be a text")
    return utf8(value)
