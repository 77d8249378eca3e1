"""Every due cycle ends as exactly one of: a cycle told, a skip told, an impairment told; on a clock that jumps.

The sessions are real ones against the stand-in, but where a day of them or their exact length matters.
"""

import asyncio
import contextlib
import itertools
import logging
import random
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
from support import harness, virtual_clock
from support.schedules import Nowhere, dues, instant, mapping

from exporter.host import LoopLagMonitor
from exporter.probing import ProbeRequest
from exporter.result import Impairment, Probe, Reason, Skip, SkipCause, SuspicionOutcome, Trigger, Verdict
from exporter.scheduler import (
    DEAD_ALARM_SECONDS,
    FINISH_GRACE_SECONDS,
    MAX_LATE_SECONDS,
    STOP_GRACE_SECONDS,
    Scheduler,
    wakeups,
)
from exporter.standin import StandIn, Timings

POOL = tuple(harness.POOL)


@contextlib.asynccontextmanager
async def backend(loop, **settings):
    async with StandIn.start(
        tls_port=None, clock=loop.time, wall=loop.wall, timings=Timings.quick(), **settings
    ) as standin:
        yield standin


@contextlib.asynccontextmanager
async def scheduled(loop, *jobs, prober=None):
    """A running scheduler and what it tells; stopped at the end."""
    scheduler, told = (prober or harness.Rig(clock=loop.clock)).schedule(*jobs)
    try:
        yield scheduler, told
    finally:
        await scheduler.stop()


def observed(seconds, *mappings, fault=None, **settings):
    """What is told within so many seconds of schedule, and what the backend saw of it."""

    async def main(loop):
        async with backend(loop, **settings) as standin:
            if fault:
                standin.set_fault("*", fault)
            plan = harness.planned(*[mapping(standin, **changes) for changes in mappings or ({},)])
            async with scheduled(loop, *plan.jobs) as (_, told):
                await asyncio.sleep(seconds)
            return told, list(standin.sessions)

    return virtual_clock.run(main)


def causes(told):
    return Counter(skip.cause for skip in told.skips)


# Nothing is lost ----------------------------------------------------------------------------------------------------

WEATHER = (
    "no_welcome", "internal_error", "zombie", "abort:at=reply", "http:status=502", "half_close", "auth_rejected",
    "auth_unavailable", "slot_limit", "http:status=429,retry_after=45", "refuse", "noise", "silent",
    "no_close_answer", "wrong_user", "name_shape", "startup_incomplete", "close:code=4001,at=reply",
)  # fmt: skip


def own(name, count):
    """A pool that no other target shares."""
    return {f"user-{n}": f"{name}-user-00{n}" for n in range(count)}


async def storm(loop, standin, key_file, weather):
    """Faults, blocked loops and a key that comes and goes, until cancelled."""
    key = standin.key_file.read_bytes()
    while True:
        await asyncio.sleep(weather.uniform(5, 90))
        happening = weather.random()
        if happening < 0.2:
            loop.block(weather.uniform(0, 40))
        elif happening < 0.3:
            key_file.write_bytes(b"")
        else:
            standin.set_fault("*", weather.choice(WEATHER))
        await asyncio.sleep(weather.uniform(5, 60))
        standin.clear("*")
        key_file.write_bytes(key)


@pytest.mark.parametrize("seed", range(3))
def test_every_due_cycle_ends_as_exactly_one_thing(seed, tmp_path, caplog):
    """An hour of storm: cycles + skips + impairments are the cycles that arithmetic says were due, for each target."""
    caplog.set_level(logging.DEBUG, "exporter.scheduler")
    shapes = {
        "steady": {"interval": "15s"},
        "deep": {"interval": "9s", "probes": {"auth": {"every": 2}, "send": {"every": 3}}, "timeout": "7500ms"},
        "tight": {
            "interval": "31s",
            "limits": {"slots_per_identity": 5, "slot_release": "300s"},
            "identities": own("tight", 3),
        },
        "alone": {"interval": "20s", "identities": own("alone", 1), "confirm": {"after": "15s"}},
    }

    async def main(loop):
        weather = random.Random(seed)
        async with backend(loop, slots=20, seed=seed) as standin:
            key_file = tmp_path / "key"
            key_file.write_bytes(standin.key)
            auth = {"jwt": {"key_file": str(key_file), "claims": harness.CLAIMS}}
            made = [mapping(standin, name=name, auth=auth, **shape) for name, shape in shapes.items()]
            # A breaker would keep the token back for the rest of the hour after the first rejection.
            unbroken = {job.name: job.profile.model_copy(update={"breaker": []}) for job in harness.planned(*made).jobs}
            jobs = [replace(job, profile=unbroken[job.name]) for job in harness.planned(*made).jobs]
            begin = loop.wall()
            stormy = asyncio.ensure_future(storm(loop, standin, key_file, weather))
            async with scheduled(loop, *jobs) as (_, told):
                await asyncio.sleep(3600 + weather.uniform(0, 60))
                end = loop.wall()
            stormy.cancel()
            return told, begin, end, {job.name: job.interval for job in jobs}

    told, begin, end, intervals = virtual_clock.run(main)

    impaired = [result for result in told.results if result.impairment and result.trigger is Trigger.SCHEDULE]
    ended = Counter(one.target for one in (*told.cycles, *told.skips, *impaired))
    expected = {name: len(dues(name, interval, begin, end)) for name, interval in intervals.items()}
    assert ended == expected
    assert all(result.verdicts[Probe.CONNECT] is not Verdict.NONE for result in told.cycles)
    assert {SkipCause.LATE, SkipCause.RATE} <= set(causes(told)), "the storm was none"
    assert impaired
    assert any(result.trigger is Trigger.CONFIRM for result in told.results)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


