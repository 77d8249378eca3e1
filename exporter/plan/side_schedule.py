"""When the side probes of a target run, and what each run costs.

Rule 1: frozen values; `side_schedulers` makes them.
"""

from dataclasses import dataclass
from typing import NamedTuple

from exporter.config import BackendLimits, Profile, Target
from exporter.plan.cadence import BetweenCycles, Cadence
from exporter.result import SideProbe


@dataclass(frozen=True, slots=True)
class SideSchedule:
    """One cadence of a side probe.

    variant: which of the probe's questions runs by it, such as a case of the refusal probe; empty: there is only one
    field: the setting that switches it on, below the target, for problems of the plan
    cadence: when its runs are due
    sessions: connections that one run opens within a minute at worst
    identity, user: the alias as which they speak, and its `budget.user_key`; None: anonymous
    slots: the most slots of this user that they hold at once
    settings: what a run that lasts has been opened with; while it differs, the run is ended and another one begins
    opens_sessions: False: a run is one HTTP request to the target's host, without the request before the upgrade
    """

    probe: SideProbe
    variant: str
    field: str
    cadence: Cadence | BetweenCycles
    sessions: int = 1
    identity: str | None = None
    user: str | None = None
    slots: int = 0
    settings: tuple[str | float | None, ...] = ()
    opens_sessions: bool = True

    @property
    def name(self) -> str:
        """Its name for a person."""
        return f"{self.probe} {self.variant}".rstrip()

    @property
    def interval(self) -> float:
        """Seconds between two runs."""
        return self.cadence.interval_us / 1e6


class SideContext(NamedTuple):
    """What the schedules of a target's side probes depend on. `limits`: merged; `authority`: as of `Job`."""

    target: Target
    profile: Profile
    limits: BackendLimits
    authority: str
