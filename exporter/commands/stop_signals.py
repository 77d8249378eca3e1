"""Signals: SIGTERM and SIGINT ask for a clean end, a second one ends the process at once."""

import asyncio
import os
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def early_hangups() -> list[int]:
    """SIGHUPs from now on, which would end us before there is a daemon to take them."""
    early: list[int] = []
    signal.signal(signal.SIGHUP, lambda number, _: early.append(number))
    return early


async def cancelled_by_signal(work: Coroutine[Any, Any, T]) -> T:
    """The outcome of the work. SIGTERM and SIGINT cancel it, so that a session closes well; a second one kills."""
    asked, task = stop_requested(), asyncio.create_task(work)
    stop = asyncio.create_task(asked.wait())
    await asyncio.wait({stop, task}, return_when=asyncio.FIRST_COMPLETED)
    (task if asked.is_set() else stop).cancel()
    return await task


def stop_requested() -> asyncio.Event:
    """Set by the first SIGTERM or SIGINT from now on; a second one ends the process at once."""
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()

    def on_signal(number: int) -> None:
        if asked.is_set():
            os._exit(128 + number)
        asked.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    return asked
