"""Upstreams behind the proxies: real servers, and one that does what a real server does only when it breaks.

All of them read their part in the path: `/aiohttp/status/503` is a 503 of an application on aiohttp, `/raw/cut` an
upstream that ends the connection instead of an answer.
"""

import json
import socket
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from aiohttp import WSMsgType, web
from websockets.asyncio.server import serve

from support import raw_server
from support.backend_servers import python_backend
from support.realservers import free_port

ERROR_BODY = '{"error":"application"}'
WRONG_ACCEPT = raw_server.accept_key("the key of another request").encode()
EARLY_HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"
FILLING_CONNECTIONS = 4
"""Linux takes one connection more than the backlog, and a few that race for it."""
APART_SECONDS = 0.3
"""Between two parts of an answer that a proxy must not read at once."""


def _echo_of(text):
    return json.dumps({"type": "echo", **json.loads(text)})


def _status_in(path):
    """The status that a path such as `/aiohttp/status/503` asks for; None: it asks for a WebSocket."""
    head, _, last = path.rpartition("/")
    return int(last) if head.endswith("/status") else None


# The raw upstream: each script gets the peer and the bytes of a 101 that accepts it ---------------------------------


async def _echo(peer, answer):
    peer.send(answer)
    peer.send(raw_server.text({"type": "echo", **await peer.message()}))
    await peer.to_the_end()


async def _interim(peer, answer):
    peer.send(EARLY_HINTS)
    await raw_server.after(APART_SECONDS)
    await _echo(peer, answer)


async def _interim_at_once(peer, answer):
    await _echo(peer, EARLY_HINTS + answer)


async def _wrong_accept(peer, answer):
    right = raw_server.accept_key(peer.headers["sec-websocket-key"]).encode()
    peer.send(answer.replace(right, WRONG_ACCEPT))


async def _silent(peer, answer):
    peer.send(answer)
    await peer.to_the_end()


async def _dies(peer, answer):
    peer.send(answer)
    await peer.message()
    peer.end()


async def _hang(peer, _answer):
    await peer.raw_to_the_end()


async def _cut(peer, _answer):
    peer.end()


async def _resets(peer, answer):
    peer.send(answer)
    await peer.message()
    peer.reset()


RAW = {
    "ws": _echo,
    "hang": _hang,
    "cut": _cut,
    "dies": _dies,
    "resets": _resets,
    "silent": _silent,
    "interim": _interim,
    "interim-at-once": _interim_at_once,
    "wrong-accept": _wrong_accept,
}
"""Last part of the path: what the raw upstream does."""


async def _play(peer):
    answer = await peer.request()
    await RAW[urlsplit(peer.line.split()[1]).path.rpartition("/")[2]](peer, answer)


# The real ones ------------------------------------------------------------------------------------------------------


async def _aiohttp_echo(request):
    status = _status_in(request.path)
    if status is not None:
        return web.Response(status=status, text=ERROR_BODY, content_type="application/json")
    ws = web.WebSocketResponse()
    await ws.prepare(request)
    async for message in ws:
        if message.type is WSMsgType.TEXT:
            await ws.send_str(_echo_of(message.data))
    return ws


@asynccontextmanager
async def _aiohttp(_folder):
    """Port of aiohttp's server, in this process."""
    app = web.Application()
    app.router.add_get("/{path:.*}", _aiohttp_echo)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def _websockets_refusal(connection, request):
    status = _status_in(request.path)
    return None if status is None else connection.respond(status, ERROR_BODY)


async def _websockets_echo(connection):
    async for message in connection:
        await connection.send(_echo_of(message))


@asynccontextmanager
async def _websockets(_folder):
    """Port of the server of the library websockets, in this process."""
    async with serve(_websockets_echo, "127.0.0.1", 0, process_request=_websockets_refusal) as server:
        yield server.sockets[0].getsockname()[1]


@asynccontextmanager
async def _uvicorn(folder):
    """Port of uvicorn, a process of its own."""
    place = folder / "uvicorn"
    place.mkdir()
    async with python_backend("statuses_app", place) as url:
        yield urlsplit(url).port


REAL = {"aiohttp": _aiohttp, "websockets": _websockets, "uvicorn": _uvicorn}


@dataclass(frozen=True)
class Upstreams:
    """Running upstreams. `routes`: path prefix to port, for a proxy; `raw`: the raw server, which keeps its peers."""

    routes: dict[str, int]
    raw: raw_server.Server

    async def heard(self, path):
        """Return once a client has sent its first message on this path of the raw upstream."""

        def has_come():
            return any(peer.frames for peer in self.raw.peers if peer.line.split()[1:2] == [f"/{path}"])

        await raw_server.until(has_come, timeout=60)


@contextmanager
def _full_backlog(host):
    """Port of a listener that takes no connection any more: as behind a firewall, nothing answers there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener, ExitStack() as waiting:
        listener.bind((host, 0))
        listener.listen(0)
        for _ in range(FILLING_CONNECTIONS):
            client = waiting.enter_context(socket.socket(family))
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@asynccontextmanager
async def upstreams(folder, names=tuple(REAL), *, host="127.0.0.1"):
    """The raw upstream, a port where nothing listens, one with a full backlog, and the real servers of these names."""
    async with AsyncExitStack() as stack:
        raw = await stack.enter_async_context(raw_server.serving(_play, host=host))
        routes = {"raw": raw.port, "closed": free_port(), "full": stack.enter_context(_full_backlog(host))}
        for name in names:
            routes[name] = await stack.enter_async_context(REAL[name](folder))
        yield Upstreams(routes, raw)
