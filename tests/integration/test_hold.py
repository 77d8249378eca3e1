"""The held connection against the stand-in, on a virtual clock: the hours of a connection in a second."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from support import harness, virtual_clock

from exporter.daemon.change_log import ChangeLog
from exporter.daemon.hold_recorder import HoldRecorder
from exporter.history import History
from exporter.metrics import Metrics
from exporter.metrics import families as f
from exporter.metrics.series import target_series
from exporter.plan import Job
from exporter.result import HoldEnd, Initiator, LineLevel, Phase, SideProbe
from exporter.side_probes import HoldProbe, SideProbes
from exporter.standin import StandIn, Timings

HOLD = {"identity": {"hold-001": "staging-hold-user-001"}, "ask": "60s", "quiet": None}
PROTOCOL, APPLICATION = LineLevel
LOST = HoldEnd.LOST


class World:
    """A stand-in, the cycles of a target, and its held connection."""

    def __init__(self, loop, standin, **hold):
        limits = {"slots_per_identity": 20, "slot_release": "300s"}
        times = {"interval": "100s", "timeout": "10s", "close_timeout": "2s"}
        mapping = harness.target(standin, **times, limits=limits, hold={**HOLD, **hold})
        self.standin = standin
        (self.job,) = harness.planned(mapping).jobs
        self.rig = harness.Rig(clock=loop.clock)
        self.scheduler, self.told = self.rig.schedule(self.job)
        self.metrics, self.suspected = Metrics("0"), []
        self.metrics.add_target(target_series(self.job.target, self.job.profile))
        self.history, changes = History(), ChangeLog()
        self.history.set_probes(self.job.name, self.job.probes)
        recorder = HoldRecorder(self.metrics, self.history, changes, loop.clock)
        self.probe = HoldProbe(loop.clock, self._suspect, recorder)
        self.openings = []
        self.side_probes = SideProbes(self._open, {SideProbe.HOLD: self.probe.run}, loop.clock)

    async def _open(self, request):
        self.openings.append(request)
        return await self.rig.prober.run(request)

    def _suspect(self, name):
        self.suspected.append(name)
        self.scheduler.suspect(name)

    @property
    def opened(self):
        """When the connection was opened, seconds of the loop."""
        return self.value(f.HOLD_OPENED_AT) - virtual_clock.EPOCH

    def value(self, family, *labels):
        """A series of the target, of a histogram its count; None: it is unknown."""
        first, *rest = self.metrics._targets[self.job.name].store._values_of((family, *labels))
        return sum((first, *rest[:-1])) if rest else first

    def ends(self):
        """How many connections have ended, by how."""
        return {end: count for end in HoldEnd if (count := self.value(f.HOLD_ENDS, end))}

    @property
    def shown(self):
        """What the status page shows of the connection."""
        return self.history.held_connection(self.job.name)

    def held(self):
        """The slots that the held connection's user holds, by the ledger."""
        (schedule,) = self.job.side_schedules
        return self.rig.state.ledger.held_slots(schedule.user, self.rig.clock.wall())

    async def until(self, value, family, *labels):
        """Look at a series every second, for three hours at most."""
        for _ in range(10_800):
            if self.value(family, *labels) == value:
                return
            await asyncio.sleep(1)
        raise AssertionError(f"{family.name} did not become {value} in time")


LASTING = Timings(request_timeout=1e6)
"""A backend whose platform cuts nothing."""


def lived(story, *, fault=None, timings=LASTING, **hold):
    """Run `story(world)` from the moment at which the connection is held; the world, and what the story returned.

    `fault`: of every connection.
    """

    async def main(loop):
        async with _running(loop, timings, hold, fault) as world:
            await world.until(1, f.HOLD_UP)
            return world, await story(world)

    return virtual_clock.run(main)


@asynccontextmanager
async def _running(loop, timings, hold, fault):
    async with StandIn.start(tls_port=None, clock=loop.time, wall=loop.wall, timings=timings, slots=20) as standin:
        if fault is not None:
            standin.set_fault("/ws", fault)
        world = World(loop, standin, **hold)
        world.side_probes.begin(world.job)
        try:
            yield world
        finally:
            await world.side_probes.stop()
            await world.scheduler.stop()


