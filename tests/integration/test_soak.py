"""Thousands of sessions under seeded random faults: each yields a result, nothing is left behind, nothing grows.

Sessions run in two halves of equal weather. After each, everything that may be remembered for a while is let go and
what is left is measured: the second half must have added nothing.
"""

import asyncio
import ctypes
import gc
import os
import random
import sys
import threading
import time
import traceback
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from support import harness, raw_server
from support.fault_cases import drawable

from exporter.metrics import Metrics, target_series
from exporter.result import Phase, Probe, Reason, Result
from exporter.standin import StandIn, Timings
from exporter.state import LedgerFile

SEED = 20250907
IN_FLIGHT = 24
CALM = "/ws/calm"
PATHS = (CALM, *(f"/ws/rough-{number}" for number in range(5)))
FAULTS_PER_PATH = 12
SHARE = 0.03
"""Of a path's connections, for each of its faults: a third meets one or more."""
WARM_UP = 400
CHANGE = 200
"""Sessions until the weather of the paths changes."""
AT_ACCEPT = [f"{spec},share={SHARE}" for spec in ("abort:at=tcp", "half_close:at=tcp", "silent:after=tcp")] + [
    f"{spec}:share={SHARE}" for spec in ("tls_untrusted", "tls_expired", "tls_client_required", "not_tls")
]
PACE = replace(Timings.quick(), verdict_cache=5.0, slot_release=5.0, slot_idle=5.0, slot_cleanup=5.0)
"""What the stand-in remembers it forgets within seconds, but not within a session."""
BEFORE_THE_101 = (Phase.TCP, Phase.TLS, Phase.UPGRADE)
PAGE = 4096
MIB = 2**20
PATIENCE = 60.0


@dataclass(frozen=True)
class Left:
    """What is left of so many sessions: counts, objects of Python's own allocator, bytes of memory."""

    descriptors: int
    tasks: int
    threads: int
    blocks: int
    resident: int

    @classmethod
    def now(cls):
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        counted = (raw_server.open_fds(), len(asyncio.all_tasks()), threading.active_count(), sys.getallocatedblocks())
        return cls(*counted, pages * PAGE)


class Soak:
    """A stand-in, workers with a user and a key each, and what came of their sessions."""

    def __init__(self, standin, folder):
        self.standin = standin
        self.rng = random.Random(SEED)
        self.state = LedgerFile.open(folder / "state")
        self.prober = harness.Rig(state=self.state)
        self.metrics = Metrics("1.2.3")
        self.workers = [self._jobs(folder, number) for number in range(IN_FLIGHT)]
        for job in self.workers[0]:
            self.metrics.add_target(target_series(job.target, job.profile))
        self.faults = drawable()
        self.verdicts = Counter()
        self.reasons = Counter()
        self.seen = Counter()
        self.cancelling = False
        self.given_up = Counter()
        self.torn = []
        self.wrong = []

    def _jobs(self, folder, number):
        """Every path over plain and TLS, with one user and one key: none rests for what another has met."""
        key = folder / f"key-{number}"
        key.write_bytes(self.standin.key)
        targets = (self._target(key, number, path, tls=tls) for path in PATHS for tls in (False, True))
        return harness.planned(*targets, built_in=harness.UNGUARDED).jobs

    def _target(self, key, number, path, *, tls):
        return harness.target(
            self.standin,
            path,
            tls=tls,
            name=f"{path.rpartition('/')[2]}-{'tls' if tls else 'plain'}",
            identities={"pool-001": f"staging-soak-user-{number:03d}"},
            interval="20s",
            timeout="10s" if path == CALM else "2s",
            close_timeout="3s" if path == CALM else "1500ms",
            auth={"jwt": {"key_file": str(key), "claims": harness.CLAIMS}},
            auth_retry="1ms",
            limits={"slots_per_identity": 0, "slot_release": "1ms"},
        )

    # The weather ----------------------------------------------------------------------------------------------------

    async def half(self, sessions):
        """Weather on the paths, at the accept, nobody listening, sessions cancelled; then what is left."""
        every, rough = slice(None), slice(2, None)  # on the calm path a session may take ten seconds
        stages = (
            (self._on_paths, 0.8, every),
            (self._at_the_accept, 0.1, rough),
            (self._refused, 0.05, every),
            (self._cancelled, 0.05, every),
        )
        for stage, share, paths in stages:
            await self._stage(stage, int(share * sessions), paths)
        await self._forget()
        return Left.now()

    async def _stage(self, stage, sessions, paths):
        turns = iter(range(sessions))
        async with asyncio.TaskGroup() as group:
            for jobs in self.workers:
                group.create_task(self._work(stage, turns, jobs[paths]))
        await raw_server.until(lambda: not self.standin.open_connections, timeout=PATIENCE)
        self._look()
        self._excuse()
        self.standin.clear()
        self.cancelling = False

    async def _work(self, stage, turns, jobs):
        for turn in turns:
            job, depth = self.rng.choice(jobs), self.rng.choices(list(Probe), (1, 1, 6))[0]
            await stage(turn, job, depth)
            self._look()

    async def _on_paths(self, turn, job, depth):
        if turn % CHANGE == 0:
            for path in PATHS[1:]:
                chosen = self.rng.sample(self.faults, FAULTS_PER_PATH)
                self.standin.set_fault(path, *(f"{spec}{',' if ':' in spec else ':'}share={SHARE}" for spec in chosen))
        result = await self._result(job, depth)
        if result.failed and CALM in job.target.url:
            self.wrong.append(f"failed without a fault: {result}")

    async def _at_the_accept(self, turn, job, depth):
        if turn == 0:
            self.standin.set_fault("*", *AT_ACCEPT)
        await self._result(job, depth)

    async def _refused(self, turn, job, depth):
        if turn == 0:
            self.standin.set_fault("*", "refuse")
        result = await self._result(job, depth)
        if result.reason is not Reason.REFUSED:
            self.wrong.append(f"not refused: {result}")

    async def _cancelled(self, _turn, job, depth):
        """As at the stop, at any moment; before the 101 there is no WebSocket to close, so the server may see 1006."""
        self.cancelling = True
        task = asyncio.create_task(self.prober.run(job, depth=depth))
        asyncio.get_running_loop().call_later(self.rng.uniform(0.0, 0.05), task.cancel)
        with suppress(asyncio.CancelledError):
            await task
        self.verdicts["cancelled" if task.cancelled() else "not cancelled in time"] += 1

    async def _result(self, job, depth):
        outcome = await self.prober.run(job, depth=depth)
        assert isinstance(outcome, Result), outcome
        self.metrics.record_result(outcome)
        self.verdicts["impaired" if outcome.impairment else "failed" if outcome.failed else "passed"] += 1
        self.reasons[str(outcome.reason)] += 1
        if outcome.void or (outcome.reason is Reason.TIMEOUT and outcome.phase in BEFORE_THE_101):
            self.given_up[job.target.url.rpartition("/")[2], job.tls] += 1
        return outcome

    # What is left ---------------------------------------------------------------------------------------------------

    def _look(self):
        """Look at what the server saw of the connections that are over."""
        while self.standin.sessions:
            seen = self.standin.sessions.popleft()
            healthy = seen.upgraded and not seen.faults
            self.seen["healthy" if healthy else "faulty", seen.how] += 1
            if seen.close_received == 1011 and seen.first_closer == "client":
                self.wrong.append(f"we sent a 1011: {seen}")
            if healthy and seen.how != "close" and not self.cancelling:
                self.torn.append(seen)
            if healthy and seen.answered and (seen.close_received, seen.first_closer) != (1000, "client"):
                self.wrong.append(f"a healthy session was not closed with 1000 by us: {seen}")

    def _excuse(self):
        """On a machine too busy for a 101 in two seconds there is no WebSocket yet that we could close."""
        for seen in self.torn:
            place = seen.path.rpartition("/")[2], seen.tls
            self.given_up[place] -= 1
            if self.given_up[place] < 0:
                self.wrong.append(f"a healthy session ended as 1006: {seen}")
        self.torn.clear()
        self.given_up.clear()

    async def _forget(self):
        """Let go of everything that may be kept for a while."""
        book = self.state.ledger._state
        assert not [hold for hold in book.all_leases() if hold.closed_at is None]
        assert not [guard for guard in book.key_breakers.values() if guard.pending_tokens]
        with self.state.transaction() as ledger:
            ledger.prune(time.time() + 3600.0)
        self.standin.forget()
        self.prober.prober._targets.clear()
        assert self.prober.open == 0