class Played:
    """A scheduler over sessions that only note when they began."""

    def __init__(self, loop, *jobs, play=instant):
        self.begun = []
        self.told = harness.Recorder()
        self._loop, self._play = loop, play
        self.scheduler = Scheduler(jobs, self._run, self.told, loop.clock)

    async def _run(self, turn: ProbeRequest):
        self.begun.append((self._loop.wall(), turn))
        return await self._play(turn)


def played(seconds, *mappings, play=instant):
    """What began when, of that many seconds of schedule without sockets."""

    async def main(loop):
        jobs = harness.planned(*[mapping(Nowhere, **changes) for changes in mappings]).jobs
        player = Played(loop, *jobs, play=play)
        player.scheduler.start()
        await asyncio.sleep(seconds)
        await player.scheduler.stop()
        return player

    return virtual_clock.run(main)


def test_a_day_has_no_drift():
    """5,760 cycles of 15 s begin in their millisecond, and none is missing."""
    player = played(86_400, {"interval": "15s"})

    begun = [at for at, _ in player.begun]
    expected = dues("staging", 15.0, virtual_clock.EPOCH, virtual_clock.EPOCH + 86_400)
    assert len(begun) == 5760
    assert max(abs(at - due) for at, due in zip(begun, expected, strict=True)) < 0.001
    assert player.told.skips == []


def test_targets_are_spread_by_a_checksum_of_their_names():
    """Each begins at its own place in the interval: the same after a restart, whatever stands beside it."""
    names = [f"target-{n}" for n in range(10)]
    every = played(20, *[{"name": name} for name in names])
    alone = played(20, {"name": "target-3"})

    begun = {turn.job.name: at for at, turn in every.begun}
    wanted = {name: dues(name, 20.0, virtual_clock.EPOCH, virtual_clock.EPOCH + 20)[0] for name in names}
    assert begun == pytest.approx(wanted, abs=0.001)
    assert alone.begun[0][0] == pytest.approx(begun["target-3"], abs=0.001)
    assert max(begun.values()) - min(begun.values()) > 10


def test_identities_take_turns_and_every_nth_cycle_goes_deep():
    """Depths follow `every`; the pool is gone through in order by the cycles that take a slot, by nobody else."""
    player = played(1200, {"probes": {"auth": {"every": 2}, "send": {"every": 4}}})

    turns = [turn for _, turn in player.begun]
    first = turns[0].cycle
    depths = [Probe.SEND, Probe.CONNECT, Probe.AUTH, Probe.CONNECT]
    assert [turn.cycle for turn in turns] == list(range(first, first + 60))
    assert [turn.depth for turn in turns] == [depths[turn.cycle % 4] for turn in turns]
    users = [turn.identity for turn in turns if turn.depth is not Probe.CONNECT]
    assert {turn.identity for turn in turns if turn.depth is Probe.CONNECT} == {None}
    start = POOL.index(users[0])
    assert users == [POOL[(start + n) % 3] for n in range(30)]


def test_two_exporters_of_one_config_agree_on_whose_turn_it_is():
    """Turns depend on the time alone: a restart goes on where the schedule stands."""
    first, second = played(400, {}), played(400, {})

    assert [turn.identity for _, turn in first.begun] == [turn.identity for _, turn in second.begun]


# Skips --------------------------------------------------------------------------------------------------------------


def blocking(at, seconds, changes, *, fault=None, until=120):
    """What is told when nothing can run for `seconds` from the moment on that the `at`-th cycle is due."""

    async def main(loop):
        async with backend(loop) as standin:
            if fault:
                standin.set_fault("*", fault)
            (job,) = harness.planned(mapping(standin, **changes)).jobs
            due = dues(job.name, job.interval, loop.wall(), loop.wall() + until)[at]
            loop.call_at(loop.time() + due - loop.wall() - 0.001, loop.block, seconds)
            async with scheduled(loop, job) as (_, told):
                await asyncio.sleep(until)
            return told

    return virtual_clock.run(main)


def test_a_cycle_that_falls_due_while_the_last_one_runs_is_an_overlap():
    """A session that begins late and uses its whole time is still there when the next cycle is due."""
    tight = {"interval": "4s", "timeout": "3s", "close_timeout": "500ms", "confirm": {"runs": 0}}

    told = blocking(2, 1.5, tight, fault="silent")

    assert causes(told)[SkipCause.OVERLAP] == 1
    assert set(causes(told)) <= {SkipCause.OVERLAP, SkipCause.DRAINING}, "the stop may meet the last session"
    assert len(told.cycles) + len(told.skips) == len(
        dues("staging", 4.0, virtual_clock.EPOCH, virtual_clock.EPOCH + 120)
    )


@pytest.mark.parametrize("fault", [None, "deaf"], ids=["healthy", "one hangs"])
def test_targets_that_share_their_users_wait_for_each_other(fault):
    """Three with one user and the same moments: each of their cycles has its session, also beside one that hangs."""
    one = {"identities": {"main": "user-1"}, "confirm": {"runs": 0}, "interval": "20s"}

    async def main(loop):
        async with backend(loop) as standin:
            jobs = harness.planned(*[mapping(standin, name=f"t{n}", path=f"/ws/t{n}", **one) for n in range(3)]).jobs
            if fault:
                standin.set_fault("/ws/t0", fault)
            async with scheduled(loop, *[replace(job, cadence=jobs[0].cadence) for job in jobs]) as (_, told):
                await asyncio.sleep(201)
            return told

    told = virtual_clock.run(main)

    assert set(causes(told)) <= {SkipCause.DRAINING}, "the stop may meet the last session"
    answered = Counter((result.target, result.failed) for result in told.cycles)
    failed = {target for target, fails in answered if fails}
    assert failed == ({"t0"} if fault else set())
    assert min(answered.values()) >= 9
    assert len(answered) == 3


