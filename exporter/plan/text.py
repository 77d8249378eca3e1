"""The text of a plan for `run --config.check`: one aligned row per target, then one per host."""

from collections.abc import Iterator, Sequence

from exporter.plan.job import Job
from exporter.plan.planning import Plan
from exporter.plan.side_load import connects_a_minute

PLAN_COLUMNS = ("target", "cycle", "identities", "slots at most", "allowed", "spare", "room for confirm runs")
SIDE_COLUMNS = ("target", "side probe", "every", "connects a minute", "slots")


def plan_lines(plan: Plan) -> list[str]:
    """Return a row for each target's cycle and slots per identity, and one for each host's connects per minute.

    Between them stands a row for each schedule of a side probe, if there are any; slots and connects include theirs.
    """
    rows = [PLAN_COLUMNS, *(_row(job) for job in plan.jobs)]
    side_rows = [row for job in plan.jobs for row in _side_rows(job)]
    side = ["", *_aligned([SIDE_COLUMNS, *side_rows])] if side_rows else []
    return [*_aligned(rows), *side, "", *_aligned([("host", "connects a minute", "permitted"), *_hosts(plan.jobs)])]


def _row(job: Job) -> tuple[str, ...]:
    cycle = ", ".join(f"{probe} {job.interval * job.every(probe):g}s" for probe in job.probes)
    if job.allowed_slots is None or not job.users:
        return job.name, cycle, _pool(job), "-", "unlimited", "-", _room(job)
    most = max(job.peaks.values())
    return (
        job.name,
        cycle,
        _pool(job),
        _held(job, most),
        str(job.allowed_slots),
        str(job.allowed_slots - most),
        _room(job),
    )


def _side_rows(job: Job) -> Iterator[tuple[str, ...]]:
    for schedule in job.side_schedules:
        connects = str(connects_a_minute(schedule))
        slots = f"{schedule.slots} of {schedule.identity or 'a user of its own'}" if schedule.slots else "none"
        yield job.name, schedule.name, f"{schedule.interval:g}s", connects, slots


def _pool(job: Job) -> str:
    return str(len(job.users)) if job.users else "none"


def _held(job: Job, most: int) -> str:
    own = max(peak for _, _, peak in job.own_peaks())
    return f"{most} ({own} by itself)" if own != most else str(most)


def _room(job: Job) -> str:
    """Return the confirm runs that the spare slots of all identities permit while one slot is held."""
    if not job.confirm_runs:
        return "off"
    if len(job.users) == 1:
        return "none: needs a second identity"
    if job.allowed_slots is None or not job.users:
        return "unlimited"
    spare = sum(job.allowed_slots - peak for peak in job.peaks.values())
    return f"{spare} in {job.window:g}s" if spare else "none: no spare slot"


def _hosts(jobs: Sequence[Job]) -> Iterator[tuple[str, ...]]:
    rates = {
        host: (job.scheduled_rate if host == job.host else job.scheduled_before_rate, job.rate_of(host))
        for job in jobs
        for host in job.connects
    }
    for host, (scheduled, permitted) in rates.items():
        yield host, str(scheduled), "unlimited (loopback)" if permitted is None else str(permitted)


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return [line.rstrip() for line in lines]
