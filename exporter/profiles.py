"""The built-in profiles as data, and the pure functions that read any profile.

Rule 1: what one backend does differently stands in its entry and nowhere else, its close reasons and codes too.
Rule 2: a function here takes a profile and a JSON value and knows no socket, no time and no verdict.
"""

import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import compress
from typing import Any, Final, NamedTuple, Self

from exporter.config import (
    BackendLimits,
    BreakerSettings,
    CloseRule,
    ErrorRule,
    Exchange,
    NoiseRule,
    Pattern,
    Profile,
    Welcome,
    WelcomeCheck,
    covers,
    regex,
)
from exporter.result import FactoryReason, Phase, Probe, Reason, evidence_text

VARIABLE: Final = re.compile(r"\$\{(\w+)\}")

INDEX: Final = re.compile(r"[0-9]{1,4}")
"""A part of a path that leads into a list."""

OTHER_KINDS: Final = ("welcome", "foreign_reply", "binary", "not_json", "other")
"""Kinds of passed-over messages that every profile has: a second welcome, a reply to somebody else, no text, no JSON
object, and what no rule knows."""


def _error(code: str, **outcome: Any) -> ErrorRule:
    return ErrorRule(match={"type": "error_message", "error_code": code}, **outcome)


def _refused(code: str, text: str, reason: Reason) -> ErrorRule:
    return ErrorRule(match={"type": "error_message", "error_code": code}, text={"error_message": text}, reason=reason)


def _notice(event: str) -> Pattern:
    return {"type": "system_message", "data": {"event": event}}


def _fallback(event: str) -> NoiseRule:
    """The services are missing, and agents will not run, whatever the welcome says."""
    match = {"type": "system_message", "data": {"event": event, "fallback_active": True}}
    return NoiseRule(kind="degraded", match=match, factory=FactoryReason.DEGRADED, fails_welcome=True)


