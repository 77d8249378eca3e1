"""The opening handshake (RFC 6455 section 4.1): our request, and the head of the response.

Rule 1: a response is judged when its head is complete; of a refusal's body only the beginning is read, to see who made
it, and no verdict waits for that.
Rule 2: this module alone decides what is a valid 101. It accepts what Chromium, Node and curl accept: heads of up to
256 KiB, any number of headers, `HTTP/1.0 101`, a status line without a reason phrase.
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
from exporter.software import MARKING_HEADERS, MAX_BODY_BYTES, Answer, Author, find_author
from exporter.transport import Connection, ReceivedBytes

SILENT_LOGGER: Final = logging.getLogger("exporter.websockets")
"""The library logs frames at debug level; this logger drops them."""
SILENT_LOGGER.disabled = True

MAX_HEAD_BYTES: Final = 262_144
"""Bytes of the response's status line and headers, together with all 1xx responses before it: the limit of Chromium
 (net/http/http_stream_parser.cc, kMaxHeaderBufSize)."""

STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] ([1-5]\d\d)(?: [^\r\n]*)?\r?\n")
HEAD_END: Final = re.compile(rb"\r?\n\r?\n")
MAX_HEAD_END_BYTES: Final = 4
HEADER_LINE: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n\0]*?)[ \t]*")
"""A header line without its line end (RFC 9112 section 5). As in Node, a folded line and a space before the colon are
refused."""
WELL_FORMED_FIELDS: Final = re.compile(rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]++:[^\r\n\0]*+\r?\n)*+")
"""The same of all lines of a head at once."""

MAX_FIELDS: Final = 256
"""Of a head with more fields only those are kept that are looked at: one of 256 KiB may have 80,000, and the loop waits
meanwhile."""
DELAY_SECONDS_TEXT: Final = re.compile(r"\d{1,9}")
MAX_DATE_CHARACTERS: Final = 64


def serialize_request(request: SessionRequest, key: str) -> bytes:
    """Return the bytes of our request; it offers no extension, not even permessage-deflate."""
    headers = {
        "Host": request.authority,
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": key,
        "Sec-WebSocket-Version": "13",
        **({"Sec-WebSocket-Protocol": ", ".join(request.subprotocols)} if request.subprotocols else {}),
        **dict(
            {name.lower(): (name, value) for name, value in request.headers.items()}.values()
        ),  # the last value of a name
    }
    return Request(request.resource, Headers(headers)).serialize()


def open_protocol(request: SessionRequest) -> Protocol:
    """Return the library's protocol in its open state: it never sees the handshake."""
    return Protocol(
        Side.CLIENT, state=OPEN, max_size=request.session_messages.profile.max_message_size, logger=SILENT_LOGGER
    )


async def read_head(connection: Connection, response: "UpgradeResponse") -> ReceivedBytes:
    """Read the complete head of a 101; return the bytes behind it. Raises ProbeError (eof, status, upgrade)."""
    received_bytes = 0
    while True:
        data, at = await connection.read()
        if not data:
            raise ProbeError(ErrorKind.EOF, "before the answer to the upgrade")
        received_bytes += len(data)
        rest = response.feed(data)
        if rest is not None:
            return ReceivedBytes(rest, at)
        if received_bytes > MAX_HEAD_BYTES:
            raise ProbeError(ErrorKind.UPGRADE, Handshake.TOO_LARGE)


class UpgradeResponse:
    """The response to an upgrade, whose bytes are searched once each, behind 1xx heads (103 may precede 101, RFC 8297).

    fields: header fields of the final head by lower-case name; a malformed line goes under the empty name
    interim_status: status of the last interim head
    """

    def __init__(self) -> None:
        self.fields: Mapping[str, list[str]] = {}
        self.interim_status: int | None = None
        self._buffer = bytearray()
        self._searched_bytes = 0
        self._status: int | None = None
        self._is_complete = False

    def feed(self, data: bytes) -> bytes | None:
        """Return what follows the head of the 101, None while it is incomplete.

        Raises ProbeError (upgrade) for bytes that cannot become an HTTP/1 response, and (status) once the head of a
        refusal is complete.
        """
        self._buffer += data
        while True:
            if self._status is None and not self._has_status():
                return None
            end = HEAD_END.search(self._buffer, max(0, self._searched_bytes - MAX_HEAD_END_BYTES))
            if end is None:
                self._searched_bytes = len(self._buffer)
                return None
            head = bytes(self._buffer[: end.end()])
            del self._buffer[: end.end()]
            if self._status == HTTPStatus.SWITCHING_PROTOCOLS:
                self.fields, self._is_complete = _parse_fields(head), True
                return bytes(self._buffer)
            if self._status is not None and self._status >= 200:  # noqa: PLR2004 - RFC 9110 section 15.2
                self.fields, self._is_complete = _parse_fields(head), True
                raise ProbeError(ErrorKind.STATUS, status=self._status, retry_after=retry_after_of(self.fields))
            self.interim_status = self._status
            self._searched_bytes, self._status = 0, None

    def _has_status(self) -> bool:
        if not self._buffer.startswith(b"HTTP/1.") and not b"HTTP/1.".startswith(self._buffer[:7]):
            raise ProbeError(ErrorKind.UPGRADE, Handshake.NO_HTTP)
        if self._buffer.find(b"\n", self._searched_bytes) < 0:
            self._searched_bytes = len(self._buffer)
            return False
        line = STATUS_LINE.match(self._buffer)
        if line is None:
            raise ProbeError(ErrorKind.UPGRADE, Handshake.NO_HTTP)
        self._status, self._searched_bytes = int(line[1]), 0
        return True

    @property
    def lacks_body(self) -> bool:
        """True if this is a refusal whose head promises a body (RFC 9112 section 6) of which nothing has come."""
        promised = self.fields.get("content-length", ["0"]) != ["0"] or "transfer-encoding" in self.fields
        return self._is_complete and promised and not self._buffer and self._status != HTTPStatus.SWITCHING_PROTOCOLS

    def feed_body(self, data: bytes) -> None:
        """Keep the beginning of a refusal's body."""
        self._buffer += data[:MAX_BODY_BYTES]

    def author(self) -> Author:
        """Return who made the response, and the proxies that passed it on."""
        if not self._is_complete or self._status is None:
            return NO_AUTHOR
        is_open = self._status == HTTPStatus.SWITCHING_PROTOCOLS
        return find_author(Answer(self._status, self.fields, b"" if is_open else bytes(self._buffer[:MAX_BODY_BYTES])))


