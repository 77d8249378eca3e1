"""What a sentence may take for granted of a target: its settings in force, and what its profile knows.

A result says what a session met, never how the target is configured. Where only the result exists (an old report that
is read back) the context is `UNKNOWN_CONTEXT`: nothing is known, and the sentences say less.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol, Self
from urllib.parse import urlsplit

from exporter.config import Auth, BackendLimits, Profile, Target, carrier_of
from exporter.profiles import has_factory

STANDARD_PORTS: Final = {"ws": 80, "wss": 443}
ORIGIN_HEADER: Final = "origin"
USER_AGENT_HEADER: Final = "user-agent"


class Credential(StrEnum):
    """What a target shows to be let in."""

    NONE = "none"
    SIGNED = "signed"
    READY = "ready"
    SECRET = "secret"  # noqa: S105


class ConfiguredTarget(Protocol):
    """A target, its profile and the limits in force: what a job of the plan has."""

    @property
    def target(self) -> Target:
        """As the config has it."""

    @property
    def profile(self) -> Profile:
        """How its backend is spoken to."""

    @property
    def limits(self) -> BackendLimits:
        """The profile's, where the target names none of its own."""


@dataclass(frozen=True, slots=True)
class TargetContext:
    """A target as it is configured; None: not known.

    `assumed`: the target names no profile. `host`, `port`: of its URL. `server_name`: what its
    certificate must be for. `factory`, `breaker`: whether its profile knows
    of a factory, of a circuit breaker before the login. `carrier`: what carries the token, in words. `tokenless`: a
    session that only connects sends no token. `offered`: whether subprotocols are offered. `headers`: names of the
    headers that the target sets, as it writes them. `bypass`: the backend is asked to skip the login. `settings`:
    seconds, by the names of the config.
    """

    profile: str | None = None
    assumed: bool = False
    host: str | None = None
    port: int | None = None
    server_name: str | None = None
    factory: bool | None = None
    breaker: bool | None = None
    credential: Credential | None = None
    carrier: str | None = None
    tokenless: bool = False
    offered: bool | None = None
    headers: tuple[str, ...] | None = None
    bypass: bool = False
    settings: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, job: ConfiguredTarget) -> Self:
        """The context of a target as it is planned."""
        target, profile = job.target, job.profile
        url = urlsplit(target.url)
        carrier = None if target.auth is None else carrier_of(target.auth, profile)
        return cls(
            profile=target.profile,
            assumed="profile" not in target.model_fields_set,
            host=url.hostname,
            port=url.port or STANDARD_PORTS.get(url.scheme),
            server_name=(target.tls.server_name or url.hostname or "").removesuffix("."),
            factory=has_factory(profile),
            breaker=bool(profile.breaker),
            credential=_credential(target.auth),
            carrier=None if carrier is None else CARRIER_TEXTS[carrier.by].format(carrier.name),
            tokenless=profile.connect_without_token,
            offered=bool(profile.subprotocols) or (carrier is not None and carrier.by == "subprotocol"),
            headers=tuple(target.headers),
            bypass=target.allow_auth_bypass,
            settings={
                "auth_retry": target.auth_retry,
                "slot_release": job.limits.slot_release,
            },
        )

    def sets(self, header: str) -> bool | None:
        """Whether the target sets this header (a name in lower case); None if that is not known."""
        return None if self.headers is None else header in {name.lower() for name in self.headers}


UNKNOWN_CONTEXT: Final = TargetContext()

CARRIER_TEXTS: Final = {
    "header": "the header {}",
    "subprotocol": "the offered subprotocols",
    "query": "the query of the URL",
    "message": "our messages",
}


def _credential(auth: Auth | None) -> Credential:
    if auth is None:
        return Credential.NONE
    if auth.jwt is None:
        return Credential.SECRET
    return Credential.SIGNED if auth.jwt.token_file is None else Credential.READY
