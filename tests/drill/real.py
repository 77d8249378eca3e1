"""The drill on real intervals: outages of nine kinds, and the seconds to their pages, at two settings side by side.

    make drill-real            (or: python -m drill.real --minutes 15 --stacks 3 --each 20 --seed 1, in tests/)

Both settings watch the same backends at the same moments, each by an exporter, a Prometheus and an Alertmanager of its
own, as users of its own. `--blackbox PATH` lets blackbox_exporter watch them too.

Rule 1: nothing is scaled: 20 s cycle, timeout of 10 s, confirm runs after 6 s. Rule 2: the moments of the outages come
from a seed, and no two Prometheus servers share an offset of scrapes or evaluations (`external_labels`). Rule 3: what
was not paged in time is in the figures, as a miss, never left out.
"""

import argparse
import asyncio
import math
import os
import random
import re
import signal
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

from drill.backends import users
from drill.kinds import KINDS, backends
from drill.pace import PATIENT, SHIPPED
from drill.pages import Page, report
from drill.peer import all_up, peer
from drill.stack import exporter, watched
from drill.webhook import named
from engines.engines import INSTALLED
from support.harness import CLAIMS

SETTINGS = (
    replace(PATIENT, sample_limit=0),
    replace(SHIPPED, name="fast", sentinel={"every": "10s"}, sample_limit=0),
)
"""As most sites set it, and the shipped files with a sentinel between two cycles. One exporter has more targets than
the shipped limit of samples has room for."""

WARM_UP = 345.0
"""Seconds: until the ledger knows a window of 312 s back, it grants no confirm run."""
LAST_PAGE = 150.0
"""Seconds after the last outage in which its page must have come."""
STARTING = 90.0
SPREAD = 60.0
"""Seconds over which the outages begin at least: three cycles, four scrapes."""

FAILED = re.compile(r"^time=(\S+) .* target=(\S+) .* probe_depth=send .*(?:connect|auth|send)=fail")
"""A session of the pool. What a sentinel meets is no part of an outage, and goes no further than connect."""
FROM_TWO = ("WebSocketAuthFailing", "WebSocketAuthUnavailable")
HEALTHY = 60.0
"""Seconds until blackbox_exporter must find every backend up."""


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


@dataclass(frozen=True)
class Watch:
    """Who watches the backends at a setting. `running`: what `watched` gives."""

    stack: int
    setting: str
    running: object


@dataclass(frozen=True)
class Observed:
    """What a watch saw since unix seconds `begun`. `fired`: labels and times; `failures`: target → unix seconds."""

    begun: float
    fired: list
    failures: dict


@dataclass(frozen=True)
class Played:
    """What is asked for: `each` backends of a kind in a stack; `blackbox`: its path, or None."""

    folder: Path
    seed: int
    each: int
    deadline: float
    blackbox: str | None


def mapping(backend, pool, pace):
    """The target of a backend at a setting, with users of its own."""
    mapping = {
        "name": backend.name,
        "url": backend.url,
        "interval": "20s",
        "timeout": "10s",
        "close_timeout": "2s",
        "auth_retry": "300s",
        "identities": pool,
        "auth": {"jwt": {"key_file": backend.key_file, "lifetime": "300s", "claims": dict(CLAIMS)}},
        "confirm": {"runs": 2, "after": "6s"},
        "limits": {"slots_per_identity": 20, "slot_release": "300s"},
    }
    if backend.ca_file:
        mapping["tls"] = {"ca_file": backend.ca_file}
    return mapping | ({"sentinel": dict(pace.sentinel)} if pace.sentinel else {})


async def watchers(made, number, asked, entered):
    """The exporter and its servers of each setting, started one after the other."""
    each = len(SETTINGS) + 1
    for at, pace in enumerate(SETTINGS):
        folder = asked.folder / str(number) / pace.name
        folder.mkdir()
        mappings = [mapping(one, users(each * place + at), pace) for place, one in enumerate(made)]
        url = await entered.enter_async_context(exporter(mappings, folder, Fraction(1)))
        labels = {"stack": f"{asked.seed}-{number}-{pace.name}"}
        watch = watched(INSTALLED, (url,), (folder / "exporter.log",), folder, Fraction(1), labels=labels, pace=pace)
        yield Watch(number, pace.name, await entered.enter_async_context(watch))