NO_AUTHOR: Final = Author(None, ())


def _parse_fields(head: bytes) -> Mapping[str, list[str]]:
    """Return the header fields of a head by lower-case name; a malformed line goes under the empty name."""
    fields: dict[str, list[str]] = {}
    lines = head.split(b"\n")[1:-2]
    if len(lines) > MAX_FIELDS:
        lines = _read_lines(head, lines)
    for line in lines:
        field = HEADER_LINE.fullmatch(line.removesuffix(b"\r"))
        name, value = ("", "") if field is None else (field[1].decode("latin-1").lower(), field[2].decode("latin-1"))
        fields.setdefault(name, []).append(value)
    return fields


def _read_lines(head: bytes, lines: list[bytes]) -> list[bytes]:
    """Return the lines that somebody looks at, and an empty one, which is malformed, if any is."""
    end = len(head) - (2 if head.endswith(b"\r\n") else 1)
    is_well_formed = WELL_FORMED_FIELDS.fullmatch(head, head.index(b"\n") + 1, end) is not None
    read = [line for line in lines if line.partition(b":")[0].lower() in READ_FIELDS]
    return read if is_well_formed else [b"", *read]


def find_handshake_breach(fields: Mapping[str, list[str]], key: str, offered: Sequence[str]) -> Handshake | None:
    """Return why the head of a 101 does not open the requested WebSocket (RFC 6455 section 4.1); None if it does."""
    return next((breach for breach, holds in CONDITIONS.items() if not holds(fields, key, offered)), None)


def chosen_subprotocol(fields: Mapping[str, list[str]]) -> str | None:
    """Return the subprotocol that a valid 101 chose; None if it chose none."""
    return next(iter(fields.get(SUBPROTOCOL_HEADER, [])), None)


def _values(fields: Mapping[str, list[str]], name: str) -> list[str]:
    """Return the members of a list-valued field (RFC 9110 section 5.6.1)."""
    return [part.strip(" \t") for value in fields.get(name, []) for part in value.split(",") if part.strip(" \t")]


def _lowered(fields: Mapping[str, list[str]], name: str) -> list[str]:
    return [value.lower() for value in _values(fields, name)]


SUBPROTOCOL_HEADER: Final = "sec-websocket-protocol"

READ_FIELDS: Final = frozenset(
    name.encode()
    for name in (
        *MARKING_HEADERS,
        "upgrade",
        "connection",
        "sec-websocket-accept",
        "sec-websocket-extensions",
        SUBPROTOCOL_HEADER,
        "content-length",
        "transfer-encoding",
        "retry-after",
        "date",
    )
)
"""Names of the header fields that this module and the fingerprints look at."""

CONDITIONS: Final[Mapping[Handshake, Callable[[Mapping[str, list[str]], str, Sequence[str]], bool]]] = {
    Handshake.BAD_HEADER: lambda fields, _, __: "" not in fields,
    Handshake.NO_UPGRADE: lambda fields, _, __: (
        _lowered(fields, "upgrade") == ["websocket"] and "upgrade" in _lowered(fields, "connection")
    ),
    Handshake.NO_ACCEPT: lambda fields, _, __: "sec-websocket-accept" in fields,
    Handshake.WRONG_ACCEPT: lambda fields, key, _: fields.get("sec-websocket-accept") == [accept_key(key)],
    Handshake.EXTENSION: lambda fields, _, __: "sec-websocket-extensions" not in fields,
    Handshake.SUBPROTOCOL_NOT_CHOSEN: lambda fields, _, offered: not offered or SUBPROTOCOL_HEADER in fields,
    Handshake.SUBPROTOCOL_NOT_OFFERED: lambda fields, _, offered: (
        SUBPROTOCOL_HEADER not in fields
        or (len(fields[SUBPROTOCOL_HEADER]) == 1 and fields[SUBPROTOCOL_HEADER][0] in offered)
    ),
}
"""The condition that a 101 must fulfil, by the name of its breach. Browsers demand that one of the offered subprotocols
is chosen (WHATWG WebSockets section 2.1 "establish a WebSocket connection")."""


def retry_after_of(fields: Mapping[str, list[str]]) -> float | None:
    """Return the seconds of Retry-After: a delay, or a date relative to `Date` (RFC 9110 section 10.2.3)."""
    values = fields.get("retry-after", [])
    if len(values) != 1:
        return None
    if DELAY_SECONDS_TEXT.fullmatch(values[0]):
        return float(values[0])
    until, now = _parse_date(values[0]), _parse_date(fields.get("date", [""])[0])
    return None if until is None or now is None else max(0.0, until - now)


def _parse_date(value: str) -> float | None:
    try:
        moment = parsedate_to_datetime(value[:MAX_DATE_CHARACTERS])
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
