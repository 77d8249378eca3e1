"""Faults of our own world, each on the real process: what is counted stays counted, nobody else is blamed, it recovers.

Every test ends with the sum: cycles told, skips and impairments make up the cycles that fell due.
"""

import contextlib
import resource
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from support import harness, live_exporter
from support.commands import command
from support.live_exporter import NAMESERVER, RESOLV, faketime, fill
from support.realservers import free_port, get

from exporter.standin import StandIn, Timings


def adds_up(first, last, interval=1.0):
    """Every cycle that fell due between two looks is told, but for one that runs."""
    due = (last.next_due - first.next_due) / interval
    return abs(last.accounted - first.accounted - due) <= 1


def passing(samples):
    return samples.total("ws_probe_success", probe="send") == 1


async def heard(running, text, times=1):
    """Wait until the log has said it."""
    return await running.running.said(text, times=times)


@contextlib.asynccontextmanager
async def at_home(tmp_path, *flags, place=None, environment=None, **changes):
    """An exporter of a healthy backend in the test itself, after its first sessions."""
    async with StandIn.start(timings=Timings.quick(), tls_port=None) as standin:
        target = harness.target(standin, **{**live_exporter.QUICK, **changes})
        async with live_exporter.exporter(tmp_path, target, place=place, flags=flags, **(environment or {})) as running:
            yield standin, running, await running.until(lambda seen: seen.accounted >= 2)


# Descriptors --------------------------------------------------------------------------------------------------------


