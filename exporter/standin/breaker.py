"""The circuit breakers before the login (docs/backend-protocol.md#breakers).

Rule 1: no clock: the time is an argument. Rule 2: malformed and missing tokens are not counted here.
"""

from collections import deque
from typing import Final

MIN_OPENING_FAILURES: Final = 3
"""Consecutive failures that open the breaker."""
OPENING_FAILURE_RATE: Final = 0.8
"""Share of failures among the last calls that opens the breaker, after at least `MIN_CALLS` calls."""
MIN_CALLS: Final = 3
OPENING_LOGIN_FAILURES: Final = 5
"""Consecutive failed logins that open the endpoint's own breaker on later versions."""
WINDOW_CALLS: Final = 10
"""Calls over which the rate is computed. Not observed; alternating good and bad tokens must not open it."""


class AuthBreaker:
    """Closed, open for `open_for` seconds, then half-open: one success closes it, one failure opens it again.

    `failures`: consecutive failures that open it. `by_rate`: a share of failures opens it, too. `openings`: how often
    it has opened. The auth service has a further breaker (5 failures, 5 s) that is invisible from outside: left out.
    """

    def __init__(self, open_for: float, failures: int = MIN_OPENING_FAILURES, *, by_rate: bool = True) -> None:
        self._open_for = open_for
        self._failures = failures
        self._by_rate = by_rate
        self.openings = 0
        self._opened: float | None = None
        self._calls: deque[bool] = deque(maxlen=WINDOW_CALLS)

    def allows(self, now: float) -> bool:
        """True unless it is open."""
        return self._opened is None or now - self._opened >= self._open_for

    def record(self, now: float, *, ok: bool) -> None:
        """Record the outcome of an allowed call."""
        half_open = self._opened is not None
        self._calls.append(ok)
        trips = not ok if half_open else self._trips()
        self._opened = now if trips else None
        self.openings += trips
        if trips or half_open:
            self._calls.clear()

    def _trips(self) -> bool:
        calls = list(self._calls)
        consecutive = len(calls) >= self._failures and not any(calls[-self._failures :])
        by_rate = self._by_rate and len(calls) >= MIN_CALLS and calls.count(False) >= OPENING_FAILURE_RATE * len(calls)
        return consecutive or by_rate
