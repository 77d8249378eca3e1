"""The held connection of a target: the job of its sessions, and whether it fits.

Rule 1: its user is no other session's at this backend, because a user has one open connection at most.
Rule 2: each problem shows the arithmetic and what to write instead.
"""

from collections.abc import Iterator, Sequence
from math import ceil

from exporter.config import Problem
from exporter.plan.canary import canary_job
from exporter.plan.hold_schedule import held_slots
from exporter.plan.job import Job


def hold_job(job: Job) -> Job:
    """Return the job of the held connection: as the target's, with its user as the only one."""
    return job.speaking_as(job.target.hold.identity if job.target.hold else {})


def hold_problems(jobs: Sequence[Job]) -> Iterator[Problem]:
    """Yield a problem for each held connection that does not fit."""
    for index, job in enumerate(jobs):
        if job.target.hold is not None:
            yield from (
                Problem(f"targets[{index}] ({job.name}).{field}", sentence) for field, sentence in _problems(job, jobs)
            )


def _problems(job: Job, jobs: Sequence[Job]) -> Iterator[tuple[str, str]]:
    hold, allowed, release = job.target.hold, job.allowed_slots, job.limits.slot_release
    slots = 0 if hold is None else held_slots(hold, release)
    if hold is not None and hold.identity and allowed is not None and slots > allowed:
        need = f"needs {slots} slots of its user: one for the connection, and one for each that ended in the last "
        settings = f"slot_release {release:g}s, one every {hold.reconnect:g}s"
        limits = (
            f"slots_per_identity {job.limits.slots_per_identity} less reserve {job.limits.reserve} allows {allowed}"
        )
        safe = f"reconnect {ceil(release / (allowed - 1))}s" if allowed > 1 else "no hold, or more slots"
        yield "hold.reconnect", f"{need}{settings}, but {limits}. Safe: {safe}"
    for alias, user in hold_job(job).users.items():
        others = [other.name for other in jobs if user in _other_users(job, other)]
        if others:
            yield (
                f"hold.identity.{alias}",
                (
                    f"is a user of {' and '.join(others)} too, at the same backend: give the held connection a user of "
                    "its own, who has no other open"
                ),
            )


def _other_users(job: Job, other: Job) -> set[str]:
    """Return the users of the backend that `other` speaks as, beside the held connection of `job` itself."""
    users = {*other.users.values(), *canary_job(other).users.values()}
    return users if other is job else users | set(hold_job(other).users.values())
