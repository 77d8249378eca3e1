"""Servers that give a ticket over HTTP and take it once at the upgrade, and servers that give none."""

import asyncio
import contextlib
import secrets

from aiohttp import web

from support import harness, raw_server

TOKEN = "a-user-token-0123456789-abcdefghijkl"
BEFORE = {
    "request": "POST /ws-ticket",
    "headers": {"Authorization": "Bearer ${token}"},
    "body": {"user": "${identity}"},
    "keep": {"ticket": "ticket"},
}
ECHO = {"send": {"message": {"id": "${nonce}"}, "match": {"id": "${nonce}"}}}
PROFILE = {"before": BEFORE, **ECHO}


class TicketApp:
    """POST /ws-ticket with the user's token gives a ticket, which opens one WebSocket: in the query, path or a header.

    `asked`: (method, path with query, headers, body) of every request. `opened`: tickets of the WebSockets.
    """

    def __init__(self, ticket=None):
        self.asked = []
        self.opened = []
        self.messages = []
        self.port = 0
        self.ticket = ticket or (lambda: "t-" + secrets.token_urlsafe(24))
        self._valid = set()

    async def _give(self, request):
        body = await request.read()
        self.asked.append((request.method, request.raw_path, dict(request.headers), body))
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return web.json_response({"error": "who are you"}, status=401)
        ticket = self.ticket()
        self._valid.add(str(ticket))
        return web.json_response({"ticket": ticket, "expires_in": 30})

    async def _open(self, request):
        shown = request.query.get("ticket") or request.match_info.get("ticket") or request.headers.get("X-Ticket", "")
        self.asked.append((request.method, request.raw_path, dict(request.headers), b""))
        if shown not in self._valid:
            return web.Response(status=401, text=f"no such ticket: {shown}")
        self._valid.remove(shown)
        self.opened.append(shown)
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        async for message in ws:
            self.messages.append(message.data)
            await ws.send_str(message.data)
        return ws

    @contextlib.asynccontextmanager
    async def serving(self, tls=None, port=0):
        app = web.Application()
        app.router.add_route("*", "/ws-ticket", self._give)
        app.router.add_get("/ws", self._open)
        app.router.add_get("/ws/{ticket:.+}", self._open)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            await runner.cleanup()


def job(port, folder, profile=PROFILE, *, path="/ws?ticket=${ticket}", token=TOKEN, scheme="ws", **changes):
    """The job of a target with this profile whose token stands in a file of the folder."""
    file = folder / "token"
    file.write_text(token, "utf-8")
    target = {
        "name": "tickets",
        "url": f"{scheme}://127.0.0.1:{port}{path}",
        "profile": "own",
        "interval": "20s",
        "timeout": "10s",
        "close_timeout": "1s",
        "identities": {"pool-001": "user-one"},
        "auth": {"secret_file": str(file)},
        **changes,
    }
    target = {name: value for name, value in target.items() if value is not None}
    return harness.planned(target, profiles={"own": profile}).jobs[0]


async def read_request(peer):
    """Read one whole request of a raw peer; returns its head."""
    head = (await peer.reader.readuntil(b"\r\n\r\n")).decode()
    lengths = [line.split(":")[1] for line in head.lower().split("\r\n") if line.startswith("content-length:")]
    await peer.reader.readexactly(int(lengths[0]) if lengths else 0)
    return head


def answering(*parts, end=True):
    """A raw server that answers the request before the upgrade with these bytes, then ends the connection."""

    async def script(peer):
        await read_request(peer)
        for part in parts:
            await part(peer) if callable(part) else peer.send(part)
        if end:
            peer.end()

    return script


def answer(status, body=b"", headers=""):
    """The bytes of an answer."""
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


async def reset(peer):
    await asyncio.sleep(0)
    peer.reset()


async def hang(peer):
    """Say nothing until the client goes."""
    await peer.raw_to_the_end()


serving = raw_server.serving
