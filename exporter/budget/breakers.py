"""Whether one more login may be tried without opening a circuit breaker of the backend.

Rule 1: the failure that would open the breaker (number `opens_at` in a row) is never risked: failed logins, logins
under way and the requested one are at most `opens_at` − 1. A connect without a token leaves room for two more failures,
those of a token and of another key; a connect that a person asks for leaves room for one.
Rule 2: the last attempt is reserved for another key. A rejected key may use it only if it was accepted before and
`MAX_RETRY_INTERVALS` times `auth_retry` have passed: by then the key has not been changed, and the backend may have
recovered. A key that was accepted last is never held up, whatever other sessions and keys do: its probes must not go
blind, and its success is what resets the breaker.
Rule 3: failures before the ledger's first event are unknown and count as none; a state file keeps them.
"""

import math
from collections.abc import Iterator
from typing import Final

from exporter.budget.ledger_state import KeyBreaker
from exporter.budget.login_streak import NO_TOKEN_EVENT, REJECTED_EVENT, LoginStreak
from exporter.budget.session_cost import Refusal, SessionCost
from exporter.config import BreakerSettings
from exporter.result import Holdup, SkipCause, Trigger

MAX_RETRY_INTERVALS: Final = 6
"""Multiples of `auth_retry` for which the last attempt stays reserved after an accepted key was rejected."""
RESERVED_FAILURES: Final = 2
"""Failures that scheduled connects without a token leave: those of a token and of another key."""
BREAKER_TEXTS: Final = {
    Holdup.VERDICT: "the backend's breaker waits for the end of another login",
    Holdup.BREAKER_TOKEN: "one rejected token more may open the backend's breaker",
    Holdup.BREAKER_CONNECT: "one connect without a token more may open the backend's breaker",
}


def max_connects_without_token(breaker: BreakerSettings) -> int | None:
    """Return how many scheduled connects without a token may follow a login; None: the breaker does not count them."""
    if NO_TOKEN_EVENT not in breaker.counts:
        return None
    most = breaker.opens_at - 1
    return max(most - RESERVED_FAILURES, min(1, most - 1))


def breaker_refusal(
    request: SessionCost, streak: LoginStreak, key_breaker: KeyBreaker | None, now: float
) -> Refusal | None:
    """Return the refusal of the first breaker that does not permit this login; None if all permit it."""
    for breaker in request.breakers:
        check = _BreakerCheck(request, breaker, streak, key_breaker)
        if not check.allows(now):
            return check.refusal(now)
    return None


class _BreakerCheck:
    """One breaker and one requested login."""

    def __init__(
        self, request: SessionCost, breaker: BreakerSettings, streak: LoginStreak, key_breaker: KeyBreaker | None
    ) -> None:
        self._breaker = breaker
        self._streak = streak
        self._tokenless = not request.sends_token
        self._forged = request.forged
        self._unscheduled = request.unscheduled
        self._side_probe = request.trigger is Trigger.SIDE_PROBE
        self._accepted_last = key_breaker is not None and key_breaker.accepted_last
        self._reserved_until = _reserved_until(request, key_breaker)

    def allows(self, moment: float, *, in_flight: bool = True) -> bool:
        """Whether the login is safe at that moment; `in_flight` False: assuming that logins under way all succeed."""
        kind = NO_TOKEN_EVENT if self._tokenless else REJECTED_EVENT
        if self._accepted_last or kind not in self._breaker.counts:
            return True
        failures = self._streak.possible_failures(self._breaker, moment, in_flight=in_flight)
        return failures + 1 <= self._max_failures(moment)

    def _max_failures(self, moment: float) -> int:
        most = self._breaker.opens_at - 1
        if self._tokenless:
            rejected = any(failure.kind == REJECTED_EVENT for failure in self._streak.failures)
            if rejected and self._side_probe:
                return 0  # what is left is for the tokens whose verdict is awaited
            reserved = 1 if self._unscheduled or rejected else RESERVED_FAILURES
            return max(most - reserved, min(1, most - 1))
        if self._forged:
            return most - 1  # leaves room for a good token that fails
        return max(1, most - 1) if moment < self._reserved_until else most

    def refusal(self, now: float) -> Refusal:
        """Return the refusal, with the moment at which time alone permits the login, if there is one."""
        if self.allows(now, in_flight=False):
            return Refusal(SkipCause.RESTING, Holdup.VERDICT, BREAKER_TEXTS[Holdup.VERDICT])
        holdup = Holdup.BREAKER_CONNECT if self._tokenless else Holdup.BREAKER_TOKEN
        until = min((at for at in self._change_times() if now < at < math.inf and self.allows(at)), default=None)
        return Refusal(SkipCause.RESTING, holdup, BREAKER_TEXTS[holdup], until)

    def _change_times(self) -> Iterator[float]:
        """Moments at which `allows` may change by time alone."""
        yield self._reserved_until
        yield from self._streak.change_times(self._breaker)


def _reserved_until(request: SessionCost, key_breaker: KeyBreaker | None) -> float:
    if key_breaker is None or not key_breaker.rejections:
        return -math.inf
    if not key_breaker.accepted_before:
        return math.inf
    return key_breaker.judged_at + MAX_RETRY_INTERVALS * request.auth_retry
