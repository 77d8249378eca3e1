"""The figures as bytes, written off the event loop.

Rule 1: one thread, and one render in flight for each form: who asks meanwhile gets the same bytes. So a storm of
scrapes costs one render after the other and never a queue.
"""

import asyncio
import gzip
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics

from exporter.web.negotiate import Form

LEVEL: Final = 1
"""gzip level: the text is so repetitive that higher ones cost five times the time for a third of the bytes."""


class Renderer:
    """Renders a registry; `close` it."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="render")
        self._in_flight: dict[tuple[Form, bool], asyncio.Future[bytes]] = {}
        self.renders = 0

    async def page(self, form: Form, *, compressed: bool) -> bytes:
        """The figures in this form. A caller who is cancelled does not take the render from the others."""
        key = (form, compressed)
        if key not in self._in_flight:
            future = asyncio.get_running_loop().run_in_executor(self._thread, self._render, form, compressed)
            self._in_flight[key] = future
            future.add_done_callback(lambda _: self._in_flight.pop(key))
        return await asyncio.shield(self._in_flight[key])

    def _render(self, form: Form, compressed: bool) -> bytes:
        self.renders += 1
        if form is Form.OPENMETRICS:
            text: bytes = openmetrics.generate_latest(self._registry)  # type: ignore[no-untyped-call]
        else:
            text = generate_latest(self._registry)
        return gzip.compress(text, LEVEL, mtime=0) if compressed else text

    async def close(self) -> None:
        """Wait for what is in flight and end the thread."""
        if self._in_flight:
            await asyncio.wait(list(self._in_flight.values()))
        self._thread.shutdown()
