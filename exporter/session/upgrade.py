"""The opening handshake (RFC 6455 section 4.1): what we ask for, and the head of the answer.

Rule 1: an answer is judged when its head is complete; the body of a refusal is never awaited.
Rule 2: one place decides what is a 101: here. What Chromium, Node and curl accept is accepted: heads of up to 256 KiB,
any number of headers, `HTTP/1.0 101`, a status line without a reason phrase.
"""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final

from websockets.datastructures import Headers
from websockets.http11 import Request
from websockets.protocol import OPEN, Protocol, Side
from websockets.utils import accept_key

from exporter.result import ErrorKind, Handshake, ProbeError
from exporter.session.request import SessionRequest
from exporter.transport import Connection, ReceivedBytes

SILENT_LOGGER: Final = logging.getLogger("exporter.websockets")
"""The library's logger prints frames at debug level: it gets one that never speaks."""
SILENT_LOGGER.disabled = True

MAX_HEAD_BYTES: Final = 262_144
"""Bytes of an upgrade answer's status line and headers, those of all 1xx before it included; more is no answer. As many
as Chromium takes (net/http/http_stream_parser.cc, kMaxHeaderBufSize)."""

STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] ([1-5]\d\d)(?: [^\r\n]*)?\r?\n")
HEAD_END: Final = re.compile(rb"\r?\n\r?\n")
MAX_HEAD_END_BYTES: Final = 4
HEADER_LINE: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n\0]*?)[ \t]*")
"""A header line without its line end (RFC 9112 section 5); a folded one and a space before the colon are refused, as
Node does."""
DELAY_SECONDS_TEXT: Final = re.compile(r"\d{1,9}")
MAX_DATE_CHARACTERS: Final = 64


def request(order: SessionRequest, key: str) -> bytes:
    """Our request; no extension is offered, permessage-deflate neither."""
    asked = {
        "Host": order.authority,
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": key,
        "Sec-WebSocket-Version": "13",
        **({"Sec-WebSocket-Protocol": ", ".join(order.subprotocols)} if order.subprotocols else {}),
        **dict({name.lower(): (name, value) for name, value in order.headers.items()}.values()),  # the last of a name
    }
    return Request(order.resource, Headers(asked)).serialize()


def opened(order: SessionRequest) -> Protocol:
    """The library's side of a WebSocket that is open: it never sees the handshake."""
    return Protocol(Side.CLIENT, state=OPEN, max_size=order.script.profile.max_message_size, logger=SILENT_LOGGER)


async def read_head(link: Connection) -> tuple[bytes, ReceivedBytes]:
    """The complete head of a 101, and what came with its end. Raises Fault for any other answer."""
    heads, heard = _ResponseHeads(), 0
    while True:
        data, at = await link.read()
        if not data:
            raise ProbeError(ErrorKind.EOF, "before the answer to the upgrade")
        heard += len(data)
        end = heads.feed(data)
        if end is not None:
            return bytes(heads.waiting[:end]), ReceivedBytes(bytes(heads.waiting[end:]), at)
        if heard > MAX_HEAD_BYTES:
            raise ProbeError(ErrorKind.UPGRADE, Handshake.TOO_LARGE)


class _ResponseHeads:
    """The answer's bytes without complete 1xx heads before it (103 may precede 101, RFC 8297); each is looked at once.

    `feed` gives the end of the 101's head; it raises Fault (upgrade) for what cannot become an HTTP/1 answer, and
    (status) once a refusal's head is complete.
    """

    def __init__(self) -> None:
        self.waiting = bytearray()
        self._looked_at = 0
        self._status: int | None = None

    def feed(self, data: bytes) -> int | None:
        self.waiting += data
        while True:
            if self._status is None and not self._has_status():
                return None
            end = HEAD_END.search(self.waiting, max(0, self._looked_at - MAX_HEAD_END_BYTES))
            if end is None:
                self._looked_at = len(self.waiting)
                return None
            if self._status == HTTPStatus.SWITCHING_PROTOCOLS:
                return end.end()
            if self._status is not None and self._status >= 200:  # noqa: PLR2004 - RFC 9110 section 15.2
                fields = _fields(bytes(self.waiting[: end.end()]))
                raise ProbeError(ErrorKind.STATUS, status=self._status, retry_after=_retry_after(fields))
            del self.waiting[: end.end()]
            self._looked_at, self._status = 0, None

    def _has_status(self) -> bool:
        if not self.waiting.startswith(b"HTTP/1.") and not b"HTTP/1.".startswith(self.waiting[:7]):
            raise ProbeError(ErrorKind.UPGRADE, Handshake.NO_HTTP)
        if self.waiting.find(b"\n", self._looked_at) < 0:
            self._looked_at = len(self.waiting)
            return False
        line = STATUS_LINE.match(self.waiting)
        if line is None:
            raise ProbeError(ErrorKind.UPGRADE, Handshake.NO_HTTP)
        self._status, self._looked_at = int(line[1]), 0
        return True


