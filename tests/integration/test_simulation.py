"""The exporter does no harm: hours of schedule against the stand-in's real slots and breaker, on a virtual clock."""

import asyncio
import contextlib
import random
from bisect import bisect_left
from collections import Counter
from dataclasses import replace
from functools import partial
from itertools import pairwise

import pytest
from support import harness, virtual_clock
from support.refusals import Outcomes

from exporter.config import Config
from exporter.oncall import Checker
from exporter.plan import plan
from exporter.profiles import BUILT_IN
from exporter.result import FactoryReason, Probe, Reason, Result, SideProbe, SkipCause, Trigger
from exporter.scheduler import Scheduler
from exporter.side_probes import RefusalProbe, SideProbes
from exporter.standin import StandIn, Timings
from exporter.state import LedgerFile

RELEASE = 300.0
SLOTS = 5
WINDOWS = [30, pytest.param(100, marks=pytest.mark.soak)]
"""Release windows that a schedule is watched for."""
DAYS = [2, pytest.param(7, marks=pytest.mark.soak)]
WEATHER = ("no_welcome", "internal_error", "zombie", "abort:at=reply", "http:status=502", "half_close")


async def backend(loop, **settings):
    return await StandIn.start(tls_port=None, clock=loop.time, wall=loop.wall, timings=Timings(), **settings)


def mapping(standin, interval, *, slots=SLOTS, **changes):
    """The target of a factory that keeps five slots for 300 s after the disconnect."""
    limits = {"slots_per_identity": slots, "slot_release": f"{RELEASE:.0f}s"}
    settings = {"timeout": "10s", "close_timeout": "2s", "interval": interval, "limits": limits} | changes
    return harness.target(standin, "/ws", **settings)


def slot_refusals(results):
    return sum(result.factory_reason is FactoryReason.SLOT_LIMIT for result in results)


def planned_interval(standin):
    """The shortest interval in whole seconds that the plan lets pass."""
    for seconds in range(13, 200):
        made = plan(Config.model_validate({"targets": [mapping(standin, f"{seconds}s")]}), BUILT_IN)
        if not isinstance(made, tuple):
            return seconds
    raise AssertionError("no interval is safe")


async def stormy(standin, seconds, seed):
    """Weather: a fault at random moments for a random time."""
    weather = random.Random(seed)
    end = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < end:
        await asyncio.sleep(weather.uniform(60, 600))
        standin.set_fault("/ws", weather.choice(WEATHER))
        await asyncio.sleep(weather.uniform(5, 120))
        standin.clear("/ws")


@pytest.mark.parametrize("windows", WINDOWS)
@pytest.mark.parametrize(
    ("stretch", "restarts_per_window"),
    [(1.0, 0), (1.4, 0), (1.0, 0.4), (1.4, 0.4)],
    ids=["tightest", "with room to confirm", "tightest, restarts", "with room to confirm, restarts"],
)
def test_a_planned_schedule_never_meets_the_limit(stretch, restarts_per_window, windows, tmp_path):
    """Failures, confirm runs and restarts mixed in, and no refusal for want of a slot. Without room nobody confirms."""
    length, restarts = windows * RELEASE, round(windows * restarts_per_window)

    async def main(loop):
        standin = await backend(loop, slots=SLOTS)
        interval = round(stretch * planned_interval(standin))
        job = harness.planned(mapping(standin, f"{interval}s")).jobs[0]
        weather = asyncio.ensure_future(stormy(standin, length, seed=7))
        results = []
        for life in range(restarts + 1):
            state = (
                LedgerFile.open(tmp_path / "state", wall=loop.wall)
                if life % 2
                else LedgerFile.in_memory(wall=loop.wall)
            )
            scheduler, told = harness.Rig(clock=loop.clock, state=state).schedule(job)
            await asyncio.sleep(length / (restarts + 1) * (0.9 + 0.2 * (life % 2)))
            await scheduler.stop()
            state.close()
            results += told.results
        weather.cancel()
        await standin.close()
        return results

    results = virtual_clock.run(main)

    assert slot_refusals(results) == 0
    assert sum(result.failed for result in results) > 0.2 * windows
    confirmed = sum(result.trigger is Trigger.CONFIRM and result.identity is not None for result in results)
    assert confirmed > 0.1 * windows if stretch > 1 else confirmed == 0
    assert sum(not result.failed for result in results) > 5 * windows


