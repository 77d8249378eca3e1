"""What an explanation depends on: the result, the configuration of its target, and the facts that follow from both.

A result says what happened in a session, not how the target is configured. A report that is read back without a
context has `UNKNOWN_CONTEXT`, and its sentences say less.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Final, Protocol, Self
from urllib.parse import urlsplit

from exporter.config import Auth, BackendLimits, Profile, Target, carrier_of, has_token_message
from exporter.framing import FRAMINGS
from exporter.profiles import BINARY_KIND, causes_of, has_factory, proofs_of
from exporter.report.programs import Match, find_match, named_server
from exporter.result import (
    PROXIES,
    Direction,
    Frame,
    Initiator,
    Opcode,
    Phase,
    Probe,
    Reason,
    Result,
    Software,
    Verdict,
)
from exporter.software import ProxyEvent, ServerEvent

STANDARD_PORTS: Final = {"ws": 80, "wss": 443, "http": 80, "https": 443}
ORIGIN_HEADER: Final = "origin"
USER_AGENT_HEADER: Final = "user-agent"


class Credential(StrEnum):
    """What a target logs in with."""

    NONE = "none"
    SIGNED = "signed"
    READY = "ready"
    SECRET = "secret"  # noqa: S105


class ConfiguredTarget(Protocol):
    """A target with its profile and the limits in force: the part of a `Job` that reports need."""

    @property
    def target(self) -> Target:
        """The target as the config has it."""

    @property
    def profile(self) -> Profile:
        """The profile of its backend."""

    @property
    def limits(self) -> BackendLimits:
        """The target's own limits, else those of the profile."""


@dataclass(frozen=True, slots=True)
class TargetContext:
    """A target as it is configured; None: not known.

    `profile`, `assumed`: its name, and whether it is the default because the target names none.
    `host`, `port`, `server_name`: of its URL; the name that its certificate must be for.
    `asked`: host and port of the request before the upgrade, if that goes to another server.
    `factory`, `breaker`: whether the profile describes a factory, and a circuit breaker before the login.
    `credential`, `carrier`: what the target logs in with; where the token stands, in words.
    `tokenless`: a session of depth `connect` sends no token.
    `offered`: whether subprotocols are offered. `framing`: how messages are written, if not as JSON.
    `headers`: names of the headers that the target sets, as the config writes them.
    `bypass`: whether the backend is asked to skip the login.
    `settings`: seconds, by the names of the config.
    `server`, `behind`: what serves the backend, and the proxies in front of it, outermost first, as the config says.
    `slow_over`: seconds from which a passed probe is slow.
    `causes`, `proves`: what the profile says of its rules, by their paths (`closes[0]`), and of passed probes; of a
    target without the token that the profile's messages hold, what is known then.
    """

    profile: str | None = None
    assumed: bool = False
    host: str | None = None
    port: int | None = None
    server_name: str | None = None
    asked: str | None = None
    factory: bool | None = None
    breaker: bool | None = None
    credential: Credential | None = None
    carrier: str | None = None
    tokenless: bool = False
    offered: bool | None = None
    framing: str | None = None
    headers: tuple[str, ...] | None = None
    bypass: bool = False
    settings: Mapping[str, float] = field(default_factory=dict)
    causes: Mapping[str, str] = field(default_factory=dict)
    proves: Mapping[Probe, str] = field(default_factory=dict)
    slow_over: Mapping[Probe, float] = field(default_factory=dict)
    server: Software | None = None
    behind: tuple[Software, ...] = ()

    @classmethod
    def of(cls, job: ConfiguredTarget) -> Self:
        """The context of a planned target."""
        target, profile = job.target, job.profile
        url = urlsplit(target.url)
        carrier = None if target.auth is None else carrier_of(target.auth, profile)
        lacks_token = target.auth is None and has_token_message(profile)
        return cls(
            profile=target.profile,
            assumed="profile" not in target.model_fields_set,
            host=url.hostname,
            port=url.port or STANDARD_PORTS.get(url.scheme),
            server_name=(target.tls.server_name or url.hostname or "").removesuffix("."),
            asked=_asked(profile),
            factory=has_factory(profile),
            breaker=bool(profile.breaker),
            credential=_credential(target.auth),
            carrier=None if carrier is None else CARRIER_TEXTS[carrier.by].format(carrier.name),
            tokenless=profile.connect_without_token,
            offered=bool(profile.subprotocols) or (carrier is not None and carrier.by == "subprotocol"),
            headers=tuple(target.headers),
            framing=None if profile.framing.name == "json" else profile.framing.name,
            bypass=target.allow_auth_bypass,
            settings={
                "auth_retry": target.auth_retry,
                "slot_release": job.limits.slot_release,
            },
            causes=causes_of(profile) | (_tokenless_causes(profile) if lacks_token else {}),
            proves=proofs_of(profile) | (TOKENLESS_PROOF if lacks_token else {}),
            slow_over={probe: getattr(target.slow_over, probe) for probe in Probe},
            server=target.server,
            behind=tuple(target.behind),
        )

    def sets(self, header: str) -> bool | None:
        """Whether the target sets this header (its name in lower case); None: not known."""
        return None if self.headers is None else header in {name.lower() for name in self.headers}


