"""A connection of the reference backend: bytes in and out, plain or through TLS, and the kernel's stamps of them."""

import socket
import ssl
import struct
import time
from contextlib import suppress

SO_TIMESTAMPING = 37  # Linux's asm-generic/socket.h; the name of the option and of its control message
TX_SOFTWARE, RX_SOFTWARE, SOFTWARE, OPT_ID, OPT_TSONLY = 1 << 1, 1 << 3, 1 << 4, 1 << 7, 1 << 11
REPORT = RX_SOFTWARE | SOFTWARE | OPT_ID | OPT_TSONLY
STAMP_THIS = [(socket.SOL_SOCKET, SO_TIMESTAMPING, struct.pack("@I", TX_SOFTWARE))]
"""The option asks for no stamp of what is sent; each send that is to have one says so."""

STAMP = struct.Struct("@qq")  # the first, the software one, of three timespecs
EXTENDED_ERROR = struct.Struct("@IBBBBII")  # linux/errqueue.h; type 11 is both IP_RECVERR and its control message
IP_RECVERR, ORIGIN_TIMESTAMPING, STAMP_OF_SENDING = 11, 4, 0

CHUNK = 16_384
RECORD = {"TLSv1.3": 22, "TLSv1.2": 29}
"""Bytes that TLS puts around a short record: header, (nonce,) content type, tag (RFC 8446 section 5.2, AES-GCM)."""


class Moment:
    """When something passed between us and the kernel: our monotonic seconds, the kernel's nanoseconds or None."""

    __slots__ = ("kernel", "own")

    def __init__(self, own, kernel=None):
        self.own, self.kernel = own, kernel


class Wire:
    """A connection: bytes in and out, plain or through TLS, and their moments if stamps are wanted."""

    def __init__(self, sock, tls, *, stamps):
        self.sock = sock
        self.stamps = stamps
        self.tls, self._incoming, self._outgoing = tls, None, None
        self.shaken = tls is None
        self._sent = 0
        self._awaited = {}  # offset of a write's last byte → its Moment
        if tls is not None:
            self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            self.tls = tls.wrap_bio(self._incoming, self._outgoing, server_side=True)
        if stamps:
            sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, REPORT)

    def send(self, data, *, stamped=False):
        """Send; the moment, with the kernel's stamp of it once that is collected if it is to be `stamped`."""
        if self.tls is not None:
            self.tls.write(data)
            data = self._outgoing.read()
        ancillary, moment = (), Moment(0.0)
        if stamped and self.stamps:
            ancillary = STAMP_THIS
            self._awaited[self._sent + len(data) - 1] = moment
        moment.own = time.monotonic()
        self._push(data, ancillary)
        return moment

    def _push(self, data, ancillary=()):
        """Raises OSError: a peer that does not take a few hundred bytes has its connection broken off."""
        sent = self.sock.sendmsg([data], ancillary) if ancillary else self.sock.send(data)
        self._sent += sent
        if sent < len(data):
            raise BrokenPipeError

    def collect(self):
        """Take the stamps of sending that we wait for, as far as the kernel has them."""
        with suppress(BlockingIOError):
            while self._awaited:
                self._note_next()

    def collect_any(self):
        """Take the next stamp, awaited or not; False if there is none."""
        with suppress(BlockingIOError):
            self._note_next()
            return True
        return False

    def _note_next(self):
        _, ancillary, _, _ = self.sock.recvmsg(0, 256, socket.MSG_ERRQUEUE)
        stamp = offset = None
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPING:
                stamp = nanoseconds(data)
            elif level == socket.SOL_IP and kind == IP_RECVERR:
                _, origin, _, _, _, what, number = EXTENDED_ERROR.unpack_from(data)
                offset = number if (origin, what) == (ORIGIN_TIMESTAMPING, STAMP_OF_SENDING) else None
        moment = self._awaited.pop(offset, None)
        if moment is not None and stamp:
            moment.kernel = stamp

    def overhead(self):
        """Bytes around a message on its way to us."""
        return RECORD[self.tls.version()] if self.tls is not None else 0

    def receive(self, size):
        """What has arrived, at most `size` raw bytes, as plain bytes, and the kernel's stamp of the last or None.

        Raises EOFError at the end of the stream, OSError (BlockingIOError too), ssl.SSLError.
        """
        data, stamp = self._pull(size)
        if not data:
            raise EOFError
        if self.tls is None:
            return data, stamp
        self._incoming.write(data)
        return self._decrypted() if self.shaken or self._shake() else b"", stamp

    def shares(self, stamp):
        """Whether what arrived after the bytes just read, of that stamp, came in their buffer and gave it its own."""
        try:
            _, following = self._pull(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        return following == stamp

    def _pull(self, size, flags=0):
        if not self.stamps:
            return self.sock.recv(size, flags), None
        data, ancillary, _, _ = self.sock.recvmsg(size, 64, flags)
        return data, next((nanoseconds(found) for _, kind, found in ancillary if kind == SO_TIMESTAMPING), None)

    def _shake(self):
        """Go on with the handshake; True once it is over."""
        with suppress(ssl.SSLWantReadError):
            self.tls.do_handshake()
            self.shaken = True
        flight = self._outgoing.read()
        if flight:
            self._push(flight)
        return self.shaken

    def _decrypted(self):
        plain = b""
        with suppress(ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            while part := self.tls.read(CHUNK):
                plain += part
        return plain

    def close(self):
        """End the connection; what was sent still arrives."""
        if self.tls is not None:
            with suppress(ssl.SSLError, OSError):
                with suppress(ssl.SSLWantReadError):
                    self.tls.unwrap()
                self._push(self._outgoing.read())
        self.sock.close()


def stamping_kept_on():
    """A socket that wants stamps; as long as it is open, the machine stamps whatever arrives.

    The kernel stamps nothing while no socket wants it, and takes a moment to begin (`net_enable_timestamp` leaves it to
    a kernel thread): without this, one first segment in ten had none. The exporter's sockets profit from it as well.
    """
    keeper = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    keeper.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, RX_SOFTWARE | SOFTWARE)
    return keeper


def nanoseconds(timespecs):
    """The kernel's software stamp as one number; 0 if there is none."""
    seconds, rest = STAMP.unpack_from(timespecs)
    return seconds * 1_000_000_000 + rest


def between(first, last):
    """Seconds between two moments, by our clock and by the kernel's; None where one of the two is missing."""
    if first is None or last is None:
        return None, None
    kernel = (last.kernel - first.kernel) / 1e9 if first.kernel and last.kernel else None
    return round(last.own - first.own, 9), kernel
