"""Package `tokens`."""

import base64
import hmac
import json

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.config import Auth, Jwt, Profile, Secret, carrier_of
from exporter.result import RefusalCase
from exporter.tokens import (
    InvalidTokenError,
    KeyMaterial,
    SigningKeyError,
    carrier_problem,
    carry,
    expiry_problem,
    forge,
    load_key,
    mint,
    verify,
)

NOW = 1_757_400_000.75
SECRET = b"a secret of thirty-two bytes, ok"
CLAIMS = {"iss": "netra-auth-service", "aud": "netra-platform", "token_type": "access"}
WANTED = {
    "algorithms": ("HS256",),
    "required": ("sub", "jti", "token_type"),
    "issuer": "netra-auth-service",
    "audience": ("netra-platform", "netra-services"),
}
RSA = rsa.generate_private_key(65537, 2048)
P256 = ec.generate_private_key(ec.SECP256R1())


def pem(key, encryption=None, form=PrivateFormat.PKCS8):
    return key.private_bytes(Encoding.PEM, form, encryption or NoEncryption())


def public(key):
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def spec(algorithm="HS256", **more):
    return Jwt(key_file="key", algorithm=algorithm, claims=CLAIMS, **more)


def carrier(way, rules=None, **more):
    """The carrier of a target with this `carry`, of a profile with these rules."""
    profile = Profile.model_validate({"carry": rules or {}, **more})
    return carrier_of(Auth.model_validate({"jwt": {"key_env": "K"}, "carry": way}), profile)


def minted(**more):
    return mint(spec(**more), load_key(spec(), SECRET), "user-one", NOW, "id-1")


def encoded(value):
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def dotted(*parts):
    return ".".join(encoded(part) for part in parts)


def signed(claims, key=SECRET, **header):
    """Signed without PyJWT, which would refuse to make most of what must be refused."""
    content = dotted(*(json.dumps(part).encode() for part in ({"alg": "HS256", **header}, claims)))
    return f"{content}.{encoded(hmac.digest(key, content.encode(), 'sha256'))}"


def good(**more):
    return {**CLAIMS, "sub": "user-one", "jti": "id-1", "iat": int(NOW), "exp": int(NOW) + 60, **more}


def test_a_token_is_backdated_and_in_whole_seconds():
    """A token says who, since 5 s ago, for the lifetime, with an id of its own, in whole seconds."""
    claims = jwt.decode(minted(lifetime="5m"), options={"verify_signature": False})
    assert claims == {**CLAIMS, "sub": "user-one", "jti": "id-1", "iat": int(NOW) - 5, "exp": int(NOW) + 300}
    assert all(type(claims[name]) is int for name in ("iat", "exp"))


def test_claims_of_the_config_never_replace_ours():
    """Whatever the config says, sub, iat, exp and jti are ours, and so is the algorithm."""
    mine = Jwt(key_file="key", claims={"sub": "other", "iat": 0, "exp": 0, "jti": "x"}, headers={"alg": "HS512"})
    token = mint(mine, load_key(mine, SECRET), "user-one", NOW, "id-1")
    claims = jwt.decode(token, options={"verify_signature": False})
    assert (claims["sub"], claims["jti"]) == ("user-one", "id-1")
    assert claims["exp"] > claims["iat"] > 0
    assert jwt.get_unverified_header(token)["alg"] == "HS256"


def test_headers_of_the_config_are_in_the_token():
    """A key id from the config stands in the token's header."""
    assert jwt.get_unverified_header(minted(headers={"kid": "one"}))["kid"] == "one"


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "ES256", "ES384", "ES512"])
def test_each_algorithm_signs_what_its_verifier_accepts(algorithm):
    """A token minted by each algorithm is accepted with the key that belongs to it."""
    curve = {"ES256": ec.SECP256R1, "ES384": ec.SECP384R1, "ES512": ec.SECP521R1}.get(algorithm)
    key = RSA if algorithm.startswith("RS") else ec.generate_private_key(curve()) if curve else None
    text, check = (pem(key), public(key)) if key else (SECRET * 2, SECRET * 2)
    token = mint(spec(algorithm), load_key(spec(algorithm), text), "user-one", NOW, "id-1")
    claims = verify(token, check, NOW, **{**WANTED, "algorithms": (algorithm,)})
    assert claims["sub"] == "user-one"


@pytest.mark.parametrize("ending", [b"", b"\n", b"\r\n"])
def test_a_trailing_newline_is_no_part_of_a_secret(ending):
    """The newline an editor leaves at the end of a key file changes nothing."""
    assert load_key(spec(), SECRET + ending) == load_key(spec(), SECRET)


