"""Side probes run on absolute due times, beside the cycles; jobs come, go and change; a stop ends them at once.

On a clock that jumps; sessions only last and end, no socket matters here.
"""

import asyncio
from dataclasses import replace
from itertools import pairwise

import pytest
from support import harness, virtual_clock
from support.schedules import Nowhere, instant, mapping

from exporter.plan import Cadence, SideSchedule
from exporter.probing import ProbeRequest
from exporter.result import Probe, SideProbe, Skip, SkipCause, Trigger
from exporter.side_probes import MAX_LATE_SECONDS, SideProbes

EVERY = 300.0


def schedule(variant="no_token", interval=EVERY):
    return SideSchedule(SideProbe.REFUSAL, variant, "refusals", Cadence.of(f"staging/{variant}", interval))


def job(*schedules, **changes):
    planned = harness.planned(mapping(Nowhere, **changes)).jobs[0]
    return replace(planned, side_schedules=schedules or (schedule(),))


class Stage:
    """Side probes whose runs open one session each; what ran when, and what the session came to."""

    def __init__(self, loop, lasts=0.2, **options):
        self._loop, self._lasts = loop, lasts
        self.runs, self.outcomes, self.cancelled = [], [], 0
        self.probes = SideProbes(self._session, {SideProbe.REFUSAL: self._run}, loop.clock, **options)

    async def _run(self, run, open_session):
        self.runs.append((self._loop.wall(), run))
        request = ProbeRequest(run.job, run.number, Trigger.SIDE_PROBE, Probe.SEND, None, due=run.due)
        self.outcomes.append(await open_session(request))

    async def _session(self, request):
        try:
            return await instant(request, lasts=self._lasts)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    @property
    def times(self):
        return [at for at, _ in self.runs]


def staged(story, **options):
    """Run `story(stage, loop)` and stop; the stage."""

    async def main(loop):
        stage = Stage(loop, **options)
        await story(stage, loop)
        await stage.probes.stop()
        assert stage.probes.in_flight == 0
        return stage

    return virtual_clock.run(main)


def test_a_run_starts_at_each_due_time_and_knows_it():
    """An hour of runs every 5 minutes is twelve, each at the moment of its absolute number."""

    async def story(stage, _):
        stage.probes.begin(job())
        await asyncio.sleep(3600)

    stage = staged(story)

    assert len(stage.runs) == 12
    assert all(at - run.due == pytest.approx(0, abs=1e-3) for at, run in stage.runs)
    assert [run.number - stage.runs[0][1].number for _, run in stage.runs] == list(range(12))


def test_a_restart_bunches_up_no_runs():
    """Forty exporters that live one after another run no more often than one that lives on."""

    async def main(loop):
        times = []
        for _ in range(40):
            stage = Stage(loop)
            stage.probes.begin(job())
            await asyncio.sleep(90)
            await stage.probes.stop()
            times += stage.times
        return times

    times = virtual_clock.run(main)

    assert len(times) == 12
    assert all(later - earlier == pytest.approx(EVERY, abs=1e-3) for earlier, later in pairwise(times))


@pytest.mark.parametrize("step", [86_400.0, -86_400.0, 3601.0, -3601.0])
def test_a_step_of_the_wall_clock_costs_no_burst(step):
    """After a step the runs go on at their due times by the new clock, one at a time; what was passed over is gone."""

    async def story(stage, loop):
        stage.probes.begin(job())
        await asyncio.sleep(1000)
        loop.step(step)
        await asyncio.sleep(3600)

    stage = staged(story)

    assert 12 <= len(stage.runs) <= 16
    assert all(-1e-3 <= at - run.due <= MAX_LATE_SECONDS for at, run in stage.runs)


def test_a_late_run_is_dropped():
    """While the process stood still a run fell due: it is not made up for."""

    async def story(stage, loop):
        stage.probes.begin(job())
        await asyncio.sleep(schedule().cadence.due(schedule().cadence.cycle_at(loop.wall()) + 1) - loop.wall() - 1)
        loop.block(60)
        await asyncio.sleep(100)

    assert not staged(story).runs