@pytest.mark.parametrize(
    ("interval", "blocked", "late"),
    [
        ("20s", MAX_LATE_SECONDS - 0.5, 0),
        ("20s", MAX_LATE_SECONDS + 0.5, 1),
        ("20s", 41.0, 2),
        ("6s", 3.5, 1),
        ("6s", 2.5, 0),
    ],
)
def test_a_cycle_begins_in_time_or_is_late(interval, blocked, late):
    """Up to 5 s, or half an interval if that is less, a cycle may begin late; what is later is skipped and counted."""
    told = blocking(2, blocked, {"interval": interval, "timeout": "3s"})

    assert causes(told) == ({SkipCause.LATE: late} if late else {})
    seconds = float(interval.removesuffix("s"))
    assert len(told.cycles) + late == len(dues("staging", seconds, virtual_clock.EPOCH, virtual_clock.EPOCH + 120))


def test_what_other_processes_hold_leaves_no_room():
    """Over the budget a cycle is skipped, not queued; when the slots are free again, cycles run."""
    limits = {"slots_per_identity": 4, "slot_release": "300s"}

    async def main(loop):
        async with backend(loop) as standin:
            (job,) = harness.planned(mapping(standin, interval="150s", limits=limits)).jobs
            prober = harness.Rig(clock=loop.clock)
            with prober.state.transaction() as ledger:
                for n, alias in enumerate(POOL * 3):
                    request = job.session_cost(f"other-{n}", Probe.SEND, alias, Trigger.SCHEDULE)
                    ledger.grant_or_refuse(request, loop.wall())
                    ledger.release(request, loop.wall())
            async with scheduled(loop, job, prober=prober) as (_, told):
                await asyncio.sleep(900)
            return told

    told = virtual_clock.run(main)

    assert causes(told) == {SkipCause.BUDGET: 2}
    assert len(told.cycles) == 4
    assert {result.depth for result in told.cycles} == {Probe.SEND}


def test_a_backend_that_takes_no_connect_without_a_token_is_left_alone_by_a_resting_identity():
    """Where no profile permits a bare connect, the cycle of a resting identity is skipped as `resting`."""

    async def main(loop):
        async with backend(loop) as standin:
            standin.set_fault("/ws", f"slot_limit:user={harness.POOL['pool-001']}")
            (job,) = harness.planned(mapping(standin, confirm={"runs": 0})).jobs
            job = replace(job, profile=job.profile.model_copy(update={"connect_without_token": False}))
            async with scheduled(loop, job) as (_, told):
                await asyncio.sleep(300)
            return told

    told = virtual_clock.run(main)

    assert set(causes(told)) == {SkipCause.RESTING}
    assert 4 <= len(told.skips) <= 5
    assert len(told.skips) + len(told.cycles) == 15
    assert [result.identity for result in told.cycles if result.failed] == ["pool-001"]


@pytest.mark.parametrize(("fault", "rest"), [("http:status=429,retry_after=90", 90), ("http:status=429", 600)])
def test_a_rate_limit_rests_the_host_for_as_long_as_it_asks(fault, rest):
    """No connect at all before Retry-After, or 600 s if there is none; the cycles meanwhile are `rate`."""
    told, seen = observed(700, {"interval": "20s"}, fault=fault)

    gaps = [after.accepted_at - before.finished_at for before, after in itertools.pairwise(seen)]
    assert told.cycles[0].reason is Reason.RATE_LIMITED
    assert all(rest <= gap <= rest + 20 for gap in gaps), gaps
    assert len(gaps) >= 700 // (rest + 20)
    assert set(causes(told)) == {SkipCause.RATE}
    assert not any(result.trigger is Trigger.CONFIRM for result in told.results)


# Confirm ------------------------------------------------------------------------------------------------------------


def confirmed(fault, *, heal_after=None, healthy=True, until=100.0, built_in=None, **changes):
    """What follows a fault that begins after a healthy cycle: (told, seen) from then on.

    `heal_after`: after so many sessions that met it, the fault is gone.
    """

    async def main(loop):
        async with backend(loop) as standin:
            if not healthy:
                standin.set_fault("/ws", fault)
            profiles = {} if built_in is None else {"built_in": built_in}
            (job,) = harness.planned(mapping(standin, interval="100s", **changes), **profiles).jobs
            async with scheduled(loop, job) as (_, told):
                if healthy:
                    async with asyncio.timeout(200):
                        await standin.wait_sessions(1, timeout=200)
                    await harness.until(lambda: told.cycles)
                    standin.set_fault("/ws", fault)
                if heal_after is not None:
                    await standin.wait_sessions(heal_after + healthy, timeout=200)
                    standin.clear("/ws")
                await asyncio.sleep(until)
            return told, list(standin.sessions)[healthy:]

    return virtual_clock.run(main)


def triggers(told):
    return [result.trigger for result in told.results]


def test_a_first_failure_is_confirmed_after_5_and_10_seconds_by_others():
    """Both confirm runs are as deep as the failed cycle, each as another user; the cycle counts once."""
    told, seen = confirmed("internal_error", until=130.0)

    after = [session.accepted_at - seen[0].finished_at for session in seen[1:3]]
    assert after == pytest.approx([5.0, 10.0], abs=0.05)
    assert triggers(told)[1:4] == [Trigger.SCHEDULE, Trigger.CONFIRM, Trigger.CONFIRM]
    assert len({result.identity for result in told.results[1:4]}) == 3
    assert {result.depth for result in told.results} == {Probe.SEND}
    assert len(told.cycles) == 2
    assert told.skips == []


