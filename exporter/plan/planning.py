"""Makes a plan, or problems, from all targets together.

Rule 1: each target is planned alone first, then their common load is checked.
"""

from collections import ChainMap
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from exporter.config import Config, Problem, Profile, Target, rare_cases
from exporter.plan.canary import canary_problems
from exporter.plan.capacity import host_rates, rate_problems, slot_problems, user_peaks
from exporter.plan.hold import hold_problems
from exporter.plan.job import Job
from exporter.plan.sentinel import sentinel_problems
from exporter.plan.side_load import side_rate_problems, side_slot_problems, with_side_connects, with_side_slots


@dataclass(frozen=True, slots=True)
class Plan:
    """One job per target, in the order of the config; `max_sessions` at once at most. `runbook_url`: of the config."""

    jobs: tuple[Job, ...]
    max_sessions: int = 1000
    runbook_url: str | None = None


def plan(config: Config, built_in: Mapping[str, Profile]) -> Plan | tuple[Problem, ...]:
    """Make the plan of a config whose fields agree (`config.parse`), or return every problem of its schedule.

    `--shard i/n` cuts its share from the finished plan: the other shards hold slots of the same users and connect to
    the same hosts.
    """
    profiles = ChainMap(config.profiles, built_in)  # type: ignore[arg-type]  # neither is written to
    problems_of_profiles = tuple(
        Problem(f"targets[{index}] ({target.name}).profile", f"unknown profile, known: {', '.join(sorted(profiles))}")
        for index, target in enumerate(config.targets)
        if target.profile not in profiles
    )
    if problems_of_profiles:
        return problems_of_profiles
    targets = _with_all_labels(config.targets)
    jobs = [Job.of(target, profiles[target.profile], config.max_connects_per_minute) for target in targets]
    peaks, rates = user_peaks(jobs), host_rates(jobs)
    problems = (*slot_problems(jobs, peaks), *rate_problems(jobs, rates), *canary_problems(jobs), *hold_problems(jobs))
    if problems:
        return problems
    total_peaks, total_rates = with_side_slots(peaks, jobs), with_side_connects(jobs)
    problems = (
        *sentinel_problems(jobs),
        *side_slot_problems(jobs, total_peaks),
        *side_rate_problems(jobs, rates, total_rates),
    )
    guarded = {job.authority for job in jobs if rare_cases(job.target)}
    finished = tuple(_with_totals(job, total_peaks, total_rates, guarded) for job in jobs)
    return problems or Plan(finished, config.max_sessions, config.runbook_url)


def _with_all_labels(targets: Sequence[Target]) -> Sequence[Target]:
    """Give each target the labels of all, empty where it sets none: all series of a metric need the same labels."""
    names = sorted({name for target in targets for name in target.labels})
    if not names:
        return targets
    filled = ({name: target.labels.get(name, "") for name in names} for target in targets)
    return [target.model_copy(update={"labels": labels}) for target, labels in zip(targets, filled, strict=True)]


def _with_totals(job: Job, peaks: Mapping[str, int], rates: Mapping[str, int], guarded: Collection[str]) -> Job:
    return replace(
        job,
        peaks={alias: peaks[user] for alias, user in job.users.items()},
        scheduled_rate=rates[job.host],
        scheduled_before_rate=0 if job.before is None else rates[job.before.host],
        guards_logins=job.authority in guarded,
    )
