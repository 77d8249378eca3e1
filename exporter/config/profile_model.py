"""The shape of a profile: frozen, strict models with their defaults. Durations in seconds."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from exporter.config.scalars import (
    TARGET_NAME,
    Duration,
    FieldPath,
    HeaderName,
    HttpOrigin,
    Message,
    Name,
    NoisePattern,
    Pattern,
    Period,
    Regex,
    RequestLine,
    Scalar,
    Text,
    VariableName,
)
from exporter.framing import FRAMINGS, Codec, codec_of
from exporter.result import FactoryReason, Reason


class Model(BaseModel):
    """Frozen, strict, unknown keys refused, inputs never quoted in errors."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", hide_input_in_errors=True)


RULE_REASONS: Final = (
    Reason.RESET,
    Reason.TIMEOUT,
    Reason.RATE_LIMITED,
    Reason.AUTH_REJECTED,
    Reason.AUTH_UNAVAILABLE,
    Reason.CLOSED,
    Reason.SERVER_ERROR,
    Reason.BAD_REPLY,
    Reason.PROTOCOL_ERROR,
    Reason.TOO_BIG,
)
"""What an error message or a close frame can mean: a reason of a phase after the 101, other than `factory`, which needs
a factory reason of its own."""


def _rule_reason(value: Any) -> Any:
    if value is not None and value not in RULE_REASONS:
        raise ValueError(f"must be one of: {', '.join(RULE_REASONS)}; what a factory did wrong stands under factory")
    return value


class RuleOutcome(Model):
    """What a rule's match means: a failure `reason`, or a `factory` reason; exactly one of them.

    `proves_auth`: the server says this only to clients whose token it has verified, so auth passed. `no_token`: it says
    this to clients whose token did not arrive. `cause`: what it means at this backend, and the next step: shown when
    the rule sorts what ended a session.
    """

    reason: Annotated[Reason | None, Field(strict=False), BeforeValidator(_rule_reason)] = None
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

    The groups `limit` and `retry_after` are read as in `ErrorRule`. A `code` of 3000–4999 named here becomes a label
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

    `match`: as a whole, `{}` is the empty object alone, which every other object would contain.
    `factory`: what it means when no welcome follows (a recovery notice), or, with `fails_welcome`, even if one does.
    """

    kind: Name
    match: NoisePattern
    answer: Message | None = None
    factory: Annotated[FactoryReason | None, Field(strict=False)] = None
    fails_welcome: bool = False


class WelcomeCheck(Model):
    """A field of the welcome that must hold a value, and what it means if it does not."""

    field: FieldPath
    equals: Scalar
    factory: Annotated[FactoryReason, Field(strict=False)]


class Welcome(Model):
    """The frame that says we are let in, and what the factory must have put into it (paths of fields).

    `heartbeat_interval` is in seconds, `heartbeat_milliseconds` in milliseconds: where a backend announces how often it
    sends a message that the profile passes over as `ping`.
    """

    match: Pattern
    required: list[FieldPath] = []
    subject: FieldPath | None = None
    environment: FieldPath | None = None
    connection_id: FieldPath | None = None
    server_time: FieldPath | None = None
    heartbeat_interval: FieldPath | None = None
    heartbeat_milliseconds: FieldPath | None = None
    max_message_size: FieldPath | None = None
    checks: list[WelcomeCheck] = []


def _framing_name(value: Any) -> Any:
    if value not in FRAMINGS:
        raise ValueError(f"must be one of: {', '.join(FRAMINGS)}")
    return value


class Framing(Model):
    """How a WebSocket message holds values: by `name`, one of the framings of docs/profiles.md#framing.

    Of `json` alone: `end` is the text that ends each value. `nested` are the fields that hold JSON as text in both
    directions, `opened` those that hold it in the server's messages only.
    """

    name: Annotated[str, BeforeValidator(_framing_name)] = "json"
    end: str = ""
    nested: list[FieldPath] = []
    opened: list[FieldPath] = []

    @model_validator(mode="after")
    def _json_alone(self) -> Self:
        if self.name != "json" and (self.end or self.nested or self.opened):
            raise ValueError("end, nested and opened belong to json alone: remove them, or the other framing")
        if not set(self.nested).isdisjoint(self.opened):
            raise ValueError("nested fields are opened anyway: name a field in nested or in opened, not in both")
        return self

    @property
    def codec(self) -> Codec:
        """The codec of this framing; raises FramingError if `end` may stand in JSON."""
        return codec_of(self.name, end=self.end, nested=self.nested, opened=self.opened)


def _framing_word(value: Any) -> Any:
    """Let the name stand alone."""
    return {"name": value} if isinstance(value, str) else value


class Step(Model):
    """A message to send, the reply to await, or both; a reply that does not match `expect` is a bad one.

    Filled in: `${nonce}`, `${number}` (an integer made from the nonce), `${identity}` (the subject) and, in a
    message, `${token}`, `${basic}` (base64 of subject:token), `${plain}` (base64 of NUL, subject, NUL, token: SASL
    PLAIN, RFC 4616) and, with `heartbeat`, `${heartbeat}`: the milliseconds between two heartbeats that a held
    connection announces, 0 in any other session. In `match` and `expect`, `${any}` is any value that is present.
    `keep`: fields of the reply by the name of the variable that later steps and `bye` fill in.
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


