"""Puts a stand-in, a prober and a scheduler together, for tests that need the whole way of a session."""

import asyncio
import contextlib
import time

from exporter.config import Config
from exporter.files import KeyRing
from exporter.host import Clock
from exporter.plan import plan
from exporter.probing import Prober, ProbeRequest
from exporter.profiles import BUILT_IN, FACTORY
from exporter.resolver import Resolver
from exporter.result import Probe, Trigger
from exporter.scheduler import Scheduler
from exporter.state import LedgerFile

CLAIMS = {"iss": "netra-auth-service", "aud": "netra-platform", "token_type": "access"}
POOL = {
    "pool-001": "staging-e2e-user-001",
    "pool-002": "staging-e2e-user-002",
    "uuid-001": "6f1d0f3e-8a57-4b8e-9d0e-2f6a1f0c9a11",
}


def target(standin, path="/ws", *, tls=False, name="staging", **changes):
    """A target's mapping for a path of the stand-in; `changes` replace or add fields."""
    mapping = {
        "name": name,
        "url": standin.url(path, tls=tls),
        "interval": "3s",
        "timeout": "1s",
        "close_timeout": "300ms",
        "identities": dict(POOL),
        "auth": {"jwt": {"key_file": str(standin.key_file), "claims": dict(CLAIMS)}},
        "limits": {"slots_per_identity": 0, "slot_release": "300s"},
    }
    if tls:
        mapping["tls"] = {"ca_file": str(standin.ca_file)}
    mapping.update(changes)
    return {field: value for field, value in mapping.items() if value is not None}


UNGUARDED = {**BUILT_IN, "factory": FACTORY.model_copy(update={"breaker": []})}
"""The profiles for tests in which many targets of one stand-in are refused at once: no breaker holds any up."""


def planned(*targets, built_in=BUILT_IN, **settings):
    """The plan of targets' mappings."""
    made = plan(Config.model_validate({"targets": list(targets), **settings}), built_in)
    assert not isinstance(made, tuple), made
    return made


class Rig:
    """A prober over a fresh ledger; `run` drives one session of a job."""

    def __init__(self, *, clock=None, state=None, resolver=None):
        self.clock = clock or Clock()
        self.state = state or LedgerFile.in_memory()
        self.open = 0
        self.opened = asyncio.Event()
        self.prober = Prober(self.state, KeyRing(), resolver or Resolver(), self.clock, self._opened)

    def _opened(self, _name, change):
        self.open += change
        if change > 0:
            self.opened.set()

    async def run(self, job, *, depth=Probe.SEND, identity="pool-001", trigger=Trigger.SCHEDULE, **more):
        cycle = job.cycle_at(self.clock.wall())
        return await self.prober.run(
            ProbeRequest(job, cycle, trigger, depth, identity if job.identities else None, **more)
        )

    def schedule(self, *jobs):
        """A started scheduler for the jobs, and what it tells."""
        told = Recorder()
        scheduler = Scheduler(jobs, self.prober.run, told, self.clock)
        scheduler.start()
        return scheduler, told


class Recorder:
    """Sinks that keep what they are told."""

    def __init__(self):
        self.results, self.cycles, self.skips, self.steps, self.jobs = [], [], [], [], []
        self.suspicions = []

    def record_result(self, result):
        self.results.append(result)

    def record_cycle(self, result):
        self.cycles.append(result)

    def record_skip(self, skip):
        self.skips.append(skip)

    def record_suspicion(self, _target, outcome):
        self.suspicions.append(outcome)

    def set_next_due(self, target, probe, at):
        pass

    def clock_stepped(self, seconds):
        self.steps.append(seconds)

    def job_changed(self, job):
        self.jobs.append(job)


async def until(condition, timeout=60.0):
    """Wait for a condition by looking at every turn of the loop; fails after `timeout` seconds."""
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "the condition did not come true in time"
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def leaves_nothing(fds):
    """Assert that the block leaves no task and no descriptor behind; `fds` tells the open descriptors."""
    tasks, before = asyncio.all_tasks(), fds()
    yield
    assert asyncio.all_tasks() <= tasks
    assert fds() <= before
