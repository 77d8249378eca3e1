"""One connection of a client, with limits on the time and the memory that it may take.

aiohttp bounds lines and headers, but not how long a client takes to send a request or to read a response.

Rule 1: a connection always has a deadline, except while a handler works on a request.
Rule 2: a connection beyond its deadline is aborted: a graceful close would wait for a client that reads nothing.
"""

import asyncio
import math
import ssl
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from aiohttp import web

from exporter.web.headers import HEADERS

REQUEST_HEAD_TIMEOUT_SECONDS: Final = 10.0
"""Seconds to send a request's head, from the start of the connection or the head's first byte."""

KEEPALIVE_TIMEOUT_SECONDS: Final = 150.0
"""Seconds until the next request: more than two of the usual scrape intervals."""

UNREAD_TIMEOUT_SECONDS: Final = 30.0
"""Seconds that a response, or the rest of it, may stay unread."""

BODY_DRAIN_SECONDS: Final = 1.0
"""Seconds in which the rest of a request's body is read and dropped."""

MAX_HEAD_BYTES_SENT: Final = 65_536
"""Bytes that a client may send from the beginning of one request to that of the next: its body, and the next head."""

TOO_LARGE: Final = "\r\n".join(
    (
        "HTTP/1.1 431 Request Header Fields Too Large",
        *(f"{name}: {value}" for name, value in HEADERS.items()),
        "Content-Length: 0",
        "Connection: close\r\n\r\n",
    )
).encode()


class HttpConnection(web.RequestHandler):
    """Adds counts and deadlines to aiohttp's connection; the middleware calls `begin_request` and `end_request`.

    `admits`: whether the client of a transport may be served. `on_lost`: called when the connection has ended.
    `since`: the loop's time of the last change of state. `deadline`: the loop's time at which to abort.
    `requests`: their number. `served`: whether one of them succeeded.
    `half_closed`: whether the client sends no more; it may be gone altogether.
    """

    def __init__(
        self,
        manager: web.Server,
        admits: Callable[[asyncio.BaseTransport], bool],
        on_lost: Callable[["HttpConnection"], None],
    ) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(
            manager,
            loop=loop,
            access_log=None,  # type: ignore[arg-type] # as AppRunner does it
            lingering_time=BODY_DRAIN_SECONDS,
            auto_decompress=False,
        )
        self._admits = admits
        self._on_lost = on_lost
        self._now = loop.time
        self._open_transport: asyncio.Transport | None = None
        self._bytes = 0
        self._busy = False
        self._idle = False
        self.requests = 0
        self.served = False
        self.half_closed = False
        self._set_deadline(REQUEST_HEAD_TIMEOUT_SECONDS)

    def _set_deadline(self, seconds: float) -> None:
        self.since = self._now()
        self.deadline = self.since + seconds

    @property
    def is_established(self) -> bool:
        """False before the end of the TLS handshake, and after the connection has ended."""
        return self._open_transport is not None

    @property
    def context(self) -> ssl.SSLContext | None:
        """The TLS context of the connection; None without TLS."""
        transport = self._open_transport
        context = transport.get_extra_info("sslcontext") if transport is not None else None
        return context if isinstance(context, ssl.SSLContext) else None

    @property
    def is_evictable(self) -> bool:
        """Whether the client waits for no response, or does not read the one that it is sent."""
        return not self._busy or self.writing_paused

    def abort(self) -> None:
        """Close the connection at once."""
        if self._open_transport is not None:
            self._open_transport.abort()

    # Requests -------------------------------------------------------------------------------------------------------

    def begin_request(self) -> None:
        """A handler begins to work on a request."""
        self.requests += 1
        self._busy = True
        self._bytes = 0
        self._set_deadline(math.inf)

    def end_request(self, *, succeeded: bool) -> None:
        """The handler has ended; the client must read the response and send its next request in time."""
        self._busy = False
        self.served = self.served or succeeded
        self._idle = not self._bytes
        next_request = KEEPALIVE_TIMEOUT_SECONDS if self._idle else REQUEST_HEAD_TIMEOUT_SECONDS
        self._set_deadline(UNREAD_TIMEOUT_SECONDS if self.writing_paused else next_request)

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """The response to a malformed request, without parts of the request, versions or messages of aiohttp."""
        del exc, message
        if request.writer.output_size > 0:
            raise ConnectionError
        response = web.Response(text=f"{HTTPStatus(status).phrase.lower()}\n", status=status, headers=HEADERS)
        response.force_close()
        return response

    # Callbacks of the transport -------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, or abort if the client is not admitted."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101
        self._open_transport = transport
        if self._admits(transport):
            super().connection_made(transport)
        else:
            transport.abort()

    def data_received(self, data: bytes) -> None:
        """Pass data on, within limits; aiohttp itself calls this without data to go on with what it has."""
        if self.transport is None:
            return  # the connection is being closed, or was not admitted
        self._bytes += len(data)
        if self._bytes > MAX_HEAD_BYTES_SENT:
            self._refuse_too_large()
            return
        if data and self._idle:
            self._idle = False
            self._set_deadline(REQUEST_HEAD_TIMEOUT_SECONDS)
        super().data_received(data)

    def eof_received(self) -> bool:  # type: ignore[override] # asyncio's protocol allows a bool
        """The client sends no more; its pending request is still answered (RFC 9112 section 9.6).

        True keeps the connection open for writing, which is not possible with TLS.
        """
        if self.context is not None or not (self._waiter is None or self._waiter.done()):
            return False
        self.half_closed = True
        self.close()
        return True

    def _refuse_too_large(self) -> None:
        if self._open_transport is not None and not self._busy:
            self._open_transport.write(TOO_LARGE)
        self.force_close()

    def pause_writing(self) -> None:
        """The client reads more slowly than the server writes."""
        super().pause_writing()
        self._set_deadline(UNREAD_TIMEOUT_SECONDS)

    def resume_writing(self) -> None:
        """The client has caught up."""
        super().resume_writing()
        self._set_deadline(math.inf if self._busy else KEEPALIVE_TIMEOUT_SECONDS)

    def connection_lost(self, exc: BaseException | None) -> None:
        """The connection has ended."""
        self._open_transport = None
        super().connection_lost(exc)
        self._on_lost(self)
