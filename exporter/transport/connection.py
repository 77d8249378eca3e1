"""One TCP or TLS connection over a non-blocking socket: bytes, and the moment each arrived.

Rule 1: this module knows no WebSocket. Rule 2: bytes carry the kernel's receive time, else the moment of our callback,
never the moment of a later read. Bytes behind a lost segment carry an older stamp; it is accepted as far as the loop
can have stalled. Rule 3: a failed send discards nothing received: its error is kept until all is read. Rule 4: errors
of the operating system and of OpenSSL become a `ProbeError`.
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

from exporter.result import Address, CertificateEnd, Ending, ErrorKind, ProbeError, TlsVerify
from exporter.transport.chain import certificate_verdict, earliest_certificate_end

Clock = Callable[[], float]

READ_BYTES: Final = 16_384
"""Bytes of one read: two-byte frames of this size together block the parser, and so the loop, for 40 ms."""

MAX_UNREAD_BYTES: Final = 16 * READ_BYTES
"""Unread bytes at which reading from the kernel stops, so that TCP holds back a flood."""

MAX_UNSENT_BYTES: Final = 64 * READ_BYTES
"""Unsent bytes at which writing stops: a peer that floods us with pings and reads no pongs would fill the memory."""

SO_TIMESTAMPNS: Final = 35  # Linux's asm-generic/socket.h; the socket module has no name for it
TIMESPEC: Final = struct.Struct("@qq")
MIN_RTT_OFFSET: Final = 148
"""Where `tcpi_min_rtt` stands in Linux's struct tcp_info (uapi/linux/tcp.h, since 4.6): microseconds."""

MAX_STAMP_AGE_SECONDS: Final = 60.0  # an older kernel stamp is ignored: the wall clock has stepped
UNNOTICED_STALL_SECONDS: Final = 0.025  # a shorter stall may escape `LoopLagMonitor`
MAX_CLOCK_GAP_SECONDS: Final = 2e-5  # two readings closer than this count as one moment
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
"""The kind of each errno of a connection. An errno that only this machine causes (EMFILE, ENOBUFS …) is missing, and
stays an OSError."""


class ReceivedBytes(NamedTuple):
    """Bytes of one read, and when they arrived by the `Connection`'s clock. No bytes: the peer has ended its side."""

    data: bytes
    at: float


def error_from_connect(error: OSError) -> ProbeError:
    """Return the error of a failed connect; raises the OSError again if this machine is the cause."""
    kind = ERRNOS.get(error.errno or 0)
    if kind is None:
        raise error
    return ProbeError(kind, errno.errorcode.get(error.errno or 0, ""))


def error_from_broken_connection(error: OSError) -> ProbeError:
    """Return the error of an open connection; here an unreachable network is a broken connection too."""
    kind = ErrorKind.DEADLINE if error.errno == errno.ETIMEDOUT else ErrorKind.RESET
    return ProbeError(kind, errno.errorcode.get(error.errno or 0, ""))


def error_from_tls(error: ssl.SSLError, tls: ssl.SSLObject) -> ProbeError:
    """Return the error of a refused certificate, or of the TLS protocol: an alert, or bytes that are no TLS."""
    detail = (error.reason or type(error).__name__).lower()
    if not isinstance(error, ssl.SSLCertVerificationError):
        return ProbeError(ErrorKind.TLS, detail)
    return ProbeError(ErrorKind.CERTIFICATE, detail, tls_verify=certificate_verdict(error, tls))


