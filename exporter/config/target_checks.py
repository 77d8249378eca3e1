"""What the fields of one target must agree on, among themselves and with its profile.

Rule 1: a check yields (path below the target, sentence) pairs; it takes a target whose own fields are good.
Rule 2: adding a check is a function and a line in `TARGET_CHECKS` or, if it needs the profile, `PROFILED_CHECKS`.
Rule 3: no value is quoted, except durations: they have been read as figures by then.
"""

import ipaddress
import re
from collections.abc import Callable, Iterator
from typing import Final
from urllib.parse import SplitResult, parse_qsl, urlsplit

from exporter.config.canary_checks import canary_faults, canary_profile_faults
from exporter.config.carrying import (
    HEADER_VARIABLES,
    MESSAGE_SECRETS,
    NOT_CLOSED,
    TOKEN_VARIABLES,
    carrier_of,
    has_token_message,
    has_unclosed,
    keys_in,
    leave_out,
    variables_before,
    variables_in,
)
from exporter.config.document import shown
from exporter.config.filling import FILLING_CHECKS, VARIABLE_BEFORE_PATH, is_filled_in
from exporter.config.header_rules import (
    AUTHORIZATION_HEADERS,
    GIVEN_TWICE,
    HTTP_VALUE,
    OUR_HEADERS,
    OUR_PREFIX,
    header_in_value,
    header_name_faults,
    repeated_names,
)
from exporter.config.hold_checks import hold_faults, hold_profile_faults
from exporter.config.model import HeaderCarry, Jwt, Target
from exporter.config.profile_checks import (
    NOT_CARRIED,
    Found,
    framed_problems,
    needs_identity,
    needs_token,
    steps_of,
)
from exporter.config.profile_model import Profile
from exporter.config.refusals import refusal_problems
from exporter.config.scalars import HTTP_TOKEN
from exporter.config.sentinel_checks import sentinel_faults, sentinel_profile_faults
from exporter.config.stats_checks import stats_faults

OUR_CLAIMS: Final = frozenset({"sub", "iat", "exp", "jti"})
OUR_IN_CARRYS: Final = frozenset({"alg", "b64", "crit"})
VISIBLE = re.compile(r"[\x21-\x7e]+")
HOST = re.compile(
    r"(?=.{1,253}\.?\Z)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*\.?"
)
"""Labels of at most 63 characters (RFC 1035 section 2.3.4); underscores occur in private zones."""


def target_problems(target: Target, profile: Profile | None) -> Iterator[Found]:
    """What is wrong with a target: paths below it, and sentences; without a good profile, what is wrong by itself."""
    for check in TARGET_CHECKS:
        yield from check(target)
    if profile is not None:
        for profiled in PROFILED_CHECKS:
            yield from profiled(target, profile)


def _url(target: Target) -> Iterator[Found]:
    if VARIABLE_BEFORE_PATH.match(target.url):
        yield "url", UNFILLED["url"]
        return
    if not VISIBLE.fullmatch(target.url):
        yield "url", "must be ASCII without spaces: percent-encode the path, write the host with xn--"
        return
    try:
        parts = urlsplit(target.url)
        port = parts.port
    except ValueError:
        yield "url", "cannot be read: check the port and the brackets"
        return
    for wrong, sentence in _url_faults(target.url, parts, port):
        if wrong:
            yield "url", sentence


def _url_faults(url: str, parts: SplitResult, port: int | None) -> Iterator[tuple[bool, str]]:
    host = parts.hostname
    yield parts.scheme not in {"ws", "wss"}, "must begin with ws:// or wss://"
    yield host is None, "has no host"
    yield "@" in parts.netloc, "must not hold credentials: they stand in a file, see auth.jwt and auth.secret_file"
    yield "#" in url, "must not have a fragment (#): it is never sent"
    yield port == 0, "has port 0, to which nobody can connect"
    yield host is not None and not _is_host(host), "has a host that is no name and no address"


def _is_host(host: str) -> bool:
    return _address(host) is not None or bool(HOST.fullmatch(host.lower()))


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _scheme(target: Target) -> str:
    return target.url.partition(":")[0].lower()


def _times(target: Target) -> Iterator[Found]:
    needed = target.timeout + target.close_timeout
    if needed >= target.interval:
        yield (
            "timeout",
            (
                f"timeout {target.timeout:g}s and close_timeout {target.close_timeout:g}s must together be less than "
                f"interval {target.interval:g}s: raise interval or lower timeout"
            ),
        )


