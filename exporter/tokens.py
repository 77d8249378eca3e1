"""Mints tokens, places them in the upgrade request and, for the stand-in, verifies them.

Rule 1: key and time are arguments; this module reads no file and no clock.
Rule 2: it never logs, and no exception text quotes a key or a token.
Rule 3: no other module imports PyJWT.
"""

import hashlib
import hmac
import json
import re
from base64 import b64encode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from jwt.algorithms import HMACAlgorithm

from exporter.config import Carrier, Jwt, Secret
from exporter.profiles import fill
from exporter.result import RefusalCase

EXPIRED_SECONDS: Final = 3600.0
"""Seconds since which a token of the case `expired` is: more than clocks differ, less than `MAX_AGE_SECONDS`."""
OTHER_AUDIENCE: Final = "ws-factory-exporter-refusal"
"""The audience of a token of the case `wrong_audience`."""
BACKDATED_SECONDS: Final = 5
"""Seconds by which `iat` is back-dated: a verifier whose clock is behind ours refuses a future `iat`."""
MAX_IAT_AHEAD_SECONDS: Final = 60
"""Seconds an `iat` may lie ahead of the verifier (docs/backend-protocol.md#limits)."""
MAX_AGE_SECONDS: Final = 24 * 3600
MAX_NUMERIC_DATE: Final = 2**53
MAX_UNIX_SECONDS: Final = 253_402_300_799.0
"""The last second of the year 9999."""
JWT_PARTS: Final = 3
MAX_TOKEN_BYTES: Final = 16_384
MIN_RSA_BITS: Final = 2048
MIN_KEY_BYTES: Final = {"HS256": 32, "HS384": 48, "HS512": 64}
"""RFC 7518 section 3.2: an HMAC key is at least as long as the hash."""
CURVE_OF_ALGORITHM: Final[dict[str, type[ec.EllipticCurve]]] = {
    "ES256": ec.SECP256R1,
    "ES384": ec.SECP384R1,
    "ES512": ec.SECP521R1,
}
"""RFC 7518 section 3.4."""
BEARER = re.compile(r"[A-Za-z0-9._~+/-]+=*")
"""The token after `Bearer ` (RFC 6750 section 2.1)."""
HEADER_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")
"""RFC 9110 section 5.5, ASCII only."""
COOKIE_VALUE = re.compile(r"[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]+")
"""RFC 6265 section 4.1.1."""
SUBPROTOCOL = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""RFC 9110 section 5.6.2."""
CONTROL_BYTE = re.compile(r"[\x00-\x1f\x7f-\x9f]")
PEM = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----")
PROTECTED: Final = "is protected by a passphrase: store the key without one and guard the file by its mode"
NO_PRIVATE_KEY: Final = (
    (b"PUBLIC KEY", "is a public key: {algorithm} signs with the private one"),
    (b"CERTIFICATE", "is a certificate: {algorithm} signs with the private key that belongs to it"),
    (b"ENCRYPTED", PROTECTED),
    (b"OPENSSH", "is an OpenSSH key: convert it to PEM with `ssh-keygen -p -m PEM`"),
)


class _CheckedHMAC(HMACAlgorithm):
    """HMAC with a key that `load_key` has checked; PyJWT would check its kind again for each token."""

    def prepare_key(self, key: Any) -> Any:
        return key

    def check_key_length(self, _: Any) -> None:
        return None

    def sign(self, msg: bytes, key: Any) -> bytes:
        return hmac.digest(key, msg, self.hash_alg().name)


def _make_signer() -> jwt.PyJWS:
    signer = jwt.PyJWS()
    for name, digest in (
        ("HS256", HMACAlgorithm.SHA256),
        ("HS384", HMACAlgorithm.SHA384),
        ("HS512", HMACAlgorithm.SHA512),
    ):
        signer.unregister_algorithm(name)
        signer.register_algorithm(name, _CheckedHMAC(digest))
    return signer


SIGNER: Final = _make_signer()
TO_JSON: Final = json.JSONEncoder(separators=(",", ":")).encode


class SigningKeyError(Exception):
    """A key or ready token that cannot be used; the text says what to do, and quotes no part of it."""


class InvalidTokenError(Exception):
    """A token that the verifier refuses; the text holds no part of the token."""


@dataclass(frozen=True, slots=True)
class KeyMaterial:
    """A parsed HMAC secret, private key or ready token.

    `fingerprint`: 16 hex digits, equal for equal keys of one algorithm.
    `expires`: `exp` of a ready token in unix seconds, if it is a JWT with one.
    `weakness`: a warning about a usable key.
    """

    fingerprint: str
    material: Any = field(repr=False)
    expires: float | None = None
    weakness: str | None = None


@dataclass(frozen=True, slots=True)
class TokenPlacement:
    """A token's place in the upgrade request: headers, offered subprotocols, query parameters (not yet escaped)."""

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    subprotocols: tuple[str, ...] = field(default=(), repr=False)
    query: Mapping[str, str] = field(default_factory=dict, repr=False)


