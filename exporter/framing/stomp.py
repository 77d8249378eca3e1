"""STOMP 1.0 to 1.2: a command, header lines, a body, a NUL. Source: stomp.github.io/stomp-specification-1.2.html.

A heartbeat is an end of a line between two frames, as the one that brokers write behind each frame. Only a WebSocket
message of nothing else is certainly one: it has the value `{command: EOL}`.
"""

import re
from typing import Any, Final

from exporter.framing.codec import Decoded, FramingError
from exporter.framing.fields import CONTROL, check_names, object_of, text_of, utf8, word_of
from exporter.framing.packets import MAX_HEAD_BYTES, could_begin, decoder

# fmt: off
COMMANDS: Final = (
    "CONNECT", "STOMP", "SEND", "SUBSCRIBE", "UNSUBSCRIBE", "ACK", "NACK", "BEGIN", "COMMIT", "ABORT", "DISCONNECT",
    "CONNECTED", "MESSAGE", "RECEIPT", "ERROR",
)
# fmt: on
EOL: Final = "EOL"
"""In place of a command: a heartbeat. No frame begins with it."""
COMMAND_BYTES: Final = tuple(command.encode() for command in COMMANDS)
UNESCAPED: Final = frozenset({"CONNECT", "CONNECTED"})
"""They were there before the escapes, and must be readable to a server of any version."""

END_OF_HEAD: Final = re.compile(rb"\r?\n\r?\n")
NEWLINES: Final = re.compile(rb"[\r\n]*")
"""Between frames: the end of a frame's last line, and heartbeats."""

ESCAPE: Final = re.compile(r"\\[rnc\\]")
ESCAPED: Final = {"\\r": "\r", "\\n": "\n", "\\c": ":", "\\\\": "\\"}
SPECIAL: Final = re.compile(r"[\r\n:\\]")
ESCAPES: Final = {character: escape for escape, character in ESCAPED.items()}

LENGTH: Final = re.compile(r"[0-9]{1,9}", re.ASCII)


def _skip(data: bytes, at: int) -> int:
    newlines = NEWLINES.match(data, at)
    return newlines.end() if newlines else at


def _read(data: bytes, at: int) -> tuple[Any, int] | None:
    if not could_begin(data, at, COMMAND_BYTES, b"\r\n"):
        raise FramingError("does not begin with a command of STOMP")
    head = END_OF_HEAD.search(data, at, at + MAX_HEAD_BYTES)
    if head is None:
        if data.find(b"\0", at, at + MAX_HEAD_BYTES) >= 0 or len(data) - at >= MAX_HEAD_BYTES:
            raise FramingError("has no empty line after its headers")
        return None
    command, headers = _head(data[at : head.start()])
    start, length = head.end(), headers.get("content-length")
    if length is None:
        end = data.find(b"\0", start)
    elif LENGTH.fullmatch(length) is None:
        raise FramingError("has a content-length that is no number")
    else:
        end = start + int(length)
    if not 0 <= end < len(data):
        return None
    if data[end] != 0:
        raise FramingError("has no NUL after its body")
    return {"command": command, "headers": headers, "body": data[start:end].decode(errors="replace")}, end + 1


def _head(block: bytes) -> tuple[str, dict[str, str]]:
    """Return the command and the headers of the lines before the empty one."""
    try:
        command, *lines = [line.removesuffix("\r") for line in block.decode().split("\n")]
    except UnicodeDecodeError:
        raise FramingError("has headers that are no UTF-8") from None
    if command not in COMMANDS:
        raise FramingError("does not begin with a command of STOMP")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or "\0" in line:
            raise FramingError("has a header line without a colon, or with a NUL")
        if command not in UNESCAPED:
            name, value = ESCAPE.sub(_unescape, name), ESCAPE.sub(_unescape, value)
        headers.setdefault(name, value)
    return command, headers


def _unescape(escape: re.Match[str]) -> str:
    # Another escape stands for itself: a server of STOMP 1.0 knows none, and sends backslashes as they are.
    return ESCAPED[escape[0]]


_decode_frames: Final = decoder(_read, _skip)


def decode(data: bytes, limit: int) -> Decoded:
    """Return the packets of the bytes: see `Codec.decode`. Bytes that only end lines are one heartbeat."""
    if limit > 0 and data and _skip(data, 0) == len(data):
        return Decoded([{"command": EOL}], len(data))
    return _decode_frames(data, limit)


def encode(value: Any) -> bytes:
    """Return a frame or a heartbeat; raises FramingError for an object that is neither. A frame gets its NUL."""
    fields = object_of(value)
    command = word_of(fields, "command", (*COMMANDS, EOL))
    if command == EOL:
        check_names(fields, "a heartbeat of STOMP", ("command",), ())
        return b"\n"
    check_names(fields, "a STOMP frame", ("command",), ("headers", "body"))
    headers = fields.get("headers", {})
    if not isinstance(headers, dict) or not all(isinstance(name, str) for name in headers):
        raise FramingError("`headers` must be an object")
    lines = [command, *(_header_line(command, name, headers) for name in headers)]
    body = utf8(text_of(fields, "body"))
    length = headers.get("content-length")
    if length is None and 0 in body:
        raise FramingError("`body` holds a NUL, which needs a content-length")
    if length is not None and str(length) != str(len(body)):
        raise FramingError("content-length must be the length of `body` in bytes")
    return utf8("\n".join([*lines, "", ""])) + body + b"\0"


def _header_line(command: str, name: str, headers: dict[str, Any]) -> str:
    value = headers[name]
    text = str(value) if type(value) is int else value
    if not isinstance(text, str):
        raise FramingError("a header must be a text")
    if command in UNESCAPED:
        if ":" in name:
            raise FramingError(f"the name of a header of {command} must not hold a colon")
    else:
        name, text = (SPECIAL.sub(lambda special: ESCAPES[special[0]], part) for part in (name, text))
    if not name or CONTROL.search(name) or CONTROL.search(text):
        raise FramingError("a header must have a name, and must not hold control characters")
    return f"{name}:{text}"
