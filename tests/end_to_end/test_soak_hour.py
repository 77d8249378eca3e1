"""One real hour of mixed faults, one exporter: nothing that is counted is lost, nothing grows (`make soak`).

The real command lives in a world of its own, with a disk, a name server and a clock that can be turned, and probes
twenty targets of a stand-in every five seconds. Each minute has a scene: the backend's faults, or our own. After each,
every cycle that fell due is accounted for, and what the exporter takes of the machine is written down.
`SOAK_MINUTES=16 make soak` makes it shorter.
"""

import asyncio
import contextlib
import itertools
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from support import harness, live_exporter
from support.fault_cases import drawable
from support.live_exporter import NAMESERVER, RESOLV, faketime, fill
from support.paths import TESTS

SEED = 20261125
MINUTES = float(os.environ.get("SOAK_MINUTES", "60"))
SCENE = float(os.environ.get("SOAK_SCENE", "60"))
TARGETS = 20
INTERVAL = 5.0
GROWTH = 6.0
"""Megabytes that the second half may add: the allocator's noise."""
RATE = {"max_connects_per_minute": 60_000}
JUNK = str(TESTS / "bench" / "junk.py")
RELOADED = "ws_exporter_config_last_reload_successful"
RELOADED_AT = "ws_exporter_config_last_reload_success_timestamp_seconds"
OTHERS = ("ws_probe_skips_total", "ws_probe_impaired_total")


@dataclass(frozen=True)
class Look:
    """The exporter at one moment: what it counted, and what it takes of the machine (`resident` in megabytes)."""

    at: float
    samples: live_exporter.Samples
    descriptors: int
    threads: int
    resident: float

    @classmethod
    async def of(cls, running):
        at, samples = time.monotonic(), await running.samples()
        status = Path(f"/proc/{running.pid}/status").read_text(encoding="ascii")  # noqa: ASYNC240 - of memory
        fields = dict(line.split(":", 1) for line in status.splitlines())
        descriptors = len(list(Path(f"/proc/{running.pid}/fd").iterdir()))  # noqa: ASYNC240
        return cls(at, samples, descriptors, int(fields["Threads"]), int(fields["VmRSS"].split()[0]) / 1024)

    def due(self, name):
        return self.samples.total("ws_probe_due_timestamp_seconds", target=name, probe="connect")

    def told(self, name):
        cycles = self.samples.total("ws_probe_cycles_total", target=name, probe="connect")
        return cycles + sum(self.samples.total(other, target=name) for other in OTHERS)

    def idle(self, since):
        """Targets of which too few cycles fell due since an earlier look: a schedule that has ended leaves no gap."""
        least = (self.at - since.at) / INTERVAL - 2
        names = self.samples.causes("ws_probe_interval_seconds", "target")
        due = {name: (self.due(name) - since.due(name)) / INTERVAL for name in names}
        return {name: round(cycles, 3) for name, cycles in due.items() if cycles < least}

    def unaccounted(self, since):
        """Cycles that fell due since an earlier look and were told as nothing, by target; one may be running."""
        names = self.samples.causes("ws_probe_interval_seconds", "target")
        missing = {
            name: (self.due(name) - since.due(name)) / INTERVAL - self.told(name) + since.told(name) for name in names
        }
        return {name: round(cycles, 3) for name, cycles in missing.items() if abs(cycles) > 1}