def test_a_connection_is_pinged_asked_and_told_of_heartbeats_until_it_is_over():
    """Ten minutes: a ping every 15 s, a request a minute, the backend's pings of both levels; closed with 1000."""

    async def story(world):
        await asyncio.sleep(300)
        assert world.held() == 1
        assert world.probe.open_lines == 1
        during = [world.value(f.HEARTBEATS, level) for level in LineLevel]
        await world.until(1, f.HOLD_ENDS, HoldEnd.OVER)
        return during

    world, heartbeats = lived(story, max_age="10m")

    assert heartbeats == [pytest.approx(15, abs=1), pytest.approx(12, abs=1)]
    assert world.value(f.HOLD_ROUND_TRIP, PROTOCOL) == pytest.approx(40, abs=2)
    assert world.value(f.HOLD_ROUND_TRIP, APPLICATION) == pytest.approx(9, abs=1)
    assert world.value(f.HOLD_DEAF) == 0
    assert world.value(f.HOLD_HEARTBEAT_INTERVAL, APPLICATION) == 25
    assert world.value(f.HOLD_HEARTBEAT_INTERVAL, PROTOCOL) == pytest.approx(20, abs=0.5)
    assert [world.value(f.HEARTBEAT_LOST, level) for level in LineLevel] == [0, 0]
    assert world.value(f.HOLD_AGE_CUT) == 0
    assert world.ends() == {HoldEnd.OVER: 1}
    assert world.suspected == []
    held = max(world.standin.sessions, key=lambda one: one.finished_at - one.accepted_at)
    assert 600 <= held.finished_at - held.accepted_at <= 602
    assert (held.close_received, held.first_closer) == (1000, "client")
    end = world.shown.last_end
    assert (end.how, end.close_code, end.closed_by, end.expected) == (HoldEnd.OVER, 1000, Initiator.LOCAL, True)
    assert (end.age, world.shown.opened_at, world.shown.age_cut) == (pytest.approx(600, abs=1), None, 0)
    assert set(world.shown.round_trips) == set(LineLevel)
    assert [world.shown.heartbeats[level].announced for level in LineLevel] == [False, True]


def test_a_platform_that_cuts_at_600_s_is_learned_and_no_incident():
    """Three cuts are looked into; the fourth is an expected end."""

    async def story(world):
        await world.until(2, f.HOLD_ENDS, HoldEnd.CUT)

    world, _ = lived(story, timings=Timings())

    assert world.ends() == {HoldEnd.LOST: 3, HoldEnd.CUT: 2}
    assert world.value(f.HOLD_AGE_CUT) == pytest.approx(600, abs=2)
    assert world.value(f.HOLD_IDLE_CUT) is None
    assert len(world.suspected) == 3
    assert not [result for result in world.told.results if result.failed]


def test_a_deaf_connection_is_seen_though_pings_are_answered():
    """No request is answered from a moment on; cycles pass, because a new connection is served."""

    async def story(world):
        await world.until(1, f.HOLD_DEAF)
        shown, now = world.shown, world.rig.clock.wall()
        await asyncio.sleep(60)
        assert world.shown.deaf_since == shown.deaf_since == pytest.approx(now, abs=1)
        return now - shown.opened_at, world.value(f.HOLD_UP)

    world, (seconds, up) = lived(story, fault="deaf:delay=100")

    assert seconds == pytest.approx(2 * 60 + 10, abs=2)
    assert (up, world.ends()) == (1, {})
    assert not [result for result in world.told.results if result.failed]


def test_a_connection_without_pongs_is_closed_and_the_next_cycle_begins_at_once():
    """The server freezes; the pong is awaited for the timeout, 10 s. However often, that is no cut of the path."""

    async def story(world):
        await world.until(5, f.HOLD_ENDS, HoldEnd.UNANSWERED)

    world, _ = lived(story, fault="frozen:delay=100")

    assert world.ends() == {HoldEnd.UNANSWERED: 5}
    end = world.shown.last_end
    assert (end.how, end.closed_by, end.expected) == (HoldEnd.UNANSWERED, Initiator.LOCAL, False)
    assert len(world.suspected) >= 4