def test_older_pem_forms_are_read():
    """A key in the traditional PEM form signs as well."""
    assert load_key(spec("RS256"), pem(RSA, form=PrivateFormat.TraditionalOpenSSL)).material.key_size == 2048


BAD_KEYS = [
    ("HS256", b"", "is empty: put the key into it"),
    ("HS256", b" \n", "is empty: put the key into it"),
    ("ES256", b"\n", "is empty: put the key into it"),
    (
        "HS256",
        pem(P256),
        "holds a PEM, but HS256 signs with a shared secret: set algorithm to RS256 or ES256",
    ),
    ("RS256", SECRET, "is no PEM: RS256 needs a private key in PEM format"),
    ("RS256", public(RSA), "is a public key: RS256 signs with the private one"),
    (
        "RS256",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "is a certificate: RS256 signs with the private key that belongs to it",
    ),
    (
        "RS256",
        pem(RSA, BestAvailableEncryption(b"pass")),
        "is protected by a passphrase: store the key without one and guard the file by its mode",
    ),
    (
        "RS256",
        pem(RSA, BestAvailableEncryption(b"pass"), PrivateFormat.TraditionalOpenSSL),
        "is protected by a passphrase: store the key without one and guard the file by its mode",
    ),
    (
        "RS256",
        b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n",
        "is an OpenSSH key: convert it to PEM with `ssh-keygen -p -m PEM`",
    ),
    (
        "RS256",
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        "is a damaged PEM: no private key can be read from it",
    ),
    ("RS256", pem(P256), "is not an RSA key, which RS256 needs"),
    ("RS256", pem(rsa.generate_private_key(65537, 1024)), "is an RSA key of 1024 bits: RS256 needs at least 2048"),
    ("ES256", pem(RSA), "is not an elliptic curve key on secp256r1, which ES256 needs"),
    ("ES384", pem(P256), "is not an elliptic curve key on secp384r1, which ES384 needs"),
    ("ES256", pem(dsa.generate_private_key(1024)), "is not an elliptic curve key on secp256r1, which ES256 needs"),
]


@pytest.mark.parametrize(("algorithm", "text", "sentence"), BAD_KEYS)
def test_a_wrong_key_is_refused(algorithm, text, sentence):
    """The error for a key that cannot sign says what to do, and neither quotes nor chains anything of it."""
    with pytest.raises(SigningKeyError) as refused:
        load_key(spec(algorithm), text)
    assert str(refused.value) == sentence
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


def test_repr_of_a_key_holds_no_secret():
    """Neither a key nor what carries a token has its secret in its repr; equal keys have equal fingerprints."""
    key = load_key(spec(), SECRET)
    assert SECRET.decode() not in repr(key)
    assert key.fingerprint == load_key(spec(), SECRET).fingerprint
    assert key.fingerprint != load_key(spec("HS256"), SECRET[::-1]).fingerprint
    for way in ("header", "subprotocol", "query"):
        assert "secret-token" not in repr(carry(carrier(way), "secret-token"))


READY = Jwt(token_file="token")


def test_a_ready_token_is_used_unchanged():
    """A ready token is used unchanged, without the newline at its end."""
    key = load_key(READY, b"abc.def.ghi\n")
    assert mint(READY, key, "user-one", NOW, "id-1") == "abc.def.ghi"
    assert "abc" not in repr(key)


@pytest.mark.parametrize("text", [b"", b"\n", b"a\nb", b"a\tb", b"Bearer x", b"\xff", b"a" * 20_000, "a\x85b".encode()])
def test_an_invalid_ready_token_is_refused(text):
    """A file that holds no token is refused before it is sent."""
    with pytest.raises(SigningKeyError, match=r"^is (empty|no token)"):
        load_key(READY, text)


def test_a_genuine_token_is_accepted():
    """The verifier accepts a minted token and returns its claims."""
    assert verify(minted(), SECRET, NOW, **WANTED)["token_type"] == "access"


REFUSED = [
    (good(exp=int(NOW)), "expired"),
    (good(iat=int(NOW) + 62), "iat lies in the future"),
    (good(nbf=int(NOW) + 62), "nbf lies in the future"),
    (good(iat=int(NOW) - 86_400), "older than 24 h"),
    (good(iat=str(int(NOW))), "iat is no time"),
    (good(exp="never"), "exp is no time"),
    (good(exp=True), "exp is no time"),
    (good(exp=float("nan")), "exp is no time"),
    (good(exp=float("inf")), "exp is no time"),
    (good(exp=10**400), "exp is no time"),
    (good(exp=[1]), "exp is no time"),
    (good(nbf={}), "nbf is no time"),
    (good(iat=None), "MissingRequiredClaimError"),
    (good(token_type=None), "MissingRequiredClaimError"),
    (good(iss="other"), "InvalidIssuerError"),
    (good(iss=["netra-auth-service"]), "InvalidIssuerError"),
    (good(aud="other"), "InvalidAudienceError"),
    (good(aud={"netra-platform": 1}), "InvalidAudienceError"),
    (good(jti=7), "InvalidJTIError"),
    (good(sub=7), "InvalidSubjectError"),
]


