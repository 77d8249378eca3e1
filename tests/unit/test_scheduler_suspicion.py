"""A failed sentinel starts the confirm runs at once; it makes no outage itself, and blips make none at all.

On a clock that jumps; sessions only last and end, no socket matters here.
"""

import asyncio
from statistics import median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import sentinels, virtual_clock
from support.sentinels import OFF, ON, until_phase, watched

from exporter.plan.detection import sentinel_detection
from exporter.result import SentinelOutcome, SkipCause, SuspicionOutcome, Trigger
from exporter.scheduler.cycles import TRUSTED_CYCLES

CYCLE = 20.0
PHASES = [0.7 + 0.5 * number for number in range(39)]
"""Seconds after a cycle, so that its session is over."""


def run(story, **changes):
    return virtual_clock.run(lambda loop: watched(loop, story, **changes))


def seconds_to_outage(phase, silent=False, **changes):
    """Seconds from an outage that stays to `ws_probe_outage`, if it begins that long after a cycle."""
    begun = []

    async def story(target):
        await asyncio.sleep(until_phase(target, phase))
        begun.append(asyncio.get_running_loop().time())
        target.leave(silent=silent)
        await asyncio.sleep(120)

    return run(story, **changes).out_at - begun[0]


# Outages and blips ------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(phase=st.floats(0, CYCLE), lasts=st.floats(0.1, 9.9), silent=st.booleans(), sentinel=st.sampled_from([ON, OFF]))
def test_a_blip_shorter_than_10_s_is_never_an_outage(phase, lasts, silent, sentinel):
    """At every phase of the cycle, refused or silent, with and without a sentinel."""

    async def story(target):
        await asyncio.sleep(until_phase(target, phase))
        target.leave(silent=silent)
        await asyncio.sleep(lasts)
        target.come_back()
        await asyncio.sleep(100)

    assert run(story, **sentinel).out_at is None


def test_an_outage_that_stays_is_established_within_seconds():
    """Refused connects: three failures of the pool by 12 s after the sentinel's, which connects every 5 s."""
    with_sentinel = [seconds_to_outage(phase, **ON) for phase in PHASES]
    without = [seconds_to_outage(phase) for phase in PHASES]

    print(f"refused: median {median(without):.1f} -> {median(with_sentinel):.1f} s, "
          f"worst {max(without):.1f} -> {max(with_sentinel):.1f} s")  # fmt: skip
    assert max(with_sentinel) <= 5 + 12 + 0.1
    assert max(with_sentinel) < median(without)


def test_the_detection_that_config_check_prints_is_kept():
    """At every fourth phase, refused and silent: within the bounds that the plan states."""
    least, at_once, slowly = sentinel_detection(sentinels.job_of(**ON))

    for phase in PHASES[::4]:
        assert least <= seconds_to_outage(phase, **ON) <= at_once + 0.1
        assert least <= seconds_to_outage(phase, silent=True, **ON) <= slowly + 0.1


@pytest.mark.parametrize("silent", [False, True])
def test_a_sentinel_never_delays_an_outage(silent):
    """At no phase is an outage established later than without one."""
    for phase in PHASES[::6]:
        assert seconds_to_outage(phase, silent, **ON) <= seconds_to_outage(phase, silent) + 0.1


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


def test_a_pool_of_one_confirms_a_suspicion():
    """The sentinel spoke as nobody, so that the one user is another one."""
    one = {"identities": {"only": "staging-e2e-user-001"}}

    assert seconds_to_outage(3, **one, **ON) <= 5 + 12 + 0.1


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
        await asyncio.sleep(5.9)
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
    """Confirm runs are 6 s apart by the monotonic clock."""

    async def story(target):
        await asyncio.sleep(until_phase(target, 3))
        target.leave()
        await until(lambda: len(target.confirm_runs) == 1)
        asyncio.get_running_loop().step(step)
        await asyncio.sleep(100)

    begun = run(story, **ON).confirm_runs[:3]

    assert [round(at - begun[0]) for at in begun] == [0, 6, 12]


def test_a_suspicion_that_breaks_is_logged_and_the_schedule_goes_on(caplog, monkeypatch):
    """A defect costs one suspicion, and no cycle."""

    async def story(target):
        await asyncio.sleep(until_phase(target, 3))
        monkeypatch.setattr(target.scheduler, "_confirm_once", None)
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
