"""A mapping becomes frozen values, or problems with the paths of the fields.

Rule 1: reads no file and no environment. Rule 2: every refusal names the path of the field and what to do.
Rule 3: knows no backend by name: a profile is data (`Profile`), the built-in ones stand in `profiles`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from exporter.result import FactoryReason, Reason

DURATION = re.compile(r"(?:(?P<h>\d+)h)?(?:(?P<m>\d+)m)?(?:(?P<s>\d+(?:\.\d+)?)s)?(?:(?P<ms>\d+)ms)?")
UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: the path of the field (`targets[0].interval`) and a sentence that says what to do."""

    path: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.path}: {self.sentence}"


def seconds(value: object) -> float:
    """Seconds of a duration such as `15s`, `1m30s`, `250ms`; raises ValueError with the sentence for the user."""
    match = DURATION.fullmatch(value) if isinstance(value, str) and value else None
    if match is None:
        raise ValueError("must be a duration such as 15s, 1m30s or 250ms")
    return sum(float(amount) * UNITS[unit] for unit, amount in match.groupdict().items() if amount)


Duration = Annotated[float, BeforeValidator(seconds)]
Period = Annotated[Duration, Field(gt=0)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,62}$")]
FieldPath = Annotated[str, Field(pattern=r"^[^.\s]+(\.[^.\s]+)*$")]
Pattern = Annotated[dict[str, Any], Field(min_length=1)]
"""A JSON object a message must contain: nested objects contain, all other values are equal (see `profiles.matches`)."""


class Model(BaseModel):
    """Frozen, strict, unknown keys refused, inputs never quoted in errors."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", hide_input_in_errors=True)


class Outcome(Model):
    """What a rule's match means: a failure `reason`, or a `factory` reason; exactly one of them."""

    reason: Annotated[Reason | None, Field(strict=False)] = None
    factory: Annotated[FactoryReason | None, Field(strict=False)] = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.reason is None) == (self.factory is None):
            raise ValueError("needs exactly one of reason and factory")
        return self


class ErrorRule(Outcome):
    """An error frame: `match` contained, and each regular expression of `text` found in the field of that path.

    A named group `limit` in `text` is read as the number of slots the backend allows, `retry_after` as seconds.
    """

    match: Pattern
    text: dict[FieldPath, str] = {}


class CloseRule(Outcome):
    """A close frame of the server: its `code` (any when absent) and a regular expression found in its reason text.

    The groups `limit` and `retry_after` are read as in `ErrorRule`. A `code` of 4000–4999 named here becomes a label
    value of its own.
    """

    code: Annotated[int, Field(ge=1000, le=4999)] | None = None
    text: str = ""


class NoiseRule(Model):
    """A message to pass over and count as `kind`; `answer` is sent back when given (an application pong).

    `factory`: what it means when no welcome follows (a recovery notice), or, with `fails_welcome`, even if one does.
    """

    kind: Name
    match: Pattern
    answer: dict[str, Any] | None = None
    factory: Annotated[FactoryReason | None, Field(strict=False)] = None
    fails_welcome: bool = False


class WelcomeCheck(Model):
    """A field of the welcome that must hold a value, and what it means if it does not."""

    field: FieldPath
    equals: bool | str | int
    factory: Annotated[FactoryReason, Field(strict=False)]


class Welcome(Model):
    """The frame that says we are let in, and what the factory must have put into it (paths of fields)."""

    match: Pattern
    required: list[FieldPath] = []
    subject: FieldPath | None = None
    environment: FieldPath | None = None
    connection_id: FieldPath | None = None
    server_time: FieldPath | None = None
    heartbeat_interval: FieldPath | None = None
    max_message_size: FieldPath | None = None
    checks: list[WelcomeCheck] = []


class Exchange(Model):
    """A message of ours and the reply that answers it; `expect` must hold in the reply, or it is a bad one.

    `${nonce}`, `${identity}` (the subject) and, in an auth message, `${token}` are filled in.
    """

    message: Pattern
    match: Pattern
    expect: dict[str, Any] = {}


class Limits(Model):
    """What the backend keeps per connection and user. 0 slots: unlimited."""

    slots_per_identity: Annotated[int, Field(ge=0)] = 0
    slot_release: Duration = 0.0
    reserve: Annotated[int, Field(ge=1)] = 1


