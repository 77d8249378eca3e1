"""What another plan asks for: targets that come, go, or change.

Rule 1: a target is the one of the same name. Rule 2: what is unchanged is the job that was there, so that nobody who
holds it notices.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from exporter.plan.job import Job
from exporter.plan.planning import Plan


@dataclass(frozen=True, slots=True)
class PlanDiff:
    """`came`, `changed`, `recomputed`: jobs; `went`: names. `jobs`: all that are wanted, in the order of the config.

    `recomputed`: nothing of their own has changed, but what the other targets leave them: slots of a user, connects of
    a host.
    """

    came: tuple[Job, ...]
    went: tuple[str, ...]
    changed: tuple[Job, ...]
    recomputed: tuple[Job, ...]
    jobs: Mapping[str, Job]
    max_sessions: int


def plan_diff(before: Mapping[str, Job], wanted: Plan) -> PlanDiff:
    """How to get from the jobs of before, by name, to those of a plan."""
    jobs = {job.name: _kept(before.get(job.name), job) for job in wanted.jobs}
    known = [job for job in jobs.values() if job.name in before and job is not before[job.name]]
    return PlanDiff(
        came=tuple(job for job in jobs.values() if job.name not in before),
        went=tuple(name for name in before if name not in jobs),
        changed=tuple(job for job in known if job.target is not before[job.name].target),
        recomputed=tuple(job for job in known if job.target is before[job.name].target),
        jobs=jobs,
        max_sessions=wanted.max_sessions,
    )


def _kept(before: Job | None, job: Job) -> Job:
    """The job of before, if it is as good; with what others leave it now, if that alone is different."""
    if before is None or _order(job) != _order(before):
        return job
    if job == before:
        return before
    left = {name: getattr(job, name) for name in ("peaks", "scheduled_rate", "rate")}
    recomputed = replace(before, **left)
    return recomputed if recomputed == job else job


def _order(job: Job) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Mappings are equal in whatever order; of the identities it says whose turn it is."""
    return job.identities, tuple(job.target.check_identities)
