"""Package `host`: steps of the wall clock, lag of the event loop, slices, garbage collection, resource limits."""

import asyncio
import gc
import itertools
import resource
import sys
import threading
import time
import weakref

import pytest
from support import virtual_clock

from exporter.host import (
    SLICE_SECONDS,
    TICK_SECONDS,
    Clock,
    ClockStepDetector,
    LoopLagMonitor,
    collect_garbage,
    cooperatively,
    disable_core_dumps,
    raise_descriptor_limit,
    run_in_thread,
)
from exporter.host.clocks import CLOCK_STEP_SECONDS
from exporter.host.garbage import FULL_COLLECTION_SECONDS, MAX_YOUNG_OBJECTS, YOUNG_COLLECTION_SECONDS
from exporter.host.loop_lag import LAG_REPORT_SECONDS, LAG_SHOWN_SECONDS


class Times:
    """A machine whose clocks a test sets."""

    def __init__(self):
        self.now = 1_000.0
        self.ahead = 1_800_000_000.0

    @property
    def clock(self):
        return Clock(monotonic=lambda: self.now, wall=lambda: self.now + self.ahead)


@pytest.mark.parametrize("step", [3600.0, -3600.0, CLOCK_STEP_SECONDS + 0.01, -CLOCK_STEP_SECONDS - 0.01])
def test_a_clock_step_is_detected_once(step):
    """A step forward or back is returned in seconds, and the next call returns 0."""
    times = Times()
    detector = ClockStepDetector(times.clock)
    times.now += 500
    assert detector.detect_step_seconds() == 0.0

    times.ahead += step

    assert detector.detect_step_seconds() == pytest.approx(step)
    assert detector.detect_step_seconds() == 0.0


def test_a_clock_step_back_is_a_second_step():
    """A step back that undoes one forward is detected as well."""
    times = Times()
    detector = ClockStepDetector(times.clock)
    detected = []
    for step in (90.0, -90.0):
        times.ahead += step
        detected.append(detector.detect_step_seconds())

    assert detected == [pytest.approx(90.0), pytest.approx(-90.0)]


@pytest.mark.parametrize("rate", [0.0005, -0.0005, 0.1, -0.1])
def test_a_clock_slew_is_no_step(rate):
    """A clock that is corrected slowly makes no step, however far it moves in the end."""
    times = Times()
    detector = ClockStepDetector(times.clock)
    detected = []
    for _ in range(1000):
        times.now += 0.5
        times.ahead += rate * 0.5
        detected.append(detector.detect_step_seconds())

    assert set(detected) == {0.0}


def test_a_process_stopped_between_two_clock_readings_sees_no_step():
    """The two clocks cannot be read at once: time that passes in between is a step of neither."""
    times = Times()
    pauses = itertools.chain([0, 0, 0, 0, 30.0], itertools.repeat(0))

    def wall():
        read = times.now + times.ahead
        times.now += next(pauses)
        return read

    detector = ClockStepDetector(Clock(monotonic=times.clock.monotonic, wall=wall))

    assert [detector.detect_step_seconds() for _ in range(8)] == [0.0] * 8
    assert times.now == 1_030.0, "the process was stopped"


def test_the_default_clocks_are_those_of_the_system():
    """Without arguments, a `Clock` reads the system's clocks, and the kernel's stamps fit them."""
    clock = Clock()

    assert (clock.monotonic, clock.wall, clock.kernel_stamps) == (time.monotonic, time.time, True)


def test_loop_lag_is_reported_for_a_minute():
    """A stall of half a second is reported for `LAG_SHOWN_SECONDS`, and no longer."""

    async def main(loop):
        reports = []
        task = asyncio.ensure_future(LoopLagMonitor(loop.time).run(lambda lag: reports.append((loop.time(), lag))))
        await asyncio.sleep(10)
        loop.call_later(LAG_REPORT_SECONDS / 2, loop.block, LAG_REPORT_SECONDS)
        await asyncio.sleep(2 * LAG_SHOWN_SECONDS)
        task.cancel()
        return reports

    reports = virtual_clock.run(main)

    seen = [at for at, lag in reports if lag > 0]
    assert max(lag for _, lag in reports) == pytest.approx(LAG_REPORT_SECONDS, abs=TICK_SECONDS)
    assert seen[-1] - seen[0] == pytest.approx(LAG_SHOWN_SECONDS, abs=2 * LAG_REPORT_SECONDS)
    assert reports[0][1] == reports[-1][1] == pytest.approx(0.0)
    assert len(reports) == pytest.approx((10 + 2 * LAG_SHOWN_SECONDS) / LAG_REPORT_SECONDS, abs=3)


