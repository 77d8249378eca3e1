"""The stand-in's own authority, its server certificates, good and bad, and a client certificate.

Rule 1: keys are generated here, in the stand-in's own folder, with mode 0600; `StandIn.close` deletes them.
Rule 2: the dates are fixed, because clients check them by the machine's clock, not by the stand-in's.
"""

import ipaddress
import os
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

VALID_FROM: Final = datetime(2020, 1, 1, tzinfo=UTC)
VALID_UNTIL: Final = datetime(2099, 12, 31, tzinfo=UTC)
EXPIRED_AT: Final = datetime(2021, 1, 1, tzinfo=UTC)
KEY_FILE_MODE: Final = 0o600


@dataclass(frozen=True, slots=True)
class IssuedCertificate:
    """A certificate and its key."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    def certificate_pem(self) -> bytes:
        """The certificate in PEM."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def key_pem(self) -> bytes:
        """The key in PEM, PKCS 8, not encrypted."""
        encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        return self.key.private_bytes(encoding, form, serialization.NoEncryption())


def write_private(path: Path, content: bytes) -> Path:
    """Write a file that only its owner may read."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, KEY_FILE_MODE), "wb") as file:
        file.write(content)
    return path


class CertificateFolder:
    """Made on first use, each once, in `folder`."""

    def __init__(self, folder: Path, *, client_required: bool = False) -> None:
        self._folder = folder
        self._client_required = client_required
        self._contexts: dict[tuple[str, bool], ssl.SSLContext] = {}

    @cached_property
    def _authority(self) -> IssuedCertificate:
        return _authority("standin CA")

    @cached_property
    def _stranger(self) -> IssuedCertificate:
        return _authority("somebody else's CA")

    @cached_property
    def ca_file(self) -> Path:
        """The authority's certificate, which good servers and clients are signed by."""
        path = self._folder / "ca.pem"
        path.write_bytes(self._authority.certificate_pem())
        return path

    @cached_property
    def _client(self) -> IssuedCertificate:
        return _issued("standin client", self._authority, ExtendedKeyUsageOID.CLIENT_AUTH, ())

    @cached_property
    def client_cert_file(self) -> Path:
        """A client certificate."""
        path = self._folder / "client.pem"
        path.write_bytes(self._client.certificate_pem())
        return path

    @cached_property
    def client_key_file(self) -> Path:
        """Its key."""
        return write_private(self._folder / "client-key.pem", self._client.key_pem())

    def context(self, kind: str = "good", *, client_required: bool = False) -> ssl.SSLContext:
        """A server context that shows a `good`, `expired`, `untrusted` or `wrong_host` certificate."""
        required = client_required or self._client_required
        if (kind, required) not in self._contexts:
            self._contexts[kind, required] = self._context(kind, required=required)
        return self._contexts[kind, required]

    def _context(self, kind: str, *, required: bool) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._pair(kind))
        if required:
            context.load_verify_locations(self.ca_file)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def _pair(self, kind: str) -> Path:
        path = self._folder / f"server-{kind}.pem"
        if not path.exists():
            issued = self._server(kind)
            write_private(path, issued.key_pem() + issued.certificate_pem())
        return path

    def _server(self, kind: str) -> IssuedCertificate:
        issuer = self._stranger if kind == "untrusted" else self._authority
        names = ("elsewhere.invalid",) if kind == "wrong_host" else ("localhost", "127.0.0.1", "::1")
        until = EXPIRED_AT if kind == "expired" else VALID_UNTIL
        return _issued(names[0], issuer, ExtendedKeyUsageOID.SERVER_AUTH, names, until)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _builder(
    subject: str, issuer: x509.Name, key: ec.EllipticCurvePublicKey, until: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(VALID_FROM)
        .not_valid_after(until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _authority(common: str) -> IssuedCertificate:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        _builder(common, _name(common), key.public_key(), VALID_UNTIL)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(authority=True), critical=True)
    )
    return IssuedCertificate(key, builder.sign(key, hashes.SHA256()))


def _issued(
    common: str,
    issuer: IssuedCertificate,
    usage: x509.ObjectIdentifier,
    names: tuple[str, ...],
    until: datetime = VALID_UNTIL,
) -> IssuedCertificate:
    key = ec.generate_private_key(ec.SECP256R1())
    signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())
    builder = (
        _builder(common, issuer.certificate.subject, key.public_key(), until)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(signer, critical=False)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([_alternative(n) for n in names]), critical=False)
    return IssuedCertificate(key, builder.sign(issuer.key, hashes.SHA256()))
