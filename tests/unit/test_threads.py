"""Package `threads`: work that may never end does not keep the process alive."""

import asyncio
import contextvars
import subprocess
import sys
import threading

import pytest

from exporter.threads import DaemonThread, run_in_daemon_thread, run_with_timeout

SEEN = contextvars.ContextVar("SEEN", default="nothing")


def test_a_daemon_thread_runs_work_in_order_and_passes_errors_on():
    """Work runs in the order of submission; work that is cancelled before it starts never runs."""
    thread, gate, done = DaemonThread("worker"), threading.Event(), []
    first = thread.submit(gate.wait)
    broken, dropped, last = (thread.submit(work) for work in (lambda: 1 / 0, lambda: done.append("dropped"), list))
    dropped.cancel()
    names = thread.submit(lambda: threading.current_thread().name)
    gate.set()

    assert first.result() is True
    assert isinstance(broken.exception(), ZeroDivisionError)
    assert last.result() == []
    assert names.result() == "worker"
    assert done == []


def test_submit_after_shutdown_raises():
    """After `shutdown` the thread finishes its queue and refuses more work."""
    thread = DaemonThread("worker")
    last = thread.submit(lambda: 7)
    thread.shutdown()

    assert last.result() == 7
    with pytest.raises(RuntimeError, match="the thread worker takes no more work"):
        thread.submit(list)


async def test_run_in_daemon_thread_keeps_the_context_and_passes_errors_on():
    """The work sees the caller's context variables, and its error reaches the caller, as with `asyncio.to_thread`."""
    SEEN.set("the caller's")

    assert await run_in_daemon_thread(SEEN.get) == "the caller's"
    assert await run_in_daemon_thread(threading.current_thread) is not threading.current_thread()
    with pytest.raises(ZeroDivisionError):
        await run_in_daemon_thread(lambda: 1 / 0)


async def test_a_cancelled_caller_abandons_the_thread():
    """The caller is cancelled at once, although the work still runs."""
    started, release = threading.Event(), threading.Event()

    def stuck():
        started.set()
        release.wait()

    caller = asyncio.create_task(run_in_daemon_thread(stuck))
    await asyncio.to_thread(started.wait)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    release.set()


ENDLESS = """
import asyncio, threading
from exporter.threads import DaemonThread, run_in_daemon_thread, run_with_timeout

async def main():
    try:
        await asyncio.wait_for(run_in_daemon_thread(threading.Event().wait), 0.1)
    except TimeoutError:
        print("late")

DaemonThread("stuck").submit(threading.Event().wait)
try:
    run_with_timeout(threading.Event().wait, 0.1)
except TimeoutError:
    print("late")
asyncio.run(main())
print("over")
"""


def test_a_process_exits_although_threads_never_end():
    """Three threads wait for ever, and the interpreter joins none of them."""
    process = subprocess.run([sys.executable, "-c", ENDLESS], capture_output=True, text=True, timeout=60, check=False)

    assert (process.returncode, process.stdout, process.stderr) == (0, "late\nlate\nover\n", "")


def test_run_with_timeout_returns_the_result_or_raises_the_error():
    """Work that ends in time returns its value, or raises its own error."""
    assert run_with_timeout(lambda: 7, 60.0) == 7
    with pytest.raises(ZeroDivisionError):
        run_with_timeout(lambda: 1 / 0, 60.0)
