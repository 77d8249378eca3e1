"""From the jobs that run to those of another plan, target by target, between the turns of the sessions.

Rule 1: each target is gone over in one go: its job, its series and what is told of it never disagree. Rule 2: who goes
makes room before others come.
"""

from collections.abc import Callable
from dataclasses import dataclass

from exporter.daemon.ground import Ground
from exporter.daemon.newcomers import Newcomers
from exporter.daemon.told import Told
from exporter.host import in_slices
from exporter.plan import Difference, Job
from exporter.scheduler import Scheduler


@dataclass(frozen=True, slots=True)
class Swap:
    """Who must know of another plan.

    `delay`: seconds that a new target waits. `most`: how many sessions there may be at once if so many are wished for.
    `wanted`: the jobs of the last plan, by name; those that run are behind it while a session of theirs is not over.
    """

    ground: Ground
    scheduler: Scheduler
    told: Told
    newcomers: Newcomers
    delay: float
    most: Callable[[int], int]
    wanted: dict[str, Job]

    async def make(self, change: Difference) -> None:
        """Let targets go, change and come. Broken off, it is taken up by the next one."""
        async for name in in_slices(change.went):
            self._went(name)
        async for job in in_slices(change.adjusted):
            self.scheduler.adjust(job)
            self.wanted[job.name] = job
        async for job in in_slices(change.changed):
            self.scheduler.change(job)
            self.wanted[job.name] = job
        self.scheduler.most = self.most(change.max_sessions)
        async for job in in_slices(change.came):
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

    def _in_order(self, change: Difference) -> None:
        """As the config has them."""
        for jobs in (self.ground.jobs, self.wanted):
            known = dict(jobs)
            jobs.clear()
            jobs.update((name, known[name]) for name in change.jobs)
