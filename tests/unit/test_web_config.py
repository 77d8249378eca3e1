"""The file of --web.config.file: what it means, and every mistake with its sentence."""

from pathlib import Path

import bcrypt
import pytest

from exporter.config import CIPHERS, CURVE_NAMES, WebConfig, load_yaml, parse_web

HASH = "$2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi"
PAIR = {"cert_file": "server.crt", "key_file": "server.key"}
CLIENTS = {**PAIR, "client_auth_type": "RequireAndVerifyClientCert", "client_ca_file": "ca.crt"}
PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
HEADERS = (
    "Strict-Transport-Security, X-Content-Type-Options, X-Frame-Options, X-XSS-Protection, Content-Security-Policy"
)
NOTHING = "nothing stands here: say what it is, or remove the key"

FULL = f"""
tls_server_config:
  cert_file: server.crt
  key_file: /etc/keys/server.key
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: ca.crt
  client_allowed_sans: [prometheus.example.com, "spiffe://example.com/prometheus"]
  min_version: TLS12
  max_version: TLS13
  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]
  prefer_server_cipher_suites: false
  curve_preferences: [X25519]
http_server_config:
  http2: true
  headers:
    Strict-Transport-Security: max-age=31536000
    X-Content-Type-Options: nosniff
    X-Frame-Options: sameorigin
    X-XSS-Protection: "0"
    Content-Security-Policy: default-src 'none'
basic_auth_users:
  prometheus: {HASH}
rate_limit: {{interval: 250ms, burst: 5}}
"""


def said(raw):
    """Path and sentence of every mistake."""
    found = parse_web(raw)
    return [] if isinstance(found, WebConfig) else [str(problem) for problem in found]


def of_tls(**fields):
    """The mistakes of these fields, without the place that all have."""
    return [sentence.removeprefix("tls_server_config.") for sentence in said({"tls_server_config": fields})]


def test_the_whole_format_is_understood():
    """Every field of the exporter-toolkit arrives with its value; relative paths start at the file."""
    web = parse_web(load_yaml(FULL))
    assert isinstance(web, WebConfig), web
    tls = web.resolved(Path("/etc/web")).tls_server_config
    assert (tls.cert_file, tls.key_file, tls.client_ca_file) == (
        "/etc/web/server.crt",
        "/etc/keys/server.key",
        "/etc/web/ca.crt",
    )
    assert (tls.min_version, tls.max_version, tls.prefer_server_cipher_suites) == ("TLS12", "TLS13", False)
    assert tls.client_allowed_sans == ["prometheus.example.com", "spiffe://example.com/prometheus"]
    assert web.http_server_config.headers["X-Frame-Options"] == "sameorigin"
    assert web.basic_auth_users == {"prometheus": HASH}
    assert (web.rate_limit.interval, web.rate_limit.burst) == (0.25, 5)


def test_nothing_is_protected_without_a_word():
    """`{}` is a file that protects nothing; its defaults are those of the exporter-toolkit."""
    web = parse_web({})
    assert (web.tls_server_config, web.basic_auth_users, web.rate_limit) == (None, {}, None)
    tls = parse_web({"tls_server_config": PAIR}).tls_server_config
    assert (tls.client_auth_type, tls.min_version, tls.max_version) == ("NoClientCert", "TLS12", "TLS13")
    assert tls.prefer_server_cipher_suites


