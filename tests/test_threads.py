"""Package `threads`: work that may never end, and a process that ends all the same."""

import asyncio
import contextvars
import subprocess
import sys
import threading

import pytest

from exporter.threads import DaemonThread, apart, in_time

SEEN = contextvars.ContextVar("SEEN", default="nothing")


def test_one_thread_does_one_piece_after_another_and_hands_on_what_went_wrong():
    """In the order of asking; a piece that was cancelled before its turn is left out."""
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


def test_a_thread_that_was_shut_refuses_work():
    """It does what it was given, and what comes later is not waited for in vain."""
    thread = DaemonThread("worker")
    last = thread.submit(lambda: 7)
    thread.shutdown()

    assert last.result() == 7
    with pytest.raises(RuntimeError, match="the thread worker takes no more work"):
        thread.submit(list)


async def test_work_apart_has_its_callers_context_and_hands_on_what_went_wrong():
    """As `asyncio.to_thread`."""
    SEEN.set("the caller's")

    assert await apart(SEEN.get) == "the caller's"
    assert await apart(threading.current_thread) is not threading.current_thread()
    with pytest.raises(ZeroDivisionError):
        await apart(lambda: 1 / 0)


async def test_who_is_cancelled_leaves_the_work_to_itself():
    """It goes on, and its outcome is nobody's."""
    begun, back = threading.Event(), threading.Event()

    def stuck():
        begun.set()
        back.wait()

    waiting = asyncio.create_task(apart(stuck))
    await asyncio.to_thread(begun.wait)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    back.set()


ENDLESS = """
import asyncio, threading
from exporter.threads import DaemonThread, apart, in_time

async def main():
    try:
        await asyncio.wait_for(apart(threading.Event().wait), 0.1)
    except TimeoutError:
        print("late")

DaemonThread("stuck").submit(threading.Event().wait)
try:
    in_time(threading.Event().wait, 0.1)
except TimeoutError:
    print("late")
asyncio.run(main())
print("over")
"""


def test_a_process_ends_although_a_thread_never_does():
    """Three of them wait for ever: the interpreter joins none."""
    done = subprocess.run([sys.executable, "-c", ENDLESS], capture_output=True, text=True, timeout=60, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (0, "late\nlate\nover\n", "")


def test_what_is_in_time_is_handed_on():
    """A value, or what went wrong."""
    assert in_time(lambda: 7, 60.0) == 7
    with pytest.raises(ZeroDivisionError):
        in_time(lambda: 1 / 0, 60.0)
