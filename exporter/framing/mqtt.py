"""MQTT 3.1.1: binary packets, with QoS 0 and 1, and without a will. Source: the OASIS standard of 29 October 2014."""

import struct
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from exporter.framing.codec import FramingError
from exporter.framing.fields import check_names, line_of, number_of, object_of, text_of, truth_of, utf8, word_of
from exporter.framing.packets import decoder

PROTOCOL: Final = b"\x00\x04MQTT\x04"
"""Name and level that begin a CONNECT (section 3.1.2)."""

USERNAME, PASSWORD, CLEAN_SESSION = 0x80, 0x40, 0x02
"""Flags of a CONNECT."""
DUP, QOS_1, RETAIN = 0x08, 0x02, 0x01
"""Flags of a PUBLISH."""

MAX_16_BITS: Final = 0xFFFF
MAX_PACKET_BYTES: Final = 268_435_455
MAX_LENGTH_BYTES: Final = 4
DEFAULT_KEEP_ALIVE_SECONDS: Final = 30


class _Kind(NamedTuple):
    """A kind of packet: its first byte without the flags of a PUBLISH, its fields, and both directions of its body.

    `decode`: (flags, body) to fields. `encode`: fields to (flags, body).
    """

    code: int
    required: tuple[str, ...]
    optional: tuple[str, ...]
    decode: Callable[[int, bytes], dict[str, Any]]
    encode: Callable[[dict[str, Any]], tuple[int, bytes]]


