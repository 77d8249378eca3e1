"""A failed sentinel starts the confirm runs at once; it makes no outage itself, and blips make none at all.

On a clock that jumps; sessions only last and end, no socket matters here.
"""

import asyncio
import itertools
from statistics import median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import sentinels, virtual_clock
from support.sentinels import ALWAYS_LOGS_IN, OFF, ON, ONE, USUAL_SECONDS, Trouble, until_phase, watched

from exporter.plan.detection import OutageKind, expected_detection
from exporter.result import SentinelOutcome, SkipCause, SuspicionOutcome, Trigger
from exporter.scheduler.cycles import TRUSTED_CYCLES

CYCLE = 20.0
PHASES = [0.25 + 0.5 * number for number in range(40)]
"""Seconds after a cycle."""


def run(story, **changes):
    return virtual_clock.run(lambda loop: watched(loop, story, **changes))


def seconds_to_outage(phase, trouble=Trouble.REFUSED, **changes):
    """Seconds from an outage that stays to `ws_probe_outage`, if it begins that long after a cycle."""
    begun = []

    async def story(target):
        await asyncio.sleep(until_phase(target, phase))
        begun.append(asyncio.get_running_loop().time())
        target.leave(trouble)
        await asyncio.sleep(150)

    return run(story, **changes).out_at - begun[0]


# Outages and blips ------------------------------------------------------------------------------------------------


@settings(max_examples=120, deadline=None)
@given(
    phase=st.floats(0, CYCLE),
    lasts=st.floats(0.1, 9.9),
    trouble=st.sampled_from([*Trouble]),
    sentinel=st.sampled_from([ON, OFF]),
    pool=st.sampled_from([{}, ONE]),
)
def test_a_blip_shorter_than_10_s_is_never_an_outage(phase, lasts, trouble, sentinel, pool):
    """At every phase of the cycle, whatever sessions meet, with and without a sentinel."""

    async def story(target):
        await asyncio.sleep(until_phase(target, phase))
        target.leave(trouble)
        await asyncio.sleep(lasts)
        target.come_back()
        await asyncio.sleep(100)

    assert run(story, **sentinel, **pool).out_at is None


@pytest.mark.parametrize("pool", [{}, ONE], ids=["three", "one"])
@pytest.mark.parametrize("sentinel", [ON, OFF], ids=["sentinel", "cycles"])
@pytest.mark.parametrize(
    ("trouble", "kind"),
    [
        (Trouble.REFUSED, OutageKind.REFUSED),
        (Trouble.SILENT, OutageKind.SILENT),
        (Trouble.LOST, OutageKind.SILENT),
        (Trouble.FACTORY, OutageKind.TURNED_AWAY),
        (Trouble.TOKEN, OutageKind.TOKENS),
    ],
)
def test_an_outage_is_established_as_config_check_says(trouble, kind, sentinel, pool):
    """Over the phases of the cycle: the median that is printed, and never later than the most."""
    expected = expected_detection(sentinels.job_of(**sentinel, **pool), kind)

    took = [seconds_to_outage(phase, trouble, **sentinel, **pool) for phase in PHASES[::2]]

    assert median(took) == pytest.approx(expected.median, abs=1.0)
    assert max(took) <= expected.most + 0.5


@pytest.mark.parametrize("users", [1, 2, 3])
@pytest.mark.parametrize(
    ("trouble", "kind"), [(Trouble.REFUSED, OutageKind.REFUSED), (Trouble.SILENT, OutageKind.SILENT)]
)
def test_where_nobody_may_connect_a_pool_takes_turns(trouble, kind, users):
    """Each identity has one session at a time; a pool of one confirms its connects itself."""
    pool = {"built_in": ALWAYS_LOGS_IN, "identities": {f"user-{number}": f"u{number}" for number in range(users)}}
    expected = expected_detection(sentinels.job_of(**pool), kind)

    took = [seconds_to_outage(phase, trouble, **pool) for phase in PHASES[::5]]

    assert median(took) == pytest.approx(expected.median, abs=1.5)
    assert max(took) <= expected.most + 0.5


