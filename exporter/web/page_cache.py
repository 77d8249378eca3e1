"""Pages that are made once for all who ask within a second, and sent while they are made.

Rule 1: one page is made at a time, so that a flood of requests costs one page after the other and no turn of the loop
is longer. Rule 2: nobody waits for who reads slowly: what is made stands there for each to take at his pace.
Rule 3: a page is packed while it is made, once. A browser paints what it has: the line on top is seen before the last
of two hundred targets has been rendered.
"""

import asyncio
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final

from exporter.web.render import GZIP_LEVEL, GZIP_WINDOW_BITS

SEND_CHUNK_BYTES: Final = 16_384
"""Characters that are packed in one go: it takes 0.2 ms."""

PAGE_LIFETIME_SECONDS: Final = 1.0
"""Seconds for which a page is given to others."""

MAX_CACHED_PAGES: Final = 16
"""Pages that are kept so long; the oldest goes."""


@dataclass(slots=True)
class StreamedPage:
    """A page in the making: its chunks, plain and in the gzip format, each of which can be read before the next."""

    began: float
    plain: list[bytes] = field(default_factory=list)
    packed: list[bytes] = field(default_factory=list)
    more: asyncio.Event = field(default_factory=asyncio.Event)
    ended: bool = False
    broken: BaseException | None = None

    async def read(self, *, packed: bool) -> AsyncIterator[bytes]:
        """Its chunks, with a turn for everybody else after each; raises what broke the making of it."""
        chunks, taken = self.packed if packed else self.plain, 0
        while True:
            for chunk in chunks[taken:]:
                taken += 1
                yield chunk
                await asyncio.sleep(0)
            if taken < len(chunks):
                continue
            if self.broken is not None:
                raise self.broken
            if self.ended:
                return
            await self.more.wait()

    def told(self) -> None:
        """There is more, or an end."""
        self.more.set()
        self.more = asyncio.Event()


class PageCache:
    """Makes pages and keeps them a moment. `close` it."""

    def __init__(self) -> None:
        self._sheets: dict[str | None, StreamedPage] = {}
        self._making: set[asyncio.Task[None]] = set()
        self._alone = asyncio.Lock()

    def fresh(self, key: str | None) -> StreamedPage | None:
        """The page of that key, if it has just been made or is being made."""
        sheet = self._sheets.get(key)
        now = asyncio.get_running_loop().time()
        return (
            sheet if sheet is not None and now - sheet.began < PAGE_LIFETIME_SECONDS and sheet.broken is None else None
        )

    def begin(self, key: str | None, pieces: AsyncIterator[str]) -> StreamedPage:
        """Make a page of these pieces; the first of them is sent at once."""
        sheet = StreamedPage(asyncio.get_running_loop().time())
        self._sheets.pop(key, None)
        self._sheets[key] = sheet
        if len(self._sheets) > MAX_CACHED_PAGES:
            del self._sheets[next(iter(self._sheets))]
        task = asyncio.create_task(self._make(sheet, pieces), name="page")
        self._making.add(task)
        task.add_done_callback(self._making.discard)
        asyncio.get_running_loop().call_later(PAGE_LIFETIME_SECONDS, self._forget, key, sheet)
        return sheet

    async def close(self) -> None:
        """End what is being made."""
        for task in self._making:
            task.cancel()
        await asyncio.gather(*self._making, return_exceptions=True)

    def _forget(self, key: str | None, sheet: StreamedPage) -> None:
        if self._sheets.get(key) is sheet:
            del self._sheets[key]

    async def _make(self, sheet: StreamedPage, pieces: AsyncIterator[str]) -> None:
        packer = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, GZIP_WINDOW_BITS)
        try:
            async with self._alone:
                async for text in _chunks(pieces):
                    chunk = text.encode()
                    sheet.plain.append(chunk)
                    sheet.packed.append(packer.compress(chunk) + packer.flush(zlib.Z_SYNC_FLUSH))
                    sheet.told()
            sheet.packed.append(packer.flush())
            sheet.ended = True
        except BaseException as error:
            sheet.broken = error if isinstance(error, Exception) else ConnectionAbortedError("the server is closing")
            if not isinstance(error, Exception):
                raise
        finally:
            sheet.told()


async def _chunks(pieces: AsyncIterator[str]) -> AsyncIterator[str]:
    """The first piece, which has the line on top, then as many as fill a chunk."""
    waiting: list[str] = []
    size = enough = 0
    async for piece in pieces:
        waiting.append(piece)
        size += len(piece)
        if size > enough:
            yield "".join(waiting)
            waiting, size, enough = [], 0, SEND_CHUNK_BYTES
            await asyncio.sleep(0)
    yield "".join(waiting)
