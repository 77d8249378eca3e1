"""What a page costs, and what a target costs in memory, by the number of targets.

    cd tests && python -m bench.scale [--targets 10,100,1000,5000] [--json FILE]

The exporter under test is a `Daemon` in a process of its own that turns its loop without a pause and notes how long
each turn took: what holds the loop is seen whole, however short. Every figure that a target can have is known, so that
a page has all its lines. In memory it is measured after one session of each target, over TLS, by the real command.
"""

import argparse
import asyncio
import contextlib
import gzip
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from statistics import median
from urllib.request import Request, urlopen

from bench.backend import reference
from bench.fidelity import exporter, megabytes, write_config
from bench.percentiles import percentile
from support import harness

from exporter.daemon import Daemon, DaemonOptions
from exporter.result import Close, Evidence, FactoryReason, Initiator, Phase, Probe, Reason, Result, Trigger, Verdict
from exporter.web import ListenAddress

SCRAPES = 5
NEVER = 86_400.0
QUIET_TURNS = 2_000
RATE = 100
"""Sessions a second at most while memory is measured: more leave a slow core no time for a scrape."""
"""Turns of the loop that are measured while nobody scrapes: what the machine itself does to it."""

PASSED = dict.fromkeys(Probe, Verdict.PASS)
REFUSED = {**PASSED, Probe.SEND: Verdict.FAIL}


# The exporter under test ----------------------------------------------------------------------------------------------


class Turns:
    """How long each turn of the loop took since it was last asked, in milliseconds."""

    def __init__(self):
        self._took = []

    async def watch(self):
        before = time.perf_counter()
        while True:
            await asyncio.sleep(0)
            now = time.perf_counter()
            self._took.append((now - before) * 1000)
            before = now

    def taken(self):
        took, self._took = sorted(self._took), []
        return {"turns": len(took), "p99_9": percentile(took, 0.999), "max": max(took, default=0.0)}


def met(name, identity, *, refused):
    """A session of a target, so that every figure it can have is known."""
    evidence = Evidence(
        connection_id="c", server_time=1.0, clock_skew=0.1, heartbeat_interval=25.0, max_message_size=8192.0,
        certificate_expiry=2e9,
    )  # fmt: skip
    common = {
        "target": name, "identity": identity, "run": "r", "depth": Probe.SEND, "trigger": Trigger.SCHEDULE,
        "started_at": time.time(), "evidence": evidence, "passed_over": {"ping": 1},
    }  # fmt: skip
    if not refused:
        seconds = {phase: 0.012345 for phase in Phase if phase not in (Phase.PREPARE, Phase.AUTH)}
        close = Close(1000, Initiator.LOCAL, Phase.CLOSE)
        return Result(**common, verdicts=PASSED, durations=dict.fromkeys(Probe, 0.123456), phases=seconds, close=close)
    return Result(
        **common, verdicts=REFUSED, phase=Phase.ADMISSION, reason=Reason.FACTORY,
        factory_reason=FactoryReason.SLOT_LIMIT, slot_limit=5, close=Close(1011, Initiator.REMOTE, Phase.ADMISSION),
    )  # fmt: skip


class Nowhere:
    """Where no session is opened."""

    def __init__(self, folder):
        self.key_file = folder / "key"
        self.ca_file = folder / "ca.pem"

    @staticmethod
    def url(path, **_):
        return f"wss://127.0.0.1:1{path}"


def known_target(nowhere, number):
    """A target with users of its own and the profile's slot limits, so that its budget is known too."""
    pool = {alias: f"{subject}-{number:04d}" for alias, subject in harness.POOL.items()}
    return harness.target(nowhere, "/ws", name=f"t{number:04d}", identities=pool, limits=None, interval="60s")


@contextlib.asynccontextmanager
async def known(targets, folder):
    """A daemon of so many targets that opens no session, and knows every figure that they can have."""
    made = harness.planned(*[known_target(Nowhere(folder), number) for number in range(targets)])
    daemon = Daemon(made, DaemonOptions(ListenAddress("127.0.0.1", 0), startup_delay=NEVER))
    await daemon.start()
    for job in made.jobs:
        for refused in (True, False):
            daemon._services.metrics.record_result(met(job.name, job.identities[0], refused=refused))
    try:
        yield daemon
    finally:
        await daemon.stop()


async def under_test(targets, folder):
    """Serve pages of so many targets; a line on stdin is answered by what the turns since the last one took."""
    turns, reader = Turns(), asyncio.StreamReader()
    async with known(targets, folder) as daemon:
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        watching = asyncio.create_task(turns.watch())
        print(daemon.url, flush=True)
        while await reader.readline():
            print(json.dumps(turns.taken()), flush=True)
        watching.cancel()


@contextlib.asynccontextmanager
async def served(targets, folder):
    """The process under test: its URL, and a function that asks what the turns took."""
    arguments = [sys.executable, "-m", "bench.scale", "--under-test", str(targets), "--folder", str(folder)]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *arguments, stdin=pipe, stdout=pipe, cwd=Path(__file__).parent.parent
    )

    async def turns():
        process.stdin.write(b"\n")
        return json.loads(await process.stdout.readline())

    try:
        yield (await process.stdout.readline()).decode().strip(), turns
    finally:
        process.stdin.close()
        await process.wait()


