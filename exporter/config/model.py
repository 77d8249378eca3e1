"""The shape of a config file: frozen, strict models with their defaults. Durations in seconds.

Rule 1: a model checks its own fields only; what two fields or two targets must agree on stands in `target_checks`
and `profile_checks`.
"""

from collections.abc import Mapping
from pathlib import PurePath
from typing import Annotated, Any, Final, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    field_validator,
    model_validator,
)

from exporter.config.scalars import (
    TARGET_NAME,
    Claim,
    Duration,
    EnvironmentName,
    FieldPath,
    FilePath,
    HeaderName,
    LabelName,
    LabelValue,
    LinkUrl,
    Message,
    Name,
    Pattern,
    Period,
    Regex,
    Scalar,
    Text,
    VariableName,
)
from exporter.result import FactoryReason, Reason


class Model(BaseModel):
    """Frozen, strict, unknown keys refused, inputs never quoted in errors."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", hide_input_in_errors=True)


class RuleOutcome(Model):
    """What a rule's match means: a failure `reason`, or a `factory` reason; exactly one of them.

    `proves_auth`: the server says this only to clients whose token it has verified, so auth passed. `no_token`: it says
    this to clients whose token did not arrive. `cause`: what it means at this backend, and the next step: shown when
    the rule sorts what ended a session.
    """

    reason: Annotated[Reason | None, Field(strict=False)] = None
    factory: Annotated[FactoryReason | None, Field(strict=False)] = None
    proves_auth: bool = False
    no_token: bool = False
    cause: Text | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.reason is None) == (self.factory is None):
            raise ValueError("needs exactly one of reason and factory")
        return self


class ErrorRule(RuleOutcome):
    """An error frame: `match` contained, and each regular expression of `text` found in the field of that path.

    A named group `limit` in `text` is read as the number of slots the backend allows, `retry_after` as seconds.
    """

    match: Pattern
    text: dict[FieldPath, Regex] = {}


class CloseRule(RuleOutcome):
    """A close frame of the server: its `code` (any when absent) and a regular expression found in its reason text.

    The groups `limit` and `retry_after` are read as in `ErrorRule`. A `code` of 4000–4999 named here becomes a label
    value of its own.
    """

    code: Annotated[int, Field(ge=1000, le=4999)] | None = None
    text: Regex = ""


UPGRADE_REASONS: Final = (
    Reason.AUTH_REJECTED,
    Reason.AUTH_UNAVAILABLE,
    Reason.RATE_LIMITED,
    Reason.HTTP_STATUS,
    Reason.REDIRECT,
)
"""What an HTTP answer to the upgrade can mean."""


def _upgrade_reason(reason: Reason) -> Reason:
    if reason not in UPGRADE_REASONS:
        raise ValueError(f"must be one of: {', '.join(UPGRADE_REASONS)}")
    return reason


class StatusRule(Model):
    """An HTTP answer to the upgrade other than 101: its `status`, and what it means here; `cause` as in other rules."""

    status: Annotated[int, Field(ge=200, le=599)]
    reason: Annotated[Reason, Field(strict=False), AfterValidator(_upgrade_reason)]
    cause: Text | None = None


class NoiseRule(Model):
    """A message to pass over and count as `kind`; `answer` is sent back when given (an application pong).

    `factory`: what it means when no welcome follows (a recovery notice), or, with `fails_welcome`, even if one does.
    """

    kind: Name
    match: Pattern
    answer: Message | None = None
    factory: Annotated[FactoryReason | None, Field(strict=False)] = None
    fails_welcome: bool = False


class WelcomeCheck(Model):
    """A field of the welcome that must hold a value, and what it means if it does not."""

    field: FieldPath
    equals: Scalar
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


class Framing(Model):
    """How a WebSocket message holds values: by `name`, one of the framings of docs/profiles.md#framing.

    Of `json` alone: `end` is the text that ends each value, `nested` are the fields that hold JSON as text.
    """

    name: Literal["json", "text", "xml", "socketio", "stomp", "nats", "mqtt"] = "json"
    end: str = ""
    nested: list[FieldPath] = []

    @model_validator(mode="after")
    def _json_alone(self) -> Self:
        if self.name != "json" and (self.end or self.nested):
            raise ValueError("end and nested belong to json alone: remove them, or the other framing")
        return self


def _framing_word(value: Any) -> Any:
    """Let the name stand alone."""
    return {"name": value} if isinstance(value, str) else value


class Step(Model):
    """A message to send, the reply to await, or both; a reply that does not match `expect` is a bad one.

    Filled in: `${nonce}`, `${number}` (an integer made from the nonce), `${identity}` (the subject) and, in a
    message, `${token}`, `${basic}` (base64 of subject:token) and `${plain}` (base64 of NUL, subject, NUL, token: SASL
    PLAIN, RFC 4616). In `match` and `expect`, `${any}` is any value that is present. `keep`: fields of the reply by the
    name of the variable that later steps and `bye` fill in.
    """

    message: Message = None
    match: Pattern = None
    expect: Pattern = "${any}"
    keep: dict[VariableName, FieldPath] = {}

    @model_validator(mode="after")
    def _does_something(self) -> Self:
        if self.message is None and self.match is None:
            raise ValueError("needs message (what to send) or match (what to wait for)")
        if self.match is None and not {"expect", "keep"}.isdisjoint(self.model_fields_set):
            raise ValueError("expect and keep read a reply: match says which")
        return self


def _step_list(value: Any) -> Any:
    """Let a single step stand without the list, and nothing for no step."""
    if value is None:
        return []
    return [value] if isinstance(value, Mapping | Step) else value


Steps = Annotated[list[Step], BeforeValidator(_step_list)]


class Proves(Model):
    """What a passed probe shows of this kind of backend, and what it does not; one line each."""

    connect: Text | None = None
    auth: Text | None = None
    send: Text | None = None


class BackendLimits(Model):
    """What the backend keeps per connection and user. 0 slots: unlimited."""

    slots_per_identity: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    slot_release: Duration = 0.0
    reserve: Annotated[int, Field(ge=0, le=1_000_000)] = 1


class Carry(Model):
    """How a token travels: in a header, as offered subprotocols, as the query parameter of this name.

    `header` is the value of Authorization; with `value` it is the name of another header, which has this value.
    `${token}` is the token, `${token_base64url}` the same in base64url without padding.
    """

    header: Text = "Bearer ${token}"
    value: Text | None = None
    subprotocols: Annotated[list[Text], Field(min_length=1)] = ["jwt-auth", "jwt.${token_base64url}"]
    query: Text = "token"


class BreakerSettings(Model):
    """A circuit breaker before the backend's login: after `opens_at` counted events in a row it refuses everybody.

    `counts`: `rejected` (a token that the backend refused), `no_token` (a connection that brought none). `reset_by`:
    `success`, the count falls to 0 when any token is let in, and by nothing else; `time`, an event counts for `window`
    seconds as well.
    """

    counts: Annotated[list[Literal["rejected", "no_token"]], Field(min_length=1)] = ["rejected"]
    opens_at: Annotated[int, Field(ge=2, le=1000)]
    reset_by: Literal["success", "time"] = "success"
    window: Period | None = None

    @model_validator(mode="after")
    def _window_for_time(self) -> Self:
        if (self.reset_by == "time") != (self.window is not None):
            raise ValueError("needs window (how long an event counts) with reset_by: time, and only then")
        return self


class Profile(Model):
    """How one kind of backend is spoken to, as data.

    `error`: what any error frame contains; `errors` sort them (a frame that only an `errors` rule matches is one too).
    `breaker`: the circuit breakers before the login, one or a list; none: the backend is not known to have any.
    `statuses` sort HTTP answers to the upgrade. `subprotocols` are offered in every session. `auth_by: upgrade`: to be
    let in with a token is the answer to the auth probe. `auth` and `send`: one step, or a list of steps. `bye` is sent
    before our close frame, once a message of a step was sent.
    """

    framing: Annotated[Framing, BeforeValidator(_framing_word)] = Framing()
    welcome: Welcome | None = None
    auth: Steps = []
    send: Steps = []
    bye: Message = None
    noise: list[NoiseRule] = []
    error: Pattern | None = None
    errors: list[ErrorRule] = []
    closes: list[CloseRule] = []
    statuses: list[StatusRule] = []
    subprotocols: list[Text] = []
    limits: BackendLimits = BackendLimits()
    carry: Carry = Carry()
    auth_by: Literal["upgrade"] | None = None
    needs_token: bool = False
    connect_without_token: bool = False
    bypass_headers: list[Text] = []
    breaker: list[BreakerSettings] = []
    proves: Proves = Proves()
    max_message_size: Annotated[int, Field(ge=1, le=67_108_864)] = 1_048_576

    @field_validator("breaker", mode="before")
    @classmethod
    def _one_breaker(cls, value: Any) -> Any:
        """Let a single breaker stand without the list."""
        return [value] if isinstance(value, Mapping) else value

    @model_validator(mode="before")
    @classmethod
    def _short_noise(cls, value: Any) -> Any:
        """Let a noise entry be a bare pattern: `{type: ping}` is kind `ping`."""
        if isinstance(value, dict) and isinstance(value.get("noise"), list):
            return {**value, "noise": [_long_noise(entry) for entry in value["noise"]]}
        return value


def _long_noise(entry: Any) -> Any:
    """What is no rule by its keys is a pattern, whose first text is its kind."""
    is_rule = isinstance(entry, Mapping) and any(key in NoiseRule.model_fields for key in entry)
    if is_rule or not isinstance(entry, Mapping | list) or not entry:
        return entry
    parts = entry.values() if isinstance(entry, Mapping) else entry
    kind = next((part for part in parts if isinstance(part, str) and TARGET_NAME.fullmatch(part)), "noise")
    return {"kind": kind, "match": entry}


class Jwt(Model):
    """A token minted per session from a key, or a ready one; the key is named, never written here.

    Exactly one of `key_file`, `key_env` and `token_file`. `lifetime` in seconds.
    """

    key_file: FilePath | None = None
    key_env: EnvironmentName | None = None
    token_file: FilePath | None = None
    algorithm: Literal["HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "ES256", "ES384", "ES512"] = "HS256"
    lifetime: Period = 300.0
    claims: dict[Text, Claim] = {}
    headers: dict[Text, Text] = {}

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if sum(source is not None for source in (self.key_file, self.key_env, self.token_file)) != 1:
            raise ValueError("needs exactly one of key_file, key_env and token_file")
        return self


class Secret(Model):
    """A password, API key or other ready credential: any printable characters, in a file or a variable."""

    secret_file: FilePath | None = None
    secret_env: EnvironmentName | None = None


CARRIERS: Final = ("header", "subprotocol", "query", "message")


def _carrier_word(value: object) -> object:
    if value not in CARRIERS:
        raise ValueError(
            f"must be one of: {', '.join(CARRIERS)}, or a mapping such as "
            '{header: Cookie, value: "access=${token}"}'
        )
    return value


class HeaderCarry(Model):
    """The header that carries the token, and its value around the token."""

    header: HeaderName
    value: Text = "${token}"


CarryWord = Literal["header", "subprotocol", "query", "message"]


def _carry_form(value: object) -> str:
    return "[mapping]" if isinstance(value, Mapping | HeaderCarry) else "[word]"


class Auth(Secret):
    """Who we are and how the token travels: a token of `jwt`, or a secret from a file or variable.

    `carry` None: as the profile's messages say: in them if they hold `${token}`, else in the header.
    """

    jwt: Jwt | None = None
    carry: (
        Annotated[
            Annotated[HeaderCarry, Tag("[mapping]")]
            | Annotated[CarryWord, BeforeValidator(_carrier_word), Tag("[word]")],
            Discriminator(_carry_form),
        ]
        | None
    ) = None

    @property
    def source(self) -> Jwt | Secret:
        """Where the token comes from."""
        return self.jwt or Secret(secret_file=self.secret_file, secret_env=self.secret_env)

    @model_validator(mode="after")
    def _one_credential(self) -> Self:
        if sum(source is not None for source in (self.jwt, self.secret_file, self.secret_env)) != 1:
            raise ValueError("needs exactly one of jwt, secret_file and secret_env")
        return self


class CycleShare(Model):
    """Every n-th cycle goes this deep."""

    every: Annotated[int, Field(ge=1, le=10_000)] = 1


class ProbeSchedule(Model):
    """How often a cycle goes as deep as each probe; connect is asked in every cycle."""

    auth: CycleShare = CycleShare()
    send: CycleShare = CycleShare()


class ConfirmRuns(Model):
    """Extra sessions after the first failed cycle: at most `runs`, the n-th `n × after` seconds after the failure."""

    runs: Annotated[int, Field(ge=0, le=2)] = 2
    after: Period = 6.0


class TargetLimits(Model):
    """A target's own view of its backend's limits; what is absent is the profile's."""

    slots_per_identity: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    slot_release: Duration | None = None
    reserve: Annotated[int, Field(ge=0, le=1_000_000)] | None = None


