"""The whole exporter in one process on a clock that jumps: start, pages, chores, stop."""

import asyncio
import logging
import re
import socket
from collections import Counter
from datetime import datetime

import pytest
from support import harness, virtual_clock
from support.daemons import INTERVAL, figures, get, made, running, total
from support.schedules import Nowhere, mapping

from exporter.daemon import FIRST_SCRAPE_SECONDS, HOUSEKEEPING_SECONDS
from exporter.daemon.change_log import ChangeLog
from exporter.history import CycleOutcome
from exporter.result import SkipCause
from exporter.scheduler import DEAD_ALARM_SECONDS, FINISH_GRACE_SECONDS, STOP_GRACE_SECONDS
from exporter.standin import StandIn, Timings
from exporter.state import LedgerFile
from exporter.web import ListenAddress, ListenError

# The start ----------------------------------------------------------------------------------------------------------


def test_it_is_ready_and_healthy_before_the_first_session():
    """Zeros, plan and pages are there at once; no connection has been made."""

    async def main(loop):
        async with running(loop, delay=15.0) as (daemon, standin):
            pages = [await get(daemon, path) for path in ("/-/ready", "/-/healthy", "/")]
            return pages, await figures(daemon), standin.finished + standin.open_connections, loop.wall()

    (ready, healthy, page), shown, connections, now = virtual_clock.run(main)

    assert (ready, healthy) == ((200, "ready\n"), (200, "healthy\n"))
    assert re.search("first session by|not probed yet", page[1])
    assert shown["ws_probe_cycles_total", "connect"] == 0
    assert ("ws_probe_success", "connect") not in shown
    assert shown["ws_exporter_config_last_reload_successful",] == 1
    assert {shown["ws_probe_due_timestamp_seconds", probe] >= now + 15 for probe in ("connect", "auth", "send")} == {
        True
    }
    assert connections == 0


@pytest.mark.parametrize(
    ("delay", "scraped_at", "begins"),
    [(0.0, None, 0.0), (15.0, 3.0, 15.0), (15.0, 40.0, 40.0), (15.0, None, FIRST_SCRAPE_SECONDS), (90.0, None, 90.0)],
    ids=["no delay", "scraped early", "scraped late", "never scraped", "a long delay"],
)
def test_the_first_session_waits_for_the_delay_and_one_scrape(delay, scraped_at, begins):
    """It begins in the first interval after both, after 60 s without a scrape, and at once if the delay is 0."""

    async def main(loop):
        async with running(loop, delay=delay) as (daemon, standin):
            began = loop.time()
            if scraped_at is not None:
                await asyncio.sleep(scraped_at)
                assert total(await figures(daemon), "ws_probe_attempts_total") == 0
            (seen,) = await standin.wait_sessions(1, timeout=300)
            return seen.accepted_at - began

    first = virtual_clock.run(main)

    assert begins <= first <= begins + INTERVAL + 0.1


def test_looking_at_other_pages_is_no_scrape():
    """Health checks and the status page do not start the sessions."""

    async def main(loop):
        async with running(loop, delay=1.0) as (daemon, standin):
            for _ in range(10):
                for path in ("/", "/-/ready", "/-/healthy", "/nothing"):
                    await get(daemon, path)
                await asyncio.sleep(5)
            return standin.finished + standin.open_connections

    assert virtual_clock.run(main) == 0


def test_the_listen_address_is_logged_once(caplog):
    """One line names version, number of targets and URL: with port 0 nothing else does."""
    caplog.set_level(logging.INFO, "exporter.daemon")

    async def main(loop):
        async with running(loop) as (daemon, _):
            return daemon.url

    url = virtual_clock.run(main)

    (line,) = [record for record in caplog.records if record.name == "exporter.daemon"]
    assert line.getMessage() == "listening"
    assert (line.keys["url"], line.keys["targets"]) == (url, 1)


