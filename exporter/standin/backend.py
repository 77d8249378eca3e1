"""One backend process: who is let in, who gets a manager, and in which order.

Source: docs/backend-protocol.md#the-handshake-step-by-step.

Rule 1: a pure model: no I/O, no waiting; `now` is the monotonic clock, `wall` unix seconds.
Rule 2: every path of the stand-in is a process of its own: own managers, own breaker, own cache.
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
"""Claims that, if present, must be the auth service's own."""

TOKEN_REJECTED: Final = "token_rejected"  # noqa: S105 - the name of an answer
UNREACHABLE: Final = "auth_service_unreachable"
MAX_REMEMBERED_TOKENS: Final = 20_000
"""Verdicts kept at most, whatever a client sends."""


class LoginRefusedError(Exception):
    """The connection is not let in: the error frame to send, if any, and the close that follows."""

    def __init__(self, frame: frames.Frame | None, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.frame = frame
        self.code = code
        self.reason = reason


@dataclass(frozen=True, slots=True)
class TokenVerdict:
    """What the auth service says of a token: the user, or else the text and code of the refusal."""

    user: str = ""
    text: str = TOKEN_REJECTED
    code: str = "VALIDATION_FAILED"


@dataclass(frozen=True, slots=True)
class AuthService:
    """An auth service that stands in for the real one: what it says of any token, and whether the breaker sees it."""

    judge: Callable[[str], TokenVerdict] = field(repr=False)
    breaker: bool = False


class Backend:
    """The state of one process. `key` is the HMAC secret of its auth service; `rng` makes ids.

    `login_breaker`: it is of a tree whose endpoint has a breaker of its own.
    """

    def __init__(
        self, key: bytes, *, slots: int, pace: Timings, rng: random.Random, now: float, login_breaker: bool = False
    ) -> None:
        self._key = key
        self._pace = pace
        self._rng = rng
        self._fresh = True
        self._cached: dict[str, tuple[float, str]] = {}
        self.breaker = AuthBreaker(pace.breaker_open)
        self.login_breaker = (
            AuthBreaker(pace.login_breaker_open, OPENING_LOGIN_FAILURES, by_rate=False) if login_breaker else None
        )
        self.managers = UserManagers(
            slots, release=pace.slot_release, idle=pace.slot_idle, cleanup=pace.slot_cleanup, now=now
        )
        self.memory: dict[str, str] = {}
        """What faults remember from one connection to the next."""

    def warm_up(self) -> float:
        """Seconds the first connection of this process takes longer."""
        fresh, self._fresh = self._fresh, False
        return self._pace.cold_start if fresh else 0.0

    def authenticate(
        self, knock: UpgradeRequest, *, now: float, wall: float, service: AuthService | None = None
    ) -> str:
        """Step 2: the user of the token; raises Refused (1008 `SSOT Auth failed`)."""
        own = self.login_breaker
        if own is None:
            return self._let_in(knock, now=now, wall=wall, service=service)
        if not own.allows(now):
            raise _not_let_in(knock, "AUTH_CIRCUIT_BREAKER_OPEN", "circuit_breaker_open | Too many failures", wall)
        try:
            user = self._let_in(knock, now=now, wall=wall, service=service)
        except LoginRefusedError:
            own.record(now, ok=False)
            raise
        own.record(now, ok=True)
        return user

    def _let_in(self, knock: UpgradeRequest, *, now: float, wall: float, service: AuthService | None) -> str:
        token = knock.token()
        if token is None:
            raise _not_let_in(knock, "NO_TOKEN", "no_token_provided | No JWT token found in the request", wall)
        if knock.bypassed:
            return unverified_subject(token, wall)
        if not well_formed(token):
            raise _not_let_in(knock, "INVALID_FORMAT", "invalid_format | Token is not a JWT", wall)
        verdict = self._asked(token, now, wall) if service is None else self._instead(service, token, now)
        if not verdict.user:
            raise _not_let_in(knock, verdict.code, f"{verdict.text} | Token validation failed", wall)
        return verdict.user

    def _asked(self, token: str, now: float, wall: float) -> TokenVerdict:
        if not self.breaker.allows(now):
            return TokenVerdict(text=UNREACHABLE)
        verdict = self._judged(token, now, wall)
        self.breaker.record(now, ok=bool(verdict.user))
        return verdict

    def _instead(self, service: AuthService, token: str, now: float) -> TokenVerdict:
        if not service.breaker:
            return service.judge(token)
        if not self.breaker.allows(now):
            return TokenVerdict(text=UNREACHABLE)
        verdict = service.judge(token)
        self.breaker.record(now, ok=bool(verdict.user))
        return verdict

    def _judged(self, token: str, now: float, wall: float) -> TokenVerdict:
        until, user = self._cached.get(token, (0.0, ""))
        if user and now < until:
            return TokenVerdict(user)
        verdict = TokenVerdict(subject_of(token, self._key, wall))
        if verdict.user:
            self._remember(token, verdict.user, now)
        return verdict

    def _remember(self, token: str, user: str, now: float) -> None:
        """Verdicts all live equally long, so the oldest stand first."""
        self._cached.pop(token, None)
        self._cached[token] = (now + self._pace.verdict_cache, user)
        while self._cached:
            oldest = next(iter(self._cached))
            if self._cached[oldest][0] > now and len(self._cached) <= MAX_REMEMBERED_TOKENS:
                break
            del self._cached[oldest]

    def connection_id(self, user: str, wall: float) -> str:
        """Step 3: `ws_<first 8 of user>_<unix s>_<8 hex>`."""
        return f"ws_{user[:8]}_{int(wall)}_{self._rng.getrandbits(32):08x}"

    def admit(self, user: str, connection_id: str, *, now: float, wall: float) -> None:
        """Step 4: the manager factory; raises Refused (1011 `Factory SSOT validation failed`)."""
        if not self.managers.take(user, connection_id, now):
            raise factory_refused(frames.slot_limit(user, self.managers.limit, wall))


def subject_of(token: str, key: bytes, wall: float) -> str:
    """The auth service's own checks (section 1): the subject, or an empty string."""
    try:
        claims = verify(token, key, wall, algorithms=ALGORITHMS, required=REQUIRED, issuer=ISSUER, audience=AUDIENCE)
    except InvalidTokenError:
        return ""
    own = all(claims.get(name, value) == value for name, value in SERVICE_LABELS.items())
    return str(claims["sub"]) if own and claims.get("token_type") == "access" else ""


def _not_let_in(knock: UpgradeRequest, code: str, text: str, wall: float) -> LoginRefusedError:
    return LoginRefusedError(refusal(knock, code, text, wall), 1008, "SSOT Auth failed")


def factory_refused(frame: frames.Frame) -> LoginRefusedError:
    """A refusal of the manager factory, whatever its cause."""
    return LoginRefusedError(frame, 1011, "Factory SSOT validation failed")
