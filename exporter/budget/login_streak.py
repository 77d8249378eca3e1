"""What a backend's circuit breakers have counted of ours: failed logins in a row, and those that may become one.

Rule 1: events only; which of them a breaker counts, and how many it bears, is said by the profile
(`config.BreakerSettings`).
Rule 2: a doubt is decided for the backend: an attempt whose end nobody saw counts as failed, for `LOST_LOGIN_SECONDS`.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from exporter.budget.time_span import TimeSpan
from exporter.config import BreakerSettings

REJECTED_EVENT: Final = "rejected"
NO_TOKEN_EVENT: Final = "no_token"  # noqa: S105
SUCCESS_EVENT: Final = "success"
RESTART_EVENT: Final = "restart"
RESET_EVENTS: Final = frozenset({SUCCESS_EVENT, RESTART_EVENT})
"""Ends of a session after which a breaker stands at 0: a token was let in, or the server's process is a new one."""
LOGIN_EVENTS: Final = frozenset({REJECTED_EVENT, NO_TOKEN_EVENT, *RESET_EVENTS})
MAX_LOGIN_EVENTS: Final = 1000
"""Events kept of one backend: no breaker bears more."""
LOST_LOGIN_SECONDS: Final = 3600.0
"""Seconds for which a login counts as failed that a crash cut off, unless its key was let in before."""
EVENT_RETENTION_SECONDS: Final = 30 * 86_400.0
"""Seconds after which a backend that nobody connects to is forgotten: what its breaker counted does not decay."""


@dataclass(slots=True)
class FailedLogin:
    """A failed login, and when it was over."""

    kind: str
    at: float


@dataclass(slots=True)
class PendingLogin:
    """A login under way, and what it is if it fails. `sure`: with a key that was let in last."""

    kind: str
    span: TimeSpan
    sure: bool

    @property
    def doubted_until(self) -> float:
        """Until when it counts as failed if nobody sees its end."""
        return self.span.until if self.sure else self.span.until + LOST_LOGIN_SECONDS


@dataclass(slots=True)
class LoginStreak:
    """One backend: failed logins since its breakers were last known to stand at 0 (`reset`; −inf: never seen)."""

    reset: float = -math.inf
    counted: list[FailedLogin] = field(default_factory=list)
    attempts: dict[str, PendingLogin] = field(default_factory=dict)

    def begin(self, run: str, attempt: PendingLogin) -> None:
        """Note a login under way."""
        self.attempts[run] = attempt

    def end(self, run: str, outcome: str | None, now: float) -> None:
        """Note how it ended (`LOGIN_EVENTS`); None: the backend's login had no part in it."""
        attempt = self.attempts.pop(run, None)
        if outcome in RESET_EVENTS:
            self.reset_at(now if attempt is None else attempt.span.start)
        elif outcome is not None:
            self.count(FailedLogin(outcome, now))

    def count(self, event: FailedLogin) -> None:
        """Note one failed login."""
        self.counted = [*self.counted[-MAX_LOGIN_EVENTS + 1 :], event]

    def reset_at(self, moment: float) -> None:
        """Forget what was over before this moment; what ended later may have come after the success."""
        self.reset = max(self.reset, moment)
        self.counted = [event for event in self.counted if event.at > moment]
        self.attempts = {run: one for run, one in self.attempts.items() if one.span.until > moment}

    def height(self, breaker: BreakerSettings, now: float, *, in_flight: bool = True) -> int:
        """How high the breaker may stand; `in_flight`: with logins that are under way counted as failed."""
        after = -math.inf if breaker.window is None else now - breaker.window
        failed = sum(event.kind in breaker.counts and event.at > after for event in self.counted)
        unseen = (one for one in self.attempts.values() if one.kind in breaker.counts and now < one.doubted_until)
        return failed + sum(in_flight or one.span.until <= now for one in unseen)

    def turning_points(self, breaker: BreakerSettings) -> Iterator[float]:
        """Moments at which `height` may fall by time alone."""
        yield from (one.doubted_until for one in self.attempts.values())
        if breaker.window is not None:
            yield from (event.at + breaker.window for event in self.counted)

    def matters(self, now: float) -> bool:
        """Whether it must be kept."""
        latest = max(
            [self.reset, *(event.at for event in self.counted), *(one.span.until for one in self.attempts.values())]
        )
        return latest + EVENT_RETENTION_SECONDS > now
