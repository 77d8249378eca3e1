"""What the parts of one profile must agree on: a wrong rule is a mistake in the file, not a false alarm at night.

Rule 1: a check yields (path below the profile, sentence) pairs; it takes a profile whose own fields are good.
Rule 2: adding a check is a function and a line in `PROFILE_CHECKS`.
"""

import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from exporter.config.model import CloseRule, Exchange, Profile

Found = tuple[str, str]

VARIABLE = re.compile(r"\$\{([^}]*)\}?")
TOKEN_VARIABLES: Final = frozenset({"token", "token_base64url"})
HTTP_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""What a header name and a subprotocol are made of (RFC 9110 section 5.6.2)."""
HTTP_VALUE = re.compile(r"[\t\x20-\x7e]*")
UNSENT: Final = frozenset({1004, 1005, 1006, 1015})
RESERVED: Final = range(1016, 3000)
"""Codes that no close frame carries (RFC 6455 section 7.4)."""


def profile_problems(profile: Profile) -> Iterator[Found]:
    """What is wrong with a profile: paths below it, and sentences."""
    for check in PROFILE_CHECKS:
        yield from check(profile)


def variables_in(value: Any) -> Iterator[str]:
    """Names of the `${…}` in the texts of a JSON value, keys left out."""
    if isinstance(value, str):
        yield from VARIABLE.findall(value)
    for part in value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ():
        yield from variables_in(part)


def _regexes(profile: Profile) -> Iterator[Found]:
    for index, rule in enumerate(profile.errors):
        for field, pattern in rule.text.items():
            yield from _regex(f"errors[{index}].text.{field}", pattern)
    for index, close in enumerate(profile.closes):
        yield from _regex(f"closes[{index}].text", close.text)


def _regex(path: str, pattern: str) -> Iterator[Found]:
    try:
        with warnings.catch_warnings(action="error"):
            re.compile(pattern)
    except re.error as error:
        # Its own words may quote the pattern.
        yield path, f"is no regular expression: see character {(error.pos or 0) + 1}"
    except (Warning, OverflowError, RecursionError):
        yield path, "is a regular expression that cannot be relied on: write it more simply"


def _codes(profile: Profile) -> Iterator[Found]:
    for index, rule in enumerate(profile.closes):
        if rule.code in UNSENT or rule.code in RESERVED:
            yield f"closes[{index}].code", "no close frame carries this code: 1000-1003, 1007-1014 and 3000-4999 do"
        if _is_empty(rule):
            yield f"closes[{index}]", "would match every close: give it a code or a text"


def _is_empty(rule: CloseRule) -> bool:
    return rule.code is None and not rule.text


def _variables(profile: Profile) -> Iterator[Found]:
    for path, value, allowed in _templates(profile):
        if not allowed.issuperset(variables_in(value)):
            yield path, _allowed(allowed)
        if any(VARIABLE.search(key) for key in _keys(value)):
            yield path, "a variable in a key is not filled in: use it in a value"


def _allowed(allowed: frozenset[str]) -> str:
    if not allowed:
        return "no ${…} is filled in here"
    names = ", ".join("${" + name + "}" for name in sorted(allowed))
    return f"unknown variable: filled in here are {names}"


def _templates(profile: Profile) -> Iterator[tuple[str, Any, frozenset[str]]]:
    """Every JSON object of a profile: its path, itself, and the variables that are filled in there."""
    ours = frozenset({"nonce", "identity"})
    for name, exchange, more in (("auth", profile.auth, {"token"}), ("send", profile.send, set[str]())):
        if exchange is not None:
            yield f"{name}.message", exchange.message, ours | more
            yield f"{name}.match", exchange.match, ours
            yield f"{name}.expect", exchange.expect, ours
    yield "welcome.match", profile.welcome.match if profile.welcome else {}, frozenset()
    yield "error", profile.error or {}, frozenset()
    for index, noise in enumerate(profile.noise):
        yield f"noise[{index}].match", noise.match, frozenset()
        yield f"noise[{index}].answer", noise.answer or {}, frozenset()
    for index, rule in enumerate(profile.errors):
        yield f"errors[{index}].match", rule.match, frozenset()


def _keys(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        yield from value
    for part in value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ():
        yield from _keys(part)


def _correlation(profile: Profile) -> Iterator[Found]:
    send = profile.send
    for name in ("message", "match") if send is not None else ():
        if "nonce" not in variables_in(getattr(send, name)):
            yield f"send.{name}", "needs ${nonce}: a reply that cannot be told from another's proves nothing"


def _shadows(profile: Profile) -> Iterator[Found]:
    """Rules that would take every welcome, or every reply to us, for an error."""
    for path, pattern in _errors(profile):
        if profile.welcome is not None and covers(pattern, profile.welcome.match):
            yield path, "matches every welcome: match more of the frame"
        for name, exchange in (("auth", profile.auth), ("send", profile.send)):
            if exchange is not None and covers(pattern, exchange.match):
                yield path, f"matches every reply that {name}.match expects: match more of the frame"


def _errors(profile: Profile) -> Iterator[tuple[str, Any]]:
    if profile.error is not None:
        yield "error", profile.error
    for index, rule in enumerate(profile.errors):
        if not rule.text:
            yield f"errors[{index}].match", rule.match


def covers(general: Any, special: Any) -> bool:
    """True if whatever contains `special` contains `general` too."""
    if isinstance(general, Mapping) and isinstance(special, Mapping):
        return all(key in special and covers(inner, special[key]) for key, inner in general.items())
    return type(general) is type(special) and bool(general == special)


def _carry(profile: Profile) -> Iterator[Found]:
    carry = profile.carry
    for path, texts in (("carry.header", [carry.header]), ("carry.subprotocols", carry.subprotocols)):
        used = {name for text in texts for name in variables_in(text)}
        if not used <= TOKEN_VARIABLES:
            yield path, _allowed(TOKEN_VARIABLES)
        elif not used:
            yield path, "needs ${token} or ${token_base64url}: the token would not be sent"
    if not HTTP_VALUE.fullmatch(carry.header):
        yield "carry.header", "must be printable ASCII"
    if not all(HTTP_TOKEN.fullmatch(VARIABLE.sub("x", offer)) for offer in carry.subprotocols):
        yield (
            "carry.subprotocols",
            "a subprotocol is made of letters, digits and !#$%&'*+-.^_`|~ (RFC 9110 section 5.6.2)",
        )
    if len(set(carry.subprotocols)) < len(carry.subprotocols):
        yield "carry.subprotocols", "a subprotocol is offered once (RFC 6455 section 4.1)"
    if VARIABLE.search(carry.query):
        yield "carry.query", "is the name of the parameter: the token is its value by itself"


def _token(profile: Profile) -> Iterator[Found]:
    if profile.connect_without_token and not profile.needs_token:
        yield "connect_without_token", "has no effect without needs_token: set it, or remove this"


PROFILE_CHECKS: Final[tuple[Callable[[Profile], Iterator[Found]], ...]] = (
    _regexes,
    _codes,
    _variables,
    _correlation,
    _shadows,
    _carry,
    _token,
)


def needs_token(profile: Profile) -> bool:
    """True if nobody is let in without a token."""
    return profile.needs_token or (profile.auth is not None and "token" in variables_in(profile.auth.message))


def needs_identity(profile: Profile) -> bool:
    """True if a session has to be somebody's: a token's, a message's, or because the welcome names its user."""
    exchanges: tuple[Exchange | None, ...] = (profile.auth, profile.send)
    parts = [part for each in exchanges if each for part in (each.message, each.match, each.expect)]
    named = any("identity" in variables_in(part) for part in parts)
    return needs_token(profile) or named or (profile.welcome is not None and profile.welcome.subject is not None)
