"""One connection: bytes, TLS, and the Sans-I/O core of `websockets`; it knows no backend and no fault by name.

Rule 1: no client can break it: inbox and outgoing buffer are bounded, and callbacks raise nothing.
Rule 2: a time is taken just before the bytes go to the kernel. Rule 3: nothing is logged.
"""

import asyncio
import logging
import socket
import ssl
import struct
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from websockets.exceptions import PayloadTooBig
from websockets.frames import Close, CloseCode, Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import OPEN, State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from exporter.standin import http_answers
from exporter.standin.frames import MAX_MESSAGE_SIZE
from exporter.standin.timings import Timings
from exporter.standin.tls import TlsLayer

SILENT_WIRE_LOGGER: Final = logging.Logger("standin", logging.CRITICAL + 1)  # noqa: LOG001 - not registered, so it logs nothing
MAX_LIBRARY_BYTES: Final = 16 * 1024 * 1024
"""Bytes of a message beyond which the WebSocket library closes with 1009 (docs/backend-protocol.md#limits)."""
MAX_INBOX_MESSAGES: Final = 64
"""Messages kept for the conversation; reading pauses while there are more."""
NO_LINGER: Final = struct.pack("ii", 1, 0)


class ConversationEndedError(Exception):
    """The conversation is over; the rest of the connection needs no handler."""


@dataclass(slots=True)
class WireTrace:
    """What was received and sent. Times are of the stand-in's clock."""

    accepted_at: float = 0.0
    upgraded_at: float | None = None
    close_received: int | None = None
    close_sent: int | None = None
    first_closer: str | None = None
    aborted: bool = False
    reset: bool = False


