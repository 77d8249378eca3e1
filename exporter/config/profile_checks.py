"""What the parts of one profile must agree on: a wrong rule is a mistake in the file, not a false alarm at night.

Rule 1: a check yields (path below the profile, sentence) pairs; it takes a profile whose own fields are good.
Rule 2: adding a check is a function and a line in `PROFILE_CHECKS`.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Final

from exporter.config.carrying import (
    HEADER_VARIABLES,
    MESSAGE_SECRETS,
    NOT_CLOSED,
    TOKEN_FORMS,
    TOKEN_VARIABLES,
    VARIABLE,
    has_token_message,
    has_unclosed,
    kept_before,
    keys_in,
    leave_out,
    speaks_as_user_before,
    texts_in,
    variables_before,
    variables_in,
)
from exporter.config.document import shown
from exporter.config.header_rules import (
    AUTHORIZATION_HEADERS,
    GIVEN_TWICE,
    HTTP_VALUE,
    header_in_value,
    header_name_faults,
    repeated_names,
)
from exporter.config.profile_model import CloseRule, Profile, Step
from exporter.config.regexes import UnsupportedRegexError, regex
from exporter.config.scalars import HTTP_TOKEN
from exporter.framing import FramingError

Found = tuple[str, str]

CODES_NEVER_SENT: Final = frozenset({1004, 1005, 1006, 1015})
RESERVED_CODES: Final = range(1016, 3000)
"""Codes that no close frame carries (RFC 6455 section 7.4)."""


def profile_problems(profile: Profile) -> Iterator[Found]:
    """What is wrong with a profile: paths below it, and sentences."""
    for check in PROFILE_CHECKS:
        yield from check(profile)


def _regexes(profile: Profile) -> Iterator[Found]:
    for index, rule in enumerate(profile.errors):
        for field, pattern in rule.text.items():
            yield from _regex(f"errors[{index}].text.{field}", pattern)
    for index, close in enumerate(profile.closes):
        yield from _regex(f"closes[{index}].text", close.text)


def _regex(path: str, pattern: str) -> Iterator[Found]:
    try:
        regex(pattern)
    except UnsupportedRegexError as problem:
        yield path, str(problem)


def _codes(profile: Profile) -> Iterator[Found]:
    for index, rule in enumerate(profile.closes):
        if rule.code in CODES_NEVER_SENT or rule.code in RESERVED_CODES:
            yield f"closes[{index}].code", "no close frame carries this code: 1000-1003, 1007-1014 and 3000-4999 do"
        if _is_empty(rule):
            yield f"closes[{index}]", "would match every close: give it a code or a text"


def _is_empty(rule: CloseRule) -> bool:
    return rule.code is None and not rule.text


WHOLE_VALUE_VARIABLES: Final = frozenset({"any", "number"})
"""What stands alone as a value: it is no part of a longer text."""
SESSION_VARIABLES: Final = frozenset({"nonce", "number", "identity"})
HEARTBEAT_VARIABLES: Final = frozenset({"heartbeat"})
"""In messages of a profile that says what its heartbeats are: another one would announce what it does not send."""
PATTERN_VARIABLES: Final = frozenset({"any"})
NO_VARIABLES: Final[frozenset[str]] = frozenset()


def _variables(profile: Profile) -> Iterator[Found]:
    for path, value, allowed in _templates(profile):
        yield from ((path, sentence) for sentence in _variable_faults(value, allowed))
        yield from _embedded_values(path, value, allowed)
        if any(VARIABLE.search(key) for key in keys_in(value)):
            yield path, "a variable in a key is not filled in: use it in a value"


def _embedded_values(path: str, value: Any, allowed: frozenset[str]) -> Iterator[Found]:
    for name in sorted({name for text in texts_in(value) for name in _embedded(text)} & allowed):
        yield path, f"${{{name}}} is a value by itself: it cannot be a part of a longer text"


def _embedded(text: str) -> set[str]:
    return {name for name in WHOLE_VALUE_VARIABLES if "${" + name + "}" in text and text != "${" + name + "}"}


def _variable_faults(value: Any, allowed: frozenset[str]) -> Iterator[str]:
    """What is wrong with the variables of a template, where these are filled in: one sentence at most."""
    if allowed and has_unclosed(value):
        yield NOT_CLOSED
    elif not allowed.issuperset(variables_in(value)):
        yield _allowed(allowed)


def _allowed(allowed: frozenset[str]) -> str:
    if not allowed:
        return "no ${…} is filled in here"
    names = ", ".join("${" + name + "}" for name in sorted(allowed))
    return f"unknown variable: filled in here are {names}"


def _templates(profile: Profile) -> Iterator[tuple[str, Any, frozenset[str]]]:
    """Every JSON value of a profile: its path, itself, and the variables that are filled in there."""
    kept = kept_before(profile)
    announced = NO_VARIABLES if profile.heartbeat is None else HEARTBEAT_VARIABLES
    for path, step in steps_of(profile):
        yield f"{path}.message", step.message, SESSION_VARIABLES | MESSAGE_SECRETS | announced | kept
        yield f"{path}.match", step.match, SESSION_VARIABLES | PATTERN_VARIABLES | kept
        yield f"{path}.expect", step.expect, SESSION_VARIABLES | PATTERN_VARIABLES | kept
        kept |= step.keep.keys()
    yield "bye", profile.bye, SESSION_VARIABLES | kept
    if profile.heartbeat is not None:
        yield "heartbeat.message", profile.heartbeat.message, SESSION_VARIABLES | kept
    yield "welcome.match", profile.welcome.match if profile.welcome else {}, PATTERN_VARIABLES
    for index, check in enumerate(profile.welcome.checks if profile.welcome else ()):
        yield f"welcome.checks[{index}].equals", check.equals, NO_VARIABLES
    yield "error", profile.error or {}, PATTERN_VARIABLES
    for index, noise in enumerate(profile.noise):
        yield f"noise[{index}].match", noise.match, PATTERN_VARIABLES
        yield f"noise[{index}].answer", noise.answer or {}, NO_VARIABLES
    for index, rule in enumerate(profile.errors):
        yield f"errors[{index}].match", rule.match, PATTERN_VARIABLES
    yield "subprotocols", profile.subprotocols, kept_before(profile)
    yield "bypass_headers", profile.bypass_headers, NO_VARIABLES


NONCE_VARIABLES: Final = frozenset({"nonce", "number"})
"""What tells the reply to one session's message from every other."""