def _slow_over(target: Target) -> Iterator[Found]:
    names = sorted(target.slow_over.model_fields_set) if "slow_over" in target.model_fields_set else []
    limits = {name: getattr(target.slow_over, name) for name in names}
    if len(limits) == len(type(target.slow_over).model_fields) and len({*limits.values()}) == 1:
        limits = {"": limits[names[0]]}
    for name, limit in limits.items():
        if limit >= target.timeout:
            yield f"slow_over.{name}".rstrip("."), f"{limit:g}s is never exceeded: timeout is {target.timeout:g}s"


def _jwt(target: Target) -> Jwt | None:
    return target.auth.jwt if target.auth else None


def _lifetime(target: Target) -> Iterator[Found]:
    jwt = _jwt(target)
    if jwt is not None and jwt.token_file is None and jwt.lifetime < target.timeout:
        yield (
            "auth.jwt.lifetime",
            f"must be at least the timeout, {target.timeout:g}s: the token must outlive its session",
        )


def _subjects(target: Target) -> Iterator[Found]:
    first: dict[str, str] = {}
    for field in ("identities", "check_identities"):
        for alias, subject in getattr(target, field).items():
            other = first.setdefault(subject, alias)
            if other != alias:
                yield f"{field}.{alias}", f"has the same subject as {other}: one user, one alias"
            elif field == "check_identities" and alias in target.identities:
                yield f"{field}.{alias}", "stands under identities too: give users of checks aliases of their own"


def _ready_token(target: Target) -> Iterator[Found]:
    jwt = _jwt(target)
    if jwt is None or jwt.token_file is None:
        return
    if len(target.identities) > 1:
        yield "identities", "must be one: the token in token_file is one user's"
    if target.check_identities:
        yield "check_identities", "must be absent: the token in token_file is one user's"
    for name in ("algorithm", "lifetime", "claims", "headers"):
        if name in jwt.model_fields_set:
            yield f"auth.jwt.{name}", "has no effect on a ready token: remove it, or use key_file instead of token_file"


def _claims(target: Target) -> Iterator[Found]:
    jwt = _jwt(target)
    for name in jwt.claims if jwt else ():
        if name in OUR_CLAIMS:
            yield (
                f"auth.jwt.claims.{shown(name)}",
                "is set by the exporter in every token (sub from identities): remove it",
            )
    for name, kinds in (("iss", str), ("aud", str | list)):
        if jwt and not isinstance(jwt.claims.get(name, ""), kinds):
            yield f"auth.jwt.claims.{name}", "must be text: quote it (RFC 7519 section 4.1)"
    for name in jwt.headers if jwt else ():
        if name in OUR_IN_CARRYS:
            yield f"auth.jwt.headers.{shown(name)}", "is set by us: remove it, and choose the algorithm by `algorithm`"


UNFILLED: Final = {
    "url": "no ${…} is filled in here, from the environment neither: write the url out (a token is added to it by "
    "auth.carry)",
    "identities": "no ${…} is filled in here, from the environment neither: write the subject itself",
    "check_identities": "no ${…} is filled in here, from the environment neither: write the subject itself",
    "canary.identity": "no ${…} is filled in here, from the environment neither: write the subject itself",
    "hold.identity": "no ${…} is filled in here, from the environment neither: write the subject itself",
    "auth.jwt.headers": "no ${…} is filled in here: what names the user stands in auth.jwt.claims",
}
"""Where no variable is filled in, and where what was meant belongs."""
NOT_FILLED: Final = "no ${…} is filled in here: write the value itself"
OF_CLAIMS: Final = frozenset({"identity", "alias"})


def _variables(target: Target) -> Iterator[Found]:
    """Every `${…}` that would be sent as it is written, beside those of the url and headers (`filling`)."""
    jwt = _jwt(target)
    named: dict[str, dict[str, str]] = {
        "identities": target.identities,
        "check_identities": target.check_identities,
        "canary.identity": target.canary.identity if target.canary else {},
        "hold.identity": target.hold.identity if target.hold else {},
        "auth.jwt.headers": jwt.headers if jwt else {},
    }
    for field, values in named.items():
        for name, value in values.items():
            if "${" in value + name:
                yield f"{field}.{shown(name)}", UNFILLED[field]
    for field, text in (
        ("environment", target.environment),
        ("address", target.address),
        ("tls.server_name", target.tls.server_name),
    ):
        if text is not None and "${" in text:
            yield field, NOT_FILLED


def _claim_variables(target: Target) -> Iterator[Found]:
    jwt = _jwt(target)
    for name, value in jwt.claims.items() if jwt else ():
        place = f"auth.jwt.claims.{shown(name)}"
        unknown = set(variables_in(value)) - OF_CLAIMS
        if not unknown.isdisjoint(TOKEN_VARIABLES):
            yield place, "is a part of the token itself: ${token} belongs in auth.carry or in a message of the profile"
        elif has_unclosed(value):
            yield place, NOT_CLOSED
        elif unknown:
            yield place, "unknown variable: filled in here are ${alias} and ${identity} (the subject)"
        if any("${" in key for key in (name, *keys_in(value))):
            yield place, "a variable in a key is not filled in: use it in a value"


