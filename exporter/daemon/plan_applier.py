"""From the jobs that run to those of another plan, target by target, between the turns of the sessions.

Rule 1: each target is gone over in one go: its job, its series and what is told of it never disagree. Rule 2: who goes
makes room before others come.
"""

from collections.abc import Callable
from dataclasses import dataclass

from exporter.daemon.result_dispatcher import ResultDispatcher
from exporter.daemon.services import Services
from exporter.daemon.startup_gate import StartupGate
from exporter.host import cooperatively
from exporter.plan import Job, PlanDiff
from exporter.scheduler import Scheduler


@dataclass(frozen=True, slots=True)
class PlanApplier:
    """Who must know of another plan.

    `delay`: seconds that a new target waits. `most`: how many sessions there may be at once if so many are wished for.
    `wanted`: the jobs of the last plan, by name; those that run are behind it while a session of theirs is not over.
    """

    ground: Services
    scheduler: Scheduler
    told: ResultDispatcher
    newcomers: StartupGate
    delay: float
    most: Callable[[int], int]
    wanted: dict[str, Job]

    async def make(self, change: PlanDiff) -> None:
        """Let targets go, change and come. Broken off, it is taken up by the next one."""
        async for name in cooperatively(change.went):
            self._went(name)
        async for job in cooperatively(change.recomputed):
            self.scheduler.adjust(job)
            self.wanted[job.name] = job
        async for job in cooperatively(change.changed):
            self.scheduler.change(job)
            self.wanted[job.name] = job
        self.scheduler.most = self.most(change.max_sessions)
        async for job in cooperatively(change.came):
            self._came(job)
        self._in_order(change)
        if change.came:
            self.newcomers.expect(job.name for job in change.came)

    def _went(self, name: str) -> None:
        self.newcomers.forget(name)
        self.scheduler.remove(name)
        self.told.went(name)
        del self.wanted[name]

    def _came(self, job: Job) -> None:
        self.told.came(job)
        self.told.tell_identities(job, job.identities)
        self.scheduler.add(job, self.ground.clock.wall() + self.delay)
        self.wanted[job.name] = job

    def _in_order(self, change: PlanDiff) -> None:
        """As the config has them."""
        for jobs in (self.ground.jobs, self.wanted):
            known = dict(jobs)
            jobs.clear()
            jobs.update((name, known[name]) for name in change.jobs)