def steps_of(profile: Profile) -> Iterator[tuple[str, Step]]:
    """Yield the steps of `auth` and `send` in their order, with their paths: `send`, or `send[1]` of several."""
    for name, steps in (("auth", profile.auth), ("send", profile.send)):
        for index, step in enumerate(steps):
            yield (name if len(steps) == 1 else f"{name}[{index}]"), step


NEEDS_NONCE: Final = "needs ${nonce} or ${number}: without one a reply may be that of another session"


def _correlation(profile: Profile) -> Iterator[Found]:
    """The reply of the last step belongs to something that this session sent."""
    if not profile.send:
        return
    path, last = list(steps_of(profile))[-1]
    if not any(_has_nonce(step.message) for step in profile.send):
        yield f"{path}.message", NEEDS_NONCE
    if last.match is not None and not _has_nonce(last.match):
        yield f"{path}.match", NEEDS_NONCE


def _has_nonce(value: Any) -> bool:
    return not NONCE_VARIABLES.isdisjoint(variables_in(value))


def _last_steps(profile: Profile) -> Iterator[Found]:
    for name, steps in (("auth", profile.auth), ("send", profile.send)):
        if steps and steps[-1].match is None:
            path = f"{name}.match" if len(steps) == 1 else f"{name}[{len(steps) - 1}].match"
            yield path, "is required: without an answer to its last message the probe proves nothing"


def _kept(profile: Profile) -> Iterator[Found]:
    first = dict.fromkeys(kept_before(profile), "before")
    for path, step in steps_of(profile):
        for name in step.keep:
            if first.setdefault(name, path) != path:
                yield f"{path}.keep.{name}", f"is kept by {first[name]} already: choose another name"