@pytest.mark.parametrize(("fault", "phase"), [("silent:after=tcp", "upgrade"), ("no_welcome", "admission")])
def test_a_session_that_nothing_answers_is_confirmed_while_it_waits(fault, phase):
    """Once twenty sessions have shown how long an answer takes: others ask after 5 s and 10 s of silence."""

    async def main(loop):
        async with backend(loop) as standin:
            (job,) = harness.planned(mapping(standin, timeout="8s")).jobs
            async with scheduled(loop, job) as (_, told):
                await standin.wait_sessions(21, timeout=1000)
                await harness.until(lambda: len(told.cycles) == 21)
                standin.set_fault("*", fault)
                await asyncio.sleep(60)
            return told, list(standin.sessions)[21:24]

    told, seen = virtual_clock.run(main)

    assert [session.accepted_at - seen[0].accepted_at for session in seen] == pytest.approx([0, 5, 10], abs=0.3)
    assert {(result.phase.value, result.reason) for result in told.results[21:24]} == {(phase, Reason.TIMEOUT)}
    assert len({result.identity for result in told.results[21:24]}) == 3
    assert told.suspicions == [SuspicionOutcome.CONFIRMED]
    assert set(causes(told)) <= {SkipCause.DRAINING}


def test_the_first_pass_ends_the_confirming():
    """One confirm run that passes is enough."""
    told, seen = confirmed("internal_error", heal_after=1, until=50.0)

    assert triggers(told) == [Trigger.SCHEDULE, Trigger.SCHEDULE, Trigger.CONFIRM]
    assert [result.failed for result in told.results] == [False, True, False]
    assert len(seen) == 2


def test_only_a_failure_after_a_pass_is_confirmed():
    """A start into an outage and its later cycles open one session each."""
    told, _ = confirmed("internal_error", healthy=False, until=450.0)

    assert len(told.cycles) == 4
    assert set(triggers(told)) == {Trigger.SCHEDULE}


def test_a_shallow_pass_does_not_end_an_outage_of_a_deeper_probe():
    """Every second cycle only connects, and passes: the cycles of `send` go on failing and are confirmed once."""
    told, _ = confirmed("internal_error", probes={"auth": {"every": 2}, "send": {"every": 2}}, until=1000.0)

    failed = [result for result in told.cycles if result.failed]
    assert len(failed) >= 4
    assert triggers(told).count(Trigger.CONFIRM) == 2


@pytest.mark.parametrize("fault", ["auth_rejected", "http:status=429"])
def test_nothing_follows_a_refusal_that_another_session_makes_worse(fault):
    """After a rate limit, or a token by which a breaker nearly opens, nothing comes before the next cycle."""
    told, seen = confirmed(fault, until=150.0)

    assert told.results[1].failed
    assert len(told.results) == 2
    assert len(seen) == 1


def test_a_login_that_cannot_be_judged_is_tried_once_more_10_s_later_by_another():
    """With the second one it is an outage; the third is the next cycle's."""
    told, seen = confirmed("auth_unavailable", until=250.0)

    assert triggers(told)[1:] == [Trigger.SCHEDULE, Trigger.REPEAT, Trigger.SCHEDULE]
    assert seen[1].accepted_at - seen[0].finished_at == pytest.approx(10, abs=0.1)
    assert told.results[1].identity != told.results[2].identity
    assert len(told.cycles) == 3


def test_a_rejected_token_is_sent_once_more_10_s_later_and_then_the_key_rests():
    """Where no breaker is known: as many as without a repeat run, in 10 s and not in an interval."""
    told, seen = confirmed("auth_rejected", until=350.0, built_in=harness.UNGUARDED)

    assert triggers(told)[1:] == [Trigger.SCHEDULE, Trigger.REPEAT, *[Trigger.SCHEDULE] * 2]
    assert seen[1].accepted_at - seen[0].finished_at == pytest.approx(10, abs=0.1)
    assert [session.token_seen for session in seen] == [True, True, False, False]


def test_an_auth_refusal_of_a_confirm_run_ends_the_confirming():
    """What must not be confirmed must not be met twice by confirming something else."""

    async def main(loop):
        async with backend(loop) as standin:
            (job,) = harness.planned(mapping(standin, interval="100s")).jobs
            async with scheduled(loop, job) as (_, told):
                await standin.wait_sessions(1, timeout=200)
                await harness.until(lambda: told.cycles)
                standin.set_fault("/ws", "internal_error")
                await standin.wait_sessions(2, timeout=200)
                standin.set_fault("/ws", "auth_unavailable")
                await asyncio.sleep(60)
            return told

    told = virtual_clock.run(main)

    assert triggers(told)[1:] == [Trigger.SCHEDULE, Trigger.CONFIRM]
    assert told.results[-1].reason is Reason.AUTH_UNAVAILABLE


def test_a_pool_of_one_asks_again_where_it_has_slots_to_spare():
    """Behind the 101 nobody else can: 10 s after each failure."""
    told, seen = confirmed("internal_error", identities={"one": "a-single-user"}, until=250.0)

    assert triggers(told)[1:] == [Trigger.SCHEDULE, Trigger.REPEAT, Trigger.REPEAT, Trigger.SCHEDULE]
    begun = [session.accepted_at for session in seen]
    assert [after - before for before, after in pairwise(begun)] == pytest.approx([10, 10, 80], abs=0.2)


def test_a_pool_of_one_without_a_spare_slot_asks_no_sooner():
    """Of four slots, one of them in reserve, the schedule needs three."""
    alone = {"identities": {"one": "a-single-user"}, "limits": {"slots_per_identity": 4, "slot_release": "200s"}}
    told, seen = confirmed("internal_error", until=250.0, **alone)

    assert len(seen) == 2
    assert triggers(told) == [Trigger.SCHEDULE] * 3


def failing_from(moment, loop, *, confirm):
    """Sessions that fail from a moment of the loop on; `confirm` is what becomes of a confirm run."""

    async def play(turn):
        if turn.trigger is Trigger.CONFIRM:
            return confirm
        return await instant(turn, verdict=Verdict.FAIL if loop.time() > moment else Verdict.PASS)

    return play


