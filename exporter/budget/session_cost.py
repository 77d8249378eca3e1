"""What a session would cost, and the answers to it.

Rule 1: values only.
"""

import hashlib
from dataclasses import dataclass
from typing import Final, NamedTuple, Self

from exporter.config import BreakerSettings
from exporter.result import Holdup, Probe, SkipCause, Trigger


def user_key(authority: str, subject: str) -> str:
    """16 hex digits for one user of one backend: subjects stand neither in files nor in labels."""
    return _hash(authority, subject)


def key_id(authority: str, kind: str, name: str) -> str:
    """16 hex digits for one source of tokens (`key_file` and its path, `key_env` and its name …) at one backend.

    Per backend, because the breaker it guards is the backend's: a token that passes elsewhere does not close it.
    """
    return _hash(authority, kind, name)


def endpoint_id(scheme: str, authority: str, path: str) -> str:
    """16 hex digits for what can limit the rate of connects apart from others: a path of a port."""
    return _hash(scheme, authority, path)


FINGERPRINT_DIGITS: Final = 4
"""Of a key's fingerprint: enough to tell a changed key, and no help to who would guess a password by a state file."""


def key_print(fingerprint: str) -> str:
    """What of a key's fingerprint may stand in the ledger."""
    return fingerprint[:FINGERPRINT_DIGITS]


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:16]


class SessionCost(NamedTuple):
    """What one session would cost. Without `user` it takes no slot, without `key` it sends no token.

    `open_for`: seconds after which it is surely over (timeout + close budget). `rate`: connects per rolling minute the
    host permits; None for loopback. `scheduled_peak`, `scheduled_rate`: slots of the user and connects per minute that
    the schedule needs; a session that no schedule asked for must leave that much free. `due`: when the schedule wanted
    it, so that a schedule exactly at the permitted rate does not trip over a late start. `tokenless`: a turn that may
    not send its token may go connect-deep without one (the profile's `connect_without_token`). `beside`: a schedule
    runs in this very process, whether the ledger has seen a session of it or not. `endpoint`: what rests after it said
    that we connect too often (`endpoint_id`). `key_print`: tells the key from the one that stood there before.
    `breakers`: those before the backend's login. `forced`: the person who asks takes it on them that a rejected token
    may open one.
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
    beside: bool = False
    endpoint: str = ""
    key_print: str = ""
    breakers: tuple[BreakerSettings, ...] = ()
    forced: bool = False

    @property
    def guard(self) -> str:
        """Whose rejections are counted: this very key's, not its predecessor's in the same file."""
        return f"{self.key}.{self.key_print}" if self.key and self.key_print else self.key or ""

    @property
    def place(self) -> str:
        """What rests if it says that we connect too often."""
        return self.endpoint or self.host

    @property
    def window(self) -> float:
        """Seconds a slot is held at most: the backend counts its release from the disconnect."""
        return self.slot_release + self.open_for

    @property
    def extra(self) -> bool:
        """True if no schedule asked for it."""
        return self.trigger is not Trigger.SCHEDULE

    def without_token(self) -> Self:
        """Make it connect-deep and anonymous: no token, no slot."""
        return self._replace(depth=Probe.CONNECT, user=None, key=None)


class Grant(NamedTuple):
    """Go ahead with `request`, which may be shallower than the one asked for; it is in the books already."""

    request: SessionCost


@dataclass(frozen=True, slots=True)
class Refusal:
    """Open nothing: the cause to count, what the ledger says, and when asking again may help (None: no time known)."""

    cause: SkipCause
    holdup: Holdup
    words: str
    until: float | None = None


class TokenCooldown(NamedTuple):
    """Why no token of a key is sent; `until`: unix seconds; None: until evidence comes, by no time.

    `rejected`: this very key was rejected last, and not others of the same backend alone.
    """

    holdup: Holdup
    until: float | None
    rejected: bool = True


class SettlementEffects(NamedTuple):
    """What a finished session changed: a learned slot limit that now binds, and new rests. For log lines.

    `endpoint_cooldowns`: until when, unix seconds.
    """

    slot_limit: int | None = None
    identity_cooldowns: bool = False
    token_cooldowns: TokenCooldown | None = None
    endpoint_cooldowns: float | None = None
