"""One backend process: its login, its manager factory, and their order.

Source: docs/backend-protocol.md#the-handshake-step-by-step.

Rule 1: a pure model: no I/O, no waiting; `now` is a monotonic clock, `wall` unix seconds.
Rule 2: every path of the stand-in has a process of its own, with its own managers, breaker and cache.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from exporter.standin import frames
from exporter.standin.breaker import OPENING_LOGIN_FAILURES, AuthBreaker
from exporter.standin.credentials import UpgradeRequest, refusal, unverified_subject, well_formed
from exporter.standin.slots import UserManagers
from exporter.standin.timings import Timings
from exporter.tokens import InvalidTokenError, verify

ALGORITHMS: Final = ("HS256",)
REQUIRED: Final = ("sub", "iat", "exp", "jti")
ISSUER: Final = "netra-auth-service"
AUDIENCE: Final = ("netra-platform", "netra-services", "netra-admin")
SERVICE_LABELS: Final = {"env": "staging", "svc_id": "netra-backend"}
"""Values that these claims must have if they are present."""

TOKEN_REJECTED: Final = "token_rejected"  # noqa: S105 - the name of an answer
UNREACHABLE: Final = "auth_service_unreachable"
MAX_REMEMBERED_TOKENS: Final = 20_000
"""Verdicts kept in the cache."""


class LoginRefusedError(Exception):
    """The connection is refused: the error frame to send, if any, and the close that follows."""

    def __init__(self, frame: frames.Frame | None, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.frame = frame
        self.code = code
        self.reason = reason


@dataclass(frozen=True, slots=True)
class TokenVerdict:
    """The auth service's answer to a token: the user, or else the text and code of the refusal."""

    user: str = ""
    text: str = TOKEN_REJECTED
    code: str = "VALIDATION_FAILED"


@dataclass(frozen=True, slots=True)
class AuthService:
    """A replacement of the auth service: its answer to any token, and whether the breaker counts it."""

    judge: Callable[[str], TokenVerdict] = field(repr=False)
    breaker: bool = False