# Sources: docs/backend-protocol.md#frames, docs/backend-protocol.md#how-connections-end,
# docs/backend-protocol.md#what-was-re-labelled, docs/backend-protocol.md#the-manager-factory.
FACTORY: Final = Profile(
    welcome=Welcome(
        match=_notice("connection_established"),
        required=[
            "data.connection_id",
            "data.user_id",
            "data.server_time",
            "data.connection_ready",
            "data.startup_complete",
            "data.factory_pattern_enabled",
        ],
        subject="data.user_id",
        environment="data.environment",
        connection_id="data.connection_id",
        server_time="data.server_time",
        heartbeat_interval="data.config.heartbeat_interval",
        max_message_size="data.config.max_message_size",
        checks=[
            WelcomeCheck(field="data.connection_ready", equals=True, factory=FactoryReason.NOT_READY),
            WelcomeCheck(field="data.startup_complete", equals=True, factory=FactoryReason.STARTUP_INCOMPLETE),
            WelcomeCheck(field="data.factory_pattern_enabled", equals=True, factory=FactoryReason.FACTORY_DISABLED),
        ],
    ),
    # An unknown type is answered by an `ack` that echoes it: 2-4 ms, no database, no model, nothing that starts an
    # agent (section 2, "Correlating a reply" (a)).
    send=Exchange(
        message={"type": "ws_factory_exporter_${nonce}"},
        match={"type": "ack", "received_type": "ws_factory_exporter_${nonce}"},
        expect={"status": "acknowledged", "user_id": "${identity}"},
    ),
    noise=[
        NoiseRule(kind="ping", match={"type": "ping"}, answer={"type": "pong"}),
        _fallback("service_info"),
        _fallback("service_status"),
        NoiseRule(kind="notice", match=_notice("service_info")),
        NoiseRule(kind="notice", match=_notice("service_status")),
        NoiseRule(kind="notice", match={"type": "handshake_validation"}),
        NoiseRule(kind="degraded", match=_notice("degraded_mode"), factory=FactoryReason.DEGRADED, fails_welcome=True),
        NoiseRule(kind="recovery", match=_notice("connection_recovery"), factory=FactoryReason.OTHER),
    ],
    error={"type": "error_message"},
    errors=[
        ErrorRule(
            match={"type": "error_message", "error_code": "FACTORY_INIT_FAILED"},
            text={"details.error_message": r"maximum number of WebSocket managers \((?P<limit>\d{1,6})\)"},
            factory=FactoryReason.SLOT_LIMIT,
            proves_auth=True,
        ),
        _error("FACTORY_INIT_FAILED", factory=FactoryReason.INIT_FAILED, proves_auth=True),
        _error("FACTORY_CRITICAL_FAILURE", factory=FactoryReason.INIT_FAILED, proves_auth=True),
        _error("STARTUP_INCOMPLETE", factory=FactoryReason.STARTUP_INCOMPLETE, proves_auth=True),
        _error("NO_TOKEN", reason=Reason.AUTH_REJECTED, no_token=True),
        _error("INVALID_FORMAT", reason=Reason.AUTH_REJECTED),
        _error("AUTH_ERROR", reason=Reason.AUTH_REJECTED),
        _refused("VALIDATION_FAILED", "auth_service_unreachable", Reason.AUTH_UNAVAILABLE),
        _refused("VALIDATION_FAILED", "validation_failed_circuitbreaker", Reason.AUTH_UNAVAILABLE),
        _refused("VALIDATION_FAILED", "inter_service_auth_failed", Reason.AUTH_UNAVAILABLE),
        _error("VALIDATION_FAILED", reason=Reason.AUTH_REJECTED),
        _error("AUTH_SERVICE_ERROR", reason=Reason.AUTH_UNAVAILABLE),
        _error("AUTH_CIRCUIT_BREAKER_OPEN", reason=Reason.AUTH_UNAVAILABLE),
        _error("UNEXPECTED_ERROR", reason=Reason.AUTH_UNAVAILABLE),
        _error("WEBSOCKET_AUTH_ERROR", reason=Reason.AUTH_UNAVAILABLE),
        _error("WEBSOCKET_AUTH_EXCEPTION", reason=Reason.AUTH_UNAVAILABLE),
        _error("INVALID_WEBSOCKET_STATE", reason=Reason.AUTH_UNAVAILABLE),
        _error("AUTH_RETRY_ERROR", reason=Reason.AUTH_UNAVAILABLE),
        _error("AUTH_RETRY_EXHAUSTED", reason=Reason.AUTH_UNAVAILABLE),
    ],
    closes=[
        # Whatever the code: 1008 at first, 1011 from 09-10 01:44, 1002 with the component codes of 09-10 00:37.
        CloseRule(text=r"^(SSOT )?Auth failed", reason=Reason.AUTH_REJECTED),
        CloseRule(text=r"^Auth(entication)?: ", reason=Reason.AUTH_REJECTED),
        CloseRule(text=r"^Authentication (failed|required)", reason=Reason.AUTH_REJECTED),
        CloseRule(code=4001, text=r"", reason=Reason.AUTH_REJECTED),
        CloseRule(code=4002, text=r"", reason=Reason.AUTH_UNAVAILABLE),
        CloseRule(
            text=r"^Too many concurrent connections \(\d{1,6}/(?P<limit>\d{1,6})\)", factory=FactoryReason.SLOT_LIMIT
        ),
        CloseRule(text=r"^Rate limit exceeded - retry after (?P<retry_after>\d{1,6})s", reason=Reason.RATE_LIMITED),
        CloseRule(text=r"^Factory: ", factory=FactoryReason.INIT_FAILED, proves_auth=True),
        CloseRule(text=r"^Factory SSOT validation failed", factory=FactoryReason.INIT_FAILED, proves_auth=True),
        CloseRule(text=r"^Critical factory failure", factory=FactoryReason.INIT_FAILED, proves_auth=True),
        CloseRule(text=r"^Service startup incomplete", factory=FactoryReason.STARTUP_INCOMPLETE, proves_auth=True),
    ],
    limits=BackendLimits.model_validate({"slots_per_identity": 20, "slot_release": "300s", "reserve": 1}),
    needs_token=True,
    connect_without_token=True,
    bypass_headers=["test", "e2e"],
    breaker=[
        # The breaker before the auth service, on every tree that was observed.
        BreakerSettings(counts=["rejected"], opens_at=3),
        # The endpoint's own, on trees from 2025-09-09 22:36 UTC.
        BreakerSettings(counts=["rejected", "no_token"], opens_at=5),
    ],
)