@pytest.mark.parametrize(("delay", "longest"), [(15.0, "1 min"), (600.0, "10 min")])
def test_what_the_first_sessions_wait_for_is_said(caplog, delay, longest):
    """In the log, and on the page until they begin: no session for a minute is no fault."""
    caplog.set_level(logging.INFO, "exporter.daemon")

    async def main(loop):
        async with running(loop, delay=delay) as (daemon, _):
            await asyncio.sleep(1)
            return (await get(daemon, "/"))[1]

    page = virtual_clock.run(main)

    said = [record.getMessage() for record in caplog.records if record.name == "exporter.daemon"]
    wait = f"the first sessions wait for a scrape of /metrics, {longest} at most"
    assert said == ["listening", f"{wait}; with --startup.delay=0s they begin at once"]
    assert "<dt>last scrape</dt><dd>none yet; the first sessions wait for one until <time" in page


@pytest.mark.parametrize("scraped", [False, True])
def test_a_row_says_when_its_first_session_comes(scraped):
    """A moment that the first session keeps, to the interval after the wait; with a scrape it is a sooner one."""

    async def main(loop):
        async with running(loop, delay=15.0) as (daemon, standin):
            await asyncio.sleep(1)
            if scraped:
                await get(daemon, "/metrics")
            page, now = (await get(daemon, "/"))[1], loop.wall()
            said = re.search(r'first session by <time datetime="([^"]+)"', page)[1]
            await standin.wait_sessions(1, timeout=120)
            return datetime.fromisoformat(said).timestamp() - now, loop.wall() - now

    promised, took = virtual_clock.run(main)

    longest = 14.0 if scraped else FIRST_SCRAPE_SECONDS - 1
    assert longest <= promised <= longest + INTERVAL + 1
    assert took - 1 < promised < took + 2


def test_a_port_in_use_is_a_sentence_and_leaves_nothing(tmp_path):
    """ListenProblem names the address; a stop after it closes what was made before."""

    async def main(loop):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = ListenAddress("127.0.0.1", taken.getsockname()[1])
            state = LedgerFile.open(tmp_path / "state")
            daemon = made(loop, mapping(Nowhere), listen=address, state=state)
            with pytest.raises(ListenError, match=rf"127\.0\.0\.1:{address.port}: the port is in use"):
                await daemon.start()
            await daemon.stop()
            return daemon.url, asyncio.all_tasks(), state._journal._lock_descriptor

    url, tasks, lock = virtual_clock.run(main)

    assert url == ""
    assert len(tasks) == 1
    assert lock is None


# What it shows while it runs ----------------------------------------------------------------------------------------


def test_every_cycle_is_counted_on_the_metrics_page():
    """After 20 minutes with faults and a blocked loop, cycles + skips + impaired are the cycles that were due.

    The history has a mark for each of them.
    """

    async def main(loop):
        began = loop.wall()
        async with running(loop) as (daemon, standin):
            for fault in ("none", "internal_error", "none", "slot_limit", "http:status=429,retry_after=50", "none"):
                standin.set_fault("/ws", fault)
                await asyncio.sleep(150)
                loop.block(17)
            await asyncio.sleep(2)
            shown = await figures(daemon)
            (job,) = daemon._services.jobs.values()
            marks = daemon._services.history.cycles(job.name, 999)
            return shown, Counter(mark.outcome for mark in marks), job.cycle_at(loop.wall()) - job.cycle_at(began)

    shown, marks, due = virtual_clock.run(main)

    counted = (
        shown["ws_probe_cycles_total", "connect"]
        + total(shown, "ws_probe_skips_total")
        + total(shown, "ws_probe_impaired_total")
    )
    assert counted == due > 40
    assert marks.total() == due
    assert marks[CycleOutcome.SKIP] + marks[CycleOutcome.DISTORTED] == total(shown, "ws_probe_skips_total")
    assert marks[CycleOutcome.FAIL] >= shown["ws_probe_cycle_failures_total", "send"]
    assert shown["ws_probe_skips_total", SkipCause.LATE] > 0
    assert shown["ws_probe_skips_total", SkipCause.RATE] > 0
    assert shown["ws_probe_cycle_failures_total", "send"] > 0
    assert shown["ws_probe_attempts_total", "send"] > shown["ws_probe_cycles_total", "send"], (
        "confirm runs are attempts"
    )


