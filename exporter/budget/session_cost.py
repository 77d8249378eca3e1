"""The cost of a session, and the ledger's answers to a request for one.

Rule 1: values only.
"""

import hashlib
from dataclasses import dataclass
from typing import Final, NamedTuple, Self

from exporter.config import BreakerSettings
from exporter.result import EXTRA_RUNS, Holdup, Probe, SkipCause, Trigger


def user_key(authority: str, subject: str) -> str:
    """Return 16 hex digits for one user of one backend: subjects are written neither to files nor to labels."""
    return _hash(authority, subject)


def key_id(authority: str, kind: str, name: str) -> str:
    """Return 16 hex digits for one source of tokens (`key_file` and its path, `key_env` and its name …) at one backend.

    Per backend, because the breaker is the backend's: a token that another backend accepts does not close it.
    """
    return _hash(authority, kind, name)


def endpoint_id(scheme: str, authority: str, path: str) -> str:
    """Return 16 hex digits for one endpoint, the unit that a server may limit the rate of connects for."""
    return _hash(scheme, authority, path)


def refusal_id(target: str, endpoint: str, case: str) -> str:
    """Return 16 hex digits for one case of refusal of one target: another URL of it is another one."""
    return _hash(target, endpoint, case)


FINGERPRINT_DIGITS: Final = 4
"""Hex digits kept of a key's fingerprint: enough to notice a changed key, too few to test a guessed password with."""


def short_fingerprint(fingerprint: str) -> str:
    """Return the part of a key's fingerprint that the ledger may store."""
    return fingerprint[:FINGERPRINT_DIGITS]


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:16]


UNSCHEDULED: Final = EXTRA_RUNS | {Trigger.CHECK}
"""Triggers of sessions that the plan has not counted; cycles and side probes are counted."""


class HostLoad(NamedTuple):
    """What one session does to a host: its `connects`. `rate`, `scheduled_rate`: as of `SessionCost`."""

    host: str
    rate: int | None
    scheduled_rate: int
    connects: int = 1


class SessionCost(NamedTuple):
    """The cost of one session. Without `user` it takes no slot, without `key` it sends no token.

    slots: configured slots per user; 0: unlimited
    slot_release: seconds after the disconnect until the backend frees the slot
    reserve: slots of a user that are left to others
    open_for: seconds after which the session is certainly over (timeout + close budget)
    auth_retry: seconds that a key rests after rejections
    rate: connects per rolling minute that the host permits; None for loopback
    scheduled_peak, scheduled_rate: slots of the user and connects per minute that the schedule needs; an unscheduled
        session must leave them free
    due: when the cycle was due, unix seconds: a schedule at exactly the permitted rate must not fail by a late start
    tokenless: the session may go connect-deep without its token (the profile's `connect_without_token`)
    shares_process_with_schedule: a schedule runs in this process, even if the ledger has seen no session of it
    endpoint: `endpoint_id`, which rests after a rate limit; empty: the host rests
    key_fingerprint: `short_fingerprint`, tells the key from an earlier one in the same file; empty: unknown
    breakers: the circuit breakers before the backend's login
    forced: `check --send-token`: a rejected token is sent although it may open a breaker
    before_host: where the request before the upgrade goes, a connect of its own; None: there is none
    before_rate, scheduled_before_rate: as `rate` and `scheduled_rate`, of that host
    forged: it sends a credential that the backend must refuse and may count as a failed login
    guards_logins: such sessions are planned at this backend, so that each login is recorded without a breaker too
    """

    run: str
    host: str
    authority: str
    depth: Probe = Probe.SEND
    trigger: Trigger = Trigger.SCHEDULE
    user: str | None = None
    key: str | None = None
    slots: int = 0
    slot_release: float = 0.0
    reserve: int = 1
    open_for: float = 12.0
    auth_retry: float = 300.0
    rate: int | None = None
    scheduled_peak: int = 0
    scheduled_rate: int = 0
    due: float | None = None
    tokenless: bool = False
    shares_process_with_schedule: bool = False
    endpoint: str = ""
    key_fingerprint: str = ""
    breakers: tuple[BreakerSettings, ...] = ()
    forced: bool = False
    before_host: str | None = None
    before_rate: int | None = None
    scheduled_before_rate: int = 0
    forged: bool = False
    guards_logins: bool = False

    @property
    def breaker_id(self) -> str:
        """The key whose rejections are counted: a new key in the same file starts at 0."""
        return f"{self.key}.{self.key_fingerprint}" if self.key and self.key_fingerprint else self.key or ""

    @property
    def host_loads(self) -> tuple[HostLoad, ...]:
        """The hosts that the session connects to."""
        own = HostLoad(self.host, self.rate, self.scheduled_rate)
        if self.before_host is None:
            return (own,)
        if self.before_host == self.host:
            return (own._replace(connects=2),)
        return own, HostLoad(self.before_host, self.before_rate, self.scheduled_before_rate)

    @property
    def counts_logins(self) -> bool:
        """Whether the ledger records how its login ends."""
        return bool(self.breakers) or self.guards_logins or self.forged

    @property
    def sends_token(self) -> bool:
        """Whether it sends a token that the backend judges, a good one or not."""
        return self.key is not None or self.forged

    @property
    def cooldown_key(self) -> str:
        """What rests after a rate limit."""
        return self.endpoint or self.host

    @property
    def window(self) -> float:
        """Seconds a slot is held at most: the backend starts its release at the disconnect."""
        return self.slot_release + self.open_for

    @property
    def unscheduled(self) -> bool:
        """Whether a confirm run, a repeat run or a check asks: the plan has not counted the session."""
        return self.trigger in UNSCHEDULED

    def after_login(self) -> Self:
        """Return the cost of a session whose login is settled: it holds its slot, and no verdict is awaited."""
        return self._replace(key=None, breakers=(), guards_logins=False)

    def without_token(self) -> Self:
        """Return the cost of a connect-deep, anonymous session: no token, no slot."""
        return self._replace(depth=Probe.CONNECT, user=None, key=None)


class Grant(NamedTuple):
    """Permission to run `request`, which may be shallower than the one asked for. The ledger has recorded it."""

    request: SessionCost


@dataclass(frozen=True, slots=True)
class Refusal:
    """No permission.

    cause: the cause to count
    holdup: what stands in the way
    reason_text: the same for a reader
    until: when asking again may succeed, unix seconds; None: unknown
    """

    cause: SkipCause
    holdup: Holdup
    reason_text: str
    until: float | None = None


class TokenCooldown(NamedTuple):
    """Why no token of a key is sent.

    until: unix seconds; None: until new evidence, at no known time
    rejected: this key itself was rejected last, not only others of the same backend
    """

    holdup: Holdup
    until: float | None
    rejected: bool = True


class SettlementEffects(NamedTuple):
    """What a finished session changed, for log lines.

    slot_limit: a learned slot limit that now binds
    identity_rests: the identity rests
    token_cooldown: the key rests
    endpoint_rests_until: the endpoint rests until then, unix seconds
    """

    slot_limit: int | None = None
    identity_rests: bool = False
    token_cooldown: TokenCooldown | None = None
    endpoint_rests_until: float | None = None