SAMPLE_VALUES: Final = dict.fromkeys((*SESSION_VARIABLES, *MESSAGE_SECRETS, *PATTERN_VARIABLES), "sample")
"""Fit for every framing: what is wrong with a message that is filled in with them is wrong with the message."""


LARGEST_NUMBER: Final = 2**31 - 1
"""What `${number}` is at most, accepted by every protocol that has integers as ids."""


def framed_problems(
    profile: Profile, subject: str = "sample", absent: Collection[str] = frozenset()
) -> Iterator[Found]:
    """Why a message cannot be sent in the profile's framing, by the user of this subject, without absent variables."""
    framing = profile.framing
    try:
        codec = framing.codec
    except FramingError as error:
        yield "framing", str(error)
        return
    kept = {name: "1" for _, step in steps_of(profile) for name in step.keep} | dict.fromkeys(kept_before(profile), "1")
    messages = [(f"{path}.message", step.message) for path, step in steps_of(profile)]
    messages += [(f"noise[{index}].answer", rule.answer) for index, rule in enumerate(profile.noise)]
    messages += [("heartbeat.message", profile.heartbeat.message)] if profile.heartbeat else []
    for path, message in (*messages, ("bye", profile.bye)):
        spoken = leave_out(message, absent)
        if spoken is None:
            continue
        try:
            codec.encode(_filled_sample(spoken, {**SAMPLE_VALUES, "identity": subject, **kept}))
        except FramingError as error:
            yield path, f"cannot be sent as {framing.name}: {error}"


def _filled_sample(message: Any, values: Mapping[str, str]) -> Any:
    if isinstance(message, str):
        return (
            LARGEST_NUMBER if message == "${number}" else VARIABLE.sub(lambda name: values.get(name[1], "1"), message)
        )
    if isinstance(message, Mapping):
        return {key: _filled_sample(part, values) for key, part in message.items()}
    return [_filled_sample(part, values) for part in message] if isinstance(message, list) else message


ANY_VARIABLE: Final = "${any}"
"""As a whole value of a pattern: any value that is there."""


def covers(general: Any, special: Any) -> bool:
    """True if whatever contains `special` contains `general` too."""
    if general == ANY_VARIABLE:
        return True
    if isinstance(general, Mapping) and isinstance(special, Mapping):
        return all(key in special and covers(inner, special[key]) for key, inner in general.items())
    if isinstance(general, list) and isinstance(special, list):
        pairs = zip(general, special, strict=False)
        return len(general) == len(special) and all(covers(inner, item) for inner, item in pairs)
    return type(general) is type(special) and bool(general == special)


def _carry(profile: Profile) -> Iterator[Found]:
    carry = profile.carry
    value = carry.header if carry.value is None else carry.value
    path = "carry.header" if carry.value is None else "carry.value"
    yield from _carry_templates(profile, path, value)
    if not HTTP_VALUE.fullmatch(value):
        yield path, "must be printable ASCII"
    elif (advice := header_in_value(value)) is not None:
        yield path, advice
    if carry.value is not None:
        yield from (("carry.header", sentence) for sentence in header_name_faults(carry.header))
    if not all(HTTP_TOKEN.fullmatch(VARIABLE.sub("x", offer)) for offer in carry.subprotocols):
        yield "carry.subprotocols", NO_SUBPROTOCOL
    if len(set(carry.subprotocols)) < len(carry.subprotocols):
        yield "carry.subprotocols", "a subprotocol is offered once (RFC 6455 section 4.1)"
    if VARIABLE.search(carry.query):
        yield "carry.query", "is the name of the parameter: the token is its value by itself"


def _carry_templates(profile: Profile, path: str, value: str) -> Iterator[Found]:
    places = ((path, [value], HEADER_VARIABLES), ("carry.subprotocols", profile.carry.subprotocols, TOKEN_VARIABLES))
    for place, texts, allowed in places:
        faults = list(_variable_faults(texts, allowed))
        yield from ((place, sentence) for sentence in faults)
        if not faults and not any(variables_in(texts)):
            yield place, NOT_CARRIED


