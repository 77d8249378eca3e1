"""The opening handshake (RFC 6455 section 4.1): what we ask for, and the head of the answer.

Rule 1: an answer is judged when its head is complete; the body of a refusal is never awaited.
"""

import logging
import re
from typing import Final

from websockets.client import ClientProtocol
from websockets.datastructures import Headers
from websockets.http11 import Request
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI

from exporter.result import Fault, Kind
from exporter.session.order import Order
from exporter.transport import Link, Received

SILENT: Final = logging.getLogger("exporter.websockets")
"""The library's logger prints Authorization headers and frames at debug level: it gets one that never speaks."""
SILENT.disabled = True

HEAD_LIMIT: Final = 32_768
"""Bytes of an upgrade answer's status line and headers, those of all 1xx before it included; more is no answer."""

SWITCHING: Final = 101
STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] ([1-5]\d\d)(?: [^\r\n]*)?\r?\n")
HEAD_END: Final = re.compile(rb"\r?\n\r?\n")
RETRY_AFTER: Final = re.compile(rb"\nretry-after:[ \t]*(\d{1,9})[ \t]*\r?\n", re.IGNORECASE)


def offer(order: Order) -> ClientProtocol:
    """The protocol with our request ready to be sent; no extension is offered, permessage-deflate neither."""
    protocol = ClientProtocol(
        WebSocketURI(order.tls is not None, order.host, order.port, order.resource, ""),
        subprotocols=[Subprotocol(name) for name in order.subprotocols] or None,
        max_size=order.script.profile.max_message_size,
        logger=SILENT,
    )
    asked = {
        "Host": order.authority,
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": protocol.key,
        "Sec-WebSocket-Version": "13",
        **({"Sec-WebSocket-Protocol": ", ".join(order.subprotocols)} if order.subprotocols else {}),
        **dict({name.lower(): (name, value) for name, value in order.headers.items()}.values()),  # the last of a name
    }
    protocol.send_request(Request(order.resource, Headers(asked)))
    return protocol


async def read_head(link: Link) -> tuple[bytes, Received]:
    """The complete head of a 101, and what came with its end. Raises Fault for any other answer."""
    head, heard = b"", 0
    while True:
        data, at = await link.read()
        if not data:
            raise Fault(Kind.EOF, "before the answer to the upgrade")
        heard += len(data)
        head = _skip_informational(head + data)
        end = HEAD_END.search(head)
        if end is not None:
            return head[: end.end()], Received(head[end.end() :], at)
        if heard > HEAD_LIMIT:
            raise Fault(Kind.UPGRADE, "endless head")


def _skip_informational(head: bytes) -> bytes:
    """The answer's bytes without complete 1xx heads before it (103 may precede 101, RFC 8297).

    Raises Fault (upgrade) for what cannot become an HTTP/1 answer, and (status) once a refusal's head is complete.
    """
    while True:
        if not head.startswith(b"HTTP/1.") and not b"HTTP/1.".startswith(head[:7]):
            raise Fault(Kind.UPGRADE, "no HTTP answer")
        line, end = STATUS_LINE.match(head), HEAD_END.search(head)
        if line is None and b"\n" in head:
            raise Fault(Kind.UPGRADE, "no status line")
        if line is None or end is None:
            return head
        status = int(line[1])
        if status == SWITCHING:
            return head
        if not 100 <= status < 200:  # noqa: PLR2004
            asked = RETRY_AFTER.search(head, 0, end.end())
            raise Fault(Kind.STATUS, status=status, retry_after=float(asked[1]) if asked else None)
        head = head[end.end() :]