def test_a_session_that_waits_too_long_is_confirmed_meanwhile():
    """Others begin after 5 s and 10 s of its silence; its verdict, and theirs, are those of their own deadlines."""

    async def story(target):
        await asyncio.sleep(until_phase(target, 19))
        target.leave(Trouble.SILENT)
        await asyncio.sleep(30)
        assert target.out_at == pytest.approx(target.sessions[-1][0] + 10, abs=0.1)

    target = run(story)
    (first, _), *others = target.sessions[-3:]

    assert [round(at - first) for at, _ in others] == [5, 10]
    assert len({request.identity for _, request in target.sessions[-3:]}) == 3
    assert target.suspicions == [SuspicionOutcome.CONFIRMED]


@pytest.mark.parametrize("seconds", [5.0, 9.0])
def test_a_backend_that_answers_late_is_confirmed_by_passes_and_soon_known(seconds):
    """One slow session in four for an hour: one suspicion, that passes; then slow is usual. No skip, no outage."""
    numbers = itertools.count()

    async def story(target):
        await asyncio.sleep(until_phase(target, 3))
        target.slow = lambda: seconds if next(numbers) % 4 == 0 else USUAL_SECONDS
        await asyncio.sleep(3600)

    target = run(story)

    assert target.suspicions == [SuspicionOutcome.UNCONFIRMED]
    assert target.out_at is None
    assert {skip.cause for skip in target.skips} <= {SkipCause.DRAINING}


@pytest.mark.parametrize("trouble", [Trouble.REFUSED, Trouble.SILENT])
def test_without_a_spare_slot_connects_anonymously_confirm(trouble):
    """They take no slot: what only connects needs none."""

    def without_slots(phase):
        begun = []

        async def story(target):
            target.spare = False
            await asyncio.sleep(until_phase(target, phase))
            begun.append(asyncio.get_running_loop().time())
            target.leave(trouble)
            await asyncio.sleep(150)

        return run(story).out_at - begun[0]

    for phase in PHASES[::8]:
        assert without_slots(phase) == pytest.approx(seconds_to_outage(phase, trouble), abs=0.5)


def test_a_stall_of_the_exporter_is_no_long_wait():
    """What lies unread because the loop was blocked is not overdue."""

    async def story(target):
        loop = asyncio.get_running_loop()
        target.slow = lambda: 1.0
        await asyncio.sleep(until_phase(target, 0.5))
        target.leave(Trouble.SILENT)
        loop.block(8.0)
        target.come_back()
        await asyncio.sleep(60)

    assert run(story).suspicions == []


@pytest.mark.parametrize("trouble", [Trouble.REFUSED, Trouble.SILENT])
def test_a_sentinel_never_delays_an_outage(trouble):
    """At no phase is an outage established later than without one."""
    for phase in PHASES[::6]:
        assert seconds_to_outage(phase, trouble, **ON) <= seconds_to_outage(phase, trouble) + 0.1


def test_a_sentinel_alone_is_no_verdict_no_cycle_and_no_outage():
    """A pass of the pool ends the suspicion; what is recorded are sessions of the pool."""

    async def story(target):
        await asyncio.sleep(until_phase(target, 3))
        target.leave()
        await until(lambda: target.confirm_runs)
        target.come_back()
        await asyncio.sleep(15)

    target = run(story, **ON)

    assert target.suspicions == [SuspicionOutcome.UNCONFIRMED]
    assert {result.trigger for result in target.results} == {Trigger.SCHEDULE, Trigger.CONFIRM}
    assert {SentinelOutcome.FAILED, SentinelOutcome.PASSED} <= set(target.outcomes)
    assert target.out_at is None


# How many sessions it costs ---------------------------------------------------------------------------------------