@pytest.mark.parametrize(("claims", "fact"), REFUSED)
def test_a_token_with_wrong_claims_is_refused(claims, fact):
    """Each rule of the backend's token check refuses by its own fact."""
    with pytest.raises(InvalidTokenError, match=f"^{fact}$"):
        verify(signed(claims), SECRET, NOW, **WANTED)


def test_limits_of_iat_and_exp():
    """An `iat` 60 s ahead is accepted, one second before `exp` is enough, and an age of a day less a second is."""
    for claims in (good(iat=int(NOW) + 60), good(exp=int(NOW) + 1), good(iat=int(NOW) - 86_399)):
        assert verify(signed(claims), SECRET, NOW, **WANTED)["sub"] == "user-one"


def test_another_key_or_algorithm_is_refused():
    """A token of another key, of no signature, or of an algorithm that is not allowed is a bad one."""
    unsigned = jwt.encode(good(), None, algorithm="none")
    longer = jwt.encode(good(), SECRET * 2, algorithm="HS512")
    for token in (signed(good(), SECRET[::-1]), unsigned, longer):
        with pytest.raises(InvalidTokenError):
            verify(token, SECRET, NOW, **WANTED)


GARBAGE = [
    *("", ".", "..", "...", "a.b.c", "\ud800", "ä.ö.ü", "a" * 100_000, "=.=.=", " ", "\x00"),
    *(None, 7, b"bytes", ["a"]),
    *(dotted(b"[" * 5000, b"{}", b"x"), dotted(b"null", b"null", b""), dotted(b"{}", b"{}", b"x")),
    dotted(b'{"alg":["HS256"]}', b"{}", b"x"),
    dotted(b'{"alg":"HS256","crit":["x"]}', b"{}", b"x"),
    dotted(b'{"alg":"HS256","b64":false,"crit":["b64"]}', b"", b"x"),
    dotted(b'{"alg":"HS256","kid":7}', b"{}", b"x"),
]


@pytest.mark.parametrize("token", GARBAGE, ids=range(len(GARBAGE)))
def test_garbage_is_an_invalid_token(token):
    """Any other value than a token raises InvalidTokenError, which quotes nothing of it."""
    with pytest.raises(InvalidTokenError) as refused:
        verify(token, SECRET, NOW, **WANTED)
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
headers = st.dictionaries(st.sampled_from(["alg", "b64", "crit", "kid", "typ"]), json_values, max_size=4)
claim_sets = st.dictionaries(
    st.sampled_from(["sub", "iat", "exp", "nbf", "jti", "iss", "aud", "token_type"]), json_values, max_size=8
)


@settings(max_examples=200, deadline=None, database=None)
@given(st.text() | st.lists(st.binary(max_size=40).map(encoded), min_size=1, max_size=4).map(".".join))
def test_any_text_is_an_invalid_token(token):
    """No text makes the verifier raise anything but InvalidTokenError."""
    with pytest.raises(InvalidTokenError):
        verify(token, SECRET, NOW, **WANTED)


@settings(max_examples=200, deadline=None, database=None)
@given(headers, st.one_of(json_values, claim_sets.map(lambda claims: {**good(), **claims})))
def test_any_signed_content_is_judged(header, body):
    """A token signed with the right key, whatever stands in it, is either in force or a bad one."""
    try:
        claims = verify(signed(body, **header), SECRET, NOW, **WANTED)
    except InvalidTokenError:
        return
    assert claims["exp"] > NOW


def test_a_token_travels_in_the_header():
    """In the header a token stands behind the profile's scheme, and nowhere else."""
    carried = carry(carrier("header"), "abc")
    assert (carried.headers, carried.subprotocols, carried.query) == ({"Authorization": "Bearer abc"}, (), {})


def test_a_token_travels_as_a_subprotocol():
    """As a subprotocol a token is offered in base64url without padding (docs/backend-protocol.md#connecting)."""
    carried = carry(carrier("subprotocol"), "abcd")
    assert (carried.headers, carried.subprotocols, carried.query) == ({}, ("jwt-auth", "jwt.YWJjZA"), {})


