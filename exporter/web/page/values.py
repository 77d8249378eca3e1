"""What the page shows, as frozen values. Times in unix seconds, durations in seconds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from exporter.budget import IdentityStatus
from exporter.history import CycleMark, StateKind, TargetState
from exporter.history.history import CloseKey, FailureKey
from exporter.report import UNKNOWN_CONTEXT, TargetContext
from exporter.result import HeldConnection, Result

SEVERITY_ORDER: Final = (StateKind.FAILING, StateKind.IMPAIRED, StateKind.UNKNOWN, StateKind.PASSING)
"""The states, gravest first."""


class TargetStanding(NamedTuple):
    """A target and its state."""

    name: str
    state: TargetState


@dataclass(frozen=True, slots=True)
class TargetRow:
    """The values of a target's line.

    `url`: as `report.public_url` makes it. `marks`: the last cycles, oldest first. `last`: the last session.
    `first_by`: when the first session begins at the latest, while the target waits for its start; else None.
    `held`: what its held connection shows; None: it holds none.
    """

    name: str
    url: str
    interval: float
    state: TargetState
    marks: Sequence[CycleMark] = ()
    last: Result | None = None
    identities: tuple[IdentityStatus, ...] = ()
    first_by: float | None = None
    held: HeldConnection | None = None


@dataclass(frozen=True, slots=True)
class TargetCard:
    """Everything about a target.

    `closes`, `reasons`: counts of the last `hours`. `failures`: newest first.
    `learned`: slots per user, as the backend has said; None if unknown.
    `context`: what explains the failures.
    `host_cooldown_until`: until when a 429 keeps the exporter from connecting; None if none does.
    """

    row: TargetRow
    hours: float
    closes: Mapping[CloseKey, int] = field(default_factory=dict)
    reasons: Mapping[FailureKey, int] = field(default_factory=dict)
    failures: Sequence[Result] = ()
    learned: int | None = None
    context: TargetContext = UNKNOWN_CONTEXT
    host_cooldown_until: float | None = None


@dataclass(frozen=True, slots=True)
class ExporterHealth:
    """The health of the exporter itself.

    `origin`: the name of the place that it probes from; None: it has none.
    `loop_lag`: seconds by which the loop was late at worst in the last minute.
    `sessions`, `skips`: since the start. `distorted`: sessions whose durations a late loop has spoiled.
    `last_scrape`: None before the first. `begins_by`: until when the first sessions wait for a scrape.
    `unhealthy_reason`: a sentence if the exporter does not do its work, else None.
    """

    version: str
    started_at: float
    config_ok: bool
    config_at: float
    loop_lag: float = 0.0
    sessions: int = 0
    distorted: int = 0
    skips: Mapping[str, int] = field(default_factory=dict)
    last_scrape: float | None = None
    begins_by: float | None = None
    unhealthy_reason: str | None = None
    origin: str | None = None