def load_key(spec: Jwt | Secret, text: bytes) -> KeyMaterial:
    """Parse `text`, the content of `spec`'s file or variable, without one trailing newline.

    Raises SigningKeyError if it is empty, of the wrong kind, or (ready token, secret) not one line of text.
    """
    content = re.sub(rb"\r?\n\Z", b"", text)
    if not content.strip():
        raise SigningKeyError(f"is empty: put the {_secret_kind(spec)} into it")
    if isinstance(spec, Secret):
        return _ready_material("secret", _decode_line(content, "secret"))
    if spec.token_file is not None:
        return _ready_material("ready", _decode_line(content.strip(), "token"))
    if spec.algorithm not in MIN_KEY_BYTES:
        return KeyMaterial(_fingerprint(spec.algorithm, content), _private_key(spec.algorithm, content))
    secret = _shared_secret(spec.algorithm, content)
    return KeyMaterial(
        _fingerprint(spec.algorithm, content), secret, weakness=_short_key_warning(spec.algorithm, secret)
    )


def _secret_kind(spec: Jwt | Secret) -> str:
    return "secret" if isinstance(spec, Secret) else "key" if spec.token_file is None else "token"


def _fingerprint(kind: str, content: bytes) -> str:
    return hashlib.sha256(kind.encode() + b"\0" + content).hexdigest()[:16]


def _ready_material(kind: str, text: str) -> KeyMaterial:
    return KeyMaterial(_fingerprint(kind, text.encode()), text, expires=_read_expiry(text))


def _decode_line(content: bytes, noun: str) -> str:
    if len(content) > MAX_TOKEN_BYTES:
        raise SigningKeyError(f"is no {noun}: it is longer than {MAX_TOKEN_BYTES} bytes")
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise SigningKeyError(f"is no {noun}: it is not UTF-8 text") from None
    if CONTROL_BYTE.search(text):
        raise SigningKeyError(f"is no {noun}: one line is expected, without tabs and other control characters")
    if noun == "token" and text.startswith("Bearer "):
        raise SigningKeyError(
            "is no token: it begins with `Bearer`: remove that word, it is added where the header needs it"
        )
    return text


def _read_expiry(text: str) -> float | None:
    """Return `exp` of a JWT (RFC 7519 section 4.1.4), without a check of its signature; None if there is none."""
    parts = text.split(".")
    if len(parts) != JWT_PARTS:
        return None
    try:
        claims = json.loads(urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        return _numeric_date(claims["exp"], "exp")
    except (ValueError, LookupError, TypeError, RecursionError, InvalidTokenError):
        return None


def expiry_problem(key: KeyMaterial, now: float) -> str | None:
    """Return a sentence if the key is a ready token that has expired at `now` (unix seconds)."""
    if key.expires is None or key.expires > now:
        return None
    moment = datetime.fromtimestamp(max(0.0, min(key.expires, MAX_UNIX_SECONDS)), UTC)
    return f"holds a token that expired at {moment:%Y-%m-%d %H:%M:%S} UTC: put a new one there"


def _shared_secret(algorithm: str, content: bytes) -> bytes:
    if PEM.search(content):
        raise SigningKeyError(
            f"holds a PEM, but {algorithm} signs with a shared secret: set algorithm to RS256 or ES256"
        )
    try:
        HMACAlgorithm(HMACAlgorithm.SHA256).prepare_key(content)
    except jwt.InvalidKeyError:
        raise SigningKeyError(f"holds an asymmetric key, but {algorithm} signs with a shared secret") from None
    return content


def _short_key_warning(algorithm: str, content: bytes) -> str | None:
    min_bytes = MIN_KEY_BYTES[algorithm]
    if len(content) >= min_bytes:
        return None
    return (
        f"is {len(content)} bytes long, and {algorithm} asks for at least {min_bytes} (RFC 7518 section 3.2): it is "
        "used, but a key so short can be guessed from any token: give the backend and this file a longer one"
    )


def _private_key(algorithm: str, content: bytes) -> Any:
    header = PEM.search(content)
    if header is None:
        raise SigningKeyError(f"is no PEM: {algorithm} needs a private key in PEM format")
    for label, sentence in NO_PRIVATE_KEY:
        if label in header[1]:
            raise SigningKeyError(sentence.format(algorithm=algorithm))
    try:
        key = load_pem_private_key(content, password=None)
    except TypeError:  # cryptography raises it when a passphrase is missing
        raise SigningKeyError(PROTECTED) from None
    except (ValueError, UnsupportedAlgorithm):
        # The cause may quote the content: it is dropped.
        raise SigningKeyError("is a damaged PEM: no private key can be read from it") from None
    return _check_key_type(algorithm, key)


def _check_key_type(algorithm: str, key: object) -> Any:
    curve = CURVE_OF_ALGORITHM.get(algorithm)
    if curve is None:
        if not isinstance(key, rsa.RSAPrivateKey):
            raise SigningKeyError(f"is not an RSA key, which {algorithm} needs")
        if key.key_size < MIN_RSA_BITS:
            raise SigningKeyError(f"is an RSA key of {key.key_size} bits: {algorithm} needs at least {MIN_RSA_BITS}")
    elif not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, curve):
        raise SigningKeyError(f"is not an elliptic curve key on {curve.name}, which {algorithm} needs")
    return key


