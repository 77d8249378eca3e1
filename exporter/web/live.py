"""What has changed on the status page, for those who have it open.

Rule 1: nothing is rendered for nobody: who looks has the page looked at, once in `UPDATE_INTERVAL_SECONDS` for all of
them together.
Rule 2: what changed is rendered once, for all who look.
Rule 3: nobody is queued for: an open page has a position, and is sent the newest of all that came after it.
"""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from exporter.host import cooperatively
from exporter.web.page.document import BUILD, summary
from exporter.web.page.head import PageHead
from exporter.web.page.health import health
from exporter.web.page.icon import path
from exporter.web.page.row import place
from exporter.web.page.values import ExporterHealth
from exporter.web.page_cache import PageCache, StreamedPage
from exporter.web.pages import PageMaker, PageView

UPDATE_INTERVAL_SECONDS: Final = 1.0
"""Seconds between two looks at what has changed, and between two updates of one page at least."""

HEARTBEAT_SECONDS: Final = 15.0
"""Seconds of silence after which a stream says that it is there, so that no proxy takes it for dead."""

CLIENT_RETRY_SECONDS: Final = 2.0
"""Seconds after which a browser whose stream broke asks again."""

NO_POSITION: Final = -1
"""The position before everything."""


class StalePageError(Exception):
    """An open page is of another build: it must be loaded anew."""


@dataclass(slots=True)
class _RenderedState:
    """What the last look saw. `tick`: counts the looks that found something. `counted`: where the board's count stood.

    `pieces`: what has changed, by the id of its element: the tick at which it did, and HTML as JSON. They suffice for
    pages whose position is `enough_from` or later. `ordered`: the tick at which the order changed.
    """

    tick: int = 0
    counted: int = 0
    looked: float = float("-inf")
    enough_from: int = 0
    ordered: int = 0
    opened: Mapping[str, bool] = field(default_factory=dict)
    head: PageHead | None = None
    health: ExporterHealth | None = None
    pieces: dict[str, tuple[int, str]] = field(default_factory=dict)