def test_a_flapping_path_costs_a_bounded_number_of_sessions():
    """Away for 2 s of every 7 s, for an hour: one suspicion in six cycles, of three sessions at most."""

    async def story(target):
        await asyncio.sleep(until_phase(target, 3))
        for _ in range(3600 // 7):
            target.leave()
            await asyncio.sleep(2)
            target.come_back()
            await asyncio.sleep(5)

    target = run(story, **ON)
    after_cycles = 2 * sum(result.failed for result in target.cycles)

    assert len(target.suspicions) <= 3600 / (TRUSTED_CYCLES * CYCLE) + 1
    assert len(target.confirm_runs) <= 3 * len(target.suspicions) + after_cycles


def test_one_suspicion_at_a_time_and_none_while_a_cycle_or_confirm_run_is_under_way():
    """The sentinel fails all through an outage: what started is neither doubled nor begun again."""

    async def story(target):
        await asyncio.sleep(until_phase(target, 3))
        target.leave()
        await asyncio.sleep(300)

    target = run(story, **ON)

    assert len(target.confirm_runs) == 3
    assert target.suspicions == [SuspicionOutcome.CONFIRMED]


def test_cycles_that_fall_due_meanwhile_are_answered():
    """Every due cycle has its verdict: none is skipped because of a suspicion."""
    for phase in (3, 9, 14, 18):

        async def story(target, phase=phase):
            await asyncio.sleep(until_phase(target, phase))
            target.leave()
            await asyncio.sleep(100)

        target = run(story, **ON)

        assert not target.skips
        assert len(target.cycles) == len(target.begun(Trigger.SCHEDULE)) + _answered(target)


def _answered(target):
    return sum(result.trigger is Trigger.CONFIRM for result in target.cycles)


# Stop, reload, defects --------------------------------------------------------------------------------------------


def test_a_stop_ends_a_suspicion_at_once():
    """No further confirm run, and cycles that waited are skipped as draining."""

    async def story(target):
        await asyncio.sleep(until_phase(target, 14))
        target.leave()
        await until(lambda: len(target.confirm_runs) == 1)
        await asyncio.sleep(4.9)
        at = asyncio.get_running_loop().time()
        await target.stop()
        assert asyncio.get_running_loop().time() - at < 0.1
        target.scheduler.suspect("staging")
        await asyncio.sleep(60)

    target = run(story, **ON)

    assert len(target.confirm_runs) == 1
    assert {skip.cause for skip in target.skips} <= {SkipCause.DRAINING}
    assert not target.suspicions


def test_a_removed_target_is_suspected_no_more():
    """Its suspicion ends, no session follows, and an unknown name is no error."""

    async def story(target):
        await asyncio.sleep(until_phase(target, 14))
        target.leave()
        await until(lambda: len(target.confirm_runs) == 1)
        target.side_probes.remove("staging")
        target.scheduler.remove("staging")
        await asyncio.sleep(60)
        target.scheduler.suspect("staging")
        target.scheduler.suspect("nobody")
        await asyncio.sleep(60)

    assert len(run(story, **ON).confirm_runs) == 1


def test_a_changed_target_begins_anew():
    """A reload in the middle of a suspicion ends it without an outcome; the new job may be suspected at once."""

    async def story(target):
        await asyncio.sleep(until_phase(target, 3))
        target.leave()
        await until(lambda: len(target.confirm_runs) == 1)
        target.scheduler.change(sentinels.job_of(timeout="9s", **ON))
        await asyncio.sleep(60)

    target = run(story, **ON)

    assert [job.target.timeout for job in target.jobs] == [9.0]
    assert target.suspicions == [SuspicionOutcome.CONFIRMED]
    assert len(target.confirm_runs) == 4


@pytest.mark.parametrize("step", [3600.0, -3600.0, 7.0])
def test_a_step_of_the_wall_clock_neither_starts_nor_prolongs_one(step):
    """Confirm runs are 5 s apart by the monotonic clock."""

    async def story(target):
        await asyncio.sleep(until_phase(target, 3))
        target.leave()
        await until(lambda: len(target.confirm_runs) == 1)
        asyncio.get_running_loop().step(step)
        await asyncio.sleep(100)

    begun = run(story, **ON).confirm_runs[:3]

    assert [round(at - begun[0]) for at in begun] == [0, 5, 10]


def test_a_suspicion_that_breaks_is_logged_and_the_schedule_goes_on(caplog, monkeypatch):
    """A defect costs one suspicion, and no cycle."""

    async def broken(*_):
        raise RuntimeError

    async def story(target):
        await asyncio.sleep(until_phase(target, 3))
        monkeypatch.setattr(target.scheduler, "_open_confirm_run", broken)
        target.leave()
        await asyncio.sleep(8)
        target.come_back()
        await asyncio.sleep(100)

    target = run(story, **ON)

    assert "a suspicion of staging broke" in caplog.text
    assert not target.cycles[-1].failed


async def until(condition):
    """Wait for a condition, for a minute at most."""
    for _ in range(6000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the condition did not come true in time")
