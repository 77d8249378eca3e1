"""The load that side probes add to the schedules of the targets, and what to change if it is too much.

Rule 1: the cycles are proved safe first (`capacity`); a problem here is the side probes' own.
Rule 2: each problem shows the arithmetic and what to write instead.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from exporter.config import Problem
from exporter.plan.cadence import BetweenCycles, Cadence, max_connects, to_microseconds
from exporter.plan.job import Job
from exporter.plan.side_schedule import SideSchedule

MINUTE_MICROSECONDS: Final = to_microseconds(60)
MAX_NAMES: Final = 3
"""Side probes that a problem names."""


def with_side_slots(peaks: Mapping[str, int], jobs: Sequence[Job]) -> Counter[str]:
    """Return user → most slots held at once, by cycles (`peaks`) and side probes of all targets together."""
    total = Counter(peaks)
    for _, _, schedule in _schedules(jobs):
        if schedule.user is not None:
            total[schedule.user] += schedule.slots
    return total


def with_side_connects(jobs: Sequence[Job]) -> dict[str, int]:
    """Return host → most connects in any minute, by cycles and side probes of all targets together."""
    cadences: dict[str, list[Cadence | BetweenCycles]] = {}
    for job in jobs:
        for host in job.connects:
            cadences.setdefault(host, []).extend(_cadences(job, host))
    return {host: max_connects(cadences_of_host, MINUTE_MICROSECONDS) for host, cadences_of_host in cadences.items()}


def connects_a_minute(schedule: SideSchedule) -> int:
    """Return the most connects in any minute by this schedule alone, to each host that a run connects to."""
    return max_connects([schedule.cadence] * schedule.sessions, MINUTE_MICROSECONDS)


def side_slot_problems(jobs: Sequence[Job], total: Mapping[str, int]) -> Iterator[Problem]:
    """Yield a problem for each schedule whose user could hold more slots than permitted."""
    for index, job, schedule in _schedules(jobs):
        allowed, user = job.allowed_slots, schedule.user
        if allowed is None or user is None or total[user] <= allowed:
            continue
        yield Problem(
            f"targets[{index}] ({job.name}).{schedule.field}",
            f"{schedule.name} may hold {schedule.slots} of the slots of one user, and with everything else that speaks "
            f"as this user it is {total[user]} at once, but slots_per_identity {job.limits.slots_per_identity} less "
            f"reserve {job.limits.reserve} allows {allowed}. Safe: one more identity, or a longer interval of the "
            "target",
        )


def side_rate_problems(jobs: Sequence[Job], cycles: Mapping[str, int], total: Mapping[str, int]) -> Iterator[Problem]:
    """Yield a problem for each host to which cycles and side probes together connect more often than permitted.

    `cycles`: host → most connects per minute of the cycles alone; `total`: of all.
    """
    for host, rate in total.items():
        found = [(index, job, schedule) for index, job, schedule in _schedules(jobs) if host in job.connects]
        permitted = found[0][1].rate_of(host) if found else None
        if permitted is None or rate <= permitted:
            continue
        index, job, schedule = max(found, key=lambda one: connects_a_minute(one[2]))
        yield Problem(
            f"targets[{index}] ({job.name}).{schedule.field}",
            f"{host} would see up to {rate} connects a minute, {cycles[host]} of them by cycles and the others by "
            f"{_texts(found)}, but max_connects_per_minute is {permitted}. Safe: a side probe less, a longer interval "
            f"of a target on this host, or max_connects_per_minute {rate} if the host permits it",
        )


def _texts(found: Sequence[tuple[int, Job, SideSchedule]]) -> str:
    names = sorted({f"{schedule.probe} of {job.name}" for _, job, schedule in found})
    return " and ".join(names[:MAX_NAMES]) + (f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else "")


def _schedules(jobs: Sequence[Job]) -> Iterator[tuple[int, Job, SideSchedule]]:
    for index, job in enumerate(jobs):
        yield from ((index, job, schedule) for schedule in job.side_schedules)


def _cadences(job: Job, host: str) -> Iterator[Cadence | BetweenCycles]:
    """Yield the cadence of each connect to the host."""
    yield from [job.cadence] * job.connects[host]
    for schedule in job.side_schedules:
        connects = job.connects[host] if schedule.opens_sessions else int(host == job.host)
        yield from [schedule.cadence] * (schedule.sessions * connects)
