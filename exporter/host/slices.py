"""Long work that does not block the event loop: in short slices, or in a thread."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Final, TypeVar

from exporter.threads import run_in_daemon_thread

T = TypeVar("T")

SLICE_SECONDS: Final = 0.0005
"""Seconds of work between two iterations of the event loop."""


async def cooperatively(items: Iterable[T]) -> AsyncIterator[T]:
    """Yield the items, and let other tasks run after every `SLICE_SECONDS`."""
    now = asyncio.get_running_loop().time
    end = now() + SLICE_SECONDS
    for item in items:
        yield item
        if now() >= end:
            await asyncio.sleep(0)
            end = now() + SLICE_SECONDS


async def run_in_thread(work: Callable[[], T]) -> T:
    """Run `work` in a thread that yields Python's lock to the event loop after `SLICE_SECONDS`, not after 5 ms."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(SLICE_SECONDS)
    try:
        return await run_in_daemon_thread(work)
    finally:
        sys.setswitchinterval(usual)
