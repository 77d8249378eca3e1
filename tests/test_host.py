"""Steps of the wall clock are told, slews and stopped processes are not; a late loop is seen by every scrape."""

import asyncio
import gc
import itertools
import resource
import sys
import threading
import time
import weakref

import pytest
import virtual_clock

from exporter import host
from exporter.host import (
    CLOCK_CHECK_SECONDS,
    CLOCK_STEP_SECONDS,
    FULL_COLLECTION_SECONDS,
    LAG_SHOWN_SECONDS,
    MAX_YOUNG_OBJECTS,
    SLICE_SECONDS,
    TICK_SECONDS,
    YOUNG_COLLECTION_SECONDS,
    Clock,
    ClockStepDetector,
    LoopLagMonitor,
    collect_garbage,
    cooperatively,
    descriptors,
    run_in_thread,
)


class Times:
    """A machine whose clocks a test sets."""

    def __init__(self):
        self.now = 1_000.0
        self.ahead = 1_800_000_000.0

    @property
    def clock(self):
        return Clock(monotonic=lambda: self.now, wall=lambda: self.now + self.ahead)


@pytest.mark.parametrize("step", [3600.0, -3600.0, CLOCK_STEP_SECONDS + 0.01, -CLOCK_STEP_SECONDS - 0.01])
def test_a_step_is_told_once(step):
    """Forward and back, by how much, and not again at the next look."""
    times = Times()
    watch = ClockStepDetector(times.clock)
    times.now += 500
    assert watch.step() == 0.0

    times.ahead += step

    assert watch.step() == pytest.approx(step)
    assert watch.step() == 0.0


def test_two_steps_are_two():
    """A step back that undoes one forward is told as well."""
    times = Times()
    watch = ClockStepDetector(times.clock)
    told = []
    for step in (90.0, -90.0):
        times.ahead += step
        told.append(watch.step())

    assert told == [pytest.approx(90.0), pytest.approx(-90.0)]


@pytest.mark.parametrize("rate", [0.0005, -0.0005, 0.1, -0.1])
def test_a_slew_is_followed_and_not_told(rate):
    """A clock that is put right slowly makes no step, however far it goes in the end."""
    times = Times()
    watch = ClockStepDetector(times.clock)
    told = []
    for _ in range(1000):
        times.now += CLOCK_CHECK_SECONDS
        times.ahead += rate * CLOCK_CHECK_SECONDS
        told.append(watch.step())

    assert set(told) == {0.0}


def test_a_process_stopped_between_two_readings_sees_no_step():
    """The two clocks cannot be read at once: what passes in between is no step of either."""
    times = Times()
    pauses = itertools.chain([0, 0, 0, 0, 30.0], itertools.repeat(0))

    def wall():
        read = times.now + times.ahead
        times.now += next(pauses)
        return read

    watch = ClockStepDetector(Clock(monotonic=times.clock.monotonic, wall=wall))

    assert [watch.step() for _ in range(8)] == [0.0] * 8
    assert times.now == 1_030.0, "the process was stopped"


def test_the_machine_has_its_clocks():
    """Unless a test brings others, they are those of the system, and stamps of the kernel fit them."""
    clock = Clock()

    assert (clock.monotonic, clock.wall, clock.kernel_stamps) == (time.monotonic, time.time, True)


def test_a_late_loop_is_shown_for_a_minute():
    """A spike of half a second stays to be seen by a scrape every `LAG_SHOWN_SECONDS` seconds, and then is gone."""

    async def main(loop):
        told = []
        watch = asyncio.ensure_future(LoopLagMonitor(loop.time).run(lambda lag: told.append((loop.time(), lag))))
        await asyncio.sleep(10)
        loop.call_later(CLOCK_CHECK_SECONDS / 2, loop.block, CLOCK_CHECK_SECONDS)
        await asyncio.sleep(2 * LAG_SHOWN_SECONDS)
        watch.cancel()
        return told

    told = virtual_clock.run(main)

    seen = [at for at, lag in told if lag > 0]
    assert max(lag for _, lag in told) == pytest.approx(CLOCK_CHECK_SECONDS, abs=TICK_SECONDS)
    assert seen[-1] - seen[0] == pytest.approx(LAG_SHOWN_SECONDS, abs=2 * CLOCK_CHECK_SECONDS)
    assert told[0][1] == told[-1][1] == pytest.approx(0.0)
    assert len(told) == pytest.approx((10 + 2 * LAG_SHOWN_SECONDS) / CLOCK_CHECK_SECONDS, abs=3)


def test_the_worst_of_several_is_shown():
    """A small delay after a large one does not hide it."""

    async def main(loop):
        told = []
        watch = asyncio.ensure_future(LoopLagMonitor(loop.time).run(told.append))
        for seconds in (3.0, 0.7, 0.6):
            await asyncio.sleep(5)
            loop.block(seconds)
        await asyncio.sleep(5)
        watch.cancel()
        return told

    assert virtual_clock.run(main)[-1] == pytest.approx(2.5, abs=CLOCK_CHECK_SECONDS)


def test_a_session_is_told_of_holds_since_it_began_and_of_none_before():
    """`worst` looks back to a moment, and sees a hold that is still going on."""

    async def main(loop):
        watch = LoopLagMonitor(loop.time)
        assert watch.worst(0.0) == 0.0, "not started yet"
        task = asyncio.ensure_future(watch.run(lambda _: None))
        await asyncio.sleep(1)
        loop.block(3.0)
        during = watch.worst(loop.time() - 4)
        await asyncio.sleep(1)
        since, before = watch.worst(loop.time()), watch.worst(loop.time() - 2)
        task.cancel()
        return during, since, before

    during, since, before = virtual_clock.run(main)

    assert during == pytest.approx(3.0, abs=TICK_SECONDS)
    assert since == pytest.approx(0.0, abs=0.001)
    assert before == pytest.approx(3.0, abs=TICK_SECONDS)


def test_long_work_in_slices_lets_others_have_their_turns():
    """Items come in order and all; between slices the loop turns."""

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


def test_garbage_is_collected_between_sessions_and_all_is_as_before_at_the_end():
    """While it runs the collector has no say of its own; cycles go when nothing is in flight."""

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


def test_much_garbage_is_collected_while_sessions_are_in_flight():
    """What a flood leaves must not lie there until it takes half a second to collect."""

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


def test_garbage_is_not_looked_for_while_much_is_in_the_making():
    """Not even the collection that comes at last all the same; it is made up for later."""

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


def test_all_descriptors_that_are_permitted_are_asked_for():
    """The soft limit of a service manager is no limit of ours."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft // 2, hard))
    try:
        assert descriptors() == hard
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_work_aside_gives_way_to_the_loop_and_leaves_python_as_it_was():
    """In a thread, with a short turn of Python's lock; the usual one after it, even if the work breaks."""
    usual = sys.getswitchinterval()

    where = await run_in_thread(lambda: (threading.current_thread(), sys.getswitchinterval()))
    with pytest.raises(ZeroDivisionError):
        await run_in_thread(lambda: 1 / 0)

    assert where[0] is not threading.current_thread()
    assert where[1] == pytest.approx(SLICE_SECONDS)
    assert sys.getswitchinterval() == usual


def test_a_sandbox_that_forbids_to_ask_for_limits_is_no_end(monkeypatch):
    """Systemd's `~@resources` answers EPERM: such a unit has LimitCORE itself."""

    def forbidden(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(host.resource, "setrlimit", forbidden)

    host.no_core_dumps()
