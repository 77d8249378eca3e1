"""A sentinel on real sockets: the backend stops between two cycles; hours beside breakers and slots do no harm."""

import asyncio
import random

import pytest
from support import harness, virtual_clock
from support.daemons import figures, made
from support.schedules import mapping

from exporter.profiles import FACTORY
from exporter.result import FactoryReason, Reason, SentinelOutcome, SideProbe, SuspicionOutcome
from exporter.side_probes import ConnectSentinel, SideProbes
from exporter.standin import StandIn, Timings

UNGUARDED = {"unguarded": FACTORY.model_copy(update={"breaker": []})}
"""The factory without its breaker, which permits fewer connects without a token."""
OUTAGE = ("ws_probe_outage", "connect")


@pytest.mark.parametrize("fault", ["refuse", "http:status=502"])
def test_a_backend_that_goes_between_two_cycles_is_an_outage_long_before_the_next_one(fault):
    """A cycle a minute, a connect every 5 s: at most 17 s until `ws_probe_outage`, and its end is seen as ever."""

    async def main(loop):
        async with StandIn.start(tls_port=None, clock=loop.time, wall=loop.wall, timings=Timings.quick()) as standin:
            target = mapping(standin, interval="60s", profile="unguarded", sentinel={"every": "5s"})
            daemon = made(loop, target, profiles=UNGUARDED)
            await daemon.start()
            try:
                await standin.wait_sessions(1, timeout=300)
                await asyncio.sleep(65)
                (job,) = daemon._services.jobs.values()
                await asyncio.sleep(job.due(job.cycle_at(loop.wall()) + 1) + 3 - loop.wall())
                begun = loop.time()
                standin.set_fault("*", fault)
                await _until(daemon, lambda shown: shown[OUTAGE] == 1)
                seconds, out = loop.time() - begun, await figures(daemon)
                standin.clear("*")
                await _until(daemon, lambda shown: shown[OUTAGE] == 0)
                return seconds, out, await figures(daemon)
            finally:
                await daemon.stop()

    seconds, out, after = virtual_clock.run(main)

    assert seconds <= 5 + 12 + 1
    assert out["ws_probe_sentinel_success",] == 0
    assert out["ws_probe_sentinel_connects_total", "failed"] >= 1
    assert out["ws_probe_suspicions_total", "confirmed"] == 1
    assert out["ws_probe_cycle_failures_total", "connect"] == 0
    assert after["ws_probe_sentinel_success",] == 1


async def _until(daemon, condition):
    """Look every half second, for three minutes at most."""
    for _ in range(360):
        if condition(await figures(daemon)):
            return
        await asyncio.sleep(0.5)
    raise AssertionError("the condition did not come true in time")


WEATHER = ("refuse", "http:status=502", "no_welcome", "internal_error", "auth_rejected:breaker=true", "half_close")


def test_hours_of_weather_open_no_breaker_meet_no_slot_limit_and_keep_the_planned_rate():
    """The shipped factory profile with the sentinel that its plan permits; blips, outages and rejected tokens."""
    length = 6 * 3600.0

    async def main(loop):
        async with StandIn.start(
            tls_port=None, clock=loop.time, wall=loop.wall, timings=Timings(), slots=20, login_breaker=True
        ) as standin:
            limits = {"slots_per_identity": 20, "slot_release": "300s"}
            times = {"interval": "20s", "timeout": "10s", "close_timeout": "2s"}
            (job,) = harness.planned(mapping(standin, **times, limits=limits, sentinel={"every": "10s"})).jobs
            rig, outcomes = harness.Rig(clock=loop.clock), []
            scheduler, told = rig.schedule(job)
            sentinel = ConnectSentinel(scheduler.suspect, lambda _, outcome: outcomes.append(outcome))
            probes = SideProbes(rig.prober.run, {SideProbe.SENTINEL: sentinel.run}, loop.clock)
            probes.begin(job)
            weather = random.Random(11)
            while loop.time() < length:
                await asyncio.sleep(weather.uniform(60, 500))
                standin.set_fault("*", weather.choice(WEATHER))
                await asyncio.sleep(weather.choice([weather.uniform(1, 10), weather.uniform(20, 90)]))
                standin.clear("*")
            await probes.stop()
            await scheduler.stop()
            process = standin._server_state.backend("/ws")
            openings = process.breaker.openings, process.login_breaker.openings
            connects = [one.accepted_at for one in standin.sessions]
            return job, told, outcomes, openings, connects

    job, told, outcomes, openings, connects = virtual_clock.run(main)

    assert openings == (0, 0)
    assert not [one for one in told.results if one.factory_reason is FactoryReason.SLOT_LIMIT]
    confirm_runs = 3
    assert job.scheduled_rate == 3 + 3
    assert _most_in_a_minute(connects) <= job.scheduled_rate + confirm_runs
    assert {SentinelOutcome.PASSED, SentinelOutcome.FAILED, SentinelOutcome.SKIPPED} <= set(outcomes)
    assert {SuspicionOutcome.CONFIRMED, SuspicionOutcome.UNCONFIRMED} <= set(told.suspicions)
    assert any(one.reason is Reason.AUTH_REJECTED for one in told.results)


def _most_in_a_minute(moments):
    return max(sum(moment <= other < moment + 60 for other in moments) for moment in moments)