class Stage:
    """What the scenes act on: the world `place`, its backend and name server, the exporter, a folder with its disk."""

    def __init__(self, place, known, names, running, folder):
        self.place, self.known, self.names, self.running, self.folder = place, known, names, running, folder
        self.random = random.Random(SEED)
        self.faults = drawable()
        self.ahead = 0

    async def paths(self, *, rough):
        """Put a fault on each third path, or none."""
        for number in range(0, TARGETS, 3):
            chosen = [self.random.choice(self.faults)] if rough else []
            await self.place.get(f"{self.known.control}/faults?path=/ws/t{number:02d}", "PUT", json.dumps(chosen))

    async def rest(self, seconds):
        """Let it work; fails if it ends."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                code = await self.running.running.process.wait()
                raise AssertionError(f"the exporter ended by itself, with {code}")

    def turn(self, seconds):
        """Turn the clock of exporter and backend."""
        self.ahead += seconds
        new = self.folder / "clock.new"
        new.write_text(f"{self.ahead:+d}")
        new.rename(self.folder / "clock")


# Scenes: each a minute, each leaves the world as it found it ----------------------------------------------------------


async def calm(stage):
    await stage.rest(SCENE)


async def backend_faults(stage):
    await stage.paths(rough=True)
    await stage.rest(SCENE - 15)
    await stage.paths(rough=False)
    await stage.rest(15)


async def stopped(stage):
    for seconds in (2, 12):
        stage.running.running.process.send_signal(signal.SIGSTOP)
        await stage.rest(seconds)
        stage.running.running.process.send_signal(signal.SIGCONT)
        await stage.rest(SCENE / 2 - seconds)


async def full_disk(stage):
    disk = stage.place.root / str(stage.folder / "disk").lstrip("/")
    fill(disk)
    await stage.rest(SCENE / 2)
    (disk / "filler").unlink()
    await stage.rest(SCENE / 2)


async def no_names(stage):
    stage.names.process.send_signal(signal.SIGSTOP)
    await stage.rest(SCENE / 2)
    stage.names.process.send_signal(signal.SIGCONT)
    await stage.rest(SCENE / 2)


async def junk(stage):
    async with stage.place.command(sys.executable, JUNK, stage.running.url, str(stage.folder / "junk.json")) as sender:
        await stage.rest(SCENE / 2)
        assert (await sender.signalled(signal.SIGTERM))[0] == 0
    await stage.rest(SCENE / 2)


async def reloads(stage):
    """Every other second a file with one target changed; each fifth is no config, and the old one goes on."""
    file = stage.folder / "exporter.yml"
    good, end = file.read_text(), time.monotonic() + SCENE
    for number in itertools.count(1):
        if time.monotonic() > end:
            break
        changed = yaml.safe_load(good)
        changed["targets"][number % TARGETS]["timeout"] = "2900ms"
        await reload(stage, file, yaml.safe_dump(changed) if number % 5 else "targets: [", well=number % 5 > 0)
        await stage.rest(2)
    await reload(stage, file, good, well=True)


async def reload(stage, file, text, *, well):
    """Have this text taken for the config, or refused."""
    file.write_text(text)
    at = (await stage.running.samples()).total(RELOADED_AT)
    stage.running.running.process.send_signal(signal.SIGHUP)
    await stage.running.until(lambda seen: seen.total(RELOADED_AT) > at if well else not seen.total(RELOADED))


async def clock_jumps(stage):
    for seconds in (3600, -3600):
        stage.turn(seconds)
        await stage.rest(SCENE / 2)


SCENES = (calm, backend_faults, stopped, backend_faults, full_disk, no_names, junk, reloads, clock_jumps)
BLAMED = frozenset({backend_faults, no_names, clock_jumps})
"""Scenes in which sessions may fail: in all others nobody is to be blamed. A session in whose middle the clock jumps
has a token of the clock before: too old, or of the future, by the backend's clock after."""


def target(known, number):
    """A target of the stand-in by name, with users of its own: so many that confirm runs too find free slots.

    A session every five seconds holds 60 slots, the backend's release being 300 s; a user has 20. Each has a host of
    its own, for what a fault teaches the ledger of a backend's slots is believed for a day.
    """
    users = itertools.product(harness.POOL.items(), "ab")
    pool = {f"{alias}-{letter}": f"{subject}-{number:02d}{letter}" for (alias, subject), letter in users}
    return live_exporter.target(
        known,
        name=f"t{number:02d}",
        url=known.url.replace("127.0.0.1", f"t{number:02d}.example.com").replace("/ws", f"/ws/t{number:02d}"),
        interval=f"{INTERVAL:g}s",
        timeout="3s",
        close_timeout="1s",
        identities=pool,
        auth_retry="10s",
        confirm={"runs": 2, "after": "1s"},
    )


