"""The pages of the ledger: holds, keys, rests, connects, learned limits.

Rule 1: values and what time makes of them; who may do what is said in `ledger`.
"""

import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Final

from exporter.budget.login_streak import EVENT_RETENTION_SECONDS, LoginStreak
from exporter.budget.time_span import TimeSpan

MAX_REJECTIONS_IN_A_ROW: Final = 2
"""Rejected tokens after which a key rests, whatever the backend: a third may lock the user out. A backend whose breaker
bears less says so in its profile."""
LEARNED_LIMIT_SECONDS: Final = 86_400.0
"""Seconds a learned slot limit is believed: backends are redeployed, and a state file outlives them."""
KEY_RETENTION_SECONDS: Final = 86_400.0
"""Seconds after which a key that nobody uses is forgotten; one that was rejected last is kept as long as a streak."""
RATE_WINDOW_SECONDS: Final = 60.0
RATE_TOLERANCE_SECONDS: Final = 0.001
"""Seconds: a schedule exactly at the permitted rate must not trip over the rounding of a float."""


@dataclass(slots=True)
class SlotLease:
    """One session that may have taken a slot: held from its connect until its close + release."""

    run: str
    user: str
    extra: bool
    release: float
    opened: TimeSpan
    closed: float | None = None

    @property
    def open_until(self) -> float:
        """When it is surely over."""
        return self.opened.until if self.closed is None else self.closed

    @property
    def until(self) -> float:
        """When its slot is surely free."""
        closed = self.closed
        return (self.opened.start + self.opened.length if closed is None else closed) + self.release


@dataclass(slots=True)
class ConnectEvent:
    """One connect to a host."""

    at: float
    extra: bool


@dataclass(slots=True)
class LearnedSlotLimit:
    """The number of slots a backend said it keeps per user."""

    slots: int
    at: float


@dataclass(slots=True)
class KeyBreaker:
    """One key at one backend: its rejections in a row, its rest, its tokens in flight by run.

    `proven`: let in last; `good`: let in once. `judged`: when last.
    """

    rejected: int = 0
    proven: bool = False
    good: bool = False
    seen: float = -math.inf
    judged: float = -math.inf
    rest: TimeSpan = field(default_factory=TimeSpan)
    flights: dict[str, TimeSpan] = field(default_factory=dict)

    def room(self, now: float) -> float:
        """How many more tokens may be sent before one of those in flight is judged."""
        if self.proven:
            return math.inf
        allowed = MAX_REJECTIONS_IN_A_ROW - self.rejected
        if allowed <= 0:
            allowed = int(now >= self.rest.until)  # one trial at a time
        return allowed - sum(flight.until > now for flight in self.flights.values())

    def matters(self, now: float) -> bool:
        """Whether it must be kept."""
        kept_for = EVENT_RETENTION_SECONDS if self.rejected else KEY_RETENTION_SECONDS
        return self.rest.until > now or self.seen + kept_for > now

    def judge(self, *, rejected: bool, now: float, retry: float) -> None:
        """Take in the backend's verdict on a token; from the second rejection in a row on, the key rests."""
        self.proven = not rejected
        self.good |= self.proven
        self.judged = now
        self.rejected = self.rejected + 1 if rejected else 0
        self.rest = TimeSpan(now, retry) if self.rejected >= MAX_REJECTIONS_IN_A_ROW else TimeSpan()


