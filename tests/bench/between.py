"""CPU of an exporter whose targets also have a sentinel and a held connection, beside one with cycles only; in tests/

    ../.venv/bin/python -m bench.between [--targets 200] [--windows 5] [--seconds 60]

Three exporters at a time have the same targets on the same backend, and are measured in the same windows, so that a
busy moment of the machine meets them all.
"""

import argparse
import asyncio
import contextlib
import json
import tempfile
from pathlib import Path
from statistics import median

from bench.backend import reference
from bench.fidelity import cpu_seconds, exporter, watched, write_config

INTERVAL = "20s"
SENTINEL = {"sentinel": {"every": "10s"}}
"""As often as profile `factory` permits at this interval: its breaker counts connects without a token."""
SETTLED = 45.0
"""Seconds until the first window: each target has had two cycles, and holds its connection."""


def hold(number):
    """A held connection with a user of its own, pinged twice in an interval."""
    return {"hold": {"identity": {"hold-001": f"hold-user-{number:04d}"}, "ping": "10s"}}


SETTINGS = {"cycles": lambda _: {}, "sentinel": lambda _: SENTINEL, "sentinel, hold": lambda n: SENTINEL | hold(n)}


def config(folder, backend, targets, extra):
    """The config of one exporter, in a folder of its own; no two exporters share a user."""
    folder.mkdir()
    file = write_config(folder, backend, targets=targets, tls=False, interval=INTERVAL)
    known = json.loads(file.read_text(encoding="utf-8"))["targets"]
    mappings = [mapping | extra(number) for number, mapping in enumerate(known)]
    for users in (
        users for mapping in mappings for users in (mapping["identities"], mapping.get("hold", {}).get("identity", {}))
    ):
        users.update({alias: f"{folder.name}-{user}" for alias, user in users.items()})
    file.write_text(json.dumps({"targets": mappings}), encoding="utf-8")
    return file


async def live(runs, seconds):
    """Let the exporters work so long, and no longer if one dies."""
    await asyncio.gather(*(watched(running, seconds) for running in runs))


async def measure(targets, windows, seconds):
    """Setting → its CPU in each window, as a share of a core."""
    with tempfile.TemporaryDirectory(prefix="between-") as made:
        folder = Path(made)
        async with contextlib.AsyncExitStack() as stack:
            backend = await stack.enter_async_context(reference(folder, truth=False))
            runs = {}
            for number, (name, extra) in enumerate(SETTINGS.items()):
                file = config(folder / f"e{number}", backend, targets, extra)
                running, _ = await stack.enter_async_context(exporter(file, folder / f"e{number}.log"))
                runs[name] = running
            await live(runs.values(), SETTLED)
            shares = {name: [] for name in runs}
            for _ in range(windows):
                before = {name: cpu_seconds(running.process.pid) for name, running in runs.items()}
                await live(runs.values(), seconds)
                for name, running in runs.items():
                    shares[name].append((cpu_seconds(running.process.pid) - before[name]) / seconds)
            return shares


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--targets", type=int, default=200)
    parser.add_argument("--windows", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=60.0, help="of a window")
    asked = parser.parse_args()
    shares = asyncio.run(measure(asked.targets, asked.windows, asked.seconds))
    print(f"{asked.targets} targets, every {INTERVAL}\n{'':16}{'% of a core':>12}{'least':>8}{'most':>8}{'ratio':>8}")
    for name, of_one in shares.items():
        ratio = median(one / plain for one, plain in zip(of_one, shares["cycles"], strict=True))
        figures = (100 * median(of_one), 100 * min(of_one), 100 * max(of_one))
        print(f"{name:16}{figures[0]:12.2f}{figures[1]:8.2f}{figures[2]:8.2f}{ratio:8.2f}")


if __name__ == "__main__":
    main()