def is_slow(spec: Jwt | Secret) -> bool:
    """True if a signature takes 0.4 ms or more, so that `mint` belongs in a thread."""
    return isinstance(spec, Jwt) and spec.token_file is None and spec.algorithm.startswith("RS")


def is_dated(spec: Jwt | Secret) -> bool:
    """True if `mint` writes moments of our clock into the token (`iat`, `nbf`, `exp`: RFC 7519 section 4.1)."""
    return isinstance(spec, Jwt) and spec.token_file is None


def mint(spec: Jwt | Secret, key: KeyMaterial, subject: str, now: float, token_id: str, *, alias: str = "") -> str:
    """Return a token for `subject`, valid from `now` (unix seconds) for `spec.lifetime`, or the ready token itself.

    `iat` is back-dated by 5 s; all times are whole seconds. `${identity}` in a claim is the subject, `${alias}` its
    alias. Raises SigningKeyError if the key cannot sign, or a ready token has expired.
    """
    if isinstance(spec, Secret) or spec.token_file is not None:
        problem = expiry_problem(key, now)
        if problem is not None:
            raise SigningKeyError(problem)
        return str(key.material)
    claims = {
        **fill(spec.claims, {"identity": subject, "alias": alias}),
        "sub": subject,
        "iat": int(now) - BACKDATED_SECONDS,
        "exp": int(now + spec.lifetime),
        "jti": token_id,
    }
    headers = {**spec.headers, "alg": spec.algorithm}  # PyJWT prefers the header to its argument
    try:
        return SIGNER.encode(TO_JSON(claims).encode(), key.material, spec.algorithm, headers)
    except (jwt.PyJWTError, ValueError, TypeError) as error:
        raise SigningKeyError(f"cannot sign with {spec.algorithm}: {type(error).__name__}") from None


def forge(
    spec: Jwt | Secret, key: KeyMaterial, subject: str, now: float, token_id: str, *, case: RefusalCase, alias: str = ""
) -> str:
    """Return a credential that the backend must refuse, like `mint` in every other respect; empty for `no_token`.

    A fresh key signs `other_key` and is forgotten. An expired token was valid `EXPIRED_SECONDS` ago. Raises
    SigningKeyError as `mint` does, and LookupError for a case that the source cannot produce (`possible_cases`).
    """
    if case is RefusalCase.NO_TOKEN:
        return ""
    if case is RefusalCase.MALFORMED:
        return f"malformed-{token_id}"
    if isinstance(spec, Secret) or spec.token_file is not None:
        raise LookupError(case)
    if case is RefusalCase.UNSIGNED:
        return _unsigned(mint(spec, key, subject, now, token_id, alias=alias))
    if case is RefusalCase.OTHER_KEY:
        key = KeyMaterial("", _fresh_key(spec.algorithm))
    elif case is RefusalCase.EXPIRED:
        now -= spec.lifetime + EXPIRED_SECONDS
    elif case is RefusalCase.WRONG_AUDIENCE:
        spec = spec.model_copy(update={"claims": {**spec.claims, "aud": OTHER_AUDIENCE}})
    return mint(spec, key, subject, now, token_id, alias=alias)


def _unsigned(token: str) -> str:
    """Return the token with the algorithm `none` and an empty signature (RFC 7519 section 6)."""
    header, claims, _ = token.split(".")
    fields = {**json.loads(urlsafe_b64decode(header + "=" * (-len(header) % 4))), "alg": "none"}
    return f"{urlsafe_b64encode(TO_JSON(fields).encode()).rstrip(b'=').decode()}.{claims}."


def _fresh_key(algorithm: str) -> Any:
    """Return a key of the algorithm's kind that nobody else has."""
    if algorithm in MIN_KEY_BYTES:
        return AESGCM.generate_key(bit_length=256) + AESGCM.generate_key(bit_length=256)
    curve = CURVE_OF_ALGORITHM.get(algorithm)
    if curve is not None:
        return ec.generate_private_key(curve())
    return rsa.generate_private_key(public_exponent=65537, key_size=MIN_RSA_BITS)