def test_a_token_travels_in_the_query():
    """In the query a token is the value of the profile's parameter."""
    assert carry(carrier("query", {"query": "ticket"}), "abc").query == {"ticket": "abc"}


def test_a_token_that_a_message_carries_goes_nowhere_else():
    """What stands in a message is in no header, no subprotocol and no query; by default if a message holds it."""
    login = {"auth": {"message": {"token": "${token}"}, "match": {"ok": True}}}
    for way in (carrier("message"), carrier(None, **login)):
        carried = carry(way, 'p@ss wörd;"')
        assert (carried.headers, carried.subprotocols, carried.query) == ({}, (), {})
    assert carrier("header", **login).in_upgrade
    assert carrier(None).by == "header"


def test_a_token_travels_in_any_header_and_form():
    """The target names the header and its form, or the profile does; the target comes first."""
    cookie = {"header": "Cookie", "value": "access=${token}"}
    assert carry(carrier(cookie), "abc").headers == {"Cookie": "access=abc"}
    assert carry(carrier("header", cookie), "abc").headers == {"Cookie": "access=abc"}
    assert carry(carrier({"header": "X-Api-Key"}, cookie), "abc").headers == {"X-Api-Key": "abc"}
    assert carry(carrier("header", {"header": "Token ${token}"}), "a").headers == {"Authorization": "Token a"}


@pytest.mark.parametrize(
    ("way", "rules", "fits", "refused"),
    [
        ("header", {}, "a.b-c_d~+/==", ["a b", "a;b", "schlüssel", '"']),
        ({"header": "X-Key"}, {}, 'p@ss word!;,"\\{}', [" a", "a ", "schlüssel"]),
        ({"header": "Cookie", "value": "s=${token}"}, {}, "a.b%20=", ["a b", "a;b", 'a"b', "a,b", "a\\b"]),
        ("subprotocol", {"subprotocols": ["t", "${token}"]}, "a.b-c", ["a b", "a/b", "a=", "ä"]),
        ("subprotocol", {}, 'p@ss wörd ;"', []),
        ("query", {}, "p@ss wörd &=", []),
        ("message", {}, 'p@ss wörd "\\', []),
    ],
)
def test_a_secret_with_characters_that_its_carrier_cannot_hold_is_refused(way, rules, fits, refused):
    """A secret of any printable characters is carried, unless the carrier cannot hold one: then nothing is sent."""
    assert carrier_problem(carrier(way, rules), fits) is None
    for secret in refused:
        with pytest.raises(SigningKeyError) as problem:
            carry(carrier(way, rules), secret)
        assert secret not in str(problem.value).split()


@pytest.mark.parametrize("text", ["p@ss word! \"'\\", "schlüssel ${token}", " lead and trail "])
def test_a_secret_is_any_line_of_text(text):
    """A password keeps every letter of it, blanks at its ends too; only the line's end is taken off."""
    secret = Secret(secret_file="password")
    key = load_key(secret, text.encode() + b"\n")
    assert mint(secret, key, "user-one", NOW, "id-1") == text
    assert text not in repr(key)


@pytest.mark.parametrize("text", [b"", b"\n", b" \n", b"a\nb", b"a\tb", b"a\x00", b"\xff", b"a" * 20_000])
def test_a_secret_of_several_lines_is_refused(text):
    """Several lines, control characters and other bytes are refused before they are sent."""
    with pytest.raises(SigningKeyError, match=r"^is (empty: put the secret into it|no secret: )"):
        load_key(Secret(secret_file="password"), text)


@pytest.mark.parametrize(("algorithm", "length"), [("HS256", 20), ("HS256", 31), ("HS384", 47), ("HS512", 1)])
def test_a_short_hmac_key_signs_and_is_a_warning(algorithm, length):
    """A short HMAC key signs, and its length is a warning."""
    key = load_key(spec(algorithm), b"k" * length)
    claims = jwt.decode(mint(spec(algorithm), key, "user-one", NOW, "i"), options={"verify_signature": False})
    assert claims["sub"] == "user-one"
    assert f"is {length} bytes long, and {algorithm} asks for at least " in key.weakness
    assert load_key(spec(algorithm), b"k" * 64).weakness is None


