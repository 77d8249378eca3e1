"""Servers that mean no good: they say anything at a step of a session, or send as fast as they can."""

import asyncio
import contextlib
import socket
import threading

from websockets.frames import Opcode
from websockets.utils import accept_key

from exporter.result import SessionObservation
from support.raw_server import converse, frame, serving

SHORT = {"timeout": 0.08, "close_timeout": 0.04}


def hostile(step, words, end):
    """The script of a server that plays along up to a step, then sends these words and ends so."""

    async def script(peer):
        await step(peer, words)
        for part in words:
            peer.send(part)
            await asyncio.sleep(0)
        if end != "stay":
            getattr(peer, end)()
        await peer.raw_to_the_end()

    return script


def survive(new_loop, script, **wanted):
    """One session against a server: its facts, which `converse` has judged, and not one complaint of the loop."""
    complaints = []

    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        async with serving(script) as server:
            return await converse(server, **{**SHORT, **wanted})

    with asyncio.Runner(loop_factory=new_loop) as runner:
        facts = runner.run(main())
    assert complaints == []
    assert isinstance(facts, SessionObservation)
    return facts


class Flood:
    """A server on a thread that plays a beginning, then sends one thing as fast as it can until the client is gone."""

    def __init__(self, beginning, words):
        self._beginning = beginning
        self._words = words
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.sent = 0
        self._thread = threading.Thread(target=self._flood)
        self._thread.start()

    def _flood(self):
        client, _ = self._listener.accept()
        with client, contextlib.suppress(OSError):
            client.settimeout(10)
            self._beginning(client)
            while True:
                client.sendall(self._words)
                self.sent += len(self._words)

    def close(self):
        self._thread.join(10)
        self._listener.close()
        assert not self._thread.is_alive()


def heads(client):
    """Read the request only."""
    request = b""
    while b"\r\n\r\n" not in request:
        part = client.recv(65_536)
        if not part:
            raise ConnectionError
        request += part
    return request.decode()


def accepted(client):
    """Accept the upgrade."""
    key = heads(client).split("Sec-WebSocket-Key: ")[1].split("\r\n")[0]
    client.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept_key(key).encode() + b"\r\n\r\n"
    )


def begun(client):
    """Accept the upgrade and begin a message."""
    accepted(client)
    client.sendall(frame(Opcode.TEXT, b"[", fin=False))


@contextlib.contextmanager
def flooding(beginning, words):
    flood = Flood(beginning, words)
    try:
        yield flood
    finally:
        flood.close()
    assert flood.sent > 0
