"""CPU of an exporter whose targets also have a sentinel and a held connection, beside one with cycles only; in tests/

    ../.venv/bin/python -m bench.between [--targets 200] [--windows 5] [--seconds 60] [--earlier FOLDER]

All exporters have the same targets on the same backend at the same time, and are measured in the same windows, so that
a busy moment of the machine meets them all. `--earlier`: a checkout of another version, whose cycles are measured too
and are what the ratios refer to.
"""

import argparse
import asyncio
import contextlib
import json
import re
import tempfile
from pathlib import Path
from statistics import median

from bench.backend import HOST, reference
from bench.fidelity import cpu_seconds, exporter, watched, write_config
from bench.scale import fetched

INTERVAL = "20s"
SLOTS = {"slot_release": "5s"}
SENTINEL = {"sentinel": {"every": "10s"}}
"""One connect between two cycles."""
SETTLED = 45.0
"""Seconds until the first window: each target has had two cycles, and holds its connection."""


def hold(number):
    """A held connection with a user of its own, pinged twice in an interval."""
    return {"hold": {"identity": {"hold-001": f"hold-user-{number:04d}"}, "ping": "10s"}}


EARLIER = "earlier, cycles"
SETTINGS = {"cycles": lambda _: {}, "sentinel": lambda _: SENTINEL, "sentinel, hold": lambda n: SENTINEL | hold(n)}


def config(folder, backend, targets, extra):
    """The config of one exporter, in a folder of its own.

    Each target is a backend of its own by its name, so that no breaker counts the connects of all, and no two exporters
    share a user. Slots are soon free again: held connections wait until the ledger knows what was held before.
    """
    folder.mkdir()
    file = write_config(folder, backend, targets=targets, tls=False, interval=INTERVAL)
    mappings = []
    for number, known in enumerate(json.loads(file.read_text(encoding="utf-8"))["targets"]):
        name = f"t{number:04d}.example.com"
        mapping = known | {"url": known["url"].replace(HOST, name), "address": HOST, "limits": SLOTS} | extra(number)
        for users in (mapping["identities"], mapping.get("hold", {}).get("identity", {})):
            users.update({alias: f"{folder.name}-{user}" for alias, user in users.items()})
        mappings.append(mapping)
    file.write_text(json.dumps({"targets": mappings}), encoding="utf-8")
    return file


async def live(runs, seconds):
    """Let the exporters work so long, and no longer if one dies."""
    await asyncio.gather(*(watched(running, seconds) for running in runs))


async def measure(targets, windows, seconds, earlier=None):
    """Setting → its CPU in each window, as a share of a core; and setting → what lay between its cycles.

    `earlier`: as of the command line, a path or None.
    """
    versions = SETTINGS | ({EARLIER: lambda _: {}} if earlier else {})
    with tempfile.TemporaryDirectory(prefix="between-") as made:
        folder = Path(made)
        async with contextlib.AsyncExitStack() as stack:
            backend = await stack.enter_async_context(reference(folder, truth=False))
            runs, urls = {}, {}
            for number, (name, extra) in enumerate(versions.items()):
                file = config(folder / f"e{number}", backend, targets, extra)
                code = {"PYTHONPATH": str(earlier.resolve())} if name == EARLIER else {}
                one = exporter(file, folder / f"e{number}.log", **code)
                runs[name], urls[name] = await stack.enter_async_context(one)
            await live(runs.values(), SETTLED)
            shares = {name: [] for name in runs}
            for _ in range(windows):
                before = {name: cpu_seconds(running.process.pid) for name, running in runs.items()}
                await live(runs.values(), seconds)
                for name, running in runs.items():
                    shares[name].append((cpu_seconds(running.process.pid) - before[name]) / seconds)
            return shares, {name: await asyncio.to_thread(between, url) for name, url in urls.items()}


def between(url):
    """Connections that are held, and sentinels that connected: nothing else would be the figure of nothing."""
    page = fetched(url, "identity")[2]
    held, connects = (sum(map(float, re.findall(pattern, page, re.MULTILINE))) for pattern in (HELD, CONNECTS))
    return f"{held:.0f} held, {connects:.0f} sentinel connects"


HELD = r"^ws_hold_up\{.*\} (\S+)$"
CONNECTS = r'^ws_probe_sentinel_connects_total\{.*outcome="passed"\} (\S+)$'


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--targets", type=int, default=200)
    parser.add_argument("--windows", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=60.0, help="of a window")
    parser.add_argument("--earlier", type=Path)
    asked = parser.parse_args()
    shares, lives = asyncio.run(measure(asked.targets, asked.windows, asked.seconds, asked.earlier))
    reference = shares.get(EARLIER, shares["cycles"])
    print(f"{asked.targets} targets, every {INTERVAL}\n{'':16}{'% of a core':>12}{'least':>8}{'most':>8}{'ratio':>8}")
    for name, of_one in shares.items():
        ratio = median(one / plain for one, plain in zip(of_one, reference, strict=True))
        figures = (100 * median(of_one), 100 * min(of_one), 100 * max(of_one))
        print(f"{name:16}{figures[0]:12.2f}{figures[1]:8.2f}{figures[2]:8.2f}{ratio:8.2f}  {lives[name]}")


if __name__ == "__main__":
    main()