WRONG = [
    (None, ["the file must be a mapping: write {} if nothing is to be protected"]),
    (["tls_server_config"], ["the file must be a mapping: write {} if nothing is to be protected"]),
    (
        {"tls_config": {}},
        ["tls_config: unknown field, did you mean `tls_server_config`?"],
    ),
    ({"tls_server_config": None}, [f"tls_server_config: {NOTHING}"]),
    ({"rate_limit": None}, [f"rate_limit: {NOTHING}"]),
    ({"basic_auth_users": {"bob": None}}, [f"basic_auth_users.bob: {NOTHING}"]),
    (
        {"tls_server_config": {**CLIENTS, "client_allowed_sans": None}},
        [f"tls_server_config.client_allowed_sans: {NOTHING}"],
    ),
    ({"http_server_config": {"http2": "yes"}}, ["http_server_config.http2: must be true or false, without quotes"]),
    (
        {"http_server_config": {"headers": {"X-Frame-Options": "DENY"}}},
        ["http_server_config.headers: X-Frame-Options must be one of: deny, sameorigin"],
    ),
    (
        {"http_server_config": {"headers": {"X-Content-Type-Options": "sniff"}}},
        ["http_server_config.headers: X-Content-Type-Options must be one of: nosniff"],
    ),
    (
        {"http_server_config": {"headers": {"Set-Cookie": "a=b"}}},
        [f"http_server_config.headers.Set-Cookie: must be one of: {HEADERS}"],
    ),
    (
        {"http_server_config": {"headers": {"X-XSS-Protection": "0\r\nSet-Cookie: a=b"}}},
        ["http_server_config.headers.X-XSS-Protection: must not hold line breaks or other control characters"],
    ),
    (
        {"rate_limit": {"interval": "0s", "burst": 0}},
        ["rate_limit.interval: must be more than 0s", "rate_limit.burst: must be at least 1"],
    ),
    ({"rate_limit": {"interval": 1}}, [
        "rate_limit.interval: must be a duration such as 15s, 1m30s or 250ms",
        "rate_limit.burst: is required",
    ]),
]  # fmt: skip


@pytest.mark.parametrize(("raw", "sentences"), WRONG, ids=lambda part: str(part)[:40])
def test_each_mistake_has_its_sentence(raw, sentences):
    """What is not understood is refused, every mistake at once, with the path of the field."""
    assert said(raw) == sentences


def test_mistakes_of_all_parts_come_together():
    """A wrong version, a wrong hash and an unknown field are three sentences."""
    raw = {
        "tls_server_config": {**PAIR, "min_version": "TLS14", "certfile": "x"},
        "basic_auth_users": {"bob": "secret"},
    }
    assert [sentence.split(":")[0] for sentence in said(raw)] == [
        "tls_server_config.min_version",
        "tls_server_config.certfile",
        "basic_auth_users.bob",
    ]


# TLS --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["VerifyClientCertIfGiven", "RequireAndVerifyClientCert"])
def test_what_python_checks_too_is_accepted(name):
    """Two of the five kinds of client certificate need a CA, and say so."""
    assert of_tls(**CLIENTS | {"client_auth_type": name}) == []
    assert of_tls(**PAIR, client_auth_type=name) == [
        "client_ca_file: is required with this client_auth_type: who signs the clients' certificates?"
    ]


@pytest.mark.parametrize("name", ["RequestClientCert", "RequireAnyClientCert", "RequireClientCert"])
def test_what_python_cannot_is_refused(name):
    """Python's ssl checks every certificate that it asks for: the kinds that check none are refused, not weakened."""
    (sentence,) = of_tls(**CLIENTS | {"client_auth_type": name})
    assert sentence.startswith("client_auth_type: ")
    assert "which Python cannot" in sentence


def test_a_client_ca_without_a_policy_is_an_error():
    """As in the exporter-toolkit: somebody believes to be protected by it."""
    (sentence,) = of_tls(**PAIR, client_ca_file="ca.crt")
    assert sentence.startswith("client_auth_type: must be VerifyClientCertIfGiven or RequireAndVerifyClientCert")


@pytest.mark.parametrize("kind", ["NoClientCert", "VerifyClientCertIfGiven"])
def test_names_of_clients_need_certificates_of_all(kind):
    """A client that may come without a certificate would pass the list of names."""
    fields = PAIR if kind == "NoClientCert" else CLIENTS
    found = of_tls(**fields | {"client_auth_type": kind, "client_allowed_sans": ["a"]})
    assert found == ["client_allowed_sans: needs client_auth_type RequireAndVerifyClientCert"]
    assert of_tls(**CLIENTS, client_allowed_sans=[]) == [
        "client_allowed_sans: is empty, so no client would be let in: name some, or remove it"
    ]


