"""Bytes, and the moment they arrived: one TCP or TLS connection over a non-blocking socket of our own.

Rule 1: knows no WebSocket. Rule 2: a stamp is when the kernel had the bytes for us, else when we were called, never
when somebody got round to reading them. Bytes that waited behind a lost segment have an older one: it is believed as
far as we can have been late. Rule 3: a failed send never costs us what was received: it is remembered, and reading goes
on to the end. Rule 4: what the operating system or OpenSSL raises leaves as a `ProbeError`.
"""

import asyncio
import errno
import socket
import ssl
import struct
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from math import inf
from typing import Any, Final, NamedTuple

from exporter.result import Address, CertificateEnd, ErrorKind, ProbeError, TlsVerify
from exporter.transport.chain import earliest_end, verdict_of

Clock = Callable[[], float]

READ_BYTES: Final = 16_384
"""Bytes of one read: as many in two-byte frames keep a parser, and so the loop, busy for 40 ms."""

MAX_UNREAD_BYTES: Final = 16 * READ_BYTES
"""Unread bytes at which we stop reading from the kernel, so that a flood stays the peer's problem."""

MAX_UNSENT_BYTES: Final = 64 * READ_BYTES
"""Bytes that a peer does not take at which it gets no more: a flood of pings wants one of pongs."""

SO_TIMESTAMPNS: Final = 35  # Linux's asm-generic/socket.h; the socket module has no name for it
TIMESPEC: Final = struct.Struct("@qq")
MIN_RTT_OFFSET: Final = 148
"""Where `tcpi_min_rtt` stands in Linux's struct tcp_info (uapi/linux/tcp.h, since 4.6): microseconds."""

MAX_STAMP_AGE_SECONDS: Final = 60.0  # a kernel stamp older than this is not believed: the wall clock has stepped
UNNOTICED_HOLD_SECONDS: Final = 0.025  # seconds that a loop may be held without the timer that watches it knowing
MAX_CLOCK_GAP_SECONDS: Final = 2e-5  # seconds that two clocks may be read apart and still tell of one moment
CLOCK_READ_TRIES: Final = 3

ERRNOS: Final = {
    errno.ECONNREFUSED: ErrorKind.REFUSED,
    errno.ECONNRESET: ErrorKind.RESET,
    errno.ECONNABORTED: ErrorKind.RESET,
    errno.EPIPE: ErrorKind.RESET,
    errno.ETIMEDOUT: ErrorKind.DEADLINE,
    errno.EHOSTUNREACH: ErrorKind.UNREACHABLE,
    errno.ENETUNREACH: ErrorKind.UNREACHABLE,
    errno.EHOSTDOWN: ErrorKind.UNREACHABLE,
    errno.ENETDOWN: ErrorKind.UNREACHABLE,
    errno.EADDRNOTAVAIL: ErrorKind.UNREACHABLE,
    errno.EAFNOSUPPORT: ErrorKind.UNREACHABLE,
    errno.EACCES: ErrorKind.UNREACHABLE,
    errno.EPERM: ErrorKind.UNREACHABLE,
    errno.EINVAL: ErrorKind.UNREACHABLE,
}
"""What an errno means for a connection. What is missing (EMFILE, ENOBUFS …) is our own trouble: it stays OSError."""


class ReceivedBytes(NamedTuple):
    """Bytes of one read and when they arrived, by the `Connection`'s clock; no bytes: the peer has ended its side."""

    data: bytes
    at: float


def fault_of(error: OSError) -> ProbeError:
    """The fault of a socket error; raises the error again if it is none of the peer's or the network's."""
    kind = ERRNOS.get(error.errno or 0)
    if kind is None:
        raise error
    return ProbeError(kind, errno.errorcode.get(error.errno or 0, ""))


def broken_by(error: OSError) -> ProbeError:
    """The fault of an error on an open connection, where a network that became unreachable is a broken one too."""
    kind = ErrorKind.DEADLINE if error.errno == errno.ETIMEDOUT else ErrorKind.RESET
    return ProbeError(kind, errno.errorcode.get(error.errno or 0, ""))