@pytest.mark.parametrize(("pool", "missed"), [({"one": "a-single-user"}, 3), (harness.POOL, 3)], ids=["one", "three"])
def test_a_confirm_run_that_finds_no_room_costs_no_cycle_unsaid(pool, missed):
    """Cycles that waited in vain are skips of the cause that kept it away, but the last; one alone asks anonymously."""

    async def main(loop):
        (job,) = harness.planned(
            mapping(
                Nowhere, interval="2s", timeout="1s", close_timeout="500ms", confirm={"after": "9s"}, identities=pool
            )
        ).jobs
        player = Played(loop, job, play=failing_from(21, loop, confirm=Skip("staging", SkipCause.BUDGET)))
        player.scheduler.start()
        await asyncio.sleep(100)
        await player.scheduler.stop()
        return player.told

    told = virtual_clock.run(main)

    due = dues("staging", 2.0, virtual_clock.EPOCH, virtual_clock.EPOCH + 100)
    assert causes(told) == {SkipCause.BUDGET: missed}
    assert len(told.cycles) + len(told.skips) == len(due)


def test_a_confirm_run_looks_at_the_clock_before_it_asks_the_ledger():
    """A ledger that has not followed a step forward would think that the slots of the last hour are free."""

    async def main(loop):
        (job,) = harness.planned(mapping(Nowhere, interval="100s")).jobs
        asked = []

        async def play(turn):
            if turn.trigger is Trigger.CONFIRM:
                asked.append(list(player.told.steps))
            return await instant(turn, verdict=Verdict.FAIL if loop.time() > 100 else Verdict.PASS)

        player = Played(loop, job, play=play)
        player.scheduler.start()
        await until_failed(player.told)
        loop.step(3600)
        await asyncio.sleep(20)
        await player.scheduler.stop()
        return asked

    assert virtual_clock.run(main) == [[pytest.approx(3600)]] * 2


async def until_failed(told):
    async with asyncio.timeout(1000):
        while not any(result.failed for result in told.results):
            await asyncio.sleep(1)


def test_a_backend_without_users_is_confirmed_anonymous():
    """A profile without identities has no other one to ask, and needs none."""

    async def main(loop):
        jobs = harness.planned(mapping(Nowhere, profile="echo", identities=None, auth=None, interval="100s")).jobs
        verdicts = iter([Verdict.PASS, Verdict.FAIL])

        async def play(turn):
            return await instant(turn, verdict=next(verdicts, Verdict.FAIL))

        player = Played(loop, *jobs, play=play)
        player.scheduler.start()
        await asyncio.sleep(300)
        await player.scheduler.stop()
        return player

    player = virtual_clock.run(main)

    assert [turn.identity for _, turn in player.begun] == [None] * len(player.begun)
    assert [turn.trigger for _, turn in player.begun].count(Trigger.CONFIRM) == 2


def test_without_spare_slots_nothing_is_confirmed():
    """A schedule that uses every slot it may has none to spare: no session, no skip."""

    async def main(loop):
        async with backend(loop) as standin:
            limits = {"slots_per_identity": 4, "slot_release": "300s"}
            for seconds in range(30, 60):
                tight = mapping(standin, interval=f"{seconds}s", limits=limits)
                with contextlib.suppress(AssertionError):
                    (job,) = harness.planned(tight).jobs
                    break
            async with scheduled(loop, job) as (_, told):
                await asyncio.sleep(1000)
                standin.set_fault("/ws", "internal_error")
                await asyncio.sleep(300)
            return told

    told = virtual_clock.run(main)

    assert any(result.failed for result in told.results)
    assert set(triggers(told)) == {Trigger.SCHEDULE}
    assert told.skips == []


def test_a_cycle_that_falls_due_meanwhile_is_answered_by_the_confirm_run():
    """With an interval below 2 × after, an outage is certain at once, and no cycle is lost or counted twice."""

    async def main(loop):
        async with backend(loop) as standin:
            (job,) = harness.planned(mapping(standin, interval="8s", timeout="3s")).jobs
            async with scheduled(loop, job) as (_, told):
                await standin.wait_sessions(3, timeout=200)
                await harness.until(lambda: len(told.cycles) == 3)
                standin.set_fault("/ws", "internal_error")
                await asyncio.sleep(60)
                end = loop.wall()
            return told, end

    told, end = virtual_clock.run(main)

    assert told.skips == []
    assert len(told.cycles) == len(dues("staging", 8.0, virtual_clock.EPOCH, end))
    answers = [result for result in told.cycles if result.trigger is Trigger.CONFIRM]
    assert len(answers) == 1, "the cycle 8 s after the first failure is answered by the run 10 s after it"
    assert answers[0].failed


DEPTHS = {"auth": {"every": 2}, "send": {"every": 2}}


@pytest.mark.parametrize("passes", [True, False])
@pytest.mark.parametrize("begin", [40, 48], ids=["even", "odd"])
def test_a_confirm_run_answers_what_the_cycle_asked_and_no_more(begin, passes):
    """A connect-deep cycle answered by a send-deep session counts for connect alone; a deeper one is still owed."""

    async def main(loop):
        (job,) = harness.planned(
            mapping(Nowhere, interval="8s", timeout="3s", confirm={"after": "9s"}, probes=DEPTHS)
        ).jobs

        async def play(turn):
            failing = begin < loop.time() < 80 and not (passes and turn.trigger is Trigger.CONFIRM)
            return await instant(turn, verdict=Verdict.FAIL if failing else Verdict.PASS)

        player = Played(loop, job, play=play)
        player.scheduler.start()
        await asyncio.sleep(160)
        await player.scheduler.stop()
        return player, job

    player, job = virtual_clock.run(main)

    due = [job.cycle_at(at + 0.001) for at in dues("staging", 8.0, virtual_clock.EPOCH, virtual_clock.EPOCH + 160)]
    expected = Counter(probe for cycle in due for probe in Probe if probe.rank <= job.depth(cycle).rank)
    counted = Counter(probe for result in player.told.cycles for probe in result.verdicts)
    assert counted == expected
    assert any(result.trigger is Trigger.CONFIRM for result in player.told.cycles)
    assert player.told.skips == []


# Clocks -------------------------------------------------------------------------------------------------------------


