"""What a session's two requests hold, from its job and its values: the one before the upgrade, and the upgrade."""

from collections.abc import Mapping
from ssl import SSLContext
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from exporter.budget import SessionCost
from exporter.config import Before, Carrier, Target, leave_out, sends_token_before
from exporter.framing import codec_of
from exporter.plan import Job
from exporter.profiles import Values, fill, fill_resource
from exporter.session.request import HttpRequest, RequestBefore
from exporter.tokens import TokenPlacement, carry

OPTIONAL_VARIABLES: Final = frozenset({"identity", "token", "token_base64url", "basic", "plain"})
"""Of a target with an identity and a token alone."""
CREDENTIAL_HEADERS: Final = frozenset({"authorization", "cookie", "proxy-authorization", "x-api-key"})
"""Headers that may hold a credential, which a 401 then rejects."""
MIN_SECRET_CHARACTERS: Final = 8
"""Characters from which a value in a url or a header may be a secret."""


def bind_before(
    job: Job, values: Values, tls: SSLContext | None, own_headers: Mapping[str, str]
) -> RequestBefore | None:
    """Return the request before the upgrade of one session; None if the profile has none.

    `values`: as of `SessionMessages`; what an absent one would fill in is left out. `tls`: of the target, and of an
    https origin. Raises SigningKeyError for a token that a header cannot hold.
    """
    rules, origin = job.profile.before, job.before
    if rules is None or origin is None:
        return None
    body = _body(rules, values)
    sent = {**own_headers, "Accept": "application/json", "Accept-Encoding": "identity"}
    if body is not None:
        sent["Content-Type"] = "application/json"
    sent |= _headers(rules, values)
    http = HttpRequest(
        method=rules.method,
        resource=fill_resource(rules.resource, values),
        host=origin.host,
        port=origin.port,
        tls=tls if origin.tls else None,
        server_name=None if rules.origin else job.target.tls.server_name,
        connect_to=origin.connect_to,
        headers=dict({name.lower(): (name, value) for name, value in sent.items()}.values()),  # the last of a name
        body=body,
    )
    templates = {name: value for name, value in job.target.headers.items() if "${" in value}
    return RequestBefore(http, rules, to_target=rules.origin is None, header_templates=templates)


def _absent(values: Values) -> frozenset[str]:
    known = {*values, *(("token_base64url",) if "token" in values else ())}
    return OPTIONAL_VARIABLES - known


def _body(rules: Before, values: Values) -> bytes | None:
    template: Any = leave_out(rules.body, _absent(values))
    return None if template is None else codec_of("json").encode(fill(template, values))


def _headers(rules: Before, values: Values) -> dict[str, str]:
    """Return the profile's headers with their variables filled in, those of the token as in the upgrade."""
    token, subject = str(values.get("token", "")), str(values.get("identity", ""))
    headers: dict[str, str] = {}
    for name, written in rules.headers.items():
        template = leave_out(written, _absent(values))
        if template is not None:
            for variable in ("nonce", "identity"):
                template = template.replace("${" + variable + "}", str(values.get(variable, "")))
            headers |= carry(Carrier("header", name, (template,)), token, subject).headers
    return headers


def sends_credential(job: Job, cost: SessionCost) -> bool:
    """Whether the upgrade request holds a credential: the token, what it was exchanged for, or one in the headers."""
    carried = cost.key is not None and job.carrier is not None and job.carrier.in_upgrade
    exchanged = job.fills_upgrade and sends_credential_before(job, cost)
    return carried or exchanged or not CREDENTIAL_HEADERS.isdisjoint(map(str.lower, job.target.headers))


def sends_credential_before(job: Job, cost: SessionCost) -> bool:
    """Whether the request before the upgrade holds a credential."""
    rules = job.profile.before
    if rules is None:
        return False
    sends_token = cost.key is not None and sends_token_before(job.profile)
    return sends_token or not CREDENTIAL_HEADERS.isdisjoint(map(str.lower, rules.headers))


def session_secrets(target: Target, carried: TokenPlacement, before: RequestBefore | None) -> tuple[str, ...]:
    """Return the texts of a session that may be secrets: they are removed from everything the server sends back."""
    texts = [*target.headers.values(), *_values_in(target.url)]
    if before is not None:
        texts += [before.http.headers.get(name, "") for name in before.rules.headers]
        texts += _values_in(before.http.resource)
    long = (text for text in texts if len(text) >= MIN_SECRET_CHARACTERS)
    return tuple(filter(None, (*carried.headers.values(), *carried.subprotocols, *long)))


def _values_in(url: str) -> list[str]:
    parts = urlsplit(url)
    return [*(value for _, value in parse_qsl(parts.query)), *parts.path.split("/")]
