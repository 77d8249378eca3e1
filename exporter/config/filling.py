"""Where a target fills in what its profile's request before the upgrade keeps.

Rule 1: a check yields (path below the target, sentence) pairs, as those of `target_checks`.
"""

import re
from collections.abc import Callable, Iterator
from typing import Final
from urllib.parse import urlsplit

from exporter.config.carrying import MESSAGE_SECRETS, NOT_CLOSED, has_unclosed, kept_before, leave_out, variables_in
from exporter.config.document import shown
from exporter.config.header_rules import HTTP_VALUE
from exporter.config.model import Target
from exporter.config.profile_checks import Found, needs_identity, needs_token, steps_of
from exporter.config.profile_model import Profile

IN_URL: Final = (
    "no ${…} is filled in here, from the environment neither: write the url out (a token is added to it by auth.carry; "
    "what a request before the upgrade keeps can be filled in, see the profile's before)"
)
IN_CARRY: Final = (
    "no ${…} is filled in here: the header that carries the token stands in auth.carry, such as "
    '{header: Cookie, value: "access=${token}"}, and its secret in a file, see auth.jwt and auth.secret_file'
)
NOT_FILLED: Final = "no ${…} is filled in here: write the value itself"


VARIABLE_BEFORE_PATH = re.compile(r"(\w+://)?[^/?]*\$\{")
"""A url with a variable in its scheme, host or port: nothing is filled in there."""


def is_filled_in(value: str, profile: Profile) -> bool:
    """Whether the text holds a variable that the request before the upgrade keeps."""
    return not kept_before(profile).isdisjoint(variables_in(value))


def _url(target: Target, profile: Profile) -> Iterator[Found]:
    if not VARIABLE_BEFORE_PATH.match(target.url) and _has_fault(target.url, profile):
        yield "url", _refusal(target.url, profile, IN_URL)


def _headers(target: Target, profile: Profile) -> Iterator[Found]:
    for name, value in target.headers.items():
        if "${" in name:
            yield f"headers.{shown(name)}", NOT_FILLED
        elif _has_fault(value, profile):
            yield f"headers.{shown(name)}", _refusal(value, profile, IN_CARRY if "${token" in value else NOT_FILLED)


def _has_fault(text: str, profile: Profile) -> bool:
    return has_unclosed(text) or not kept_before(profile).issuperset(variables_in(text))


def _refusal(text: str, profile: Profile, nothing_kept: str) -> str:
    if kept_before(profile) and has_unclosed(text):
        return NOT_CLOSED
    kept = ", ".join("${" + name + "}" for name in sorted(kept_before(profile)))
    return f"unknown variable: filled in here is what the profile's before keeps, {kept}" if kept else nothing_kept


def _used(target: Target, profile: Profile) -> Iterator[Found]:
    """A request whose answer goes nowhere opens no WebSocket that would not open without it."""
    if profile.before is None:
        return
    messages = [part for _, step in steps_of(profile) for part in (step.message, step.match, step.expect)]
    places = [target.url, target.headers, profile.subprotocols, profile.bye, *messages]
    if kept_before(profile).isdisjoint(variables_in(places)):
        names = ", ".join("${" + name + "}" for name in sorted(kept_before(profile)))
        sentence = f"holds nothing of what the profile's before keeps ({names}), nor does {USES}"
        yield "url", f"{sentence}: use it in one of them, or take before out of the profile"


USES: Final = "a header of the target, a subprotocol or a message of the profile"


def _subjects(target: Target, profile: Profile) -> Iterator[Found]:
    """Each subject can stand in the headers of the request that name the user."""
    if profile.before is None or "identity" not in variables_in(profile.before.headers):
        return
    for field in ("identities", "check_identities"):
        for alias, subject in getattr(target, field).items():
            if not HTTP_VALUE.fullmatch(subject):
                yield f"{field}.{alias}", "must be printable ASCII: a header of the profile's before names the user"


def _segments(target: Target, profile: Profile) -> Iterator[Found]:
    """A subject of dots would be a segment that a server takes out of the path (RFC 3986 section 5.2.4)."""
    path = "" if profile.before is None else profile.before.resource.partition("?")[0]
    segments = [segment for segment in path.split("/") if "${identity}" in segment]
    for field in ("identities", "check_identities"):
        for alias, subject in getattr(target, field).items():
            if {".", ".."} & {segment.replace("${identity}", subject) for segment in segments}:
                yield f"{field}.{alias}", "cannot stand in the path of the profile's before: it names another path"


def _left_out(target: Target, profile: Profile) -> Iterator[Found]:
    """Headers and fields of the body are left out without a token (`needs_token: false`); a path cannot be."""
    if profile.before is None or needs_token(profile) or (needs_identity(profile) and not target.identities):
        return
    absent = (MESSAGE_SECRETS if target.auth is None else frozenset()) | (
        frozenset() if target.identities else {"identity"}
    )
    if leave_out(profile.before.resource, absent) is None:
        yield "auth" if target.identities else "identities", "is required: before.request of the profile holds it"


def _encrypted(target: Target, profile: Profile) -> Iterator[Found]:
    """What the user of `wss` wants to be encrypted does not go over plain HTTP."""
    if profile.before is None or profile.before.origin is None or urlsplit(target.url).scheme != "wss":
        return
    if profile.before.origin.startswith("http:"):
        yield "profile", f"{target.profile}.before.origin is not encrypted, but the url is: write https://"


FILLING_CHECKS: Final[tuple[Callable[[Target, Profile], Iterator[Found]], ...]] = (
    _url,
    _headers,
    _used,
    _subjects,
    _segments,
    _left_out,
    _encrypted,
)
