"""The backend's own figures, read from the stand-in and from hostile servers, through the real ledger."""

import asyncio
import json
import logging
from contextlib import asynccontextmanager, suppress

import pytest
from support import harness, virtual_clock

from exporter.files import KeyRing
from exporter.resolver import Resolver
from exporter.result import Probe, StatsOutcome
from exporter.side_probes import SideRun, StatsReader
from exporter.standin import StandIn, Timings
from exporter.state import LedgerFile

FIELDS = {
    "managers": "websocket_manager.factory_metrics.managers_active",
    "users": "websocket_manager.current_state.users_with_managers",
}
LIMITS = {"managers": "websocket_manager.configuration.max_managers_per_user", "users": 50}


class Readings:
    """A sink that keeps what it is told."""

    def __init__(self):
        self.told = []

    def record_stats(self, target, reading):
        assert target == "staging"
        self.told.append(reading)

    @property
    def outcomes(self):
        return [str(reading.outcome) for reading in self.told]


class World:
    """A reader over a fresh ledger; `read` does one run of the job."""

    def __init__(self, job, clock, **options):
        self.job, self.clock, self.sink = job, clock, Readings()
        self.state = LedgerFile.in_memory(wall=clock.wall)
        self.reader = StatsReader(self.sink, self.state, KeyRing(), Resolver(), clock, **options)

    async def read(self):
        (schedule,) = self.job.side_schedules
        run = SideRun(self.job, schedule, schedule.cadence.cycle_at(self.clock.wall()))
        await self.reader.run(run, None)
        return self.sink.told[-1]


def staged(story, **options):
    """Run `story(world, standin)` on a clock that jumps; what it returns. `stats`: fields to add."""

    async def main(loop):
        standin = await StandIn.start(tls_port=None, clock=loop.time, wall=loop.wall, timings=Timings())
        stats = {"url": standin.url("/ws/stats").replace("ws", "http", 1), "fields": FIELDS, "limits": LIMITS}
        stats |= options.pop("stats", {})
        (job,) = harness.planned(harness.target(standin, stats=stats, **options.pop("target", {}))).jobs
        try:
            return await story(World(job, loop.clock, **options), standin)
        finally:
            await standin.close()

    return virtual_clock.run(main)


def test_the_figures_of_the_backend():
    """Managers and users of the process, and the limits; the connections that the sessions leave behind show."""

    async def story(world, _):
        first = await world.read()
        rig = harness.Rig(clock=world.clock)
        for identity in ("pool-001", "pool-001", "uuid-001"):
            await rig.run(world.job, identity=identity)
        return first, await world.read()

    first, second = staged(story)

    assert (first.outcome, first.values, first.limits) == (
        StatsOutcome.READ,
        {"managers": 0, "users": 0},
        {"managers": 20, "users": 50},
    )
    assert second.values == {"managers": 3, "users": 2}


def test_managers_of_no_user_show_in_the_figures_alone():
    """The fault `manager_leak`: every session passes, and the figure grows by ten at each."""

    async def story(world, standin):
        standin.set_fault("/ws", "manager_leak:managers=10")
        assert not (await harness.Rig(clock=world.clock).run(world.job)).failed
        return (await world.read()).values["managers"]

    assert staged(story) == 11


def test_an_endpoint_that_fails_has_no_figures():
    """A 500, as the backend of the incident gives, and a redirect, which is not followed."""

    async def story(world, standin):
        for fault in ("http:status=500", "http:kind=redirect", "none"):
            standin.set_fault("/ws/stats", fault)
            await world.read()
        return world.sink.outcomes

    assert staged(story) == ["http_status", "http_status", "read"]


def test_a_rejected_read_rests_and_the_token_of_the_sessions_does_not():
    """For `auth_retry`; meanwhile nothing is asked."""

    async def story(world, standin):
        standin.set_fault("/ws/stats", "http:status=401")
        for pause in (60, 100, 0):
            await world.read()
            await asyncio.sleep(pause)
        standin.clear()
        await asyncio.sleep(200)
        await world.read()
        cost = world.job.session_cost("", Probe.SEND, "pool-001", "schedule")
        return world.sink.outcomes, world.state.ledger.is_resting(cost, world.clock.wall())

    outcomes, resting = staged(story, stats={"identity": "pool-001"})

    assert (outcomes, resting) == (["http_status", "skipped", "skipped", "read"], False)


def test_without_room_nothing_is_asked():
    """`max_sessions` binds a read as a session; what was read stands."""

    async def story(world, standin):
        await world.read()
        return world.sink.outcomes, standin.finished

    assert staged(story, has_capacity=lambda: False) == (["skipped"], 0)