class Backend:
    """The state of one process. `key` is the HMAC secret of its auth service; `rng` makes ids.

    `login_breaker`: the endpoint has a circuit breaker of its own.
    """

    def __init__(
        self, key: bytes, *, slots: int, timings: Timings, rng: random.Random, now: float, login_breaker: bool = False
    ) -> None:
        self._key = key
        self._timings = timings
        self._rng = rng
        self._fresh = True
        self._cached: dict[str, tuple[float, str]] = {}
        self.breaker = AuthBreaker(timings.breaker_open)
        self.login_breaker = (
            AuthBreaker(timings.login_breaker_open, OPENING_LOGIN_FAILURES, by_rate=False) if login_breaker else None
        )
        self.managers = UserManagers(
            slots, release=timings.slot_release, idle=timings.slot_idle, cleanup=timings.slot_cleanup, now=now
        )
        self.memory: dict[str, str] = {}
        """Values that faults keep from one connection to the next."""

    def take_cold_start(self) -> float:
        """Additional seconds of the first connection of this process; 0 for all later ones."""
        fresh, self._fresh = self._fresh, False
        return self._timings.cold_start if fresh else 0.0

    def authenticate(
        self, upgrade: UpgradeRequest, *, now: float, wall: float, service: AuthService | None = None
    ) -> str:
        """Step 2: the user of the token; raises LoginRefusedError (1008 `SSOT Auth failed`)."""
        own = self.login_breaker
        if own is None:
            return self._check_token(upgrade, now=now, wall=wall, service=service)
        if not own.allows(now):
            raise _login_refused(upgrade, "AUTH_CIRCUIT_BREAKER_OPEN", "circuit_breaker_open | Too many failures", wall)
        try:
            user = self._check_token(upgrade, now=now, wall=wall, service=service)
        except LoginRefusedError:
            own.record(now, ok=False)
            raise
        own.record(now, ok=True)
        return user

    def lets_in(self, token: str | None, wall: float) -> bool:
        """Whether the auth service would let this token in; nothing is counted."""
        return token is not None and well_formed(token) and bool(subject_of(token, self._key, wall))

    def _check_token(self, upgrade: UpgradeRequest, *, now: float, wall: float, service: AuthService | None) -> str:
        token = upgrade.token()
        if token is None:
            raise _login_refused(upgrade, "NO_TOKEN", "no_token_provided | No JWT token found in the request", wall)
        if upgrade.bypassed:
            return unverified_subject(token, wall)
        if not well_formed(token):
            raise _login_refused(upgrade, "INVALID_FORMAT", "invalid_format | Token is not a JWT", wall)
        verdict = (
            self._guarded_verdict(token, now, wall)
            if service is None
            else self._substitute_verdict(service, token, now)
        )
        if not verdict.user:
            raise _login_refused(upgrade, verdict.code, f"{verdict.text} | Token validation failed", wall)
        return verdict.user

    def _guarded_verdict(self, token: str, now: float, wall: float) -> TokenVerdict:
        if not self.breaker.allows(now):
            return TokenVerdict(text=UNREACHABLE)
        verdict = self._cached_verdict(token, now, wall)
        self.breaker.record(now, ok=bool(verdict.user))
        return verdict

    def _substitute_verdict(self, service: AuthService, token: str, now: float) -> TokenVerdict:
        if not service.breaker:
            return service.judge(token)
        if not self.breaker.allows(now):
            return TokenVerdict(text=UNREACHABLE)
        verdict = service.judge(token)
        self.breaker.record(now, ok=bool(verdict.user))
        return verdict

    def _cached_verdict(self, token: str, now: float, wall: float) -> TokenVerdict:
        until, user = self._cached.get(token, (0.0, ""))
        if user and now < until:
            return TokenVerdict(user)
        verdict = TokenVerdict(subject_of(token, self._key, wall))
        if verdict.user:
            self._remember(token, verdict.user, now)
        return verdict

    def _remember(self, token: str, user: str, now: float) -> None:
        """Cache a verdict. All verdicts live equally long, so the oldest come first."""
        self._cached.pop(token, None)
        self._cached[token] = (now + self._timings.verdict_cache, user)
        while self._cached:
            oldest = next(iter(self._cached))
            if self._cached[oldest][0] > now and len(self._cached) <= MAX_REMEMBERED_TOKENS:
                break
            del self._cached[oldest]

    def connection_id(self, user: str, wall: float) -> str:
        """Step 3: `ws_<first 8 of user>_<unix s>_<8 hex>`."""
        return f"ws_{user[:8]}_{int(wall)}_{self._rng.getrandbits(32):08x}"

    def admit(self, user: str, connection_id: str, *, now: float, wall: float) -> None:
        """Step 4: the manager factory; raises LoginRefusedError (1011 `Factory SSOT validation failed`)."""
        if not self.managers.take(user, connection_id, now):
            raise factory_refused(frames.slot_limit(user, self.managers.limit, wall))


def subject_of(token: str, key: bytes, wall: float) -> str:
    """The auth service's own checks: the subject, or an empty string."""
    try:
        claims = verify(token, key, wall, algorithms=ALGORITHMS, required=REQUIRED, issuer=ISSUER, audience=AUDIENCE)
    except InvalidTokenError:
        return ""
    own = all(claims.get(name, value) == value for name, value in SERVICE_LABELS.items())
    return str(claims["sub"]) if own and claims.get("token_type") == "access" else ""


def _login_refused(upgrade: UpgradeRequest, code: str, text: str, wall: float) -> LoginRefusedError:
    return LoginRefusedError(refusal(upgrade, code, text, wall), 1008, "SSOT Auth failed")


def factory_refused(frame: frames.Frame) -> LoginRefusedError:
    """The refusal of the manager factory, with the error frame of its cause."""
    return LoginRefusedError(frame, 1011, "Factory SSOT validation failed")
