"""The HTTP server as a handle: started on a port, known by its URL, closed.

Rule 1: `_routes` is the one table of what is served beside the status page. Rule 2: what every answer has in common,
its headers and what becomes of a fault of ours, is done here and in no handler. Rule 3: knows no room of the house: see
`site.Site`.
"""

import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final, Self

from aiohttp import web

from exporter.web.listen import Address, bind, url
from exporter.web.page.document import POLICY
from exporter.web.probe import answering
from exporter.web.results import Results
from exporter.web.scrape import Scrapes
from exporter.web.site import Answer, Site
from exporter.web.status import Status

SHUTDOWN: Final = 1.0
"""Seconds that requests in flight have when the server closes."""

HEADERS: Final = {
    "Server": "ws-factory-exporter",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": POLICY,
    "Cache-Control": "no-store",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_LOG: Final = logging.getLogger(__name__)


class Server:
    """Serves a site. Made by `start`, ended by `close`."""

    def __init__(self, site: Site) -> None:
        self._scrapes = Scrapes(site)
        self._status = Status(site.board)
        app = web.Application(middlewares=[_guarded])
        app.on_response_prepare.append(_dress)
        app.on_shutdown.append(self._end_streams)
        app.router.add_routes([*self._status.routes(), *_routes(site, self._scrapes)])
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=SHUTDOWN)
        self.url = ""
        self.port = 0

    @classmethod
    async def start(cls, listen: Address, site: Site) -> Self:
        """A server that listens; raises ListenProblem. Host "" is every interface, port 0 any free one."""
        sock = bind(listen)
        self = cls(site)
        self.url, self.port = url(sock), int(sock.getsockname()[1])
        await self._runner.setup()
        await web.SockSite(self._runner, sock).start()
        return self

    async def close(self) -> None:
        """Stop listening, give requests in flight a moment, end the render thread. A second call does nothing."""
        await self._runner.cleanup()
        await self._scrapes.close()
        await self._status.close()

    async def _end_streams(self, _: web.Application) -> None:
        self._status.end_streams()


def _routes(site: Site, scrapes: Scrapes) -> list[web.RouteDef]:
    async def healthy(_: web.Request) -> web.Response:
        return _response(site.healthy())

    async def ready(_: web.Request) -> web.Response:
        return _response(site.ready())

    async def check(request: web.Request) -> web.Response:
        return _response(await site.check(request.query.get("target", ""), request.query.get("probe", "")))

    return [
        web.get("/metrics", scrapes.answer),
        web.get("/-/healthy", healthy),
        web.get("/-/ready", ready),
        web.get("/probe", answering(site), allow_head=False),
        web.post("/api/check", check),
        web.get("/api/results", Results(site.recent).answer),
    ]


def _response(answer: Answer) -> web.Response:
    return web.Response(text=answer.text, status=answer.status, content_type=answer.kind, charset="utf-8")


@web.middleware
async def _guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
    """A fault of ours is a bare 500 and a line with the traceback; nothing the client sent stands in it."""
    try:
        return await handler(request)
    except (web.HTTPException, ConnectionError):
        raise
    except Exception:  # noqa: BLE001 - it is logged whole, one line below
        resource = request.match_info.route.resource
        _LOG.exception("request failed", extra={"keys": {"path": resource and resource.canonical}})
        return web.Response(text="internal error\n", status=HTTPStatus.INTERNAL_SERVER_ERROR)


async def _dress(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)
