"""The built-in profiles as data, and the pure functions that interpret a profile.

Rule 1: everything special about one backend is in its entry and nowhere else, its close reasons and codes too.
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
"""A part of a path that is an index of a list."""

OTHER_KINDS: Final = ("welcome", "foreign_reply", "binary", "not_json", "other")
"""Kinds of passed-over messages of every profile: a second welcome, a reply to another session, not text, not a JSON
object, and messages that no rule matches."""


def _error(code: str, **outcome: Any) -> ErrorRule:
    return ErrorRule(match={"type": "error_message", "error_code": code}, **outcome)


def _refused(code: str, text: str, reason: Reason) -> ErrorRule:
    return ErrorRule(match={"type": "error_message", "error_code": code}, text={"error_message": text}, reason=reason)


def _notice(event: str) -> Pattern:
    return {"type": "system_message", "data": {"event": event}}


def _fallback(event: str) -> NoiseRule:
    """The services are missing and agents will not run, even if the welcome looks healthy."""
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
    """Whether the profile describes something that the server creates for each connection, and how that can fail.

    A welcome that is only awaited does not describe it.
    """
    welcome = profile.welcome
    examines_welcome = welcome is not None and any(
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
    return examines_welcome or any(rule.factory is not None for rule in rules)


def probes_of(profile: Profile) -> tuple[Probe, ...]:
    """Return the probes that this kind of backend can answer, in order of depth."""
    probes = {
        Probe.CONNECT: True,
        Probe.AUTH: profile.welcome is not None or profile.auth is not None or profile.auth_by is not None,
        Probe.SEND: profile.send is not None,
    }
    return tuple(probe for probe, is_answerable in probes.items() if is_answerable)


TIMED: Final = tuple(phase for phase in Phase if phase is not Phase.PREPARE)


def phases_of(profile: Profile, *, tls: bool) -> tuple[Phase, ...]:
    """Return the timed phases of a full-depth session of this profile."""
    has_phases = profile.welcome is not None, profile.auth is not None, profile.send is not None
    return tuple(compress(TIMED, (True, True, tls, True, *has_phases, True)))


def kinds_of(profile: Profile) -> tuple[str, ...]:
    """Return the closed list of kinds under which passed-over messages are counted."""
    return tuple(dict.fromkeys([*(rule.kind for rule in profile.noise), *OTHER_KINDS]))


def own_codes(profile: Profile) -> frozenset[int]:
    """Return the close codes of 4000–4999 that this profile names, each of which is a label value."""
    return frozenset(rule.code for rule in profile.closes if rule.code is not None and rule.code >= 4000)  # noqa: PLR2004


ANY_VALUE: Final = "${any}"
"""As a whole value of a pattern: any value that is present."""
NUMBER_VARIABLE: Final = "${number}"
"""As a whole value: an integer of this session."""
LARGEST_NUMBER: Final = 2**31 - 1
"""Accepted by every protocol that has integers as ids."""


def number_of(nonce: str) -> int:
    """Return the integer from 1 to 2^31 - 1 that replaces a session's nonce where a protocol requires a number."""
    return zlib.crc32(nonce.encode()) % LARGEST_NUMBER + 1


def fill(template: Any, values: Mapping[str, str]) -> Any:
    """Return the template with each `${name}` in its strings replaced; raises KeyError for a name without a value.

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
    """Yield the names of the `${…}` in the strings of a template, with repetitions."""
    if isinstance(template, str):
        yield from VARIABLE.findall(template)
    for part in template.values() if isinstance(template, Mapping) else template if isinstance(template, list) else ():
        yield from variables(part)


def matches(pattern: Any, value: Any) -> bool:
    """Whether a JSON value contains the pattern.

    Objects contain, lists agree item by item, all else is equal in value and JSON type: `true` is not 1, 1 is 1.0.
    `${any}` as a whole value is any value that is present.
    """
    if not isinstance(pattern, dict):
        return _contains(pattern, value, _equals_scalar)
    if not isinstance(value, dict):
        return False
    # Called forty times in a session; most patterns fail at the text of their first field.
    for name, inner in pattern.items():
        if name not in value or (
            value[name] != inner and inner != ANY_VALUE if type(inner) is str else not matches(inner, value[name])
        ):
            return False
    return True


def resembles(pattern: Any, value: Any) -> bool:
    """As `matches`, where a `${…}` stands for any string and `${number}` for any number: a reply to another session."""
    return _contains(pattern, value, _resembles_scalar)


def _contains(pattern: Any, value: Any, agree: Callable[[Any, Any], bool]) -> bool:
    if isinstance(pattern, dict):
        return isinstance(value, dict) and all(
            key in value and _contains(inner, value[key], agree) for key, inner in pattern.items()
        )
    if isinstance(pattern, list):
        same_length = isinstance(value, list) and len(pattern) == len(value)
        return same_length and all(_contains(inner, item, agree) for inner, item in zip(pattern, value, strict=True))
    return agree(pattern, value)


def _equals_scalar(pattern: Any, value: Any) -> bool:
    return pattern == ANY_VALUE or (isinstance(pattern, bool) is isinstance(value, bool) and bool(pattern == value))


def _resembles_scalar(pattern: Any, value: Any) -> bool:
    if pattern == NUMBER_VARIABLE:
        return isinstance(value, int) and not isinstance(value, bool)
    is_blank = isinstance(pattern, str) and VARIABLE.search(pattern) is not None
    return isinstance(value, str) if is_blank and pattern != ANY_VALUE else _equals_scalar(pattern, value)


def lookup(value: Any, path: str) -> Any:
    """Return the field at a dotted path, or None; a number in the path is an index of a list."""
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
"""Characters of a server's text that a rule examines."""