TOKENLESS_PROOF: Final = {
    Probe.AUTH: "The server answered a login without a token: the target has no `auth`. Whether it looks at tokens was "
    "not asked."
}
"""A profile's own words would speak of the token that its messages hold."""
TOKENLESS_CAUSE: Final = (
    "Give the target a test user (`identities`) and its token or password in a file (`auth.secret_file`), or see why "
    "the backend asks for one."
)


def _tokenless_causes(profile: Profile) -> dict[str, str]:
    """What a refused login means if no token was sent, by the paths of the rules that say so."""
    sorted_as_refused = {
        f"{name}[{index}]"
        for name in ("errors", "closes", "statuses")
        for index, rule in enumerate(getattr(profile, name))
        if rule.reason is Reason.AUTH_REJECTED
    }
    return dict.fromkeys(sorted_as_refused, TOKENLESS_CAUSE)


UNKNOWN_CONTEXT: Final = TargetContext()

CARRIER_TEXTS: Final = {
    "header": "the header {}",
    "subprotocol": "the offered subprotocols",
    "query": "the query of the URL",
    "message": "our messages",
    "before": "the request before the upgrade",
}


def _asked(profile: Profile) -> str | None:
    if profile.before is None or profile.before.origin is None:
        return None
    origin = urlsplit(profile.before.origin)
    return origin.netloc if origin.port else f"{origin.netloc}:{STANDARD_PORTS[origin.scheme]}"


def _credential(auth: Auth | None) -> Credential:
    if auth is None:
        return Credential.NONE
    if auth.jwt is None:
        return Credential.SECRET
    return Credential.SIGNED if auth.jwt.token_file is None else Credential.READY


HOSTING_PROGRAMS: Final = frozenset({Software.GUNICORN, Software.WERKZEUG})
"""Programs that sign answers of the servers which they run."""


# The facts ------------------------------------------------------------------------------------------------------------

UNREADABLE_KINDS: Final = frozenset({BINARY_KIND, *(f"not_{name}" for name in FRAMINGS)})
"""Kinds of frames that are no message in the profile's framing."""
UNEXPECTED_KINDS: Final = frozenset({"other", "foreign_reply", "welcome"})
"""Kinds of messages that no rule of the profile knows, or none expects at this point."""
REFUSING_KINDS: Final = frozenset({"error", "wrong_reply"})
"""Kinds of the messages with which a server refuses."""
UNANSWERED: Final = (None, Reason.TIMEOUT, Reason.RESET)
"""Reasons of failures that no frame of the server ended: a close of the server after ours only answers ours."""
OPEN_PHASES: Final = (Phase.ADMISSION, Phase.AUTH, Phase.REPLY)
DATA_OPCODES: Final = frozenset({Opcode.TEXT, Opcode.BINARY, Opcode.CONTINUATION})


