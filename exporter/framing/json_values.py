"""JSON: one value or several in a message, separated by white space or by what ends each of them."""

import json
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, NoReturn, cast

from exporter.framing.codec import Codec, Decoded, FramingError


def _reject_constant(_: str) -> NoReturn:
    raise ValueError("NaN and Infinity are no JSON")


FROM_JSON: Final = json.JSONDecoder(parse_constant=_reject_constant)
TO_JSON: Final = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode

_Skip = Callable[[str, int], re.Match[str]]
"""The `match` of a pattern that always matches: `Pattern.match` may return None, which is why it is cast."""

SKIP_WHITESPACE: Final = cast(_Skip, re.compile(r"[ \t\n\r]*").match)
"""RFC 8259 section 2."""

END: Final = re.compile(r"[\x00-\x1f]+")
"""Characters that no JSON holds unescaped, so that an end is never a part of a value."""


def parse(text: str, limit: int, skip: _Skip = SKIP_WHITESPACE) -> list[Any]:
    """Return the JSON values of a text, at most `limit` of them; what follows those is not looked at.

    Raises FramingError for a text that holds none, or something else.
    """
    values: list[Any] = []
    at, length = skip(text, 0).end(), len(text)
    while at < length and len(values) < limit:
        try:
            value, end = FROM_JSON.raw_decode(text, at)
        except (ValueError, RecursionError):
            # Without the cause, whose text may quote the message.
            raise FramingError("is no JSON") from None
        values.append(value)
        if end == length:
            break
        at = skip(text, end).end()
        if at == end:
            raise FramingError("has no white space after a JSON value")
    if not values and limit > 0:
        raise FramingError("holds no JSON value")
    return values


def _decode(data: bytes, limit: int, skip: _Skip = SKIP_WHITESPACE) -> Decoded:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise FramingError("is no UTF-8") from None
    return Decoded(parse(text, limit, skip), len(data))


def encode(value: Any) -> bytes:
    """Return a value as JSON in ASCII; raises FramingError for what is no JSON value."""
    try:
        return TO_JSON(value).encode()
    except (TypeError, ValueError, RecursionError):
        raise FramingError("is no JSON value, or nested too deeply") from None


def codec(end: str = "", nested: Sequence[str] = (), opened: Sequence[str] = ()) -> Codec:
    """Return the codec of JSON: see `codec_of` for the arguments. Raises FramingError for an `end` that may be JSON."""
    if end and END.fullmatch(end) is None:
        raise FramingError('`end` must be control characters, such as "\\x1e"')
    closed_paths = [path.split(".") for path in nested]
    opened_paths = [path.split(".") for path in (*nested, *opened)]
    skip = cast(_Skip, re.compile(f"[ \\t\\n\\r{re.escape(end)}]*").match) if end else SKIP_WHITESPACE
    decode = partial(_decode, skip=skip) if end else _decode
    if not end and not opened_paths:
        return Codec(decode, encode, is_text=True)
    ending = end.encode()

    def decode_nested(data: bytes, limit: int) -> Decoded:
        values, consumed = decode(data, limit)
        for path in opened_paths:
            values = [_changed(value, path, _opened) for value in values]
        return Decoded(values, consumed)

    def encode_nested(value: Any) -> bytes:
        for path in reversed(closed_paths):
            value = _changed(value, path, _closed)
        return encode(value) + ending

    return Codec(decode_nested, encode_nested, is_text=True)


def _changed(value: Any, path: Sequence[str], change: Callable[[Any], Any]) -> Any:
    """Return the value with the field at the path changed; the same value if there is no such field."""
    if not path:
        return change(value)
    if not isinstance(value, dict) or path[0] not in value:
        return value
    return {**value, path[0]: _changed(value[path[0]], path[1:], change)}


def _opened(field: Any) -> Any:
    """Return the JSON value of a text that holds one; anything else as it is."""
    if not isinstance(field, str):
        return field
    try:
        values = parse(field, 2)
    except FramingError:
        return field
    return values[0] if len(values) == 1 else field


def _closed(field: Any) -> str:
    return encode(field).decode()
