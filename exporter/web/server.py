"""The HTTP server.

Rule 1: `_routes` is the table of all routes beside those of the status page; `WebPaths` has their paths.
Rule 2: what all responses have in common, headers and the handling of errors, is done here and in no handler.
Rule 3: this module knows the daemon only as `site.Site`.
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
from exporter.web.listen import ListenAddress, address_of, socket_url
from exporter.web.listen_options import ListenOptions
from exporter.web.paths import WebPaths
from exporter.web.probe import probe_handler
from exporter.web.results import ResultsEndpoint
from exporter.web.scrape import ScrapeEndpoint
from exporter.web.secure import AccessControl
from exporter.web.site import HttpReply, Site
from exporter.web.status import StatusPages

SHUTDOWN_SECONDS: Final = 1.0
"""Seconds that requests in flight have when the server closes."""

HTTP_VERSIONS: Final = (HttpVersion10, HttpVersion11)
UNSUPPORTED_VERSION: Final = web.RequestKey("unsupported_version", bool)
"""Key of a request: whether its HTTP version is not supported."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_logger: Final = logging.getLogger(__name__)


class WebServer:
    """Serves a site. Made by `start`, ended by `close`.

    `urls`: the URL of each listening socket. `addresses`: the address of each.
    """

    def __init__(self, site: Site, paths: WebPaths, access: AccessControl) -> None:
        self._access = access
        self._scrapes = ScrapeEndpoint(site)
        self._status = StatusPages(site.status_board, paths.metrics, access.still_allowed)
        app = web.Application(
            middlewares=[_refusal_to_response, _track_request, _hide_errors, access.authenticate, _check_version],
            client_max_size=MAX_HEAD_BYTES_SENT,
        )
        app.on_response_prepare.append(_add_headers)
        app.on_response_prepare.append(self._add_configured_headers)
        app.on_shutdown.append(self._end_streams)
        app.router.add_routes(paths.under([*self._status.routes(), *_routes(site, self._scrapes)]))
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=SHUTDOWN_SECONDS)
        self._connections = ConnectionManager(access, self._make_connection)
        self._watch = asyncio.create_task(access.watch(), name="web_config")
        self._prefix = paths.prefix
        self.urls: list[str] = []
        self.addresses: list[str] = []
        self.port = 0

    @classmethod
    async def start(cls, listen: ListenAddress | ListenOptions, site: Site) -> Self:
        """A listening server; raises ListenError."""
        options = ListenOptions.of(listen)
        async with AsyncExitStack() as opened:
            access = await AccessControl.open(options.config_file, options.sites)
            opened.push_async_callback(access.close)
            sockets = [opened.enter_context(sock) for sock in options.sockets()]
            self = cls(site, options.paths, access)
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
        self._runner.server.request_factory = _adapt_requests(self._runner.server.request_factory)
        scheme = "https" if self._access.uses_tls else "http"
        for sock in sockets:
            self.urls.append(socket_url(sock, scheme) + self._prefix)
            self.addresses.append(address_of(sock))
            self._connections.listen(sock)
        self.port = sockets[0].getsockname()[1] if sockets[0].family is not socket.AF_UNIX else 0

    async def close(self) -> None:
        """Stop listening, wait `SHUTDOWN_SECONDS` for running requests, end the threads; a second call does nothing."""
        await self._connections.stop()
        await self._runner.cleanup()
        await self._connections.close()
        self._watch.cancel()
        await self._access.close()
        await self._scrapes.close()
        await self._status.close()

    def _make_connection(self, on_lost: Callable[[HttpConnection], None]) -> HttpConnection:
        assert self._runner.server is not None  # noqa: S101
        return HttpConnection(self._runner.server, self._access.admits, on_lost)

    async def _add_configured_headers(self, _: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(self._access.headers)

    async def _end_streams(self, _: web.Application) -> None:
        self._status.end_streams()


def _routes(site: Site, scrapes: ScrapeEndpoint) -> list[web.RouteDef]:
    async def healthy(_: web.Request) -> web.Response:
        return _response(site.healthy())

    async def ready(_: web.Request) -> web.Response:
        return _response(site.ready())

    async def check(request: web.Request) -> web.Response:
        return _response(await site.check(request.query.get("target", ""), request.query.get("probe", "")))

    async def held(_: web.Request) -> web.Response:
        return _response(await site.held_connections())

    async def reload(_: web.Request) -> web.Response:
        return _response(await site.reload())

    return [
        web.get("/metrics", scrapes.answer),
        web.get("/-/healthy", healthy),
        web.get("/-/ready", ready),
        web.get("/probe", probe_handler(site), allow_head=False),
        web.post("/-/reload", reload),
        web.put("/-/reload", reload),
        web.post("/api/check", check),
        web.get("/api/held", held),
        web.get("/api/results", ResultsEndpoint(site.result_source).answer),
    ]


def _response(reply: HttpReply) -> web.Response:
    return web.Response(text=reply.text, status=reply.status, content_type=reply.kind, charset="utf-8")


def _adapt_requests(make: Callable[..., web.BaseRequest]) -> Callable[..., web.BaseRequest]:
    """Remove what aiohttp would answer before the middlewares, or by quoting the client.

    `Expect` is dropped: no handler reads a body, and no client gets a response before authentication (RFC 9110 section
    10.1.1 lets a server send its final response). A request of another HTTP version is marked and answered in 1.1.
    """

    def make_request(message: Any, *rest: Any) -> web.BaseRequest:
        unsupported = message.version not in HTTP_VERSIONS
        if "Expect" in message.headers:
            headers = CIMultiDict(message.headers)
            headers.popall("Expect")
            message = message._replace(headers=CIMultiDictProxy(headers))
        request = make(message._replace(version=HttpVersion11, should_close=True) if unsupported else message, *rest)
        request[UNSUPPORTED_VERSION] = unsupported
        return request

    return make_request


@web.middleware
async def _check_version(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse a request of another HTTP version than 1.0 and 1.1."""
    if request[UNSUPPORTED_VERSION]:
        raise web.HTTPVersionNotSupported(text="HTTP/1.1 is spoken here\n")
    return await handler(request)


@web.middleware
async def _track_request(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Note begin and end of the request in its connection; refuse a body that is too large before it is sent."""
    connection = request.protocol
    assert isinstance(connection, HttpConnection)  # noqa: S101
    connection.begin_request()
    succeeded = False
    try:
        if (request.content_length or 0) > MAX_HEAD_BYTES_SENT:
            raise web.HTTPRequestEntityTooLarge(MAX_HEAD_BYTES_SENT, request.content_length or 0)
        response = await handler(request)
        succeeded = response.status < HTTPStatus.BAD_REQUEST
        return response
    finally:
        connection.end_request(succeeded=succeeded)


@web.middleware
async def _refusal_to_response(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Make a plain response of a raised refusal.

    aiohttp would send the exception itself, whose traceback leaves 45 objects to the garbage collector: after ten
    seconds of a thousand refusals a second, a collection held the loop for half a second.
    """
    try:
        return await handler(request)
    except web.HTTPException as refusal:
        refusal.__traceback__ = None
        return web.Response(text=refusal.text, status=refusal.status, headers=refusal.headers)


@web.middleware
async def _hide_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer a defect of the exporter with a bare 500 and log its traceback, without anything that the client sent."""
    try:
        return await handler(request)
    except (web.HTTPException, ConnectionError):
        raise
    except Exception:
        resource = request.match_info.route.resource
        _logger.exception("request failed", extra={"keys": {"path": resource and resource.canonical}})
        return web.Response(text="internal error\n", status=HTTPStatus.INTERNAL_SERVER_ERROR)


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)
