"""How soon `run` is ready, and how much memory it holds, with ten targets: figures for people, not a gate.

make bench
"""

import asyncio
import time
from pathlib import Path
from statistics import median

import pytest
import yaml
from support import harness
from support.commands import command
from support.realservers import free_port, get

from exporter.standin import StandIn, Timings

TARGETS = 10
TIMES = 5
SESSIONS = 5
"""Of each target, before memory is read."""


def resident_megabytes(pid):
    """What the kernel says the process holds of real memory."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    fields = dict(line.split(":", 1) for line in status.splitlines())
    return int(fields["VmRSS"].split()[0]) / 1024


async def ready(running, url):
    """Return at the first 200, asking without a pause."""
    async with asyncio.timeout(30):
        while await get(f"{url}/-/ready") is None:
            assert running.process.returncode is None, running.err


async def one_start(config):
    """Seconds from the start of the process to ready, megabytes then."""
    port = free_port()
    began = time.perf_counter()
    async with command(
        "run", f"--config.file={config}", f"--web.listen-address=127.0.0.1:{port}", "--startup.delay=60s"
    ) as running:
        await ready(running, f"http://127.0.0.1:{port}")
        return time.perf_counter() - began, resident_megabytes(running.process.pid)


async def at_work(standin, config):
    """Megabytes after some sessions of every target and two scrapes."""
    port = free_port()
    async with command(
        "run", f"--config.file={config}", f"--web.listen-address=127.0.0.1:{port}", "--startup.delay=0s"
    ) as running:
        await ready(running, f"http://127.0.0.1:{port}")
        await standin.wait_sessions(standin.finished + SESSIONS * TARGETS, timeout=60)
        for _ in range(2):
            assert await get(f"http://127.0.0.1:{port}/metrics")
        return resident_megabytes(running.process.pid)


@pytest.mark.parametrize("tls", [False, True], ids=["ws", "wss"])
async def test_start_to_ready_and_memory_of_ten_targets(tls, tmp_path):
    """It starts, says that it is ready, and probes all ten targets; how fast and how big is printed."""
    async with StandIn.start(timings=Timings.quick()) as standin:
        targets = [
            harness.target(standin, f"/ws/t{n}", tls=tls, name=f"target-{n}", interval="2s") for n in range(TARGETS)
        ]
        config = tmp_path / "exporter.yml"
        config.write_text(yaml.safe_dump({"targets": targets}))
        starts = [await one_start(config) for _ in range(TIMES)]
        working = await at_work(standin, config)

    seconds, megabytes = zip(*starts, strict=True)
    print(
        f"\n{TARGETS} targets over {'wss' if tls else 'ws'}: start to ready {median(seconds):.2f} s "
        f"(best {min(seconds):.2f}, worst {max(seconds):.2f} of {TIMES}); resident {median(megabytes):.0f} MB "
        f"when ready, {working:.0f} MB after {SESSIONS} sessions each"
    )
