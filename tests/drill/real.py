"""The drill on the shipped intervals: ten stacks side by side, and how long an outage waits for its page.

    make drill-real            (or: python -m drill.real --minutes 12 --stacks 10 --seed 1, in tests/)

Rule 1: nothing is scaled: 20 s cycle, confirm runs after 6 s, 15 s scrape and evaluation. Rule 2: the moments of the
outages come from a seed, and no two stacks share an offset of scrapes or evaluations (`external_labels`). Rule 3: what
was not paged in time is in the figures, as a miss, never left out.
"""

import argparse
import asyncio
import math
import random
import re
import signal
import statistics
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

from drill.backends import Backends
from drill.drill import signatures
from drill.stack import stack
from drill.webhook import named

WARM_UP = 345.0
"""Seconds: until the ledger knows a window of 312 s back, it grants no confirm run."""
SPREAD = 60.0
"""Seconds over which the outages begin: three cycles, four scrapes."""
LAST_PAGE = 240.0
"""Seconds after the last outage in which its page must have come."""
STARTING = 90.0
EACH = {"refusal": 4, "silent": 3}
"""Outages of a stack, drawn from the rows of the table."""

LIMITS = {"refusal": (45.0, 75.0), "silent": (75.0, 100.0)}
"""Seconds: median, worst."""

PARTS = ("probe", "confirm", "scrape", "evaluate", "group")
FAILED = re.compile(r"^time=(\S+) .* target=(\S+) .*(?:connect|auth|send)=fail")
FROM_TWO = ("WebSocketAuthFailing", "WebSocketAuthUnavailable")

POOL_OF_ONE = {"pool": 1}
NO_SPARE = {"target": {"limits": {"slots_per_identity": 7}}}
"""Three identities hold six slots each by the schedule, and one is the reserve."""


@dataclass(frozen=True)
class Page:
    """One outage: `took` seconds to its page, in `parts`; None if no page came. `kind` as the limits name it."""

    stack: int
    name: str
    kind: str
    took: float | None
    parts: tuple[float, ...]


def drawn(rng):
    """The rows of one stack: some of each speed, and both speeds without confirm runs."""
    incidents, _ = signatures()
    rows = []
    for speed, count in EACH.items():
        able = [row for row in incidents if row["speed"] == speed and "setup" not in row]
        rows += [row | {"kind": speed} for row in rng.sample(able, min(count, len(able)))]
        chosen = rng.choice(able)
        for word, setup in (("pool-of-one", POOL_OF_ONE), ("no-spare-slots", NO_SPARE)):
            name = f"{speed}-{word}"
            rows.append(chosen | {"name": name, "kind": f"{speed}, {word}", "setup": setup})
    return rows


class Start:
    """Lets stacks start one at a time, for a machine with few cores, and play from one common moment on."""

    def __init__(self, stacks):
        self.turn = asyncio.Lock()
        self._together = asyncio.Barrier(stacks)
        self._running = 0

    async def together(self):
        """Wait for the others; then it is unix seconds."""
        self._running += 1
        print(f"{self._running} of {self._together.parties} stacks run", file=sys.stderr)
        await self._together.wait()
        return time.time()


async def one_stack(number, folder, seed, start, deadline):
    """Play one stack; its pages."""
    rng = random.Random(f"{seed}/{number}")
    folder.mkdir()
    async with Backends(folder, Fraction(1)) as backends:
        for row in drawn(rng):
            await backends.add(row)
        mappings = [backend.mapping for backend in backends.all]
        async with AsyncExitStack() as entered:
            async with start.turn:
                labels = {"stack": f"{seed}-{number}"}
                running = await entered.enter_async_context(stack(mappings, folder, labels=labels))
            begun = await start.together()
            moments = sorted((begun + WARM_UP + rng.uniform(0, SPREAD), at) for at in range(len(mappings)))
            for moment, at in moments:
                await asyncio.sleep(max(0.0, moment - time.time()))
                backends.all[at].break_()
            await _paged(running, backends, min(deadline, time.time() + LAST_PAGE))
            fired = await running.fired(time.time() - begun)
            return [await _page(number, backend, running, fired, begun) for backend in backends.all]


async def _paged(running, backends, deadline):
    wanted = {backend.name for backend in backends.all}
    while not wanted <= {one.target for one in running.heard} and time.time() < deadline:
        await asyncio.sleep(0.5)


