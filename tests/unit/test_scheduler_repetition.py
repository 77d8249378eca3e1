"""Where no confirm run may follow a failure, the same is asked again, on what the schedule leaves free.

On a clock that jumps; sessions only last and end, no socket matters here.
"""

import asyncio
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import sentinels, virtual_clock
from support.sentinels import ONE, Trouble, until_phase, watched

from exporter.plan.detection import OutageKind, expected_detection
from exporter.result import SkipCause, Trigger

CYCLE = 20.0
AGAIN = 10.0
"""Seconds from a failure to a repeat run."""

UNCONFIRMED = [({}, Trouble.TOKEN), (ONE, Trouble.TOKEN), (ONE, Trouble.FACTORY)]


def run(story, **changes):
    return virtual_clock.run(lambda loop: watched(loop, story, **changes))


def repeats(target):
    """When repeat runs began."""
    return target.begun(Trigger.REPEAT)


def gone(trouble, *, lasts=150.0, phase=19.0, spare=True):
    """A backend that goes away `phase` seconds after a cycle, for so long, and 100 s more."""

    async def story(target):
        target.spare = spare
        await asyncio.sleep(until_phase(target, phase))
        target.leave(trouble)
        await asyncio.sleep(lasts)
        target.come_back()
        await asyncio.sleep(100)

    return story


@pytest.mark.parametrize(("pool", "trouble"), UNCONFIRMED)
def test_repeat_runs_come_ten_seconds_after_each_failure(pool, trouble):
    """One for a refused token, with which it is an outage, two for any other failure."""
    target = run(gone(trouble, phase=19.9), **pool)

    failed = repeats(target)[0] - AGAIN
    assert any(at == pytest.approx(failed, abs=0.1) for at in target.begun(Trigger.SCHEDULE))
    number = 1 if trouble is Trouble.TOKEN else 2
    assert repeats(target) == pytest.approx([failed + AGAIN * (1 + n) for n in range(number)], abs=0.1)
    assert not target.confirm_runs
    assert target.out_at == pytest.approx(repeats(target)[-1], abs=0.1)


def test_others_of_the_pool_ask_again():
    """The token of one user may be what is wrong."""
    target = run(gone(Trouble.TOKEN))

    (repeat,) = (number for number, (_, request) in enumerate(target.sessions) if request.trigger is Trigger.REPEAT)
    assert target.sessions[repeat][1].identity != target.sessions[repeat - 1][1].identity


@settings(max_examples=60, deadline=None)
@given(
    phase=st.floats(0, CYCLE),
    lasts=st.floats(0.1, 200),
    kind=st.sampled_from(UNCONFIRMED),
    spare=st.booleans(),
    interval=st.sampled_from(["15s", "20s", "60s", "300s"]),
)
def test_no_cycle_is_lost(phase, lasts, kind, spare, interval):
    """Every cycle that falls due runs: at once, or when the repeat run that is under way has ended."""
    pool, trouble = kind
    seen = []

    async def story(target):
        begun = target.job.cycle_at(target.wall())
        await gone(trouble, lasts=lasts, phase=phase, spare=spare)(target)
        await asyncio.sleep(until_phase(target, 5))
        seen.append((begun, target.job.cycle_at(target.wall())))

    target = run(story, interval=interval, **pool)

    begun, ended = seen[0]
    cycles = [(at, request.cycle) for at, request in target.sessions if request.trigger is Trigger.SCHEDULE]
    assert [cycle for _, cycle in cycles] == list(range(begun + 1, ended + 1))
    assert len(target.cycles) == len(cycles)
    assert not target.skips
    assert len(repeats(target)) <= 4
    assert spare or not repeats(target)


@pytest.mark.parametrize(("pool", "trouble"), UNCONFIRMED)
def test_a_backend_that_is_back_ends_it(pool, trouble):
    """What was met once is followed by one pass, and nothing is asked again."""
    target = run(gone(trouble, lasts=5.0), **pool)

    assert len(repeats(target)) == 1
    assert target.out_at is None