class Before(Model):
    """One HTTP request before the upgrade. Fields of its JSON answer are kept and filled in elsewhere.

    `request`: GET or POST, and a path with its query, at the target's own scheme, host and port, or at `origin`.
    `client_certificate`: the target's is offered to an `origin` of another host too. `body`: JSON, with POST alone.
    `keep`: fields of the answer by the name of the variable that the target's url (path and query) and headers, and
    the profile's subprotocols and messages fill in. In the request itself `${nonce}`, `${identity}` and `${token}` are
    filled in, in its headers `${basic}` and `${token_base64url}` as well, and in its body whatever a message may hold.
    """

    request: RequestLine
    origin: HttpOrigin | None = None
    client_certificate: bool = False
    headers: dict[HeaderName, Text] = {}
    body: Message = None
    keep: Annotated[dict[VariableName, FieldPath], Field(min_length=1)]

    @model_validator(mode="after")
    def _body_of_post(self) -> Self:
        if self.body is not None and self.method != "POST":
            raise ValueError("body goes with POST: a GET has none")
        return self

    @model_validator(mode="after")
    def _certificate_of_origin(self) -> Self:
        if self.client_certificate and not (self.origin or "").startswith("https:"):
            raise ValueError("client_certificate goes with an https origin: the target's own server gets it without")
        return self

    @property
    def method(self) -> str:
        """GET or POST."""
        return self.request.partition(" ")[0]

    @property
    def resource(self) -> str:
        """The path and the query."""
        return self.request.partition(" ")[2]


class ClientHeartbeat(Model):
    """What the backend expects of a client that is silent: `message`, sent `every` 1 s or more.

    `server_milliseconds`: the field of a reply with the time between two heartbeats of the server, 0 for none: a
    number, or a text that begins with one. Less often than `${heartbeat}` the server need not send them.
    """

    message: Message
    every: Annotated[Period, Field(ge=1)]
    server_milliseconds: FieldPath | None = None


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


class RefusedBy(Model):
    """How this kind of backend refuses a login, beside the rules whose reason is `auth_rejected`.

    `statuses`: of the answer to the upgrade, or to the request before it (RFC 9110 section 15.5). `closes`: close codes
    (1008: RFC 6455 section 7.4.1; 3000 and 3003: IANA's registry; 4401 and 4403: custom).
    """

    statuses: list[Annotated[int, Field(ge=400, le=599)]] = [401, 403]
    closes: list[Annotated[int, Field(ge=1000, le=4999)]] = [1008, 3000, 3003, 4401, 4403]


class Profile(Model):
    """How one kind of backend is spoken to, as data.

    `error`: what any error frame contains; `errors` sort them (a frame that only an `errors` rule matches is one too).
    `breaker`: the circuit breakers before the login, one or a list; none: the backend is not known to have any.
    `refused_by`: what the refusal probe takes for a right refusal.
    `before`: a request whose answer the upgrade needs. `statuses` sort HTTP answers to that request and to the upgrade.
    `subprotocols` are offered in every session. `auth_by: upgrade`: to be
    let in with a token is the answer to the auth probe. `auth` and `send`: one step, or a list of steps. `bye` is sent
    before our close frame, once a message of a step was sent. `heartbeat` is sent on a held connection alone.
    `needs_token` None: as the messages and `auth_by` say; False: a target without a token, or without an identity,
    sends the messages without the fields that hold them.
    """

    framing: Annotated[Framing, BeforeValidator(_framing_word)] = Framing()
    before: Before | None = None
    welcome: Welcome | None = None
    auth: Steps = []
    send: Steps = []
    bye: Message = None
    heartbeat: ClientHeartbeat | None = None
    noise: list[NoiseRule] = []
    error: Pattern | None = None
    errors: list[ErrorRule] = []
    closes: list[CloseRule] = []
    statuses: list[StatusRule] = []
    subprotocols: list[Text] = []
    limits: BackendLimits = BackendLimits()
    carry: Carry = Carry()
    auth_by: Literal["upgrade"] | None = None
    needs_token: bool | None = None
    connect_without_token: bool = False
    bypass_headers: list[Text] = []
    breaker: list[BreakerSettings] = []
    refused_by: RefusedBy = RefusedBy()
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
