"""What the page shows, as frozen values. Times in unix seconds, durations in seconds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from exporter.history import CycleMark, StateKind, TargetState
from exporter.history.history import CloseKey, FailureKey
from exporter.report import UNKNOWN_CONTEXT, TargetContext
from exporter.result import Holdup, Result

SEVERITY_ORDER: Final = (StateKind.FAILING, StateKind.IMPAIRED, StateKind.UNKNOWN, StateKind.PASSING)
"""The words of a state, gravest first."""


class TargetStanding(NamedTuple):
    """A target and how it does."""

    name: str
    state: TargetState


@dataclass(frozen=True, slots=True)
class IdentityRow:
    """What the ledger says of one identity. `budget`: slots that it may hold, None for no limit.

    `holdup`, `until`: why its turns send no token for now, and until when (None: by no time).
    """

    alias: str
    held: int
    budget: int | None
    resting: bool
    holdup: Holdup | None = None
    until: float | None = None


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
    identities: tuple[IdentityRow, ...] = ()
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
    """How the exporter itself does. `ill`: a sentence if it does not do its work; `skips`, `sessions` since the start.

    `loop_lag`: seconds by which the loop was late at worst in the last minute; `distorted`: sessions that suffered by
    it. `last_scrape` None: none since the start; `begins_by`: when the first sessions wait for one no more.
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
    ill: str | None = None
