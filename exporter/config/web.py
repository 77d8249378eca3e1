"""The file of `--web.config.file`, in the format of the exporter-toolkit, as frozen values.

It stands in `config`, for it is what this package is for: a mapping becomes values, or problems with the paths of the
fields. What the files that it names hold is looked at by `web.secure`, which has the sockets.

Rule 1: what Go's TLS can and Python's cannot is refused with a sentence, never done by halves.
Rule 2: no value is quoted: keys and hashes may stand here.
Source: exporter-toolkit, web-configuration.md of its documentation, and web/tls_config.go.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, ValidationError

from exporter.config.messages import Place, field_problems, path_of
from exporter.config.mistake import Problem
from exporter.config.profile_model import Model
from exporter.config.scalars import FilePath, Period, Text

CIPHERS: Final[Mapping[str, str | None]] = {
    "TLS_AES_128_GCM_SHA256": None,
    "TLS_AES_256_GCM_SHA384": None,
    "TLS_CHACHA20_POLY1305_SHA256": None,
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
    "TLS_RSA_WITH_AES_128_GCM_SHA256": "AES128-GCM-SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384": "AES256-GCM-SHA384",
    "TLS_RSA_WITH_AES_128_CBC_SHA": "AES128-SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA": "AES256-SHA",
}
"""Go's name → OpenSSL's. Those of TLS 1.3 are always on, here as in Go: naming them has no effect (None)."""

CURVE_NAMES: Final[Mapping[str, str]] = {
    "CurveP256": "prime256v1",
    "CurveP384": "secp384r1",
    "CurveP521": "secp521r1",
    "X25519": "X25519",
}
TLS_VERSIONS: Final = ("TLS10", "TLS11", "TLS12", "TLS13")
VERIFYING: Final = ("VerifyClientCertIfGiven", "RequireAndVerifyClientCert")
TLS_SETTING: Final = "tls_server_config"
NOTHING_GIVEN: Final = "nothing stands here: say what it is, or remove the key"
NOT_HERE: Final[Mapping[str, str]] = {
    "RequestClientCert": "asks for a certificate and looks at none, which Python cannot: NoClientCert lets in the same"
    " clients",
    "RequireAnyClientCert": "lets in any certificate, even one that the client has made itself, which Python cannot:"
    " use RequireAndVerifyClientCert",
}
"""Python's ssl checks every certificate that it has asked for."""

ALLOWED_HEADER_VALUES: Final[Mapping[str, tuple[str, ...]]] = {
    "X-Content-Type-Options": ("nosniff",),
    "X-Frame-Options": ("deny", "sameorigin"),
}
"""Headers that have few values; the exporter-toolkit knows them in this spelling."""

MAX_BCRYPT_COST: Final = 15
"""The greatest cost of a hash: 2**15 rounds take some 2 s."""

BCRYPT = re.compile(r"\$2[aby]\$(?P<cost>0[4-9]|[12]\d|3[01])\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31}")
"""The salt is of 128 bits: its last letter carries two of them."""


def _hash(value: str) -> str:
    found = BCRYPT.fullmatch(value)
    if found is None:
        raise ValueError("must be a bcrypt hash ($2a$, $2b$ or $2y$), as `htpasswd -nBC 10 NAME` writes it")
    if int(found["cost"]) > MAX_BCRYPT_COST:
        raise ValueError(
            f"is a hash of a cost over {MAX_BCRYPT_COST}, and each sign-in would take seconds: 10 to 12 is usual"
        )
    return value


def _user(value: str) -> str:
    if ":" in value:
        raise ValueError("a user's name must not hold a colon (RFC 7617 section 2)")
    return value


def _cipher(value: str) -> str:
    if value not in CIPHERS:
        raise ValueError(f"is not what Go calls a cipher suite that is thought secure, such as {[*CIPHERS][3]}")
    return value


def _curve(value: str) -> str:
    if value not in CURVE_NAMES:
        raise ValueError(f"is no curve, known are {', '.join(CURVE_NAMES)}")
    return value


def _client_auth(value: str) -> str:
    value = "RequireAnyClientCert" if value == "RequireClientCert" else value
    if value in NOT_HERE:
        raise ValueError(NOT_HERE[value])
    return value


def _one_curve(value: list[str]) -> list[str]:
    if len(value) > 1:
        raise ValueError(
            "more than one curve, but Python takes only one: name that one, or remove the list (X25519, P-256, "
            "P-384 and P-521 are then all offered)"
        )
    return value


def _headers(value: dict[str, str]) -> dict[str, str]:
    for name, known in ALLOWED_HEADER_VALUES.items():
        if value.get(name, known[0]) not in known:
            raise ValueError(f"{name} must be one of: {', '.join(known)}")
    return value


def _pem(value: str) -> str:
    if "-----BEGIN" not in value:
        raise ValueError("must be text in PEM; a path goes into the field of that name with _file at its end")
    return value


User = Annotated[Text, AfterValidator(_user)]
Hash = Annotated[str, AfterValidator(_hash)]
Cipher = Annotated[str, AfterValidator(_cipher)]
Curve = Annotated[str, AfterValidator(_curve)]
Pem = Annotated[str, AfterValidator(_pem)]
ClientAuth = Annotated[
    Literal[
        "NoClientCert",
        "RequestClientCert",
        "RequireClientCert",
        "RequireAnyClientCert",
        "VerifyClientCertIfGiven",
        "RequireAndVerifyClientCert",
    ],
    AfterValidator(_client_auth),
]
Version = Literal["TLS10", "TLS11", "TLS12", "TLS13"]
Header = Literal[
    "Strict-Transport-Security",
    "X-Content-Type-Options",
    "X-Frame-Options",
    "X-XSS-Protection",
    "Content-Security-Policy",
]


