"""Steps of the wall clock are told, slews and stopped processes are not; a late loop is seen by every scrape."""

import asyncio
import itertools
import time

import pytest
import virtual

from exporter.host import LOOK, SHOWN, STEP, Clock, StepWatch, watch_loop


class Times:
    """A machine whose clocks a test sets."""

    def __init__(self):
        self.now = 1_000.0
        self.ahead = 1_800_000_000.0

    @property
    def clock(self):
        return Clock(monotonic=lambda: self.now, wall=lambda: self.now + self.ahead)


@pytest.mark.parametrize("step", [3600.0, -3600.0, STEP + 0.01, -STEP - 0.01])
def test_a_step_is_told_once(step):
    """Forward and back, by how much, and not again at the next look."""
    times = Times()
    watch = StepWatch(times.clock)
    times.now += 500
    assert watch.step() == 0.0

    times.ahead += step

    assert watch.step() == pytest.approx(step)
    assert watch.step() == 0.0


def test_two_steps_are_two():
    """A step back that undoes one forward is told as well."""
    times = Times()
    watch = StepWatch(times.clock)
    told = []
    for step in (90.0, -90.0):
        times.ahead += step
        told.append(watch.step())

    assert told == [pytest.approx(90.0), pytest.approx(-90.0)]


@pytest.mark.parametrize("rate", [0.0005, -0.0005, 0.1, -0.1])
def test_a_slew_is_followed_and_not_told(rate):
    """A clock that is put right slowly makes no step, however far it goes in the end."""
    times = Times()
    watch = StepWatch(times.clock)
    told = []
    for _ in range(1000):
        times.now += LOOK
        times.ahead += rate * LOOK
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

    watch = StepWatch(Clock(monotonic=times.clock.monotonic, wall=wall))

    assert [watch.step() for _ in range(8)] == [0.0] * 8
    assert times.now == 1_030.0, "the process was stopped"


def test_the_machine_has_its_clocks():
    """Unless a test brings others, they are those of the system, and stamps of the kernel fit them."""
    clock = Clock()

    assert (clock.monotonic, clock.wall, clock.kernel_stamps) == (time.monotonic, time.time, True)


def test_a_late_loop_is_shown_for_a_minute():
    """A spike of half a second stays to be seen by a scrape every `SHOWN` seconds, and then is gone."""

    async def main(loop):
        told = []
        watch = asyncio.ensure_future(watch_loop(lambda lag: told.append((loop.time(), lag))))
        await asyncio.sleep(10)
        loop.call_later(LOOK / 2, loop.block, LOOK)
        await asyncio.sleep(2 * SHOWN)
        watch.cancel()
        return told

    told = virtual.run(main)

    seen = [at for at, lag in told if lag > 0]
    assert max(lag for _, lag in told) == pytest.approx(LOOK / 2, abs=0.001)
    assert seen[-1] - seen[0] == pytest.approx(SHOWN - LOOK, abs=0.001)
    assert told[0][1] == told[-1][1] == pytest.approx(0.0)
    assert len(told) == pytest.approx((10 + 2 * SHOWN) / LOOK, abs=3)


def test_the_worst_of_several_is_shown():
    """A small delay after a large one does not hide it."""

    async def main(loop):
        told = []
        watch = asyncio.ensure_future(watch_loop(told.append))
        for seconds in (3.0, 0.7, 0.6):
            await asyncio.sleep(5)
            loop.block(seconds)
        await asyncio.sleep(5)
        watch.cancel()
        return told

    assert virtual.run(main)[-1] == pytest.approx(2.5, abs=LOOK)