class LivePage:
    """The page and its updates. `close` it; `streams`: how many are open."""

    def __init__(self, pages: PageMaker) -> None:
        self._pages = pages
        self._boot = secrets.token_hex(4)
        self._known = _RenderedState()
        self._sheets = PageCache()
        self._alone = asyncio.Lock()
        self._closed = asyncio.Event()
        self.streams = 0

    def end_streams(self) -> None:
        """End the streams."""
        self._closed.set()

    async def close(self) -> None:
        """End what is under way."""
        self.end_streams()
        await self._sheets.close()

    async def page(self, only: str | None = None) -> StreamedPage | None:
        """The page, or that of `only` one target; None if there is no such target."""
        async with self._alone:
            sheet = self._sheets.fresh(only)
            if sheet is not None:
                return sheet
            if only is not None and self._pages.board.row(only) is None:
                return None
            counted, _ = self._pages.board.changes(self._known.counted)
            view = await self._pages.view()
            if not self.streams:
                self._begin_at(view, counted)
            return self._sheets.begin(only, self._pages.whole(view, self._position(), only))

    async def card(self, name: str) -> str | None:
        """All of one target, as it stands on the page when it is opened; None if there is no such target."""
        async with self._alone:
            await asyncio.sleep(0)  # a turn for everybody else between two of those who wait
            return self._pages.part(name, opened=True)

    async def update(self, position: str) -> str:
        """What has come after a position, as JSON; raises Anew."""
        since = self._since(position)
        await self._look()
        return await self._after(since)

    async def stream(self, position: str, gone: Callable[[], bool]) -> AsyncIterator[bytes]:
        """Server-sent events (HTML section 9.2) from a position on, until `close` or `gone`; raises Anew."""
        since, now = self._since(position), asyncio.get_running_loop().time
        said = now()
        yield f"retry: {CLIENT_RETRY_SECONDS * 1000:.0f}\n\n".encode()
        while not self._closed.is_set() and not gone():
            await self._look()
            if self._known.tick > since:
                update, since, said = await self._after(since), self._known.tick, now()
                yield f"id: {self._position()}\ndata: {update}\n\n".encode()
            elif now() - said >= HEARTBEAT_SECONDS:
                said = now()
                yield b": here\n\n"
            with suppress(TimeoutError):
                async with asyncio.timeout(UPDATE_INTERVAL_SECONDS):
                    await self._closed.wait()

    # Positions ------------------------------------------------------------------------------------------------------

    def _position(self) -> str:
        return f"{BUILD}.{self._boot}.{self._known.tick}"

    def _since(self, position: str) -> int:
        """The tick of a position; `NO_POSITION` if it is of another process."""
        build, boot, tick = [*position.split("."), "", ""][:3]
        if build != BUILD:
            raise StalePageError
        return int(tick) if boot == self._boot and tick.isdecimal() and len(tick) < len(str(2**53)) else NO_POSITION

    # What has changed -----------------------------------------------------------------------------------------------

    def _begin_at(self, view: PageView, counted: int) -> None:
        """Nobody looks: what is on the page that is made now is not rendered a second time."""
        known, own = self._known, self._pages.board.own_health()
        known.tick += 1
        known.counted, known.enough_from, known.pieces = counted, known.tick, {}
        known.opened, known.head, known.health = view.opened, view.head, own

    async def _look(self) -> None:
        """See what has changed, unless that has just been done."""
        async with self._alone:
            known, now = self._known, asyncio.get_running_loop().time()
            if now - known.looked < 0.9 * UPDATE_INTERVAL_SECONDS:
                return
            known.looked = now
            known.counted, changed = self._pages.board.changes(known.counted)
            view = await self._pages.view()
            opened = known.opened
            stale = [name for name, full in view.opened.items() if name in changed or opened.get(name) is not full]
            await self._take_in(view, stale)

    async def _take_in(self, view: PageView, stale: Collection[str]) -> None:
        known, own, now = self._known, self._pages.board.own_health(), self._pages.board.now()
        fresh = await self._rendered(view.opened, stale)
        if own != known.health:
            fresh["health"] = json.dumps(health(own, now))
        if view.head != known.head or known.health is None or own.unhealthy_reason != known.health.unhealthy_reason:
            fresh["summary"] = json.dumps(summary(view.head, own.unhealthy_reason))
        reordered = list(known.opened) != list(view.opened)
        if fresh or reordered:
            known.tick += 1
        if reordered:
            known.ordered = known.tick
        for name in known.opened.keys() - view.opened.keys():
            known.pieces.pop(place(name), None)
        known.pieces |= {key: (known.tick, text) for key, text in fresh.items()}
        known.opened, known.head, known.health = view.opened, view.head, own

    async def _rendered(self, opened: Mapping[str, bool], names: Collection[str]) -> dict[str, str]:
        rendered: dict[str, str] = {}
        async for name in cooperatively(names):
            part = self._pages.part(name, opened=opened[name])
            if part is not None:
                rendered[place(name)] = json.dumps(part)
        return rendered

    async def _after(self, since: int) -> str:
        """All that a page at this position has not, as JSON."""
        known = self._known
        if since < known.enough_from:
            await self._complete()
            since = NO_POSITION
        fragments = ",".join(f"{json.dumps(key)}:{text}" for key, (tick, text) in known.pieces.items() if tick > since)
        rest: dict[str, object] = {"position": self._position(), "now": round(self._pages.board.now(), 3)}
        if known.head is not None:
            rest |= {"title": known.head.title, "icon": path(known.head.word), "spoken": known.head.spoken}
        if known.ordered > since:
            rest["order"] = list(map(place, known.opened))
        return f'{json.dumps(rest)[:-1]}, "fragments": {{{fragments}}}}}'

    async def _complete(self) -> None:
        """Render what nobody has asked for yet, so that the pieces are the whole page."""
        async with self._alone:
            known, now = self._known, self._pages.board.now()
            missing = [name for name in known.opened if place(name) not in known.pieces]
            pieces = await self._rendered(known.opened, missing)
            if known.head is not None and known.health is not None:
                pieces["summary"] = json.dumps(summary(known.head, known.health.unhealthy_reason))
                pieces["health"] = json.dumps(health(known.health, now))
            for key, text in pieces.items():
                known.pieces.setdefault(key, (known.tick, text))
            known.enough_from = NO_POSITION
