"""A token is minted, carried and, for the stand-in, verified.

Rule 1: the key and the time come in from outside; this room reads no file and no clock.
Rule 2: never logs, and no exception text quotes a key or a token.
Rule 3: the only room that knows PyJWT.
"""

import hashlib
import hmac
import json
import re
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from jwt.algorithms import HMACAlgorithm

from exporter.config import Carry, Jwt

BACKDATED: Final = 5
"""Seconds by which `iat` lies in the past: a verifier whose clock is behind ours refuses a token of the future."""
IAT_AHEAD: Final = 60
"""Seconds an `iat` may lie ahead of the verifier (protocol page section 1)."""
MAX_AGE: Final = 24 * 3600
LATEST: Final = 2**53
MAX_TOKEN: Final = 16_384
MIN_RSA_BITS: Final = 2048
MIN_BYTES: Final = {"HS256": 32, "HS384": 48, "HS512": 64}
"""RFC 7518 section 3.2: an HMAC key is at least as long as the hash."""
CURVES: Final[dict[str, type[ec.EllipticCurve]]] = {
    "ES256": ec.SECP256R1,
    "ES384": ec.SECP384R1,
    "ES512": ec.SECP521R1,
}
"""RFC 7518 section 3.4."""
READY = re.compile(rb"[A-Za-z0-9._~+/-]+=*")
"""What may stand behind `Bearer ` (RFC 6750 section 2.1)."""
PEM = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----")
PROTECTED: Final = "is protected by a passphrase: store the key without one and guard the file by its mode"
NO_PRIVATE_KEY: Final = (
    (b"PUBLIC KEY", "is a public key: {algorithm} signs with the private one"),
    (b"CERTIFICATE", "is a certificate: {algorithm} signs with the private key that belongs to it"),
    (b"ENCRYPTED", PROTECTED),
    (b"OPENSSH", "is an OpenSSH key: convert it to PEM with `ssh-keygen -p -m PEM`"),
)


class _Secret(HMACAlgorithm):
    """HMAC with a key that `load_key` has examined: PyJWT would look for the marks of other kinds at each token."""

    def prepare_key(self, key: Any) -> Any:
        return key

    def check_key_length(self, _: Any) -> None:
        return None

    def sign(self, msg: bytes, key: Any) -> bytes:
        return hmac.digest(key, msg, self.hash_alg().name)


def _signer() -> jwt.PyJWS:
    signer = jwt.PyJWS()
    for name, digest in (
        ("HS256", HMACAlgorithm.SHA256),
        ("HS384", HMACAlgorithm.SHA384),
        ("HS512", HMACAlgorithm.SHA512),
    ):
        signer.unregister_algorithm(name)
        signer.register_algorithm(name, _Secret(digest))
    return signer


SIGNER: Final = _signer()
TO_JSON: Final = json.JSONEncoder(separators=(",", ":")).encode


class KeyProblem(Exception):  # noqa: N818
    """A key or ready token that cannot be used; the text says what to do and quotes nothing of it."""


class BadToken(Exception):  # noqa: N818
    """A token the verifier refuses; the text is a fact of ours, never a part of the token."""


@dataclass(frozen=True, slots=True)
class Key:
    """What tokens are made of, parsed once: an HMAC secret, a private key, or a ready token.

    `fingerprint`: 16 hex digits, equal for equal keys of one algorithm, to tell a changed key from an old one.
    """

    fingerprint: str
    material: Any = field(repr=False)


@dataclass(frozen=True, slots=True)
class Carried:
    """Where a token goes in the upgrade request: headers, subprotocols offered, query parameters (not yet escaped)."""

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    subprotocols: tuple[str, ...] = field(default=(), repr=False)
    query: Mapping[str, str] = field(default_factory=dict, repr=False)


def load_key(spec: Jwt, text: bytes) -> Key:
    """The key in `text`, the content of `spec`'s file or variable; one trailing newline is not part of it.

    Raises KeyProblem: nothing in it, too short, of the wrong kind, or (ready token) not fit for a header.
    """
    content = re.sub(rb"\r?\n\Z", b"", text)
    if not content.strip():
        raise KeyProblem(
            "is empty: put the key into it" if spec.token_file is None else "is empty: put a token into it"
        )
    if spec.token_file is not None:
        kind, material = "ready", _ready_token(content)
    elif spec.algorithm in MIN_BYTES:
        kind, material = spec.algorithm, _secret(spec.algorithm, content)
    else:
        kind, material = spec.algorithm, _private_key(spec.algorithm, content)
    return Key(hashlib.sha256(kind.encode() + b"\0" + content).hexdigest()[:16], material)


def _ready_token(content: bytes) -> Any:
    stripped = content.strip()
    if len(stripped) > MAX_TOKEN:
        raise KeyProblem(f"is no token: it is longer than {MAX_TOKEN} bytes")
    if not READY.fullmatch(stripped):
        raise KeyProblem("is no token: one line of letters, digits and . _ ~ + / - = is expected, without `Bearer`")
    return stripped.decode()