class Connection:
    """One connection with one reader. `close` is idempotent.

    `kernel_stamps`: False for a loop whose clock is not the machine's.
    `max_loop_stall`: returns the seconds by which the loop can have stalled; called only for bytes that waited longer
    than `UNNOTICED_STALL_SECONDS`.
    `sent_at`: the moment of the last send to the kernel, by `clock`.
    `read_delay`: the most seconds for which received bytes waited to be read.
    `certificate_end`: the earliest end in the chain that the handshake verified, or refused as expired.
    """

    def __init__(
        self,
        sock: socket.socket,
        clock: Clock,
        *,
        kernel_stamps: bool,
        max_loop_stall: Callable[[], float] = lambda: inf,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._sock = sock
        self._fd = sock.fileno()
        self._clock = clock
        self._has_kernel_stamps = kernel_stamps and _enable_kernel_stamps(sock)
        self._max_loop_stall = max_loop_stall
        self._read_buffer: deque[ReceivedBytes] = deque()
        self._buffered_bytes = 0
        self._read_error: ProbeError | None = None
        self._eof = False
        self._reading = False
        self._waiter: asyncio.Future[None] | None = None
        self._unsent = bytearray()
        self._write_closed = False
        self._send_error: ProbeError | None = None
        self._tls: _TlsEngine | None = None
        self.sent_at = -inf
        self.read_delay = 0.0
        self.certificate_end: CertificateEnd | None = None
        self.closed = False

    @classmethod
    async def connect(
        cls,
        address: Address,
        clock: Clock,
        *,
        kernel_stamps: bool = True,
        max_loop_stall: Callable[[], float] = lambda: inf,
    ) -> "Connection":
        """Connect to one address; raises ProbeError (refused, unreachable, reset), OSError for its own machine."""
        family, sockaddr = address
        sock = _open_socket(family)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await _connect(sock, sockaddr)
            return cls(sock, clock, kernel_stamps=kernel_stamps, max_loop_stall=max_loop_stall)
        except OSError as error:
            sock.close()
            raise error_from_connect(error) from None
        except BaseException:
            sock.close()
            raise

    async def start_tls(self, context: ssl.SSLContext, server_name: str) -> float:
        """Shake hands (RFC 8446); return when the last bytes of it arrived.

        Our last flight goes out with the first read or write; under TLS 1.3 it shares a segment with that write.
        Raises ProbeError (certificate, tls, eof, reset).
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
                probe_error = error_from_tls(error, tls.object)
                if probe_error.tls_verify is TlsVerify.EXPIRED:
                    self.certificate_end = earliest_certificate_end(tls.object)
                raise probe_error from None
            else:
                self._tls = tls
                self.certificate_end = earliest_certificate_end(tls.object)
                self._prepend(ReceivedBytes(tls.incoming.read(), at))  # application data that came early
                return at
            data, at = await self._read_socket()
            if not data:
                raise ProbeError(ErrorKind.EOF, "during the TLS handshake")
            tls.incoming.write(data)

    @property
    def min_rtt_seconds(self) -> float:
        """The shortest round trip that the kernel has measured; 0.0 if it does not say."""
        with suppress(OSError):
            tcp_info = self._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, MIN_RTT_OFFSET + 4)
            if len(tcp_info) == MIN_RTT_OFFSET + 4:
                return int.from_bytes(tcp_info[MIN_RTT_OFFSET:], sys.byteorder) / 1e6
        return 0.0

    @property
    def ending(self) -> Ending | None:
        """How the peer has ended the connection, as far as it was read; None: it has not."""
        if self._read_error is not None:
            return Ending.RESET if self._read_error.kind is ErrorKind.RESET else None
        if self._tls is not None and self._tls.ended:
            return Ending.CLOSE_NOTIFY
        if not self._eof:
            return None
        return Ending.FIN if self._tls is None else Ending.TLS_CUT

    async def read(self) -> ReceivedBytes:
        """Return the next bytes, none at the end of the stream; after the last ProbeError (reset, certificate, tls)."""
        tls = self._tls
        if tls is None:
            return await self._read_socket()
        self._send(tls.outgoing.read())
        while tls.error is None and not tls.ended:
            received = await self._read_socket()
            plaintext = self._decrypt(tls, received)
            if plaintext or not received.data:
                return ReceivedBytes(plaintext, received.at)
        if tls.error is not None:
            raise ProbeError(tls.error.kind, tls.error.detail)
        return ReceivedBytes(b"", self._clock())

    def read_now(self) -> ReceivedBytes | None:
        """Return as `read` does, but None instead of waiting or raising."""
        if self._tls is not None:
            self._send(self._tls.outgoing.read())
        while (received := self._read_socket_now()) is not None:
            if self._tls is None or not received.data:
                return received
            plaintext = self._decrypt(self._tls, received)
            if plaintext:
                return ReceivedBytes(plaintext, received.at)
        return None

    def _decrypt(self, tls: "_TlsEngine", received: ReceivedBytes) -> bytes:
        plaintext = tls.decrypt(received.data)
        self._send(tls.outgoing.read())  # the answer to a key update
        return plaintext

    def write(self, data: bytes) -> None:
        """Send now, or as soon as the kernel accepts it. Never raises: a broken connection shows when reading."""
        if self._tls is None:
            self._send(data)
            return
        with suppress(ssl.SSLError):
            self._tls.object.write(data)
        self._send(self._tls.outgoing.read())

    def close(self) -> None:
        """Close the socket; the kernel still sends what it has accepted."""
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

    async def _read_socket(self) -> ReceivedBytes:
        if self._read_buffer:
            await asyncio.sleep(0)  # other tasks run and deadlines fire, however much there is to read
        while not self._read_buffer and not self._eof:
            if self._read_error is not None:
                # A new error each time: a kept one holds a traceback, and that one this object.
                raise ProbeError(self._read_error.kind, self._read_error.detail)
            self._waiter = self._loop.create_future()
            self._start_reading()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._take_buffered()

    def _read_socket_now(self) -> ReceivedBytes | None:
        if not self._read_buffer and not self._eof and self._read_error is None:
            self._on_readable()
        return self._take_buffered() if self._read_buffer or self._eof else None

    def _take_buffered(self) -> ReceivedBytes:
        if not self._read_buffer:
            return ReceivedBytes(b"", self._clock())
        received = self._read_buffer.popleft()
        self._buffered_bytes -= len(received.data)
        return received

    def _start_reading(self) -> None:
        if not self._reading:
            self._reading = True
            self._loop.add_reader(self._fd, self._on_readable)

    def _stop_reading(self) -> None:
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._fd)

    def _on_readable(self) -> None:
        """Read up to `MAX_UNREAD_BYTES` at once: uvloop calls only once for a broken connection."""
        while self._receive_once() and self._buffered_bytes <= MAX_UNREAD_BYTES:
            pass
        if self._eof or self._read_error is not None or self._buffered_bytes > MAX_UNREAD_BYTES:
            self._stop_reading()
        if self._waiter is not None:
            _set_done(self._waiter)

    def _receive_once(self) -> bool:
        """Receive once, with the stamp; False if the kernel has no more."""
        try:
            data, ancillary, _, _ = self._sock.recvmsg(READ_BYTES, 64)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            self._read_error = error_from_broken_connection(error)
            return False
        if not data and self._send_error is not None:  # the failed send has consumed the socket's error
            self._read_error = self._send_error
            return False
        self._eof = not data
        self._append(ReceivedBytes(data, self._arrival_time(ancillary)))
        return bool(data)

    def _append(self, received: ReceivedBytes) -> None:
        if received.data:
            self._read_buffer.append(received)
            self._buffered_bytes += len(received.data)

    def _prepend(self, received: ReceivedBytes) -> None:
        if received.data:
            self._read_buffer.appendleft(received)
            self._buffered_bytes += len(received.data)

    def _arrival_time(self, ancillary: list[tuple[int, int, bytes]]) -> float:
        for level, kind, data in ancillary if self._has_kernel_stamps else ():
            if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS and len(data) == TIMESPEC.size:
                seconds, nanoseconds = TIMESPEC.unpack(data)
                now, wall = self._read_clocks()
                age: float = wall - seconds - nanoseconds / 1e9
                if not 0 <= age < MAX_STAMP_AGE_SECONDS:
                    return now
                if age > UNNOTICED_STALL_SECONDS:
                    age = min(age, self._max_loop_stall())
                self.read_delay = max(self.read_delay, age)
                return now - age
        return self._clock()

    def _read_clocks(self) -> tuple[float, float]:
        """Read our clock and the wall clock at one moment; retry if another process ran in between."""
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
        sent = self._send_now(data)
        if sent < len(data) and not self._write_closed:
            self._unsent += data[sent:]
            self._loop.add_writer(self._fd, self._on_writable)

    def _send_now(self, data: bytes | bytearray) -> int:
        self.sent_at = self._clock()
        try:
            return self._sock.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            self._write_closed, self._send_error = True, error_from_broken_connection(error)
            return 0

    def _on_writable(self) -> None:
        del self._unsent[: self._send_now(self._unsent)]
        if self._write_closed or not self._unsent:
            self._unsent.clear()
            self._loop.remove_writer(self._fd)


def _open_socket(family: int) -> socket.socket:
    try:
        return socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise error_from_connect(error) from None


async def _connect(sock: socket.socket, sockaddr: Any) -> None:
    """Connect a non-blocking socket; raises OSError."""
    error = sock.connect_ex(sockaddr)
    if error == errno.EINPROGRESS:  # over loopback it has finished by now
        error = sock.connect_ex(sockaddr)
    if error in (errno.EINPROGRESS, errno.EALREADY):
        await _wait_writable(sock)
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error:
        raise OSError(error, "connect")


def _set_done(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


async def _wait_writable(sock: socket.socket) -> None:
    """Wait until the kernel has connected or failed to."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()
    loop.add_writer(sock, _set_done, done)
    try:
        await done
    finally:
        loop.remove_writer(sock)


def _enable_kernel_stamps(sock: socket.socket) -> bool:
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        return True
    return False


class _TlsEngine:
    """OpenSSL between two memory buffers, so that this module reads the socket and its stamps.

    `ended`: the peer sent close_notify. `error`: an alert, or a broken record.
    """

    def __init__(self, context: ssl.SSLContext, server_name: str) -> None:
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()
        self.object = context.wrap_bio(self.incoming, self.outgoing, server_hostname=server_name)
        self.ended = False
        self.error: ProbeError | None = None

    def decrypt(self, data: bytes) -> bytes:
        """Return the plaintext of all complete records; sets `ended` or `error`."""
        self.incoming.write(data)
        plaintext = bytearray()
        while self.error is None and not self.ended:
            try:
                part = self.object.read(READ_BYTES)
            except ssl.SSLWantReadError:
                break
            except ssl.SSLZeroReturnError:
                part = b""
            except ssl.SSLError as error:
                self.error = error_from_tls(error, self.object)
                break
            self.ended = not part
            plaintext += part
        return bytes(plaintext)