class Tls(Model):
    """Trust and client certificate for wss."""

    ca_file: FilePath | None = None
    cert_file: FilePath | None = None
    key_file: FilePath | None = None
    server_name: Text | None = None


class SlowOver(Model):
    """Seconds to a probe's verdict from which a passed session counts as slow."""

    connect: Period = 2.0
    auth: Period = 2.0
    send: Period = 2.0


def _each_probe(value: object) -> object:
    """Let one duration stand for all probes."""
    return dict.fromkeys(SlowOver.model_fields, value) if isinstance(value, str) else value


class Target(Model):
    """A named backend URL and how it is probed. Durations in seconds.

    `check_identities`: users that only the `check` command speaks as, so that it takes none of the schedule's slots.
    `labels`: of `ws_probe_target_info`, to join with. `slow_over`: one duration or one for each probe.
    `address`: a name or IP address to connect to instead of the url's host, which stays in Host, SNI and certificate.
    """

    name: Name
    url: Text
    address: Text | None = None
    profile: Text = "factory"
    interval: Period = 20.0
    timeout: Period = 10.0
    close_timeout: Period = 2.0
    identities: dict[Name, Text] = {}
    check_identities: dict[Name, Text] = {}
    auth: Auth | None = None
    auth_retry: Period = 300.0
    probes: ProbeSchedule = ProbeSchedule()
    confirm: ConfirmRuns = ConfirmRuns()
    limits: TargetLimits = TargetLimits()
    headers: dict[str, str] = {}
    allow_auth_bypass: bool = False
    environment: Text | None = None
    tls: Tls = Tls()
    ip_protocol: Literal["any", "ip4", "ip6"] = "any"
    slow_over: Annotated[SlowOver, BeforeValidator(_each_probe)] = SlowOver()
    labels: dict[LabelName, LabelValue] = {}