def test_a_pair_is_whole_and_of_one_kind():
    """A certificate needs its key; each is a file or a text; a path is no text."""
    assert of_tls(min_version="TLS12") == ["cert_file: is required", "key_file: is required"]
    assert of_tls(cert_file="a") == ["key_file: is required"]
    assert of_tls(**PAIR, cert=PEM) == ["cert: not together with cert_file: remove one of them"]
    assert of_tls(cert=PEM, key=PEM) == []
    (sentence,) = of_tls(cert="/etc/server.crt", key_file="b")
    assert sentence.startswith("cert: must be text in PEM")
    assert "/etc/server.crt" not in sentence


def test_versions_ciphers_and_curves_are_those_of_go():
    """All names that Go has are known; others are not; what contradicts itself is refused."""
    assert of_tls(**PAIR, cipher_suites=list(CIPHERS)) == []
    assert [of_tls(**PAIR, curve_preferences=[curve]) for curve in CURVE_NAMES] == [[]] * 4
    assert of_tls(**PAIR, curve_preferences=["secp256r1"]) == [
        "curve_preferences[0]: is no curve, known are CurveP256, CurveP384, CurveP521, X25519"
    ]
    (several,) = of_tls(**PAIR, curve_preferences=["X25519", "CurveP256"])
    assert several.startswith("curve_preferences: more than one curve")
    (unknown,) = of_tls(**PAIR, cipher_suites=["ECDHE-RSA-AES128-GCM-SHA256"])
    assert unknown.startswith("cipher_suites[0]: is not what Go calls a cipher suite")
    assert of_tls(**PAIR, min_version="TLS13", max_version="TLS12") == ["min_version: is above max_version"]
    assert of_tls(**PAIR, max_version="TLS12", cipher_suites=["TLS_AES_128_GCM_SHA256"]) == [
        "cipher_suites: are all of TLS 1.3, which max_version excludes"
    ]


# Users ------------------------------------------------------------------------------------------------------------

NO_HASH = "must be a bcrypt hash ($2a$, $2b$ or $2y$), as `htpasswd -nBC 10 NAME` writes it"


@pytest.mark.parametrize("prefix", ["$2a$", "$2b$", "$2y$"])
def test_hashes_of_all_writers_are_known(prefix):
    """`htpasswd`, Go and Python write three prefixes for the same."""
    assert said({"basic_auth_users": {"bob": prefix + HASH[4:]}}) == []
    assert said({"basic_auth_users": {"bob": bcrypt.hashpw(b"x", bcrypt.gensalt(4)).decode()}}) == []


@pytest.mark.parametrize(
    "wrong", ["secret", "", HASH[:-1], HASH + "A", "$2x$" + HASH[4:], "$2y$03$" + HASH[7:], HASH[:28] + "A" + HASH[29:]]
)
def test_what_is_no_hash_is_an_error_and_not_shown(wrong):
    """A password in clear, half a hash, a salt that bcrypt will not have: refused without a word of it."""
    assert said({"basic_auth_users": {"bob": wrong}}) == [f"basic_auth_users.bob: {NO_HASH}"]


def test_a_hash_that_takes_too_long_is_refused():
    """A cost of 16 is four seconds for each sign-in."""
    (sentence,) = said({"basic_auth_users": {"bob": HASH.replace("$10$", "$16$")}})
    assert sentence.endswith("10 to 12 is usual")


def test_a_user_with_a_colon_can_never_come():
    """RFC 7617: the colon ends the name."""
    assert said({"basic_auth_users": {"a:b": HASH}}) == [
        "basic_auth_users.a:b: a user's name must not hold a colon (RFC 7617 section 2)"
    ]