def test_the_due_timestamp_is_always_set():
    """From load on there is a due time for each probe; it lies ahead, at most its own interval, and moves."""

    async def main(loop):
        every = {"auth": {"every": 1}, "send": {"every": 3}}
        async with running(loop, probes=every) as (daemon, _):
            told = []
            for _ in range(40):
                await asyncio.sleep(7)
                shown = await figures(daemon)
                told.append(
                    [
                        shown["ws_probe_due_timestamp_seconds", probe] - loop.wall()
                        for probe in ("connect", "auth", "send")
                    ]
                )
            return told

    told = virtual_clock.run(main)

    for column, most in zip(zip(*told, strict=True), (INTERVAL, INTERVAL, 3 * INTERVAL), strict=True):
        assert all(0 < ahead <= most for ahead in column)
        assert max(column) > most - 8, "it moves on"


def test_open_connections_go_back_to_none():
    """1 while a session runs, 0 after it, however it ended."""

    async def main(loop):
        told = []
        async with running(loop, confirm={"runs": 0}) as (daemon, standin):
            for fault in ("slow_reply:delay=2", "silent", "abort:at=reply"):
                standin.set_fault("/ws", fault)
                before = standin.finished
                while not standin.open_connections and standin.finished == before:
                    await asyncio.sleep(0.1)
                during = (await figures(daemon))["ws_probe_open_connections",]
                await standin.wait_sessions(before + 1, timeout=100)
                await asyncio.sleep(8)
                told.append((during, (await figures(daemon))["ws_probe_open_connections",]))
        return told

    told = virtual_clock.run(main)

    assert told[:2] == [(1, 0), (1, 0)]
    assert told[2][1] == 0


def test_slots_held_rise_with_a_session_and_fall_by_the_release():
    """One slot from the connect until the release after the close; then none, although nothing else happens."""
    limits = {"slots_per_identity": 5, "slot_release": "100s"}

    async def main(loop):
        pool = {"one": "a-single-user"}
        async with running(loop, identities=pool, interval="400s", limits=limits) as (daemon, standin):
            held = [(await figures(daemon))["ws_factory_slots_held", "one"]]
            (seen,) = await standin.wait_sessions(1, timeout=500)
            for moment in (1, 99, 100 + HOUSEKEEPING_SECONDS + 0.1):
                await asyncio.sleep(seen.finished_at + moment - loop.time())
                held.append((await figures(daemon))["ws_factory_slots_held", "one"])
            shown = await figures(daemon)
            kept = daemon._services.state.ledger._state.leases
            return held, shown["ws_factory_slots_budget", "one"], shown["ws_probe_identity_resting", "one"], kept

    assert virtual_clock.run(main) == ([0, 1, 1, 0], 4, 0, {}), "what has been released is forgotten"


def test_a_resting_identity_is_a_gauge_and_the_page_says_why():
    """While its turns only connect, and pass, the target still fails to send, and the page says for want of what."""

    async def main(loop):
        pool = {"one": "a-single-user"}
        async with running(loop, fault="slot_limit:limit=5", identities=pool) as (daemon, standin):
            await standin.wait_sessions(3, timeout=200)
            await asyncio.sleep(1)
            resting, page = await figures(daemon), (await get(daemon, "/"))[1]
            standin.clear()
            await asyncio.sleep(330)
            return resting, page, await figures(daemon), (await get(daemon, "/"))[1]

    resting, page, rested, passing = virtual_clock.run(main)

    assert resting["ws_probe_identity_resting", "one"] == 1
    assert resting["ws_factory_slots_budget", "one"] == 4
    assert resting["ws_probe_success", "connect"] == 1
    assert "1 of 1 target failing: staging – " in page
    assert "send fails in admission: factory (slot_limit)" in page
    assert rested["ws_probe_identity_resting", "one"] == 0
    assert "The one target passes" in passing


