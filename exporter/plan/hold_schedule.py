"""When a target's held connection may be opened, and what it holds.

Rule 1: openings are due at fixed moments, `reconnect` apart: what opens and ends in a loop costs one connect per
`reconnect`, and its slots are counted beforehand.
"""

from collections.abc import Iterator
from math import ceil

from exporter.budget import user_key
from exporter.config import Hold
from exporter.plan.cadence import Cadence
from exporter.plan.side_schedule import SideContext, SideSchedule
from exporter.result import SideProbe


def held_slots(hold: Hold, slot_release: float) -> int:
    """Return the most slots at once: of the open connection, and of those before it that are not yet released."""
    return 1 + ceil(slot_release / hold.reconnect)


def hold_schedules(context: SideContext) -> Iterator[SideSchedule]:
    """Yield the openings of the held connection."""
    target, hold = context.target, context.target.hold
    if hold is None:
        return
    for alias, subject in hold.identity.items() or ((None, None),):
        yield SideSchedule(
            SideProbe.HOLD,
            variant="",
            field="hold",
            cadence=Cadence.of(f"{target.name}/hold", hold.reconnect),
            identity=alias,
            user=None if subject is None else user_key(context.authority, subject),
            slots=0 if subject is None else held_slots(hold, context.limits.slot_release),
            settings=(target.url, target.address, hold.max_age, hold.ping, hold.ask, hold.quiet),
        )
