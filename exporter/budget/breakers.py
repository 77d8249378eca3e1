"""Whether one login more may be tried without opening a circuit breaker of the backend.

Rule 1: the event that would be number `opens_at` in a row is never sent: logins that fail, those under way and the one
that is asked for are `opens_at` − 1 at most. A connect without a token leaves one of them to a token.
Rule 2: the last one is kept for another key. A key that was rejected may have it only after `RESERVED_FOR`: then
nobody has changed the key, and the rejection may have been a passing trouble of the backend's.
Rule 3: what came before the ledger's birth is not known; for `auth_retry` it counts as all that leaves a single try.
"""

from collections.abc import Iterator
from typing import Final

from exporter.budget.book import Guard
from exporter.budget.request import Refusal, Request
from exporter.budget.streak import NO_TOKEN, REJECTED, Streak
from exporter.config import Breaker
from exporter.result import Holdup, SkipCause, Trigger

RESERVED_FOR: Final = 3600.0
"""Seconds after a rejection for which the last try that a breaker leaves is kept for another key."""
WORDS: Final = {
    Holdup.VERDICT: "the backend's breaker waits for the end of another login",
    Holdup.BREAKER_TOKEN: "one rejected token more may open the backend's breaker",
    Holdup.BREAKER_CONNECT: "one connect without a token more may open the backend's breaker",
}


def breaker_refusal(
    request: Request, streak: Streak, guard: Guard | None, *, born: float, now: float
) -> Refusal | None:
    """Why not; None if no breaker has anything against it. `born`: from when on the ledger knows everything."""
    for breaker in request.breakers:
        limit = _Limit(request, breaker, streak, guard, born)
        if not limit.allows(now):
            return limit.refusal(now)
    return None


class _Limit:
    """One breaker, asked for one login."""

    def __init__(self, request: Request, breaker: Breaker, streak: Streak, guard: Guard | None, born: float) -> None:
        self._breaker = breaker
        self._streak = streak
        self._tokenless = request.key is None
        self._proven = guard is not None and guard.proven
        self._in_flight = not (self._proven and request.trigger is Trigger.SCHEDULE)
        self._rejected_at = guard.judged if guard is not None and guard.rejected else None
        self._known_from = born + request.auth_retry if streak.reset < born else born

    def allows(self, moment: float, *, in_flight: bool = True) -> bool:
        """Whether it bears this login at that moment; `in_flight` False: if those under way all went well."""
        kind = NO_TOKEN if self._tokenless else REJECTED
        if kind not in self._breaker.counts:
            return True
        height = self._streak.height(self._breaker, moment, in_flight=in_flight and self._in_flight)
        return height + self._unknown(moment) + 1 <= self._limit(moment)

    def _limit(self, moment: float) -> int:
        most = self._breaker.opens_at - 1
        reserved = self._rejected_at is not None and moment < self._rejected_at + RESERVED_FOR
        return most - 1 if self._tokenless or reserved else most

    def _unknown(self, moment: float) -> int:
        if self._proven or moment >= self._known_from:
            return 0
        return max(0, self._breaker.opens_at - 2 - (NO_TOKEN in self._breaker.counts))

    def refusal(self, now: float) -> Refusal:
        """Why not, and from when on it is allowed, if time alone brings that."""
        if self.allows(now, in_flight=False):
            return Refusal(SkipCause.RESTING, Holdup.VERDICT, WORDS[Holdup.VERDICT])
        holdup = Holdup.BREAKER_CONNECT if self._tokenless else Holdup.BREAKER_TOKEN
        until = min((moment for moment in self._moments() if moment > now and self.allows(moment)), default=None)
        return Refusal(SkipCause.RESTING, holdup, WORDS[holdup], until)

    def _moments(self) -> Iterator[float]:
        """When the answer may become another one by time alone."""
        yield self._known_from
        if self._rejected_at is not None:
            yield self._rejected_at + RESERVED_FOR
        yield from self._streak.turning_points(self._breaker)