def _fields(head: bytes) -> Mapping[str, list[str]]:
    """The header fields of a head by their names in lower case; a line that is none stands under the empty name."""
    found: dict[str, list[str]] = {}
    for line in head.split(b"\n")[1:-2]:
        field = HEADER_LINE.fullmatch(line.removesuffix(b"\r"))
        name, value = ("", "") if field is None else (field[1].decode("latin-1").lower(), field[2].decode("latin-1"))
        found.setdefault(name, []).append(value)
    return found


def objection(head: bytes, key: str, offered: Sequence[str]) -> Handshake | None:
    """Why the head of a 101 does not open the WebSocket that was asked for (RFC 6455 section 4.1); None if it does."""
    fields = _fields(head)
    return next((word for word, holds in CONDITIONS.items() if not holds(fields, key, offered)), None)


def _values(fields: Mapping[str, list[str]], name: str) -> list[str]:
    """The members of a field that is a list (RFC 9110 section 5.6.1)."""
    return [part.strip(" \t") for value in fields.get(name, []) for part in value.split(",") if part.strip(" \t")]


def _lowered(fields: Mapping[str, list[str]], name: str) -> list[str]:
    return [value.lower() for value in _values(fields, name)]


SUBPROTOCOL_HEADER: Final = "sec-websocket-protocol"

CONDITIONS: Final[Mapping[Handshake, Callable[[Mapping[str, list[str]], str, Sequence[str]], bool]]] = {
    Handshake.BAD_HEADER: lambda fields, _, __: "" not in fields,
    Handshake.NO_UPGRADE: lambda fields, _, __: (
        _lowered(fields, "upgrade") == ["websocket"] and "upgrade" in _lowered(fields, "connection")
    ),
    Handshake.WRONG_ACCEPT: lambda fields, key, _: fields.get("sec-websocket-accept") == [accept_key(key)],
    Handshake.EXTENSION: lambda fields, _, __: "sec-websocket-extensions" not in fields,
    Handshake.SUBPROTOCOL_NOT_CHOSEN: lambda fields, _, offered: not offered or SUBPROTOCOL_HEADER in fields,
    Handshake.SUBPROTOCOL_NOT_OFFERED: lambda fields, _, offered: (
        SUBPROTOCOL_HEADER not in fields
        or (len(fields[SUBPROTOCOL_HEADER]) == 1 and fields[SUBPROTOCOL_HEADER][0] in offered)
    ),
}
"""What an opening 101 must fulfil, by the word for its breach. Browsers demand that one of the offered subprotocols is
chosen (WHATWG WebSockets section 2.1 "establish a WebSocket connection")."""


def _retry_after(fields: Mapping[str, list[str]]) -> float | None:
    """Seconds that Retry-After asks for: a delay, or a date beside the answer's own (RFC 9110 section 10.2.3)."""
    values = fields.get("retry-after", [])
    if len(values) != 1:
        return None
    if DELAY_SECONDS_TEXT.fullmatch(values[0]):
        return float(values[0])
    until, now = _moment(values[0]), _moment(fields.get("date", [""])[0])
    return None if until is None or now is None else max(0.0, until - now)


def _moment(value: str) -> float | None:
    try:
        moment = parsedate_to_datetime(value[:MAX_DATE_CHARACTERS])
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
