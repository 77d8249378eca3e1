"""Makes the schedules of a target's side probes.

Rule 1: each side probe has one function here, which yields nothing while the target has it switched off.
"""

from collections.abc import Callable, Iterator
from typing import Final

from exporter.plan.canary_schedule import canary_schedules
from exporter.plan.hold_schedule import hold_schedules
from exporter.plan.refusal_schedule import refusal_schedules
from exporter.plan.sentinel_schedule import sentinel_schedules
from exporter.plan.side_schedule import SideContext, SideSchedule
from exporter.plan.stats_schedule import stats_schedules

SCHEDULERS: Final[tuple[Callable[[SideContext], Iterator[SideSchedule]], ...]] = (
    canary_schedules,
    sentinel_schedules,
    refusal_schedules,
    hold_schedules,
    stats_schedules,
)


def side_schedules(context: SideContext) -> tuple[SideSchedule, ...]:
    """Return the cadences of all side probes that the target has switched on."""
    return tuple(schedule for schedules in SCHEDULERS for schedule in schedules(context))
