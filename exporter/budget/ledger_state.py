"""The state of the ledger: slot leases, keys, cooldowns, connects, learned limits.

Rule 1: values, and how they change with time; `ledger` decides what is permitted.
"""

import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Final

from exporter.budget.login_streak import EVENT_RETENTION_SECONDS, LoginStreak
from exporter.budget.time_span import TimeSpan
from exporter.result import RefusalOutcome

MAX_REJECTIONS_IN_A_ROW: Final = 2
"""Rejected tokens after which a key rests at every backend: a third may lock the user out. The profile of a backend
whose breaker opens sooner says so."""
LEARNED_LIMIT_SECONDS: Final = 86_400.0
"""Seconds a learned slot limit is valid: backends are redeployed, and a state file outlives them."""
REFUSAL_RETENTION_SECONDS: Final = 2 * 86_400.0
"""Seconds that what became of a refused credential is kept: the rarest case runs once a day."""
KEY_RETENTION_SECONDS: Final = 86_400.0
"""Seconds after which an unused key is forgotten; one that was rejected last is kept as long as a streak."""
RATE_WINDOW_SECONDS: Final = 60.0
RATE_TOLERANCE_SECONDS: Final = 0.001
"""Seconds: the rounding of a float must not refuse a schedule at exactly the permitted rate."""


@dataclass(slots=True)
class SlotLease:
    """One session that may have taken a slot, from its connect until `release` seconds after its close.

    unscheduled: a confirm run or a check
    open_span: from the connect to the latest possible end
    closed_at: unix seconds; None: still open
    """

    run: str
    user: str
    unscheduled: bool
    release: float
    open_span: TimeSpan
    closed_at: float | None = None

    @property
    def open_until(self) -> float:
        """When the session is certainly over."""
        return self.open_span.until if self.closed_at is None else self.closed_at

    @property
    def until(self) -> float:
        """When the slot is certainly free."""
        return self.open_until + self.release


@dataclass(slots=True)
class ConnectEvent:
    """One connect to a host. `at`: unix seconds; `unscheduled`: by a confirm run or a check."""

    at: float
    unscheduled: bool


@dataclass(slots=True)
class LearnedSlotLimit:
    """The number of slots per user that a backend reported, at `at`, unix seconds."""

    slots: int
    at: float


@dataclass(slots=True)
class DecidedRefusal:
    """What the backend decided at `at`, unix seconds, about a credential that it must refuse."""

    outcome: RefusalOutcome
    at: float


@dataclass(slots=True)
class KeyBreaker:
    """One key at one backend.

    rejections: in a row
    accepted_last, accepted_before: whether its last token, and whether any token of it, was accepted
    last_used_at, judged_at: when a session used it, and when the backend last judged it, unix seconds
    cooldown: when no token of it is sent
    pending_tokens: its tokens in flight, by run
    """

    rejections: int = 0
    accepted_last: bool = False
    accepted_before: bool = False
    last_used_at: float = -math.inf
    judged_at: float = -math.inf
    cooldown: TimeSpan = field(default_factory=TimeSpan)
    pending_tokens: dict[str, TimeSpan] = field(default_factory=dict)

    def remaining_attempts(self, now: float) -> float:
        """How many more tokens may be sent before one of those in flight is judged."""
        if self.accepted_last:
            return math.inf
        allowed = MAX_REJECTIONS_IN_A_ROW - self.rejections
        if allowed <= 0:
            allowed = int(now >= self.cooldown.until)  # one trial at a time
        return allowed - sum(span.until > now for span in self.pending_tokens.values())

    def is_relevant(self, now: float) -> bool:
        """Whether the key must be kept."""
        retention = EVENT_RETENTION_SECONDS if self.rejections else KEY_RETENTION_SECONDS
        return self.cooldown.until > now or self.last_used_at + retention > now

    def record_verdict(self, *, rejected: bool, sent: float, now: float, retry: float) -> None:
        """Record the backend's verdict on a token; from the second rejection in a row the key rests `retry` seconds.

        Of a key that had been accepted, tokens that were under way together are one rejection: one blip has met them.
        """
        if rejected and self.rejections and self.accepted_before and sent < self.judged_at:
            return
        self.accepted_last = not rejected
        self.accepted_before |= self.accepted_last
        self.judged_at = now
        self.rejections = self.rejections + 1 if rejected else 0
        self.cooldown = TimeSpan(now, retry) if self.rejections >= MAX_REJECTIONS_IN_A_ROW else TimeSpan()


