"""When the sentinel of a target connects."""

from collections.abc import Iterator

from exporter.plan.cadence import Cadence
from exporter.plan.side_schedule import SideContext, SideSchedule
from exporter.result import SideProbe


def sentinel_schedules(context: SideContext) -> Iterator[SideSchedule]:
    """Yield the connects of the sentinel, which take no slot."""
    target = context.target
    if target.sentinel is not None:
        cadence = Cadence.of(f"{target.name}/sentinel", target.sentinel.every)
        yield SideSchedule(SideProbe.SENTINEL, variant="", field="sentinel", cadence=cadence)