def test_a_resting_token_is_a_gauge_as_long_as_none_is_sent(tmp_path):
    """From the rejection that puts it to rest until another key is in the file; it is an outage at once."""
    key_file = tmp_path / "key"
    key_file.write_bytes(b"another secret, long enough for HS256!")

    async def main(loop):
        auth = {"jwt": {"key_file": str(key_file), "claims": harness.CLAIMS}}
        async with running(loop, auth=auth) as (daemon, standin):
            before = await figures(daemon)
            await standin.wait_sessions(2, timeout=200)
            await asyncio.sleep(1)
            resting = await figures(daemon)
            standin.clear()
            key_file.write_bytes(standin.key + b"\n")
            await asyncio.sleep(200)
            return before, resting, await figures(daemon)

    before, resting, rested = virtual_clock.run(main)

    shown = [(figures["ws_probe_token_resting",], figures.get(("ws_probe_outage", "auth_rejected")))
             for figures in (before, resting, rested)]  # fmt: skip
    assert shown == [(0, None), (1, 1), (0, 0)]
    assert resting["ws_probe_success", "connect"] == 1, "it goes on connecting"


@pytest.mark.parametrize(
    ("fault", "state"),
    [
        ("none", "The one target passes"),
        ("refuse", "connect fails in tcp: refused"),
        ("auth_rejected", "auth fails in admission: auth_rejected"),
    ],
)
def test_the_status_page_says_how_each_target_does(fault, state):
    """The shallowest failing probe with its cause, or that all pass."""

    async def main(loop):
        async with running(loop, fault=None) as (daemon, standin):
            standin.set_fault("*", fault)
            await asyncio.sleep(INTERVAL + 6)
            return (await get(daemon, "/"))[1]

    assert state in virtual_clock.run(main)


GREETS = {"welcome": {"match": {"data": {"event": "connection_established"}}, "required": ["data.connection_id"]}}


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        ("close:code=1000", "factory"),
        ("close:code=1011", "factory"),
        ("close:code=1012", "restarting"),
        ("abort", "not_admitted"),
        ("no_welcome", "not_admitted"),
        ("invalid_welcome:missing=connection_id", "factory"),
    ],
)
def test_a_target_that_sends_nothing_fails_for_whatever_keeps_its_users_out(fault, cause):
    """Whether it is the factory's doing or not: its page, its counters and its outage say so, and so does `auth`."""

    async def main(loop):
        async with StandIn.start(tls_port=None, clock=loop.time, wall=loop.wall, timings=Timings.quick()) as standin:
            target = mapping(standin, profile="greets", confirm={"runs": 0})
            daemon = made(loop, target, profiles={"greets": GREETS})
            await daemon.start()
            await asyncio.sleep(3 * INTERVAL)
            healthy = await figures(daemon)
            standin.set_fault("/ws", fault)
            await asyncio.sleep(10 * INTERVAL)
            shown, page = await figures(daemon), await get(daemon, "/")
            unexpected_series = daemon._services.metrics.unexpected_series()
            await daemon.stop()
            return healthy, shown, page, unexpected_series

    healthy, shown, (_, page), unexpected_series = virtual_clock.run(main)

    assert healthy["ws_probe_success", "auth"] == 1
    assert shown["ws_probe_success", "auth"] == 0
    failures = [value for key, value in shown.items() if key[0] == "ws_probe_cycle_failures_total" and "auth" in key]
    assert sum(failures) >= 9
    assert shown["ws_probe_outage", cause] == 1
    assert "1 of 1 target failing: " in page
    assert unexpected_series == []


