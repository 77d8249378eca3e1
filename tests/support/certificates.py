"""A certificate authority of the tests' own, and TLS contexts of both sides."""

import datetime as dt
import functools
import ipaddress
import ssl

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)
DAY = dt.timedelta(days=1)


def _name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM)


KEYS = {
    "ec": lambda: ec.generate_private_key(ec.SECP256R1()),
    "rsa": lambda: rsa.generate_private_key(public_exponent=65_537, key_size=2048),
    "weak": lambda: rsa.generate_private_key(public_exponent=65_537, key_size=1024),
}
USAGES = {"server": ExtendedKeyUsageOID.SERVER_AUTH, "client": ExtendedKeyUsageOID.CLIENT_AUTH}
PUBLISHED = x509.AuthorityInformationAccess(
    [
        x509.AccessDescription(
            AuthorityInformationAccessOID.CA_ISSUERS, x509.UniformResourceIdentifier("http://authority.example/ca.crt")
        )
    ]
)
"""Where the issuer's certificate is to be had (RFC 5280 section 4.2.2.1)."""


class Authority:
    """Issues certificates for EC keys; `pem` is what those trust who trust it, or what a server sends of it."""

    def __init__(self, name="Test Authority", above=None, until=None):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = _name(name)
        self.above = above or self
        self.pem = self.again(until=until or NOW + 30 * DAY)

    def authority(self, name, *, until):
        """An intermediate authority under this one."""
        return Authority(name, above=self, until=until)

    def again(self, *, until):
        """PEM of another certificate of the same authority and key."""
        return self.above.cross_sign(self, until=until)

    def cross_sign(self, other, *, until):
        """PEM of another authority's key and name, signed by this one."""
        builder = self._builder(other.name, other.key.public_key(), until)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        return _pem(builder.sign(self.key, hashes.SHA256()))

    def _builder(self, subject, key, until, since=NOW - 60 * DAY):
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self.name).public_key(key)
        return builder.serial_number(x509.random_serial_number()).not_valid_before(since).not_valid_after(until)

    def issue(self, *names, until=None, since=NOW - 60 * DAY, kind="ec", usage=None, published=False):
        """PEM of a fresh key (of KEYS) and its certificate for host names, addresses, URIs and e-mail ones."""
        key = KEYS[kind]()
        alternatives = [_alternative(name) for name in names]
        builder = self._builder(_name(names[0]), key.public_key(), until or NOW + 7 * DAY, since)
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        if usage is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage([USAGES[usage]]), critical=False)
        if published:
            builder = builder.add_extension(PUBLISHED, critical=False)
        return _key_pem(key) + _pem(builder.sign(self.key, hashes.SHA256()))


def _key_pem(key):
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def self_signed(name):
    """PEM of a key and of the certificate that it signed itself, as proxies make one for want of another."""
    own = Authority(name)
    return _key_pem(own.key) + own.pem


def _alternative(name):
    if "://" in name:
        return x509.UniformResourceIdentifier(name)
    if "@" in name:
        return x509.RFC822Name(name)
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def authority(name="Test Authority"):
    """The one authority of a name."""
    return _authority(name)


@functools.cache
def _authority(name):
    return Authority(name)


def server_context(folder, pem, *, client_ca=None, maximum=ssl.TLSVersion.TLSv1_3):
    """A server's context that shows `pem`, and demands a client certificate of `client_ca` if given."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = maximum
    context.set_ciphers("DEFAULT:@SECLEVEL=0")  # a server that shows what a client refuses
    load(context, folder, pem)
    if client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=client_ca.pem.decode())
    return context


def client_context(trusted=None, *, maximum=ssl.TLSVersion.TLSv1_3):
    """A client's context that trusts one authority and nobody else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.maximum_version = maximum
    context.load_verify_locations(cadata=(trusted or authority()).pem.decode())
    return context


def load(context, folder, pem):
    """Make a context show the certificate of `pem`."""
    file = folder / f"{abs(hash(pem))}.pem"
    file.write_bytes(pem)
    context.load_cert_chain(file)