class Carry(Model):
    """How a token travels: the header's value, the subprotocols offered, the query parameter's name.

    `${token}` is the token, `${token_base64url}` the same in base64url without padding.
    """

    header: str = "Bearer ${token}"
    subprotocols: list[str] = ["jwt-auth", "jwt.${token_base64url}"]
    query: str = "token"


class Profile(Model):
    """How one kind of backend is spoken to, as data."""

    welcome: Welcome | None = None
    auth: Exchange | None = None
    send: Exchange | None = None
    noise: list[NoiseRule] = []
    errors: list[ErrorRule] = []
    closes: list[CloseRule] = []
    limits: Limits = Limits()
    carry: Carry = Carry()
    needs_token: bool = False
    connect_without_token: bool = False
    bypass_headers: list[str] = []
    max_message_size: Annotated[int, Field(ge=1)] = 1_048_576

    @model_validator(mode="before")
    @classmethod
    def _short_noise(cls, value: Any) -> Any:
        """Let a noise entry be a bare pattern: `{type: ping}` is kind `ping`."""
        if isinstance(value, dict) and isinstance(value.get("noise"), list):
            return {**value, "noise": [_long_noise(entry) for entry in value["noise"]]}
        return value


def _long_noise(entry: Any) -> Any:
    if not isinstance(entry, Mapping) or "kind" in entry or isinstance(entry.get("match"), Mapping):
        return entry
    kind = next((value for value in entry.values() if isinstance(value, str)), "noise")
    return {"kind": kind, "match": dict(entry)}


class Jwt(Model):
    """A token minted per session from a key, or a ready one; the key is named, never written here.

    Exactly one of `key_file`, `key_env` and `token_file`. `lifetime` in seconds.
    """

    key_file: str | None = None
    key_env: str | None = None
    token_file: str | None = None
    algorithm: Literal["HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "ES256", "ES384", "ES512"] = "HS256"
    lifetime: Period = 300.0
    claims: dict[str, str | int | float | bool | list[str]] = {}
    headers: dict[str, str] = {}

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if sum(source is not None for source in (self.key_file, self.key_env, self.token_file)) != 1:
            raise ValueError("needs exactly one of key_file, key_env and token_file")
        return self


class Auth(Model):
    """Who we are and how the token travels."""

    jwt: Jwt
    carry: Literal["header", "subprotocol", "query"] = "header"


class Every(Model):
    """Every n-th cycle goes this deep."""

    every: Annotated[int, Field(ge=1, le=10_000)] = 1


class Probes(Model):
    """How often a cycle goes as deep as each probe; connect is asked in every cycle."""

    auth: Every = Every()
    send: Every = Every()


class Confirm(Model):
    """Extra sessions after the first failed cycle: at most `runs`, the n-th `n × after` seconds after the failure."""

    runs: Annotated[int, Field(ge=0, le=2)] = 2
    after: Period = 6.0


class TargetLimits(Model):
    """A target's own view of its backend's limits; what is absent is the profile's."""

    slots_per_identity: Annotated[int, Field(ge=0)] | None = None
    slot_release: Duration | None = None
    reserve: Annotated[int, Field(ge=1)] | None = None


class Tls(Model):
    """Trust and client certificate for wss."""

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    server_name: str | None = None


class Target(Model):
    """A named backend URL and how it is probed. Durations in seconds."""

    name: Name
    url: str
    profile: str = "factory"
    interval: Period = 20.0
    timeout: Period = 10.0
    close_timeout: Period = 2.0
    identities: dict[Name, Annotated[str, Field(min_length=1)]] = {}
    auth: Auth | None = None
    auth_retry: Period = 300.0
    probes: Probes = Probes()
    confirm: Confirm = Confirm()
    limits: TargetLimits = TargetLimits()
    headers: dict[str, str] = {}
    allow_auth_bypass: bool = False
    environment: str | None = None
    tls: Tls = Tls()
    ip_protocol: Literal["any", "ip4", "ip6"] = "any"


class Config(Model):
    """The whole file. `max_connects_per_minute` holds for each host, over all targets; loopback is exempt."""

    targets: Annotated[list[Target], Field(min_length=1)]
    profiles: dict[Name, Profile] = {}
    max_connects_per_minute: Annotated[int, Field(ge=1)] = 60
