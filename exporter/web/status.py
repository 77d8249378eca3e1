"""The doors of the status page: the page, one target, its updates, its icons, and the runbook it leads to."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Final

from aiohttp import web

from exporter.web.live import LivePage, StalePageError
from exporter.web.page.icon import icon
from exporter.web.pages import PageMaker, StatusBoard
from exporter.web.runbook import RunbookPages
from exporter.web.sending import cut_off, send_html

MAX_STREAMS: Final = 20
"""Open pages that are sent updates; the others ask for them."""

WRITE_TIMEOUT_SECONDS: Final = 10.0
"""Seconds in which a browser must have taken what it was sent."""

EVENT_STREAM: Final = "text/event-stream"


class StatusPages:
    """Answers for the page. `close` it; `metrics`: where those stand, seen from the page.

    `welcome`: whether who was let in with a request would be let in with it now.
    """

    def __init__(self, board: StatusBoard, metrics: str, welcome: Callable[[web.Request], bool]) -> None:
        self._welcome = welcome
        self._live = LivePage(PageMaker(board, metrics))
        self._runbook = RunbookPages()

    def routes(self) -> list[web.RouteDef]:
        """What is served."""
        return [
            web.get("/", self._page),
            web.get("/api/fragment", self._fragment),
            web.get("/api/events", self._events, allow_head=False),
            web.get("/icon/{word}.svg", self._icon),
            web.get("/runbook/{name}", self._read),
        ]

    def end_streams(self) -> None:
        """End the streams: a closing server does not wait for them."""
        self._live.end_streams()

    async def close(self) -> None:
        """End what is under way."""
        await self._live.close()

    async def _page(self, request: web.Request) -> web.StreamResponse:
        sheet = await self._live.page(request.query.get("target"))
        if sheet is None:
            return _html(None, "no such target; the page without ?target= shows all\n")
        return await send_html(request, sheet)

    async def _fragment(self, request: web.Request) -> web.Response:
        return _html(await self._live.card(request.query.get("target", "")), "no such target\n")

    async def _icon(self, request: web.Request) -> web.Response:
        picture = icon(request.match_info["word"])
        if picture is None:
            raise web.HTTPNotFound
        return web.Response(text=picture, content_type="image/svg+xml")

    async def _read(self, request: web.Request) -> web.Response:
        name = request.match_info["name"].removesuffix(".md")  # as the links of the alerts have it
        return _html(self._runbook.page(name), "no such page of the runbook\n")

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """A stream for who asks for one, else what has changed, as JSON. Of another build: 409, or the event `anew`."""
        position = request.headers.get("Last-Event-ID") or request.query.get("since", "")
        if EVENT_STREAM not in request.headers.get("Accept", ""):
            try:
                return web.json_response(text=await self._live.update(position))
            except StalePageError:
                return web.Response(text="of another build: load the page anew\n", status=HTTPStatus.CONFLICT)
        if self._live.streams >= MAX_STREAMS:
            words = f"{MAX_STREAMS} pages are being sent updates: ask now and then\n"
            return web.Response(text=words, status=HTTPStatus.SERVICE_UNAVAILABLE, headers={"Retry-After": "60"})
        self._live.streams += 1
        try:
            return await self._stream(request, position)
        finally:
            self._live.streams -= 1

    async def _stream(self, request: web.Request, position: str) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": EVENT_STREAM, "X-Accel-Buffering": "no"})
        await response.prepare(request)
        with suppress(TimeoutError), cut_off(request):
            try:
                async for event in self._live.stream(position, lambda: not self._is_there(request)):
                    async with asyncio.timeout(WRITE_TIMEOUT_SECONDS):
                        await response.write(event)
            except StalePageError:
                await response.write(b"event: anew\ndata:\n\n")
        return response

    def _is_there(self, request: web.Request) -> bool:
        return request.transport is not None and self._welcome(request)


def _html(html: str | None, otherwise: str) -> web.Response:
    if html is None:
        return web.Response(text=otherwise, status=HTTPStatus.NOT_FOUND)
    return web.Response(text=html, content_type="text/html")
