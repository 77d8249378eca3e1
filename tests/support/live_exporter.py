"""A small world of its own for one exporter: a network with nothing but loopback, disks of its own, a clock to turn.

The network and the disks are Linux namespaces (`unshare`), made by anybody for themselves and gone with their last
process. What is inside is started and asked by `nsenter`.
"""

import asyncio
import contextlib
import signal
import sys
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from support import harness
from support.commands import program_running, value_of
from support.realservers import PATIENCE, binary, until

FETCH = (
    "import sys, urllib.request as r; "
    "sys.stdout.write(r.urlopen(r.Request(sys.argv[1], method=sys.argv[2], data=sys.argv[3].encode() or None), "
    f"timeout={PATIENCE}).read().decode())"
)
QUICK = {"interval": "1s", "timeout": "500ms", "close_timeout": "200ms", "confirm": {"runs": 0}}


NAMESERVER = str(Path(__file__).with_name("nameserver.py"))
RESOLV = str(Path("/etc/resolv.conf").resolve())


class World:
    """Where processes run: in the namespaces of `holder`, a process, or without one where the test runs."""

    def __init__(self, holder=None):
        enter = [binary("nsenter", "util-linux"), "-t", str(holder), "-U", "-m", "-n", "--preserve-credentials"]
        self._enter = enter if holder else []
        self.root = Path(f"/proc/{holder}/root" if holder else "/")

    async def run(self, *words):
        """What a command says inside; raises if it fails."""
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*self._enter, *words, stdout=pipe, stderr=pipe)
        out, err = await process.communicate()
        assert process.returncode == 0, (words, out, err)
        return out.decode()

    async def get(self, url, method="GET", body=""):
        """A page of a server inside; raises if it cannot be had."""
        return await self.run(sys.executable, "-c", FETCH, url, method, body)

    @contextlib.asynccontextmanager
    async def command(self, *words, **environment):
        """A command inside, as `commands.Command`; killed if it is still there at the end."""
        async with program_running([*self._enter, *words], **environment) as running:
            yield running


@contextlib.asynccontextmanager
async def world():
    """A world with nothing in it but loopback."""
    unshare = [binary("unshare", "util-linux"), "--map-root-user", "--mount", "--net", "--kill-child"]
    ip = binary("ip", "iproute2")
    holder = await asyncio.create_subprocess_exec(
        *unshare, "sh", "-c", f"{ip} link set lo up && echo made && exec cat",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        assert await holder.stdout.readline() == b"made\n", "this kernel gives no namespaces to its users"
        yield World(holder.pid)
    finally:
        holder.stdin.close()  # `cat` ends, and the world with it
        await holder.wait()


@dataclass(frozen=True)
class Backend:
    """A stand-in: where it is, its key, its control endpoint."""

    url: str
    key_file: str
    control: str


@contextlib.asynccontextmanager
async def backend(place, **environment):
    """The stand-in as a command in a world."""
    async with place.command(sys.executable, "-m", "exporter", "standin", **environment) as running:
        found = await running.said("  ", times=4)
        yield Backend(found[0].split()[1], found[1].split()[2], found[3].split()[2].removesuffix("/faults"))


def target(known, **changes):
    """A target of a backend, probed every second."""
    auth = {"jwt": {"key_file": known.key_file, "claims": harness.CLAIMS}}
    limits = {"slots_per_identity": 0}
    return {
        "name": "staging", "url": known.url, "identities": dict(harness.POOL), "auth": auth, "limits": limits, **QUICK,
        **changes,
    }  # fmt: skip


class Exporter:
    """A running `run`; `samples` is what its page says."""

    def __init__(self, running, url, get):
        self.running = running
        self.url = url
        self._get = get

    @property
    def pid(self):
        """Of the exporter itself: `nsenter` has become it."""
        return self.running.process.pid

    async def page(self, path="/metrics"):
        return await self._get(self.url + path)

    async def samples(self):
        """The samples of its page, by name and labels."""
        return Samples(
            {
                (sample.name, frozenset(sample.labels.items())): sample.value
                for family in text_string_to_metric_families(await self.page())
                for sample in family.samples
            }
        )

    async def until(self, condition, patience=PATIENCE):
        """Its samples as soon as the condition holds for them."""

        async def ask():
            samples = await self.samples()
            return samples if condition(samples) else None

        return await until(ask, patience, 0.2)

    async def ended(self):
        """Stopped as by systemd: its exit code."""
        return (await self.running.signalled(signal.SIGTERM))[0]


class Samples(dict):
    """Samples by name and labels."""

    def total(self, metric, **labels):
        """The sum over all series that have these labels."""
        return sum(value for (name, had), value in self.items() if name == metric and labels.items() <= had)

    def causes(self, metric, label):
        """The values of a label of the series that are not 0."""
        return {dict(had)[label] for (name, had), value in self.items() if name == metric and value}

    @property
    def accounted(self):
        """Cycles that fell due and were told as something (docs/design.md#schedule)."""
        return self.sessions + self.total("ws_probe_skips_total") + self.total("ws_probe_impaired_total")

    @property
    def sessions(self):
        """Cycles that were answered."""
        return self.total("ws_probe_cycles_total", probe="connect")

    @property
    def next_due(self):
        """Unix seconds."""
        return self.total("ws_probe_due_timestamp_seconds", probe="connect")

    @property
    def failures(self):
        return self.total("ws_probe_cycle_failures_total")


@contextlib.asynccontextmanager
async def exporter(folder, *targets, place=None, listen="127.0.0.1", flags=(), settings=None, **environment):
    """`run` on these targets, inside a world or in ours."""
    config = folder / "exporter.yml"
    config.write_text(yaml.safe_dump({"targets": list(targets), **(settings or {})}))
    words = [
        sys.executable, "-m", "exporter", "run", f"--config.file={config}", f"--web.listen-address={listen}:0",
        "--startup.delay=0s", *flags,
    ]  # fmt: skip
    place = place or World()
    async with place.command(*words, **environment) as running:
        (line,) = await running.said("msg=listening")
        yield Exporter(running, value_of(line, "url"), place.get)


def fill(folder):
    """Fill a disk to its last byte."""
    with (folder / "filler").open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        file.writelines(repeat(b"x" * 512))


def faketime():
    """The library that stands between a process and the wall clock."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    assert found, "libfaketime is not installed: apt-get install faketime, or make packages"
    return str(found[0])
