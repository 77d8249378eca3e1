"""Makes the server's TLS contexts and checks the names in client certificates.

Rule 1: another config gets a new context; contexts are never changed. Open connections keep theirs, and the keys of its
session tickets end with it, so that no client resumes a session of an earlier config.
"""

import ssl
import warnings
from collections.abc import Collection, Mapping
from ipaddress import ip_address
from typing import Any, Final

from exporter.config import CIPHERS, CURVE_NAMES, TlsServer
from exporter.files import NamedContent, load_authorities, load_certificate

TLS_VERSION_NUMBERS: Final = {
    "TLS10": ssl.TLSVersion.TLSv1,
    "TLS11": ssl.TLSVersion.TLSv1_1,
    "TLS12": ssl.TLSVersion.TLSv1_2,
    "TLS13": ssl.TLSVersion.TLSv1_3,
}
OUTDATED_TLS_VERSIONS: Final = ("TLS10", "TLS11")
CIPHERS_OF_ANY_STRENGTH: Final = "DEFAULT:@SECLEVEL=0"
"""Ciphers for the outdated versions: at its default security level OpenSSL has none for them."""

VERIFY: Final = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}


def server_context(tls: TlsServer, contents: Mapping[str, bytes]) -> ssl.SSLContext:
    """The context of these settings; raises FileError with the name of the field.

    `contents`: of `cert_file`, `key_file` and `client_ca_file`, as far as the config names them.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.options |= ssl.OP_NO_RENEGOTIATION
    if not tls.prefer_server_cipher_suites:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])
    _set_versions(context, tls)
    for curve in tls.curve_preferences:
        context.set_ecdh_curve(CURVE_NAMES[curve])
    load_certificate(context, _named(tls, "cert", contents), _named(tls, "key", contents))
    if tls.verifies:
        load_authorities(context, _named(tls, "client_ca", contents))
        context.verify_mode = VERIFY[tls.client_auth_type]
    return context


def _set_versions(context: ssl.SSLContext, tls: TlsServer) -> None:
    """Set versions and cipher suites. Those of TLS 1.3 are always on, as in Go; with no others, only 1.3 is."""
    ciphers = [name for name in map(CIPHERS.get, tls.cipher_suites) if name is not None]
    min_version = "TLS13" if tls.cipher_suites and not ciphers else tls.min_version
    with warnings.catch_warnings():  # `active_config` warns of the outdated versions itself
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = TLS_VERSION_NUMBERS[min_version]
        context.maximum_version = TLS_VERSION_NUMBERS[tls.max_version]
    if min_version in OUTDATED_TLS_VERSIONS:
        context.set_ciphers(":".join([*ciphers, "@SECLEVEL=0"]) if ciphers else CIPHERS_OF_ANY_STRENGTH)
    elif ciphers:
        context.set_ciphers(":".join(ciphers))


def _named(tls: TlsServer, what: str, contents: Mapping[str, bytes]) -> NamedContent:
    field = f"{what}_file"
    text = getattr(tls, what)
    if text is not None:
        return NamedContent(what, "the text", text.encode())
    return NamedContent(field, str(getattr(tls, field)), contents[field])


def is_allowed(certificate: Mapping[str, Any] | None, names: Collection[str]) -> bool:
    """Whether one of the certificate's alternative names (DNS, address, URI, e-mail) is exactly one of `names`.

    `certificate`: as `getpeercert` returns it.
    """
    alternatives = ((certificate or {}).get("subjectAltName")) or ()
    return not {_normalized(str(name)) for _, name in alternatives}.isdisjoint(map(_normalized, names))


def _normalized(name: str) -> str:
    """An address in its canonical spelling, since Python's is `0:0:0:0:0:0:0:1`; any other name unchanged."""
    try:
        return str(ip_address(name))
    except ValueError:
        return name
