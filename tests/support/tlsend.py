"""The server's end of a TLS connection by hand: asyncio's own hides the alert of a refused handshake, and coalesces."""

import contextlib
import ssl

from websockets.utils import accept_key

from support.certificates import authority, server_context


class TlsEnd:
    """The server's end of a TLS connection over a raw stream: what goes into one segment is the test's choice."""

    def __init__(self, peer, context):
        self.peer = peer
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.object = context.wrap_bio(self.incoming, self.outgoing, server_side=True)

    async def shake_hands(self, *, then=b""):
        """Shake hands; `then` travels in the same segment as our last handshake bytes."""
        while True:
            try:
                self.object.do_handshake()
            except ssl.SSLWantReadError:
                self.flush()
                await self.receive()
            except ssl.SSLError:
                self.flush()
                raise
            else:
                self.flush(then)
                return

    def sealed(self, data):
        self.object.write(data)
        return self.outgoing.read()

    def farewell(self):
        with contextlib.suppress(ssl.SSLError):
            self.object.unwrap()
        return self.outgoing.read()

    def flush(self, then=b""):
        self.peer.send(self.outgoing.read(), self.sealed(then) if then else b"")

    async def upgrade(self, *after_it):
        """Read the client's request and accept it; what follows comes in the same record."""
        head = b""
        while b"\r\n\r\n" not in head:
            head += await self.plain()
        key = head.split(b"Sec-WebSocket-Key: ")[1].split(b"\r\n")[0].decode()
        good = (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {accept_key(key)}\r\n\r\n"
        ).encode()
        self.peer.send(self.sealed(good + b"".join(after_it)))

    async def plain(self):
        """The client's next bytes, in the clear."""
        while True:
            try:
                return self.object.read(65_536)
            except ssl.SSLWantReadError:
                await self.receive()

    async def receive(self):
        """Read what the client sends; ConnectionResetError if it has left: asked again, it would say so for ever."""
        received = await self.peer.reader.read(65_536)
        if not received:
            raise ConnectionResetError
        self.incoming.write(received)


def over_tls(folder, script, *, then=b"", **options):
    """A peer's script that shakes hands by hand and goes on with `script(end)`."""
    context = server_context(folder, authority().issue("localhost", "127.0.0.1"), **options)

    async def play(peer):
        end = TlsEnd(peer, context)
        await end.shake_hands(then=then)
        await script(end)

    return play


def saying_why(script):
    """The script of a server that ends the connection after the alert with which it refuses."""

    async def play(peer):
        with contextlib.suppress(ssl.SSLError):
            await script(peer)
        peer.writer.close()

    return play
