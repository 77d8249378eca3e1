"""One connection of a client, with a limit for all that it may make us wait for or keep.

aiohttp bounds lines and headers, but not how long a client takes over them, nor over reading an answer.

Rule 1: only a handler may take as long as it likes; for the rest there is a deadline at every moment.
Rule 2: what is over its deadline is aborted: a polite close would wait for a client that reads nothing.
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
"""Seconds for a request's head, from the connection or from its first byte on."""

KEEPALIVE_TIMEOUT_SECONDS: Final = 150.0
"""Seconds until another request, more than two of the usual scrape intervals."""

UNREAD_TIMEOUT_SECONDS: Final = 30.0
"""Seconds that an answer, or the rest of it, may lie unread."""

BODY_DRAIN_SECONDS: Final = 1.0
"""Seconds in which we read, and drop, the rest of a body that nobody wanted."""

MAX_HEAD_BYTES_SENT: Final = 65_536
"""Bytes from one request's beginning to the next: its body, and the head of the next one."""

TOO_LARGE: Final = "\r\n".join(
    (
        "HTTP/1.1 431 Request Header Fields Too Large",
        *(f"{name}: {value}" for name, value in HEADERS.items()),
        "Content-Length: 0",
        "Connection: close\r\n\r\n",
    )
).encode()


class HttpConnection(web.RequestHandler):
    """Counts and times what aiohttp does not. `admits`: whether its client may be answered at all.

    `begin` and `end` are told by the middleware around every request. `since`: when it became what it is now;
    `requests`: how many there were; `served`: whether one of them was answered well;
    `has_said_all`: whether the client sends no more, which may mean that it is gone.
    """

    def __init__(
        self,
        manager: web.Server,
        admits: Callable[[asyncio.BaseTransport], bool],
        gone: Callable[["HttpConnection"], None],
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
        self._gone = gone
        self._now = loop.time
        self._wire: asyncio.Transport | None = None
        self._bytes = 0
        self._busy = False
        self._waits_for_next = False
        self.requests = 0
        self.served = False
        self.has_said_all = False
        self._becomes(REQUEST_HEAD_TIMEOUT_SECONDS)

    def _becomes(self, seconds: float) -> None:
        self.since = self._now()
        self.deadline = self.since + seconds

    @property
    def is_there(self) -> bool:
        """Whether the connection is made: before, a handshake may be under way."""
        return self._wire is not None

    @property
    def context(self) -> ssl.SSLContext | None:
        """What its TLS was made with."""
        found = self._wire.get_extra_info("sslcontext") if self._wire is not None else None
        return found if isinstance(found, ssl.SSLContext) else None

    @property
    def can_be_spared(self) -> bool:
        """Whether nobody waits for an answer of ours, or whoever does reads none."""
        return not self._busy or self.writing_paused

    def abort(self) -> None:
        """End it without a word."""
        if self._wire is not None:
            self._wire.abort()

    # Requests -------------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """A request is being answered."""
        self.requests += 1
        self._busy = True
        self._bytes = 0
        self._becomes(math.inf)

    def end(self, *, well: bool) -> None:
        """It has been, but for what is not read yet; what follows of it, or another, has to come in time."""
        self._busy = False
        self.served = self.served or well
        self._waits_for_next = not self._bytes
        self._becomes(
            UNREAD_TIMEOUT_SECONDS
            if self.writing_paused
            else KEEPALIVE_TIMEOUT_SECONDS
            if self._waits_for_next
            else REQUEST_HEAD_TIMEOUT_SECONDS
        )

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """The answer to what is no request: without a word of it, of our versions, and of what aiohttp thinks of it."""
        del exc, message
        if request.writer.output_size > 0:
            raise ConnectionError
        answer = web.Response(text=f"{HTTPStatus(status).phrase.lower()}\n", status=status, headers=HEADERS)
        answer.force_close()
        return answer

    # What the transport tells ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, unless the client is none that we let in."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101
        self._wire = transport
        if self._admits(transport):
            super().connection_made(transport)
        else:
            transport.abort()

    def data_received(self, data: bytes) -> None:
        """Pass on, within limits; aiohttp calls this itself, without data, to go on with what it has."""
        if self.transport is None:
            return  # it is being closed, or was never let in
        self._bytes += len(data)
        if self._bytes > MAX_HEAD_BYTES_SENT:
            self._refuse()
            return
        if data and self._waits_for_next:
            self._waits_for_next = False
            self._becomes(REQUEST_HEAD_TIMEOUT_SECONDS)
        super().data_received(data)

    def eof_received(self) -> bool:  # type: ignore[override] # asyncio's protocol, which lets it keep the way open
        """The client sends no more: what it has asked is answered all the same (RFC 9112 section 9.6).

        True keeps the way to it open, which TLS cannot.
        """
        if self.context is not None or not (self._waiter is None or self._waiter.done()):
            return False
        self.has_said_all = True
        self.close()
        return True

    def _refuse(self) -> None:
        if self._wire is not None and not self._busy:
            self._wire.write(TOO_LARGE)
        self.force_close()

    def pause_writing(self) -> None:
        """The client reads more slowly than we write."""
        super().pause_writing()
        self._becomes(UNREAD_TIMEOUT_SECONDS)

    def resume_writing(self) -> None:
        """It has caught up."""
        super().resume_writing()
        self._becomes(math.inf if self._busy else KEEPALIVE_TIMEOUT_SECONDS)

    def connection_lost(self, exc: BaseException | None) -> None:
        """End it, whoever ended it."""
        self._wire = None
        super().connection_lost(exc)
        self._gone(self)
