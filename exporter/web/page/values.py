"""What the page shows, as frozen values. Times in unix seconds, durations in seconds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from exporter.budget import IdentityStatus
from exporter.history import CycleMark, StateKind, TargetState
from exporter.history.history import CloseKey, FailureKey
from exporter.report import UNKNOWN_CONTEXT, TargetContext
from exporter.result import Result

SEVERITY_ORDER: Final = (StateKind.FAILING, StateKind.IMPAIRED, StateKind.UNKNOWN, StateKind.PASSING)
"""The words of a state, gravest first."""


class TargetStanding(NamedTuple):
    """A target and how it does."""

    name: str
    state: TargetState


@dataclass(frozen=True, slots=True)
class TargetRow:
    """What one line shows. `url` as `report.public_url` makes it; `last`: the last session; `marks`: oldest first.

    `first_by`: when the first session begins at the latest, while the target waits for its start.
    """

    name: str
    url: str
    interval: float
    state: TargetState
    marks: Sequence[CycleMark] = ()
    last: Result | None = None
    identities: tuple[IdentityStatus, ...] = ()
    first_by: float | None = None


@dataclass(frozen=True, slots=True)
class TargetCard:
    """A row, and all that is known of the target. `failures`: newest first.

    `context`: what explains its failures. `closes`, `reasons`: how often, in the last `hours`. `learned`: slots that
    the backend said it keeps per user; `host_cooldown_until`: a 429 sent us away until then.
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