ECHO: Final = Profile(
    send=Exchange(message={"nonce": "${nonce}"}, match={"nonce": "${nonce}"}),
)

BUILT_IN: Final[Mapping[str, Profile]] = {"factory": FACTORY, "echo": ECHO}


def has_factory(profile: Profile) -> bool:
    """True if the profile knows of something that the server must create for each connection, and of how it can fail.

    A welcome that is only waited for says nothing of that kind.
    """
    welcome = profile.welcome
    looked_at = welcome is not None and any(
        (
            welcome.required,
            welcome.checks,
            welcome.subject,
            welcome.environment,
            welcome.connection_id,
            welcome.server_time,
        )
    )
    rules: tuple[ErrorRule | CloseRule | NoiseRule, ...] = (*profile.errors, *profile.closes, *profile.noise)
    return looked_at or any(rule.factory is not None for rule in rules)


def probes_of(profile: Profile) -> tuple[Probe, ...]:
    """The questions this kind of backend can be asked, in order of depth."""
    asked = {
        Probe.CONNECT: True,
        Probe.AUTH: profile.welcome is not None or profile.auth is not None or profile.auth_by is not None,
        Probe.SEND: profile.send is not None,
    }
    return tuple(probe for probe, there in asked.items() if there)


TIMED: Final = tuple(phase for phase in Phase if phase is not Phase.PREPARE)


def phases_of(profile: Profile, *, tls: bool) -> tuple[Phase, ...]:
    """The timed phases that a full-depth session of this profile goes through."""
    asked = profile.welcome is not None, profile.auth is not None, profile.send is not None
    return tuple(compress(TIMED, (True, True, tls, True, *asked, True)))


def kinds_of(profile: Profile) -> tuple[str, ...]:
    """The closed list of kinds under which passed-over messages are counted."""
    return tuple(dict.fromkeys([*(rule.kind for rule in profile.noise), *OTHER_KINDS]))


def own_codes(profile: Profile) -> frozenset[int]:
    """Close codes of 4000–4999 that this profile names, and that so are label values of their own."""
    return frozenset(rule.code for rule in profile.closes if rule.code is not None and rule.code >= 4000)  # noqa: PLR2004


ANY_VALUE: Final = "${any}"
"""As a whole value of a pattern: any value that is there."""
NUMBER_VARIABLE: Final = "${number}"
"""As a whole value: a whole number of the session's own."""
LARGEST_NUMBER: Final = 2**31 - 1
"""What every protocol with whole numbers as ids takes."""


def number_of(nonce: str) -> int:
    """The whole number from 1 to 2^31 - 1 that stands for a session's nonce where a protocol wants a number."""
    return zlib.crc32(nonce.encode()) % LARGEST_NUMBER + 1


def fill(template: Any, values: Mapping[str, str]) -> Any:
    """The template with each `${name}` in its strings replaced; raises KeyError for a name that has no value.

    `${any}` stays for `matches`; `${number}` becomes the number of `values["nonce"]`.
    """
    if isinstance(template, str):
        if "$" not in template or template == ANY_VALUE:
            return template
        return (
            number_of(values["nonce"])
            if template == NUMBER_VARIABLE
            else VARIABLE.sub(lambda name: values[name[1]], template)
        )
    if isinstance(template, dict):
        return {key: fill(value, values) for key, value in template.items()}
    if isinstance(template, list):
        return [fill(value, values) for value in template]
    return template


