"""Sessions that HTTP requests ask for, one at a time for each target.

Rule 1: a session does not depend on its request. When the client goes away, the session still ends by itself, closes
with 1000 and settles with the ledger. Rule 2: a request that the running session will answer gets that answer. When the
backend hangs and sessions last, a second Prometheus sees what the first one sees and opens no further connection.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Final

from exporter.daemon.services import Services
from exporter.oncall import Checker
from exporter.plan import Job
from exporter.probing import Prober, TimeLimits
from exporter.report import CheckReport
from exporter.result import Probe
from exporter.scheduler import FINISH_GRACE_SECONDS, STOP_GRACE_SECONDS

_logger = logging.getLogger("exporter.daemon")

MAX_WAITERS: Final = 32
"""Requests that may wait for one session; each holds a connection."""

EXPORTER_STOPPING: Final = "the exporter is stopping"
BUSY: Final = "another check of the target is under way; ask again in a moment"
FULL: Final = "as many sessions are asked for as max_sessions lets be open beside the schedule; ask again in a moment"
CROWDED: Final = "too many wait for the session of this target; ask again in a moment"
LASTING: Final = "the session of the target that is under way will not be over in time; ask again in a moment"


@dataclass(frozen=True, slots=True)
class OnDemandOutcome:
    """The outcome of a session; `took`: seconds of the whole session."""

    report: CheckReport
    took: float


@dataclass(slots=True)
class _RunningProbe:
    """A running session; `timeout`: seconds until it must have a verdict; `waiters`: requests that wait for it."""

    job: Job
    depth: Probe
    timeout: float
    task: asyncio.Task[OnDemandOutcome]
    waiters: int = 0

    def answers(self, job: Job, depth: Probe, timeout: float) -> bool:
        """Whether this session is at least as deep and gives the backend at least as much time."""
        return self.job is job and self.depth.rank >= depth.rank and self.timeout >= timeout


class OnDemandProbes:
    """Runs the sessions; `has_capacity`: whether one more may be opened."""

    def __init__(self, services: Services, prober: Prober, has_capacity: Callable[[], bool]) -> None:
        self._services = services
        self._prober = prober
        self._has_capacity = has_capacity
        self._running: dict[str, _RunningProbe] = {}
        self._turns = Counter[str]()
        self._stopping = False

    @property
    def in_flight(self) -> int:
        """The number of running sessions."""
        return len(self._running)

    async def run(self, job: Job, depth: Probe) -> OnDemandOutcome | str:
        """Run a session, or return the sentence why it cannot be run now."""
        return BUSY if job.name in self._running else await self._start(job, depth, TimeLimits(), inf)

    async def run_or_join(self, job: Job, depth: Probe, limits: TimeLimits, patience: float) -> OnDemandOutcome | str:
        """Run a session or join the running one; after `patience` seconds at most, return a sentence instead."""
        running = self._running.get(job.name)
        if running is None:
            return await self._start(job, depth, limits, patience)
        if not running.answers(job, depth, min(job.target.timeout, limits.verdict)):
            return BUSY
        return CROWDED if running.waiters >= MAX_WAITERS else await self._wait_for(running, patience)

    def stop(self) -> None:
        """Start no more sessions. Running ones have the same time to end as those of the schedule."""
        self._stopping = True
        loop = asyncio.get_running_loop()
        for running in self._running.values():
            for delay in (FINISH_GRACE_SECONDS, FINISH_GRACE_SECONDS + STOP_GRACE_SECONDS):
                loop.call_later(delay, running.task.cancel)

    async def wait_stopped(self) -> None:
        """Wait until no session runs."""
        if self._running:
            await asyncio.wait([running.task for running in self._running.values()])

    async def _start(self, job: Job, depth: Probe, limits: TimeLimits, patience: float) -> OnDemandOutcome | str:
        if self._stopping:
            return EXPORTER_STOPPING
        if not self._has_capacity():
            return FULL
        task = asyncio.create_task(self._run_session(job, depth, limits), name=f"asked-{job.name}")
        running = _RunningProbe(job, depth, min(job.target.timeout, limits.verdict), task)
        self._running[job.name] = running
        task.add_done_callback(lambda _: self._remove(running))
        return await self._wait_for(running, patience)

    async def _run_session(self, job: Job, depth: Probe, limits: TimeLimits) -> OnDemandOutcome:
        now = self._services.clock.monotonic
        began = now()
        turn, self._turns[job.name] = self._turns[job.name], self._turns[job.name] + 1
        services = self._services
        checker = Checker(
            job, services.state, clock=services.clock, scheduled_prober=self._prober, turn=turn, origin=services.origin
        )
        report = await checker.check_once(depth, limits)
        return OnDemandOutcome(report, now() - began)

    async def _wait_for(self, running: _RunningProbe, patience: float) -> OnDemandOutcome | str:
        """The session's outcome; it goes on if the patience ends or the request is cancelled."""
        running.waiters += 1
        try:
            await asyncio.wait([running.task], timeout=None if patience == inf else patience)
        finally:
            running.waiters -= 1
        if not running.task.done():
            return LASTING
        return EXPORTER_STOPPING if running.task.cancelled() else running.task.result()

    def _remove(self, running: _RunningProbe) -> None:
        del self._running[running.job.name]
        task = running.task
        if not task.cancelled() and task.exception() is not None and not running.waiters:
            _logger.error("a session that was asked for broke: please report this", exc_info=task.exception())
