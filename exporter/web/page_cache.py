"""Renders a page once for all requests within a second, and sends it while it is being rendered.

Rule 1: one page is rendered at a time, so that a flood of requests does not lengthen a turn of the event loop.
Rule 2: each client reads the page at its own speed; a slow one delays no other.
Rule 3: a page is compressed once, while it is rendered, so that a browser shows the headline before the last of two
hundred targets has been rendered.
"""

import asyncio
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final

from exporter.web.render import GZIP_LEVEL, GZIP_WINDOW_BITS

SEND_CHUNK_BYTES: Final = 16_384
"""Characters that are compressed at once, in 0.2 ms."""

PAGE_LIFETIME_SECONDS: Final = 1.0
"""Seconds for which later requests get the same page."""

MAX_CACHED_PAGES: Final = 16
"""Pages in the cache; the oldest is removed for a further one."""


@dataclass(slots=True)
class StreamedPage:
    """A page that can be read while it is being rendered.

    `began`: the loop's time. `plain`, `packed`: its chunks so far, as they are and in the gzip format.
    `more`: is set at the next chunk or the end. `complete`: no chunk follows. `error`: why rendering failed.
    """

    began: float
    plain: list[bytes] = field(default_factory=list)
    packed: list[bytes] = field(default_factory=list)
    more: asyncio.Event = field(default_factory=asyncio.Event)
    complete: bool = False
    error: BaseException | None = None

    async def read(self, *, packed: bool) -> AsyncIterator[bytes]:
        """The chunks; other tasks run after each. Raises the error that rendering raised."""
        chunks, position = self.packed if packed else self.plain, 0
        while True:
            for chunk in chunks[position:]:
                position += 1
                yield chunk
                await asyncio.sleep(0)
            if position < len(chunks):
                continue
            if self.error is not None:
                raise self.error
            if self.complete:
                return
            await self.more.wait()

    def wake_readers(self) -> None:
        """Wake the readers: there is another chunk, or the end."""
        self.more.set()
        self.more = asyncio.Event()


class PageCache:
    """Renders pages and keeps each for `PAGE_LIFETIME_SECONDS`. `close` it."""

    def __init__(self) -> None:
        self._pages: dict[str | None, StreamedPage] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._lock = asyncio.Lock()

    def get(self, key: str | None) -> StreamedPage | None:
        """The page of that key, if it is being rendered or has just been."""
        page = self._pages.get(key)
        now = asyncio.get_running_loop().time()
        return page if page is not None and now - page.began < PAGE_LIFETIME_SECONDS and page.error is None else None

    def add(self, key: str | None, pieces: AsyncIterator[str]) -> StreamedPage:
        """Begin a page of these pieces; the first of them is sent at once."""
        page = StreamedPage(asyncio.get_running_loop().time())
        self._pages.pop(key, None)
        self._pages[key] = page
        if len(self._pages) > MAX_CACHED_PAGES:
            del self._pages[next(iter(self._pages))]
        task = asyncio.create_task(self._render(page, pieces), name="page")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        asyncio.get_running_loop().call_later(PAGE_LIFETIME_SECONDS, self._remove, key, page)
        return page

    async def close(self) -> None:
        """Cancel the rendering of all pages."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _remove(self, key: str | None, page: StreamedPage) -> None:
        if self._pages.get(key) is page:
            del self._pages[key]

    async def _render(self, page: StreamedPage, pieces: AsyncIterator[str]) -> None:
        compressor = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, GZIP_WINDOW_BITS)
        try:
            async with self._lock:
                async for text in _chunks(pieces):
                    chunk = text.encode()
                    page.plain.append(chunk)
                    page.packed.append(compressor.compress(chunk) + compressor.flush(zlib.Z_SYNC_FLUSH))
                    page.wake_readers()
            page.packed.append(compressor.flush())
            page.complete = True
        except BaseException as error:
            page.error = error if isinstance(error, Exception) else ConnectionAbortedError("the server is closing")
            if not isinstance(error, Exception):
                raise
        finally:
            page.wake_readers()


async def _chunks(pieces: AsyncIterator[str]) -> AsyncIterator[str]:
    """The first piece alone, because it has the headline; then as many as fill a chunk."""
    gathered: list[str] = []
    size = threshold = 0
    async for piece in pieces:
        gathered.append(piece)
        size += len(piece)
        if size > threshold:
            yield "".join(gathered)
            gathered, size, threshold = [], 0, SEND_CHUNK_BYTES
            await asyncio.sleep(0)
    yield "".join(gathered)