def _secret(algorithm: str, content: bytes) -> Any:
    if PEM.search(content):
        raise KeyProblem(f"holds a PEM, but {algorithm} signs with a shared secret: set algorithm to RS256 or ES256")
    try:
        HMACAlgorithm(HMACAlgorithm.SHA256).prepare_key(content)
    except jwt.InvalidKeyError:
        raise KeyProblem(f"holds an asymmetric key, but {algorithm} signs with a shared secret") from None
    least = MIN_BYTES[algorithm]
    if len(content) < least:
        raise KeyProblem(f"is {len(content)} bytes long, but {algorithm} needs at least {least} (RFC 7518 section 3.2)")
    return content


def _private_key(algorithm: str, content: bytes) -> Any:
    header = PEM.search(content)
    if header is None:
        raise KeyProblem(f"is no PEM: {algorithm} needs a private key in PEM format")
    for mark, sentence in NO_PRIVATE_KEY:
        if mark in header[1]:
            raise KeyProblem(sentence.format(algorithm=algorithm))
    try:
        key = load_pem_private_key(content, password=None)
    except TypeError:  # how cryptography says that a passphrase is missing
        raise KeyProblem(PROTECTED) from None
    except (ValueError, UnsupportedAlgorithm):
        # The cause may quote the content: it stays here.
        raise KeyProblem("is a damaged PEM: no private key can be read from it") from None
    return _fitting(algorithm, key)


def _fitting(algorithm: str, key: object) -> Any:
    curve = CURVES.get(algorithm)
    if curve is None:
        if not isinstance(key, rsa.RSAPrivateKey):
            raise KeyProblem(f"is not an RSA key, which {algorithm} needs")
        if key.key_size < MIN_RSA_BITS:
            raise KeyProblem(f"is an RSA key of {key.key_size} bits: {algorithm} needs at least {MIN_RSA_BITS}")
    elif not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, curve):
        raise KeyProblem(f"is not an elliptic curve key on {curve.name}, which {algorithm} needs")
    return key


def is_slow(spec: Jwt) -> bool:
    """True if a signature takes 0.4 ms or more: it is to be made in a thread, while OpenSSL keeps nobody waiting."""
    return spec.token_file is None and spec.algorithm.startswith("RS")


def mint(spec: Jwt, key: Key, subject: str, now: float, token_id: str) -> str:
    """A token for `subject`, valid from `now` (unix seconds) for `spec.lifetime`; a ready token comes back as it is.

    `iat` is back-dated by 5 s, all times are whole seconds. Raises KeyProblem when the key cannot sign.
    """
    if spec.token_file is not None:
        return str(key.material)
    claims = {
        **spec.claims,
        "sub": subject,
        "iat": int(now) - BACKDATED,
        "exp": int(now + spec.lifetime),
        "jti": token_id,
    }
    headers = {**spec.headers, "alg": spec.algorithm}  # PyJWT prefers the header to its argument
    try:
        return SIGNER.encode(TO_JSON(claims).encode(), key.material, spec.algorithm, headers)
    except (jwt.PyJWTError, ValueError, TypeError) as error:
        raise KeyProblem(f"cannot sign with {spec.algorithm}: {type(error).__name__}") from None


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
    """The claims of a token that is genuine and in force at `now`; raises BadToken for anything else, whatever it is.

    `key`: the HMAC secret or a public key in PEM. `required`: claims besides `iat` and `exp` that must be there.
    PyJWT would ask the machine's clock: its time checks are off, ours stand in `_in_force`.
    """
    if not isinstance(token, str) or len(token) > MAX_TOKEN or not token.isascii():
        raise BadToken("not a token")
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
        raise BadToken(type(error).__name__) from None
    _in_force(claims, now)
    return claims


def _in_force(claims: Mapping[str, Any], now: float) -> None:
    issued, expires = _time(claims["iat"], "iat"), _time(claims["exp"], "exp")
    checks = (
        (issued <= now + IAT_AHEAD, "iat lies in the future"),
        (_time(claims.get("nbf", issued), "nbf") <= now + IAT_AHEAD, "nbf lies in the future"),
        (expires > now, "expired"),
        (now - issued < MAX_AGE, "older than 24 h"),
    )
    for holds, refusal in checks:
        if not holds:
            raise BadToken(refusal)


def _time(value: object, name: str) -> float:
    """Unix seconds of a NumericDate (RFC 7519 section 2)."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < LATEST:  # NaN is not less
        raise BadToken(f"{name} is no time")
    return value


def carry(carry: Literal["header", "subprotocol", "query"], rules: Carry, token: str) -> Carried:
    """Where `token` goes, by the profile's `rules`; the backend's own order is protocol page section 1."""
    if carry == "header":
        return Carried(headers={"Authorization": _filled(rules.header, token)})
    if carry == "subprotocol":
        return Carried(subprotocols=tuple(_filled(offer, token) for offer in rules.subprotocols))
    return Carried(query={rules.query: token})


def _filled(pattern: str, token: str) -> str:
    if "${token_base64url}" in pattern:
        encoded = urlsafe_b64encode(token.encode()).rstrip(b"=").decode()
        pattern = pattern.replace("${token_base64url}", encoded)
    return pattern.replace("${token}", token)