def tls_fault_of(error: ssl.SSLError, tls: ssl.SSLObject) -> ProbeError:
    """The fault of the peer's certificate that we refuse, else of the handshake: an alert, or bytes that are no TLS."""
    detail = (error.reason or type(error).__name__).lower()
    if not isinstance(error, ssl.SSLCertVerificationError):
        return ProbeError(ErrorKind.TLS, detail)
    return ProbeError(ErrorKind.CERTIFICATE, detail, tls_verify=verdict_of(error, tls))


class Connection:
    """One connection. Never shared by two readers. `close` is idempotent and leaves no socket behind.

    `certificate_end`: the earliest end in the chain that the handshake verified, or refused as expired.
    `kernel_stamps=False` is for loops whose clock is not the machine's. `held` tells by how many seconds the loop can
    have been late at worst; it is asked only about bytes that waited longer than `UNNOTICED_HOLD_SECONDS`.
    """

    def __init__(
        self, sock: socket.socket, clock: Clock, *, kernel_stamps: bool, held: Callable[[], float] = lambda: inf
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._sock = sock
        self._fd = sock.fileno()
        self._clock = clock
        self._stamps = kernel_stamps and _ask_for_stamps(sock)
        self._held = held
        self._read_buffer: deque[ReceivedBytes] = deque()
        self._size = 0
        self._ended: ProbeError | None = None
        self._eof = False
        self._reading = False
        self._waiter: asyncio.Future[None] | None = None
        self._unsent = bytearray()
        self._write_closed = False  # the peer takes no more bytes
        self._send_error: ProbeError | None = None
        self._tls: _TlsEngine | None = None
        self.sent_at = -inf  # when bytes of ours were last given to the kernel
        self.late = 0.0  # seconds by which we came late to read what had arrived, at worst
        self.certificate_end: CertificateEnd | None = None
        self.closed = False

    @classmethod
    async def connect(
        cls,
        address: Address,
        clock: Clock,
        *,
        kernel_stamps: bool = True,
        held: Callable[[], float] = lambda: inf,
    ) -> "Connection":
        """A TCP connection to one address; raises Fault (refused, unreachable, reset), OSError if it is our trouble."""
        family, where = address
        sock = _socket(family)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await _connect(sock, where)
            return cls(sock, clock, kernel_stamps=kernel_stamps, held=held)
        except OSError as error:
            sock.close()
            raise fault_of(error) from None
        except BaseException:
            sock.close()
            raise

    async def start_tls(self, context: ssl.SSLContext, server_name: str) -> float:
        """Shake hands (RFC 8446); when its last bytes arrived. Raises Fault (certificate, tls, eof, reset).

        Our last bytes go out with the first read or write: with TLS 1.3 in one segment with what is written.
        """
        tls = _TlsEngine(context, server_name)
        at = self._clock()
        while True:
            try:
                tls.object.do_handshake()
            except ssl.SSLWantReadError:
                self._send(tls.outgoing.read())
            except ssl.SSLError as error:
                self._send(tls.outgoing.read())  # the alert that tells the peer why
                fault = tls_fault_of(error, tls.object)
                if fault.tls_verify is TlsVerify.EXPIRED:
                    self.certificate_end = earliest_end(tls.object)
                raise fault from None
            else:
                self._tls = tls
                self.certificate_end = earliest_end(tls.object)
                self._keep_first(
                    ReceivedBytes(tls.incoming.read(), at)
                )  # sent before we asked: it is read again, in turn
                return at
            data, at = await self._raw()
            if not data:
                raise ProbeError(ErrorKind.EOF, "during the TLS handshake")
            tls.incoming.write(data)

    @property
    def round_trip(self) -> float:
        """Seconds that no answer of the peer's host can take less than; 0.0 if the kernel does not say."""
        with suppress(OSError):
            told = self._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, MIN_RTT_OFFSET + 4)
            if len(told) == MIN_RTT_OFFSET + 4:
                return int.from_bytes(told[MIN_RTT_OFFSET:], sys.byteorder) / 1e6
        return 0.0

    async def read(self) -> ReceivedBytes:
        """The next bytes; empty at the end of the stream. Raises Fault (reset, certificate, tls) after the last."""
        tls = self._tls
        if tls is None:
            return await self._raw()
        self._send(tls.outgoing.read())
        while tls.failed is None and not tls.ended:
            received = await self._raw()
            plain = self._decrypted(tls, received)
            if plain or not received.data:
                return ReceivedBytes(plain, received.at)
        if tls.failed is not None:
            raise ProbeError(tls.failed.kind, tls.failed.detail)
        return ReceivedBytes(b"", self._clock())

    def read_now(self) -> ReceivedBytes | None:
        """As `read`, but None instead of waiting or raising."""
        if self._tls is not None:
            self._send(self._tls.outgoing.read())
        while (received := self._raw_now()) is not None:
            if self._tls is None or not received.data:
                return received
            plain = self._decrypted(self._tls, received)
            if plain:
                return ReceivedBytes(plain, received.at)
        return None

    def _decrypted(self, tls: "_TlsEngine", received: ReceivedBytes) -> bytes:
        plain = tls.decrypt(received.data)
        self._send(tls.outgoing.read())  # the answer to a key update
        return plain

    def write(self, data: bytes) -> None:
        """Send now or as soon as the kernel takes it; never raises: the end shows when reading."""
        if self._tls is None:
            self._send(data)
            return
        with suppress(ssl.SSLError):
            self._tls.object.write(data)
        self._send(self._tls.outgoing.read())

    def close(self) -> None:
        """Let go of the socket; what the kernel already has is still sent."""
        if self.closed:
            return
        self.closed = True
        if self._tls is not None:
            with suppress(ssl.SSLError, ValueError):
                self._tls.object.unwrap()
            self._send(self._tls.outgoing.read())
        self._stop_reading()
        self._loop.remove_writer(self._fd)
        self._sock.close()

    # Reading ------------------------------------------------------------------------------------------------------

    async def _raw(self) -> ReceivedBytes:
        if self._read_buffer:
            await asyncio.sleep(0)  # however much there is to read, the loop has its turns, and deadlines strike
        while not self._read_buffer and not self._eof:
            if self._ended is not None:
                raise ProbeError(self._ended.kind, self._ended.detail)  # a new one: its traceback would keep us
            self._waiter = self._loop.create_future()
            self._start_reading()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._take()

    def _raw_now(self) -> ReceivedBytes | None:
        if not self._read_buffer and not self._eof and self._ended is None:
            self._readable()
        return self._take() if self._read_buffer or self._eof else None

    def _take(self) -> ReceivedBytes:
        if not self._read_buffer:
            return ReceivedBytes(b"", self._clock())
        received = self._read_buffer.popleft()
        self._size -= len(received.data)
        return received

    def _start_reading(self) -> None:
        if not self._reading:
            self._reading = True
            self._loop.add_reader(self._fd, self._readable)

    def _stop_reading(self) -> None:
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._fd)

    def _readable(self) -> None:
        """Take what the kernel has, up to the backlog: of a broken connection uvloop calls once, and not again."""
        while self._receive() and self._size <= MAX_UNREAD_BYTES:
            pass
        if self._eof or self._ended is not None or self._size > MAX_UNREAD_BYTES:
            self._stop_reading()
        if self._waiter is not None:
            _finish(self._waiter)

    def _receive(self) -> bool:
        """Take one read's worth, with its stamp; False if there is no more."""
        try:
            data, ancillary, _, _ = self._sock.recvmsg(READ_BYTES, 64)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            self._ended = broken_by(error)
            return False
        if not data and self._send_error is not None:  # the send has used up the error
            self._ended = self._send_error
            return False
        self._eof = not data
        self._keep(ReceivedBytes(data, self._arrival(ancillary)))
        return bool(data)

    def _keep(self, received: ReceivedBytes) -> None:
        if received.data:
            self._read_buffer.append(received)
            self._size += len(received.data)

    def _keep_first(self, received: ReceivedBytes) -> None:
        if received.data:
            self._read_buffer.appendleft(received)
            self._size += len(received.data)

    def _arrival(self, ancillary: list[tuple[int, int, bytes]]) -> float:
        for level, kind, data in ancillary if self._stamps else ():
            if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS and len(data) == TIMESPEC.size:
                whole, nanoseconds = TIMESPEC.unpack(data)
                now, wall = self._now()
                age: float = wall - whole - nanoseconds / 1e9
                if not 0 <= age < MAX_STAMP_AGE_SECONDS:
                    return now
                if age > UNNOTICED_HOLD_SECONDS:
                    age = min(age, self._held())
                self.late = max(self.late, age)
                return now - age
        return self._clock()

    def _now(self) -> tuple[float, float]:
        """Our clock and the wall's, of one moment: read again if somebody else had the processor in between."""
        for _ in range(CLOCK_READ_TRIES):
            before, wall = self._clock(), time.time()
            if self._clock() - before < MAX_CLOCK_GAP_SECONDS:
                break
        return before, wall

    # Writing ------------------------------------------------------------------------------------------------------

    def _send(self, data: bytes) -> None:
        if self._write_closed or not data:
            return
        if self._unsent:
            self._unsent += data
            self._write_closed = len(self._unsent) > MAX_UNSENT_BYTES
            return
        sent = self._push(data)
        if sent < len(data) and not self._write_closed:
            self._unsent += data[sent:]
            self._loop.add_writer(self._fd, self._writable)

    def _push(self, data: bytes | bytearray) -> int:
        self.sent_at = self._clock()
        try:
            return self._sock.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            self._write_closed, self._send_error = True, broken_by(error)
            return 0

    def _writable(self) -> None:
        del self._unsent[: self._push(self._unsent)]
        if self._write_closed or not self._unsent:
            self._unsent.clear()
            self._loop.remove_writer(self._fd)


