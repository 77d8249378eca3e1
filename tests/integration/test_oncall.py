"""The check of the person on call, in one process: who speaks, what is refused, what a series says beforehand."""

import asyncio
import time
from math import inf

import pytest
from support import harness

from exporter.oncall import REFUSAL_TEXTS, Checker, SeriesOptions
from exporter.probing import ProbeRequest, TimeLimits
from exporter.result import Holdup, Phase, Probe, Reason, Trigger, Verdict
from exporter.standin import StandIn, Timings
from exporter.state import LedgerFile

ONE = {"pool-001": "staging-e2e-user-001"}
TIGHT = {"slots_per_identity": 2, "slot_release": "300s"}
"""Less the reserve of 1, one slot for an identity."""


def on_call(standin, state, *, identity=None, send_token=False, **changes):
    (job,) = harness.planned(harness.target(standin, **{"interval": "10m", **changes})).jobs
    return Checker(job, state, identity=identity, send_token=send_token)


def quiet(*_):
    """Nobody watches."""


async def test_a_slot_that_the_schedule_needs_is_not_taken():
    """Once a scheduled session is in the ledger, a check leaves the schedule what it needs, and says what helps."""
    async with StandIn.start(timings=Timings.quick(), tls_port=None) as standin:
        (job,) = harness.planned(
            harness.target(standin, interval="200s", identities=ONE, limits={**TIGHT, "slots_per_identity": 4})
        ).jobs
        mine = harness.Rig()
        await mine.run(job)
        checks = [await Checker(job, mine.state).check_once(Probe.SEND) for _ in range(2)]

    assert [check.refusal is None for check in checks] == [True, False]
    assert REFUSAL_TEXTS[Holdup.SLOTS] in checks[1].refusal
    assert "check_identities" in checks[1].refusal


async def test_beside_a_schedule_its_slots_are_kept_from_the_first_session_on():
    """In the daemon a check knows that there is a schedule before the ledger has seen anything of it."""
    async with StandIn.start(timings=Timings.quick(), tls_port=None) as standin:
        (job,) = harness.planned(harness.target(standin, interval="302s", identities=ONE, limits=TIGHT)).jobs
        mine = harness.Rig()
        beside = await Checker(job, mine.state, scheduled_prober=mine.prober).check_once(Probe.SEND)
        alone = await Checker(job, mine.state).check_once(Probe.SEND)

    assert REFUSAL_TEXTS[Holdup.SLOTS] in beside.refusal
    assert alone.refusal is None


async def test_whose_turn_it_is_may_be_said():
    """Asked again and again, with the number of the turn, all identities speak in a row."""
    async with StandIn.start(timings=Timings.quick(), tls_port=None) as standin:
        (job,) = harness.planned(harness.target(standin, interval="10m")).jobs
        state = LedgerFile.in_memory()
        spoke = [(await Checker(job, state, turn=turn).check_once(Probe.SEND)).results[0].identity for turn in range(4)]

    assert spoke == [*harness.POOL, "pool-001"]


async def test_a_session_may_have_less_time_than_the_target_gives_it():
    """It fails as a timeout then, and says so; what the ledger counts on stays the target's own."""
    async with StandIn.start(timings=Timings.quick(), tls_port=None) as standin:
        standin.set_fault("/ws", "no_welcome")
        began = time.monotonic()
        checked = await on_call(standin, LedgerFile.in_memory(), timeout="60s").check_once(
            Probe.SEND, TimeLimits(0.2, 0.3)
        )
        took = time.monotonic() - began
        (job,) = harness.planned(harness.target(standin, timeout="60s", interval="10m")).jobs

    (result,) = checked.results
    assert (result.phase, result.reason) == (Phase.ADMISSION, Reason.TIMEOUT)
    assert checked.timeout == 0.2
    assert 0.2 <= took < 30
    turns = [
        ProbeRequest(job, 0, Trigger.CHECK, Probe.SEND, "pool-001", within)
        for within in (TimeLimits(0.2, 0.3), TimeLimits(90.0))
    ]
    assert [turn.timeout for turn in turns] == [0.2, 60.0]
    assert {turn.session_cost("r").window for turn in turns} == {job.window}
    assert TimeLimits() == TimeLimits(inf, inf)


async def test_an_identity_in_use_is_waited_for():
    """Its connection is over within seconds; who has less time than that is told so, and nothing else is advised."""
    async with StandIn.start(timings=Timings.quick(), tls_port=None) as standin:
        standin.set_fault("/ws", "no_welcome")
        state = LedgerFile.in_memory()
        first = asyncio.create_task(on_call(standin, state, identities=ONE).check_once(Probe.SEND))
        await harness.until(lambda: standin.open_connections)
        second = await on_call(standin, state, identities=ONE).check_once(Probe.SEND, TimeLimits(0.01, 0.02))
        standin.clear()
        third = await on_call(standin, state, identities=ONE).check_once(Probe.SEND)
        await first

    assert second.refusal == REFUSAL_TEXTS[Holdup.BUSY]
    assert (third.refusal, third.results[0].failed) == (None, False)


