"""When the figures of a target's backend are read."""

from collections.abc import Iterator

from exporter.plan.cadence import Cadence
from exporter.plan.side_schedule import SideContext, SideSchedule
from exporter.result import SideProbe


def stats_schedules(context: SideContext) -> Iterator[SideSchedule]:
    """Yield the reads, each of them one HTTP request that takes no slot."""
    target = context.target
    if target.stats is not None:
        cadence = Cadence.of(f"{target.name}/stats", target.stats.every)
        yield SideSchedule(SideProbe.STATS, variant="", field="stats", cadence=cadence, opens_sessions=False)
