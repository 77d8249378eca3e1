"""The HTTP server as a handle: started on a port, known by its URL, closed.

Rule 1: `_routes` is the one table of what is served beside the status page, `WebPaths` says where. Rule 2: what every
answer has in common, its headers and what becomes of a fault of ours, is done here and in no handler. Rule 3: knows no
package of the exporter: see
`site.Site`.
"""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from http import HTTPStatus
from typing import Any, Final, Self

from aiohttp import HttpVersion10, HttpVersion11, web
from multidict import CIMultiDict, CIMultiDictProxy

from exporter.web.connection import MAX_HEAD_BYTES_SENT, HttpConnection
from exporter.web.connection_manager import ConnectionManager
from exporter.web.headers import HEADERS
from exporter.web.listen import ListenAddress, address_of, url
from exporter.web.listen_options import ListenOptions
from exporter.web.paths import WebPaths
from exporter.web.probe import answering
from exporter.web.results import ResultsEndpoint
from exporter.web.scrape import ScrapeEndpoint
from exporter.web.secure import AccessControl
from exporter.web.site import HttpReply, Site
from exporter.web.status import StatusPages

SHUTDOWN_SECONDS: Final = 1.0
"""Seconds that requests in flight have when the server closes."""

HTTP_VERSIONS: Final = (HttpVersion10, HttpVersion11)
UNSPOKEN: Final = web.RequestKey("unspoken", bool)
"""Where a request says that it was of another version."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_logger: Final = logging.getLogger(__name__)


class WebServer:
    """Serves a site. Made by `start`, ended by `close`. `urls`: of each socket it listens on, `url` the first.

    `addresses`: what it listens on, as it was bound.
    """

    def __init__(self, site: Site, paths: WebPaths, door: AccessControl) -> None:
        self._door = door
        self._scrapes = ScrapeEndpoint(site)
        self._status = StatusPages(site.status_board, paths.metrics, door.still_lets_in)
        app = web.Application(
            middlewares=[_answered, _attended, _guarded, door.authenticate, _spoken],
            client_max_size=MAX_HEAD_BYTES_SENT,
        )
        app.on_response_prepare.append(_dress)
        app.on_response_prepare.append(self._dress_more)
        app.on_shutdown.append(self._end_streams)
        app.router.add_routes(paths.under([*self._status.routes(), *_routes(site, self._scrapes)]))
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=SHUTDOWN_SECONDS)
        self._arrivals = ConnectionManager(door, self._connection)
        self._watch = asyncio.create_task(door.watch(), name="web_config")
        self._prefix = paths.prefix
        self.urls: list[str] = []
        self.addresses: list[str] = []
        self.port = 0

    @classmethod
    async def start(cls, listen: ListenAddress | ListenOptions, site: Site) -> Self:
        """A server that listens; raises ListenProblem. Host "" is every interface, port 0 any free one."""
        doorway = ListenOptions.of(listen)
        async with AsyncExitStack() as opened:
            door = await AccessControl.open(doorway.config_file, doorway.sites)
            opened.push_async_callback(door.close)
            sockets = [opened.enter_context(sock) for sock in doorway.sockets()]
            self = cls(site, doorway.paths, door)
            await self._listen(sockets)
            opened.pop_all()
        return self

    @property
    def url(self) -> str:
        """The first of `urls`."""
        return self.urls[0]

    async def _listen(self, sockets: Sequence[socket.socket]) -> None:
        await self._runner.setup()
        assert self._runner.server is not None  # noqa: S101
        self._runner.server.request_factory = _plain(self._runner.server.request_factory)
        scheme = "https" if self._door.speaks_tls else "http"
        for sock in sockets:
            self.urls.append(url(sock, scheme) + self._prefix)
            self.addresses.append(address_of(sock))
            self._arrivals.listen(sock)
        self.port = sockets[0].getsockname()[1] if sockets[0].family is not socket.AF_UNIX else 0

    async def close(self) -> None:
        """Stop listening, give requests in flight a moment, end the threads. A second call does nothing."""
        await self._arrivals.stop()
        await self._runner.cleanup()
        await self._arrivals.close()
        self._watch.cancel()
        await self._door.close()
        await self._scrapes.close()
        await self._status.close()

    def _connection(self, gone: Callable[[HttpConnection], None]) -> HttpConnection:
        assert self._runner.server is not None  # noqa: S101
        return HttpConnection(self._runner.server, self._door.admits, gone)

    async def _dress_more(self, _: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(self._door.headers)

    async def _end_streams(self, _: web.Application) -> None:
        self._status.end_streams()


def _routes(site: Site, scrapes: ScrapeEndpoint) -> list[web.RouteDef]:
    async def healthy(_: web.Request) -> web.Response:
        return _response(site.healthy())

    async def ready(_: web.Request) -> web.Response:
        return _response(site.ready())

    async def check(request: web.Request) -> web.Response:
        return _response(await site.check(request.query.get("target", ""), request.query.get("probe", "")))

    async def reload(_: web.Request) -> web.Response:
        return _response(await site.reload())

    return [
        web.get("/metrics", scrapes.answer),
        web.get("/-/healthy", healthy),
        web.get("/-/ready", ready),
        web.get("/probe", answering(site), allow_head=False),
        web.post("/-/reload", reload),
        web.put("/-/reload", reload),
        web.post("/api/check", check),
        web.get("/api/results", ResultsEndpoint(site.result_source).answer),
    ]


def _response(answer: HttpReply) -> web.Response:
    return web.Response(text=answer.text, status=answer.status, content_type=answer.kind, charset="utf-8")


def _plain(make: Callable[..., web.BaseRequest]) -> Callable[..., web.BaseRequest]:
    """Requests without what aiohttp would answer before our middlewares, or in the client's words.

    `Expect`: we read no body, so nothing need go on, and nobody is told anything before the door (RFC 9110 section
    10.1.1 lets a server send its final answer). A version that we do not speak: marked, and answered in ours.
    """

    def made(message: Any, *rest: Any) -> web.BaseRequest:
        unspoken = message.version not in HTTP_VERSIONS
        if "Expect" in message.headers:
            headers = CIMultiDict(message.headers)
            headers.popall("Expect")
            message = message._replace(headers=CIMultiDictProxy(headers))
        request = make(message._replace(version=HttpVersion11, should_close=True) if unspoken else message, *rest)
        request[UNSPOKEN] = unspoken
        return request

    return made


@web.middleware
async def _spoken(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse another major version of HTTP than ours."""
    if request[UNSPOKEN]:
        raise web.HTTPVersionNotSupported(text="HTTP/1.1 is spoken here\n")
    return await handler(request)