MAX_LIMIT_FIGURE: Final = 1_000_000
"""A greater number in a server's text is ignored."""


@dataclass(frozen=True, slots=True)
class RuleMatch:
    """A rule that matched, and the numbers in its groups: slots permitted, seconds to wait."""

    rule: ErrorRule | CloseRule
    limit: int | None = None
    retry_after: float | None = None


def _limit_numbers(matched: Iterable[Mapping[str, str | None]]) -> dict[str, Any]:
    texts = {name: text for groups in matched for name, text in groups.items() if text and text.isdecimal()}
    named = {name: int(text) for name, text in texts.items() if int(text) <= MAX_LIMIT_FIGURE}
    return {"limit": named.get("limit") or None, "retry_after": named.get("retry_after")}


def sort_error(profile: Profile, frame: Any) -> RuleMatch | None:
    """Return the first error rule that matches an error frame."""
    return _first_match(profile.errors, frame)


def _first_match(rules: Sequence[ErrorRule], frame: Any) -> RuleMatch | None:
    for rule in rules:
        if not matches(rule.match, frame):
            continue
        texts = ((regex(pattern), lookup(frame, path)) for path, pattern in rule.text.items())
        matched = [
            expression.search(text[:MAX_MATCHED_CHARACTERS]) if isinstance(text, str) else None
            for expression, text in texts
        ]
        if None not in matched:
            return RuleMatch(rule, **_limit_numbers([groups for groups in matched if groups]))
    return None


def sort_close(profile: Profile, code: int, text: str) -> RuleMatch | None:
    """Return the first close rule that matches a close frame of the server."""
    for rule in profile.closes:
        matched = regex(rule.text).search(text[:MAX_MATCHED_CHARACTERS])
        if rule.code in (None, code) and matched is not None:
            return RuleMatch(rule, **_limit_numbers([matched]))
    return None


def _shown_words(pattern: Any) -> Iterator[str]:
    """Yield the words and numbers in a pattern of the config that may be shown."""
    if isinstance(pattern, dict):
        for inner in pattern.values():
            yield from _shown_words(inner)
        return
    word = evidence_text(str(pattern) if type(pattern) is int else pattern)
    if word is not None:
        yield word


class BoundExchange(NamedTuple):
    """An exchange with the values of one session.

    message: what to send
    match: what its answer contains
    expect: what a good answer also contains
    """

    message: Pattern
    match: Pattern
    expect: Pattern

    @classmethod
    def of(cls, exchange: Exchange, values: Mapping[str, str]) -> Self:
        """Return an exchange of the profile with this session's values."""
        return cls(fill(exchange.message, values), fill(exchange.match, values), fill(exchange.expect, values))


class MessageMatcher:
    """Recognises messages by a profile; made once for all sessions of a target.

    Every message is checked for an error frame. A rule whose match includes the profile's `error` adds nothing to that
    check, so only the other rules are tried.
    """

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        error_pattern = profile.error
        self._rules_beside_error = [
            rule for rule in profile.errors if error_pattern is None or not matches(error_pattern, rule.match)
        ]

    def is_welcome(self, message: Any) -> bool:
        """Whether the message is the welcome."""
        return self.profile.welcome is not None and matches(self.profile.welcome.match, message)

    def is_error(self, message: Any) -> bool:
        """Whether the message is an error frame, known to a rule or not."""
        error_pattern = self.profile.error
        return (error_pattern is not None and matches(error_pattern, message)) or _first_match(
            self._rules_beside_error, message
        ) is not None

    def refuses(self, message: Any, match: Pattern) -> bool:
        """Whether the message is an error frame, even if it contains the awaited `match`, unless `match` names it."""
        if not self.is_error(message):
            return False
        error_pattern = self.profile.error
        if error_pattern is not None and matches(error_pattern, message) and not covers(error_pattern, match):
            return True
        unnamed = [rule for rule in self.profile.errors if rule.text or not covers(rule.match, match)]
        return _first_match(unnamed, message) is not None

    def sorts(self, message: Any) -> bool:
        """Whether an error rule matches the message."""
        return sort_error(self.profile, message) is not None

    def error_word(self, message: Any) -> str | None:
        """Return the profile's word for an error frame (`FACTORY_INIT_FAILED`); None if no rule matches."""
        rule_match = sort_error(self.profile, message)
        if rule_match is None or not isinstance(rule_match.rule, ErrorRule):
            return None
        common = set(_shown_words(self.profile.error))
        return next((word for word in _shown_words(rule_match.rule.match) if word not in common), None)

    def noise(self, message: Any) -> NoiseRule | None:
        """Return the rule under which a message is passed over."""
        return next((rule for rule in self.profile.noise if matches(rule.match, message)), None)

    def kind(self, message: Any) -> str:
        """Return the kind under which a message is counted that no noise rule matches."""
        if self.is_welcome(message):
            return "welcome"
        foreign = self.profile.send is not None and resembles(self.profile.send.match, message)
        return "foreign_reply" if foreign else "other"


class SessionMessages:
    """A profile with one session's nonce, subject and token: what to send, and the matcher of what arrives."""

    def __init__(self, reader: MessageMatcher, values: Mapping[str, str]) -> None:
        self.reader = reader
        self.profile = profile = reader.profile
        self.auth = BoundExchange.of(profile.auth, values) if profile.auth else None
        self.send = BoundExchange.of(profile.send, values) if profile.send else None
