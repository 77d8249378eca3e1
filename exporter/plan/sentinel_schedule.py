"""When the sentinel of a target connects."""

from collections.abc import Iterator

from exporter.plan.cadence import BetweenCycles, Cadence, to_microseconds
from exporter.plan.side_schedule import SideContext, SideSchedule
from exporter.result import SideProbe


def sentinel_schedules(context: SideContext) -> Iterator[SideSchedule]:
    """Yield the connects of the sentinel, which take no slot; a cycle connects too, so that none is due beside one."""
    target = context.target
    if target.sentinel is not None:
        cadence = BetweenCycles(Cadence.of(target.name, target.interval), to_microseconds(target.sentinel.every))
        yield SideSchedule(SideProbe.SENTINEL, variant="", field="sentinel", cadence=cadence)