class Shifting(harness.Recorder):
    """Sinks that let the ledger follow the clock, as the daemon does."""

    def __init__(self, state):
        super().__init__()
        self._state = state

    def clock_stepped(self, seconds):
        super().clock_stepped(seconds)
        self._state.shift_times(seconds)


@pytest.mark.parametrize("step", [3600.0, -3600.0, 90.0, 0.5, -0.5])
def test_a_step_of_the_wall_clock_loses_no_cycle(step):
    """The next cycle is at most an interval late, nothing is late or lost, and slots are held as long as before."""

    async def main(loop):
        async with backend(loop) as standin:
            limits = {"slots_per_identity": 20, "slot_release": "300s"}
            (job,) = harness.planned(mapping(standin, limits=limits)).jobs
            prober = harness.Rig(clock=loop.clock)
            told = Shifting(prober.state)
            scheduler = Scheduler([job], prober.prober.run, told, loop.clock)
            watch = asyncio.ensure_future(LoopLagMonitor(loop.time).run(lambda _: scheduler.check_clock_step()))
            scheduler.start()
            held = []

            def look():
                held.append(sum(prober.state.ledger.held_slots(user, loop.wall()) for user in job.users.values()))

            await asyncio.sleep(400)
            look()
            loop.step(step)
            await asyncio.sleep(1)
            look()
            await asyncio.sleep(399)
            await scheduler.stop()
            watch.cancel()
            await asyncio.sleep(279)
            look()
            await asyncio.sleep(22)
            look()
            return told, held, [session.accepted_at for session in standin.sessions]

    told, held, begun = virtual_clock.run(main)

    gaps = [after - before for before, after in itertools.pairwise(begun)]
    assert told.skips == []
    assert max(gaps) <= 40.01
    assert 39 <= len(begun) <= 41
    assert told.steps == ([pytest.approx(step)] if abs(step) > 1 else [])
    assert held[0] >= 15
    assert held[0] - 1 <= held[1] <= held[0] + 1
    assert held[2] >= 1, "the last session's slot is held until its release"
    assert held[3] == 0


def test_a_step_is_seen_by_a_due_cycle_too():
    """A step forward makes the alarm go off for an hour of cycles at once: none of them is late."""

    async def main(loop):
        async with backend(loop) as standin:
            (job,) = harness.planned(mapping(standin)).jobs
            async with scheduled(loop, job) as (_, told):
                await asyncio.sleep(50)
                loop.step(3600)
                await asyncio.sleep(100)
            return told

    told = virtual_clock.run(main)

    assert told.skips == []
    assert told.steps == [pytest.approx(3600)]
    assert 6 <= len(told.cycles) <= 8


DAY = 86_400.0
YEAR = 365.25 * DAY


@pytest.mark.parametrize("phase", [0.001, 0.3, 0.93, 0.999, 0.999999])
@pytest.mark.parametrize("step", [1.5, 60.0, 3600.0, 40 * DAY, 56 * YEAR, -1.5, -60.0, -3600.0, -40 * DAY, -56 * YEAR])
def test_a_clock_step_costs_no_work_that_grows_with_it(step, phase, monkeypatch):
    """At any phase of the interval: the next session comes within an interval, and few moments are computed for it."""
    computed = []
    moments = wakeups.CycleTrigger.get_next_fire_time

    def counted(trigger, previous, now):
        computed.append(now)
        return moments(trigger, previous, now)

    monkeypatch.setattr(wakeups.CycleTrigger, "get_next_fire_time", counted)

    async def main(loop):
        async with backend(loop) as standin:
            (job,) = harness.planned(mapping(standin)).jobs
            prober = harness.Rig(clock=loop.clock)
            told = Shifting(prober.state)
            scheduler = Scheduler([job], prober.prober.run, told, loop.clock)
            async with asyncio.TaskGroup() as group:
                watch = group.create_task(LoopLagMonitor(loop.time).run(lambda _: scheduler.check_clock_step()))
                scheduler.start()
                await asyncio.sleep(job.due(job.cycle_at(loop.wall()) + 3) - loop.wall() + phase * job.interval)
                before = len(told.cycles)
                computed.clear()
                loop.step(step)
                await asyncio.sleep(job.interval + 1.1)  # the watch looks twice a second
                watch.cancel()
            await scheduler.stop()
            return len(told.cycles) - before, told

    cycles, told = virtual_clock.run(main)

    assert cycles >= 1, "a session within one interval of the step"
    assert told.steps == [pytest.approx(step, rel=1e-6)]
    assert len(computed) <= 10


# What proves nothing, and what there is no room for -----------------------------------------------------------------


async def void(turn):
    """A session that slept through its deadline."""
    result = await instant(turn)
    return replace(result, verdicts=dict.fromkeys(Probe, Verdict.NONE), distorted=True, void=True)


def test_a_session_that_proves_nothing_is_a_skip_and_no_failure():
    """It is told to who listens for sessions, its cycle is skipped as distorted, and nothing is confirmed."""
    player = played(100, {}, play=void)

    assert [skip.cause for skip in player.told.skips] == [SkipCause.DISTORTED] * len(player.begun)
    assert len(player.told.results) == len(player.begun) >= 4
    assert player.told.cycles == []
    assert {turn.trigger for _, turn in player.begun} == {Trigger.SCHEDULE}


def test_a_void_confirm_run_ends_the_confirming():
    """What cannot be believed confirms nothing; the next cycle asks again."""

    async def fails_then_void(turn):
        if turn.trigger is Trigger.CONFIRM:
            return await void(turn)
        return await instant(turn, verdict=Verdict.FAIL if turn.cycle % 4 == 0 else Verdict.PASS)

    player = played(400, {}, play=fails_then_void)

    first_failures = sum(result.failed for result in player.told.results)
    confirm_runs = [turn.trigger for _, turn in player.begun].count(Trigger.CONFIRM)
    assert first_failures - 1 <= confirm_runs <= first_failures  # the last one's may be still to come
    assert confirm_runs > 1
    assert player.told.skips == []