def test_a_run_that_lasts_beyond_the_next_due_time_is_not_doubled():
    """Runs of one schedule never overlap."""

    async def story(stage, _):
        stage.probes.begin(job())
        await asyncio.sleep(3600)

    stage = staged(story, lasts=1.5 * EVERY)

    assert len(stage.runs) == 6


def test_without_capacity_a_session_is_skipped():
    """`max_sessions` holds for side probes too."""

    async def story(stage, _):
        stage.probes.begin(job())
        await asyncio.sleep(EVERY)

    stage = staged(story, has_capacity=lambda: False)

    assert stage.outcomes == [Skip("staging", SkipCause.CAPACITY)]


def test_the_wall_clock_is_looked_at_before_each_session():
    """A step is applied to the ledger before it decides."""
    looks = []

    async def story(stage, _):
        stage.probes.begin(job())
        await asyncio.sleep(2 * EVERY)

    staged(story, check_clock_step=lambda: looks.append(1))

    assert len(looks) == 2


def test_a_removed_target_and_a_stop_end_sessions_at_once():
    """A session under way is cancelled, which closes it; nothing runs afterwards."""

    async def story(stage, loop):
        stage.probes.begin(job())
        await _until(lambda: stage.probes.in_flight)
        stage.probes.remove("staging")
        await asyncio.sleep(0)
        stage.probes.begin(job())
        await _until(lambda: len(stage.runs) == 2)
        at = loop.time()
        await stage.probes.stop()
        assert loop.time() == at
        stage.probes.begin(job())
        await asyncio.sleep(2 * EVERY)

    stage = staged(story, lasts=30.0)

    assert (len(stage.runs), stage.cancelled, stage.outcomes) == (2, 2, [])


def test_a_changed_target_keeps_the_schedules_that_stay():
    """A new schedule starts, one that is gone ends, and one that stays is not disturbed and sees the new job."""
    kept, gone, new = schedule("no_token"), schedule("malformed"), schedule("malformed", 2 * EVERY)

    async def story(stage, _):
        stage.probes.change(job(gone))  # has not begun: nothing starts
        stage.probes.begin(job(kept, gone))
        await _until(lambda: stage.probes.in_flight)
        stage.first_job = stage.runs[0][1].job
        tasks = dict(stage.probes._tasks)
        stage.probes.change(job(kept, new, timeout="2s"))
        assert stage.probes._tasks["staging", kept] is tasks["staging", kept]
        assert stage.probes._tasks.keys() == {("staging", kept), ("staging", new)}
        stage.runs.clear()
        await asyncio.sleep(4 * EVERY)

    stage = staged(story)

    assert {run.job.target.timeout for _, run in stage.runs} == {2.0}
    assert sum(run.schedule == new for _, run in stage.runs) == 2
    assert not [run for _, run in stage.runs if run.schedule == gone]


def test_a_run_that_breaks_is_logged_and_the_next_one_runs(caplog):
    """A defect of a side probe ends neither its schedule nor another one."""
    failing = iter([RuntimeError("broken"), None])

    async def main(loop):
        ran = []

        async def run(_, __):
            ran.append(loop.wall())
            if (error := next(failing, None)) is not None:
                raise error

        probes = SideProbes(instant, {SideProbe.REFUSAL: run}, loop.clock)
        probes.begin(job())
        await asyncio.sleep(2 * EVERY)
        await probes.stop()
        return ran

    assert len(virtual_clock.run(main)) == 2
    assert "a side probe of staging broke" in caplog.text


async def _until(condition):
    """Wait for a condition, for two intervals at most."""
    for _ in range(int(2 * EVERY / 0.1)):
        if condition():
            return
        await asyncio.sleep(0.1)
    raise AssertionError("the condition did not come true in time")
