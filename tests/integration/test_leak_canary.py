"""The leak canary against the stand-in's real slots: hours of rounds, beside the cycles, on a virtual clock."""

import asyncio
import random
from contextlib import asynccontextmanager

from support import harness, virtual_clock

from exporter.classify import LeakFindings
from exporter.result import FactoryReason, SideProbe
from exporter.side_probes import LeakCanary, SideProbes
from exporter.standin import StandIn, Timings
from exporter.state import LedgerFile

CANARY = {"canary-001": "staging-canary-user-001"}


def mapping(standin, *, every="20m", slots=20, **changes):
    """The factory's limits and the default schedule, with a canary."""
    limits = {"slots_per_identity": slots, "slot_release": "300s"}
    settings = {"timeout": "10s", "close_timeout": "2s", "interval": "20s", "limits": limits} | changes
    return harness.target(standin, "/ws", **settings, canary={"identity": CANARY, "every": every})


class World:
    """A stand-in, a schedule and its canary."""

    def __init__(self, loop, standin, **changes):
        self.loop, self.standin = loop, standin
        (self.job,) = harness.planned(mapping(standin, **changes)).jobs
        self.state = LedgerFile.in_memory(wall=loop.wall)
        self.findings, self.most_held = [], 0

    @asynccontextmanager
    async def running(self):
        rig = harness.Rig(clock=self.loop.clock, state=self.state)
        scheduler, self.told = rig.schedule(self.job)
        canary = LeakCanary(self.loop.clock, self.record)
        probes = SideProbes(
            rig.prober.run, {SideProbe.CANARY: canary.run}, self.loop.clock, check_clock_step=scheduler.check_clock_step
        )
        probes.begin(self.job)
        yield self
        await probes.stop()
        await scheduler.stop()

    def record(self, target, findings):
        assert target == self.job.name
        self.findings.append((self.loop.time(), findings))
        held = self.state.ledger.held_slots(canary_user(self.job), self.loop.wall())
        self.most_held = max(self.most_held, held)

    @property
    def known(self):
        return self.findings[-1][1] if self.findings else LeakFindings()

    @property
    def announced_at(self):
        return next((at for at, findings in self.findings if findings.leaked), None)

    @property
    def refused_at(self):
        """When a session of the pool was first refused for want of a slot, on the loop's clock."""
        refused = [one for one in self.told.results if one.factory_reason is FactoryReason.SLOT_LIMIT]
        return refused[0].started_at - virtual_clock.EPOCH if refused else None


def canary_user(job):
    return job.side_schedules[0].user


def lived(story, **changes):
    """Run `story(world)` beside a schedule with a canary; the world."""

    async def main(loop):
        standin = await StandIn.start(tls_port=None, clock=loop.time, wall=loop.wall, timings=Timings(), slots=20)
        world = World(loop, standin, **changes)
        async with world.running():
            await story(world)
        await standin.close()
        return world

    return virtual_clock.run(main)


def test_on_a_healthy_backend_all_slots_come_back_and_nothing_else_sees_the_canary():
    """With deploys, failed connects and a step of the clock; the cycles' results hold no session of the canary."""

    async def story(world):
        dice = random.Random(3)
        for number in range(12):
            await asyncio.sleep(dice.uniform(600, 1500))
            if number % 4 == 0:
                world.standin.forget("/ws")
            elif number % 4 == 1:
                world.standin.set_fault("/ws", "abort:at=admission,share=0.02")
            elif number == 6:
                world.loop.step(1800)

    world = lived(story)

    assert world.announced_at is None
    assert world.known.leaked == 0
    assert 300 < world.known.release < 400
    assert world.most_held <= 19
    assert {result.identity for result in world.told.results} <= set(harness.POOL)
    assert world.refused_at is None


def test_a_leak_is_announced_before_a_pool_session_is_refused():
    """Every fifth connection of a user stays for good, of 20 slots; then a deploy, and two rounds clear it."""

    async def story(world):
        world.standin.set_fault("/ws", "slot_leak:every=5")
        while world.refused_at is None:
            await asyncio.sleep(60)
        world.standin.clear("/ws")
        world.standin.forget("/ws")
        await asyncio.sleep(3 * 1200 + 700)

    world = lived(story)

    assert world.announced_at < 0.8 * world.refused_at
    assert world.known.leaked == 0


def test_a_canary_that_is_refused_takes_no_slot_of_the_pool():
    """The leak of the canary's user alone: it rests, its rounds go on, and every cycle of the pool passes."""

    async def story(world):
        world.standin.set_fault("/ws", "slot_limit:user=staging-canary-user-001")
        await asyncio.sleep(2 * 3600)

    world = lived(story)

    assert world.announced_at is not None
    assert world.known.leaked == 20
    assert not any(result.failed for result in world.told.results)
    assert not world.told.skips


def test_after_a_restart_the_canary_waits_until_the_ledger_is_complete():
    """Without a state file what was held before is unknown: it opens nothing, and calls nothing a leak."""

    async def story(_):
        await asyncio.sleep(3000)

    world = lived(story, every="625s")

    assert world.announced_at is None
    assert world.findings[0][0] > 0
    assert world.known.leaked == 0
