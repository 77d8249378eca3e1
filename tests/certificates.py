"""A certificate authority of the tests' own, and TLS contexts of both sides."""

import datetime as dt
import functools
import ipaddress
import ssl

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)
DAY = dt.timedelta(days=1)


def _name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM)


KEYS = {
    "ec": lambda: ec.generate_private_key(ec.SECP256R1()),
    "rsa": lambda: rsa.generate_private_key(public_exponent=65_537, key_size=2048),
}


class Authority:
    """Issues certificates for EC keys; `pem` is what those trust who trust it."""

    def __init__(self, name="Test Authority"):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = _name(name)
        builder = self._builder(self.name, self.key.public_key(), NOW + 30 * DAY)
        certificate = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.pem = _pem(certificate.sign(self.key, hashes.SHA256()))

    def _builder(self, subject, key, until):
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self.name).public_key(key)
        return (
            builder.serial_number(x509.random_serial_number()).not_valid_before(NOW - 60 * DAY).not_valid_after(until)
        )

    def issue(self, *names, until=None, kind="ec"):
        """PEM of a fresh key (`ec` or `rsa`) and its certificate for host names, addresses, URIs and e-mail ones."""
        key = KEYS[kind]()
        alternatives = [_alternative(name) for name in names]
        builder = self._builder(_name(names[0]), key.public_key(), until or NOW + 7 * DAY)
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        text = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return text + _pem(builder.sign(self.key, hashes.SHA256()))


def _alternative(name):
    if "://" in name:
        return x509.UniformResourceIdentifier(name)
    if "@" in name:
        return x509.RFC822Name(name)
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


@functools.cache
def authority(name="Test Authority"):
    return Authority(name)


def server_context(folder, pem, *, client_ca=None, maximum=ssl.TLSVersion.TLSv1_3):
    """A server's context that shows `pem`, and demands a client certificate of `client_ca` if given."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = maximum
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