class Config(Model):
    """The whole file. `defaults` are in the targets by the time this is read (`defaults.with_defaults`).

    `max_connects_per_minute` holds for each host, over all targets; loopback is exempt.

    `max_sessions`: connections that may be open at once, over all targets. `state_file`: where the ledger is kept over
    restarts and shared with every `check` on the machine. `history_file`: where the history is kept over restarts; one
    exporter's alone. `runbook_url`: where the pages of the runbook are served.
    """

    targets: Annotated[list[Target], Field(min_length=1)]
    defaults: dict[str, Any] = {}
    profiles: dict[Name, Profile] = {}
    max_connects_per_minute: Annotated[int, Field(ge=1, le=60_000)] = 60
    max_sessions: Annotated[int, Field(ge=1, le=100_000)] = 1000
    state_file: FilePath | None = None
    history_file: FilePath | None = None
    runbook_url: LinkUrl | None = None

    def resolved(self, folder: PurePath) -> Self:
        """The same where each file's relative path starts at `folder`, the one the config file lies in."""
        targets = [_resolved(target, folder) for target in self.targets]
        return _with_paths(self, folder).model_copy(update={"targets": targets})


Files = TypeVar("Files", bound=Model)


def _resolved(target: Target, folder: PurePath) -> Target:
    tls = _with_paths(target.tls, folder)
    if target.auth is None:
        return target.model_copy(update={"tls": tls})
    jwt = None if target.auth.jwt is None else _with_paths(target.auth.jwt, folder)
    auth = _with_paths(target.auth, folder).model_copy(update={"jwt": jwt})
    return target.model_copy(update={"tls": tls, "auth": auth})


def _with_paths(files: Files, folder: PurePath) -> Files:
    """Every field named `…_file` holds a path."""
    named = {name: getattr(files, name) for name in type(files).model_fields if name.endswith("_file")}
    return files.model_copy(update={name: str(folder / path) for name, path in named.items() if path is not None})
