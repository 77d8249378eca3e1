"""Kinds of outages, each as a backend of its own that is broken once, by what breaks one in real life.

Rule 1: a kind is a row of `KINDS`: what starts it, which gives the backend and what breaks it. Rule 2: each backend has
an authority, a key and users of its own, so that no breaker and no rest of one target meets another.
"""

import asyncio
import json
import os
import signal
import socket
import sys
import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from drill.standin_process import SLOTS
from support.realservers import free_port, nginx, stop

from exporter.standin import StandIn

TESTS = Path(__file__).parents[1]
AWAY = 3.0
"""Seconds for which a proxy that restarts is gone."""
BACKLOG = 1
FILLERS = 4
"""Connects that fill the queue of a listener: one more than its backlog has room for, and some to be sure."""


@dataclass
class Backend:
    """One backend. `begin`: awaited, breaks it. `broken_at`: unix seconds."""

    name: str
    kind: str
    url: str
    key_file: str
    ca_file: str | None
    begin: object
    broken_at: float | None = None

    async def break_(self):
        """The outage begins."""
        self.broken_at = time.time()
        await self.begin()


@asynccontextmanager
async def _standin(tls=False):
    async with StandIn.start(tls_port=0 if tls else None, slots=SLOTS) as standin:
        yield standin


@asynccontextmanager
async def faulty(path, _folder, *, fault, tls=False):
    """A stand-in that has a fault from then on."""
    async with _standin(tls) as standin:

        async def begin():
            standin.set_fault("*" if tls else path, fault)

        yield standin.url(path, tls=tls), standin.key_file, standin.ca_file if tls else None, begin


@asynccontextmanager
async def signalled(path, folder, *, number):
    """A process that gets a signal."""
    folder.mkdir()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "drill.standin_process", path,
        stdout=asyncio.subprocess.PIPE, cwd=TESTS, env={**os.environ, "TMPDIR": str(folder)},
    )  # fmt: skip

    async def begin():
        process.send_signal(number)

    try:
        url, key_file = json.loads(await process.stdout.readline())
        yield url, key_file, None, begin
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@asynccontextmanager
async def unrouted(path, _folder):
    """A way to the backend on which no packet arrives any more: connects hang, and so does what was open."""
    async with _standin() as standin, AsyncExitStack() as entered:
        route = Route(standin.url(path))
        entered.callback(route.close)
        route.open()

        async def begin():
            route.drop()

        yield route.url, standin.key_file, None, begin


class Route:
    """Forwards TCP. Once it is dropped its listener accepts nothing, and Linux drops every SYN to a full queue."""

    def __init__(self, url):
        scheme, _, rest = url.partition("://")
        place, _, path = rest.partition("/")
        self._behind = place.split(":")
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
        self._listener.setblocking(False)
        self._sockets = [self._listener]
        self._tasks = set()
        self.url = f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}/{path}"

    def open(self):
        """Accept."""
        asyncio.get_running_loop().add_reader(self._listener, self._accept)

    def _accept(self):
        try:
            client, _ = self._listener.accept()
        except BlockingIOError:
            return
        client.setblocking(False)
        task = asyncio.create_task(self._forward(client))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _forward(self, client):
        loop = asyncio.get_running_loop()
        server = socket.socket()
        server.setblocking(False)
        self._sockets += [client, server]
        await loop.sock_connect(server, (self._behind[0], int(self._behind[1])))
        await asyncio.gather(self._pipe(client, server), self._pipe(server, client), return_exceptions=True)
        for end in (client, server):
            self._sockets.remove(end)
            end.close()

    async def _pipe(self, source, sink):
        loop = asyncio.get_running_loop()
        while data := await loop.sock_recv(source, 65_536):
            await loop.sock_sendall(sink, data)
        sink.shutdown(socket.SHUT_WR)

    def drop(self):
        """Nothing arrives from now on."""
        asyncio.get_running_loop().remove_reader(self._listener)
        for task in self._tasks:
            task.cancel()
        for _ in range(FILLERS):
            filler = socket.socket()
            filler.setblocking(False)
            self._sockets.append(filler)
            filler.connect_ex(self._listener.getsockname())

    def close(self):
        """Let go of everything."""
        asyncio.get_running_loop().remove_reader(self._listener)
        for task in self._tasks:
            task.cancel()
        for one in self._sockets:
            one.close()


def proxying(upstream, listening):
    """A block of nginx."""
    return f"""
      server {{
        listen 127.0.0.1:{listening};
        location / {{
          proxy_pass http://127.0.0.1:{upstream};
          proxy_http_version 1.1;
          proxy_set_header Host $host;
          proxy_set_header Upgrade $http_upgrade;
          proxy_set_header Connection upgrade;
        }}
      }}"""


@asynccontextmanager
async def proxied(path, folder):
    """A real nginx that restarts, and comes back with the address of a backend that is there no more."""
    async with _standin() as standin, AsyncExitStack() as entered:
        (folder / "again").mkdir(parents=True)
        port = int(standin.url(path).rpartition(":")[2].partition("/")[0])
        first = await entered.enter_async_context(nginx(partial(proxying, port), folder))
        (front,) = first.ports

        async def begin():
            await stop(first.process)
            await asyncio.sleep(AWAY)
            again = nginx(lambda _port: proxying(free_port(), front), folder / "again")
            await entered.enter_async_context(again)

        yield f"ws://127.0.0.1:{front}{path}", standin.key_file, None, begin


KINDS = {
    "killed process": partial(signalled, number=signal.SIGKILL),
    "frozen process": partial(signalled, number=signal.SIGSTOP),
    "dropped route": unrouted,
    "certificate swap": partial(faulty, fault="tls_expired", tls=True),
    "upgrade refused": partial(faulty, fault="http:status=503"),
    "proxy restart": proxied,
    "token refused": partial(faulty, fault="auth_rejected"),
    "factory refused": partial(faulty, fault="init_failed"),
    "silent reply": partial(faulty, fault="zombie"),
}
"""Kind → what starts a backend of it: `kind(path, folder)` gives URL, key file, CA file and what breaks it."""


@asynccontextmanager
async def backends(each, folder):
    """So many backends of each kind, healthy."""
    async with AsyncExitStack() as entered:

        async def made(kind, number):
            name = f"{kind.replace(' ', '-')}-{number}"
            started = await entered.enter_async_context(KINDS[kind](f"/ws/{name}", folder / name))
            url, key_file, ca_file, begin = started
            return Backend(name, kind, url, str(key_file), ca_file and str(ca_file), begin)

        yield await asyncio.gather(*(made(kind, number) for kind in KINDS for number in range(each)))
