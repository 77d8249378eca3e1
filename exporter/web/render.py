"""Renders the response of `/metrics` in slices, between the steps of running sessions.

Rule 1: a slice takes half a millisecond of the event loop (`host.SLICE_SECONDS`), and no sample changes between slices
(`Metrics.samples`). Rule 2: compression and the reading of /proc are done in a thread.
Rule 3: one page is rendered at a time, and concurrent requests for a format share its bytes, so that a storm of scrapes
builds no queue. Rule 4: a page is stored compressed, a twentieth of its size, and decompressed in chunks for clients
without gzip: to free 25 MB at once would hold the loop for milliseconds.
"""

import asyncio
import zlib
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

from exporter.host import cooperatively
from exporter.metrics import ExpositionFormat

RENDER_CHUNK_BYTES: Final = 256 * 1024
"""Bytes of text that are compressed or decompressed at once."""

GZIP_LEVEL: Final = 1
"""zlib's level; for this repetitive text, higher ones take twice the time to save a tenth of the bytes."""

GZIP_WINDOW_BITS: Final = 31
"""zlib's window bits for the gzip format."""

T = TypeVar("T")


class MetricSource(Protocol):
    """The content of a scrape; see `metrics.Metrics`."""

    def samples(self, form: ExpositionFormat) -> Generator[str]:
        """The series of one moment, in pieces; the caller closes the generator."""

    def process_metrics(self, form: ExpositionFormat) -> str:
        """The end of the page; called in a thread."""


@dataclass(frozen=True, slots=True)
class PackedPage:
    """A page in the gzip format.

    `packed`: its chunks. `size`: bytes when it is decompressed. `read_at`: the loop's time of its samples.
    """

    packed: Sequence[bytes]
    size: int
    read_at: float

    @property
    def packed_size(self) -> int:
        """Bytes in the gzip format."""
        return sum(map(len, self.packed))


class PageRenderer:
    """Renders pages; `close` it."""

    def __init__(self, source: MetricSource) -> None:
        self._source = source
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="render")
        self._in_flight: dict[ExpositionFormat, asyncio.Task[PackedPage]] = {}
        self._lock = asyncio.Lock()
        self.renders = 0

    async def page(self, form: ExpositionFormat) -> PackedPage:
        """The page in this format. A cancelled caller does not cancel it for the others."""
        if form not in self._in_flight:
            task = self._in_flight[form] = asyncio.create_task(self._render(form), name="render")
            task.add_done_callback(lambda done: self._remove(form, done))
        return await asyncio.shield(self._in_flight[form])

    async def unpack(self, page: PackedPage) -> AsyncIterator[bytes]:
        """Decompress a page, chunk by chunk."""
        decompressor = zlib.decompressobj(GZIP_WINDOW_BITS)
        for packed in page.packed:
            while packed:
                chunk = await self._in_thread(decompressor.decompress, packed, RENDER_CHUNK_BYTES)
                packed = decompressor.unconsumed_tail  # noqa: PLW2901 - input beyond the chunk
                if chunk:
                    yield chunk

    async def close(self) -> None:
        """Wait for pages in the making and end the thread."""
        if self._in_flight:
            await asyncio.wait(list(self._in_flight.values()))
        self._thread.shutdown()

    def _remove(self, form: ExpositionFormat, task: asyncio.Task[PackedPage]) -> None:
        del self._in_flight[form]
        if not task.cancelled():
            task.exception()  # all callers may have been cancelled

    async def _render(self, form: ExpositionFormat) -> PackedPage:
        async with self._lock:
            self.renders += 1
            packer, read_at = _GzipPacker(self._in_thread), asyncio.get_running_loop().time()
            with closing(self._source.samples(form)) as pieces:
                async for piece in cooperatively(pieces):
                    await packer.add(piece)
            await packer.add(await self._in_thread(self._source.process_metrics, form))
            return await packer.finish(read_at)

    async def _in_thread(self, work: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)


class _GzipPacker:
    """Gathers text into chunks, and compresses each in the thread while the next is being gathered."""

    def __init__(self, in_thread: Callable[..., Coroutine[Any, Any, bytes]]) -> None:
        self._in_thread = in_thread
        self._gzip = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, GZIP_WINDOW_BITS)
        self._compressing: asyncio.Task[bytes] | None = None
        self._packed: list[bytes] = []
        self._pieces: list[str] = []
        self._gathered = 0
        self._size = 0

    async def add(self, piece: str) -> None:
        self._pieces.append(piece)
        self._gathered += len(piece)
        if self._gathered >= RENDER_CHUNK_BYTES:
            await self._compress()

    async def finish(self, read_at: float) -> PackedPage:
        await self._compress()
        await self._collect()
        return PackedPage([chunk for chunk in (*self._packed, self._gzip.flush()) if chunk], self._size, read_at)

    async def _compress(self) -> None:
        chunk = "".join(self._pieces).encode()
        self._pieces, self._gathered, self._size = [], 0, self._size + len(chunk)
        await self._collect()
        self._compressing = asyncio.create_task(self._in_thread(self._gzip.compress, chunk))

    async def _collect(self) -> None:
        if self._compressing is not None:
            self._packed.append(await self._compressing)
            self._compressing = None