def _socket(family: int) -> socket.socket:
    try:
        return socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise fault_of(error) from None


async def _connect(sock: socket.socket, where: Any) -> None:
    """Connect a non-blocking socket; raises OSError."""
    error = sock.connect_ex(where)
    if error == errno.EINPROGRESS:  # over loopback it is done by now: ask before waiting
        error = sock.connect_ex(where)
    if error in (errno.EINPROGRESS, errno.EALREADY):
        await _writable(sock)
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error:
        raise OSError(error, "connect")


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


async def _writable(sock: socket.socket) -> None:
    """Return when the kernel has finished connecting, well or not."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()
    loop.add_writer(sock, _finish, done)
    try:
        await done
    finally:
        loop.remove_writer(sock)


def _ask_for_stamps(sock: socket.socket) -> bool:
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        return True
    return False


class _TlsEngine:
    """A TLS engine between two memory buffers, so that the socket and its stamps stay ours."""

    def __init__(self, context: ssl.SSLContext, server_name: str) -> None:
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()
        self.object = context.wrap_bio(self.incoming, self.outgoing, server_hostname=server_name)
        self.ended = False
        self.failed: ProbeError | None = None

    def decrypt(self, data: bytes) -> bytes:
        """Plain bytes of all complete records; then `ended` (close_notify) or `failed` (alert, broken record)."""
        self.incoming.write(data)
        plain = bytearray()
        while self.failed is None and not self.ended:
            try:
                part = self.object.read(READ_BYTES)
            except ssl.SSLWantReadError:
                break
            except ssl.SSLZeroReturnError:
                part = b""
            except ssl.SSLError as error:
                self.failed = tls_fault_of(error, self.object)
                break
            self.ended = not part
            plain += part
        return bytes(plain)
