"""The leak canary of a target: the job of its sessions, and whether it fits.

Rule 1: its user is no other session's at this backend: what it may fill are its own slots.
Rule 2: each problem shows the arithmetic and what to write instead.
"""

from collections.abc import Iterator, Sequence
from math import ceil

from exporter.config import Problem
from exporter.plan.canary_schedule import CanaryPace
from exporter.plan.job import Job


def canary_pace(job: Job) -> CanaryPace | None:
    """Return the pace of the target's canary; None if it has none, or no slot to learn from."""
    if job.target.canary is None or not job.allowed_slots or job.allowed_slots < 1:
        return None
    return CanaryPace.of(job.allowed_slots, job.window)


def canary_job(job: Job) -> Job:
    """Return the job of the canary's sessions: as the target's, with the canary's user as the only one."""
    return job.speaking_as(job.target.canary.identity if job.target.canary else {})


def canary_problems(jobs: Sequence[Job]) -> Iterator[Problem]:
    """Yield a problem for each canary that does not fit."""
    for index, job in enumerate(jobs):
        if job.target.canary is not None:
            yield from (
                Problem(f"targets[{index}] ({job.name}).{field}", sentence) for field, sentence in _problems(job, jobs)
            )


def _problems(job: Job, jobs: Sequence[Job]) -> Iterator[tuple[str, str]]:
    if job.allowed_slots is None:
        yield "canary", "has no effect: slots_per_identity is 0, unlimited; say in limits how many the backend keeps"
    pace, canary = canary_pace(job), job.target.canary
    if pace is not None and canary is not None and canary.every < pace.length:
        yield (
            "canary.every",
            (
                f"a round takes {pace.length:g}s ({pace.connects} connections, one every {pace.spacing:g}s, so that it "
                f"holds at most slots_per_identity {job.limits.slots_per_identity} less reserve {job.limits.reserve}, "
                f"each for {job.window:g}s), but every is {canary.every:g}s. Safe: every {ceil(pace.length)}s"
            ),
        )
    for alias, user in canary_job(job).users.items():
        others = [other.name for other in jobs if user in _other_users(job, other)]
        if others:
            yield (
                f"canary.identity.{alias}",
                (
                    f"is a user of {' and '.join(others)} too, at the same backend: give the canary a user of its own, "
                    "whose slots it may fill"
                ),
            )


def _other_users(job: Job, other: Job) -> set[str]:
    """Return the users of the backend that `other` speaks as, beside the canary of `job` itself."""
    users = set(other.users.values())
    return users if other is job else users | set(canary_job(other).users.values())
