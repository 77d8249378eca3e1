"""Jobs come, go and change while cycles run: nothing that is due is lost, nobody is told of who is gone.

On a clock that jumps; sessions only last and end, no socket matters here.
"""

import asyncio
import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import harness, virtual_clock
from support.schedules import Nowhere, dues, instant, mapping

from exporter.result import Probe, SkipCause, Trigger, Verdict
from exporter.scheduler import FINISH_GRACE_SECONDS, STOP_GRACE_SECONDS, Scheduler

FAR = 10_000.0


def job(name="staging", **changes):
    users = {f"{name}-{n}": f"{name}-user-{n}" for n in range(3)}
    return harness.planned(mapping(Nowhere, **{"name": name, "identities": users, **changes})).jobs[0]


class Stage(harness.Recorder):
    """A scheduler, what it tells and when it went over to which job; sessions are played by `play(turn)`."""

    def __init__(self, loop, *jobs, play=instant):
        super().__init__()
        self._loop, self._play = loop, play
        self.begun, self.over, self.told_due = [], [], {}
        self.open, self.peak = 0, 0
        self.scheduler = Scheduler(jobs, self._run, self, loop.clock)

    async def _run(self, turn):
        self.begun.append((self._loop.wall(), turn))
        self.open += 1
        try:
            return await self._play(turn)
        finally:
            self.open -= 1

    def job_changed(self, job):
        super().job_changed(job)
        self.over.append((self._loop.wall(), job))

    def set_next_due(self, target, probe, at):
        self.told_due[target, probe] = at

    def ended(self, name):
        """How many of its cycles have ended, in whatever way."""
        impaired = [one for one in self.results if one.impairment and one.trigger is Trigger.SCHEDULE]
        return Counter(one.target for one in (*self.cycles, *self.skips, *impaired))[name]


def lasting(seconds):
    async def play(turn):
        return await instant(turn, lasts=seconds)

    return play


def run(script, *jobs, play=instant):
    """What a stage has seen after `await script(loop, stage)`; stopped at the end."""

    async def main(loop):
        stage = Stage(loop, *jobs, play=play)
        stage.scheduler.start()
        await script(loop, stage)
        await stage.scheduler.stop()
        return stage

    return virtual_clock.run(main)


async def at(loop, seconds):
    """Wait until so many seconds after the epoch."""
    await asyncio.sleep(seconds - loop.time())


def first_due(name="staging", interval=20.0):
    """Seconds after the epoch at which the first cycle is due."""
    return dues(name, interval, virtual_clock.EPOCH, virtual_clock.EPOCH + FAR)[0] - virtual_clock.EPOCH


# Coming and going -----------------------------------------------------------------------------------------------------


def test_a_new_target_waits_for_its_beginning():
    """It has a time at which it is expected, and no cycle before it begins."""
    came = job("came")

    async def script(loop, stage):
        await at(loop, 50)
        stage.scheduler.add(came, loop.wall() + 15)
        stage.expected = stage.told_due["came", Probe.CONNECT]
        await at(loop, 103)
        stage.scheduler.begin("came")
        stage.scheduler.begin("came")
        await at(loop, 203)

    stage = run(script, job())

    begun = [moment for moment, turn in stage.begun if turn.job.name == "came"]
    wanted = dues("came", 20.0, virtual_clock.EPOCH + 103, virtual_clock.EPOCH + 203)
    assert begun == pytest.approx(wanted, abs=0.001)
    assert len(begun) == 5
    assert stage.expected == dues("came", 20.0, virtual_clock.EPOCH + 65, virtual_clock.EPOCH + FAR)[0]


def test_a_target_that_is_gone_has_no_more_cycles_and_disturbs_nobody():
    """The neighbour's cycles begin when they would have begun."""
    gone, stays = job("gone"), job("stays")

    async def script(loop, stage):
        await at(loop, 100)
        stage.scheduler.remove("gone")
        await at(loop, 300)

    stage = run(script, gone, stays)

    counted = Counter(turn.job.name for _, turn in stage.begun)
    assert counted == {"gone": 5, "stays": 15}
    begun = [moment for moment, turn in stage.begun if turn.job is stays]
    assert begun == pytest.approx(dues("stays", 20.0, virtual_clock.EPOCH, virtual_clock.EPOCH + 300), abs=0.001)