@dataclass(frozen=True)
class FailureSituation:
    """The result of one session, and what is known of its target."""

    result: Result
    context: TargetContext = UNKNOWN_CONTEXT

    @property
    def server_code(self) -> int | None:
        """The code of the server's close or of a lost connection; None if the exporter closed first."""
        close = self.result.close
        if close is None or close.initiator is Initiator.LOCAL or close.phase is Phase.CLOSE:
            return None
        return close.code

    @property
    def server(self) -> Software | None:
        """The server of the target: as its answer says, else as the config does; it also knows what a host runs."""
        named = named_server(self.result)
        return self.context.server or named if named in HOSTING_PROGRAMS else named or self.context.server

    @property
    def edge(self) -> Software | None:
        """The proxy that has the clients: as the config says, else the only one that the answer names."""
        in_front = self.context.behind or (self.result.via if len(self.result.via) == 1 else ())
        return in_front[0] if in_front else None

    def proxies_behind(self, proxy: Software) -> tuple[Software, ...]:
        """The proxies between this one and the server, as the config says."""
        behind = self.context.behind
        return behind[behind.index(proxy) + 1 :] if proxy in behind else ()

    @property
    def close_answered(self) -> bool | None:
        """Whether the server answered our close; None: it closed first, or we had no time to see."""
        close = self.result.close
        if close is None or close.phase is not Phase.CLOSE or close.initiator is Initiator.REMOTE:
            return None
        return close.initiator is Initiator.LOCAL and Phase.CLOSE in self.result.phases

    @cached_property
    def match(self) -> Match | None:
        """What the program that is known here was seen to do like this failure; no silence if it said anything else.

        Cached: several rows of causes ask for it.
        """
        if self.result.reason is Reason.TIMEOUT and _kinds(self) & (UNREADABLE_KINDS | UNEXPECTED_KINDS):
            return None
        answered = self.close_answered
        return find_match(self.result, self.server, self.server_code, close_answered=answered, edge=self.edge)

    @property
    def token_sent(self) -> bool | None:
        """Whether this session sent a credential; of a refused upgrade: in its request. None: not known."""
        in_request = self.result.credential_sent
        if in_request is not None and (in_request or self.result.phase in (Phase.BEFORE, Phase.UPGRADE)):
            return in_request
        credential = self.context.credential
        if credential is None:
            return None
        tokenless = self.context.tokenless and self.result.depth is Probe.CONNECT
        return credential is not Credential.NONE and not tokenless


def refused_after(result: Result) -> float | None:
    """Seconds in the failed phase until the response or the frame that ended it; None if none ended it."""
    start = sum(result.phases.values())
    if result.phase in result.phases or result.reason in UNANSWERED:
        return None
    if result.refused_after is not None:
        return max(0.0, result.refused_after - start)
    if result.phase not in OPEN_PHASES:
        return None
    ends = (frame.at - start for frame in result.transcript if _refuses(frame) and frame.at >= start)
    return next(ends, None)


def _refuses(frame: Frame) -> bool:
    return frame.direction is Direction.IN and (frame.opcode is Opcode.CLOSE or frame.kind in REFUSING_KINDS)


STOPPING_EVENTS: Final = frozenset({ServerEvent.STOPPED, ServerEvent.RECYCLED, ProxyEvent.RELOADED, ProxyEvent.STOPPED})
EXCEPTIONS: Final = frozenset({ServerEvent.RAISES_AFTER_ACCEPT, ServerEvent.RAISES_ON_MESSAGE})


class SituationFact(StrEnum):
    """What a row can require beside phase, reason, code and status. A fact that is not known does not hold."""

    HEARD = "messages came"
    UNREADABLE = "something came that the framing cannot read"
    STRANGE = "a message came that the profile does not know"
    MUTE = "nothing ever came"
    TOKEN_SENT = "a credential was sent"  # noqa: S105
    NO_CREDENTIAL = "no credential was sent"
    NO_TOKEN = "the server says that no token arrived"  # noqa: S105
    NO_ORIGIN = "no Origin was sent"
    ORIGIN_SENT = "an Origin was sent"
    OFFERED = "subprotocols were offered"
    FACTORY = "the profile knows of a factory"
    BREAKER = "the profile knows of a circuit breaker"
    BYPASS = "the backend is asked to skip the login"
    ASSUMED = "the target names no profile"
    WELCOMED = "the welcome came"
    LET_IN = "the auth probe passed"
    USER = "the session spoke as a user"
    RETRY_AFTER = "the server asks to wait"
    FIELDS = "field names of unknown messages are known"
    CLOSE_ANSWERED = "the server answered our close"
    CLOSE_UNANSWERED = "our close got no answer in its time"
    PROXY_ANSWERED = "a proxy made the answer itself"
    BACKEND_ANSWERED = "a server made the answer"
    BEHIND_PROXIES = "proxies stand in front of the server"
    BEHIND_CADDY = "Caddy stands in front of the server"
    INTERIM = "an interim answer came"
    HTTP_IN_STREAM = "an HTTP answer came on the open WebSocket"
    KNOWN_BEHAVIOUR = "the program that is known here was seen to do this"
    STOPPING = "the server that is known here does this when it is stopped or recycled"
    NOT_ONLY_STOPPING = "the program that is known here does this when something else happens, too or instead"
    RAISED = "the program that is known here does this at an exception alone, or none is known"
    UNKNOWN_ERROR = "an error frame came that no rule of the profile names"


def _kinds(situation: FailureSituation) -> frozenset[str]:
    return frozenset(kind for kind, number in situation.result.passed_over.items() if number)