def variables(template: Any) -> Iterator[str]:
    """Names of the `${…}` in the strings of a template, with repetitions."""
    if isinstance(template, str):
        yield from VARIABLE.findall(template)
    for part in template.values() if isinstance(template, Mapping) else template if isinstance(template, list) else ():
        yield from variables(part)


def matches(pattern: Any, value: Any) -> bool:
    """True if a JSON value contains the pattern.

    Objects contain, lists agree item by item, all else is equal in value and JSON type: `true` is not 1, 1 is 1.0.
    `${any}` as a whole value is any value that is there.
    """
    if not isinstance(pattern, dict):
        return _contains(pattern, value, _equal)
    if not isinstance(value, dict):
        return False
    # A session asks this forty times, and most patterns fail at the text of their first field.
    for name, inner in pattern.items():
        if name not in value or (
            value[name] != inner and inner != ANY_VALUE if type(inner) is str else not matches(inner, value[name])
        ):
            return False
    return True


def resembles(pattern: Any, value: Any) -> bool:
    """As `matches`, where a string with a `${…}` stands for any string, `${number}` for any number: a foreign reply."""
    return _contains(pattern, value, _alike)


def _contains(pattern: Any, value: Any, agree: Callable[[Any, Any], bool]) -> bool:
    if isinstance(pattern, dict):
        return isinstance(value, dict) and all(
            key in value and _contains(inner, value[key], agree) for key, inner in pattern.items()
        )
    if isinstance(pattern, list):
        same_length = isinstance(value, list) and len(pattern) == len(value)
        return same_length and all(_contains(inner, item, agree) for inner, item in zip(pattern, value, strict=True))
    return agree(pattern, value)


def _equal(pattern: Any, value: Any) -> bool:
    return pattern == ANY_VALUE or (isinstance(pattern, bool) is isinstance(value, bool) and bool(pattern == value))


def _alike(pattern: Any, value: Any) -> bool:
    if pattern == NUMBER_VARIABLE:
        return isinstance(value, int) and not isinstance(value, bool)
    is_blank = isinstance(pattern, str) and VARIABLE.search(pattern) is not None
    return isinstance(value, str) if is_blank and pattern != ANY_VALUE else _equal(pattern, value)


def lookup(value: Any, path: str) -> Any:
    """The field of a dotted path, or None; a number in it is an index into a list."""
    for part in _parts(path):
        if isinstance(value, list) and INDEX.fullmatch(part) and int(part) < len(value):
            value = value[int(part)]
        elif isinstance(value, dict) and part in value:
            value = value[part]
        else:
            return None
    return value


@lru_cache(maxsize=1024)
def _parts(path: str) -> tuple[str, ...]:
    return tuple(path.split("."))


MAX_MATCHED_CHARACTERS: Final = 2_000
"""Characters of a foreign text that a rule looks at."""

MAX_LIMIT_FIGURE: Final = 1_000_000
"""A greater figure in a foreign text is not believed."""


@dataclass(frozen=True, slots=True)
class RuleMatch:
    """A rule that matched, and the figures its groups read: slots allowed, seconds to stay away."""

    rule: ErrorRule | CloseRule
    limit: int | None = None
    retry_after: float | None = None


def _figures(found: Iterable[Mapping[str, str | None]]) -> dict[str, Any]:
    texts = {name: text for groups in found for name, text in groups.items() if text and text.isdecimal()}
    named = {name: int(text) for name, text in texts.items() if int(text) <= MAX_LIMIT_FIGURE}
    return {"limit": named.get("limit") or None, "retry_after": named.get("retry_after")}


def sort_error(profile: Profile, frame: Any) -> RuleMatch | None:
    """The first error rule that an error frame meets."""
    return _first_met(profile.errors, frame)


