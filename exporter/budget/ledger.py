"""Who may open what: one door to ask, a few to tell.

Rule 1: what is granted is in the book before the caller connects.
Rule 2: a doubt is decided for the backend: what may be held counts as held.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

from exporter.budget.breakers import breaker_refusal
from exporter.budget.events import EFFECTS, Event, fold, snapshot
from exporter.budget.ledger_state import LEARNED_LIMIT_SECONDS, RATE_WINDOW_SECONDS, KeyBreaker, LedgerState, SlotLease
from exporter.budget.login_streak import NO_TOKEN_EVENT, REJECTED_EVENT
from exporter.budget.session_cost import Grant, Refusal, SessionCost, TokenCooldown
from exporter.result import Holdup, SkipCause, Trigger

ENDPOINT_COOLDOWN_SECONDS: Final = 600.0
"""Seconds an endpoint rests after a 429 without a usable Retry-After: so long bans the edge of a known backend."""
MAX_ENDPOINT_COOLDOWN_SECONDS: Final = 3600.0
MAX_SLOTS: Final = 100_000


class Ledger:
    """What we know the backends hold of ours. `since`: from when on it knows everything (−inf: always did).

    Its own decisions are events; they wait in `pending` until `take_pending`.
    """

    def __init__(self, since: float = -math.inf) -> None:
        self.pending: list[Event] = []
        self._book = LedgerState(since)

    # --- Asking

    def ask(self, request: SessionCost, now: float) -> Grant | Refusal:
        """Decide on one session, at exactly the depth it asks for, and write a grant into the book."""
        refusal = self.refusal(request, now)
        if refusal is not None:
            return refusal
        self._open(request, now)
        return Grant(request)

    def refusal(self, request: SessionCost, now: float) -> Refusal | None:
        """What stands against a session of exactly this depth; None: nothing."""
        self._book.forget(request.user or "", now)
        checks = self._endpoint, self._rate, self._key, self._breakers, self._identity, self._slots, self._memory
        found = [refusal for check in checks if (refusal := check(request, now)) is not None]
        # What else stands against it lasts longer, or is nearer to what was asked.
        return next((refusal for refusal in found if refusal.holdup is not Holdup.VERDICT), found[0] if found else None)

    def _endpoint(self, request: SessionCost, now: float) -> Refusal | None:
        until = self.endpoint_cooldown_until(request.place, now)
        if until is None:
            return None
        return Refusal(SkipCause.RATE, Holdup.ENDPOINT, "the endpoint rests after a rate limit", until)

    def _rate(self, request: SessionCost, now: float) -> Refusal | None:
        if request.rate is None:
            return None
        recent = self._book.recent(request.host, now)
        promised = _promised(request, [one.extra for one in recent], request.scheduled_rate)
        if max(len(recent), promised) < request.rate:
            return None
        words = f"the host permits {request.rate} connects a minute"
        return Refusal(SkipCause.RATE, Holdup.RATE, words, recent[0].at + RATE_WINDOW_SECONDS if recent else None)

    def _key(self, request: SessionCost, now: float) -> Refusal | None:
        guard = self._guard(request)
        if guard is None or request.forced:
            return None
        if guard.rest.until > now:
            words = "the key rests after rejected tokens"
            return Refusal(SkipCause.RESTING, Holdup.REJECTED, words, guard.rest.until)
        # A confirm run must be neither the second token that is rejected nor the trial.
        if guard.room(now) < 1 or (guard.rejected and request.trigger is Trigger.CONFIRM):
            return Refusal(SkipCause.RESTING, Holdup.VERDICT, "the key waits for the verdict on another token")
        return None

    def _breakers(self, request: SessionCost, now: float) -> Refusal | None:
        if not request.breakers or request.forced:
            return None
        streak, guard = self._book.streak(request.authority), self._guard(request)
        return breaker_refusal(request, streak, guard, now)

    def _guard(self, request: SessionCost) -> KeyBreaker | None:
        """The page of this very key; of what stands in its place, if it is not known which key that is."""
        if request.key is None:
            return None
        book, plain = self._book, request.key
        name = request.guard if request.key_print else book.newest.get(plain, plain)
        return book.guards.get(name) or book.guards.get(plain)

    def _identity(self, request: SessionCost, now: float) -> Refusal | None:
        rest = self._book.resting_users.get(request.user or "")
        if rest is not None and rest.until > now:
            words = "the identity rests after a slot limit"
            return Refusal(SkipCause.RESTING, Holdup.IDENTITY, words, rest.until)
        ends = [until for hold in self._holds(request) if (until := hold.open_until) > now]
        if not ends:
            return None
        return Refusal(SkipCause.OVERLAP, Holdup.BUSY, "the identity has a connection open", max(ends))

    def _slots(self, request: SessionCost, now: float) -> Refusal | None:
        limit = self.budget(request, now)
        if request.user is None or limit is None:
            return None
        holds = self._holds(request)
        promised = _promised(request, [hold.extra for hold in holds], request.scheduled_peak)
        if max(len(holds), promised) < limit:
            return None
        words = f"{len(holds)} of {limit} slots held"
        if promised >= limit:
            words += f", the schedule needs {request.scheduled_peak}"
        return Refusal(SkipCause.BUDGET, Holdup.SLOTS, words, min((hold.until for hold in holds), default=None))

    def _memory(self, request: SessionCost, now: float) -> Refusal | None:
        """A confirm run must know what was held before the start; a scheduled turn need not: its times are fixed."""
        until = self._book.since + request.window
        if request.trigger is not Trigger.CONFIRM or request.user is None or now >= until:
            return None
        if self.budget(request, now) is None:
            return None
        return Refusal(SkipCause.BUDGET, Holdup.MEMORY, "what was held before the start is not known", until)

    def _holds(self, request: SessionCost) -> list[SlotLease]:
        """What the user may still hold; `ask` has just made the book forget all else."""
        return list(self._book.holds.get(request.user or "", {}).values())

    # --- Looking

    def held(self, user: str, now: float) -> int:
        """Slots that the user may hold at the backend."""
        return len(self._book.held(user, now))

    def budget(self, request: SessionCost, now: float) -> int | None:
        """Slots that one identity may hold: the lower of configured and learned, less the reserve; None: unlimited.

        At least 1: a backend that keeps a single slot would never be asked again.
        """
        learned = self.learned(request.authority, now)
        slots = learned if not request.slots else request.slots if learned is None else min(request.slots, learned)
        return None if slots is None else max(1, slots - request.reserve)

    def learned(self, authority: str, now: float) -> int | None:
        """Slots that the backend said it keeps per user, while that is believed (a day)."""
        learned = self._book.learned.get(authority)
        return learned.slots if learned is not None and now < learned.at + LEARNED_LIMIT_SECONDS else None

    def resting(self, request: SessionCost, now: float) -> bool:
        """Whether this identity's turns send no token for now, for its own or its key's sake."""
        return self.rest(request, now) is not None

    def rest(self, request: SessionCost, now: float) -> TokenCooldown | None:
        """Why this identity's turns send no token for now, for its own or its key's sake, and until when."""
        own, tokens = self._book.resting_users.get(request.user or ""), self.token_cooldown(request, now)
        if own is None or own.until <= now:
            return tokens
        longer = tokens is not None and (tokens.until is None or tokens.until > own.until)
        return tokens if longer else TokenCooldown(Holdup.IDENTITY, own.until)

    def token_cooldown(self, request: SessionCost, now: float) -> TokenCooldown | None:
        """Why no token of the request's key is sent because of logins that failed, and until when."""
        if request.key is None:
            return None
        for refusal in (self._key(request, now), self._breakers(request, now)):
            if refusal is not None and refusal.holdup is not Holdup.VERDICT:
                guard = self._guard(request)
                return TokenCooldown(refusal.holdup, refusal.until, rejected=guard is not None and guard.rejected > 0)
        return None

    def identity_cooldowns(self, user: str | None, now: float) -> bool:
        """Whether the identity rests after a slot limit."""
        rest = self._book.resting_users.get(user or "")
        return rest is not None and rest.until > now

    def endpoint_cooldown_until(self, place: str, now: float) -> float | None:
        """When the endpoint may be connected to again; None: now."""
        rest = self._book.resting_hosts.get(place)
        return rest.until if rest is not None and rest.until > now else None

    # --- Telling

    def _open(self, request: SessionCost, now: float) -> None:
        if request.rate is not None:
            due = request.due
            at = due if due is not None and now - RATE_WINDOW_SECONDS < due <= now else now
            self._record("connect", at, host=request.host, extra=request.extra)
        if request.user is not None or request.key is not None or request.breakers:
            self._record("open", now, **_session(request), **{"for": request.open_for}, **self._attempt(request))

    def _attempt(self, request: SessionCost) -> dict[str, Any]:
        if not request.breakers:
            return {}
        guard = self._guard(request)
        kind = NO_TOKEN_EVENT if request.key is None else REJECTED_EVENT
        return {"authority": request.authority, "login": kind, "sure": guard is not None and guard.proven}

    def release(
        self,
        request: SessionCost,
        now: float,
        *,
        slot_taken: bool = True,
        rejected: bool | None = None,
        outcome: str | None = None,
    ) -> None:
        """End a granted session: whether it can have taken a slot, the backend's verdict on its token, if any.

        `outcome`: what its breakers make of it (`streak.OUTCOMES`).
        """
        if request.user is not None or request.key is not None or request.breakers:
            end = {"slot": slot_taken, "rejected": rejected, "retry": request.auth_retry}
            counted = {"authority": request.authority, "outcome": outcome} if request.breakers else {}
            self._record("close", now, **_session(request), **end, **counted)

    def rest_user(self, user: str, span: float, now: float) -> None:
        """Let an identity rest for `span` seconds."""
        self._record("rest_user", now, user=user, **{"for": span})

    def rest_endpoint(self, place: str, retry_after: float | None, now: float) -> None:
        """Let an endpoint rest for its Retry-After, an hour at most; 600 s if that is absent or nonsense."""
        if retry_after is None or not 0 <= retry_after < math.inf:
            retry_after = ENDPOINT_COOLDOWN_SECONDS
        self._record("rest_host", now, host=place, **{"for": min(retry_after, MAX_ENDPOINT_COOLDOWN_SECONDS)})

    def learn(self, authority: str, slots: int, now: float) -> None:
        """Remember how many slots the backend says it keeps per user; a figure that cannot be one is passed over."""
        if 1 <= slots <= MAX_SLOTS:
            self._record("learn", now, authority=authority, slots=slots)

    def shift(self, seconds: float, now: float, by_whom: str) -> bool:
        """Move all times with a wall clock that stepped to `now`; False if another process has just done it for us."""
        if self._book.shifted is not None:
            at, by, who = self._book.shifted
            if who != by_whom and abs(now - at) < RATE_WINDOW_SECONDS and abs(by - seconds) < 1:
                return False
        self._record("shift", now, by=seconds, by_whom=by_whom)
        return True

    def _record(self, kind: str, now: float, **fields: Any) -> None:
        """Decide: what is ours is well formed, and need not be looked at as what comes from a file."""
        event = {"event": kind, "t": now, **fields}
        EFFECTS[kind](self._book, event)
        self.pending.append(event)

    # --- Between processes

    def apply(self, event: Mapping[str, Any]) -> bool:
        """Take in an event of another process; False if it is none we know or not well formed, and so ignored."""
        return fold(self._book, event)

    def take_pending(self) -> list[Event]:
        """Hand over the events recorded since the last call."""
        taken, self.pending = self.pending, []
        return taken

    def clear(self, since: float = -math.inf) -> None:
        """Forget everything but `pending`."""
        self._book = LedgerState(since)

    def distrust(self, now: float) -> None:
        """Something may be missing up to now."""
        self._book.since = max(self._book.since, now)

    def clamp(self, now: float) -> None:
        """Cut what lies in the future to now: the clock went back since it was written."""
        self._book.move(lambda moment: min(moment, now))

    def prune(self, now: float) -> None:
        """Forget what can no longer matter."""
        self._book.prune(now)

    def pruning(self, now: float) -> Iterator[None]:
        """As `prune`, in steps between which anything may happen."""
        return self._book.pruning(now)

    def snapshot(self, now: float) -> list[Event]:
        """Events that make an empty ledger equal to this one."""
        return snapshot(self._book, now)


def _promised(request: SessionCost, extras: list[bool], needed: int) -> int:
    """What a session that no schedule asked for must leave room for: others like it, and what the schedule needs.

    A check that sees nothing of the schedule is alone on this machine, and owes it nothing; one in the schedule's own
    process knows better: else a probe with every scrape could keep the first scheduled session out for ever.
    """
    alone = request.trigger is Trigger.CHECK and not request.beside and all(extras)
    if not request.extra or alone:
        return 0
    return sum(extras) + needed


def _session(request: SessionCost) -> Event:
    return {
        "run": request.run,
        "user": request.user,
        "key": request.guard or None,
        "release": request.slot_release,
        "extra": request.extra,
    }