# Measuring ------------------------------------------------------------------------------------------------------------


def fetched(url, encoding):
    """Seconds to the last byte, bytes as sent, and the text."""
    began = time.perf_counter()
    with urlopen(Request(f"{url}/metrics", headers={"Accept-Encoding": encoding}), timeout=60) as answer:
        body = answer.read()
    took = time.perf_counter() - began
    return took, len(body), (gzip.decompress(body) if encoding == "gzip" else body).decode()


async def pages(targets, folder, scrapes=SCRAPES):
    """What pages of so many targets cost: plain and gzip, seconds, bytes, and turns of the loop meanwhile."""
    async with served(targets, folder) as (url, turns):
        await turns()
        quiet = []
        while sum(one["turns"] for one in quiet) < QUIET_TURNS:
            quiet.append(await turns())
        found = {"targets": targets, "quiet": max(one["max"] for one in quiet)}
        for encoding in ("identity", "gzip"):
            answers, holds = [], []
            for _ in range(scrapes):
                await turns()
                answers.append(await asyncio.to_thread(fetched, url, encoding))
                holds.append(await turns())
            seconds = [took for took, _, _ in answers]
            found[encoding] = {
                "median": median(seconds), "worst": max(seconds), "bytes": answers[-1][1],
                "hold": median(hold["max"] for hold in holds), "worst_hold": max(hold["max"] for hold in holds),
            }  # fmt: skip
        lines = [line for line in answers[-1][2].splitlines() if 'target="' in line]
        of_one = Counter(line.partition('target="')[2].partition('"')[0] for line in lines)
    assert len(of_one) == targets, "a page has every target"
    return {**found, "lines_of_a_target": max(of_one.values())}


async def memory(targets, folder, interval):
    """Megabytes of the real command after a session of each target over TLS and a scrape: ready, and at work."""
    async with reference(folder, admission=(0.0, 0.001), reply=(0.0, 0.001), truth=False) as backend:
        config = write_config(folder, backend, targets=targets, tls=True, interval=interval)
        async with exporter(config, folder / "log.jsonl") as (running, url):
            ready = megabytes(running.process.pid)[0]
            done = 0
            while done < targets:
                _, _, text = await asyncio.to_thread(fetched, url, "gzip")
                lines = [
                    line for line in text.splitlines() if line.startswith("ws_probe_last_run") and '"send"' in line
                ]
                done = len(lines)
            return {"ready": ready, "at_work": megabytes(running.process.pid)[0]}


async def measure(sizes, *, scrapes=SCRAPES, interval=None):
    """All figures, by size; plain numbers."""
    found = []
    for targets in sizes:
        paced = interval or f"{max(15, targets // RATE)}s"
        with tempfile.TemporaryDirectory() as folder:
            shown = await pages(targets, Path(folder), scrapes)
        with tempfile.TemporaryDirectory() as folder:
            found.append({**shown, "memory": await memory(targets, Path(folder), paced)})
        print(row(found[-1]), flush=True)
    return found


COLUMNS = {
    "targets": lambda f: f["targets"],
    "lines each": lambda f: f["lines_of_a_target"],
    "plain s (worst)": lambda f: f"{f['identity']['median']:.3f} ({f['identity']['worst']:.3f})",
    "MB": lambda f: f"{f['identity']['bytes'] / 1e6:.2f}",
    "gzip s (worst)": lambda f: f"{f['gzip']['median']:.3f} ({f['gzip']['worst']:.3f})",
    "MB ": lambda f: f"{f['gzip']['bytes'] / 1e6:.3f}",
    "hold ms, plain (worst)": lambda f: f"{f['identity']['hold']:.2f} ({f['identity']['worst_hold']:.2f})",
    "hold ms, gzip (worst)": lambda f: f"{f['gzip']['hold']:.2f} ({f['gzip']['worst_hold']:.2f})",
    "no scrape": lambda f: f"{f['quiet']:.2f}",
    "MB ready": lambda f: f"{f['memory']['ready']:.1f}",
    "MB at work": lambda f: f"{f['memory']['at_work']:.1f}",
}


def row(figures=None):
    """The cells of a size side by side, or the head of the table."""
    cells = [name if figures is None else str(cell(figures)) for name, cell in COLUMNS.items()]
    return " | ".join(cell.rjust(len(name)) for cell, name in zip(cells, COLUMNS, strict=True))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--targets", default="10,100,1000,5000", help="how many, each a row")
    parser.add_argument("--json", type=Path, help="where all figures go")
    parser.add_argument("--under-test", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.under_test is not None:
        asyncio.run(under_test(asked.under_test, asked.folder))
        return
    print(row(), flush=True)
    found = asyncio.run(measure(list(map(int, asked.targets.split(",")))))
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
