"""The server's TLS contexts, and whether a client's certificate bears a name that is let in.

Rule 1: a context is made anew for other terms, never changed: connections that are open keep theirs, and the keys of
its session tickets die with it, so nobody resumes a session of earlier terms.
"""

import ssl
import warnings
from collections.abc import Collection, Mapping
from ipaddress import ip_address
from typing import Any, Final

from exporter.config import CIPHERS, CURVE_NAMES, TlsServer
from exporter.files import NamedContent, identify, trust

TLS_VERSION_NUMBERS: Final = {
    "TLS10": ssl.TLSVersion.TLSv1,
    "TLS11": ssl.TLSVersion.TLSv1_1,
    "TLS12": ssl.TLSVersion.TLSv1_2,
    "TLS13": ssl.TLSVersion.TLSv1_3,
}
OUTDATED_TLS_VERSIONS: Final = ("TLS10", "TLS11")
OF_ANY_STRENGTH: Final = "DEFAULT:@SECLEVEL=0"
"""OpenSSL has no cipher left for the old versions at the level of strength that it keeps otherwise."""

VERIFY: Final = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}


def server_context(tls: TlsServer, contents: Mapping[str, bytes]) -> ssl.SSLContext:
    """The context of these settings; raises FileProblem with its field.

    `contents`: what `cert_file`, `key_file` and `client_ca_file` hold, those of them that there are.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.options |= ssl.OP_NO_RENEGOTIATION
    if not tls.prefer_server_cipher_suites:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])
    _speak(context, tls)
    for curve in tls.curve_preferences:
        context.set_ecdh_curve(CURVE_NAMES[curve])
    identify(context, _named(tls, "cert", contents), _named(tls, "key", contents))
    if tls.verifies:
        trust(context, _named(tls, "client_ca", contents))
        context.verify_mode = VERIFY[tls.client_auth_type]
    return context


def _speak(context: ssl.SSLContext, tls: TlsServer) -> None:
    """Versions and cipher suites. Those of TLS 1.3 are always on, as in Go; alone, they leave no other version."""
    ciphers = [name for name in map(CIPHERS.get, tls.cipher_suites) if name is not None]
    least = "TLS13" if tls.cipher_suites and not ciphers else tls.min_version
    with warnings.catch_warnings():  # Python warns of the old versions; who asks for them has been warned by us
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = TLS_VERSION_NUMBERS[least]
        context.maximum_version = TLS_VERSION_NUMBERS[tls.max_version]
    if least in OUTDATED_TLS_VERSIONS:
        context.set_ciphers(":".join([*ciphers, "@SECLEVEL=0"]) if ciphers else OF_ANY_STRENGTH)
    elif ciphers:
        context.set_ciphers(":".join(ciphers))


def _named(tls: TlsServer, what: str, contents: Mapping[str, bytes]) -> NamedContent:
    field = f"{what}_file"
    text = getattr(tls, what)
    if text is not None:
        return NamedContent(what, "the text", text.encode())
    return NamedContent(field, str(getattr(tls, field)), contents[field])


def is_allowed(certificate: Mapping[str, Any] | None, names: Collection[str]) -> bool:
    """Whether one of the certificate's alternative names (DNS, address, URI, e-mail) is among the names, to the letter.

    `certificate`: as `getpeercert` gives it.
    """
    borne = ((certificate or {}).get("subjectAltName")) or ()
    return not {_spelled(str(name)) for _, name in borne}.isdisjoint(map(_spelled, names))


def _spelled(name: str) -> str:
    """An address in its one spelling: Python writes `0:0:0:0:0:0:0:1`."""
    try:
        return str(ip_address(name))
    except ValueError:
        return name