def test_one_slot_more_than_there_is_meets_the_limit():
    """A schedule of slots + 1 connects per release and session does meet it: the stand-in can refuse."""

    async def main(loop):
        standin = await backend(loop, slots=SLOTS)
        session = 0.2
        interval = (RELEASE + session) / (SLOTS + 1)
        careless = mapping(
            standin, f"{interval * 1000:.0f}ms", slots=0, identities={"pool-001": "staging-e2e-user-001"}
        )
        scheduler, told = harness.Rig(clock=loop.clock).schedule(harness.planned(careless).jobs[0])
        await asyncio.sleep(4 * RELEASE)
        await scheduler.stop()
        await standin.close()
        return told.results

    assert slot_refusals(virtual_clock.run(main)) > 0


def test_the_plan_refuses_what_would_meet_the_limit():
    """The shortest interval the plan lets pass is the shortest that is safe, give or take the reserve of one slot."""

    async def main(loop):
        standin = await backend(loop, slots=SLOTS)
        interval = planned_interval(standin)
        # The reserve is one slot: a schedule for one identity fewer of them is refused although it would just fit.
        tight = mapping(standin, f"{interval - 1}s")
        refused = plan(Config.model_validate({"targets": [tight]}), BUILT_IN)
        await standin.close()
        return refused

    refused = virtual_clock.run(main)

    assert isinstance(refused, tuple)
    assert "interval" in refused[0].path


WRONG = b"another secret, long enough for HS256!"
DAY = 86_400.0


class WrongKeys:
    """Days of an exporter whose key is wrong, restarted daily, with checks; before both breakers of a backend.

    `story`: `wrong` from the start; `wrong again`: another wrong one each day; `rotated`: right for an hour.
    """

    def __init__(self, loop, standin, folder, story, days):
        self.loop, self.standin, self.story, self.days = loop, standin, story, days
        self.key_file, self.state_file = folder / "key", folder / "state"
        self.key_file.write_bytes(standin.key if story == "rotated" else WRONG)
        auth = {"jwt": {"key_file": str(self.key_file), "claims": harness.CLAIMS}}
        (self.job,) = harness.planned(mapping(standin, "60s", slots=20, auth=auth)).jobs
        self.results, self.let_in = [], []

    async def live(self):
        for day in range(self.days):
            async with self.exporter() as state:
                await asyncio.sleep(3600)
                if self.story == "wrong again":
                    self.key_file.write_bytes(WRONG + str(day).encode())
                elif self.story == "rotated":
                    self.standin.set_fault("/ws", "auth_rejected:breaker=true")
                for depth in (Probe.SEND, Probe.CONNECT):
                    checked = await Checker(self.job, state, clock=self.loop.clock).check_once(depth)
                    self.results += checked.results
                await asyncio.sleep(DAY - 3600)

    @contextlib.asynccontextmanager
    async def exporter(self):
        """One life; what it knew is in the state file."""
        state = LedgerFile.open(self.state_file, wall=self.loop.wall)
        scheduler, told = harness.Rig(clock=self.loop.clock, state=state).schedule(self.job)
        yield state
        await scheduler.stop()
        state.close()
        self.results += told.results

    async def bystander(self):
        """Another client of the backend, every six hours; it knows nothing of us."""
        (job,) = harness.planned(mapping(self.standin, "60s", slots=0, identities={"a": "somebody-else"})).jobs
        while True:
            await asyncio.sleep(6 * 3600)
            self.let_in.append(not (await harness.Rig(clock=self.loop.clock).run(job, identity="a")).failed)

    @property
    def openings(self):
        process = self.standin._server_state.backend("/ws")
        return process.breaker.openings, process.login_breaker.openings

    @property
    def rejected(self):
        return sum(result.reason is Reason.AUTH_REJECTED for result in self.results)

    async def recovers(self):
        """With the right key in the file: whether the exporter passes by itself; else, after a check that is sent."""
        self.standin.clear("/ws")
        self.key_file.write_bytes(self.standin.key)
        self.results.clear()
        async with self.exporter() as state:
            await asyncio.sleep(200)
            if await self.passes(state):
                return "by itself"
            await Checker(self.job, state, clock=self.loop.clock, send_token=True).check_once(Probe.SEND)
            await asyncio.sleep(200)
            return "after a check" if await self.passes(state) else "never"

    async def passes(self, state):
        request = self.job.session_cost("", Probe.SEND, "pool-001", Trigger.SCHEDULE)
        return not state.ledger.is_resting(request, self.loop.wall())