@web.middleware
async def _attended(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Tell the connection when a request is being answered; refuse a body that is too large before it is sent."""
    connection = request.protocol
    assert isinstance(connection, HttpConnection)  # noqa: S101
    connection.begin()
    well = False
    try:
        if (request.content_length or 0) > MAX_HEAD_BYTES_SENT:
            raise web.HTTPRequestEntityTooLarge(MAX_HEAD_BYTES_SENT, request.content_length or 0)
        response = await handler(request)
        well = response.status < HTTPStatus.BAD_REQUEST
        return response
    finally:
        connection.end(well=well)


@web.middleware
async def _answered(request: web.Request, handler: Handler) -> web.StreamResponse:
    """What was refused by raising is answered like all else.

    aiohttp would answer with the exception itself, which its own traceback holds: 45 objects for the garbage collector,
    and ten seconds of a thousand a second held the loop for half a second.
    """
    try:
        return await handler(request)
    except web.HTTPException as refusal:
        refusal.__traceback__ = None
        return web.Response(text=refusal.text, status=refusal.status, headers=refusal.headers)


@web.middleware
async def _guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
    """A fault of ours is a bare 500 and a line with the traceback; nothing the client sent stands in it."""
    try:
        return await handler(request)
    except (web.HTTPException, ConnectionError):
        raise
    except Exception:
        resource = request.match_info.route.resource
        _logger.exception("request failed", extra={"keys": {"path": resource and resource.canonical}})
        return web.Response(text="internal error\n", status=HTTPStatus.INTERNAL_SERVER_ERROR)


async def _dress(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)