def _carry(target: Target) -> Iterator[Found]:
    carry = target.auth.carry if target.auth else None
    if not isinstance(carry, HeaderCarry):
        return
    yield from (("auth.carry.header", fault) for fault in header_name_faults(carry.header))
    used = set(variables_in(carry.value))
    if has_unclosed(carry.value):
        yield "auth.carry.value", NOT_CLOSED
    elif not used <= HEADER_VARIABLES:
        yield "auth.carry.value", "unknown variable: filled in here are ${basic}, ${token}, ${token_base64url}"
    elif not used:
        yield "auth.carry.value", NOT_CARRIED
    if not HTTP_VALUE.fullmatch(carry.value) or carry.value != carry.value.strip():
        yield "auth.carry.value", "must be printable ASCII in one line"
    elif header_in_value(carry.value) is not None:
        yield "auth.carry.value", "is the value only, and begins with a header name: that stands in auth.carry.header"
    if carry.header.lower() in {name.lower() for name in target.headers}:
        yield f"headers.{shown(carry.header)}", "carries the token, see auth.carry: remove it here"


def _carried(target: Target, profile: Profile) -> Iterator[Found]:
    if target.auth is None:
        return
    carrier = carrier_of(target.auth, profile)
    if carrier.by == "message" and not has_token_message(profile):
        yield "auth.carry", "is message, but no message of the profile holds ${token}: the token would not be sent"
    if carrier.by == "message" and profile.auth_by == "upgrade":
        yield "auth.carry", "the profile proves the login by the upgrade (auth_by), which must carry the token then"
    if carrier.by == "header" and not isinstance(target.auth.carry, HeaderCarry):
        for name in target.headers:
            is_refused = name.lower() in AUTHORIZATION_HEADERS and not is_filled_in(target.headers[name], profile)
            if name.lower() == carrier.name.lower() and not is_refused:
                yield f"headers.{shown(name)}", "carries the token, see the profile's carry: remove it here"
    if carrier.by == "subprotocol" and not set(carrier.templates).isdisjoint(profile.subprotocols):
        yield "auth.carry", "the profile offers one of the token's subprotocols by itself: remove it from one of them"


def _headers(target: Target) -> Iterator[Found]:
    repeated = repeated_names(target.headers)
    for name, value in target.headers.items():
        lower = name.lower()
        faults = (
            (not HTTP_TOKEN.fullmatch(name), "is no header name: letters, digits and !#$%&'*+-.^_`|~ are allowed"),
            (
                not HTTP_VALUE.fullmatch(value) or value != value.strip(),
                "its value must be printable ASCII in one line",
            ),
            (lower in OUR_HEADERS or lower.startswith(OUR_PREFIX), "is set by the handshake itself: remove it"),
            (
                lower in AUTHORIZATION_HEADERS and "${" not in value,
                "must not stand here: credentials stand in a file, see auth.jwt and auth.secret_file",
            ),
            (lower in repeated, GIVEN_TWICE),
        )
        yield from ((f"headers.{shown(name)}", sentence) for wrong, sentence in faults if wrong)


def _tls(target: Target) -> Iterator[Found]:
    tls = target.tls
    if tls.model_fields_set and _scheme(target) == "ws":
        yield "tls", "has no effect on a ws:// url: use wss://, or remove it"
    for given, missing in (("cert_file", "key_file"), ("key_file", "cert_file")):
        if getattr(tls, given) is not None and getattr(tls, missing) is None:
            yield f"tls.{missing}", f"is required together with {given}"
    if tls.server_name is not None and "${" not in tls.server_name and not _is_host(tls.server_name):
        yield "tls.server_name", "is no host name"


def _connected_address(target: Target) -> Iterator[Found]:
    if target.address is not None and "${" not in target.address and not _is_host(target.address):
        yield (
            "address",
            "must be a host name or an IP address, without scheme, port and brackets: the port is the url's",
        )


def _family(target: Target) -> Iterator[Found]:
    try:
        field, host = ("the url's address", urlsplit(target.url).hostname or "")
    except ValueError:
        return  # the url has its own sentence
    if target.address is not None:
        field, host = "address", target.address
    address = _address(host)
    if address is not None and target.ip_protocol not in ("any", f"ip{address.version}"):
        yield "ip_protocol", f"never reaches {field}, which is ip{address.version}"