def test_claims_may_be_nested_and_name_who_speaks():
    """The subject and its alias are filled in at any depth of a claim; other values stay what they are."""
    claims = {
        "user_id": "${identity}",
        "https://hasura.io/jwt/claims": {"x-hasura-user-id": "${identity}", "roles": ["user", "${alias}"], "n": None},
        "realm_access": {"roles": [], "level": 1.5, "admin": False},
    }
    nested = Jwt(key_file="key", claims=claims)
    token = mint(nested, load_key(nested, SECRET), "17", NOW, "id-1", alias="pool-001")
    made = jwt.decode(token, options={"verify_signature": False})
    assert made["user_id"] == "17"
    assert made["https://hasura.io/jwt/claims"] == {"x-hasura-user-id": "17", "roles": ["user", "pool-001"], "n": None}
    assert made["realm_access"] == claims["realm_access"]
    assert made["sub"] == "17"


def test_a_ready_token_that_has_expired_is_not_sent():
    """A ready JWT whose `exp` is past is refused with the time of its expiry."""
    key = load_key(READY, signed(good(exp=1_757_400_000)).encode())
    assert expiry_problem(key, 1_757_399_999) is None
    with pytest.raises(SigningKeyError) as problem:
        mint(READY, key, "user-one", NOW, "id-1")
    assert str(problem.value) == "holds a token that expired at 2025-09-09 06:40:00 UTC: put a new one there"


@pytest.mark.parametrize(
    "text",
    [
        "opaque",
        "a.b.c",
        "..",
        signed({"sub": "x"}),
        signed({"exp": "soon"}),
        signed({"exp": True}),
        signed({"exp": float("nan")}),
        signed([1]),
        dotted(b"{}", b"[" * 5000, b"x"),
    ],
)
def test_what_has_no_expiry_does_not_expire(text):
    """A ready token that is no JWT, or that names no time, is sent as it is."""
    assert mint(READY, load_key(READY, text.encode()), "user-one", NOW, "id-1") == text


REFUSABLE = [case for case in RefusalCase if case not in {RefusalCase.NO_TOKEN, RefusalCase.MALFORMED}]


def forged(case, source=None, key=None):
    source = source or spec(lifetime="60s")
    return forge(source, key or load_key(source, SECRET), "user-one", NOW, "id-1", case=case)


@pytest.mark.parametrize("case", REFUSABLE)
def test_a_forged_token_is_refused_by_whoever_looks(case):
    """A verifier refuses each; a good token for a disabled user is the one that only the user's state refuses."""
    if case is RefusalCase.DISABLED_USER:
        assert verify(forged(case), SECRET, NOW, **WANTED)["sub"] == "user-one"
        return
    with pytest.raises(InvalidTokenError):
        verify(forged(case), SECRET, NOW, **WANTED)


@pytest.mark.parametrize("case", REFUSABLE)
def test_a_forged_token_is_wrong_in_one_way_only(case):
    """Its claims are those of a good one but for the one that the case is about, so that it is refused for that."""
    claims = jwt.decode(forged(case), options={"verify_signature": False})
    genuine = jwt.decode(minted(lifetime="60s"), options={"verify_signature": False})
    different = {name for name in {*claims, *genuine} if claims.get(name) != genuine.get(name)}

    assert different == {RefusalCase.EXPIRED: {"iat", "exp"}, RefusalCase.WRONG_AUDIENCE: {"aud"}}.get(case, set())
    assert NOW - claims["iat"] < 24 * 3600


def test_an_unsigned_token_has_no_signature():
    """The algorithm is `none` and the last part is empty (RFC 7519 section 6)."""
    header, _, signature = forged(RefusalCase.UNSIGNED).split(".")

    assert json.loads(base64.urlsafe_b64decode(header + "=="))["alg"] == "none"
    assert signature == ""


@pytest.mark.parametrize("algorithm", ["HS256", "HS512", "RS256", "ES256", "ES512"])
def test_another_key_is_of_the_algorithm_and_a_new_one_each_time(algorithm):
    """Two tokens of two keys, neither of which is ours."""
    source = spec(algorithm, lifetime="60s")
    tokens = {forge(source, KeyMaterial("", None), "u", NOW, "id", case=RefusalCase.OTHER_KEY) for _ in range(2)}

    assert len(tokens) == 2
    assert {jwt.get_unverified_header(token)["alg"] for token in tokens} == {algorithm}


@pytest.mark.parametrize("source", [Secret(secret_file="f"), Jwt(token_file="f")], ids=["secret", "ready token"])
def test_a_source_that_cannot_sign_forges_the_harmless_cases_only(source):
    """No token and a malformed one; the config check refuses the others first."""
    key = KeyMaterial("", "whatever")

    assert forged(RefusalCase.NO_TOKEN, source, key) == ""
    assert forged(RefusalCase.MALFORMED, source, key) == "malformed-id-1"
    with pytest.raises(LookupError):
        forged(RefusalCase.EXPIRED, source, key)