def _is_mute(situation: FailureSituation) -> bool:
    """True if the server has sent no message at all on the open WebSocket."""
    result = situation.result
    received = any(frame.direction is Direction.IN and frame.opcode in DATA_OPCODES for frame in result.transcript)
    return not received and not result.passed_over and not set(OPEN_PHASES) & set(result.phases)


def _is_unknown_error(situation: FailureSituation) -> bool:
    """True if the last error frame has no word of a rule, and none sorted it by its text alone."""
    errors = [frame.code for frame in situation.result.transcript if frame.kind == "error"]
    is_sorted = (situation.result.rule or "").startswith("errors[")
    return bool(errors) and errors[-1] is None and not is_sorted


def _origin_sent(situation: FailureSituation) -> bool | None:
    """Whether the upgrade request held an Origin; None: not known."""
    sent = situation.result.origin_sent
    return situation.context.sets(ORIGIN_HEADER) if sent is None else sent


def _closed(situation: FailureSituation, initiator: Initiator) -> bool:
    close = situation.result.close
    return close is not None and close.phase is Phase.CLOSE and close.initiator is initiator


HOLDS: Final[Mapping[SituationFact, Callable[[FailureSituation], object]]] = {
    SituationFact.HEARD: _kinds,
    SituationFact.UNREADABLE: lambda situation: _kinds(situation) & UNREADABLE_KINDS,
    SituationFact.STRANGE: lambda situation: _kinds(situation) & UNEXPECTED_KINDS,
    SituationFact.MUTE: _is_mute,
    SituationFact.TOKEN_SENT: lambda situation: situation.token_sent is True,
    SituationFact.NO_CREDENTIAL: lambda situation: situation.token_sent is False,
    SituationFact.NO_TOKEN: lambda situation: situation.result.no_token,
    SituationFact.NO_ORIGIN: lambda situation: _origin_sent(situation) is False,
    SituationFact.ORIGIN_SENT: lambda situation: _origin_sent(situation) is True,
    SituationFact.OFFERED: lambda situation: situation.context.offered,
    SituationFact.FACTORY: lambda situation: situation.context.factory,
    SituationFact.BREAKER: lambda situation: situation.context.breaker,
    SituationFact.BYPASS: lambda situation: situation.context.bypass,
    SituationFact.ASSUMED: lambda situation: situation.context.assumed,
    SituationFact.WELCOMED: lambda situation: Phase.ADMISSION in situation.result.phases,
    SituationFact.LET_IN: lambda situation: situation.result.verdicts.get(Probe.AUTH) is Verdict.PASS,
    SituationFact.USER: lambda situation: situation.result.identity is not None,
    SituationFact.RETRY_AFTER: lambda situation: situation.result.retry_after is not None,
    SituationFact.FIELDS: lambda situation: situation.result.unknown_keys,
    SituationFact.CLOSE_ANSWERED: lambda situation: (
        _closed(situation, Initiator.LOCAL) and Phase.CLOSE in situation.result.phases
    ),
    SituationFact.CLOSE_UNANSWERED: lambda situation: _closed(situation, Initiator.NONE),
    SituationFact.PROXY_ANSWERED: lambda situation: (
        situation.result.http_status is not None and situation.result.answered_by in PROXIES
    ),
    SituationFact.BACKEND_ANSWERED: lambda situation: situation.result.answered_by not in (None, *PROXIES),
    SituationFact.BEHIND_PROXIES: lambda situation: situation.result.via or situation.context.behind,
    SituationFact.BEHIND_CADDY: lambda situation: Software.CADDY in (*situation.result.via, *situation.context.behind),
    SituationFact.INTERIM: lambda situation: situation.result.interim_status is not None,
    SituationFact.HTTP_IN_STREAM: lambda situation: situation.result.stream_status is not None,
    SituationFact.KNOWN_BEHAVIOUR: lambda situation: situation.match is not None,
    SituationFact.STOPPING: lambda situation: situation.match and STOPPING_EVENTS.issuperset(situation.match.events),
    SituationFact.NOT_ONLY_STOPPING: lambda situation: (
        situation.match and not STOPPING_EVENTS.issuperset(situation.match.events)
    ),
    SituationFact.RAISED: lambda situation: not situation.match or EXCEPTIONS.issuperset(situation.match.events),
    SituationFact.UNKNOWN_ERROR: _is_unknown_error,
}


def fact_holds(fact: SituationFact, situation: FailureSituation) -> bool:
    """True if the fact is known to hold."""
    return bool(HOLDS[fact](situation))
