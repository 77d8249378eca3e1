"""Signals: the first SIGTERM or SIGINT asks for a clean end, the second one ends the process at once."""

import asyncio
import os
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def collect_early_hangups() -> list[int]:
    """Collects SIGHUPs from now on: before the daemon handles them, they would end the process."""
    hangups: list[int] = []
    signal.signal(signal.SIGHUP, lambda number, _: hangups.append(number))
    return hangups


async def cancelled_by_signal(work: Coroutine[Any, Any, T]) -> T:
    """The outcome of the work. A first SIGTERM or SIGINT cancels the work, so that its session closes cleanly."""
    stop, task = stop_requested(), asyncio.create_task(work)
    stop_task = asyncio.create_task(stop.wait())
    await asyncio.wait({stop_task, task}, return_when=asyncio.FIRST_COMPLETED)
    (task if stop.is_set() else stop_task).cancel()
    return await task


def stop_requested() -> asyncio.Event:
    """An event that the first SIGTERM or SIGINT from now on sets; a second one ends the process at once."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def on_signal(number: int) -> None:
        if stop.is_set():
            os._exit(128 + number)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    return stop