@asynccontextmanager
async def answering(answer, heads):
    """A server that sends these bytes to every request, or nothing; `heads` gets what it was sent."""
    serving = set()

    async def serve(reader, writer):
        serving.add(asyncio.current_task())
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        if answer is None:
            await reader.read()
        writer.write(answer or b"")
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
        await asyncio.gather(*serving)


def ok(body, head=b""):
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%s\r\n" % (len(body), head) + body


GOOD = json.dumps({"managers": 3}).encode()
ANSWERS = {
    "good": (ok(GOOD), "read"),
    "as large as permitted": (ok(GOOD + b" " * (262_144 - len(GOOD))), "read"),
    "too large": (ok(GOOD + b" " * 262_144), "unreadable"),
    "without an end": (b"HTTP/1.1 200 OK\r\n\r\n" + b" " * 400_000, "unreadable"),
    "no JSON": (ok(b"<html>3</html>"), "unreadable"),
    "a text": (ok(b'{"managers": "3"}'), "unreadable"),
    "compressed without being asked": (ok(b"\x1f\x8b\x08", b"Content-Encoding: gzip\r\n"), "unreadable"),
    "cut short": (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", "failed"),
    "no HTTP": (b"\x00\x01\x02\r\n\r\n", "failed"),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", "unreadable"),
    "403": (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", "http_status"),
    "silent": (None, "failed"),
}


async def heard(answer, caplog, folder, **stats):
    """One read of a raw server: (reading, the head that it was sent)."""
    heads, key = [], folder / "key"
    key.write_bytes(b"k" * 40)
    async with answering(answer, heads) as port:
        mapping = {
            "name": "staging",
            "url": f"ws://127.0.0.1:{port}/ws",
            "timeout": "300ms" if answer is None else "20s",
            "identities": {"pool-001": "somebody@example.org"},
            "auth": {"jwt": {"key_file": str(key)}},
            "limits": {"slots_per_identity": 0},
            "stats": {"url": f"http://127.0.0.1:{port}/ws/stats?all=1", "fields": {"managers": "managers"}, **stats},
        }
        (job,) = harness.planned(mapping).jobs
        caplog.set_level("DEBUG")
        world = World(job, harness.Clock())
        return await world.read(), heads[0].decode()


@pytest.mark.parametrize("name", ANSWERS)
async def test_an_answer(name, caplog, tmp_path):
    """Whatever comes: one word, no exception, nothing of it in the log."""
    answer, outcome = ANSWERS[name]
    reading, head = await heard(answer, caplog, tmp_path)

    assert str(reading.outcome) == outcome
    assert reading.values == ({"managers": 3} if outcome == "read" else {})
    assert head.startswith("GET /ws/stats?all=1 HTTP/1.1\r\nHost: 127.0.0.1:")
    assert "authorization" not in head.lower()
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [record.levelname for record in warnings] == ([] if outcome == "read" else ["WARNING"])
    assert all(record.message.startswith("stats.url ") and record.keys["target"] == "staging" for record in warnings)


async def test_an_identity_sends_its_token_and_no_log_has_it(caplog, tmp_path):
    """As Bearer, in the header, and never in a line, a name or a value."""
    _, head = await heard(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n", caplog, tmp_path, identity="pool-001")

    (token,) = [line.split()[2] for line in head.splitlines() if line.startswith("Authorization: Bearer ey")]
    text = caplog.text + repr([record.__dict__ for record in caplog.records])
    assert "stats.url answers with an error" in text
    assert token not in text
    assert "somebody@" not in text


async def test_without_a_key_the_reader_is_impaired(caplog, tmp_path):
    """The file of the key is gone: nothing is sent, and the ledger has let go of the read."""
    async with answering(ok(GOOD), []) as port:
        mapping = {
            "name": "staging",
            "url": f"ws://127.0.0.1:{port}/ws",
            "identities": {"one": "u"},
            "auth": {"jwt": {"key_file": str(tmp_path / "gone")}},
            "limits": {"slots_per_identity": 0},
            "stats": {"url": f"http://127.0.0.1:{port}/ws/stats", "fields": {"a": "managers"}, "identity": "one"},
        }
        (job,) = harness.planned(mapping).jobs
        world = World(job, harness.Clock())
        outcomes = [str((await world.read()).outcome) for _ in range(2)]

    assert outcomes == ["impaired", "impaired"]
    assert world.reader.in_flight == 0
    assert "stats.url cannot be asked: see the key of the target's auth" in caplog.text