@pytest.mark.parametrize("days", DAYS)
@pytest.mark.parametrize(
    ("story", "others", "rejected", "recovers"),
    [
        ("wrong", False, 1, "by itself"),
        ("wrong", True, None, "by itself"),
        ("wrong again", False, 2, "after a check"),
        ("rotated", False, 2, "after a check"),
    ],
)
def test_days_of_wrong_keys_open_no_breaker(story, others, rejected, recovers, *, days, tmp_path):
    """Neither the auth client's nor the endpoint's own, over schedule, checks and restarts; nobody is shut out."""

    async def main(loop):
        standin = await backend(loop, login_breaker=True)
        life = WrongKeys(loop, standin, tmp_path, story, days)
        bystander = asyncio.ensure_future(life.bystander()) if others else None
        await life.live()
        if bystander is not None:
            bystander.cancel()
        told = life.openings, life.rejected, await life.recovers(), life.let_in
        await standin.close()
        return told

    openings, sent, recovered, let_in = virtual_clock.run(main)

    assert openings == (0, 0)
    assert sent == rejected if rejected is not None else sent <= days * DAY / 300
    assert recovered == recovers
    assert all(let_in)
    assert len(let_in) == (4 * days - 1 if others else 0)


def test_a_careless_client_opens_both_breakers():
    """Three wrong tokens in a row, five connects without one: the stand-in does shut others out."""

    async def main(loop):
        standin = await backend(loop, login_breaker=True)
        (job,) = harness.planned(mapping(standin, "60s", slots=0)).jobs
        careless = replace(job, profile=job.profile.model_copy(update={"breaker": []}))
        standin.set_fault("/ws", "auth_rejected:breaker=true")
        for _ in range(3):
            await harness.Rig(clock=loop.clock).run(careless)
        standin.clear()
        shut = [await harness.Rig(clock=loop.clock).run(careless)]
        await asyncio.sleep(11)
        shut.append(await harness.Rig(clock=loop.clock).run(careless))
        for _ in range(5):
            await harness.Rig(clock=loop.clock).run(careless, depth=Probe.CONNECT)
        shut.append(await harness.Rig(clock=loop.clock).run(careless))
        await standin.close()
        return [result.reason for result in shut]

    assert virtual_clock.run(main) == [Reason.AUTH_UNAVAILABLE, None, Reason.AUTH_UNAVAILABLE]


def test_after_a_slot_refusal_the_identity_rests_in_its_own_turns():
    """For `slot_release` its cycles go connect-deep without a token; nobody takes its turns over."""

    async def main(loop):
        standin = await backend(loop)
        standin.set_fault("/ws", "slot_limit:user=staging-e2e-user-001")
        job = harness.planned(mapping(standin, "40s", slots=20)).jobs[0]
        scheduler, told = harness.Rig(clock=loop.clock).schedule(job)
        await asyncio.sleep(RELEASE)
        await scheduler.stop()
        await standin.close()
        return told

    told = virtual_clock.run(main)

    refused = [result for result in told.results if result.factory_reason is FactoryReason.SLOT_LIMIT]
    resting = [result for result in told.results if result.depth is Probe.CONNECT]
    assert len(refused) == 1
    assert resting
    assert all(result.identity == "pool-001" and not result.failed for result in resting)
    assert {result.identity for result in told.cycles if result.depth is Probe.SEND} == set(harness.POOL)


