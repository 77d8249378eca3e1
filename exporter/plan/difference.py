"""The difference between two plans: targets that are added, removed or changed.

Rule 1: a target is identified by its name. Rule 2: an unchanged target keeps its job object.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from exporter.plan.job import Job
from exporter.plan.planning import Plan


@dataclass(frozen=True, slots=True)
class PlanDiff:
    """The difference between running jobs and a plan.

    added, changed: jobs
    removed: names
    recomputed: jobs that changed only in what other targets leave them: slots of a user, connects of a host
    jobs: all jobs of the plan by name, in the order of the config
    """

    added: tuple[Job, ...]
    removed: tuple[str, ...]
    changed: tuple[Job, ...]
    recomputed: tuple[Job, ...]
    jobs: Mapping[str, Job]
    max_sessions: int
    runbook_url: str | None


def plan_diff(before: Mapping[str, Job], wanted: Plan) -> PlanDiff:
    """Return the difference between the running jobs, by name, and a plan."""
    jobs = {job.name: _reuse_job(before.get(job.name), job) for job in wanted.jobs}
    common = [job for job in jobs.values() if job.name in before and job is not before[job.name]]
    return PlanDiff(
        added=tuple(job for job in jobs.values() if job.name not in before),
        removed=tuple(name for name in before if name not in jobs),
        changed=tuple(job for job in common if job.target is not before[job.name].target),
        recomputed=tuple(job for job in common if job.target is before[job.name].target),
        jobs=jobs,
        max_sessions=wanted.max_sessions,
        runbook_url=wanted.runbook_url,
    )


GIVEN_BY_OTHERS: Final = ("peaks", "scheduled_rate", "rate", "scheduled_before_rate", "guards_logins", "before_rate")


def _reuse_job(before: Job | None, job: Job) -> Job:
    """Return the running job if it is the same; updated, if only what other targets leave to it has changed."""
    if before is None or _identity_order(job) != _identity_order(before):
        return job
    if job == before:
        return before
    given_by_others = {name: getattr(job, name) for name in GIVEN_BY_OTHERS}
    recomputed = replace(before, **given_by_others)
    return recomputed if recomputed == job else job


def _identity_order(job: Job) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what equality of mappings ignores: the order of identities, which decides whose turn it is."""
    return job.identities, tuple(job.target.check_identities)
