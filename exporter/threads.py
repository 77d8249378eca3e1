"""Threads for work that may never end, such as reading from a disk that does not answer.

Rule 1: nothing waits for these threads when the process ends. Python joins the threads of a `ThreadPoolExecutor` at
exit, so that one stuck read would keep a stopped exporter alive until somebody kills it.
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

WorkItem = tuple["Future[Any]", Callable[[], Any]]


class DaemonThread(Executor):
    """One thread that runs submitted work in order. After `shutdown` it finishes what was submitted, and ends."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._queue: queue.SimpleQueue[WorkItem | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._is_shut_down = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        """Queue `fn(*args, **kwargs)` and return its future. Raises RuntimeError after `shutdown`."""
        if self._is_shut_down:
            raise RuntimeError(f"the thread {self._name} takes no more work")
        future: Future[T] = Future()
        self._queue.put((future, partial(fn, *args, **kwargs)))
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        return future

    def shutdown(self, wait: bool = False, *, cancel_futures: bool = False) -> None:  # noqa: ARG002
        """Accept no more work; never waits for work in progress."""
        self._is_shut_down = True
        self._queue.put(None)

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            _execute(*item)
            del item  # else the work and its result would live until the next item


def _execute(future: "Future[T]", work: Callable[[], T]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(work())
    except BaseException as error:  # noqa: BLE001 - the caller gets it from the future
        future.set_exception(error)


def run_with_timeout(work: Callable[[], T], seconds: float, *, name: str = "with-timeout") -> T:
    """Run `work` in a thread of its own; raises TimeoutError after `seconds`, and abandons the thread."""
    thread = DaemonThread(name)
    future = thread.submit(work)
    thread.shutdown()
    return future.result(seconds)


async def run_in_daemon_thread(work: Callable[[], T], *, name: str = "daemon-thread") -> T:
    """Run `work` in a thread of its own, as `asyncio.to_thread` does; a cancelled caller abandons the thread."""
    thread = DaemonThread(name)
    context = contextvars.copy_context()
    future = asyncio.get_running_loop().run_in_executor(thread, context.run, work)
    thread.shutdown()
    return await future
