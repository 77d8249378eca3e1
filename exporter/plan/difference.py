"""The difference between the running jobs and another plan: targets added, removed or changed.

Rule 1: targets of the same name are the same target. Rule 2: an unchanged target keeps its job object.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from exporter.plan.job import Job
from exporter.plan.planning import Plan


@dataclass(frozen=True, slots=True)
class PlanDiff:
    """The difference between two plans.

    `removed`: names.
    `recomputed`: jobs whose own settings are unchanged, but other targets leave them other slots or connects.
    `jobs`: every job of the new plan, in the order of the config.
    """

    added: tuple[Job, ...]
    removed: tuple[str, ...]
    changed: tuple[Job, ...]
    recomputed: tuple[Job, ...]
    jobs: Mapping[str, Job]
    max_sessions: int


def plan_diff(before: Mapping[str, Job], wanted: Plan) -> PlanDiff:
    """How to get from the jobs of before, by name, to those of a plan."""
    jobs = {job.name: _kept(before.get(job.name), job) for job in wanted.jobs}
    known = [job for job in jobs.values() if job.name in before and job is not before[job.name]]
    return PlanDiff(
        added=tuple(job for job in jobs.values() if job.name not in before),
        removed=tuple(name for name in before if name not in jobs),
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