async def _page(number, backend, running, fired, begun):
    heard = [one for one in running.heard if one.target == backend.name and one.at >= backend.broken_at]
    if not heard:
        return Page(number, backend.name, backend.row["kind"], None, ())
    alert = heard[0].names[0]
    failures = _failures(running.logs, backend)
    need = 2 if alert.split("/")[0] in FROM_TWO else 3
    first = failures[0]
    decided = failures[min(need, len(failures)) - 1]
    scrapes = await running.scrapes(backend.name, time.time() - begun)
    evaluated = min(
        at
        for labels, times in fired
        if labels.get("target") == backend.name and named(labels) == alert
        for at in times
        if at >= backend.broken_at
    )
    scraped = min((at for at in scrapes if decided <= at <= evaluated), default=evaluated)
    marks = [backend.broken_at, first, min(decided, scraped), scraped, evaluated, heard[0].at]
    parts = tuple(after - before for before, after in pairwise(marks))
    return Page(number, backend.name, backend.row["kind"], heard[0].at - backend.broken_at, parts)


def _failures(logs, backend):
    """When its sessions failed after the outage began, by the exporter's log; unix seconds."""
    found = (FAILED.match(line) for log in logs for line in log.read_text().splitlines())
    times = [datetime.fromisoformat(match[1]).timestamp() for match in found if match and match[2] == backend.name]
    return [at for at in times if at >= backend.broken_at - 0.001]


def report(pages):
    """The figures as text, and whether the limits hold."""
    kinds = sorted({page.kind for page in pages}, key=lambda kind: ("," in kind, kind))
    head = _line("outage", "n", "missed", "median", "worst", parts=PARTS)
    rows = [_row(kind, [page for page in pages if page.kind == kind]) for kind in kinds]
    slow = sorted((page for page in pages if page.kind in LIMITS), key=lambda page: -(page.took or math.inf))[:5]
    slowest = [f"slowest: {page.name}, stack {page.stack}: {_seconds(page)}" for page in slow]
    held = all(_holds(kind, [page for page in pages if page.kind == kind]) for kind in LIMITS)
    limits = "; ".join(f"{kind}: median {most[0]:.0f}, worst {most[1]:.0f}" for kind, most in LIMITS.items())
    return "\n".join([head, *rows, *slowest, f"limits ({limits}) {'hold' if held else 'DO NOT HOLD'}"]), held


def _line(*cells, parts):
    kind, count, missed, median, worst = cells
    shown = "".join(f"{part:>10}" for part in parts)
    return f"{kind:24}{count:>5}{missed:>8}{median:>9}{worst:>9} {shown}"


def _row(kind, pages):
    paged = [page for page in pages if page.took is not None]
    missed = len(pages) - len(paged)
    if not paged:
        return _line(kind, len(pages), missed, "-", "-", parts=())
    took = [page.took for page in paged]
    parts = [f"{statistics.median(page.parts[at] for page in paged):.1f}" for at in range(len(PARTS))]
    return _line(kind, len(pages), missed, f"{statistics.median(took):.1f}", f"{max(took):.1f}", parts=parts)


def _holds(kind, pages):
    took = [math.inf if page.took is None else page.took for page in pages]
    median, worst = LIMITS[kind]
    return bool(took) and statistics.median(took) <= median and max(took) <= worst


def _seconds(page):
    if page.took is None:
        return "no page"
    parts = ", ".join(f"{name} {part:.1f}" for name, part in zip(PARTS, page.parts, strict=True))
    return f"{page.took:.1f} s ({parts})"


async def play(folder, *, stacks, seed, minutes):
    """All stacks at once; the pages of all."""
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asyncio.current_task().cancel)
    deadline = time.time() + minutes * 60
    start = Start(stacks)
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(one_stack(number, folder / str(number), seed, start, deadline))
            for number in range(stacks)
        ]
    return [page for task in tasks for page in task.result()]


def main():
    """Parse, play, print; 1 if a limit does not hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=12.0, help="it ends by then (default 12)")
    parser.add_argument("--stacks", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    least = math.ceil((STARTING + WARM_UP + SPREAD + 120) / 60)
    if options.minutes < least:
        parser.error(f"--minutes must be at least {least}")
    with tempfile.TemporaryDirectory(prefix="drill-real-") as folder:
        pages = asyncio.run(play(Path(folder), stacks=options.stacks, seed=options.seed, minutes=options.minutes))
    text, held = report(pages)
    print(text)
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