def test_a_session_of_a_target_that_is_gone_finishes_and_is_told_to_nobody():
    """It is neither cancelled nor counted; the target of its name that comes after it has nothing to do with it."""
    first = first_due()

    async def script(loop, stage):
        await at(loop, first + 1)
        assert stage.open == 1
        stage.scheduler.remove("staging")
        stage.scheduler.add(job(interval="40s"), loop.wall())
        await at(loop, first + 7)
        stage.finished = stage.open == 0

    stage = run(script, job(), play=lasting(4.0))

    assert stage.finished
    assert (stage.results, stage.cycles, stage.skips) == ([], [], [])


def test_a_target_that_is_gone_confirms_nothing():
    """Its first failure was told before; no further session opens, and the cycle it owed goes with it."""
    first = first_due()

    async def play(turn):
        failing = turn.cycle > begins
        return await instant(turn, verdict=Verdict.FAIL if failing else Verdict.PASS)

    tight = job(interval="20s", confirm={"runs": 2, "after": "15s"})
    begins = tight.cycle_at(virtual_clock.EPOCH + first + 0.001)

    async def script(loop, stage):
        await at(loop, first + 20 + 10)
        assert stage.cycles[-1].failed
        stage.scheduler.remove("staging")
        stage.before = len(stage.begun), len(stage.cycles)
        await at(loop, first + 200)

    stage = run(script, tight, play=play)

    assert (len(stage.begun), len(stage.cycles)) == stage.before == (2, 2)


def test_a_stop_waits_for_sessions_of_targets_that_are_gone():
    """They finish or are told to close, as all others are."""
    first = first_due()
    ends = []

    async def play(_):
        try:
            await asyncio.sleep(FAR)
        finally:
            ends.append(asyncio.get_running_loop().time())

    async def script(loop, stage):
        await at(loop, first + 1)
        stage.scheduler.remove("staging")

    run(script, job(), play=play)

    assert ends == [pytest.approx(first + 1 + FINISH_GRACE_SECONDS)]
    assert FINISH_GRACE_SECONDS + STOP_GRACE_SECONDS < 5


# Changing -------------------------------------------------------------------------------------------------------------


def test_an_idle_target_goes_over_at_once():
    """Another interval is planned from now on: the cycles of the old one are no longer due."""
    first = first_due()
    other = job(interval="33s")

    async def script(loop, stage):
        await at(loop, first + 41)
        stage.scheduler.change(other)
        assert stage.over == [(loop.wall(), other)]
        assert stage.told_due["staging", Probe.SEND] == other.next_due(loop.wall())[Probe.SEND]
        await at(loop, first + 341)

    stage = run(script, job())

    change = virtual_clock.EPOCH + first + 41
    wanted = [
        *dues("staging", 20.0, virtual_clock.EPOCH, change),
        *dues("staging", 33.0, change, change + 300),
    ]
    assert [moment for moment, _ in stage.begun] == pytest.approx(wanted, abs=0.001)
    assert stage.skips == []


def test_a_target_in_a_session_goes_over_when_it_is_over():
    """The session is told as one of the job that ran it; the last of several changes is the one that holds."""
    first = first_due()
    changes = [job(timeout="4s"), job(timeout="3s", interval="50s")]

    async def script(loop, stage):
        await at(loop, first + 1)
        for change in changes:
            stage.scheduler.change(change)
        assert stage.over == []
        await at(loop, first + 120)

    stage = run(script, job(), play=lasting(4.5))

    assert stage.over == [(pytest.approx(virtual_clock.EPOCH + first + 4.5), changes[1])]
    assert [turn.job.target.timeout for _, turn in stage.begun] == [5.0, 3.0, 3.0]
    assert stage.ended("staging") == 3


def failing_from(second_cycle):
    """Sessions of which those from this cycle on fail, of whatever job."""

    async def play(turn):
        return await instant(turn, verdict=Verdict.FAIL if turn.cycle >= second_cycle else Verdict.PASS, lasts=1.0)

    return play