def test_the_status_page_distinguishes_impairments(tmp_path):
    """A key that is gone is nobody's outage."""

    async def main(loop):
        auth = {"jwt": {"key_file": str(tmp_path / "gone"), "claims": harness.CLAIMS}}
        async with running(loop, auth=auth) as (daemon, _):
            await asyncio.sleep(INTERVAL + 1)
            return (await get(daemon, "/"))[1], await figures(daemon)

    page, shown = virtual_clock.run(main)

    assert "our own failure: token" in page
    assert shown["ws_probe_impaired_total", "token"] == 1
    assert total(shown, "ws_probe_attempts_total") == 0


def test_the_status_page_shows_the_exporters_own_health():
    """Scrapes, sessions, skips, slots and the config's load are those that the figures tell."""

    async def main(loop):
        async with running(loop, limits={"slots_per_identity": 20, "slot_release": "300s"}) as (daemon, standin):
            before = (await get(daemon, "/"))[1]
            await get(daemon, "/metrics")
            await asyncio.sleep(3 * INTERVAL)
            loop.block(1.5 * INTERVAL)
            await asyncio.sleep(2 * INTERVAL)
            return before, (await get(daemon, "/"))[1], await figures(daemon), len(standin.sessions)

    before, page, shown, sessions = virtual_clock.run(main)

    assert '<dt>last scrape</dt><dd class="wrong">never' in before
    assert "<dt>last scrape</dt><dd><span" in page
    assert f"<dt>sessions</dt><dd>{sessions}," in page
    skips = {cause: int(shown["ws_probe_skips_total", cause]) for cause in ("late", "distorted")}
    told = ", ".join(f"{number} {cause}" for cause, number in skips.items() if number)
    assert told
    assert f"<dt>cycles skipped</dt><dd>{told}" in page
    held = sum(int(value) for key, value in shown.items() if key[0] == "ws_factory_slots_held")
    assert f"{held} of {3 * 19} slots" in page
    assert "<dt>config</dt><dd>loaded" in page


def test_the_change_log_names_changed_targets():
    """The count goes on with each change; who asks again is told only of what came after."""
    changes = ChangeLog()
    assert changes.since(0) == (0, [])
    changes.record("a")
    changes.record("b")
    count, names = changes.since(0)
    assert (count, set(names)) == (2, {"a", "b"})
    changes.record("a")
    assert changes.since(count) == (3, ["a"])
    changes.remove("a")
    assert changes.since(0) == (3, ["b"])


def test_a_late_loop_is_seen_by_the_scrapes_after_it():
    """A spike between two scrapes is not lost, and is gone after a minute."""

    async def main(loop):
        async with running(loop, interval="300s") as (daemon, _):
            lags = []
            for blocked in (0.0, 2.0, 0.0, 0.0, 0.0):
                await asyncio.sleep(10)
                loop.block(blocked)
                await asyncio.sleep(20)
                lags.append((await figures(daemon))["ws_exporter_event_loop_lag_seconds",])
        return lags

    before, spike, after, *later = virtual_clock.run(main)

    assert before < 0.1
    assert spike == after == pytest.approx(2.0, abs=0.51)
    assert later[-1] < 0.1


@pytest.mark.parametrize("step", [3600.0, -3600.0])
def test_a_step_of_the_wall_clock_is_followed(step, caplog):
    """It is said once; due times, ledger and cycles go on as if nothing had happened."""
    limits = {"slots_per_identity": 20, "slot_release": "300s"}

    async def main(loop):
        async with running(loop, limits=limits) as (daemon, _):
            await asyncio.sleep(400)
            before = await figures(daemon)
            loop.step(step)
            await asyncio.sleep(400)
            return before, await figures(daemon), loop.wall()

    before, after, now = virtual_clock.run(main)

    assert total(after, "ws_probe_skips_total") == 0
    assert 39 <= after["ws_probe_cycles_total", "connect"] <= 41
    assert 0 < after["ws_probe_due_timestamp_seconds", "connect"] - now <= INTERVAL
    assert abs(total(after, "ws_factory_slots_held") - total(before, "ws_factory_slots_held")) <= 1
    steps = [record.getMessage() for record in caplog.records if "wall clock" in record.getMessage()]
    assert steps == [f"the wall clock stepped by {step:.1f} s: the schedule of every target is recomputed"]