@contextlib.asynccontextmanager
async def staged(folder):
    """The stage, after the first sessions of all targets."""
    for name, text in {"clock": "+0", "resolv.conf": "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n"}.items():
        (folder / name).write_text(text)
    (folder / "disk").mkdir()
    environment = {
        "LD_PRELOAD": faketime(), "FAKETIME_TIMESTAMP_FILE": str(folder / "clock"), "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }  # fmt: skip
    async with live_exporter.world() as place, live_exporter.backend(place, **environment) as known:
        await place.run("mount", "-t", "tmpfs", "-o", "size=4m", "none", str(folder / "disk"))
        await place.run("mount", "--bind", str(folder / "resolv.conf"), RESOLV)
        flags = (f"--state.file={folder / 'disk' / 'state'}",)
        targets = [target(known, number) for number in range(TARGETS)]
        async with (
            place.command(sys.executable, NAMESERVER) as names,
            live_exporter.exporter(folder, *targets, place=place, flags=flags, settings=RATE, **environment) as running,
        ):
            await running.until(lambda seen: seen.accounted >= 2 * TARGETS)
            yield Stage(place, known, names, running, folder)


@pytest.mark.soak
@pytest.mark.timeout(60 * MINUTES + 600)
async def test_an_hour_of_everything_loses_nothing_and_grows_nothing(tmp_path):
    """Every cycle is accounted for after each scene; the second half adds nothing to what the exporter takes."""
    looks, wrong, reasons = [], [], Counter()
    async with staged(tmp_path) as stage:
        end = time.monotonic() + 60 * MINUTES
        looks.append(await Look.of(stage.running))
        for scene in iter_scenes(end):
            await scene(stage)
            look, before = await Look.of(stage.running), looks[-1]
            looks.append(look)
            failed = look.samples.failures - before.samples.failures
            missing, idle = (look.unaccounted(before), look.idle(before)) if scene is not clock_jumps else ({}, {})
            skipped = skips(look) - skips(before)
            reasons.update(look.samples.causes("ws_probe_failures_total", "reason"))
            print(
                f"{scene.__name__:15} cycles {look.samples.accounted - before.samples.accounted:4.0f}  "
                f"failed {failed:4.0f}  unaccounted {missing or 0}  skipped {dict(skipped) or 0}  "
                f"fds {look.descriptors}  threads {look.threads}  {look.resident:.1f} MB",
                flush=True,
            )
            if missing:
                wrong.append(f"{scene.__name__}: cycles told as nothing: {missing}")
            if idle:
                wrong.append(f"{scene.__name__}: too few cycles fell due: {idle}")
            if failed and scene not in BLAMED:
                wrong.append(f"{scene.__name__}: {failed:.0f} failures that nobody caused")
        assert await stage.running.ended() == 0
        broken = [line for line in stage.running.running.err if "please report this" in line or "Traceback" in line]

    last, half = looks[-1], looks[len(looks) // 2]
    print(f"cycles {last.samples.accounted:.0f}, failed {last.samples.failures:.0f}, skips {dict(skips(last))}")
    print(f"reasons {sorted(reasons)}")
    print(f"half: {half.descriptors} fds, {half.threads} threads, {half.resident:.1f} MB; end: {last.resident:.1f} MB")
    assert not wrong, "\n".join(wrong)
    assert not broken
    first = looks[: len(looks) // 2 + 1]
    assert last.descriptors <= max(look.descriptors for look in first) + 2, "idle clients are kept for 150 s"
    assert last.threads <= max(look.threads for look in first) + 2, "a pool makes a thread when all its others are busy"
    assert last.resident - half.resident < GROWTH


def skips(look):
    """How many cycles were skipped, by cause."""
    causes = look.samples.causes(OTHERS[0], "cause")
    return Counter({cause: int(look.samples.total(OTHERS[0], cause=cause)) for cause in causes})


def iter_scenes(end):
    """The scenes, round and round, until the hour is over."""
    while True:
        for scene in SCENES:
            if time.monotonic() > end:
                return
            yield scene
