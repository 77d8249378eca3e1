"""A hundred reloads in a row, in real time, while sessions run: nothing is lost, nothing grows, nobody is disturbed."""

import asyncio
import ctypes
import gc
import json
import logging
import sys
import threading
import time
from collections import Counter
from functools import cache
from operator import ge
from pathlib import Path

import pytest
from support import harness, raw_server
from support.daemons import HERE

from exporter.daemon import Daemon, DaemonOptions
from exporter.loading import load
from exporter.metrics import families
from exporter.metrics.layout import slot_count
from exporter.result import Probe
from exporter.standin import StandIn, Timings

RELOADS = 100
WARM_UP = 20
STEADY = 60
ROTATING = 7
BAD = 10
"""Every so-manieth config is no good."""
INTERVAL = 2.0
PAGE = 4096
MIB = 2**20


def own(standin, name, **changes):
    users = {f"{name}-{n}": f"staging-{name}-user-{n}" for n in range(3)}
    fields = {"interval": f"{INTERVAL:g}s", "timeout": "1500ms", "close_timeout": "400ms", **changes}
    return harness.target(standin, f"/ws/{name}", name=name, identities=users, **fields)


def config(standin, number):
    """The steady ones, three that rotate, and one that changes each time; every tenth has two mistakes."""
    targets = [own(standin, f"s{one}") for one in range(STEADY)]
    targets += [own(standin, f"r{(number + one) % ROTATING}") for one in range(3)]
    targets.append(own(standin, "changes", timeout=f"{1200 + number % 3 * 100}ms", interval=("2s", "3s")[number % 2]))
    if number % BAD == BAD - 1:
        targets[0] |= {"interval": "often", "timout": "1s"}
    return json.dumps({"targets": targets})


@cache
def places(layout):
    """Where counters and histograms have their figures."""
    counted = [(key[0], at) for key, at in layout.slots.items() if key[0].kind in ("counter", "histogram")]
    return [place for family, at in counted for place in range(at, at + slot_count(family))]


def resident():
    """Bytes of real memory."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * PAGE


class Hundred:
    """An exporter over a file that is written anew for every reload."""

    def __init__(self, standin, file):
        self.standin, self.file = standin, file
        self._write(0)
        self.met, self.seen = Counter(), Counter()
        options = DaemonOptions(HERE, 0.0, load=lambda: load(file), lifecycle=True, on_result=self._met)
        self.daemon = Daemon(load(file).plan, options)
        self.number, self.last, self.answers = 0, {}, Counter()

    def _write(self, number):
        self.file.write_text(config(self.standin, number))

    def _met(self, result):
        kind = "steady" if result.target.startswith("s") else "other"
        self.met[kind, "bad" if result.failed or result.impairment else "good"] += 1
        self.met["distorted"] += result.distorted

    async def reload(self, times):
        """One after the other, each by the door that clients use; counters are looked at after each."""
        for _ in range(times):
            self.number += 1
            self._write(self.number)
            self.answers[(await self.daemon._http_api.reload()).status] += 1
            counted = {f"s{one}": self._figures(f"s{one}") for one in range(STEADY)}
            for name, figures in counted.items():
                assert all(map(ge, figures, self.last.get(name, figures))), f"a counter of {name} fell"
            self.last = counted

    def _figures(self, name):
        """Every figure of its counters and histograms, in one order: read at once, so as not to hold the loop."""
        store = self.daemon._services.metrics._targets[name].store
        return [store._values[place] for place in places(store._layout)]

    def _accounted(self, name):
        """Cycles that are told, in whatever way."""
        store = self.daemon._services.metrics._targets[name].store
        kinds = [key for key in store._keys() if key[0] in (families.SKIPS, families.IMPAIRED)]
        return sum(sum(store._values_of(key)) for key in [(families.CYCLES, Probe.CONNECT), *kinds])

    def _next(self, name):
        return self.daemon._scheduler._wakeups.get_job(name).next_run_time.timestamp()

    def look(self):
        """How sessions ended, as the backend saw it."""
        while self.standin.sessions:
            one = self.standin.sessions.popleft()
            self.seen[one.close_received, one.first_closer, one.how] += 1

    async def idle(self):
        """Return at a moment at which no session runs, and no due cycle waits for one."""
        scheduler = self.daemon._scheduler
        await raw_server.until(lambda: not (scheduler._tasks() or self.standin.open_connections))

    def accounts(self):
        """Of each steady target, when idle: how many cycles are told, and when the next one is due."""
        return [(self._accounted(f"s{one}"), self._next(f"s{one}")) for one in range(STEADY)]

    async def left(self):
        """What is there while nothing runs: descriptors, tasks, threads; objects; bytes.

        What sessions leave behind for a while is let go of first: what reloads leave is looked for.
        """
        await self.idle()
        self.look()
        self.standin.forget()
        with self.daemon._services.state.transaction() as ledger:
            ledger.prune(time.time() + 3600.0)
        self.daemon._loop_watch._late_ticks.clear()
        self.daemon._prober._targets.clear()
        for name in self.daemon._services.history.targets():
            self.daemon._services.history.remove(name)
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        tasks = [task for task in asyncio.all_tasks() if not task.get_name().startswith("Task-")]
        return (raw_server.open_fds(), len(tasks), threading.active_count()), sys.getallocatedblocks(), resident()


@pytest.fixture
def _unlogged():
    """Pytest would keep every line: they would be what grows."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.usefixtures("_unlogged")
async def test_a_hundred_reloads_in_a_row_lose_nothing_and_leave_nothing(tmp_path):
    """Under load: every due cycle told, counters only rise, sessions end as ever; descriptors, tasks, memory flat."""
    async with StandIn.start(tls_port=None, timings=Timings.quick()) as standin:
        hundred = Hundred(standin, tmp_path / "exporter.yml")
        await hundred.daemon.start()
        await hundred.reload(WARM_UP)
        before, then = await hundred.left(), hundred.accounts()
        await hundred.reload(RELOADS)
        after, now = await hundred.left(), hundred.accounts()
        await hundred.daemon.stop()
        hundred.look()

    print(f"\n{hundred.met}; {before} before, {after} after")
    bad = (WARM_UP + RELOADS) // BAD
    assert hundred.answers == {500: bad, 200: WARM_UP + RELOADS - bad}
    told, due = ([later[n] - earlier[n] for earlier, later in zip(then, now, strict=True)] for n in range(2))
    assert told == [round(seconds / INTERVAL) for seconds in due]
    assert hundred.met["steady", "good"] > STEADY
    assert hundred.met["steady", "bad"] == 0
    assert set(hundred.seen) == {(1000, "client", "close")}
    assert after[0][:2] == before[0][:2]
    assert after[0][2] <= before[0][2] + 2, "asyncio's pool begins a thread when all are busy; none for each reload"
    assert after[1] - before[1] < 50 * RELOADS, "a target that stays behind has hundreds of objects"
    assert after[2] - before[2] < 8 * MIB
