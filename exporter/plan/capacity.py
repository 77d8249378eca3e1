"""The load that a schedule can put on its backends, and the nearest schedule that is safe.

Rule 1: each problem shows the arithmetic and what to write instead.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import ceil
from typing import Final

from exporter.config import Problem
from exporter.plan.cadence import Cadence, max_connects, to_microseconds
from exporter.plan.job import Job
from exporter.result import Probe

MINUTE_MICROSECONDS: Final = to_microseconds(60)
MAX_INTERVAL_SECONDS: Final = 86_400
"""The longest interval that a config may have."""
MAX_EVERY: Final = 10_000
"""The largest `every` that a config may have."""


def user_peaks(jobs: Sequence[Job]) -> Counter[str]:
    """Return user → most slots held at once, over all targets that use this user at the same backend."""
    total: Counter[str] = Counter()
    for job in jobs:
        for _, user, peak in job.own_peaks():
            total[user] += peak
    return total


def host_rates(jobs: Sequence[Job]) -> dict[str, int]:
    """Return host → most connects in any minute, over all targets."""
    cadences: dict[str, list[Cadence]] = {}
    for job in jobs:
        for host, connects in job.connects.items():
            cadences.setdefault(host, []).extend([job.cadence] * connects)
    return {host: max_connects(jobs_of_host, MINUTE_MICROSECONDS) for host, jobs_of_host in cadences.items()}


def slot_problems(jobs: Sequence[Job], total: Counter[str]) -> Iterator[Problem]:
    """Yield a problem for each target whose schedule could hold more slots of a user than permitted."""
    used = {index: _max_user_slots(job, total) for index, job in enumerate(jobs)}
    over = {index: job for index, job in enumerate(jobs) if used[index] > max(job.allowed_slots or 0, 0)}
    for index, job in over.items():
        own = max(peak for _, _, peak in job.own_peaks())
        if not job.allowed_slots or job.allowed_slots < 1:
            yield Problem(_path(index, job, "limits"), _no_slot_text(job))
        elif own > job.allowed_slots:
            yield Problem(_path(index, job, "interval"), _too_many_slots_text(job, own, 0, _tied_jobs(job, jobs)))
        elif not any(_shares_users(job, over[later]) for later in over if later > index):
            # Of targets that share users only the last one gets the problem.
            text = _too_many_slots_text(job, own, used[index] - own, _tied_jobs(job, jobs))
            yield Problem(_path(index, job, "interval"), text)


def rate_problems(jobs: Sequence[Job], rates: dict[str, int]) -> Iterator[Problem]:
    """Yield a problem for each host that the schedules connect to more often than permitted."""
    for host, rate in rates.items():
        jobs_of_host = [(index, job) for index, job in enumerate(jobs) if host in job.connects]
        index, first = min(jobs_of_host, key=lambda pair: pair[1].cadence.interval_us)
        permitted = first.rate_of(host)
        if permitted is not None and rate > permitted:
            connects = [job for _, job in jobs_of_host for _ in range(job.connects[host])]
            safe = _safe_rate(connects, permitted)
            each = " for each of them" if len(jobs_of_host) > 1 else ""
            yield Problem(
                _path(index, first, "interval"),
                f"{host} would see up to {_plural(rate, 'connect')} a minute from "
                f"{_plural(len(jobs_of_host), 'target')}, but max_connects_per_minute is {permitted}. Safe: "
                + (f"interval {safe}s{each}" if safe else "fewer targets"),
            )


def _path(index: int, job: Job, field: str) -> str:
    return f"targets[{index}] ({job.name}).{field}"


def _plural(count: int, thing: str) -> str:
    plural = thing.removesuffix("y") + "ies" if thing.endswith("y") else thing + "s"
    return f"{count} {thing if count == 1 else plural}"


def _no_slot_text(job: Job) -> str:
    limits = job.limits
    return (
        f"slots_per_identity {limits.slots_per_identity} less reserve {limits.reserve} leaves no slot to probe with: "
        "the backend must keep more slots, or limits.reserve, what is left to other clients of the user, be smaller "
        "(0 at least)"
    )


def _max_user_slots(job: Job, total: Counter[str]) -> int:
    """Return the most slots that a user of this target holds at once, over all targets; 0 if it has no limit."""
    return 0 if job.allowed_slots is None else max((total[user] for user in job.users.values()), default=0)


def _shares_users(job: Job, other: Job) -> bool:
    return not set(job.users.values()).isdisjoint(other.users.values())


def _tied_jobs(job: Job, jobs: Sequence[Job]) -> list[Job]:
    """Return this job and all jobs that share users with it, directly or through others."""
    tied = [job]
    for one in tied:
        tied += [other for other in jobs if not any(other is member for member in tied) and _shares_users(one, other)]
    return tied


def _too_many_slots_text(job: Job, own: int, others: int, tied: Sequence[Job]) -> str:
    target, limits = job.target, job.limits
    sessions, pool = job.slot_pattern.max_slots(job.window_cycles), len(job.users)
    sharers = " and ".join(other.name for other in tied[1:] if _shares_users(job, other))
    shared = f", and up to {others} more of the same user by {sharers}" if others else ""
    return (
        f"up to {_plural(sessions, 'session')} would begin within the {job.window:g}s that a slot may be held "
        f"(slot_release {limits.slot_release:g}s + timeout {target.timeout:g}s + close_timeout "
        f"{target.close_timeout:g}s): over {_plural(pool, 'identity')} that is {_plural(own, 'slot')} of one user at "
        f"once{shared}, but slots_per_identity {limits.slots_per_identity} less reserve {limits.reserve} allows "
        f"{job.allowed_slots}. Safe: {', or '.join(_remedies(job, others, tied))}"
    )


def _remedies(job: Job, others: int, tied: Sequence[Job]) -> Iterator[str]:
    """Yield remedies, each sufficient by itself whatever the targets that share users do."""
    if len(tied) == 1:
        yield from _own_remedies(job, job.allowed_slots or 0)
        return
    interval = _joint_interval(tied)
    if interval is not None:
        yield f"interval {interval}s for each of {', '.join(other.name for other in tied)}, which share users"
    if others:
        yield from _own_remedies(job, (job.allowed_slots or 0) - others)
        yield "users of its own"
    else:
        yield f"users of its own and {next(_own_remedies(job, job.allowed_slots or 0))}"


def _joint_interval(tied: Sequence[Job]) -> int | None:
    """Return the smallest interval in whole seconds at which all of these together hold no more slots than each allows.

    A target whose interval is longer already keeps it.
    """
    low, high = ceil(min(job.interval for job in tied)), MAX_INTERVAL_SECONDS + 1
    while low < high:
        middle = (low + high) // 2
        if _is_safe(tied, middle):
            high = middle
        else:
            low = middle + 1
    return low if low <= MAX_INTERVAL_SECONDS else None


def _is_safe(tied: Sequence[Job], seconds: int) -> bool:
    slowed_jobs = [
        job if job.interval >= seconds else replace(job, cadence=Cadence.of(job.name, seconds)) for job in tied
    ]
    total = user_peaks(slowed_jobs)
    return all(_max_user_slots(job, total) <= max(job.allowed_slots or 0, 0) for job in slowed_jobs)


def _own_remedies(job: Job, allowed: int) -> Iterator[str]:
    """Yield the smallest change of one setting by which this target holds at most `allowed` slots of a user."""
    if allowed >= 1:
        interval = _safe_interval(job, allowed)
        if interval is not None:
            yield f"interval {interval}s"
        yield _plural(ceil(job.slot_pattern.max_slots(job.window_cycles) / allowed), "identity")
        every = job.window_cycles // (allowed * len(job.users)) + 1
        if job.tokenless and every <= MAX_EVERY:
            names = [f"probes.{probe}.every" for probe in job.probes if probe is not Probe.CONNECT]
            yield f"{' and '.join(names)} {every}"


def _safe_interval(job: Job, allowed: int) -> int | None:
    """Return the smallest safe interval in whole seconds, by bisection: a longer interval never needs more slots."""
    low, high = ceil(job.interval), ceil(job.window) + 1
    while low < high:
        middle = (low + high) // 2
        span = to_microseconds(job.window) // to_microseconds(middle)
        if ceil(job.slot_pattern.max_slots(span) / len(job.users)) <= allowed:
            high = middle
        else:
            low = middle + 1
    return low if low <= MAX_INTERVAL_SECONDS else None


def _safe_rate(jobs: Sequence[Job], permitted: int) -> int | None:
    """Return an interval in whole seconds at which these connects keep the rate; the smallest below 100 s."""
    seconds = max(ceil(60 * len(jobs) / permitted), int(max(job.open_for for job in jobs)) + 1)
    while seconds <= MAX_INTERVAL_SECONDS:
        if max_connects([Cadence.of(job.name, seconds) for job in jobs], MINUTE_MICROSECONDS) <= permitted:
            return seconds
        seconds += max(1, seconds // 100)
    return None
