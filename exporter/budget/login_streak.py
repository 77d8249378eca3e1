"""What a backend's circuit breakers have counted: failed logins in a row, and logins under way that may fail.

Rule 1: this module keeps events; the profile says which of them a breaker counts and how many open it
(`config.BreakerSettings`).
Rule 2: in doubt a login counts as failed: a login whose end was not seen counts for `LOST_LOGIN_SECONDS`.
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
"""Ends of a session after which a breaker is at 0: a token was accepted, or the server's process is a new one."""
LOGIN_EVENTS: Final = frozenset({REJECTED_EVENT, NO_TOKEN_EVENT, *RESET_EVENTS})
MAX_LOGIN_EVENTS: Final = 1000
"""Failures kept of one backend: every breaker opens before that."""
LOST_LOGIN_SECONDS: Final = 3600.0
"""Seconds for which a login that a crash cut off counts as failed, unless its key was accepted before."""
EVENT_RETENTION_SECONDS: Final = 30 * 86_400.0
"""Seconds after which an unused backend is forgotten. Long, because a breaker's count does not decay."""


@dataclass(slots=True)
class FailedLogin:
    """A failed login. `kind`: `REJECTED_EVENT` or `NO_TOKEN_EVENT`; `at`: its end, unix seconds."""

    kind: str
    at: float


@dataclass(slots=True)
class PendingLogin:
    """A login under way.

    kind: what it counts as if it fails
    span: its latest possible duration
    key_accepted: whether its key was accepted last
    """

    kind: str
    span: TimeSpan
    key_accepted: bool

    @property
    def uncertain_until(self) -> float:
        """Until when the login counts as failed if its end is not seen."""
        return self.span.until if self.key_accepted else self.span.until + LOST_LOGIN_SECONDS


@dataclass(slots=True)
class LoginStreak:
    """Failed logins at one backend.

    reset_at: when its breakers were last known to be at 0, unix seconds; −inf: never
    failures: failed logins since then, oldest first
    pending: logins under way, by run
    proven_at: when the last login began whose token was let in, unix seconds; −inf: never
    forged_span: when a token that must be refused was last on its way
    """

    reset_at: float = -math.inf
    failures: list[FailedLogin] = field(default_factory=list)
    pending: dict[str, PendingLogin] = field(default_factory=dict)
    proven_at: float = -math.inf
    forged_span: TimeSpan = field(default_factory=TimeSpan)

    def begin_login(self, run: str, login: PendingLogin) -> None:
        """Record a login under way."""
        self.pending[run] = login

    def end_login(self, run: str, outcome: str | None, now: float) -> None:
        """Record how a login ended (`LOGIN_EVENTS`); None: the session did not reach the backend's login."""
        login = self.pending.pop(run, None)
        if outcome == SUCCESS_EVENT and login is not None:
            self.proven_at = max(self.proven_at, login.span.start)
        if outcome in RESET_EVENTS:
            self.reset(now if login is None else login.span.start)
        elif outcome is not None:
            self.add_failure(FailedLogin(outcome, now))

    def add_failure(self, failure: FailedLogin) -> None:
        """Record one failed login."""
        self.failures = [*self.failures[-MAX_LOGIN_EVENTS + 1 :], failure]

    def reset(self, moment: float) -> None:
        """Forget logins that ended before this moment; later ones may have failed after the success."""
        self.reset_at = max(self.reset_at, moment)
        self.failures = [failure for failure in self.failures if failure.at > moment]
        self.pending = {run: login for run, login in self.pending.items() if login.span.until > moment}

    def possible_failures(self, breaker: BreakerSettings, now: float, *, in_flight: bool = True) -> int:
        """Return the highest count the breaker may have; `in_flight`: logins under way are counted as failed."""
        after = -math.inf if breaker.window is None else now - breaker.window
        failed = sum(failure.kind in breaker.counts and failure.at > after for failure in self.failures)
        uncertain = [login for login in self.pending.values() if login.kind in breaker.counts]
        return failed + sum(
            now < login.uncertain_until and (in_flight or login.span.until <= now) for login in uncertain
        )

    def change_times(self, breaker: BreakerSettings) -> Iterator[float]:
        """Moments at which `possible_failures` may fall by time alone."""
        yield from (login.uncertain_until for login in self.pending.values())
        if breaker.window is not None:
            yield from (failure.at + breaker.window for failure in self.failures)

    def is_relevant(self, now: float) -> bool:
        """Whether the streak must be kept."""
        ends = [*(failure.at for failure in self.failures), *(login.span.until for login in self.pending.values())]
        return max([self.reset_at, self.proven_at, self.forged_span.until, *ends]) + EVENT_RETENTION_SECONDS > now
