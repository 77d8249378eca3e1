"""The figures as bytes, written in slices between the sessions' turns.

Rule 1: a slice holds the event loop for half a millisecond (`host.SLICE`), and no figure changes from one slice to the
next (`Metrics.figures`). Rule 2: what does not need the loop is done in a thread: compression, /proc.
Rule 3: one page at a time, and who asks for the same form meanwhile gets the same bytes. So a storm of scrapes costs
one page after the other and never a queue.
"""

import asyncio
import zlib
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Final, Protocol

from exporter.host import in_slices
from exporter.metrics import Form

CHUNK: Final = 256 * 1024
"""Characters that are encoded, compressed and sent in one go."""

LEVEL: Final = 1
"""zlib's level: the text is so repetitive that higher ones cost twice the time for a tenth of the bytes."""

GZIP: Final = 31
"""zlib's window bits that make it write the gzip format."""


class Figures(Protocol):
    """What there is to tell; see `metrics.Metrics`."""

    def figures(self, form: Form) -> Generator[str]:
        """The series of one moment, in pieces; to be closed."""

    def machine(self, form: Form) -> str:
        """The end of the page; takes a moment, called in a thread."""


class Renderer:
    """Renders pages; `close` it."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="render")
        self._in_flight: dict[tuple[Form, bool], asyncio.Task[Sequence[bytes]]] = {}
        self._alone = asyncio.Lock()
        self.renders = 0

    async def page(self, form: Form, *, compressed: bool) -> Sequence[bytes]:
        """The figures in this form, in chunks. A caller who is cancelled does not take the page from the others."""
        key = (form, compressed)
        if key not in self._in_flight:
            task = self._in_flight[key] = asyncio.create_task(self._rendered(form, compressed), name="render")
            task.add_done_callback(lambda done: self._done(key, done))
        return await asyncio.shield(self._in_flight[key])

    def _done(self, key: tuple[Form, bool], task: asyncio.Task[Sequence[bytes]]) -> None:
        del self._in_flight[key]
        if not task.cancelled():
            task.exception()  # whoever asked may be gone

    async def _rendered(self, form: Form, compressed: bool) -> Sequence[bytes]:
        async with self._alone:
            self.renders += 1
            page = _Page(_Gzip(self._thread) if compressed else _Plain())
            with closing(self._figures.figures(form)) as pieces:
                async for piece in in_slices(pieces):
                    await page.write(piece)
            machine = self._figures.machine
            await page.write(await asyncio.get_running_loop().run_in_executor(self._thread, machine, form))
            return await page.finished()

    async def close(self) -> None:
        """Wait for what is in flight and end the thread."""
        if self._in_flight:
            await asyncio.wait(list(self._in_flight.values()))
        self._thread.shutdown()


class _Page:
    """Text that is gathered into chunks."""

    def __init__(self, chunks: "_Plain | _Gzip") -> None:
        self._chunks = chunks
        self._pieces: list[str] = []
        self._size = 0

    async def write(self, piece: str) -> None:
        self._pieces.append(piece)
        self._size += len(piece)
        if self._size >= CHUNK:
            await self._flush()

    async def finished(self) -> Sequence[bytes]:
        await self._flush()
        return await self._chunks.finished()

    async def _flush(self) -> None:
        text, self._pieces, self._size = "".join(self._pieces), [], 0
        await self._chunks.add(text.encode())


class _Plain:
    """Chunks as they are."""

    def __init__(self) -> None:
        self._done: list[bytes] = []

    async def add(self, chunk: bytes) -> None:
        self._done.append(chunk)

    async def finished(self) -> Sequence[bytes]:
        return self._done


class _Gzip:
    """Chunks that a thread compresses, one while the next is being written."""

    def __init__(self, thread: ThreadPoolExecutor) -> None:
        self._thread = thread
        self._packer = zlib.compressobj(LEVEL, zlib.DEFLATED, GZIP)
        self._packing: asyncio.Future[bytes] | None = None
        self._done: list[bytes] = []

    async def add(self, chunk: bytes) -> None:
        await self._packed()
        self._packing = asyncio.get_running_loop().run_in_executor(self._thread, self._packer.compress, chunk)

    async def finished(self) -> Sequence[bytes]:
        await self._packed()
        return [chunk for chunk in (*self._done, self._packer.flush()) if chunk]

    async def _packed(self) -> None:
        if self._packing is not None:
            self._done.append(await self._packing)
            self._packing = None