async def fill_the_thread_pool():
    """Start every thread that the loop's pool may have: it starts them one by one, whenever all others are busy."""
    most = min(32, (os.cpu_count() or 1) + 4)
    barrier = threading.Barrier(most)
    await asyncio.gather(*(asyncio.to_thread(barrier.wait, PATIENCE) for _ in range(most)))


@pytest.mark.parametrize(
    "sessions",
    [pytest.param(800, id="eight-hundred"), pytest.param(50_000, id="fifty-thousand", marks=pytest.mark.soak)],
)
async def test_sessions_under_random_faults_leave_nothing_behind(sessions, tmp_path):
    """Every one yields a result; no descriptor, task, thread or memory stays; the server saw no 1006, no 1011."""
    await fill_the_thread_pool()
    async with StandIn.start(timings=PACE, seed=SEED, slots=1_000_000) as standin:
        soak = Soak(standin, tmp_path)
        await soak.half(WARM_UP)
        started = time.monotonic()
        before = await soak.half(sessions // 2)
        after = await soak.half(sessions // 2)
        took = time.monotonic() - started
        soak.state.close()

    print(
        f"\n{sessions} sessions in {took:.1f} s ({sessions / took:.0f}/s), after {WARM_UP} to warm up: {soak.verdicts}"
    )
    print(dict(soak.seen), dict(soak.reasons.most_common()), before, after, sep="\n")
    assert not soak.wrong, "\n".join(soak.wrong)
    assert (soak.verdicts.total(), soak.verdicts["impaired"]) == (sessions + WARM_UP, 0)
    assert soak.verdicts["failed"] > sessions / 10, "too little weather to prove anything"
    assert not standin.crashes, "".join(traceback.format_exception(standin.crashes[0]))
    assert soak.metrics.unexpected_series() == []
    assert_nothing_grew(before, after, sessions // 2)


def assert_nothing_grew(before, after, sessions):
    """Counts are equal; half an object a session, and 4 MiB, are the noise of caches and of the allocator."""
    counts = [(left.descriptors, left.tasks, left.threads) for left in (before, after)]
    assert counts[0] == counts[1]
    assert after.blocks - before.blocks < 0.5 * sessions + 500
    assert after.resident - before.resident < 4 * MIB
