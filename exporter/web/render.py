"""The figures as bytes, written in slices between the sessions' turns.

Rule 1: a slice holds the event loop for half a millisecond (`host.SLICE_SECONDS`), and no figure changes from one slice
to the next (`Metrics.samples`). Rule 2: what does not need the loop is done in a thread: compression, /proc.
Rule 3: one page at a time, and who asks for the same form meanwhile gets the same bytes. So a storm of scrapes costs
one page after the other and never a queue. Rule 4: a page is kept packed, for it is twenty times as long when it is
not: who takes no gzip gets it unpacked piece by piece. To free 25 MB in one go would hold the loop for milliseconds.
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
"""Bytes of text that are packed, or unpacked, in one go."""

GZIP_LEVEL: Final = 1
"""zlib's level: the text is so repetitive that higher ones cost twice the time for a tenth of the bytes."""

GZIP_WINDOW_BITS: Final = 31
"""zlib's window bits that make it write the gzip format."""

T = TypeVar("T")


class MetricSource(Protocol):
    """What there is to tell; see `metrics.Metrics`."""

    def samples(self, form: ExpositionFormat) -> Generator[str]:
        """The series of one moment, in pieces; to be closed."""

    def process_metrics(self, form: ExpositionFormat) -> str:
        """The end of the page; takes a moment, called in a thread."""


@dataclass(frozen=True, slots=True)
class PackedPage:
    """A page in the gzip format, in chunks; `size`: bytes when it is unpacked. `since`: of the loop's clock."""

    packed: Sequence[bytes]
    size: int
    since: float

    @property
    def packed_size(self) -> int:
        """Bytes as they are."""
        return sum(map(len, self.packed))


class PageRenderer:
    """Renders pages; `close` it."""

    def __init__(self, source: MetricSource) -> None:
        self._source = source
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="render")
        self._in_flight: dict[ExpositionFormat, asyncio.Task[PackedPage]] = {}
        self._alone = asyncio.Lock()
        self.renders = 0

    async def page(self, form: ExpositionFormat) -> PackedPage:
        """The figures in this form. A caller who is cancelled does not take the page from the others."""
        if form not in self._in_flight:
            task = self._in_flight[form] = asyncio.create_task(self._rendered(form), name="render")
            task.add_done_callback(lambda done: self._done(form, done))
        return await asyncio.shield(self._in_flight[form])

    async def unpacked(self, page: PackedPage) -> AsyncIterator[bytes]:
        """The bytes of a page, a chunk at a time."""
        unpacker = zlib.decompressobj(GZIP_WINDOW_BITS)
        for packed in page.packed:
            while packed:
                chunk = await self._in_thread(unpacker.decompress, packed, RENDER_CHUNK_BYTES)
                packed = unpacker.unconsumed_tail  # noqa: PLW2901 - what did not fit into the chunk
                if chunk:
                    yield chunk

    async def close(self) -> None:
        """Wait for what is in flight and end the thread."""
        if self._in_flight:
            await asyncio.wait(list(self._in_flight.values()))
        self._thread.shutdown()

    def _done(self, form: ExpositionFormat, task: asyncio.Task[PackedPage]) -> None:
        del self._in_flight[form]
        if not task.cancelled():
            task.exception()  # whoever asked may be gone

    async def _rendered(self, form: ExpositionFormat) -> PackedPage:
        async with self._alone:
            self.renders += 1
            packer, since = _GzipPacker(self._in_thread), asyncio.get_running_loop().time()
            with closing(self._source.samples(form)) as pieces:
                async for piece in cooperatively(pieces):
                    await packer.add(piece)
            await packer.add(await self._in_thread(self._source.process_metrics, form))
            return await packer.finished(since)

    async def _in_thread(self, work: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)


class _GzipPacker:
    """Text that is gathered into chunks, each packed in the thread while the next is being written."""

    def __init__(self, in_thread: Callable[..., Coroutine[Any, Any, bytes]]) -> None:
        self._in_thread = in_thread
        self._gzip = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, GZIP_WINDOW_BITS)
        self._packing: asyncio.Task[bytes] | None = None
        self._packed: list[bytes] = []
        self._pieces: list[str] = []
        self._waiting = 0
        self._size = 0

    async def add(self, piece: str) -> None:
        self._pieces.append(piece)
        self._waiting += len(piece)
        if self._waiting >= RENDER_CHUNK_BYTES:
            await self._pack()

    async def finished(self, since: float) -> PackedPage:
        await self._pack()
        await self._take()
        return PackedPage([chunk for chunk in (*self._packed, self._gzip.flush()) if chunk], self._size, since)

    async def _pack(self) -> None:
        chunk = "".join(self._pieces).encode()
        self._pieces, self._waiting, self._size = [], 0, self._size + len(chunk)
        await self._take()
        self._packing = asyncio.create_task(self._in_thread(self._gzip.compress, chunk))

    async def _take(self) -> None:
        if self._packing is not None:
            self._packed.append(await self._packing)
            self._packing = None