def test_without_room_the_cycles_decide():
    """The ledger refuses what it has no slot for: nothing is recorded of it, and the outage comes by the cycles."""
    target = run(gone(Trouble.FACTORY, spare=False), **ONE)

    scheduled = target.begun(Trigger.SCHEDULE)
    assert {round(after - before) for before, after in itertools.pairwise(scheduled)} == {CYCLE}
    assert not target.skips
    assert target.out_at is not None


@pytest.mark.parametrize("runs", [0, 1, 2])
def test_there_are_no_more_than_confirm_runs(runs):
    """Who wants no session right after a failure gets none, and who wants one gets one; both 10 s apart."""
    target = run(gone(Trouble.FACTORY, phase=19.9, lasts=50.0), confirm={"runs": runs}, **ONE)

    begun = repeats(target)
    assert len(begun) == runs
    failed = max((at for at in target.begun(Trigger.SCHEDULE) if begun and at < begun[0]), default=0.0)
    assert [at - failed for at in begun] == pytest.approx([AGAIN * n for n in range(1, runs + 1)], abs=0.1)


@pytest.mark.parametrize(("slots", "spare"), [(19, 3), (17, 1), (16, 0)])
def test_config_check_counts_on_slots_that_are_spare(slots, spare):
    """A pool of one of which the schedule needs 16 slots: two repeat runs take a slot each."""
    job = sentinels.job_of(limits={"slots_per_identity": slots + 1, "slot_release": "300s", "reserve": 1}, **ONE)
    peak = max(job.peaks.values())
    assert job.allowed_slots - peak == spare

    expected = expected_detection(job, OutageKind.TURNED_AWAY)

    sooner = min(spare, 2)
    assert expected.median == CYCLE / 2 + sooner * AGAIN + (2 - sooner) * CYCLE


@pytest.mark.parametrize("end", ["stop", "remove", "change"])
def test_a_wait_for_a_repeat_run_ends_at_once(end):
    """A stop, a removal and a changed target do not wait for it, and nothing is asked again afterwards."""

    async def story(target):
        await asyncio.sleep(until_phase(target, 19))
        target.leave(Trouble.TOKEN)
        await asyncio.sleep(6)
        if end == "stop":
            at = asyncio.get_running_loop().time()
            await target.stop()
            assert asyncio.get_running_loop().time() - at < 0.1
        elif end == "remove":
            target.scheduler.remove("staging")
        else:
            target.scheduler.change(sentinels.job_of(timeout="9s"))
            await asyncio.sleep(0.1)
            assert [job.target.timeout for job in target.jobs] == [9.0]
        await asyncio.sleep(60)

    target = run(story)

    assert not repeats(target)
    assert {skip.cause for skip in target.skips} <= {SkipCause.DRAINING}


@pytest.mark.parametrize("step", [3600.0, -3600.0, 7.0])
def test_a_step_of_the_wall_clock_does_not_move_it(step):
    """Repeat runs are 10 s apart by the monotonic clock."""

    async def story(target):
        await asyncio.sleep(until_phase(target, 19.9))
        target.leave(Trouble.FACTORY)
        while not repeats(target):
            await asyncio.sleep(0.5)
        asyncio.get_running_loop().step(step)
        await asyncio.sleep(100)

    first, second = repeats(run(story, **ONE))[:2]

    assert second - first == pytest.approx(AGAIN, abs=0.1)


def test_a_repeat_run_that_breaks_is_logged_and_the_schedule_goes_on(caplog, monkeypatch):
    """A defect costs nothing but the time that was to be won."""

    async def story(target):
        await asyncio.sleep(until_phase(target, 19))
        target.leave(Trouble.TOKEN)
        run_session = target.scheduler._run_session

        async def breaks(request):
            if request.trigger is Trigger.REPEAT:
                raise RuntimeError
            return await run_session(request)

        monkeypatch.setattr(target.scheduler, "_run_session", breaks)
        await asyncio.sleep(100)

    target = run(story)

    assert "a repeat run of staging broke" in caplog.text
    assert not target.skips
    assert target.out_at is not None