class TlsServer(Model):
    """How we prove who we are, and whom we let in. Each of certificate, key and CA as a file or as text."""

    cert: Pem | None = None
    cert_file: FilePath | None = None
    key: Pem | None = None
    key_file: FilePath | None = None
    client_auth_type: ClientAuth = "NoClientCert"
    client_ca: Pem | None = None
    client_ca_file: FilePath | None = None
    client_allowed_sans: list[Text] | None = None
    min_version: Version = "TLS12"
    max_version: Version = "TLS13"
    cipher_suites: list[Cipher] = Field(default=[])
    prefer_server_cipher_suites: bool = True
    curve_preferences: Annotated[list[Curve], AfterValidator(_one_curve)] = Field(default=[])

    @property
    def verifies(self) -> bool:
        """Whether a client's certificate is asked for, and then checked."""
        return self.client_auth_type in VERIFYING


class HttpServer(Model):
    """Headers that every answer gets. `http2` has no effect: HTTP/1.1 is spoken."""

    http2: bool | None = None
    headers: Annotated[dict[Header, Text], AfterValidator(_headers)] = Field(default={})


class RateLimit(Model):
    """At most `burst` requests at once, and one more after each `interval` (seconds)."""

    interval: Period
    burst: Annotated[int, Field(ge=1, le=1_000_000)]


class WebConfig(Model):
    """The whole file. Without `tls_server_config` plain HTTP is spoken."""

    tls_server_config: TlsServer | None = None
    http_server_config: HttpServer = HttpServer()
    basic_auth_users: dict[User, Hash] = Field(default={})
    rate_limit: RateLimit | None = None

    def resolved(self, folder: PurePath) -> Self:
        """The same where each relative path starts at `folder`, the one this file lies in."""
        if self.tls_server_config is None:
            return self
        named = {name: getattr(self.tls_server_config, name) for name in ("cert_file", "key_file", "client_ca_file")}
        placed = {name: str(folder / path) for name, path in named.items() if path is not None}
        return self.model_copy(update={"tls_server_config": self.tls_server_config.model_copy(update=placed)})


def parse_web(raw: object) -> WebConfig | tuple[Problem, ...]:
    """What stands in `raw` (JSON values, as `load_yaml` gives them), or every problem of it at once."""
    if not isinstance(raw, Mapping):
        return (Problem("", "the file must be a mapping: write {} if nothing is to be protected"),)
    located = {place: Problem(path_of(place, raw), NOTHING_GIVEN) for place in _nothing(raw, ())}
    problems = [*located.values()]
    web: WebConfig | None = None
    try:
        web = WebConfig.model_validate(raw)
    except ValidationError as error:
        wrong = [found for found in field_problems(error, raw, WebConfig) if found[0] not in located]
        located |= wrong
        problems += [problem for _, problem in wrong]
    if TLS_SETTING in raw and not any(place[0] == TLS_SETTING for place in located):
        problems += _agreement(TlsServer.model_validate(raw[TLS_SETTING]))
    return tuple(problems) or web or ()


def _nothing(value: object, place: Place) -> Iterator[Place]:
    """Where a key stands without a value: that would read as the default, which may be an open door."""
    if value is None:
        yield place
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _nothing(inner, (*place, key))


def _agreement(tls: TlsServer) -> list[Problem]:
    """What fields of `tls_server_config` must agree on."""
    found = _pairs(tls)
    if tls.verifies and tls.client_ca is None and tls.client_ca_file is None:
        found.append(("client_ca_file", "is required with this client_auth_type: who signs the clients' certificates?"))
    if not tls.verifies and (tls.client_ca is not None or tls.client_ca_file is not None):
        found.append(("client_auth_type", f"must be {' or '.join(VERIFYING)} for the client's CA to have an effect"))
    if tls.client_allowed_sans is not None and tls.client_auth_type != "RequireAndVerifyClientCert":
        found.append(("client_allowed_sans", "needs client_auth_type RequireAndVerifyClientCert"))
    if tls.client_allowed_sans == []:
        found.append(("client_allowed_sans", "is empty, so no client would be let in: name some, or remove it"))
    if TLS_VERSIONS.index(tls.min_version) > TLS_VERSIONS.index(tls.max_version):
        found.append(("min_version", "is above max_version"))
    if tls.max_version != "TLS13" and tls.cipher_suites and not any(map(CIPHERS.get, tls.cipher_suites)):
        found.append(("cipher_suites", "are all of TLS 1.3, which max_version excludes"))
    return [Problem(f"{TLS_SETTING}.{field}", sentence) for field, sentence in found]


def _pairs(tls: TlsServer) -> list[tuple[str, str]]:
    found = []
    for name, needed in (("cert", True), ("key", True), ("client_ca", False)):
        text, path = getattr(tls, name), getattr(tls, f"{name}_file")
        if text is not None and path is not None:
            found.append((name, f"not together with {name}_file: remove one of them"))
        if needed and text is None and path is None:
            found.append((f"{name}_file", "is required"))
    return found