async def test_three_windows_of_compressed_time_on_the_real_clock_agree():
    """With release 3 s instead of 300 s, three windows on real time meet no limit."""
    pace = Timings().scaled(0.01)
    standin = await StandIn.start(tls_port=None, timings=pace, slots=SLOTS)
    limits = {"slots_per_identity": SLOTS, "slot_release": "3s"}
    compressed = harness.target(
        standin, interval="430ms", timeout="300ms", close_timeout="100ms", limits=limits, confirm={"after": "60ms"}
    )
    prober = harness.Rig()
    scheduler, told = prober.schedule(harness.planned(compressed).jobs[0])
    try:
        await harness.until(lambda: len(told.results) + len(told.skips) >= 30, timeout=60)
    finally:
        await scheduler.stop()
        await standin.close()

    assert slot_refusals(told.results) == 0
    assert all(isinstance(result, Result) for result in told.results)
    assert Counter(skip.cause for skip in told.skips)[SkipCause.BUDGET] == 0


RARE = ["expired", "wrong_audience", "unsigned", "other_key"]


@pytest.mark.parametrize("days", [1, pytest.param(2, marks=pytest.mark.soak)])
def test_days_of_bad_credentials_open_no_breaker_and_keep_the_plan(days, tmp_path):
    """Pool and refusals over days, outages and restarts: a good login between two bad ones, connects as planned."""

    async def main(loop):
        standin = await backend(loop, login_breaker=True)
        refusals = {"every": "10m", "rare_every": "40m", "cases": ["no_token", "malformed", *RARE]}
        (job,) = harness.planned(mapping(standin, "60s", slots=20, refusals=refusals)).jobs
        weather = asyncio.ensure_future(stormy(standin, days * DAY, seed=11))
        logins, outcomes = [], Outcomes()

        async def watched(prober, request):
            started = loop.wall()
            result = await prober.run(request)
            if isinstance(result, Result):
                logins.append((started, loop.wall(), request.refusal, result))
            return result

        for life in range(4):
            state = LedgerFile.open(tmp_path / "state", wall=loop.wall)
            rig = harness.Rig(clock=loop.clock, state=state)
            run = partial(watched, rig.prober)
            scheduler = Scheduler([job], run, harness.Recorder(), loop.clock)
            side_probes = SideProbes(run, {SideProbe.REFUSAL: RefusalProbe(outcomes).run}, loop.clock)
            scheduler.start()
            side_probes.begin(job)
            await asyncio.sleep(days * DAY / 4 + 7 * life)
            await side_probes.stop()
            await scheduler.stop()
            state.close()
        weather.cancel()
        process = standin._server_state.backend("/ws")
        openings = process.breaker.openings, process.login_breaker.openings
        await standin.close()
        return openings, logins, outcomes.told, job

    openings, logins, told, job = virtual_clock.run(main)

    assert openings == (0, 0)
    bad = [(begun, ended) for begun, ended, case, _ in logins if case in RARE]
    passed = [(begun, ended) for begun, ended, case, result in logins if case is None and not result.failed]
    assert len(bad) > 10 * days
    for (_, ended), (begun, _) in pairwise(bad):
        assert begun - ended >= 500
        assert any(ended < at <= done < begun for at, done in passed)
    starts = sorted(begun for begun, _, _, result in logins if result.trigger is not Trigger.CONFIRM)
    busiest = max(bisect_left(starts, begun + 60) - number for number, begun in enumerate(starts))
    assert busiest <= job.scheduled_rate
    seen = Counter((str(case), str(outcome)) for _, case, outcome in told)
    assert not [key for key in seen if key[1] == "bypassed"]
    assert all(seen[case, "refused"] > 0 for case in ["no_token", "malformed", *RARE])