def _first_met(rules: Sequence[ErrorRule], frame: Any) -> RuleMatch | None:
    for rule in rules:
        if not matches(rule.match, frame):
            continue
        texts = ((regex(pattern), lookup(frame, path)) for path, pattern in rule.text.items())
        found = [
            known.search(text[:MAX_MATCHED_CHARACTERS]) if isinstance(text, str) else None for known, text in texts
        ]
        if None not in found:
            return RuleMatch(rule, **_figures([groups for groups in found if groups]))
    return None


def sort_close(profile: Profile, code: int, text: str) -> RuleMatch | None:
    """The first close rule that a close frame of the server meets."""
    for rule in profile.closes:
        found = regex(rule.text).search(text[:MAX_MATCHED_CHARACTERS])
        if rule.code in (None, code) and found is not None:
            return RuleMatch(rule, **_figures([found]))
    return None


def _words(pattern: Any) -> Iterator[str]:
    """The words and figures in a pattern of the config that are fit to be shown."""
    if isinstance(pattern, dict):
        for inner in pattern.values():
            yield from _words(inner)
        return
    word = evidence_text(str(pattern) if type(pattern) is int else pattern)
    if word is not None:
        yield word


class BoundExchange(NamedTuple):
    """An exchange of one session: the message to send, what its answer contains, and what a good one contains too."""

    message: Pattern
    match: Pattern
    expect: Pattern

    @classmethod
    def of(cls, exchange: Exchange, values: Mapping[str, str]) -> Self:
        """An exchange of the profile with this session's values."""
        return cls(fill(exchange.message, values), fill(exchange.match, values), fill(exchange.expect, values))


class MessageMatcher:
    """What a message is to us, by a profile; made once for all sessions of a target.

    Each message is asked whether it is an error frame. A rule whose match holds all of the profile's `error` adds
    nothing to that: only the others are looked at.
    """

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        known = profile.error
        self._beside = [rule for rule in profile.errors if known is None or not matches(known, rule.match)]

    def is_welcome(self, message: Any) -> bool:
        """True for the frame that lets us in."""
        return self.profile.welcome is not None and matches(self.profile.welcome.match, message)

    def is_error(self, message: Any) -> bool:
        """True for an error frame, sorted or not."""
        known = self.profile.error
        return (known is not None and matches(known, message)) or _first_met(self._beside, message) is not None

    def refuses(self, message: Any, match: Pattern) -> bool:
        """True for an error frame though it contains `match`, what is waited for, unless `match` names the error."""
        if not self.is_error(message):
            return False
        known = self.profile.error
        if known is not None and matches(known, message) and not covers(known, match):
            return True
        unnamed = [rule for rule in self.profile.errors if rule.text or not covers(rule.match, match)]
        return _first_met(unnamed, message) is not None

    def sorts(self, message: Any) -> bool:
        """True if an error rule knows the message."""
        return sort_error(self.profile, message) is not None

    def error_word(self, message: Any) -> str | None:
        """The word by which the profile knows an error frame (`FACTORY_INIT_FAILED`); None if it does not."""
        ruling = sort_error(self.profile, message)
        if ruling is None or not isinstance(ruling.rule, ErrorRule):
            return None
        common = set(_words(self.profile.error))
        return next((word for word in _words(ruling.rule.match) if word not in common), None)

    def noise(self, message: Any) -> NoiseRule | None:
        """The rule under which a message is passed over."""
        return next((rule for rule in self.profile.noise if matches(rule.match, message)), None)

    def kind(self, message: Any) -> str:
        """The kind under which a message that no noise rule knows is counted."""
        if self.is_welcome(message):
            return "welcome"
        foreign = self.profile.send is not None and resembles(self.profile.send.match, message)
        return "foreign_reply" if foreign else "other"


class SessionMessages:
    """A profile bound to one session's nonce, subject and token: what to send, and who reads what comes."""

    def __init__(self, reader: MessageMatcher, values: Mapping[str, str]) -> None:
        self.reader = reader
        self.profile = profile = reader.profile
        self.auth = BoundExchange.of(profile.auth, values) if profile.auth else None
        self.send = BoundExchange.of(profile.send, values) if profile.send else None
