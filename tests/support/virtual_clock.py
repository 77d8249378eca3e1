"""An event loop whose clock jumps: an hour of schedule in seconds, over real sockets.

When nothing is ready and a timer is pending, the clock is set to the timer instead of waiting for it. Both ends of
every connection must live in this loop: what one side has sent on loopback is ready for the other before the next
look, so no byte is ever overtaken by a timer.
"""

import asyncio
import contextlib
import datetime as dt
import selectors

import apscheduler.schedulers.base

from exporter.host import Clock

EPOCH = 1_800_000_000.0
IDLE = 0.05  # seconds of real waiting when no timer is pending: a thread is at work


class _JumpingSelector(selectors.DefaultSelector):
    def __init__(self):
        super().__init__()
        self.now = 0.0
        self.threads = 0

    def select(self, timeout=None):
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None or self.threads:
            return super().select(IDLE)
        ready = super().select(0)
        if not ready:
            self.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """`time()` is virtual; `step(seconds)` moves the wall clock against it, `block(seconds)` lets nothing run so long.

    It stands still while a thread of an executor is at work.
    """

    def __init__(self):
        self._jumping = _JumpingSelector()
        self._stepped = 0.0
        super().__init__(self._jumping)

    def time(self):
        return self._jumping.now

    def wall(self):
        return EPOCH + self._jumping.now + self._stepped

    def step(self, seconds):
        self._stepped += seconds

    def block(self, seconds):
        self._jumping.now += seconds

    def run_in_executor(self, executor, func, *args):
        self._jumping.threads += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self._thread_is_back)
        return future

    def _thread_is_back(self, _):
        self._jumping.threads -= 1

    @property
    def clock(self):
        return Clock(monotonic=self.time, wall=self.wall, kernel_stamps=False)


@contextlib.contextmanager
def _apscheduler_reads(loop):
    """APScheduler reads the machine's clock; here it reads the loop's."""

    class Datetime(dt.datetime):
        @classmethod
        def now(cls, tz=None):
            return dt.datetime.fromtimestamp(loop.wall(), tz)

    before = apscheduler.schedulers.base.datetime
    apscheduler.schedulers.base.datetime = Datetime
    try:
        yield
    finally:
        apscheduler.schedulers.base.datetime = before


def run(main):
    """Run `await main(loop)` to its end under a jumping clock; its result."""
    loop = VirtualLoop()
    with _apscheduler_reads(loop), asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(main(loop))