def test_sessions_of_others_take_their_part_of_the_bound():
    """While others hold all there may be, a cycle is skipped as `capacity`; when they go, it runs."""

    async def main(loop):
        others = 2
        jobs = harness.planned(mapping(Nowhere)).jobs
        told = harness.Recorder()
        scheduler = Scheduler(jobs, instant, told, loop.clock, max_sessions=2, other_sessions=lambda: others)
        scheduler.start()
        await asyncio.sleep(50)
        full = len(told.cycles), {skip.cause for skip in told.skips}
        others = 1
        await asyncio.sleep(50)
        await scheduler.stop()
        return full, len(told.cycles)

    full, later = virtual_clock.run(main)

    assert full == (0, {SkipCause.CAPACITY})
    assert later >= 2


def test_sessions_in_flight_are_bounded():
    """The cycles of other targets that find no room are skipped as `capacity`; when there is room they run again."""

    async def main(loop):
        jobs = harness.planned(*[mapping(Nowhere, name=f"t{number}") for number in range(6)]).jobs
        most = 0

        async def slow(turn):
            nonlocal most
            most = max(most, scheduler.in_flight)
            return await instant(turn, lasts=8.0)

        told = harness.Recorder()
        scheduler = Scheduler(jobs, slow, told, loop.clock, max_sessions=2)
        scheduler.start()
        await asyncio.sleep(100)
        await scheduler.stop()
        return told, most, scheduler.in_flight

    told, most, left = virtual_clock.run(main)

    assert (most, left) == (2, 0)
    assert {skip.cause for skip in told.skips} - {SkipCause.DRAINING} == {SkipCause.CAPACITY}
    assert len(told.cycles) + len(told.skips) == pytest.approx(6 * 100 / 20, abs=6)


# The alarm ----------------------------------------------------------------------------------------------------------


class Broken(harness.Recorder):
    """Sinks of which one breaks once."""

    def __init__(self):
        super().__init__()
        self.broken = 0

    def set_next_due(self, *_):
        if not self.broken and self.cycles:
            self.broken = 1
            raise ZeroDivisionError


def test_a_bug_of_ours_is_logged_and_the_schedule_goes_on(caplog):
    """What breaks while a cycle is handed over costs that cycle, and is said: APScheduler would swallow it."""

    async def main(loop):
        (job,) = harness.planned(mapping(Nowhere)).jobs
        told = Broken()
        scheduler = Scheduler([job], instant, told, loop.clock)
        scheduler.start()
        await asyncio.sleep(200)
        await scheduler.stop()
        return told

    told = virtual_clock.run(main)

    assert len(told.cycles) == 9
    assert [record.getMessage() for record in caplog.records] == ["a due cycle of staging broke: please report this"]


def test_a_session_that_breaks_is_logged_and_the_schedule_goes_on(caplog):
    """An exception from below ends neither the lane nor the schedule."""

    async def breaks(turn):
        if turn.cycle % 2:
            raise ZeroDivisionError
        return await instant(turn)

    player = played(200, {}, play=breaks)

    assert len(player.told.cycles) == 5
    assert {record.getMessage() for record in caplog.records} == {"a cycle of staging broke: please report this"}


def test_apscheduler_says_nothing(caplog):
    """Its lines would be noise at best; what they are about is counted by us."""
    caplog.set_level(logging.DEBUG, "exporter")

    blocking(2, 60.0, {})

    assert not [record for record in caplog.records if record.name.startswith("apscheduler")]
    assert not logging.getLogger("apscheduler.scheduler").isEnabledFor(logging.ERROR)


def test_a_dead_alarm_is_known():
    """`alive` while cycles are handed over, however long nobody could run; not when they fall due and none is."""

    async def main(loop):
        (job,) = harness.planned(mapping(Nowhere)).jobs
        player = Played(loop, job)
        before = player.scheduler.alive
        player.scheduler.start()
        await asyncio.sleep(100)
        running = player.scheduler.alive
        loop.step(7200)
        stepped = player.scheduler.alive
        await asyncio.sleep(1)
        player.scheduler._wakeups._stop_timer()  # what an exception in its wake-up amounts to
        await asyncio.sleep(20 + DEAD_ALARM_SECONDS + 1)
        dead = player.scheduler.alive
        await player.scheduler.stop()
        return before, running, stepped, dead

    assert virtual_clock.run(main) == (True, True, True, False)


# The stop -----------------------------------------------------------------------------------------------------------


def stopped_in(fault, *, after, **changes):
    """Stop so many seconds after the second session has begun; told, seen, and how long it took."""

    async def main(loop):
        async with backend(loop) as standin:
            (job,) = harness.planned(mapping(standin, **changes)).jobs
            tasks = asyncio.all_tasks()
            prober = harness.Rig(clock=loop.clock)
            scheduler, told = prober.schedule(job)
            await standin.wait_sessions(1, timeout=200)
            await harness.until(lambda: told.cycles)
            if fault:
                standin.set_fault("/ws", fault)
            prober.opened.clear()
            await prober.opened.wait()
            await asyncio.sleep(after)
            begun = loop.time()
            await scheduler.stop()
            took = loop.time() - begun
            again = loop.time()
            await scheduler.stop()
            assert loop.time() == again
            assert prober.open == 0
            assert asyncio.all_tasks() - {asyncio.current_task()} <= tasks | standin_tasks(standin)
            await asyncio.sleep(600)
            held = [hold for hold in prober.state.ledger._state.all_leases() if hold.closed_at is None]
            return told, list(standin.sessions), took, held

    return virtual_clock.run(main)


def standin_tasks(standin):
    return set(standin._live.values())


