"""The circuit breakers before the login (docs/backend-protocol.md#breakers).

Rule 1: no clock: the time comes in. Rule 2: malformed and missing tokens never come here.
"""

from collections import deque
from typing import Final

MIN_OPENING_FAILURES: Final = 3
"""Consecutive failures that open it."""
OPENING_FAILURE_RATE: Final = 0.8
"""Share of failures among the last calls that opens it, once there were `MIN_CALLS` calls."""
MIN_CALLS: Final = 3
OPENING_LOGIN_FAILURES: Final = 5
"""Consecutive logins that fail, for whatever cause, which open the endpoint's own breaker on later trees."""
WINDOW_CALLS: Final = 10
"""Calls the rate is taken over. Not observed; alternating good and bad tokens must not trip it."""


class AuthBreaker:
    """Closed, open for `open_for` seconds, then half-open: one success closes it, one failure opens it again.

    `failures`: how many in a row open it; `by_rate`: so does a share of them. `openings`: how often it has opened.
    A third one (5 failures, 5 s) inside that of the auth service is left out: it can never be seen from outside.
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
        """Tell how an allowed call went."""
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