def test_heartbeats_that_stop_are_lost_after_three_announced_intervals_and_come_back_with_the_next_connection():
    """The backend's own pings stop; pings of the protocol go on, and so does the connection."""

    async def story(world):
        await world.until(1, f.HEARTBEAT_LOST, APPLICATION)
        seconds = asyncio.get_running_loop().time() - world.opened
        heard = world.value(f.HEARTBEATS, APPLICATION)
        shown = world.shown.heartbeats[APPLICATION]
        assert (shown.interval, shown.lost, world.rig.clock.wall() - shown.last_at) == (
            25,
            True,
            pytest.approx(75, abs=2),
        )
        assert world.value(f.HEARTBEAT_LOST, PROTOCOL) == 0
        world.standin.clear("/ws")
        await world.until(1, f.HOLD_ENDS, HoldEnd.OVER)
        await world.until(0, f.HEARTBEAT_LOST, APPLICATION)
        return seconds, heard

    world, (seconds, heard) = lived(story, fault="no_heartbeat:delay=60", max_age="10m")

    assert heard == 2
    assert seconds == pytest.approx(50 + 3 * 25, abs=3)
    assert world.suspected == []


def test_an_idle_cut_is_told_from_an_age_cut_because_connections_with_traffic_live_on():
    """Three quiet connections are cut after a minute; one with pings lives longer."""

    async def story(world):
        while world.value(f.HOLD_IDLE_CUT) is None:
            await asyncio.sleep(10)

    world, _ = lived(story, fault="cut:delay=60,idle=true", quiet="5m", max_age="10m")

    assert world.value(f.HOLD_IDLE_CUT) == pytest.approx(60, abs=1)
    assert world.value(f.HOLD_AGE_CUT) == 0
    assert world.ends() == {HoldEnd.LOST: 3, HoldEnd.OVER: 1}


def test_a_cut_of_every_connection_at_the_same_age_is_no_idle_cut():
    """Quiet or not, each ends after a minute."""

    async def story(world):
        await world.until(3, f.HOLD_ENDS, HoldEnd.CUT)

    world, _ = lived(story, fault="cut:delay=60", quiet="5m", max_age="10m")

    assert world.value(f.HOLD_AGE_CUT) == pytest.approx(60, abs=1)
    assert world.value(f.HOLD_IDLE_CUT) == 0
    assert world.ends()[HoldEnd.LOST] == 6


def test_a_stop_closes_with_1000_and_leaves_one_slot_to_be_released():
    """An orderly end of ours is no end that is counted."""

    async def story(world):
        await asyncio.sleep(200)
        before = len(world.standin.sessions)
        await world.side_probes.stop()
        await asyncio.sleep(5)
        return list(world.standin.sessions)[before:], world.held()

    world, (ended, held) = lived(story)

    assert [one.close_received for one in ended if one.user == "staging-hold-user-001"] == [1000]
    assert (world.ends(), world.value(f.HOLD_UP), held) == ({}, 0, 1)


def test_a_changed_setting_opens_another_connection_and_another_interval_of_the_target_does_not():
    """A reload disturbs the line only if what it was opened with has changed."""

    async def story(world):
        opened = world.value(f.HOLD_OPENED_AT)
        target = world.job.target
        slower = target.model_copy(update={"interval": 200.0})
        world.side_probes.change(replace(world.job, target=slower))
        await asyncio.sleep(100)
        undisturbed = world.value(f.HOLD_OPENED_AT) == opened
        rarer = target.model_copy(update={"hold": target.hold.model_copy(update={"ping": 30.0})})
        world.side_probes.change(Job.of(rarer, world.job.profile, 60))
        await asyncio.sleep(100)
        return undisturbed, world.value(f.HOLD_OPENED_AT) == opened, world.value(f.HOLD_UP)

    world, (undisturbed, same, up) = lived(story)

    assert undisturbed
    assert not same
    assert (up, world.ends()) == (1, {})


def test_openings_that_fail_are_tried_the_less_often_the_more_they_are():
    """In an outage of an hour; the line is up again when it is over."""

    async def story(world):
        world.standin.set_fault("*", "refuse")
        world.standin.forget(live="kill")
        await asyncio.sleep(3600)
        shown = world.shown
        assert (shown.last_end.how, shown.last_end.expected, shown.failed_opening.phase) == (LOST, False, Phase.TCP)
        world.standin.clear("*")
        await world.until(1, f.HOLD_UP)

    world, _ = lived(story)

    assert len(world.openings) == 1 + 7 + 1