@dataclass(slots=True)
class LedgerState:
    """All pages.

    `since`: from when on it knows everything (−inf: always did). `shifted`: the last step of the clock:
    when, by how much, noticed by whom. `guards`: by `Request.guard`; `newest`: source of a key → its guard of late.
    """

    since: float = -math.inf
    holds: dict[str, dict[str, SlotLease]] = field(default_factory=dict)
    guards: dict[str, KeyBreaker] = field(default_factory=dict)
    newest: dict[str, str] = field(default_factory=dict)
    streaks: dict[str, LoginStreak] = field(default_factory=dict)
    resting_users: dict[str, TimeSpan] = field(default_factory=dict)
    resting_hosts: dict[str, TimeSpan] = field(default_factory=dict)
    connects: dict[str, deque[ConnectEvent]] = field(default_factory=dict)
    learned: dict[str, LearnedSlotLimit] = field(default_factory=dict)
    shifted: tuple[float, float, str] | None = None

    def held(self, user: str, now: float) -> list[SlotLease]:
        """Sessions whose slots the user may still hold."""
        return [hold for hold in self.holds.get(user, {}).values() if hold.until > now]

    def forget(self, user: str, now: float) -> None:
        """Forget what the user surely holds no more."""
        held = self.held(user, now)
        if len(held) < len(self.holds.get(user, ())):
            self.holds[user] = {hold.run: hold for hold in held}

    def recent(self, host: str, now: float) -> deque[ConnectEvent]:
        """Connects to the host within the last minute."""
        connects = self.connects.get(host, deque())
        while connects and connects[0].at <= now - RATE_WINDOW_SECONDS + RATE_TOLERANCE_SECONDS:
            connects.popleft()
        return connects

    def guard(self, key: str, now: float) -> KeyBreaker:
        """Open the page of a key, a new one if need be."""
        guard = self.guards.setdefault(key, KeyBreaker())
        guard.seen = max(guard.seen, now)
        self.newest[key.partition(".")[0]] = key
        return guard

    def streak(self, authority: str) -> LoginStreak:
        """What the breakers of a backend have counted."""
        return self.streaks.setdefault(authority, LoginStreak())

    def move(self, to: Callable[[float], float]) -> None:
        """Put every moment where `to` says."""
        self.since = to(self.since)
        for span in self._spans():
            span.start = to(span.start)
        for hold in self.every_hold():
            hold.closed = None if hold.closed is None else to(hold.closed)
        for connect in chain.from_iterable(self.connects.values()):
            connect.at = to(connect.at)
        for learned in self.learned.values():
            learned.at = to(learned.at)
        for guard in self.guards.values():
            guard.seen, guard.judged = to(guard.seen), to(guard.judged)
        for streak in self.streaks.values():
            streak.reset = to(streak.reset)
            for event in streak.counted:
                event.at = to(event.at)

    def every_hold(self) -> Iterator[SlotLease]:
        """All holds of all users."""
        return chain.from_iterable(holds.values() for holds in self.holds.values())

    def _spans(self) -> Iterator[TimeSpan]:
        yield from (hold.opened for hold in self.every_hold())
        yield from self.resting_users.values()
        yield from self.resting_hosts.values()
        for guard in self.guards.values():
            yield guard.rest
            yield from guard.flights.values()
        for streak in self.streaks.values():
            yield from (attempt.span for attempt in streak.attempts.values())

    def prune(self, now: float) -> None:
        """Forget what can no longer matter, so that memory and file stay bounded."""
        deque(self.pruning(now), maxlen=0)

    def pruning(self, now: float) -> Iterator[None]:
        """As `prune`, in steps between which anything may happen."""
        for user in list(self.holds):
            self.forget(user, now)
            if not self.holds.get(user):
                self.holds.pop(user, None)
            yield
        for host in self.connects:
            self.recent(host, now)
        for guard in self.guards.values():
            guard.flights = _unfinished(guard.flights, now)
        self.connects = {host: connects for host, connects in self.connects.items() if connects}
        self.guards = {key: guard for key, guard in self.guards.items() if guard.matters(now)}
        self.newest = {source: key for source, key in self.newest.items() if key in self.guards}
        self.streaks = {name: streak for name, streak in self.streaks.items() if streak.matters(now)}
        self.resting_users = _unfinished(self.resting_users, now)
        self.resting_hosts = _unfinished(self.resting_hosts, now)
        self.learned = {name: one for name, one in self.learned.items() if now < one.at + LEARNED_LIMIT_SECONDS}


def _unfinished(spans: dict[str, TimeSpan], now: float) -> dict[str, TimeSpan]:
    return {name: span for name, span in spans.items() if span.until > now}