def verify(
    token: str,
    key: bytes,
    now: float,
    *,
    algorithms: Sequence[str],
    required: Sequence[str],
    issuer: str,
    audience: Sequence[str],
) -> dict[str, Any]:
    """Return the claims of a token that is genuine and valid at `now`; raises InvalidTokenError for any other value.

    `key`: the HMAC secret, or a public key in PEM. `required`: required claims besides `iat` and `exp`.
    PyJWT's own checks of time are off, because they read the machine's clock; `_check_times` replaces them.
    """
    if not isinstance(token, str) or len(token) > MAX_TOKEN_BYTES or not token.isascii():
        raise InvalidTokenError("not a token")
    try:
        claims = jwt.decode(
            token,
            key,
            algorithms=list(algorithms),
            issuer=issuer,
            audience=list(audience),
            options={
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
                "require": [*required, "iat", "exp"],
                "enforce_minimum_key_length": True,
            },
        )
    except (jwt.PyJWTError, ValueError, TypeError, LookupError, ArithmeticError, RuntimeError) as error:
        raise InvalidTokenError(type(error).__name__) from None
    _check_times(claims, now)
    return claims


def _check_times(claims: Mapping[str, Any], now: float) -> None:
    issued, expires = _numeric_date(claims["iat"], "iat"), _numeric_date(claims["exp"], "exp")
    checks = (
        (issued <= now + MAX_IAT_AHEAD_SECONDS, "iat lies in the future"),
        (_numeric_date(claims.get("nbf", issued), "nbf") <= now + MAX_IAT_AHEAD_SECONDS, "nbf lies in the future"),
        (expires > now, "expired"),
        (now - issued < MAX_AGE_SECONDS, "older than 24 h"),
    )
    for holds, refusal in checks:
        if not holds:
            raise InvalidTokenError(refusal)


def _numeric_date(value: object, name: str) -> float:
    """Return a NumericDate in unix seconds (RFC 7519 section 2)."""
    if (
        isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < MAX_NUMERIC_DATE
    ):  # NaN is not less
        raise InvalidTokenError(f"{name} is no time")
    return value


def encoded_credentials(subject: str, token: str) -> dict[str, str]:
    """Return `basic` (RFC 7617: base64 of subject:token) and `plain` (RFC 4616: base64 of NUL, subject, NUL, token)."""
    texts = {"basic": f"{subject}:{token}", "plain": f"\0{subject}\0{token}"}
    return {name: b64encode(text.encode()).decode() for name, text in texts.items()}


def carry(carrier: Carrier, token: str, subject: str = "") -> TokenPlacement:
    """Return the placement of a token; raises SigningKeyError if the carrier cannot hold one of its characters."""
    problem = carrier_problem(carrier, token)
    if problem is not None:
        raise SigningKeyError(problem)
    if carrier.by == "header":
        return TokenPlacement(headers={carrier.name: _fill_template(carrier.templates[0], token, subject)})
    if carrier.by == "subprotocol":
        return TokenPlacement(subprotocols=tuple(_fill_template(offer, token, subject) for offer in carrier.templates))
    return TokenPlacement(query={carrier.name: token}) if carrier.by == "query" else TokenPlacement()


def carrier_problem(carrier: Carrier, token: str) -> str | None:
    """Return why the carrier cannot hold the token, and what to do; None if it can."""
    for template in carrier.templates:
        permitted, sentence = _permitted_characters(carrier, template)
        if "${token}" in template and not permitted.fullmatch(token):
            return sentence
    return None


def _permitted_characters(carrier: Carrier, template: str) -> tuple[re.Pattern[str], str]:
    """Return the pattern of tokens that fit this template, and the sentence for other tokens."""
    if carrier.by == "subprotocol":
        return SUBPROTOCOL, "has letters that a subprotocol cannot hold: use ${token_base64url} in carry.subprotocols"
    if template.startswith("Bearer "):
        sentence = (
            "is no token for `Bearer`: one line of letters, digits and . _ ~ + / - = is expected; for another form "
            'name it in auth.carry, such as {header: X-Api-Key, value: "${token}"}'
        )
        return BEARER, sentence
    if carrier.name.lower() == "cookie":
        return COOKIE_VALUE, "has letters that a cookie cannot hold (space, quote, comma, ; or \\): percent-encode it"
    return HEADER_VALUE, "has letters that a header cannot hold: printable ASCII is expected, or use ${token_base64url}"


def _fill_template(pattern: str, token: str, subject: str) -> str:
    if "${basic}" in pattern:
        pattern = pattern.replace("${basic}", encoded_credentials(subject, token)["basic"])
    if "${token_base64url}" in pattern:
        encoded = urlsafe_b64encode(token.encode()).rstrip(b"=").decode()
        pattern = pattern.replace("${token_base64url}", encoded)
    return pattern.replace("${token}", token)
