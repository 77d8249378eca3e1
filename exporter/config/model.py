"""The shape of a config file: frozen, strict models with their defaults. Durations in seconds.

Rule 1: a model checks its own fields only; what two fields or two targets must agree on stands in `target_checks`
and `profile_checks`.
"""

from collections.abc import Mapping
from pathlib import PurePath
from typing import Annotated, Any, Final, Literal, Self, TypeVar

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    model_validator,
)

from exporter.config.profile_model import Model, Profile
from exporter.config.scalars import (
    Claim,
    Duration,
    EnvironmentName,
    FieldPath,
    FigureLimit,
    FilePath,
    HeaderName,
    LabelName,
    LabelValue,
    LinkUrl,
    Name,
    Period,
    Text,
)
from exporter.result import PROXIES, SERVERS, RefusalCase, Software


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
    after: Period = 5.0


class Sentinel(Model):
    """Connect-deep sessions between the cycles, anonymous; one that fails starts the confirm runs at once."""

    every: Period = 5.0


class Hold(Model):
    """One connection that is kept open, as a user of its own (docs/hold.md). Durations in seconds.

    identity: one alias → subject, of no pool; empty for a target without identities
    max_age: a connection is closed at this age, and the next one opened
    ping: between two WebSocket pings
    ask: between two of the profile's `send` exchanges; None: none after the one at the begin
    quiet: how long a connection without traffic of the exporter's own is held; None: there is none
    reconnect: between two openings, at least
    """

    identity: dict[Name, Text] = {}
    max_age: Period = 3600.0
    ping: Period = 15.0
    ask: Period | None = None
    quiet: Period | None = 360.0
    reconnect: Period = 60.0


class TargetLimits(Model):
    """A target's own view of its backend's limits; what is absent is the profile's."""

    slots_per_identity: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    slot_release: Duration | None = None
    reserve: Annotated[int, Field(ge=0, le=1_000_000)] | None = None


class Canary(Model):
    """A user of its own whose connections show whether the backend gives slots back (docs/canary.md).

    identity: one alias → subject, of no pool
    every: seconds from the begin of a round to the next one
    """

    identity: dict[Name, Text]
    every: Period = 1800.0


class Stats(Model):
    """Figures that the backend tells of itself: JSON over HTTP, from the host of the target's url.

    every: seconds from one read to the next
    fields: name of a figure, a label value, → its path in the answer
    limits: name of a figure → what it must not reach, or the path of that in the answer
    identity: alias of `identities` whose token is sent as Bearer; None: no token
    """

    url: LinkUrl
    every: Period = 60.0
    fields: dict[Name, FieldPath]
    limits: dict[Name, FigureLimit] = {}
    identity: Name | None = None


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


BEHIND_WORDS: Final = tuple(software for software in Software if software in PROXIES)


FRAMEWORKS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("fastapi", "starlette", "litestar", "blacksheep"), "uvicorn, hypercorn, daphne or granian"),
    **dict.fromkeys(("django", "channels", "quart"), "daphne, uvicorn or hypercorn"),
    **dict.fromkeys(("flask", "flask-socketio"), "flask-sock, socketio, gunicorn or werkzeug"),
    **dict.fromkeys(("python-socketio", "socket.io"), "socketio"),
    **dict.fromkeys(("express", "koa", "nodejs", "node.js"), "ws, socketio or node"),
    **dict.fromkeys(("nestjs",), "nest"),
    **dict.fromkeys(("spring", "spring-boot"), "tomcat, jetty or undertow"),
    **dict.fromkeys(("quarkus",), "vertx"),
    **dict.fromkeys(("gin", "echo", "fiber", "chi", "go", "golang"), "gorilla, coder, gobwas or gws"),
    **dict.fromkeys(("rocket", "warp", "rust"), "tungstenite, axum or actix"),
    **dict.fromkeys(("phoenix", "elixir"), "cowboy"),
    **dict.fromkeys(("rails", "actioncable"), "puma"),
    **dict.fromkeys(("asp.net", "aspnetcore", "signalr", "dotnet"), "kestrel"),
}
"""Frameworks and languages that people write there, and the words for what runs them."""


def _server_word(value: object) -> object:
    if value is None or value in SERVERS:
        return value
    framework = FRAMEWORKS.get(value.lower().replace(" ", "-")) if isinstance(value, str) else None
    if framework is not None:
        raise ValueError(f"{value} is a framework or a language; name what runs the WebSockets: {framework}")
    raise ValueError(f"must be one of: {', '.join(SERVERS)}; a proxy in front of it stands under behind")


def _proxy_word(value: object) -> object:
    if value not in BEHIND_WORDS:
        raise ValueError(f"must be one of: {', '.join(BEHIND_WORDS)}; the backend's own server stands under server")
    return value


def _proxy_list(value: object) -> object:
    """Let one word stand for a list of one."""
    return [value] if isinstance(value, str) else value


ServerWord = Annotated[Software | None, Field(strict=False), BeforeValidator(_server_word)]
ProxyWord = Annotated[Software, Field(strict=False), BeforeValidator(_proxy_word)]


def _case_word(value: object) -> object:
    if value not in tuple(RefusalCase):
        raise ValueError(f"must be one of: {', '.join(RefusalCase)}")
    return value


CaseWord = Annotated[RefusalCase, Field(strict=False), BeforeValidator(_case_word)]


class Refusals(Model):
    """Credentials that the backend must refuse, and how often each of them is sent. Durations in seconds.

    `every`: of each case that no login breaker counts; `rare_every`: of each other case (`config.rare_cases`).
    `disabled`: the subject of a user who is disabled.
    """

    every: Period = 300.0
    rare_every: Period = 21_600.0
    cases: Annotated[list[CaseWord], Field(min_length=1)] = [RefusalCase.NO_TOKEN, RefusalCase.MALFORMED]
    disabled: Text | None = None


class Target(Model):
    """A named backend URL and how it is probed. Durations in seconds.

    `check_identities`: users that only the `check` command speaks as, so that it takes none of the schedule's slots.
    `refusals`: None: nothing is sent that must be refused.
    `labels`: of `ws_probe_target_info`, to join with. `slow_over`: one duration or one for each probe.
    `address`: a name or IP address to connect to instead of the url's host, which stays in Host, SNI and certificate.
    `server`, `behind`: what serves the backend, and the proxies in front of it, the outermost first. The diagnosis of a
    failure uses them where no answer names them.
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
    canary: Canary | None = None
    sentinel: Sentinel | None = None
    hold: Hold | None = None
    stats: Stats | None = None
    limits: TargetLimits = TargetLimits()
    headers: dict[str, str] = {}
    allow_auth_bypass: bool = False
    environment: Text | None = None
    tls: Tls = Tls()
    ip_protocol: Literal["any", "ip4", "ip6"] = "any"
    slow_over: Annotated[SlowOver, BeforeValidator(_each_probe)] = SlowOver()
    labels: dict[LabelName, LabelValue] = {}
    refusals: Refusals | None = None
    server: ServerWord = None
    behind: Annotated[list[ProxyWord], BeforeValidator(_proxy_list)] = []


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
