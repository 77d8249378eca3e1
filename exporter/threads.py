"""Threads for work that may never end, on a disk that does not answer.

Rule 1: nothing waits for them when the process ends. Python joins the threads of a `ThreadPoolExecutor` at exit, so one
stuck read would keep a stopped exporter alive until somebody kills it.
"""

import asyncio
import contextvars
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

Piece = tuple["Future[Any]", Callable[[], Any]]


class DaemonThread(Executor):
    """One thread that does one piece of work after another. `shutdown` lets it end after what it was given."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._pieces: queue.SimpleQueue[Piece | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._shut = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        """Have `fn(*args, **kwargs)` done; its outcome. Raises RuntimeError after `shutdown`: nothing would do it."""
        if self._shut:
            raise RuntimeError(f"the thread {self._name} takes no more work")
        future: Future[T] = Future()
        self._pieces.put((future, partial(fn, *args, **kwargs)))
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        return future

    def shutdown(self, wait: bool = False, *, cancel_futures: bool = False) -> None:  # noqa: ARG002
        """Take no more work; never waits for what is under way."""
        self._shut = True
        self._pieces.put(None)

    def _run(self) -> None:
        while (piece := self._pieces.get()) is not None:
            _do(*piece)
            del piece  # what it holds is not kept until the next one comes


def _do(future: "Future[T]", work: Callable[[], T]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(work())
    except BaseException as error:  # noqa: BLE001 - it is the caller's
        future.set_exception(error)


def in_time(work: Callable[[], T], seconds: float, *, name: str = "in-time") -> T:
    """Do work in a thread of its own and wait for it so long; raises TimeoutError, and leaves it to itself."""
    thread = DaemonThread(name)
    future = thread.submit(work)
    thread.shutdown()
    return future.result(seconds)


async def apart(work: Callable[[], T], *, name: str = "apart") -> T:
    """Do work in a thread of its own, as `asyncio.to_thread`; who is cancelled meanwhile leaves it to itself."""
    thread = DaemonThread(name)
    context = contextvars.copy_context()
    future = asyncio.get_running_loop().run_in_executor(thread, context.run, work)
    thread.shutdown()
    return await future