NOT_CARRIED: Final = "holds no variable of the token, such as ${token} or ${token_base64url}: it would not be sent"


NO_SUBPROTOCOL: Final = "a subprotocol is made of letters, digits and !#$%&'*+-.^_`|~ (RFC 9110 section 5.6.2)"


BEFORE_VARIABLES: Final = frozenset({"nonce", "identity", "token"})


def _before(profile: Profile) -> Iterator[Found]:
    before = profile.before
    if before is None:
        return
    places: list[tuple[str, Any, frozenset[str]]] = [
        ("before.request", before.request, BEFORE_VARIABLES),
        ("before.body", before.body, SESSION_VARIABLES | MESSAGE_SECRETS),
    ]
    repeated = repeated_names(before.headers)
    for name, value in before.headers.items():
        place = f"before.headers.{shown(name)}"
        places.append((place, value, BEFORE_VARIABLES | HEADER_VARIABLES))
        yield from ((place, sentence) for sentence in _faults_of_sent_header(name, value))
        if name.lower() in repeated:
            yield place, GIVEN_TWICE
    for place, value, allowed in places:
        yield from ((place, sentence) for sentence in _variable_faults(value, allowed))
    yield from _embedded_values("before.body", before.body, SESSION_VARIABLES)
    if profile.connect_without_token and speaks_as_user_before(profile):
        yield "connect_without_token", "has no effect: before speaks as a user in every session; remove this"


def _faults_of_sent_header(name: str, value: str) -> Iterator[str]:
    yield from header_name_faults(name)
    if not HTTP_VALUE.fullmatch(value) or value != value.strip():
        yield "its value must be printable ASCII in one line"
    if name.lower() in AUTHORIZATION_HEADERS and TOKEN_FORMS.isdisjoint(variables_in(value)):
        yield "must hold ${token} or ${basic}: a credential stands in a file, see auth.jwt and auth.secret_file"


def _subprotocols(profile: Profile) -> Iterator[Found]:
    offered = profile.subprotocols
    if not all(HTTP_TOKEN.fullmatch(VARIABLE.sub("x", offer)) for offer in offered):
        yield "subprotocols", NO_SUBPROTOCOL
    if len(set(offered)) < len(offered):
        yield "subprotocols", "a subprotocol is offered once (RFC 6455 section 4.1)"


def _statuses(profile: Profile) -> Iterator[Found]:
    first: dict[int, int] = {}
    for index, rule in enumerate(profile.statuses):
        if first.setdefault(rule.status, index) != index:
            yield f"statuses[{index}].status", f"is sorted by statuses[{first[rule.status]}] already: remove one"


def _token(profile: Profile) -> Iterator[Found]:
    if profile.connect_without_token and not profile.needs_token:
        yield "connect_without_token", "has no effect without needs_token: set it, or remove this"


def _bye(profile: Profile) -> Iterator[Found]:
    if profile.bye is not None and all(step.message is None for _, step in steps_of(profile)):
        yield "bye", "is never sent: it ends a session in which a message of auth or send was sent"


PROFILE_CHECKS: Final[tuple[Callable[[Profile], Iterator[Found]], ...]] = (
    _regexes,
    _codes,
    _variables,
    _before,
    _correlation,
    _last_steps,
    _kept,
    framed_problems,
    _subprotocols,
    _statuses,
    _carry,
    _token,
    _bye,
)


def needs_token(profile: Profile) -> bool:
    """True if the backend refuses every client without a token, or the profile has no message without one."""
    if profile.needs_token is not None:
        return profile.needs_token
    return profile.auth_by is not None or has_token_message(profile)


def needs_identity(profile: Profile) -> bool:
    """True if a session has to be somebody's: a token's, a message's, or because the welcome names its user."""
    if profile.needs_token is False:
        return False
    parts = [part for step in (*profile.auth, *profile.send) for part in (step.message, step.match, step.expect)]
    named = any("identity" in variables_in(part) for part in parts) or "identity" in variables_before(profile)
    return needs_token(profile) or named or (profile.welcome is not None and profile.welcome.subject is not None)