class ServerConnection(asyncio.Protocol):
    """A connection on the server's side. Faults set `on_close` and `fragmented` and call the methods."""

    def __init__(
        self, sock: socket.socket, *, context: ssl.SSLContext | None, timings: Timings, clock: Callable[[], float]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._sock = sock
        self._timings = timings
        self._clock = clock
        self._transport: asyncio.Transport | None = None
        self._tls = TlsLayer(context) if context is not None else None
        self._protocol = ServerProtocol(
            max_size=MAX_LIBRARY_BYTES, logger=SILENT_WIRE_LOGGER, select_subprotocol=_select_subprotocol
        )
        self._inbox: deque[Request | str | None] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._parts: list[bytes] = []
        self._size = 0
        self._opcode = Opcode.TEXT
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._writable = asyncio.Event()
        self._writable.set()
        self._finished = False
        self._withheld = False
        self.trace = WireTrace(accepted_at=clock())
        self.lost: asyncio.Future[None] = self._loop.create_future()
        self.owner: asyncio.Task[None] | None = None
        self.ignores_input = False
        """Received bytes are dropped."""
        self.muted = False
        """Bytes to send are dropped, those of the close answer and of pongs too."""
        self.discarding = False
        """Messages are dropped, but pings and closes are still answered."""
        self.fragmented = False
        self.on_open: Callable[[], None] | None = None
        self.on_bytes: Callable[[], None] | None = None
        self.on_ping: Callable[[], None] | None = None
        self.on_close: Callable[[], None] | None = None
        self.on_disconnect: Callable[[], None] | None = None
        """Called once: at the client's close frame, or at the end of the connection if none came."""

    # The life of the connection ----------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to read."""
        await self._loop.connect_accepted_socket(lambda: self, self._sock)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        self._transport = cast("asyncio.Transport", transport)
        self.start_timer("lifetime", self._timings.request_timeout, self._end_lifetime)
        if self.on_open is not None:
            self.on_open()

    def _end_lifetime(self) -> None:
        """End the connection at the platform's request timeout, without a close frame."""
        self.kill(reset=False)

    def disable_tls(self) -> None:
        """Use no TLS, on the TLS port either."""
        self._tls = None

    @property
    def is_started(self) -> bool:
        """True once the loop has the connection."""
        return self._transport is not None

    @property
    def is_lost(self) -> bool:
        """True once the connection has ended."""
        return self.lost.done()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop."""
        self.trace.reset = isinstance(exc, OSError)
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._writable.set()
        self._disconnected()
        if not self.lost.done():
            self.lost.set_result(None)
        if self.owner is not None:
            self.owner.cancel()

    async def wait_lost(self) -> None:
        """Wait for the end of the connection."""
        await asyncio.shield(self.lost)

    def start_timer(self, name: str, delay: float, call: Callable[[], None]) -> None:
        """Call after `delay` seconds, in place of an earlier timer of that name; never after the end."""
        self.cancel_timer(name)
        if not self.lost.done():
            self._timers[name] = self._loop.call_later(delay, call)

    def cancel_timer(self, name: str) -> None:
        """Stop that timer."""
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()

    # Reading -------------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        if self.on_bytes is not None:
            self.on_bytes()
        if self.ignores_input:
            return
        plain = data if self._tls is None else self._decrypt(self._tls, data)
        if plain and not self.ignores_input:
            self._protocol.receive_data(plain)
            self._collect()
        if self._tls is not None and self._tls.ended:
            self.eof_received()
            self.finish()

    def _decrypt(self, tls: TlsLayer, data: bytes) -> bytes:
        try:
            plain = tls.receive(data)
        except ssl.SSLError:
            self._write_raw(tls.encrypt(b""))  # the alert with the reason
            self.ignores_input = True
            self._shut()
            return b""
        self._write_raw(tls.encrypt(b""))
        return plain

    def eof_received(self) -> None:
        """Called by the loop; the transport then closes by itself."""
        if not self.ignores_input:
            self._protocol.receive_eof()
            self._protocol.data_to_send()
        self.ignores_input = True

    def _collect(self) -> None:
        for event in self._protocol.events_received():
            if isinstance(event, Frame):
                self._frame(event)
            elif isinstance(event, Request):
                self._put(event)
        received = self._protocol.close_rcvd
        if received is not None and self.trace.close_received is None:
            self._close_received(int(received.code))
        self.flush()

    def _disconnected(self) -> None:
        if self.on_disconnect is not None:
            self.on_disconnect()
            self.on_disconnect = None

    def _close_received(self, code: int) -> None:
        self.trace.close_received = code
        self._disconnected()
        first = self.trace.first_closer is None
        self.trace.first_closer = self.trace.first_closer or "client"
        if first and self.on_close is not None:
            self._withheld = True
            self._protocol.data_to_send()  # drops the library's own answer
            self.on_close()

    def _frame(self, frame: Frame) -> None:
        """Join fragments; the library leaves this and the check of UTF-8 to its caller."""
        if frame.opcode is Opcode.PONG and "missed" in self._timers:
            self.cancel_timer("missed")
            self.start_timer("keepalive", self._timings.keepalive, self._keepalive)
        if frame.opcode is Opcode.PING and self.on_ping is not None:
            self.on_ping()
        if frame.opcode not in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            return
        if frame.opcode is not Opcode.CONT:
            self._opcode, self._parts, self._size = frame.opcode, [], 0
        self._size += len(frame.data)
        if self._size <= MAX_MESSAGE_SIZE and frame.data:
            self._parts.append(bytes(frame.data))
        if frame.fin:
            self._message(b"".join(self._parts))

    def _message(self, data: bytes) -> None:
        self._parts = []
        if self._size > MAX_MESSAGE_SIZE or self.discarding:
            return
        if self._opcode is Opcode.BINARY:
            self._put(None)
            return
        try:
            self._put(data.decode())
        except UnicodeDecodeError as error:
            self._protocol.fail(CloseCode.INVALID_DATA, error.reason)

    def _put(self, item: Request | str | None) -> None:
        self._inbox.append(item)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        self._throttle()

    async def _next(self) -> Request | str | None:
        while not self._inbox:
            self._waiter = self._loop.create_future()
            await self._waiter
        item = self._inbox.popleft()
        self._throttle()
        return item

    async def request(self) -> Request:
        """The upgrade request. Waits for ever if none comes: the connection's end cancels the owner."""
        item = await self._next()
        if not isinstance(item, Request):
            raise ConversationEndedError
        return item

    async def message(self) -> str | None:
        """The next message of at most 8,192 bytes; None for a binary one. Larger ones never come."""
        await self._writable.wait()
        item = await self._next()
        if isinstance(item, Request):
            raise ConversationEndedError
        return item

    def _throttle(self) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if len(self._inbox) >= MAX_INBOX_MESSAGES or not self._writable.is_set():
            transport.pause_reading()
        else:
            transport.resume_reading()

    def pause_writing(self) -> None:
        """Called by the loop: while the client does not read, neither does the stand-in."""
        self._writable.clear()
        self._throttle()

    def resume_writing(self) -> None:
        """Called by the loop."""
        self._writable.set()
        self._throttle()

    # Writing -------------------------------------------------------------------------------------------------------

    def _write_raw(self, data: bytes) -> None:
        is_done = self.muted or self._finished
        if data and self._transport is not None and not is_done and not self._transport.is_closing():
            self._transport.write(data)

    def write(self, data: bytes) -> None:
        """Send bytes as they are."""
        if self.muted or self._finished or not data:
            return
        if self._tls is None:
            self._write_raw(data)
        elif self._tls.ready:
            self._write_raw(self._tls.encrypt(data))

    def flush(self) -> None:
        """Send the bytes that the library has prepared."""
        protocol = self._protocol
        pending = protocol.data_to_send()
        if self.muted:
            return
        sent = protocol.close_sent
        if sent is not None and self.trace.close_sent is None and not self._withheld:
            self._close_sent(int(sent.code))
            if isinstance(protocol.parser_exc, PayloadTooBig):
                pending = [close_frame(CloseCode.MESSAGE_TOO_BIG), b""]  # the real server gives no reason
        self.write(b"".join(pending))
        if b"" in pending:  # the library's mark for the end of the sending side
            self.finish()

    def _close_sent(self, code: int) -> None:
        self.trace.close_sent = code
        self.trace.first_closer = self.trace.first_closer or "server"

    def answer_upgrade(self, request: Request, *, accept: str | None = None, wall: float) -> None:
        """Answer the upgrade: 101, or the library's refusal of a bad one. `accept`: the header's value instead.

        Raises ConversationEndedError if the connection is not open then: the client has left, or was refused.
        """
        if self._protocol.state is not State.CONNECTING:
            raise ConversationEndedError
        response = self._protocol.accept(request)
        _replace(response.headers, "Date", http_answers.date(wall))
        if accept is not None:
            _replace(response.headers, "Sec-WebSocket-Accept", accept)
        self._protocol.send_response(response)
        if self._protocol.state is not OPEN:
            self.flush()
            raise ConversationEndedError
        self.trace.upgraded_at = self._clock()
        self.flush()
        self.start_timer("keepalive", self._timings.keepalive, self._keepalive)

    def send(self, payload: bytes) -> None:
        """Send a text message; raises ConversationEndedError if the connection is no longer open."""
        if self._protocol.state is not OPEN:
            raise ConversationEndedError
        if self.fragmented:
            self._send_fragments(payload)
        else:
            self._protocol.send_text(payload)
        self.flush()

    def _send_fragments(self, payload: bytes) -> None:
        third = len(payload) // 3
        self._protocol.send_text(payload[:third], fin=False)
        self._protocol.send_ping(b"between")
        self._protocol.send_continuation(payload[third : 2 * third], fin=False)
        self._protocol.send_continuation(payload[2 * third :], fin=True)

    def try_send(self, payload: bytes) -> bool:
        """Send a text message if the connection is open; True if it was."""
        if self._protocol.state is not OPEN:
            return False
        self.send(payload)
        return True

    def send_binary(self, payload: bytes) -> None:
        """Send a binary message; raises ConversationEndedError if the connection is no longer open."""
        if self._protocol.state is not OPEN:
            raise ConversationEndedError
        self._protocol.send_binary(payload)
        self.flush()

    def _keepalive(self) -> None:
        if self._protocol.state is not OPEN or self.muted:
            return
        self._protocol.send_ping(struct.pack("!d", self._clock()))
        self.flush()
        self.start_timer("missed", self._timings.keepalive_timeout, self._keepalive_missed)

    def _keepalive_missed(self) -> None:
        self._protocol.fail(CloseCode.INTERNAL_ERROR, "keepalive ping timeout")
        self.flush()

    # Ending --------------------------------------------------------------------------------------------------------

    def close(self, code: int, reason: str = "") -> None:
        """Send a close frame with any code (1005: an empty one), and wait for the client's in the background."""
        protocol = self._protocol
        if self.muted or self._finished or self.trace.close_sent is not None:
            return
        self._close_sent(code)
        self.write(close_frame(code, reason))
        if protocol.state is OPEN:  # else the client has closed already
            protocol.close_sent = Close(code, reason)
            protocol.state = State.CLOSING
            self.start_timer("close", self._timings.close_timeout, self.finish)
        else:
            self.finish()

    def finish(self) -> None:
        """End the sending side once everything is sent; the client's end, or a timeout, ends the connection."""
        if self._finished or self.muted or self._transport is None:
            return
        if self._tls is not None:
            self._write_raw(self._tls.close_notify())
        self._shut()

    def _shut(self) -> None:
        self._finished = True
        if self._transport is not None and not self._transport.is_closing():
            try:
                self._transport.write_eof()
            except OSError:  # the client has reset the connection; the loop reports it next
                self._transport.abort()
            self.start_timer("linger", self._timings.close_timeout, self._transport.abort)

    def half_close(self) -> None:
        """End the sending side without a close frame, and send nothing more."""
        self.finish()
        self.mute()

    def mute(self) -> None:
        """Send nothing from now on."""
        self.muted = True

    def abort(self) -> None:
        """Reset the connection."""
        self.trace.aborted = True
        self.kill(reset=True)

    def kill(self, *, reset: bool) -> None:
        """End the connection at once."""
        if self._transport is None:
            self._sock.close()
            return
        if self.lost.done():
            return
        if reset:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        self._transport.abort()


def close_frame(code: int, reason: str = "") -> bytes:
    """A close frame with any code; 1005 without a reason is an empty one."""
    payload = b"" if code == CloseCode.NO_STATUS_RCVD and not reason else struct.pack("!H", code) + reason.encode()
    return Frame(Opcode.CLOSE, payload).serialize(mask=False)


def _select_subprotocol(_protocol: ServerProtocol, offers: Sequence[Subprotocol]) -> Subprotocol | None:
    """`jwt-auth` if offered, else none, even if `jwt.…` was (docs/backend-protocol.md#connecting)."""
    return Subprotocol("jwt-auth") if "jwt-auth" in offers else None


def _replace(headers: Any, name: str, value: str) -> None:
    if name in headers:
        del headers[name]
    headers[name] = value
