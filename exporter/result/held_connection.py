"""What a held connection shows at one moment (docs/hold.md). Moments are unix seconds, durations seconds."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from exporter.result.words import FactoryReason, HoldEnd, Initiator, LineLevel, Phase, Reason


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """Answers on the connection that was opened last. `last`, `slowest`: seconds; `last_at`: when the last one came."""

    last: float
    slowest: float
    last_at: float


@dataclass(frozen=True, slots=True)
class Heartbeats:
    """The server's heartbeats of one level, on the connection that was opened last.

    `interval`: seconds between two, as the welcome announces (`announced`) or as learned; None: not known.
    `last_at`: when the last one came; None: none has.
    `lost`: whether they stay out.
    """

    interval: float | None = None
    announced: bool = False
    last_at: float | None = None
    lost: bool = False


@dataclass(frozen=True, slots=True)
class ConnectionEnd:
    """How a held connection ended. `age`: seconds after its opening.

    `expected`: whether nothing is looked for after it.
    `close_code`: of the close frames; None: the server sent none. `closed_by`: who closed first.
    """

    how: HoldEnd
    ended_at: float
    age: float
    expected: bool
    close_code: int | None = None
    closed_by: Initiator = Initiator.NONE


@dataclass(frozen=True, slots=True)
class FailedOpening:
    """A session that brought no connection, and why."""

    failed_at: float
    phase: Phase | None
    reason: Reason | None
    factory_reason: FactoryReason | None = None


@dataclass(frozen=True, slots=True)
class HeldConnection:
    """The held connection of one target.

    `opened_at`: None while none is open. `quiet`: it sends no ping and no request.
    `deaf_since`: since when requests are not answered; None: the last one was, or none was due.
    `round_trips`: of pings (protocol) and requests (application).
    `last_end`: None before the first. `failed_opening`: the last opening, if it failed.
    `idle_cut`, `age_cut`: seconds after which the path cuts, 0: it does not, None: not known.
    """

    opened_at: float | None = None
    quiet: bool = False
    deaf_since: float | None = None
    round_trips: Mapping[LineLevel, RoundTrip] = field(default_factory=dict)
    heartbeats: Mapping[LineLevel, Heartbeats] = field(default_factory=dict)
    last_end: ConnectionEnd | None = None
    failed_opening: FailedOpening | None = None
    idle_cut: float | None = None
    age_cut: float | None = None