def test_a_change_calls_off_what_should_confirm_a_failure():
    """What failed may be mended by the change: the failure stands, and the cycle that was owed is an overlap."""
    first = first_due()
    patient = job(confirm={"runs": 2, "after": "15s"})
    second = patient.cycle_at(virtual_clock.EPOCH + first + 20.001)

    async def script(loop, stage):
        await at(loop, first + 20 + 25)
        assert [turn.trigger for _, turn in stage.begun] == [Trigger.SCHEDULE, Trigger.SCHEDULE, Trigger.CONFIRM]
        stage.scheduler.change(job(interval="30s"))
        await at(loop, first + 20 + 25.5)
        assert [moment for moment, _ in stage.over] == [pytest.approx(virtual_clock.EPOCH + first + 45, abs=0.01)]
        await at(loop, first + 20 + 40)

    stage = run(script, patient, play=failing_from(second))

    assert [turn.job.interval for _, turn in stage.begun[3:]] == [30.0] * (len(stage.begun) - 3)
    assert [skip.cause for skip in stage.skips] == [SkipCause.OVERLAP]


def test_after_a_change_failures_are_confirmed_again():
    """What was called off was the cycle of then, not those of the new job."""
    first = first_due()
    second = job().cycle_at(virtual_clock.EPOCH + first + 20.001)

    async def script(loop, stage):
        await at(loop, first + 5)
        stage.scheduler.change(job(timeout="4s"))
        await at(loop, first + 35)

    stage = run(script, job(), play=failing_from(second))

    assert Counter(turn.trigger for _, turn in stage.begun) == {Trigger.SCHEDULE: 2, Trigger.CONFIRM: 2}


def test_a_change_in_the_moment_of_a_cycle_does_not_run_it_twice():
    """The schedule has not moved: what was handed over is not due again."""
    first = first_due()
    stages = []

    async def play(turn):
        if turn.job.target.timeout == 5:
            stages[0].scheduler.change(job(timeout="4s"))
        return await instant(turn)

    async def script(loop, stage):
        stages.append(stage)
        await at(loop, first + 30)

    stage = run(script, job(), play=play)

    assert [turn.job.target.timeout for _, turn in stage.begun] == [5.0, 4.0]
    assert len(stage.over) == 1


def test_a_cycle_that_is_due_when_the_target_changes_is_not_lost():
    """Although nothing could run when it fell due: it is handed over first, then the target goes over."""
    first = first_due()

    async def script(loop, stage):
        await at(loop, first - 1)
        loop.block(3.0)
        stage.scheduler.change(job(interval="45s"))
        assert stage.over == []
        await at(loop, first + 10)

    stage = run(script, job())

    assert [moment for moment, _ in stage.begun] == [pytest.approx(virtual_clock.EPOCH + first + 2, abs=0.01)]
    assert [found.interval for _, found in stage.over] == [45.0]


def test_a_cycle_that_is_late_when_the_target_changes_is_told():
    """As one of the old job, by its cause."""
    first = first_due()

    async def script(loop, stage):
        await at(loop, first - 1)
        loop.block(9.0)
        stage.scheduler.change(job(interval="45s"))
        await at(loop, first + 9)

    stage = run(script, job())

    assert [skip.cause for skip in stage.skips] == [SkipCause.LATE]
    assert len(stage.over) == 1


def test_what_others_leave_a_target_is_known_to_its_next_session():
    """No session need be over for that, and none begins anew."""
    first = first_due()
    before = job()
    adjusted = harness.planned(
        mapping(Nowhere, identities={f"staging-{n}": f"staging-user-{n}" for n in range(3)}),
        mapping(Nowhere, name="more"),
    ).jobs[0]

    async def script(loop, stage):
        await at(loop, first + 1)
        stage.scheduler.recompute(adjusted)
        assert [found for _, found in stage.over] == [adjusted]
        await at(loop, first + 30)

    stage = run(script, before, play=lasting(4.0))

    assert [turn.job for _, turn in stage.begun] == [before, adjusted]
    assert stage.ended("staging") == 2


