"""When a leak canary runs: its rounds, how many connections a round has, and how far they are apart.

Rule 1: the pace alone keeps the canary within its slots, so that a restart without a state file takes no slot too many:
as many connections as it has slots take at least one `window`, the longest time that a slot is held.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from typing import Final, Self

from exporter.budget import user_key
from exporter.plan.cadence import Cadence
from exporter.plan.side_schedule import SideContext, SideSchedule
from exporter.result import SideProbe

WINDOWS_PER_ROUND: Final = 2
"""Windows of a round: the first one fills the slots, the second one shows whether they come back."""


@dataclass(frozen=True, slots=True)
class CanaryPace:
    """The connections of a round are due `spacing` seconds apart.

    opens: slots that the canary may hold; a round has `WINDOWS_PER_ROUND` times as many connections
    """

    opens: int
    spacing: float

    @classmethod
    def of(cls, opens: int, window: float) -> Self:
        """Make the pace of `opens` slots, each of which is held for `window` seconds at most."""
        return cls(opens, ceil(window * 1000 / opens) / 1000)

    @property
    def connects(self) -> int:
        """Connections of a round."""
        return WINDOWS_PER_ROUND * self.opens

    @property
    def length(self) -> float:
        """Seconds from the begin of a round until the next one may begin."""
        return self.connects * self.spacing

    def max_connects(self, seconds: float) -> int:
        """Return the most connections of a round within a time of that length."""
        return min(self.connects, ceil(seconds / self.spacing))


def canary_schedules(context: SideContext) -> Iterator[SideSchedule]:
    """Yield the rounds of the leak canary; none if it has no slot to learn from, which `canary_problems` says."""
    target, canary = context.target, context.target.canary
    allowed = context.limits.slots_per_identity - context.limits.reserve
    if canary is None or allowed < 1:
        return
    pace = CanaryPace.of(allowed, context.limits.slot_release + target.timeout + target.close_timeout)
    for alias, subject in canary.identity.items():
        yield SideSchedule(
            SideProbe.CANARY,
            variant="",
            field="canary",
            cadence=Cadence.of(f"canary of {target.name}", canary.every),
            sessions=pace.max_connects(60),
            identity=alias,
            user=user_key(context.authority, subject),
            slots=pace.opens,
        )