# Health -------------------------------------------------------------------------------------------------------------


def test_healthy_does_not_depend_on_targets():
    """With every session failing and every cycle skipped we are healthy and ready."""

    async def main(loop):
        async with running(loop, fault="http:status=429") as (daemon, _):
            await asyncio.sleep(100)
            shown = await figures(daemon)
            assert shown["ws_probe_skips_total", SkipCause.RATE] >= 3
            return [await get(daemon, path) for path in ("/-/healthy", "/-/ready")]

    assert virtual_clock.run(main) == [(200, "healthy\n"), (200, "ready\n")]


def test_a_dead_task_is_logged_and_unhealthy(monkeypatch, caplog):
    """Nobody would miss it otherwise: an exception in a chore ends it for good."""

    def broken(*_):
        raise ZeroDivisionError

    async def main(loop):
        async with running(loop) as (daemon, _):
            before = await get(daemon, "/-/healthy")
            monkeypatch.setattr(daemon._dispatcher, "update_identities", broken)
            await asyncio.sleep(2 * HOUSEKEEPING_SECONDS)
            monkeypatch.undo()
            return before, await get(daemon, "/-/healthy"), await get(daemon, "/-/ready")

    before, after, ready = virtual_clock.run(main)

    assert before == (200, "healthy\n")
    assert after == (503, "the task tidy has died, see the log: restart\n")
    assert ready[0] == 200
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [record.exc_info[0] for record in errors] == [ZeroDivisionError]


def test_cycles_that_do_not_start_are_unhealthy():
    """When the alarm is dead, the process answers and yet does nothing: a restart is due."""

    async def main(loop):
        async with running(loop) as (daemon, _):
            await asyncio.sleep(100)
            daemon._scheduler._wakeups._stop_timer()
            await asyncio.sleep(INTERVAL + DEAD_ALARM_SECONDS + 1)
            return await get(daemon, "/-/healthy")

    assert virtual_clock.run(main) == (503, "cycles fall due and none is started: restart\n")


def test_waiting_for_the_first_scrape_is_healthy():
    """Healthy through all of a long start-up wait."""

    async def main(loop):
        async with running(loop, delay=300.0) as (daemon, _):
            await asyncio.sleep(299)
            return await get(daemon, "/-/healthy")

    assert virtual_clock.run(main) == (200, "healthy\n")


# The stop -----------------------------------------------------------------------------------------------------------


def test_a_stop_in_mid_session_ends_it_with_1000():
    """Not ready while the session is let finish; the pages are there to the last; then nothing is left."""

    async def main(loop):
        async with StandIn.start(tls_port=None, clock=loop.time, wall=loop.wall, timings=Timings.quick()) as standin:
            standin.set_fault("/ws", "deaf")
            daemon = made(loop, mapping(standin, timeout="15s"))
            before = asyncio.all_tasks()
            await daemon.start()
            while not standin.open_connections:
                await asyncio.sleep(0.1)
            began = loop.time()
            stopping = asyncio.ensure_future(daemon.stop())
            await asyncio.sleep(1)
            pages = [await get(daemon, path) for path in ("/-/ready", "/-/healthy", "/metrics")]
            await stopping
            took = loop.time() - began
            with pytest.raises(ConnectionRefusedError):
                await get(daemon, "/-/ready")
            (seen,) = await standin.wait_sessions(1)
            assert asyncio.all_tasks() <= before
            await daemon.stop()
            return pages, took, seen

    (ready, healthy, metrics), took, seen = virtual_clock.run(main)

    assert ready == (503, "stopping: running sessions are being closed\n")
    assert healthy == (200, "healthy\n")
    assert metrics[0] == 200
    assert (seen.close_received, seen.first_closer, seen.how) == (1000, "client", "close")
    assert FINISH_GRACE_SECONDS <= round(took, 6) < FINISH_GRACE_SECONDS + STOP_GRACE_SECONDS