def test_a_target_can_change_before_it_begins():
    """It begins as what it is then; its announced time is not before the one that it waits for."""

    async def script(loop, stage):
        stage.scheduler.add(job("came"), loop.wall() + 200)
        stage.scheduler.change(job("came", interval="31s"))
        assert stage.told_due["came", Probe.CONNECT] >= loop.wall() + 200
        await at(loop, 60)
        stage.scheduler.begin("came")
        await at(loop, 160)

    stage = run(script)

    assert [moment for moment, _ in stage.begun] == pytest.approx(
        dues("came", 31.0, virtual_clock.EPOCH + 60, virtual_clock.EPOCH + 160), abs=0.001
    )


def test_a_clock_that_steps_while_targets_wait_plans_those_that_have_begun():
    """Those that wait have no place in the alarm yet."""

    async def script(loop, stage):
        stage.scheduler.add(job("waits"), loop.wall())
        await at(loop, 30)
        loop.step(3600.0)
        stage.scheduler.check_clock_step()
        await at(loop, 90)

    stage = run(script, job())

    assert stage.steps == [pytest.approx(3600.0)]
    assert len(stage.begun) >= 3


# Everything at once ---------------------------------------------------------------------------------------------------

NAMES = ("a", "b", "c")
INTERVALS = ("9s", "14s", "20s")
STEP = st.tuples(
    st.floats(0.5, 70.0),  # seconds until it
    st.sampled_from(("add", "add", "remove", "change", "change", "block")),
    st.sampled_from(NAMES),
    st.sampled_from(INTERVALS),
    st.integers(1, 3),  # how often it goes deep
)


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(STEP, min_size=3, max_size=14), seed=st.integers(0, 2**16))
def test_whatever_comes_goes_and_changes_nothing_due_is_lost(steps, seed):
    """For each target: what is told of it is what was due while it was there, but for a cycle that went with it."""

    async def main(loop):
        weather = random.Random(seed)

        async def play(turn):
            verdict = weather.choice((Verdict.PASS, Verdict.PASS, Verdict.FAIL))
            return await instant(turn, verdict=verdict, lasts=weather.uniform(0.01, 8.0))

        stage = Accounted(loop, play=play)
        stage.scheduler.start()
        for after, what, name, interval, every in steps:
            await asyncio.sleep(after)
            stage.act(what, name, interval, every)
        await asyncio.sleep(45.0)
        stage.settle()
        await stage.scheduler.stop()
        return stage

    stage = virtual_clock.run(main)

    assert {name: stage.ended(name) for name in NAMES} == {name: stage.expected[name] for name in NAMES}
    assert stage.open == 0


class Accounted(Stage):
    """A stage that reckons, by arithmetic of its own, how many cycles of each target must have ended."""

    def __init__(self, loop, play):
        super().__init__(loop, play=play)
        self.expected = Counter()
        self._since = {}

    def act(self, what, name, interval, every):
        there = name in self._since
        if what == "block":
            self._loop.block(7.0)
        elif what == "remove" and there:
            lane = self.scheduler._targets[name]
            self._reckon(name)
            self.expected[name] -= len(lane.queued_cycles) if lane.confirmation else int(lane.task is not None)
            self.expected[name] -= self._not_handed_over(name)
            del self._since[name]
            self.scheduler.remove(name)
            assert self.ended(name) == self.expected[name], "all that was due before has been told"
        elif what == "change" and there:
            self.scheduler.change(self._job(name, interval, every))
        elif what == "add" and not there:
            wanted = self._job(name, interval, every)
            self.scheduler.add(wanted, self._loop.wall())
            self.scheduler.begin(name)
            self._since[name] = self._loop.wall(), wanted.interval

    @staticmethod
    def _job(name, interval, every):
        return job(
            name, interval=interval, probes={"auth": {"every": 1}, "send": {"every": every}},
            timeout="5s", close_timeout="1s", confirm={"runs": 2, "after": "6s"},
        )  # fmt: skip

    def job_changed(self, job):
        super().job_changed(job)
        self._reckon(job.name)
        self._since[job.name] = self._loop.wall(), job.interval

    def _reckon(self, name):
        since, interval = self._since[name]
        self.expected[name] += len(dues(name, interval, since, self._loop.wall()))

    def _not_handed_over(self, name):
        since, interval = self._since[name]
        told = self.scheduler._wakeups.get_job(name).next_run_time.timestamp()
        return len(dues(name, interval, max(since, told - 0.001), self._loop.wall()))

    def settle(self):
        for name in self._since:
            self._reckon(name)
