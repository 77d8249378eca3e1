"""The HTTP server as a handle: started on a port, known by its URL, closed.

Rule 1: shows, changes nothing. Rule 2: `/-/healthy` knows no target. Rule 3: knows no room of the house: what it
shows comes in as callables and figures.
"""

import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final, Self

from aiohttp import web

from exporter.web.landing import POLICY, LandingData, page
from exporter.web.listen import Address, bind, url
from exporter.web.negotiate import choose, gzip_welcome
from exporter.web.render import Figures, Page, Renderer

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

Answer = Callable[[], tuple[bool, str]]
"""Whether all is well, and a sentence."""

Check = Callable[[str, str], Awaitable[tuple[int, str]]]
"""A check of a target, by name, as deep as a probe, by name ("": all of them).

HTTP status, and a JSON document or a sentence.
"""


class Server:
    """Serves `/`, `/metrics`, `/-/healthy`, `/-/ready`, POST `/api/check`. Made by `start`, ended by `close`."""

    def __init__(
        self,
        figures: Figures,
        *,
        ready: Answer,
        healthy: Answer,
        on_scrape: Callable[[], None],
        landing: Callable[[], LandingData],
        check: Check | None = None,
    ) -> None:
        self._renderer = Renderer(figures)
        self._on_scrape = on_scrape
        self._landing = landing
        app = web.Application(middlewares=[_guarded])
        app.on_response_prepare.append(_dress)
        app.router.add_get("/", self._index)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/-/healthy", _answering(healthy))
        app.router.add_get("/-/ready", _answering(ready))
        if check is not None:
            app.router.add_post("/api/check", _checking(check))
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=SHUTDOWN)
        self.url = ""
        self.port = 0

    @classmethod
    async def start(
        cls,
        host: str,
        port: int,
        *,
        figures: Figures,
        ready: Answer,
        healthy: Answer,
        on_scrape: Callable[[], None],
        landing: Callable[[], LandingData],
        check: Check | None = None,
    ) -> Self:
        """A server that listens; raises ListenProblem. Host "" is every interface, port 0 any free one.

        `ready`, `healthy` are asked at each request; `on_scrape` is told after each answer to GET /metrics;
        `landing` gives what the landing page shows; `check` runs the check that `check --from` asks for.
        """
        sock = bind(Address(host, port))
        self = cls(figures, ready=ready, healthy=healthy, on_scrape=on_scrape, landing=landing, check=check)
        self.url, self.port = url(sock), int(sock.getsockname()[1])
        await self._runner.setup()
        await web.SockSite(self._runner, sock).start()
        return self

    async def close(self) -> None:
        """Stop listening, give requests in flight a moment, end the render thread. A second call does nothing."""
        await self._runner.cleanup()
        await self._renderer.close()

    async def _index(self, _: web.Request) -> web.Response:
        return web.Response(body=page(self._landing()), content_type="text/html", charset="utf-8")

    async def _metrics(self, request: web.Request) -> web.StreamResponse:
        choice = choose(",".join(request.headers.getall("Accept", [])))
        page = await self._renderer.page(choice.form)
        response = web.StreamResponse(headers={"Content-Type": choice.content_type, "Vary": "Accept, Accept-Encoding"})
        packed = gzip_welcome(",".join(request.headers.getall("Accept-Encoding", [])))
        response.content_length = page.packed_size if packed else page.size
        if packed:
            response.headers["Content-Encoding"] = "gzip"
        await response.prepare(request)
        if request.method == "GET":
            await self._send(page, response, packed=packed)
            self._on_scrape()
        return response

    async def _send(self, page: Page, response: web.StreamResponse, *, packed: bool) -> None:
        """Send a page; raises ConnectionError if the client goes."""
        if packed:
            for chunk in page.packed:
                await response.write(chunk)
        else:
            async for chunk in self._renderer.unpacked(page):
                await response.write(chunk)
        await response.write_eof()


def _answering(ask: Answer) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handler(_: web.Request) -> web.Response:
        well, sentence = ask()
        return web.Response(text=f"{sentence}\n", status=HTTPStatus.OK if well else HTTPStatus.SERVICE_UNAVAILABLE)

    return handler


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


def _checking(check: Check) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handler(request: web.Request) -> web.Response:
        status, text = await check(request.query.get("target", ""), request.query.get("probe", ""))
        kind = "application/json" if status == HTTPStatus.OK else "text/plain"
        return web.Response(text=text, status=status, content_type=kind, charset="utf-8")

    return handler


async def _dress(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)