async def test_no_descriptors_left_is_our_own_failure_and_over_when_there_are_some(tmp_path):
    """Sessions are impaired, none is a failure of the backend; the next cycle after it passes.

    Where the key is so young that it must be read again, it is `token` and not `internal`.
    """
    async with at_home(tmp_path) as (standin, running, first):
        limits = resource.prlimit(running.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(running.pid, resource.RLIMIT_NOFILE, (3, limits[1]))
        await heard(running, "impairment=", times=2)
        resource.prlimit(running.pid, resource.RLIMIT_NOFILE, limits)
        again = time.monotonic()
        await standin.wait_sessions(standin.finished + 2, timeout=60)
        took = time.monotonic() - again
        last = await running.until(passing)
        assert await running.ended() == 0

    print(f"\ntwo sessions {took:.1f} s after, impaired {last.total('ws_probe_impaired_total'):.0f}")
    assert last.failures == 0
    assert last.causes("ws_probe_impaired_total", "reason") <= {"internal", "token"}
    assert last.total("ws_probe_impaired_total") >= 2
    assert adds_up(first, last)


# Disks --------------------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def on_a_disk(tmp_path, mount):
    """An exporter with its state on a disk of 256 KiB: its world, itself, its first samples, the disk from here."""
    folder = tmp_path / "disk"
    folder.mkdir()
    async with live_exporter.world() as place, live_exporter.backend(place) as known:
        await place.run("mount", "-t", "tmpfs", "-o", f"size=256k,{mount}", "none", str(folder))
        target = live_exporter.target(known, limits={"slots_per_identity": 1000})
        flags = (f"--state.file={folder / 'state'}",)
        async with live_exporter.exporter(tmp_path, target, place=place, flags=flags) as running:
            first = await running.until(lambda seen: seen.accounted >= 2)
            yield place, running, first, place.root / str(folder).lstrip("/")


def holds(folder):
    """Sessions that the state file knows of."""
    return (folder / "state").read_bytes().count(b"\n")


async def test_a_full_disk_costs_no_session_and_what_it_missed_is_written_later(tmp_path):
    """One warning that names the file; probing goes on; with room again the file has every session."""
    async with on_a_disk(tmp_path, "rw") as (_, running, first, disk):
        fill(disk)
        before = holds(disk)
        (warning,) = await heard(running, "level=warn source=state")
        full = await running.samples()
        later = await running.until(lambda seen: seen.accounted >= full.accounted + 3)
        (disk / "filler").unlink()
        await heard(running, "level=warn source=state", times=2)
        last = await running.until(lambda seen: seen.accounted >= later.accounted + 1)
        after = holds(disk)
        assert await running.ended() == 0
        warnings = [line for line in running.running.err if "source=state" in line]

    assert str(tmp_path / "disk" / "state") in warning
    assert len(warnings) == 2, "once that it is full, once that it works again"
    assert after - before >= later.sessions - full.sessions
    assert (last.failures, last.total("ws_probe_impaired_total")) == (0, 0)
    assert last.causes("ws_probe_skips_total", "cause") <= {"late", "distorted"}, "a busy machine's, not the disk's"
    assert adds_up(first, last)


async def test_a_read_only_disk_costs_no_session(tmp_path):
    """As when the kernel remounts a broken disk: one warning, probing goes on, it is used once it can be."""
    async with on_a_disk(tmp_path, "ro") as (place, running, first, disk):
        (warning,) = await heard(running, "level=warn source=state")
        later = await running.until(lambda seen: seen.accounted >= first.accounted + 2)
        await place.run("mount", "-o", "remount,rw", str(tmp_path / "disk"))
        await heard(running, "level=warn source=state", times=2)
        last = await running.until(lambda seen: seen.accounted >= later.accounted + 1)
        known = holds(disk)
        assert await running.ended() == 0

    assert str(tmp_path / "disk" / "state") in warning
    assert known >= last.accounted - 1
    assert (last.failures, last.total("ws_probe_impaired_total"), last.total("ws_probe_skips_total")) == (0, 0, 0)
    assert adds_up(first, last)


async def test_a_log_that_cannot_be_written_stops_nothing(tmp_path):
    """Lines are lost when standard error is a full disk; sessions, figures and health are not."""
    with open("/dev/full", "wb") as full:  # noqa: ASYNC230, PTH123 - a device
        async with StandIn.start(timings=Timings.quick(), tls_port=None) as standin:
            port = free_port()
            config = tmp_path / "exporter.yml"
            config.write_text(yaml.safe_dump({"targets": [harness.target(standin, **live_exporter.QUICK)]}))
            listen = f"--web.listen-address=127.0.0.1:{port}"
            async with command("run", f"--config.file={config}", listen, "--startup.delay=0s", stderr=full) as running:
                await standin.wait_sessions(4, timeout=60)
                healthy = await get(f"http://127.0.0.1:{port}/-/healthy")
                code = (await running.signalled(signal.SIGTERM))[0]

    assert (healthy, code) == ("healthy\n", 0)


# Clocks -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["+1h", "-1h", "+40d", "-40d"])
async def test_a_jump_of_the_clock_costs_at_most_an_interval(step, tmp_path):
    """The next cycle is at most one interval late, nothing fails, and the page is not stale for long."""
    clock, new = tmp_path / "clock", tmp_path / "clock.new"
    clock.write_text("+0")
    new.write_text(step)
    environment = {
        "LD_PRELOAD": faketime(),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    here = live_exporter.World()
    async with (
        live_exporter.backend(
            here, **environment
        ) as known,  # the clock is wrong before or after, and the same for both
        live_exporter.exporter(tmp_path, live_exporter.target(known, **PATIENT), **environment) as running,
    ):
        first = await running.until(lambda seen: seen.accounted >= 2)
        told, jumped = sum("msg=session" in line for line in running.running.err), time.monotonic()
        new.rename(clock)
        await heard(running, "msg=session", times=told + 1)
        took = time.monotonic() - jumped
        await heard(running, "the wall clock stepped")
        ahead = SECONDS[step[-1]] * int(step[:-1])
        last = await running.until(
            lambda seen: (
                seen.accounted >= first.accounted + 4 and passing(seen) and is_recent(seen, time.time() + ahead)
            )
        )  # a busy machine skips cycles right after the step
        assert await running.ended() == 0

    now = time.time() + ahead
    print(f"\n{step}: next session after {took:.2f} s, skips {last.causes('ws_probe_skips_total', 'cause') or 'none'}")
    assert took < 2 + BUSY, "one interval"
    assert last.causes("ws_probe_failures_total", "reason") == set()
    assert now - 30 < last.next_due < now + 30


def is_recent(seen, now):
    """Whether a session has run by the clock as it is now."""
    return now - 30 < seen.total("ws_probe_last_run_timestamp_seconds", probe="send") < now + 1


SECONDS = {"h": 3600, "d": 86400}
PATIENT = {"interval": "2s", "timeout": "1600ms"}
"""A backend on a busy machine answers within it."""
BUSY = 3.0
"""Seconds that a busy machine may add."""


# Network ------------------------------------------------------------------------------------------------------------


async def test_names_that_nobody_answers_for_are_a_dns_failure_and_the_next_cycle_after_it_passes(tmp_path):
    """A name server that is silent, then gone, then back: `dns` in `resolve`, each cycle told, a stop in time."""
    async with live_exporter.world() as place, live_exporter.backend(place) as known:
        resolv = tmp_path / "resolv.conf"
        resolv.write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
        await place.run("mount", "--bind", str(resolv), RESOLV)
        async with place.command(sys.executable, NAMESERVER) as server:
            await server.said("serving")
            named = known.url.replace("127.0.0.1", "backend.example.com")
            async with live_exporter.exporter(tmp_path, live_exporter.target(known, url=named), place=place) as running:
                first = await running.until(passing)
                server.process.send_signal(signal.SIGSTOP)
                silent = await running.until(lambda seen: unresolved(seen) >= unresolved(first) + 3)
                server.process.send_signal(signal.SIGCONT)
                back = await running.until(passing)
                server.process.kill()
                gone = await running.until(lambda seen: unresolved(seen) >= unresolved(back) + 3)
                async with place.command(sys.executable, NAMESERVER) as again:
                    await again.said("serving")
                    last = await running.until(passing)
                    stopped = time.monotonic()
                    assert await running.ended() == 0
                    stopped = time.monotonic() - stopped

    assert silent.failures - first.failures <= unresolved(silent) - unresolved(first) + 1
    assert gone.failures - back.failures <= unresolved(gone) - unresolved(back) + 1
    assert "dns" in gone.causes("ws_probe_failures_total", "reason")
    assert stopped < 5 + BUSY
    assert adds_up(first, last)


def unresolved(seen):
    """Failures that ended where the name is resolved. A session under way when the name server stops may fail later."""
    return seen.total("ws_probe_failures_total", phase="resolve")


async def test_a_network_without_a_route_is_told_and_over_with_it(tmp_path):
    """Without loopback's address: `unreachable` in `tcp`, from the next cycle to the one after its return."""
    async with (
        live_exporter.world() as place,
        live_exporter.backend(place) as known,
        live_exporter.exporter(tmp_path, live_exporter.target(known), place=place, listen="[::1]") as running,
    ):
        first = await running.until(passing)
        await place.run("ip", "address", "delete", "127.0.0.1/8", "dev", "lo")
        cut = await running.until(lambda seen: seen.failures >= first.failures + 2)
        await place.run("ip", "address", "add", "127.0.0.1/8", "dev", "lo")
        last = await running.until(passing)
        assert await running.ended() == 0

    assert cut.causes("ws_probe_failures_total", "reason") == {"unreachable"}
    assert cut.causes("ws_probe_failures_total", "phase") == {"tcp"}
    assert adds_up(first, last)


# Killed, and alone --------------------------------------------------------------------------------------------------


async def test_a_crash_leaves_no_image_of_the_key(tmp_path):
    """Its core file may be of no size, whatever the service manager permits; no argument and no variable is secret."""
    async with at_home(tmp_path) as (standin, running, _):
        soft, hard = resource.prlimit(running.pid, resource.RLIMIT_CORE)
        seen = [Path(f"/proc/{running.pid}/{file}").read_bytes() for file in ("cmdline", "environ")]  # noqa: ASYNC240

    assert (soft, hard) == (0, 0)
    assert not any(standin.key in text for text in seen)


@pytest.mark.soak
async def test_killed_for_want_of_memory_again_and_again_it_does_no_harm(tmp_path):
    """Eight lives of a session or two, users with five slots each: the ledger outlives them, none is refused."""
    lives = []
    limits = {"slots_per_identity": 5, "slot_release": f"{RELEASE}s"}
    pool = {"pool-001": "staging-e2e-user-001"}
    quick = {**live_exporter.QUICK, "interval": "7s", "identities": pool, "limits": limits}
    pace = replace(Timings.quick(), slot_release=RELEASE)
    async with StandIn.start(timings=pace, tls_port=None, slots=5) as standin:
        target = harness.target(standin, **quick)
        for _ in range(8):
            async with live_exporter.exporter(
                tmp_path, target, flags=(f"--state.file={tmp_path / 'state'}",)
            ) as running:
                lives.append(await running.until(lambda seen: seen.accounted >= 1))
                running.running.process.send_signal(signal.SIGKILL)
                assert await running.running.ended() == -signal.SIGKILL
        sessions = [seen for seen in standin.sessions if seen.upgraded]

    assert len(sessions) >= 8
    assert [life.failures for life in lives] == [0] * 8
    assert not any(life.causes("ws_factory_validation_failures_total", "reason") for life in lives)


RELEASE = 20.0
