"""Changes the running jobs to those of another plan, target by target, between the steps of running sessions.

Rule 1: each target is changed in one step: its job, its series and its history never disagree. Rule 2: removed targets
are torn down before new ones are added.
"""

from collections.abc import Callable
from dataclasses import dataclass

from exporter.daemon.result_dispatcher import ResultDispatcher
from exporter.daemon.services import Services
from exporter.daemon.startup_gate import StartupGate
from exporter.host import cooperatively
from exporter.plan import Job, PlanDiff
from exporter.scheduler import Scheduler
from exporter.side_probes import SideProbes


@dataclass(frozen=True, slots=True)
class PlanApplier:
    """Applies a difference of plans to everything that depends on the jobs.

    `delay`: seconds that a new target waits.
    `session_limit`: how many sessions may be open at once if the config asks for this many.
    `wanted`: the jobs of the last plan, by name; a running job lags behind it until its session is over.
    """

    services: Services
    scheduler: Scheduler
    side_probes: SideProbes
    dispatcher: ResultDispatcher
    startup_gate: StartupGate
    delay: float
    session_limit: Callable[[int], int]
    wanted: dict[str, Job]

    async def apply(self, diff: PlanDiff) -> None:
        """Remove, change and add targets. If this is cancelled, the next call does what is left to do."""
        async for name in cooperatively(diff.removed):
            self._remove(name)
        async for job in cooperatively(diff.recomputed):
            self.scheduler.recompute(job)
            self.wanted[job.name] = job
        async for job in cooperatively(diff.changed):
            self.scheduler.change(job)
            self.wanted[job.name] = job
        self.scheduler.max_sessions = self.session_limit(diff.max_sessions)
        self.services.links.runbook_url = diff.runbook_url
        async for job in cooperatively(diff.added):
            self._add(job)
        self._sort(diff)
        if diff.added:
            self.startup_gate.add(job.name for job in diff.added)

    def _remove(self, name: str) -> None:
        self.startup_gate.remove(name)
        self.scheduler.remove(name)
        self.side_probes.remove(name)
        self.dispatcher.remove_target(name)
        del self.wanted[name]

    def _add(self, job: Job) -> None:
        self.dispatcher.add_target(job)
        self.dispatcher.update_identities(job, job.identities)
        self.scheduler.add(job, self.services.clock.wall() + self.delay)
        self.wanted[job.name] = job

    def _sort(self, diff: PlanDiff) -> None:
        """Put the jobs into the order of the config."""
        for jobs in (self.services.jobs, self.wanted):
            unsorted = dict(jobs)
            jobs.clear()
            jobs.update((name, unsorted[name]) for name in diff.jobs)