@pytest.mark.parametrize("after", [0.0, 1.0, 30.0, 61.0])
def test_a_stop_while_waiting_to_begin_is_immediate(after):
    """Nothing runs yet, so nothing is waited for; no session ever begins."""

    async def main(loop):
        async with StandIn.start(tls_port=None, clock=loop.time, wall=loop.wall, timings=Timings.quick()) as standin:
            daemon = made(loop, mapping(standin), delay=100.0)
            await daemon.start()
            await asyncio.sleep(after)
            began = loop.time()
            await daemon.stop()
            took = loop.time() - began
            await asyncio.sleep(300)
            return took, standin.finished

    assert virtual_clock.run(main) == (pytest.approx(0.0, abs=0.01), 0)


def test_a_stop_without_a_start_is_harmless():
    """Nothing was started, nothing is stopped."""

    async def main(loop):
        daemon = made(loop, mapping(Nowhere))
        await daemon.stop()
        await daemon.stop()

    virtual_clock.run(main)


def test_a_stop_releases_everything_even_if_a_part_of_it_fails(monkeypatch, tmp_path):
    """The HTTP side and the state file are closed although the scheduler's stop raises."""

    async def main(loop):
        state = LedgerFile.open(tmp_path / "state")
        daemon = made(loop, mapping(Nowhere, interval="1000s"), state=state)
        await daemon.start()
        assert await get(daemon, "/-/ready") == (200, "ready\n")
        monkeypatch.setattr(daemon._scheduler._wakeups, "shutdown", lambda **_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            await daemon.stop()
        with pytest.raises(ConnectionRefusedError):
            await get(daemon, "/-/ready")
        monkeypatch.undo()
        daemon._scheduler._wakeups.shutdown(wait=False)
        return state._journal._lock_descriptor

    assert virtual_clock.run(main) is None


def test_many_targets_have_their_own_series():
    """Ten targets, one daemon: each has its own series and its own place in the interval."""

    async def main(loop):
        async with StandIn.start(tls_port=None, clock=loop.time, wall=loop.wall, timings=Timings.quick()) as standin:
            told = []
            targets = [mapping(standin, path=f"/ws/t{n}", name=f"t{n}") for n in range(10)]
            daemon = made(loop, *targets, on_result=told.append)
            await daemon.start()
            await asyncio.sleep(3 * INTERVAL)
            _, body = await get(daemon, "/metrics")
            await daemon.stop()
            return Counter(result.target for result in told), body

    told, body = virtual_clock.run(main)

    assert told == {f"t{n}": 3 for n in range(10)}
    assert all(f'ws_probe_cycles_total{{target="t{n}",probe="send"}} 3\n' in body for n in range(10))


def test_a_cycle_whose_session_is_asked_for_the_token_it_kept_back_is_a_skip():
    """A 401 to a session without its token proves nothing: the cycle is told all the same, or it would be lost."""

    async def main(loop):
        async with running(loop, fault="http:status=401", confirm={"runs": 0}) as (daemon, _):
            await asyncio.sleep(30 * INTERVAL)
            return await figures(daemon)

    shown = virtual_clock.run(main)

    told = shown["ws_probe_cycles_total", "connect"] + total(shown, "ws_probe_skips_total")
    assert told >= 29
    assert shown["ws_probe_skips_total", "resting"] >= 20
