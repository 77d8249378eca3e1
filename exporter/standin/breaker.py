"""The circuit breaker before the auth service (protocol page section 1, "What happens to the token").

Rule 1: no clock: the time comes in. Rule 2: malformed and missing tokens never come here.
"""

from collections import deque
from typing import Final

FAILURES: Final = 3
"""Consecutive failures that open it."""
RATE: Final = 0.8
"""Share of failures among the last calls that opens it, once there were `LEAST` calls."""
LEAST: Final = 3
WINDOW: Final = 10
"""Calls the rate is taken over. Not observed; alternating good and bad tokens must not trip it."""


class Breaker:
    """Closed, open for `open_for` seconds, then half-open: one success closes it, one failure opens it again.

    The second breaker inside the first (5 failures, 5 s) is left out: it can never be seen from outside.
    """

    def __init__(self, open_for: float) -> None:
        self._open_for = open_for
        self._opened: float | None = None
        self._calls: deque[bool] = deque(maxlen=WINDOW)

    def allows(self, now: float) -> bool:
        """True unless it is open."""
        return self._opened is None or now - self._opened >= self._open_for

    def record(self, now: float, *, ok: bool) -> None:
        """Tell how an allowed call went."""
        if self._opened is not None:
            self._opened = None if ok else now
            self._calls.clear()
            return
        self._calls.append(ok)
        if self._trips():
            self._opened = now
            self._calls.clear()

    def _trips(self) -> bool:
        calls = list(self._calls)
        consecutive = len(calls) >= FAILURES and not any(calls[-FAILURES:])
        return consecutive or (len(calls) >= LEAST and calls.count(False) >= RATE * len(calls))
