"""What APScheduler does here: it wakes the scheduler at each due moment, and decides nothing.

Its coalescing loses runs without an event, its instance limit drops them, and a backward step of the wall clock stops
it for as long. So coalescing is off, due moments are handed over inline, and a clock step re-plans every job.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from apscheduler.executors.base import BaseExecutor
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger

from exporter.plan import Job

_logger = logging.getLogger("exporter.scheduler")
logging.getLogger("apscheduler").setLevel(logging.CRITICAL)

MAX_MISSED_CYCLES: Final = 10_000
"""Due cycles of one target handed over at once: 14 hours of a stopped process at one cycle every 5 s."""


def next_due_time(job: Job, now: float) -> datetime:
    """Return when the job's next cycle is due, at `now` (unix seconds) or after."""
    cycle = job.cycle_at(now)
    return _due_time(job, cycle if job.due(cycle) >= now else cycle + 1)


def _due_time(job: Job, cycle: int) -> datetime:
    return datetime.fromtimestamp(job.due(cycle), UTC)


class WakeupScheduler(AsyncIOScheduler):  # type: ignore[misc]
    """Wakes up within the loop: APScheduler's own way is made for other threads and costs two system calls a cycle.

    Before it lists due cycles it checks for a step of the wall clock: after a step of 40 days the list would hold every
    cycle of 40 days and block the loop for minutes.
    """

    def __init__(self, look: Callable[[], None], **options: Any) -> None:
        super().__init__(**options)
        self._check_clock_step = look

    def wakeup(self) -> None:
        """Look at what is due at the next turn of the loop."""
        asyncio.get_running_loop().call_soon(AsyncIOScheduler.wakeup.__wrapped__, self)

    def _process_jobs(self) -> Any:
        self._check_clock_step()
        return super()._process_jobs()


class CycleTrigger(BaseTrigger):  # type: ignore[misc]
    """The due moments of a job's cycles, without drift.

    APScheduler asks for all of them from the last one it handed over up to `now`; after a gap only the last
    `MAX_MISSED_CYCLES` are returned, so that a clock step at the wrong moment cannot produce an endless list.
    """

    def __init__(self, job: Job) -> None:
        self._job = job

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime:
        """Return the due moment after `previous`."""
        if previous is None:
            return next_due_time(self._job, now.timestamp())
        # A datetime keeps microseconds: half an interval on, the cycle is beyond doubt.
        following = self._job.cycle_at(previous.timestamp() + self._job.interval / 2) + 1
        return _due_time(self._job, max(following, self._job.cycle_at(now.timestamp()) - MAX_MISSED_CYCLES))


class InlineExecutor(BaseExecutor):  # type: ignore[misc]
    """Hands over every due moment at once, without APScheduler's limits and events."""

    def __init__(self, on_due: Callable[[str, float], None]) -> None:
        super().__init__()
        self._on_due = on_due

    def submit_job(self, job: Any, run_times: list[datetime]) -> None:
        """Hand over each of the moments."""
        for moment in run_times:
            try:
                self._on_due(job.id, moment.timestamp() + 1e-6)
            except Exception:  # APScheduler would log it to its own logger, which is silent
                _logger.exception("a due cycle of %s broke: please report this", job.id)

    def _do_submit_job(self, job: Any, run_times: list[datetime]) -> None:
        raise AssertionError(f"unreachable: submit_job hands over itself: {job.id}, {run_times}")
