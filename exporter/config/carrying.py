"""Decides how a token is sent, from the target's settings and its profile.

Rule 1: one way only, decided here and nowhere else.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from exporter.config.model import Auth, CarryWord, HeaderCarry
from exporter.config.profile_model import Profile

VARIABLE = re.compile(r"\$\{([^}]*)\}?")
UNCLOSED: Final = re.compile(r"\$\{[^}]*\Z")
NOT_CLOSED: Final = "holds a ${ without its }: write the } behind the variable's name"
TOKEN_VARIABLES: Final = frozenset({"token", "token_base64url"})
HEADER_VARIABLES: Final = TOKEN_VARIABLES | {"basic"}
"""What a header may hold the token as: base64 of subject:token has letters that a subprotocol cannot hold."""
MESSAGE_SECRETS: Final = frozenset({"token", "basic", "plain"})
"""What a message holds the token as: itself, base64 of subject:token, or SASL PLAIN (RFC 4616)."""
TOKEN_FORMS: Final = HEADER_VARIABLES | MESSAGE_SECRETS
AUTHORIZATION: Final = "Authorization"


@dataclass(frozen=True, slots=True)
class Carrier:
    """How a token is sent: `name` of the header or query parameter, `templates` of the value or the subprotocols.

    A `message` carrier has neither: the profile's messages hold `${token}`. Nor has `before`, which no config names:
    the request before the upgrade holds it, and perhaps messages as well.
    """

    by: CarryWord | Literal["before"]
    name: str = ""
    templates: tuple[str, ...] = ()

    @property
    def in_upgrade(self) -> bool:
        """Whether the upgrade request holds the token."""
        return self.by not in ("message", "before")


def carrier_of(auth: Auth, profile: Profile) -> Carrier:
    """Return how a target's token is sent; by default in the messages if they hold it, else in the header."""
    rules, wanted = profile.carry, auth.carry
    if isinstance(wanted, HeaderCarry):
        return Carrier("header", wanted.header, (wanted.value,))
    word: CarryWord = wanted or ("message" if has_token_message(profile) else "header")
    if word == "header":
        named = rules.value is not None
        return Carrier("header", rules.header if named else AUTHORIZATION, (rules.value or rules.header,))
    if word == "subprotocol":
        return Carrier("subprotocol", "", tuple(rules.subprotocols))
    if word == "query":
        return Carrier("query", rules.query)
    return Carrier("before" if sends_token_before(profile) else "message")


def connects_without_token(auth: Auth | None, profile: Profile) -> bool:
    """Whether a connect-deep session sends no token: the backend needs none for it, or reads it in a message.

    A request before the upgrade that speaks as a user is a part of every session.
    """
    if speaks_as_user_before(profile):
        return False
    return profile.connect_without_token or (auth is not None and not carrier_of(auth, profile).in_upgrade)


def connects_anonymously(auth: Auth | None, profile: Profile) -> bool:
    """Whether a connect-deep session without an identity sends no token: it leaves the token out, or there is none."""
    return connects_without_token(auth, profile) or (auth is None and not speaks_as_user_before(profile))


def withholds_token(auth: Auth | None, profile: Profile) -> bool:
    """Whether a connect-deep session leaves out the token that deeper ones put into the upgrade request."""
    return auth is not None and connects_without_token(auth, profile) and carrier_of(auth, profile).in_upgrade


def has_token_message(profile: Profile) -> bool:
    """Whether a message of the profile, or its request before the upgrade, holds the token in any form."""
    return sends_token_before(profile) or has_token_step(profile)


def has_token_step(profile: Profile) -> bool:
    """Whether a message of the profile holds the token, in any form."""
    return any(not MESSAGE_SECRETS.isdisjoint(variables_in(step.message)) for step in (*profile.auth, *profile.send))


def sends_token_before(profile: Profile) -> bool:
    """Whether the request before the upgrade holds the token, in any form."""
    return not TOKEN_FORMS.isdisjoint(variables_before(profile))


def speaks_as_user_before(profile: Profile) -> bool:
    """Whether the request before the upgrade holds the token or names the user."""
    return sends_token_before(profile) or "identity" in variables_before(profile)


def variables_before(profile: Profile) -> frozenset[str]:
    """Return the names of the `${…}` in the request before the upgrade."""
    before = profile.before
    if before is None:
        return frozenset()
    return frozenset(variables_in([before.request, before.headers, before.body]))


def kept_before(profile: Profile) -> frozenset[str]:
    """Return the variables that the request before the upgrade keeps."""
    return frozenset() if profile.before is None else frozenset(profile.before.keep)


def variables_in(value: Any) -> Iterator[str]:
    """Yield the names of the `${…}` in the texts of a JSON value, without keys."""
    for text in texts_in(value):
        yield from VARIABLE.findall(text)


def has_unclosed(value: Any) -> bool:
    """Whether a text of a JSON value, without keys, ends within a `${…}`: nothing would be filled in there."""
    return any(UNCLOSED.search(text) for text in texts_in(value))


def texts_in(value: Any) -> Iterator[str]:
    """Yield the texts of a JSON value, without keys."""
    if isinstance(value, str):
        yield value
    for part in value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ():
        yield from texts_in(part)


def keys_in(value: Any) -> Iterator[str]:
    """Yield the keys of a JSON value, at any depth."""
    if isinstance(value, Mapping):
        yield from value
    for part in value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ():
        yield from keys_in(part)


def leave_out(template: Any, absent: Collection[str]) -> Any:
    """Return the template without the fields and items that hold one of these variables in a string of their own.

    None for a template that is such a string.
    """
    if isinstance(template, str):
        return None if "$" in template and not set(VARIABLE.findall(template)).isdisjoint(absent) else template
    if isinstance(template, dict):
        kept = {key: leave_out(value, absent) for key, value in template.items()}
        return {key: value for key, value in kept.items() if value is not None or template[key] is None}
    if isinstance(template, list):
        items = [(value, leave_out(value, absent)) for value in template]
        return [kept for value, kept in items if kept is not None or value is None]
    return template