async def test_a_host_that_rests_is_left_alone_even_by_connect():
    """After a 429 no probe is advised: any connect counts there."""
    async with StandIn.start(timings=Timings.quick(), tls_port=None) as standin:
        standin.set_fault("/ws", "http:status=429")
        state = LedgerFile.in_memory()
        first = await on_call(standin, state).check_once(Probe.SEND)
        refusals = [(await on_call(standin, state).check_once(depth)).refusal for depth in (Probe.SEND, Probe.CONNECT)]

    assert first.results[0].http_status == 429
    said = [refusal.partition(". The next try is at ") for refusal in refusals]
    assert [words for words, _, _ in said] == [REFUSAL_TEXTS[Holdup.ENDPOINT]] * 2
    assert all("UTC, in 1" in until or "UTC, in 9 min" in until for _, _, until in said), "600 s from the refusal"


async def test_a_rejected_token_is_tried_by_a_check_only_as_often_as_the_breaker_bears():
    """The breaker opens at 3, and one try is kept for another key: what is advised is what the ledger would grant."""
    async with StandIn.start(timings=Timings.quick(), tls_port=None) as standin:
        standin.set_fault("/ws", "auth_rejected")
        state = LedgerFile.in_memory()
        check = on_call(standin, state)
        told = [await check.check_once(Probe.SEND) for _ in range(2)]
        connects = [await check.check_once(Probe.CONNECT) for _ in range(3)]
        later = await check.check_once(Probe.SEND)
        standin.clear()
        sent = await on_call(standin, state, send_token=True).check_once(Probe.SEND)
        after = await check.check_once(Probe.SEND)

    assert [bool(one.results) for one in (*told, *connects, later)] == [True, False, True, True, False, False]
    assert told[1].refusal.startswith(REFUSAL_TEXTS[Holdup.BREAKER_TOKEN])
    assert "--probe connect" in told[1].refusal
    assert "check --send-token" in told[1].refusal
    assert connects[2].refusal == REFUSAL_TEXTS[Holdup.BREAKER_CONNECT]
    assert "--probe connect" not in later.refusal, "it would be refused as well"
    assert [dict(one.results[0].verdicts)[Probe.AUTH] for one in (sent, after)] == [Verdict.PASS] * 2


async def test_the_refusal_told_is_the_one_over_soonest():
    """One identity rests, another is merely in use: it is worth asking again in a few seconds."""
    two = dict(list(harness.POOL.items())[:2])
    async with StandIn.start(timings=Timings.quick(), tls_port=None) as standin:
        state = LedgerFile.in_memory()
        standin.set_fault("/ws", "slot_limit")
        await on_call(standin, state, identities=two, identity="pool-002").check_once(Probe.SEND)
        await standin.wait_sessions(1)
        await harness.until(lambda: not standin.open_connections)
        standin.set_fault("/ws", "no_welcome")
        first = asyncio.create_task(on_call(standin, state, identities=two, identity="pool-001").check_once(Probe.SEND))
        await harness.until(lambda: standin.open_connections)
        second = await on_call(standin, state, identities=two).check_once(Probe.SEND, TimeLimits(0.01, 0.02))
        await first

    assert second.refusal == REFUSAL_TEXTS[Holdup.BUSY]


async def test_a_cancelled_series_keeps_what_it_found():
    """Cancelled between two runs, it tells the first, and that it was interrupted."""
    async with StandIn.start(timings=Timings.quick(), tls_port=None) as standin:
        check = on_call(standin, LedgerFile.in_memory())
        work = asyncio.create_task(check.check_series(Probe.SEND, SeriesOptions(5, 600.0), quiet))
        await standin.wait_sessions(1)
        await asyncio.sleep(0)
        seen = []
        await harness.until(lambda: seen.append(1) or len(seen) > 200)
        work.cancel()
        series = await work

    assert check.interrupted
    assert (len(series.results), series.planned) == (1, 5)


@pytest.mark.parametrize(
    ("rounds", "seconds"),
    [
        (SeriesOptions(1, 20.0), 11.0),
        (SeriesOptions(30, 20.0), 591.0),
        (SeriesOptions(3, 1.0), 33.0),
        (SeriesOptions(1000, 20.0, 600.0), 611.0),
        (SeriesOptions(2, 20.0, 600.0), 31.0),
    ],
    ids=["one", "many", "sessions longer than the pace", "until healthy", "over before"],
)
def test_how_long_a_series_takes_at_most(rounds, seconds):
    """Each run begins at its time or after the one before; a session takes 11 s at most here."""
    assert rounds.max_seconds(11.0) == seconds


async def test_a_series_says_what_the_budget_bears():
    """Free slots of all who may speak; nothing where none are counted, or none is taken."""
    async with StandIn.start(timings=Timings.quick(), tls_port=None) as standin:
        state, rounds = LedgerFile.in_memory(), SeriesOptions(5, 20.0)
        tight = on_call(standin, state, limits=TIGHT)
        said = tight.describe_series(Probe.SEND, rounds)
        others = [
            tight.describe_series(Probe.CONNECT, rounds),
            tight.describe_series(Probe.SEND, SeriesOptions(5, 101.0)),
            on_call(standin, state).describe_series(Probe.SEND, rounds),
        ]

    assert "of the first 5 the budget lets 3 happen at most" in said
    assert "--every 101s" in said
    assert not [other for other in others if "budget" in other]
    waiting = on_call(standin, state).describe_series(Probe.SEND, SeriesOptions(61, 1.0, 60.0))
    assert waiting.startswith("until it is healthy, up to 61 runs, one every 1 s: ")
    assert on_call(standin, state).describe_series(Probe.SEND, SeriesOptions(1, 20.0)).startswith("1 run: ")
