#!/usr/bin/env bash
# Memory says: OpenSSL tells a server that forgot its intermediate (code 21) from one of a private CA nobody trusts (20).
# Seen: OpenSSL 4.0.3, the leaf alone sent: both give codes 20 and then 21 to a client that trusts the root.
# Why it matters: a wss:// check cannot say "incomplete chain" by the code; only the leaf's AIA field hints at it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check pyOpenSSL==26.4.0 cryptography==50.0.2
"$work/venv/bin/python" - <<'PYTHON'
import datetime
import sys

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from OpenSSL import SSL, crypto

NOW = datetime.datetime.now(datetime.timezone.utc)
DAY = datetime.timedelta(days=1)


def issued(name, issuer=None, ca=False):
    """A key and its certificate, signed by the issuer's key or by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer, by = (key, subject) if issuer is None else (issuer[0], issuer[1].subject)
    builder = (
        x509.CertificateBuilder(by, subject, key.public_key(), x509.random_serial_number(), NOW - DAY, NOW + DAY)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("backend.test")]), critical=False)
    )
    return key, builder.sign(signer, hashes.SHA256())


def verdict(leaf, trusted):
    """The codes of OpenSSL's verification by a client that trusts one root, over a handshake in memory."""
    met = []
    server = SSL.Context(SSL.TLS_METHOD)
    server.use_privatekey(leaf[0])
    server.use_certificate(leaf[1])
    client = SSL.Context(SSL.TLS_METHOD)
    client.get_cert_store().add_cert(crypto.X509.from_cryptography(trusted[1]))
    client.set_verify(SSL.VERIFY_PEER, lambda _connection, _certificate, code, _depth, _ok: met.append(code) or True)
    ends = SSL.Connection(client), SSL.Connection(server)
    ends[0].set_connect_state()
    ends[1].set_accept_state()
    for _ in range(4):
        for here, there in (ends, ends[::-1]):
            try:
                here.do_handshake()
            except SSL.WantReadError:
                pass
            except SSL.Error:
                return [code for code in met if code]
            try:
                there.bio_write(here.bio_read(65536))
            except SSL.WantReadError:
                pass
    return [code for code in met if code]


root = issued("trusted root", ca=True)
intermediate = issued("intermediate", root, ca=True)
forgot = verdict(issued("backend.test", intermediate), root)
private = verdict(issued("backend.test", issued("private CA", ca=True)), root)
print(SSL.SSLeay_version(SSL.SSLEAY_VERSION).decode())
print("intermediate not sent:", forgot)
print("private CA:           ", private)
sys.exit(0 if forgot == private == [20, 21] else 1)
PYTHON
