"""Starts the runs of side probes when they are due: one task for each target and schedule."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from exporter.host import Clock
from exporter.plan import Job, SideSchedule
from exporter.probing import ProbeRequest
from exporter.result import Result, SideProbe, Skip, SkipCause

_logger = logging.getLogger("exporter.side_probes")

MAX_LATE_SECONDS: Final = 5.0
"""Seconds after which a due run is dropped, as of a cycle."""
MAX_SLEEP_SECONDS: Final = 30.0
"""Seconds between two looks at the wall clock, which may have been set."""


@dataclass(frozen=True, slots=True)
class SideRun:
    """One due run. `number`: absolute, as of a cycle; `due`: unix seconds."""

    job: Job
    schedule: SideSchedule
    number: int

    @property
    def due(self) -> float:
        """When it was due, unix seconds."""
        return self.schedule.cadence.due(self.number)


RunSession = Callable[[ProbeRequest], Awaitable[Result | Skip]]
RunSideProbe = Callable[[SideRun, RunSession], Awaitable[None]]
"""Does one due run: opens its sessions by the function that it is given, and records what they show."""
_TaskKey = tuple[str, SideSchedule]


class SideProbes:
    """Runs the side probes of targets from `begin` to `remove` or `stop`; `in_flight`: their open sessions.

    `probes`: what does a run of each. `has_capacity`: whether one more session may be open.
    `check_clock_step`: follows the wall clock now: with an outdated one the ledger may take held slots for free.
    """

    def __init__(
        self,
        run_session: RunSession,
        probes: Mapping[SideProbe, RunSideProbe],
        clock: Clock,
        *,
        has_capacity: Callable[[], bool] = lambda: True,
        check_clock_step: Callable[[], None] = lambda: None,
    ) -> None:
        self._run_session = run_session
        self._probes = probes
        self._clock = clock
        self._has_capacity = has_capacity
        self._check_clock_step = check_clock_step
        self._jobs: dict[str, Job] = {}
        self._tasks: dict[_TaskKey, asyncio.Task[None]] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._stopping = False
        self.in_flight = 0

    def begin(self, job: Job) -> None:
        """Start the side probes of a target."""
        if not self._stopping:
            self._jobs[job.name] = job
            self._start_and_end_tasks(job.name, job.side_schedules)

    def change(self, job: Job) -> None:
        """Run the target by this job from now on, if it has begun; a schedule that stays the same is not disturbed."""
        if job.name in self._jobs:
            self.begin(job)

    def remove(self, name: str) -> None:
        """End the side probes of a target at once."""
        if self._jobs.pop(name, None) is not None:
            self._start_and_end_tasks(name, ())

    async def stop(self) -> None:
        """End all side probes at once; open sessions are closed."""
        self._stopping = True
        for name in list(self._jobs):
            self.remove(name)
        while self._ending:
            await asyncio.wait(self._ending)

    def _start_and_end_tasks(self, name: str, wanted: tuple[SideSchedule, ...]) -> None:
        for key in [key for key in self._tasks if key[0] == name and key[1] not in wanted]:
            task = self._tasks.pop(key)
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)
            task.cancel()
        for schedule in wanted:
            if (name, schedule) not in self._tasks:
                task = asyncio.create_task(self._run_when_due(name, schedule), name=f"{schedule.name} {name}")
                self._tasks[name, schedule] = task

    async def _run_when_due(self, name: str, schedule: SideSchedule) -> None:
        cadence, wall = schedule.cadence, self._clock.wall
        last = cadence.cycle_at(wall())
        while True:
            now = wall()
            number = cadence.cycle_at(now)
            if number > last and now - cadence.due(number) <= MAX_LATE_SECONDS:
                await self._run(SideRun(self._jobs[name], schedule, number))
            last, now = number, wall()
            await asyncio.sleep(min(MAX_SLEEP_SECONDS, cadence.due(cadence.cycle_at(now) + 1) - now))

    async def _run(self, run: SideRun) -> None:
        try:
            await self._probes[run.schedule.probe](run, self._open)
        except Exception:
            _logger.exception("a side probe of %s broke: please report this", run.job.name)

    async def _open(self, request: ProbeRequest) -> Result | Skip:
        """Run one session, if `max_sessions` permits one more."""
        self._check_clock_step()
        if not self._has_capacity():
            return Skip(request.job.name, SkipCause.CAPACITY)
        self.in_flight += 1
        try:
            return await self._run_session(request)
        finally:
            self.in_flight -= 1
