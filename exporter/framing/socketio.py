"""Socket.IO 5 over Engine.IO 4: a text message is one packet, and a packet of type 4 holds one of Socket.IO.

Source: the protocols' documents at socket.io/docs/v4/engine-io-protocol and socket.io/docs/v4/socket-io-protocol.
"""

import re
from collections.abc import Callable
from typing import Any, Final

from exporter.framing import json_values
from exporter.framing.codec import Decoded, FramingError
from exporter.framing.fields import CONTROL, check_names, line_of, number_of, object_of, text_of, utf8, word_of

ENGINE_TYPES: Final = {"open": "0", "close": "1", "ping": "2", "pong": "3", "upgrade": "5", "noop": "6"}
ENGINE_NAMES: Final = {digit: name for name, digit in ENGINE_TYPES.items()}
SOCKET_NAMES: Final = ("connect", "disconnect", "event", "ack", "connect_error", "binary_event", "binary_ack")
WORDS: Final = (*ENGINE_TYPES, *SOCKET_NAMES)

MAX_ID: Final = 10**15 - 1
"""What a JavaScript number still counts exactly."""
MAX_ATTACHMENT_COUNT: Final = 999

SOCKET_PACKET: Final = re.compile(r"4([0-6])(?:([0-9]{1,3})-)?(?:(/[^,]*)(?:,|\Z))?([0-9]{1,15})?", re.ASCII)


def _is_event(data: Any) -> bool:
    return isinstance(data, list) and bool(data) and type(data[0]) in (str, int)


DATA: Final[dict[str, tuple[Callable[[Any], bool], str]]] = {
    "connect": (lambda data: isinstance(data, dict), "an object"),
    "event": (_is_event, "a list that begins with the event's name"),
    "ack": (lambda data: isinstance(data, list), "a list"),
    "connect_error": (lambda data: isinstance(data, dict | str), "an object or a text"),
    "binary_event": (_is_event, "a list that begins with the event's name"),
    "binary_ack": (lambda data: isinstance(data, list), "a list"),
}
"""What the data of a packet must be; "disconnect" has none."""


def decode(data: bytes, limit: int) -> Decoded:
    """Return the packet; raises FramingError for a text that is none.

    What is no text is taken for the attachment of an earlier packet.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError:
        value: dict[str, Any] = {"type": "attachment"}
    else:
        value = _socket_packet(text) if text.startswith("4") else _engine_packet(text)
    return Decoded([value][: max(limit, 0)], len(data))


def _engine_packet(text: str) -> dict[str, Any]:
    name, rest = ENGINE_NAMES.get(text[:1]), text[1:]
    if name is None:
        raise FramingError("is no packet of Engine.IO")
    if not rest:
        return {"type": name}
    if name != "open" and CONTROL.search(rest):
        raise FramingError("has control characters in a packet of Engine.IO")
    return {"type": name, "data": _json(rest) if name == "open" else rest}


def _socket_packet(text: str) -> dict[str, Any]:
    head = SOCKET_PACKET.match(text)
    if head is None:
        raise FramingError("is no packet of Socket.IO")
    name = SOCKET_NAMES[int(head[1])]
    value: dict[str, Any] = {"type": name, "namespace": head[3] or "/"}
    if head[2] is not None:
        value["attachments"] = int(head[2])
    if head[4] is not None:
        value["id"] = int(head[4])
    if head.end() < len(text):
        value["data"] = _json(text[head.end() :])
    _check(name, value)
    return value


def _json(text: str) -> Any:
    values = json_values.parse(text, 2)
    if len(values) != 1:
        raise FramingError("holds more than one JSON value")
    return values[0]


def _check(name: str, fields: dict[str, Any]) -> None:
    """Refuse a packet of Socket.IO whose fields are not those of its type."""
    is_binary, is_ack = name.startswith("binary"), name.endswith("ack")
    required = [*(["attachments"] if is_binary else []), *(["id"] if is_ack else [])]
    optional = ["type", "namespace", *(["id"] if name.endswith("event") else [])]
    if name in DATA:
        (optional if name == "connect" else required).append("data")
        permits, what = DATA[name]
        if "data" in fields and not permits(fields["data"]):
            raise FramingError(f"`data` of type {name} must be {what}")
    check_names(fields, f"type {name}", required, optional)


def encode(value: Any) -> bytes:
    """Return the text of a packet; raises FramingError for an object that is none."""
    fields = object_of(value)
    name = word_of(fields, "type", WORDS)
    if name in ENGINE_TYPES:
        return _encode_engine(name, fields)
    _check(name, fields)
    namespace = line_of(fields, "namespace", "/")
    if not namespace.startswith("/") or "," in namespace:
        raise FramingError("`namespace` must begin with `/` and hold no comma")
    parts = ["4", str(SOCKET_NAMES.index(name))]
    if "attachments" in fields:
        parts.append(f"{number_of(fields, 'attachments', 0, MAX_ATTACHMENT_COUNT)}-")
    if namespace != "/":
        parts.append(f"{namespace},")
    if "id" in fields:
        parts.append(str(number_of(fields, "id", 0, MAX_ID)))
    data = json_values.encode(fields["data"]) if "data" in fields else b""
    return utf8("".join(parts)) + data


def _encode_engine(name: str, fields: dict[str, Any]) -> bytes:
    check_names(fields, f"type {name}", (), ("type", "data"))
    if "data" not in fields:
        return ENGINE_TYPES[name].encode()
    data = json_values.encode(fields["data"]) if name == "open" else utf8(text_of(fields, "data"))
    if CONTROL.search(data.decode()):
        raise FramingError("`data` must not hold control characters")
    return ENGINE_TYPES[name].encode() + data
