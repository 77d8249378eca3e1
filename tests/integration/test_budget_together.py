"""Everything that meets a backend at once, on a clock that jumps: the pool, each side probe, checks and `/probe`.

With restarts, reloads, steps of the wall clock and weather, counted at the stand-in's side.
"""

import asyncio
import random
from bisect import bisect_left
from collections import defaultdict

import pytest
from support import virtual_clock
from support.reloads import Exporter, Source, own

from exporter.oncall import Checker
from exporter.plan import job as plan_job
from exporter.result import Probe
from exporter.standin import StandIn, Timings
from exporter.state import LedgerFile

RELEASE = 300.0
SLOTS = 20
SPARE_CONNECTS = 4
"""Connects a minute that the host permits beyond what the plan needs."""
JITTER = 1.0
"""Seconds between the moment that a cycle was due, which the ledger counts, and its connect."""
WEATHER = ("no_welcome", "internal_error", "zombie", "http:status=502", "abort:at=reply")


def everything(standin, **changes):
    """A target with all side probes on, each user of its own."""
    return own(
        standin,
        interval="20s",
        timeout="10s",
        close_timeout="2s",
        limits={"slots_per_identity": SLOTS, "slot_release": f"{RELEASE:.0f}s"},
        **{
            "canary": {"identity": {"canary-001": "staging-canary-user-001"}, "every": "11m"},
            "sentinel": {"every": "15s"},
            "refusals": {"every": "2m"},
            "hold": {"identity": {"hold-001": "staging-hold-user-001"}, "reconnect": "5m", "max_age": "20m"},
            "stats": {
                "url": standin.url("/ws/staging/stats").replace("ws", "http", 1),
                "fields": {"managers": "websocket_manager.factory_metrics.managers_active"},
            },
            **changes,
        },
    )


async def live(loop, standin, folder, hours):
    """The hours of one exporter after another; what the plan needs and what the host permits, connects a minute."""
    dice = random.Random(11)
    planned = Source(everything(standin)).plan().jobs[0].scheduled_rate
    permitted = planned + SPARE_CONNECTS
    end, life = loop.time() + hours * 3600, 0
    while loop.time() < end:
        state = LedgerFile.open(folder / "state", wall=loop.wall)
        settings = {"max_connects_per_minute": permitted}
        exporter = Exporter(loop, Source(everything(standin), **settings), state=state)
        await exporter.daemon.start()
        for turn in range(6):
            await asyncio.sleep(dice.uniform(150, 450))
            if turn == 1:
                await exporter.reload(everything(standin, sentinel={"every": "16s"}), **settings)
            if turn == 2:
                loop.step(dice.choice((-1800, 1800, 5)))
            if turn == 3:
                standin.set_fault("/ws/staging", dice.choice(WEATHER))
                await asyncio.sleep(dice.uniform(10, 90))
                standin.clear("/ws/staging")
            for _ in range(3):
                await Checker(exporter.job(), state, clock=loop.clock).check_once(Probe.SEND)
                await exporter.request("/probe?target=staging")
        await exporter.daemon.stop()
        life += 1
        await asyncio.sleep(dice.choice((0, 1, 30)))
    return planned, permitted, life


def most_a_minute(moments):
    """The most of these moments in any minute less the jitter."""
    ordered = sorted(moments)
    return max(bisect_left(ordered, at + 60 - JITTER) - number for number, at in enumerate(ordered))


def most_held(sessions):
    """The most slots that one user holds at once: from the connect until the release after its end."""
    steps = defaultdict(list)
    for seen in sessions:
        if seen.user is not None:
            steps[seen.user] += [(seen.accepted_at, 1), (seen.finished_at + RELEASE, -1)]
    most = {}
    for user, changes in steps.items():
        held = peak = 0
        for _, change in sorted(changes):
            held += change
            peak = max(peak, held)
        most[user] = peak
    return most


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("hours", [0.5, pytest.param(60, marks=pytest.mark.soak)])
def test_all_together_stay_within_what_the_host_and_the_backend_permit(hours, monkeypatch, tmp_path):
    """Connects a minute within the permitted, slots within slots less reserve, no refusal for want of a slot."""
    monkeypatch.setattr(plan_job, "is_loopback", lambda _: False)

    async def main(loop):
        timings = Timings()
        async with StandIn.start(
            tls_port=None, clock=loop.time, wall=loop.wall, timings=timings, slots=SLOTS
        ) as standin:
            seen = []
            standin.sessions = seen
            figures = await live(loop, standin, tmp_path, hours)
            return seen, figures

    sessions, (planned, permitted, lives) = virtual_clock.run(main)
    connects, held = most_a_minute([seen.accepted_at for seen in sessions]), most_held(sessions)

    print(f"{hours} h, {lives} lives, {len(sessions)} connects: {connects} a minute at most ({planned} planned, ")
    print(f"{permitted} permitted), slots of one user {max(held.values())} of {SLOTS - 1}")
    assert connects <= permitted
    assert max(held.values()) <= SLOTS - 1
    assert {seen.path for seen in sessions} >= {"/ws/staging", "/ws/staging/stats"}
    assert len(held) >= 5
