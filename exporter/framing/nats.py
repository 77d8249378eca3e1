"""NATS: lines that end in CR LF, some with a counted payload after them.

Source: docs.nats.io/reference/reference-protocols/nats-protocol. Of its operations, those that a probe meets.
"""

import re
from collections.abc import Sequence
from typing import Any, Final

from exporter.framing import json_values
from exporter.framing.codec import FramingError
from exporter.framing.fields import check_names, line_of, object_of, text_of, utf8, word_of
from exporter.framing.packets import MAX_HEAD_BYTES, could_begin, decoder

FIELDS: Final[dict[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "INFO": (("info",), ()),
    "CONNECT": (("options",), ()),
    "PING": ((), ()),
    "PONG": ((), ()),
    "+OK": ((), ()),
    "-ERR": (("message",), ()),
    "SUB": (("subject", "sid"), ("queue",)),
    "PUB": (("subject", "payload"), ("reply",)),
    "MSG": (("subject", "sid", "payload"), ("reply",)),
    "HMSG": (("subject", "sid", "headers", "payload"), ("reply",)),
}
"""Operation: its fields, and those that it may lack."""
OPERATION_BYTES: Final = tuple(operation.encode() for operation in FIELDS)

TOKENS: Final[dict[str, tuple[str, ...]]] = {
    "SUB": ("subject", "queue", "sid"),
    "PUB": ("subject", "reply"),
    "MSG": ("subject", "sid", "reply"),
    "HMSG": ("subject", "sid", "reply"),
}
"""Operation: the words of its line in their order, without the counts at its end."""
COUNTS: Final = {"PUB": 1, "MSG": 1, "HMSG": 2}

COUNT: Final = re.compile(r"[0-9]{1,9}", re.ASCII)
WHITE: Final = re.compile(r"\s")
CRLF: Final = b"\r\n"


def _read(data: bytes, at: int) -> tuple[Any, int] | None:
    if not could_begin(data, at, OPERATION_BYTES, b" \t\r"):
        raise FramingError("does not begin with an operation of NATS")
    end = data.find(CRLF, at, at + MAX_HEAD_BYTES)
    if end < 0:
        if len(data) - at >= MAX_HEAD_BYTES:
            raise FramingError("has a line that is too long")
        return None
    try:
        # As bytes: a text would also be split at white space that is not of ASCII.
        operation, *words = [word.decode() for word in data[at:end].split(maxsplit=1)]
        if operation in TOKENS:
            tokens = [word.decode() for word in data[at:end].split()]
            return _read_counted(operation, tokens[1:], data, end + len(CRLF))
    except UnicodeDecodeError:
        raise FramingError("has a line that is no UTF-8") from None
    return {"op": operation, **_argument(operation, "".join(words).strip())}, end + len(CRLF)


def _argument(operation: str, words: str) -> dict[str, Any]:
    """Return what stands after an operation that has one argument or none."""
    if operation == "-ERR":
        is_quoted = len(words) > 1 and words[0] == words[-1] == "'"
        return {"message": words[1:-1] if is_quoted else words}
    required, _ = FIELDS[operation]
    if not required:
        if words:
            raise FramingError("has words after an operation that has none")
        return {}
    values = json_values.parse(words, 2)
    if len(values) != 1 or not isinstance(values[0], dict):
        raise FramingError("has no JSON object after an operation that needs one")
    return {required[0]: values[0]}


def _read_counted(operation: str, words: Sequence[str], data: bytes, start: int) -> tuple[Any, int] | None:
    """Read the words of a line, and the payload that they count."""
    names, counted = TOKENS[operation], COUNTS.get(operation, 0)
    tokens, counts = words[: len(words) - counted], words[len(words) - counted :]
    present = names if len(tokens) == len(names) else [name for name in names if name in FIELDS[operation][0]]
    if len(tokens) != len(present) or not all(map(COUNT.fullmatch, counts)):
        raise FramingError("has another number of words than its operation, or a count that is no number")
    fields: dict[str, Any] = {"op": operation, **dict(zip(present, tokens, strict=True))}
    if not counted:
        return fields, start
    end = start + int(counts[-1])
    if data[end : end + len(CRLF)] != CRLF:
        if len(data) >= end + len(CRLF):
            raise FramingError("has a payload of another length than was counted")
        return None
    if operation == "HMSG":
        split = start + int(counts[0])
        if split > end:
            raise FramingError("has headers that are longer than all of it")
        fields["headers"] = data[start:split].decode(errors="replace")
        start = split
    return {**fields, "payload": data[start:end].decode(errors="replace")}, end + len(CRLF)


decode: Final = decoder(_read)
"""Return the packets of the bytes: see `Codec.decode`."""


def encode(value: Any) -> bytes:
    """Return an operation; raises FramingError for an object that is none."""
    fields = object_of(value)
    operation = word_of(fields, "op", FIELDS)
    required, optional = FIELDS[operation]
    check_names(fields, operation, required, ("op", *optional))
    words = [operation, *(_token(fields, name) for name in TOKENS.get(operation, ()) if name in fields)]
    payload = b""
    if operation in COUNTS:
        headers = utf8(text_of(fields, "headers"))
        payload = headers + utf8(text_of(fields, "payload"))
        words += [*([str(len(headers))] if operation == "HMSG" else []), str(len(payload))]
        payload += CRLF
    elif operation == "-ERR":
        words.append(f"'{line_of(fields, 'message')}'")
    elif required and operation not in TOKENS:
        words.append(json_values.encode(object_of(fields[required[0]])).decode())
    return utf8(" ".join(words)) + CRLF + payload


def _token(fields: dict[str, Any], name: str) -> str:
    token = line_of(fields, name)
    if not token or WHITE.search(token):
        raise FramingError(f"`{name}` must not be empty, and must not hold white space")
    return token