async def one_stack(number, asked, start):
    """Play one stack; its pages."""
    rng = random.Random(f"{asked.seed}/{number}")
    folder = asked.folder / str(number)
    folder.mkdir()
    async with AsyncExitStack() as entered:
        async with start.turn:
            made = await entered.enter_async_context(backends(asked.each, folder))
            watches = [watch async for watch in watchers(made, number, asked, entered)]
            beside = await _peer(made, asked, folder / "peer", entered)
        begun = await start.together()
        for watch in watches:
            await watch.running.prometheus.until(
                f'count(ws_probe_success{{probe="send"}} == 1) == {len(made)}', WARM_UP
            )
        within = max(SPREAD, asked.deadline - LAST_PAGE - WARM_UP - begun)
        moments = sorted((begun + WARM_UP + rng.uniform(0, within), at) for at in range(len(made)))
        for moment, at in moments:
            await asyncio.sleep(max(0.0, moment - time.time()))
            await made[at].break_()
        await _paged(watches, beside, made, min(asked.deadline, time.time() + LAST_PAGE))
        return [page async for page in _pages(number, made, watches, beside, begun)]


async def _peer(made, asked, folder, entered):
    """What blackbox_exporter has paged, growing; None without one."""
    if asked.blackbox is None:
        return None
    each = len(SETTINGS) + 1
    pairs = [(one, users(each * place + len(SETTINGS))["pool-001"]) for place, one in enumerate(made)]
    heard, server = await entered.enter_async_context(peer(asked.blackbox, pairs, folder, SHIPPED))
    await all_up(server, len(made), HEALTHY)
    return heard


async def _paged(watches, beside, made, deadline):
    wanted = {one.name for one in made}
    heard = [*(watch.running.heard for watch in watches), *([] if beside is None else [beside])]
    while not all(wanted <= _told(one) for one in heard) and time.time() < deadline:
        await asyncio.sleep(0.5)


def _told(heard):
    return {one.target for one in heard if one.receiver == "page"}


async def _pages(number, made, watches, beside, begun):
    """Of each outage the page at each setting, and the peer's."""
    for watch in watches:
        fired = await watch.running.fired(time.time() - begun)
        observed = Observed(begun, fired, _failures(watch.running.logs))
        for one in made:
            yield await _page(watch, one, observed)
    for one in made if beside is not None else ():
        first = _first(beside, one)
        yield Page(number, one.name, one.kind, "peer", first and first.at - one.broken_at)


def _first(heard, backend):
    """The first page after the outage began."""
    return next(
        (one for one in heard if (one.target, one.receiver) == (backend.name, "page") and one.at >= backend.broken_at),
        None,
    )


async def _page(watch, backend, observed):
    first = _first(watch.running.heard, backend)
    if first is None:
        return Page(watch.stack, backend.name, backend.kind, watch.setting, None)
    alert = first.names[0]
    since = [at for at in observed.failures.get(backend.name, ()) if at >= backend.broken_at - 0.001]
    need = 2 if alert.split("/")[0] in FROM_TWO else 3
    evaluated = min(
        at
        for labels, times in observed.fired
        if labels.get("target") == backend.name and named(labels) == alert
        for at in times
        if at >= backend.broken_at
    )
    failed, decided = since[0], since[min(need, len(since)) - 1]
    scrapes = await watch.running.scrapes(backend.name, time.time() - observed.begun)
    scraped = min((at for at in scrapes if decided <= at <= evaluated), default=evaluated)
    marks = [backend.broken_at, failed, min(decided, scraped), scraped, evaluated, first.at]
    parts = tuple(after - before for before, after in pairwise(marks))
    return Page(watch.stack, backend.name, backend.kind, watch.setting, first.at - backend.broken_at, parts)


def _failures(logs):
    """Target → when its sessions failed, by the exporter's log; unix seconds."""
    found = (FAILED.match(line) for log in logs for line in log.read_text().splitlines())
    failures = {}
    for match in filter(None, found):
        failures.setdefault(match[2], []).append(datetime.fromisoformat(match[1]).timestamp())
    return failures


async def play(folder, options):
    """All stacks at once; the pages of all."""
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asyncio.current_task().cancel)
    each = math.ceil(options.each / options.stacks)
    asked = Played(folder, options.seed, each, time.time() + options.minutes * 60, options.blackbox)
    start = Start(options.stacks)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one_stack(number, asked, start)) for number in range(options.stacks)]
    return [page for task in tasks for page in task.result()]


def main():
    """Parse, play, print; 1 if an outage is not paged, or the fast setting is not the faster one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=15.0, help="it ends by then (default 15)")
    parser.add_argument("--stacks", type=int, default=3, help="each with servers of its own (default 3)")
    parser.add_argument("--each", type=int, default=6, help="outages of each kind at least (default 6)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--blackbox", help="path of a blackbox_exporter with the websocket prober")
    options = parser.parse_args()
    least = math.ceil((STARTING + WARM_UP + SPREAD + LAST_PAGE) / 60)
    if options.minutes < least:
        parser.error(f"--minutes must be at least {least}")
    begun = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="drill-real-") as folder:
        pages = asyncio.run(play(Path(folder), options))
    text, held = report(pages, list(KINDS))
    print(f"{text}\nload of the machine: {begun:.1f} at the start, {os.getloadavg()[0]:.1f} at the end")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