def test_a_session_that_can_finish_is_let():
    """A stop in mid-session waits for its verdict; the cycle counts."""
    told, seen, took, held = stopped_in("slow_reply:delay=1.5", after=0.1)

    assert took < FINISH_GRACE_SECONDS
    assert [result.failed for result in told.cycles] == [False, False]
    assert [session.close_received for session in seen] == [1000, 1000]
    assert told.skips == held == []


def test_a_session_that_cannot_finish_is_closed_with_1000():
    """After `FINISH_GRACE_SECONDS` it is told to close; the server sees a clean 1000, the cycle is `draining`."""
    told, seen, took, held = stopped_in("deaf", after=0.1)

    assert FINISH_GRACE_SECONDS <= took < FINISH_GRACE_SECONDS + STOP_GRACE_SECONDS
    assert causes(told) == {SkipCause.DRAINING: 1}
    assert (seen[-1].close_received, seen[-1].first_closer, seen[-1].how) == (1000, "client", "close")
    assert held == []
    assert len(seen) == 2


@pytest.mark.parametrize("fault", ["no_close_answer", "silent:after=welcome", "silent"])
def test_a_backend_that_answers_nothing_holds_up_no_stop(fault):
    """Whatever the close budget of the target, the stop is over after `PATIENCE + CLOSING`."""
    told, seen, took, held = stopped_in(fault, after=0.05, interval="60s", timeout="20s", close_timeout="30s")

    assert took <= FINISH_GRACE_SECONDS + STOP_GRACE_SECONDS + 0.01
    assert len(told.cycles) + len(told.skips) == 2
    assert not any(session.close_received == 1011 for session in seen)
    assert held == []


def test_a_stop_ends_the_confirming_at_once():
    """No new session once we stop: owed cycles are `draining`, and a confirm run that waits is not waited for."""

    async def main(loop):
        async with backend(loop) as standin:
            (job,) = harness.planned(mapping(standin, interval="8s", timeout="3s", confirm={"after": "20s"})).jobs
            async with scheduled(loop, job) as (scheduler, told):
                await standin.wait_sessions(1, timeout=200)
                await harness.until(lambda: told.cycles)
                standin.set_fault("/ws", "internal_error")
                await standin.wait_sessions(2, timeout=200)
                await asyncio.sleep(17)
                begun = loop.time()
                await scheduler.stop()
                took = loop.time() - begun
                await asyncio.sleep(100)
            return told, took, len(standin.sessions)

    told, took, sessions = virtual_clock.run(main)

    assert took < 0.01
    assert sessions == 2
    assert causes(told) == {SkipCause.DRAINING: 2}


@pytest.mark.parametrize("fault", ["slow_reply:delay=1", "http:status=502"])
def test_no_session_is_opened_once_we_stop(fault):
    """A failure met while stopping is not confirmed, however soon its confirm run would be due."""
    changes = {"confirm": {"after": "100ms"}, "timeout": "1100ms" if "slow" in fault else "3s"}

    told, seen, took, _ = stopped_in(fault, after=0.0, **changes)

    assert len(seen) == 2
    assert set(triggers(told)) == {Trigger.SCHEDULE}
    assert took < FINISH_GRACE_SECONDS


def test_two_stops_at_once_are_one():
    """The second waits for the first, and cuts no session's close short; nothing can be started after it."""

    async def main(loop):
        async with backend(loop) as standin:
            standin.set_fault("/ws", "deaf", "no_close_answer")
            (job,) = harness.planned(mapping(standin, timeout="15s", close_timeout="1400ms")).jobs
            prober = harness.Rig(clock=loop.clock)
            scheduler, told = prober.schedule(job)
            await prober.opened.wait()
            begun = loop.time()
            first = asyncio.ensure_future(scheduler.stop())
            await asyncio.sleep(1)
            await scheduler.stop()
            took = loop.time() - begun
            await first
            scheduler.start()
            await asyncio.sleep(100)
            return told, took, prober.open

    told, took, still_open = virtual_clock.run(main)

    assert took == pytest.approx(FINISH_GRACE_SECONDS + 1.4, abs=0.01)
    assert causes(told) == {SkipCause.DRAINING: 1}
    assert told.results == []
    assert still_open == 0


def test_a_stop_before_the_start_and_one_at_rest_are_harmless():
    """Nothing runs, nothing waits, and the loop's handler of exceptions is told of none."""

    async def main(loop):
        problems = []
        loop.set_exception_handler(lambda _, context: problems.append(context))
        (job,) = harness.planned(mapping(Nowhere)).jobs
        never = Played(loop, job)
        await never.scheduler.stop()
        idle = Played(loop, job)
        idle.scheduler.start()
        await idle.scheduler.stop()
        await idle.scheduler.stop()
        await asyncio.sleep(100)
        return problems, never.begun + idle.begun

    assert virtual_clock.run(main) == ([], [])


def test_an_impairment_is_neither_a_pass_nor_a_failure(tmp_path):
    """Our own failure between two failed cycles makes the second no first one, and no cycle is told for it."""
    key = tmp_path / "key"

    async def main(loop):
        async with backend(loop) as standin:
            key.write_bytes(standin.key)
            auth = {"jwt": {"key_file": str(key), "claims": harness.CLAIMS}}
            (job,) = harness.planned(mapping(standin, auth=auth, confirm={"after": "2s"})).jobs
            async with scheduled(loop, job) as (_, told):
                for fault, content in (("none", standin.key), ("internal_error", None), ("none", b"")):
                    standin.set_fault("/ws", fault)
                    if content is not None:
                        key.write_bytes(content)
                    await asyncio.sleep(20)
                standin.set_fault("/ws", "internal_error")
                key.write_bytes(standin.key)
                await asyncio.sleep(20)
            return told

    told = virtual_clock.run(main)

    assert [result.impairment for result in told.results if result.trigger is Trigger.SCHEDULE] == [
        None, None, Impairment.TOKEN, None,
    ]  # fmt: skip
    assert [result.failed for result in told.cycles] == [False, True, True]
    assert triggers(told).count(Trigger.CONFIRM) == 2