class _Body:
    """Reads a packet's body from its beginning; raises FramingError where it is too short."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, length: int) -> bytes:
        """Return the next bytes."""
        end = self.at + length
        if end > len(self.data):
            raise FramingError("is a packet that is too short")
        part, self.at = self.data[self.at : end], end
        return part

    def number(self) -> int:
        """Return the next 16 bits."""
        return int.from_bytes(self.take(2))

    def text(self) -> str:
        """Return the next counted text (section 1.5.3)."""
        try:
            text = self.take(self.number()).decode()
        except UnicodeDecodeError:
            raise FramingError("has a text that is no UTF-8") from None
        if "\0" in text:
            raise FramingError("has a NUL in a text")
        return text

    def rest(self) -> bytes:
        """Return all that is left."""
        return self.take(len(self.data) - self.at)

    def end(self) -> None:
        """Refuse a packet that is longer than its fields."""
        if self.at != len(self.data):
            raise FramingError("is a packet that is too long")


def _counted(fields: dict[str, Any], name: str) -> bytes:
    text = utf8(line_of(fields, name))
    if len(text) > MAX_16_BITS:
        raise FramingError(f"`{name}` must have at most {MAX_16_BITS} bytes")
    return struct.pack(">H", len(text)) + text


def _id(fields: dict[str, Any]) -> bytes:
    return struct.pack(">H", number_of(fields, "id", 1, MAX_16_BITS))


def _decode_connect(_: int, data: bytes) -> dict[str, Any]:
    body = _Body(data)
    if body.take(len(PROTOCOL)) != PROTOCOL:
        raise FramingError("is no CONNECT of MQTT 3.1.1")
    flags = body.take(1)[0]
    if flags & ~(USERNAME | PASSWORD | CLEAN_SESSION) or flags & (USERNAME | PASSWORD) == PASSWORD:
        raise FramingError("is a CONNECT with a will, or with a password and no user")
    fields: dict[str, Any] = {"keep_alive": body.number(), "clean_session": bool(flags & CLEAN_SESSION)}
    fields["client_id"] = body.text()
    fields |= {name: body.text() for name, flag in (("username", USERNAME), ("password", PASSWORD)) if flags & flag}
    body.end()
    return fields


def _encode_connect(fields: dict[str, Any]) -> tuple[int, bytes]:
    if "password" in fields and "username" not in fields:
        raise FramingError("CONNECT with `password` needs `username`")
    clean = truth_of(fields, "clean_session", default=True)
    if fields["client_id"] == "" and not clean:
        raise FramingError("CONNECT with an empty `client_id` needs `clean_session: true`")
    names = [name for name in ("client_id", "username", "password") if name in fields]
    flags = CLEAN_SESSION * clean | USERNAME * ("username" in fields) | PASSWORD * ("password" in fields)
    keep_alive = number_of(fields, "keep_alive", 0, MAX_16_BITS, DEFAULT_KEEP_ALIVE_SECONDS)
    return 0, PROTOCOL + struct.pack(">BH", flags, keep_alive) + b"".join(_counted(fields, name) for name in names)


def _decode_connack(_: int, data: bytes) -> dict[str, Any]:
    body = _Body(data)
    session_present, return_code = body.take(2)
    body.end()
    if session_present > 1:
        raise FramingError("is no CONNACK of MQTT 3.1.1")
    return {"session_present": bool(session_present), "return_code": return_code}


def _encode_connack(fields: dict[str, Any]) -> tuple[int, bytes]:
    return 0, bytes([truth_of(fields, "session_present", default=False), number_of(fields, "return_code", 0, 255)])


def _decode_publish(flags: int, data: bytes) -> dict[str, Any]:
    body = _Body(data)
    fields: dict[str, Any] = {"topic": body.text(), "qos": int(bool(flags & QOS_1))}
    if flags & QOS_1:
        fields["id"] = body.number()
    return {
        **fields,
        "payload": body.rest().decode(errors="replace"),
        "retain": bool(flags & RETAIN),
        "dup": bool(flags & DUP),
    }


def _encode_publish(fields: dict[str, Any]) -> tuple[int, bytes]:
    topic, qos = line_of(fields, "topic"), number_of(fields, "qos", 0, 1, 0)
    if not topic or "+" in topic or "#" in topic:
        raise FramingError("`topic` must not be empty, and must not hold `+` or `#`")
    repeated = truth_of(fields, "dup", default=False)
    if ("id" in fields) != bool(qos) or repeated > qos:
        raise FramingError("PUBLISH with `qos: 1` needs `id`; with 0 it has neither `id` nor `dup`")
    flags = DUP * repeated | QOS_1 * qos | RETAIN * truth_of(fields, "retain", default=False)
    return flags, _counted(fields, "topic") + (_id(fields) if qos else b"") + utf8(text_of(fields, "payload"))


def _decode_id(_: int, data: bytes) -> dict[str, Any]:
    body = _Body(data)
    fields = {"id": body.number()}
    body.end()
    return fields


def _encode_id(fields: dict[str, Any]) -> tuple[int, bytes]:
    return 0, _id(fields)


def _decode_topics(data: bytes, *, each_has_qos: bool) -> dict[str, Any]:
    body = _Body(data)
    fields: dict[str, Any] = {"id": body.number(), "topics": []}
    while body.at < len(data):
        fields["topics"].append(body.text())
        if each_has_qos and body.take(1)[0] > 2:  # noqa: PLR2004 - the largest QoS there is
            raise FramingError("has a QoS above 2")
    if not fields["topics"]:
        raise FramingError("has no topic")
    return fields


def _encode_topics(fields: dict[str, Any], after_each: bytes) -> tuple[int, bytes]:
    topics = fields["topics"]
    if not isinstance(topics, list) or not topics or "" in topics:
        raise FramingError("`topics` must be a list of at least one topic")
    return 0, _id(fields) + b"".join(_counted({"topics": topic}, "topics") + after_each for topic in topics)


def _decode_suback(_: int, data: bytes) -> dict[str, Any]:
    body = _Body(data)
    return {"id": body.number(), "return_codes": list(body.rest())}


def _encode_suback(fields: dict[str, Any]) -> tuple[int, bytes]:
    codes = fields["return_codes"]
    if not isinstance(codes, list):
        raise FramingError("`return_codes` must be a list")
    return 0, _id(fields) + bytes(number_of({"return_codes": code}, "return_codes", 0, 255) for code in codes)


def _decode_nothing(_: int, data: bytes) -> dict[str, Any]:
    _Body(data).end()
    return {}


def _encode_nothing(_: dict[str, Any]) -> tuple[int, bytes]:
    return 0, b""


KINDS: Final = {
    "CONNECT": _Kind(
        0x10,
        ("client_id",),
        ("username", "password", "keep_alive", "clean_session"),
        _decode_connect,
        _encode_connect,
    ),
    "CONNACK": _Kind(0x20, ("return_code",), ("session_present",), _decode_connack, _encode_connack),
    "PUBLISH": _Kind(0x30, ("topic", "payload"), ("qos", "id", "retain", "dup"), _decode_publish, _encode_publish),
    "PUBACK": _Kind(0x40, ("id",), (), _decode_id, _encode_id),
    "SUBSCRIBE": _Kind(
        0x82,
        ("id", "topics"),
        (),
        lambda _, data: _decode_topics(data, each_has_qos=True),
        lambda fields: _encode_topics(fields, b"\0"),
    ),
    "SUBACK": _Kind(0x90, ("id", "return_codes"), (), _decode_suback, _encode_suback),
    "UNSUBSCRIBE": _Kind(
        0xA2,
        ("id", "topics"),
        (),
        lambda _, data: _decode_topics(data, each_has_qos=False),
        lambda fields: _encode_topics(fields, b""),
    ),
    "UNSUBACK": _Kind(0xB0, ("id",), (), _decode_id, _encode_id),
    "PINGREQ": _Kind(0xC0, (), (), _decode_nothing, _encode_nothing),
    "PINGRESP": _Kind(0xD0, (), (), _decode_nothing, _encode_nothing),
    "DISCONNECT": _Kind(0xE0, (), (), _decode_nothing, _encode_nothing),
}
PUBLISH_FLAGS: Final = (RETAIN, QOS_1, QOS_1 | RETAIN, DUP | QOS_1, DUP | QOS_1 | RETAIN)
NAMES: Final = {kind.code: name for name, kind in KINDS.items()} | {
    KINDS["PUBLISH"].code | flags: "PUBLISH" for flags in PUBLISH_FLAGS
}
"""First byte: which packet begins with it."""


def _read(data: bytes, at: int) -> tuple[Any, int] | None:
    name = NAMES.get(data[at])
    if name is None:
        raise FramingError("is no packet of MQTT 3.1.1 with a QoS below 2")
    length = 0
    for place in range(MAX_LENGTH_BYTES):
        if at + 1 + place >= len(data):
            return None
        digit = data[at + 1 + place]
        length |= (digit & 0x7F) << 7 * place
        if digit < 0x80:  # noqa: PLR2004 - the last digit has its highest bit clear (section 2.2.3)
            break
    else:
        raise FramingError("has a length of more than four bytes")
    start = at + 2 + place
    end = start + length
    if end > len(data):
        return None
    kind = KINDS[name]
    return {"packet": name, **kind.decode(data[at] - kind.code, data[start:end])}, end


decode: Final = decoder(_read)
"""Return the packets of the bytes: see `Codec.decode`."""


def encode(value: Any) -> bytes:
    """Return a packet; raises FramingError for an object that is none."""
    fields = object_of(value)
    name = word_of(fields, "packet", KINDS)
    kind = KINDS[name]
    check_names(fields, name, kind.required, ("packet", *kind.optional))
    flags, body = kind.encode(fields)
    if len(body) > MAX_PACKET_BYTES:
        raise FramingError("is longer than a packet of MQTT may be")
    length, digits = len(body), bytearray()
    while length >= 0x80:  # noqa: PLR2004 - 7 bits a digit (section 2.2.3)
        digits.append(length & 0x7F | 0x80)
        length >>= 7
    digits.append(length)
    return bytes([kind.code | flags]) + bytes(digits) + body
