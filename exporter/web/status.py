"""The routes of the status page: the page, one target, updates, icons, and the runbook."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Final

from aiohttp import web

from exporter.web.live import LivePage, StalePageError
from exporter.web.page.pictures import icon_svg
from exporter.web.pages import PageMaker, StatusBoard
from exporter.web.runbook import RunbookPages
from exporter.web.sending import abort_on_error, send_html

MAX_STREAMS: Final = 20
"""Open pages that are sent updates as a stream; further ones poll."""

WRITE_TIMEOUT_SECONDS: Final = 10.0
"""Seconds in which a browser must read an event."""

EVENT_STREAM: Final = "text/event-stream"


class StatusPages:
    """Handles the requests of the page. `close` it.

    `metrics`: the link from the page to the metrics.
    `still_allowed`: whether a request that was allowed would be allowed now.
    """

    def __init__(self, board: StatusBoard, metrics: str, still_allowed: Callable[[web.Request], bool]) -> None:
        self._still_allowed = still_allowed
        self._live = LivePage(PageMaker(board, metrics))
        self._runbook = RunbookPages()

    def routes(self) -> list[web.RouteDef]:
        """The routes."""
        return [
            web.get("/", self._page),
            web.get("/api/fragment", self._fragment),
            web.get("/api/events", self._events, allow_head=False),
            web.get("/icon/{word}.svg", self._icon),
            web.get("/runbook/{name}", self._read),
        ]

    def end_streams(self) -> None:
        """End the streams, so that a closing server does not wait for them."""
        self._live.end_streams()

    async def close(self) -> None:
        """End the streams and the pages in the making."""
        await self._live.close()

    async def _page(self, request: web.Request) -> web.StreamResponse:
        page = await self._live.page(request.query.get("target"))
        if page is None:
            return _html(None, "no such target; the page without ?target= shows all\n")
        return await send_html(request, page)

    async def _fragment(self, request: web.Request) -> web.Response:
        return _html(await self._live.card(request.query.get("target", "")), "no such target\n")

    async def _icon(self, request: web.Request) -> web.Response:
        picture = icon_svg(request.match_info["word"])
        if picture is None:
            raise web.HTTPNotFound
        return web.Response(text=picture, content_type="image/svg+xml")

    async def _read(self, request: web.Request) -> web.Response:
        name = request.match_info["name"].removesuffix(".md")  # the links of the alerts end in .md
        return _html(self._runbook.page(name), "no such page of the runbook\n")

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """A stream of changes if the client accepts one, else the changes as JSON.

        A page of another build gets a 409, or the event that reloads it.
        """
        position = request.headers.get("Last-Event-ID") or request.query.get("since", "")
        if EVENT_STREAM not in request.headers.get("Accept", ""):
            try:
                return web.json_response(text=await self._live.update(position))
            except StalePageError:
                return web.Response(text="the page is of another version: reload it\n", status=HTTPStatus.CONFLICT)
        if self._live.streams >= MAX_STREAMS:
            sentence = f"{MAX_STREAMS} pages have a stream of updates, the maximum: poll instead\n"
            return web.Response(text=sentence, status=HTTPStatus.SERVICE_UNAVAILABLE, headers={"Retry-After": "60"})
        self._live.streams += 1
        try:
            return await self._stream(request, position)
        finally:
            self._live.streams -= 1

    async def _stream(self, request: web.Request, position: str) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": EVENT_STREAM, "X-Accel-Buffering": "no"})
        await response.prepare(request)
        with suppress(TimeoutError), abort_on_error(request):
            try:
                async for event in self._live.stream(position, lambda: not self._may_receive(request)):
                    async with asyncio.timeout(WRITE_TIMEOUT_SECONDS):
                        await response.write(event)
            except StalePageError:
                await response.write(b"event: anew\ndata:\n\n")
        return response

    def _may_receive(self, request: web.Request) -> bool:
        return request.transport is not None and self._still_allowed(request)


def _html(html: str | None, not_found: str) -> web.Response:
    if html is None:
        return web.Response(text=not_found, status=HTTPStatus.NOT_FOUND)
    return web.Response(text=html, content_type="text/html")
