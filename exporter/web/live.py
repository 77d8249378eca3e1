"""Sends to open status pages what has changed.

Rule 1: nothing is rendered unless a page is open. While one is, changes are collected at most once per
`UPDATE_INTERVAL_SECONDS`, for all viewers together.
Rule 2: a change is rendered once, for all viewers.
Rule 3: updates are not queued. An open page has a position and is sent the newest state of all that changed after it.
"""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from exporter.host import cooperatively
from exporter.web.page.document import BUILD, PageHead, health_section, summary_section
from exporter.web.page.pictures import icon_path
from exporter.web.page.target import element_id
from exporter.web.page.values import ExporterHealth
from exporter.web.page_cache import PageCache, StreamedPage
from exporter.web.pages import PageMaker, PageView

UPDATE_INTERVAL_SECONDS: Final = 1.0
"""Seconds between two collections of changes, and at least between two updates of one page."""

HEARTBEAT_SECONDS: Final = 15.0
"""Seconds without an event after which a stream sends a comment, so that no proxy closes it."""

CLIENT_RETRY_SECONDS: Final = 2.0
"""Seconds after which a browser reconnects a broken stream."""

NO_POSITION: Final = -1
"""The position before all changes."""


class StalePageError(Exception):
    """An open page is of another build and must be reloaded."""


@dataclass(slots=True)
class _RenderedState:
    """The state at the last collection of changes.

    `tick`: the number of collections that found a change.
    `change_count`: the number of changes, as `StatusBoard.changes` returns it. `collected_at`: the loop's time.
    `fragments`: by the id of each element, the tick of its last change and its HTML as JSON.
    `complete_since`: the fragments suffice for pages of this tick or a later one.
    `order_tick`: the tick at which the order of targets last changed.
    """

    tick: int = 0
    change_count: int = 0
    collected_at: float = float("-inf")
    complete_since: int = 0
    order_tick: int = 0
    opened: Mapping[str, bool] = field(default_factory=dict)
    head: PageHead | None = None
    health: ExporterHealth | None = None
    fragments: dict[str, tuple[int, str]] = field(default_factory=dict)


