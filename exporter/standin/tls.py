"""TLS of one connection over memory buffers, because asyncio's TLS hides the alert of a refused handshake.

Rule 1: no socket: bytes in, bytes out.
"""

import ssl
from contextlib import suppress

TLS_READ_BYTES = 65_536


class TlsLayer:
    """The server side of one TLS connection. `ended`: the peer has sent close_notify."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self.ready = False
        self.ended = False

    def receive(self, data: bytes) -> bytes:
        """The plain text of received bytes. Raises ssl.SSLError: then send the alert, `encrypt(b"")`, and end."""
        self._incoming.write(data)
        if not self.ready and not self._shake_hands():
            return b""
        plain = bytearray()
        with suppress(ssl.SSLWantReadError):
            while chunk := self._read():
                plain += chunk
        return bytes(plain)

    def _shake_hands(self) -> bool:
        with suppress(ssl.SSLWantReadError):
            self._object.do_handshake()
            self.ready = True
        return self.ready

    def _read(self) -> bytes:
        try:
            chunk = self._object.read(TLS_READ_BYTES)
        except ssl.SSLZeroReturnError:
            chunk = b""
        if not chunk:
            self.ended = True
        return chunk

    def encrypt(self, plain: bytes) -> bytes:
        """Bytes for the wire."""
        if plain:
            self._object.write(plain)
        return self._outgoing.read()

    def close_notify(self) -> bytes:
        """The bytes of close_notify; none before the handshake is done."""
        if self.ready:
            with suppress(ssl.SSLError):
                self._object.unwrap()
        return self._outgoing.read()