def test_the_largest_loop_lag_is_reported():
    """A small stall after a large one does not hide the large one."""

    async def main(loop):
        reports = []
        task = asyncio.ensure_future(LoopLagMonitor(loop.time).run(reports.append))
        for seconds in (3.0, 0.7, 0.6):
            await asyncio.sleep(5)
            loop.block(seconds)
        await asyncio.sleep(5)
        task.cancel()
        return reports

    assert virtual_clock.run(main)[-1] == pytest.approx(2.5, abs=LAG_REPORT_SECONDS)


def test_max_lag_counts_stalls_since_a_moment():
    """`max_lag_seconds` looks back to a moment, and counts a stall that still lasts."""

    async def main(loop):
        monitor = LoopLagMonitor(loop.time)
        assert monitor.max_lag_seconds(0.0) == 0.0, "not started yet"
        task = asyncio.ensure_future(monitor.run(lambda _: None))
        await asyncio.sleep(1)
        loop.block(3.0)
        during = monitor.max_lag_seconds(loop.time() - 4)
        await asyncio.sleep(1)
        since, before = monitor.max_lag_seconds(loop.time()), monitor.max_lag_seconds(loop.time() - 2)
        task.cancel()
        return during, since, before

    during, since, before = virtual_clock.run(main)

    assert during == pytest.approx(3.0, abs=TICK_SECONDS)
    assert since == pytest.approx(0.0, abs=0.001)
    assert before == pytest.approx(3.0, abs=TICK_SECONDS)


def test_cooperatively_lets_other_tasks_run():
    """All items come in order; between slices other tasks run."""

    async def main():
        turns = 0

        async def others():
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        busy = asyncio.ensure_future(others())
        done = [item async for item in cooperatively(range(200_000))]
        busy.cancel()
        return done, turns

    done, turns = asyncio.run(main())

    assert done == list(range(200_000))
    assert turns > 10


def test_garbage_is_collected_while_no_session_is_in_flight():
    """The automatic collector is off; cycles are collected once the process is idle; at the end all is restored."""

    class Cycle:
        def __init__(self):
            self.me = self

    async def main(_):
        idle = False
        task = asyncio.ensure_future(collect_garbage(lambda: idle))
        await asyncio.sleep(0)
        enabled, lost = gc.isenabled(), weakref.ref(Cycle())
        await asyncio.sleep(5)
        kept = lost() is not None
        idle = True
        await asyncio.sleep(2)
        gone = lost() is None
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return enabled, kept, gone

    assert virtual_clock.run(main) == (False, True, True)
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0


def test_much_young_garbage_is_collected_while_sessions_are_in_flight():
    """The garbage of a flood is collected before a collection takes half a second."""

    class Cycle:
        def __init__(self):
            self.me = self

    async def main(_):
        task = asyncio.ensure_future(collect_garbage(lambda: False))
        await asyncio.sleep(0.05)
        lost = weakref.ref(Cycle())
        await asyncio.sleep(1)
        kept = lost() is not None
        for _ in range(MAX_YOUNG_OBJECTS):
            Cycle()
        await asyncio.sleep(1)
        gone = lost() is None
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return kept, gone

    assert virtual_clock.run(main) == (True, True)


def test_no_garbage_is_collected_while_the_process_is_crowded():
    """Even a full collection that is due waits until `is_crowded` is false."""

    class Cycle:
        def __init__(self):
            self.me = self

    async def main(_):
        crowded = True
        task = asyncio.ensure_future(collect_garbage(lambda: True, lambda: crowded))
        await asyncio.sleep(0)
        lost = weakref.ref(Cycle())
        await asyncio.sleep(2 * FULL_COLLECTION_SECONDS)
        kept = lost() is not None
        crowded = False
        await asyncio.sleep(2 * YOUNG_COLLECTION_SECONDS)
        task.cancel()
        return kept, lost() is None

    assert virtual_clock.run(main) == (True, True)


def test_the_descriptor_limit_is_raised_to_the_hard_limit():
    """The soft limit that a service manager sets is raised to the hard one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft // 2, hard))
    try:
        assert raise_descriptor_limit() == hard
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_run_in_thread_shortens_the_switch_interval_and_restores_it():
    """The work runs in a thread with a short switch interval; the usual interval returns even if the work raises."""
    usual = sys.getswitchinterval()

    where = await run_in_thread(lambda: (threading.current_thread(), sys.getswitchinterval()))
    with pytest.raises(ZeroDivisionError):
        await run_in_thread(lambda: 1 / 0)

    assert where[0] is not threading.current_thread()
    assert where[1] == pytest.approx(SLICE_SECONDS)
    assert sys.getswitchinterval() == usual


def test_a_sandbox_that_forbids_setrlimit_is_no_error(monkeypatch):
    """Systemd's `~@resources` answers EPERM; such a unit sets LimitCORE= itself."""

    def forbidden(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(resource, "setrlimit", forbidden)

    disable_core_dumps()