class LivePage:
    """The page and its updates. `close` it; `streams`: the number of open streams."""

    def __init__(self, pages: PageMaker) -> None:
        self._pages = pages
        self._process_id = secrets.token_hex(4)
        self._state = _RenderedState()
        self._cache = PageCache()
        self._lock = asyncio.Lock()
        self._closed = asyncio.Event()
        self.streams = 0

    def end_streams(self) -> None:
        """End the streams."""
        self._closed.set()

    async def close(self) -> None:
        """End the streams and the pages in the making."""
        self.end_streams()
        await self._cache.close()

    async def page(self, only: str | None = None) -> StreamedPage | None:
        """The page, or that of `only` one target; None if there is no such target."""
        async with self._lock:
            page = self._cache.get(only)
            if page is not None:
                return page
            if only is not None and self._pages.board.row(only) is None:
                return None
            change_count, _ = self._pages.board.changes(self._state.change_count)
            view = await self._pages.view()
            if not self.streams:
                self._restart_from(view, change_count)
            return self._cache.add(only, self._pages.render(view, self._position(), only))

    async def card(self, name: str) -> str | None:
        """One target as its opened element; None if there is no such target."""
        async with self._lock:
            await asyncio.sleep(0)  # lets other tasks run between two waiting requests
            return self._pages.target(name, opened=True)

    async def update(self, position: str) -> str:
        """The changes after a position, as JSON; raises StalePageError."""
        since = self._tick_of(position)
        await self._collect()
        return await self._changes_after(since)

    async def stream(self, position: str, is_gone: Callable[[], bool]) -> AsyncIterator[bytes]:
        """Server-sent events (HTML section 9.2) after a position, until `close` or `is_gone`; raises StalePageError."""
        since, now = self._tick_of(position), asyncio.get_running_loop().time
        last_event = now()
        yield f"retry: {CLIENT_RETRY_SECONDS * 1000:.0f}\n\n".encode()
        while not self._closed.is_set() and not is_gone():
            await self._collect()
            if self._state.tick > since:
                update, since, last_event = await self._changes_after(since), self._state.tick, now()
                yield f"id: {self._position()}\ndata: {update}\n\n".encode()
            elif now() - last_event >= HEARTBEAT_SECONDS:
                last_event = now()
                yield b": here\n\n"
            with suppress(TimeoutError):
                async with asyncio.timeout(UPDATE_INTERVAL_SECONDS):
                    await self._closed.wait()

    # Positions ------------------------------------------------------------------------------------------------------

    def _position(self) -> str:
        return f"{BUILD}.{self._process_id}.{self._state.tick}"

    def _tick_of(self, position: str) -> int:
        """The tick of a position; `NO_POSITION` if it is of another process; raises StalePageError."""
        build, process_id, tick = [*position.split("."), "", ""][:3]
        if build != BUILD:
            raise StalePageError
        is_ours = process_id == self._process_id and tick.isdecimal() and len(tick) < len(str(2**53))
        return int(tick) if is_ours else NO_POSITION

    # Changes --------------------------------------------------------------------------------------------------------

    def _restart_from(self, view: PageView, change_count: int) -> None:
        """Without viewers, the page that is being made becomes the state, and is not rendered a second time."""
        state, own = self._state, self._pages.board.own_health()
        state.tick += 1
        state.change_count, state.complete_since, state.fragments = change_count, state.tick, {}
        state.opened, state.head, state.health = view.opened, view.head, own

    async def _collect(self) -> None:
        """Collect and render the changes, unless that has just been done."""
        async with self._lock:
            state, now = self._state, asyncio.get_running_loop().time()
            if now - state.collected_at < 0.9 * UPDATE_INTERVAL_SECONDS:
                return
            state.collected_at = now
            state.change_count, changed = self._pages.board.changes(state.change_count)
            view = await self._pages.view()
            opened = state.opened
            stale = [name for name, full in view.opened.items() if name in changed or opened.get(name) is not full]
            await self._update_state(view, stale)

    async def _update_state(self, view: PageView, stale: Collection[str]) -> None:
        state, own, now = self._state, self._pages.board.own_health(), self._pages.board.now()
        changed = await self._render(view.opened, stale)
        if own != state.health:
            changed["health"] = json.dumps(health_section(own, now))
        if view.head != state.head or state.health is None or own.unhealthy_reason != state.health.unhealthy_reason:
            changed["summary"] = json.dumps(summary_section(view.head, own.unhealthy_reason))
        reordered = list(state.opened) != list(view.opened)
        if changed or reordered:
            state.tick += 1
        if reordered:
            state.order_tick = state.tick
        for name in state.opened.keys() - view.opened.keys():
            state.fragments.pop(element_id(name), None)
        state.fragments |= {key: (state.tick, text) for key, text in changed.items()}
        state.opened, state.head, state.health = view.opened, view.head, own

    async def _render(self, opened: Mapping[str, bool], names: Collection[str]) -> dict[str, str]:
        rendered: dict[str, str] = {}
        async for name in cooperatively(names):
            html = self._pages.target(name, opened=opened[name])
            if html is not None:
                rendered[element_id(name)] = json.dumps(html)
        return rendered

    async def _changes_after(self, since: int) -> str:
        """The fragments with a later tick, as JSON."""
        state = self._state
        if since < state.complete_since:
            await self._render_missing()
            since = NO_POSITION
        changed = ((key, text) for key, (tick, text) in state.fragments.items() if tick > since)
        fragments = ",".join(f"{json.dumps(key)}:{text}" for key, text in changed)
        rest: dict[str, object] = {"position": self._position(), "now": round(self._pages.board.now(), 3)}
        if state.head is not None:
            rest |= {"title": state.head.title, "icon": icon_path(state.head.state), "spoken": state.head.spoken}
        if state.order_tick > since:
            rest["order"] = list(map(element_id, state.opened))
        return f'{json.dumps(rest)[:-1]}, "fragments": {{{fragments}}}}}'

    async def _render_missing(self) -> None:
        """Render the elements that have no fragment yet, so that the fragments are the whole page."""
        async with self._lock:
            state, now = self._state, self._pages.board.now()
            missing = [name for name in state.opened if element_id(name) not in state.fragments]
            fragments = await self._render(state.opened, missing)
            if state.head is not None and state.health is not None:
                fragments["summary"] = json.dumps(summary_section(state.head, state.health.unhealthy_reason))
                fragments["health"] = json.dumps(health_section(state.health, now))
            for key, text in fragments.items():
                state.fragments.setdefault(key, (state.tick, text))
            state.complete_since = NO_POSITION
