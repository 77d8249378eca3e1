"""Runs a plan: one session per due cycle, and confirm runs after a first failure. Every cycle has an outcome.

Rule 1: the scheduler knows jobs and a callback. The ledger decides whether a session may open; the sinks record it.
Rule 2: every due cycle ends in exactly one recorded cycle, skip or impairment.
Rule 3: jobs are added, removed and changed one by one while cycles run. A target switches to its new job between two
cycles, so that each cycle is recorded for the job that ran it. Of a removed target nothing is recorded.
Rule 4: APScheduler only wakes this package.

`cycles` runs them · `confirmation` confirms a failure · `repetition` asks again where nobody else may ·
`target_schedule` is the state of one target · `wakeups` knows APScheduler.
"""

from exporter.scheduler.cycles import (
    DEAD_ALARM_SECONDS,
    FINISH_GRACE_SECONDS,
    MAX_LATE_SECONDS,
    STOP_GRACE_SECONDS,
    Scheduler,
)
from exporter.scheduler.target_schedule import ResultSinks

__all__ = [
    "DEAD_ALARM_SECONDS",
    "FINISH_GRACE_SECONDS",
    "MAX_LATE_SECONDS",
    "STOP_GRACE_SECONDS",
    "ResultSinks",
    "Scheduler",
]
