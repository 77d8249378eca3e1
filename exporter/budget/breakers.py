"""Whether one login more may be tried without opening a circuit breaker of the backend.

Rule 1: the event that would be number `opens_at` in a row is never sent: logins that fail, those under way and the one
that is asked for are `opens_at` − 1 at most. A connect without a token leaves two of them, to a token and to another;
of a person who asks, one.
Rule 2: the last one is kept for another key. A key that was rejected has it only if it was let in before and
`MAX_RETRY_INTERVALS` times `auth_retry` are over: then nobody has changed it, and the backend's trouble may have
passed. A key that was let in last is never held up, neither by sessions under way nor by what other keys have done: it
would be blind for their sake, and its success is what resets the breaker.
Rule 3: what came before the ledger's birth is not known, and counts as nothing: a state file is what knows it.
"""

import math
from collections.abc import Iterator
from typing import Final

from exporter.budget.ledger_state import KeyBreaker
from exporter.budget.login_streak import NO_TOKEN_EVENT, REJECTED_EVENT, LoginStreak
from exporter.budget.session_cost import Refusal, SessionCost
from exporter.config import BreakerSettings
from exporter.result import Holdup, SkipCause

MAX_RETRY_INTERVALS: Final = 6
"""Times `auth_retry` after the rejection of a key that was good until which the last try is kept for another key."""
BREAKER_TEXTS: Final = {
    Holdup.VERDICT: "the backend's breaker waits for the end of another login",
    Holdup.BREAKER_TOKEN: "one rejected token more may open the backend's breaker",
    Holdup.BREAKER_CONNECT: "one connect without a token more may open the backend's breaker",
}


def breaker_refusal(request: SessionCost, streak: LoginStreak, guard: KeyBreaker | None, now: float) -> Refusal | None:
    """Why not; None if no breaker has anything against it."""
    for breaker in request.breakers:
        limit = _BreakerCheck(request, breaker, streak, guard)
        if not limit.allows(now):
            return limit.refusal(now)
    return None


class _BreakerCheck:
    """One breaker, asked for one login."""

    def __init__(
        self, request: SessionCost, breaker: BreakerSettings, streak: LoginStreak, guard: KeyBreaker | None
    ) -> None:
        self._breaker = breaker
        self._streak = streak
        self._tokenless = request.key is None
        self._extra = request.extra
        self._proven = guard is not None and guard.proven
        self._reserved_until = _reserved_until(request, guard)

    def allows(self, moment: float, *, in_flight: bool = True) -> bool:
        """Whether it bears this login at that moment; `in_flight` False: if those under way all went well."""
        kind = NO_TOKEN_EVENT if self._tokenless else REJECTED_EVENT
        if self._proven or kind not in self._breaker.counts:
            return True
        return self._streak.height(self._breaker, moment, in_flight=in_flight) + 1 <= self._limit(moment)

    def _limit(self, moment: float) -> int:
        most = self._breaker.opens_at - 1
        if self._tokenless:
            kept = 1 if self._extra or any(event.kind == REJECTED_EVENT for event in self._streak.counted) else 2
            return max(most - kept, min(1, most - 1))
        return max(1, most - 1) if moment < self._reserved_until else most

    def refusal(self, now: float) -> Refusal:
        """Why not, and from when on it is allowed, if time alone brings that."""
        if self.allows(now, in_flight=False):
            return Refusal(SkipCause.RESTING, Holdup.VERDICT, BREAKER_TEXTS[Holdup.VERDICT])
        holdup = Holdup.BREAKER_CONNECT if self._tokenless else Holdup.BREAKER_TOKEN
        until = min((at for at in self._moments() if now < at < math.inf and self.allows(at)), default=None)
        return Refusal(SkipCause.RESTING, holdup, BREAKER_TEXTS[holdup], until)

    def _moments(self) -> Iterator[float]:
        """When the answer may become another one by time alone."""
        yield self._reserved_until
        yield from self._streak.turning_points(self._breaker)


def _reserved_until(request: SessionCost, guard: KeyBreaker | None) -> float:
    if guard is None or not guard.rejected:
        return -math.inf
    return guard.judged + MAX_RETRY_INTERVALS * request.auth_retry if guard.good else math.inf