@dataclass(slots=True)
class LedgerState:
    """Everything the ledger knows. Moments are unix seconds.

    since: from when on it is complete; −inf: always
    leases: by user and run
    key_breakers: by `SessionCost.breaker_id`
    current_breaker_ids: source of a key → `breaker_id` of its latest key
    login_streaks, learned_slots: by authority
    user_cooldowns: by user; endpoint_cooldowns: by `SessionCost.cooldown_key`
    connects: by host, oldest first
    refusals: by `budget.refusal_id`
    last_clock_shift: when, by how many seconds, and by which process all times were last moved
    """

    since: float = -math.inf
    leases: dict[str, dict[str, SlotLease]] = field(default_factory=dict)
    key_breakers: dict[str, KeyBreaker] = field(default_factory=dict)
    current_breaker_ids: dict[str, str] = field(default_factory=dict)
    login_streaks: dict[str, LoginStreak] = field(default_factory=dict)
    user_cooldowns: dict[str, TimeSpan] = field(default_factory=dict)
    endpoint_cooldowns: dict[str, TimeSpan] = field(default_factory=dict)
    connects: dict[str, deque[ConnectEvent]] = field(default_factory=dict)
    learned_slots: dict[str, LearnedSlotLimit] = field(default_factory=dict)
    refusals: dict[str, DecidedRefusal] = field(default_factory=dict)
    last_clock_shift: tuple[float, float, str] | None = None

    def active_leases(self, user: str, now: float) -> list[SlotLease]:
        """Sessions whose slots the user may still hold."""
        return [lease for lease in self.leases.get(user, {}).values() if lease.until > now]

    def drop_expired_leases(self, user: str, now: float) -> None:
        """Forget the leases of slots that are certainly free."""
        active = self.active_leases(user, now)
        if len(active) < len(self.leases.get(user, ())):
            self.leases[user] = {lease.run: lease for lease in active}

    def recent_connects(self, host: str, now: float) -> deque[ConnectEvent]:
        """Connects to the host within the last minute."""
        connects = self.connects.get(host, deque())
        while connects and connects[0].at <= now - RATE_WINDOW_SECONDS + RATE_TOLERANCE_SECONDS:
            connects.popleft()
        return connects

    def use_key(self, breaker_id: str, now: float) -> KeyBreaker:
        """Return the breaker of a key, a new one if there is none, and note that the key is used."""
        key_breaker = self.key_breakers.setdefault(breaker_id, KeyBreaker())
        key_breaker.last_used_at = max(key_breaker.last_used_at, now)
        self.current_breaker_ids[breaker_id.partition(".")[0]] = breaker_id
        return key_breaker

    def login_streak(self, authority: str) -> LoginStreak:
        """Return what the breakers of a backend have counted, an empty streak if there is none."""
        return self.login_streaks.setdefault(authority, LoginStreak())

    def map_times(self, to: Callable[[float], float]) -> None:
        """Replace every moment by `to` of it."""
        self.since = to(self.since)
        for span in self._spans():
            span.start = to(span.start)
        for lease in self.all_leases():
            lease.closed_at = None if lease.closed_at is None else to(lease.closed_at)
        for connect in chain.from_iterable(self.connects.values()):
            connect.at = to(connect.at)
        for limit in self.learned_slots.values():
            limit.at = to(limit.at)
        for refusal in self.refusals.values():
            refusal.at = to(refusal.at)
        for key_breaker in self.key_breakers.values():
            key_breaker.last_used_at, key_breaker.judged_at = to(key_breaker.last_used_at), to(key_breaker.judged_at)
        for streak in self.login_streaks.values():
            streak.reset_at, streak.proven_at = to(streak.reset_at), to(streak.proven_at)
            for failure in streak.failures:
                failure.at = to(failure.at)

    def all_leases(self) -> Iterator[SlotLease]:
        """The leases of all users."""
        return chain.from_iterable(leases.values() for leases in self.leases.values())

    def _spans(self) -> Iterator[TimeSpan]:
        yield from (lease.open_span for lease in self.all_leases())
        yield from self.user_cooldowns.values()
        yield from self.endpoint_cooldowns.values()
        for key_breaker in self.key_breakers.values():
            yield key_breaker.cooldown
            yield from key_breaker.pending_tokens.values()
        for streak in self.login_streaks.values():
            yield streak.forged_span
            yield from (login.span for login in streak.pending.values())

    def prune(self, now: float) -> None:
        """Forget everything that no longer matters, so that memory and file stay bounded."""
        deque(self.prune_in_steps(now), maxlen=0)

    def prune_in_steps(self, now: float) -> Iterator[None]:
        """As `prune`; between the steps the ledger may be used and changed."""
        for user in list(self.leases):
            self.drop_expired_leases(user, now)
            if not self.leases.get(user):
                self.leases.pop(user, None)
            yield
        for host in self.connects:
            self.recent_connects(host, now)
        for key_breaker in self.key_breakers.values():
            key_breaker.pending_tokens = _unfinished(key_breaker.pending_tokens, now)
        self.connects = {host: connects for host, connects in self.connects.items() if connects}
        self.key_breakers = {name: one for name, one in self.key_breakers.items() if one.is_relevant(now)}
        self.current_breaker_ids = {
            source: name for source, name in self.current_breaker_ids.items() if name in self.key_breakers
        }
        self.login_streaks = {name: streak for name, streak in self.login_streaks.items() if streak.is_relevant(now)}
        self.user_cooldowns = _unfinished(self.user_cooldowns, now)
        self.endpoint_cooldowns = _unfinished(self.endpoint_cooldowns, now)
        self.learned_slots = {
            name: limit for name, limit in self.learned_slots.items() if now < limit.at + LEARNED_LIMIT_SECONDS
        }
        self.refusals = {name: one for name, one in self.refusals.items() if now < one.at + REFUSAL_RETENTION_SECONDS}


def _unfinished(spans: dict[str, TimeSpan], now: float) -> dict[str, TimeSpan]:
    return {name: span for name, span in spans.items() if span.until > now}