def _identities(target: Target, profile: Profile) -> Iterator[Found]:
    if target.identities or not (needs_identity(profile) or target.auth):
        return
    yield (
        "identities",
        "needs at least one (alias: subject): "
        + ("the profile speaks as a user" if needs_identity(profile) else "auth speaks for a user"),
    )


def _spoken_identities(target: Target, profile: Profile) -> Iterator[Found]:
    """Each subject can stand where the profile's messages name the user: a subject of NATS has no white space."""
    messages = [step.message for _, step in steps_of(profile)]
    if "identity" not in variables_in(messages):
        return
    for field, subject in _subjects_by_field(target):
        for path, sentence in framed_problems(profile, subject):
            yield field, f"does not fit into {path} of the profile, which {sentence}"


def _subjects_by_field(target: Target) -> Iterator[tuple[str, str]]:
    pools = {
        "identities": target.identities,
        "check_identities": target.check_identities,
        "canary.identity": target.canary.identity if target.canary else {},
        "hold.identity": target.hold.identity if target.hold else {},
    }
    for field, subjects in pools.items():
        yield from ((f"{field}.{alias}", subject) for alias, subject in subjects.items())


def _basic_user(target: Target, profile: Profile) -> Iterator[Found]:
    """`${basic}` is user:password: a colon in the user would begin the password (RFC 7617 section 2)."""
    if target.auth is None:
        return
    spoken = [*carrier_of(target.auth, profile).templates, *(step.message for _, step in steps_of(profile))]
    if "basic" not in {*variables_in(spoken), *variables_before(profile)}:
        return
    for field, subject in _subjects_by_field(target):
        if ":" in subject:
            yield field, "must hold no colon: in ${basic} it would end the user (RFC 7617 section 2)"


def _left_out(target: Target, profile: Profile) -> Iterator[Found]:
    """What a target without a token leaves out (`needs_token: false`) leaves messages, and patterns that compare."""
    if target.auth is not None or needs_token(profile) or (needs_identity(profile) and not target.identities):
        return
    absent = MESSAGE_SECRETS if target.identities else MESSAGE_SECRETS | {"identity"}
    field = "auth" if target.identities else "identities"
    for path, sentence in framed_problems(profile, absent=absent):
        yield field, f"is required: without it {path} of the profile {sentence}"
    for path, step in steps_of(profile):
        if step.match is not None and not leave_out(step.match, absent):
            yield field, f"is required: without it {path}.match of the profile matches whatever comes"


def _auth(target: Target, profile: Profile) -> Iterator[Found]:
    if needs_token(profile) and target.auth is None:
        yield "auth", "is required: the profile needs a token"


def _inline_token(target: Target, profile: Profile) -> Iterator[Found]:
    query = urlsplit(target.url).query if _url_is_good(target) else ""
    pairs = parse_qsl(query, keep_blank_values=True)
    if any(name == profile.carry.query and not is_filled_in(value, profile) for name, value in pairs):
        yield "url", f"must not hold the parameter {profile.carry.query}: it carries the token, see auth.carry"


def _url_is_good(target: Target) -> bool:
    return not any(_url(target))


def _bypass(target: Target, profile: Profile) -> Iterator[Found]:
    headers = [*target.headers, *(profile.before.headers if profile.before else ())]
    for name in headers if not target.allow_auth_bypass else ():
        if any(word.lower() in name.lower() for word in profile.bypass_headers):
            yield (
                f"headers.{shown(name)}",
                (
                    "may switch off the backend's token check, and auth would prove nothing: remove it, "
                    "or set allow_auth_bypass: true"
                ),
            )


def _missing_parts(target: Target, profile: Profile) -> Iterator[Found]:
    if not profile.send and "send" in target.probes.model_fields_set:
        yield "probes.send", "has no effect: the profile has no send message"
    if target.environment is not None and (profile.welcome is None or profile.welcome.environment is None):
        yield "environment", "has no effect: the profile reads no environment from the welcome"


TARGET_CHECKS: Final[tuple[Callable[[Target], Iterator[Found]], ...]] = (
    _url,
    _times,
    _slow_over,
    _lifetime,
    _subjects,
    _ready_token,
    _claims,
    _claim_variables,
    _variables,
    _carry,
    _headers,
    _tls,
    _connected_address,
    _family,
    canary_faults,
    sentinel_faults,
    hold_faults,
    stats_faults,
)
PROFILED_CHECKS: Final[tuple[Callable[[Target, Profile], Iterator[Found]], ...]] = (
    _identities,
    _spoken_identities,
    _basic_user,
    _left_out,
    _auth,
    _carried,
    _inline_token,
    _bypass,
    _missing_parts,
    sentinel_profile_faults,
    refusal_problems,
    *FILLING_CHECKS,
    canary_profile_faults,
    hold_profile_faults,
)
