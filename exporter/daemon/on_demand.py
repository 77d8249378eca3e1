"""Sessions that somebody asks for over HTTP: one at a time for a target.

Rule 1: a session belongs to nobody: who asked may go away, it runs to its end, closes with 1000 and settles with the
ledger. Rule 2: who asks for no more than the session under way will answer gets its answer. So a second Prometheus
sees what the first one sees, just when the backend hangs and sessions last; and costs it no connection.
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
"""Who may wait for one session: each holds a connection."""

EXPORTER_STOPPING: Final = "the exporter is stopping"
BUSY: Final = "another check of the target is under way; ask again in a moment"
FULL: Final = "as many sessions are asked for as max_sessions lets be open beside the schedule; ask again in a moment"
CROWDED: Final = "too many wait for the session of this target; ask again in a moment"
LASTING: Final = "the session of the target that is under way will not be over in time; ask again in a moment"


@dataclass(frozen=True, slots=True)
class OnDemandOutcome:
    """What came of a session; `took`: seconds of all of it."""

    checked: CheckReport
    took: float


@dataclass(slots=True)
class _RunningProbe:
    """A session; `timeout`: seconds it has to a verdict; `waiting`: how many wait for it."""

    job: Job
    depth: Probe
    timeout: float
    task: asyncio.Task[OnDemandOutcome]
    waiting: int = 0

    def answers(self, job: Job, depth: Probe, timeout: float) -> bool:
        """Whether it goes as deep as is asked for, and gives the backend at least as much time."""
        return self.job is job and self.depth.rank >= depth.rank and self.timeout >= timeout


class OnDemandProbes:
    """`has_capacity`: whether one more may be opened."""

    def __init__(self, ground: Services, prober: Prober, has_capacity: Callable[[], bool]) -> None:
        self._ground = ground
        self._prober = prober
        self._has_capacity = has_capacity
        self._under_way: dict[str, _RunningProbe] = {}
        self._turns = Counter[str]()
        self._stopping = False

    @property
    def in_flight(self) -> int:
        """How many are open."""
        return len(self._under_way)

    async def fresh(self, job: Job, depth: Probe) -> OnDemandOutcome | str:
        """A session that begins now; the sentence why not."""
        return BUSY if job.name in self._under_way else await self._begun(job, depth, TimeLimits(), inf)

    async def shared(self, job: Job, depth: Probe, within: TimeLimits, patience: float) -> OnDemandOutcome | str:
        """A session that begins now, or the one under way; else, after `patience` seconds at most, why neither."""
        there = self._under_way.get(job.name)
        if there is None:
            return await self._begun(job, depth, within, patience)
        if not there.answers(job, depth, min(job.target.timeout, within.verdict)):
            return BUSY
        return CROWDED if there.waiting >= MAX_WAITERS else await self._waited(there, patience)

    def stop(self) -> None:
        """Begin none; those that run may finish, or are told to close after as long as the schedule's are."""
        self._stopping = True
        loop = asyncio.get_running_loop()
        for session in self._under_way.values():
            for delay in (FINISH_GRACE_SECONDS, FINISH_GRACE_SECONDS + STOP_GRACE_SECONDS):
                loop.call_later(delay, session.task.cancel)

    async def stopped(self) -> None:
        """Wait until none runs any more."""
        if self._under_way:
            await asyncio.wait([session.task for session in self._under_way.values()])

    async def _begun(self, job: Job, depth: Probe, within: TimeLimits, patience: float) -> OnDemandOutcome | str:
        if self._stopping:
            return EXPORTER_STOPPING
        if not self._has_capacity():
            return FULL
        task = asyncio.create_task(self._session(job, depth, within), name=f"asked-{job.name}")
        begun = _RunningProbe(job, depth, min(job.target.timeout, within.verdict), task)
        self._under_way[job.name] = begun
        task.add_done_callback(lambda _: self._over(begun))
        return await self._waited(begun, patience)

    async def _session(self, job: Job, depth: Probe, within: TimeLimits) -> OnDemandOutcome:
        now = self._ground.clock.monotonic
        began = now()
        turn, self._turns[job.name] = self._turns[job.name], self._turns[job.name] + 1
        on_call = Checker(job, self._ground.state, clock=self._ground.clock, scheduled_prober=self._prober, turn=turn)
        checked = await on_call.check_once(depth, within)
        return OnDemandOutcome(checked, now() - began)

    async def _waited(self, session: _RunningProbe, patience: float) -> OnDemandOutcome | str:
        """What came of it. Who waits is no part of it: neither an end of patience nor a cancellation ends it."""
        session.waiting += 1
        try:
            await asyncio.wait([session.task], timeout=None if patience == inf else patience)
        finally:
            session.waiting -= 1
        if not session.task.done():
            return LASTING
        return EXPORTER_STOPPING if session.task.cancelled() else session.task.result()

    def _over(self, session: _RunningProbe) -> None:
        del self._under_way[session.job.name]
        task = session.task
        if not task.cancelled() and task.exception() is not None and not session.waiting:
            _logger.error("a session that was asked for broke: please report this", exc_info=task.exception())
