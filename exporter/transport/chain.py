"""The chain from a server's certificate to a trusted one: when it ends, and why it is refused."""

import ssl
from typing import Any, Final

from exporter.result import CertificateEnd, CertificatePlace, TlsVerify

VERIFY_CODES: Final = {
    2: TlsVerify.UNKNOWN_ISSUER,  # the chain stops at an authority whose issuer is missing
    9: TlsVerify.NOT_YET_VALID,
    10: TlsVerify.EXPIRED,
    18: TlsVerify.SELF_SIGNED,
    19: TlsVerify.UNKNOWN_ISSUER,  # the server sent its root, which is not trusted
    20: TlsVerify.UNKNOWN_ISSUER,
    21: TlsVerify.UNKNOWN_ISSUER,
    26: TlsVerify.WRONG_PURPOSE,
    62: TlsVerify.WRONG_NAME,
    64: TlsVerify.WRONG_NAME,  # an address that is not in the certificate
    66: TlsVerify.WEAK,  # the server's key
    67: TlsVerify.WEAK,  # an issuer's key
    68: TlsVerify.WEAK,  # an issuer's digest
}
"""OpenSSL's verify codes (x509_vfy.h); any other code is `other`."""

NO_ISSUER: Final = frozenset({20, 21})

KNOWN_ENDS: Final[dict[Any, float]] = {}
"""The end of each certificate in unix seconds: parsing one costs a tenth of a handshake."""

MAX_KNOWN_ENDS: Final = 1024


def certificate_verdict(error: ssl.SSLCertVerificationError, tls: ssl.SSLObject | None = None) -> TlsVerify:
    """Return why the certificate was refused; `tls`: the connection, if its chain can be looked at.

    A server that sends its own certificate alone, although that one names where its issuer's is published (RFC 5280
    section 4.2.2.1), has left out the intermediate. Without such a name, a private authority may have issued it
    directly: then the issuer is only unknown.
    """
    chain = [] if tls is None else _chain(tls)
    if error.verify_code in NO_ISSUER and len(chain) == 1 and chain[0].get_info().get("caIssuers"):
        return TlsVerify.INCOMPLETE_CHAIN
    return VERIFY_CODES.get(error.verify_code, TlsVerify.OTHER)


def earliest_certificate_end(tls: ssl.SSLObject) -> CertificateEnd | None:
    """Return the earliest end in the chain that was verified or refused; None if it is unknown.

    Certificates that the server sent outside that chain do not count: clients do not need them.
    """
    chain = _chain(tls)
    if chain:
        number = min(range(len(chain)), key=lambda place: _end(chain[place]))
        return CertificateEnd(_end(chain[number]), _place(chain, number))
    until = (tls.getpeercert() or {}).get("notAfter")
    return CertificateEnd(float(ssl.cert_time_to_seconds(until)), None) if isinstance(until, str) else None


def _chain(tls: ssl.SSLObject) -> list[Any]:
    """Return the certificates from the server's own upwards, as far as OpenSSL built a chain."""
    # The public method, of Python 3.13, returns bytes; this one, of 3.10, returns parsed certificates.
    get_chain = getattr(getattr(tls, "_sslobj", None), "get_verified_chain", None)
    return (get_chain() if get_chain is not None else None) or []


def _place(chain: list[Any], number: int) -> CertificatePlace:
    if number == 0:
        return CertificatePlace.LEAF
    info = chain[number].get_info()
    return CertificatePlace.ROOT if info["subject"] == info["issuer"] else CertificatePlace.INTERMEDIATE


def _end(certificate: Any) -> float:
    end = KNOWN_ENDS.get(certificate)
    if end is None:
        if len(KNOWN_ENDS) >= MAX_KNOWN_ENDS:
            KNOWN_ENDS.clear()
        end = KNOWN_ENDS[certificate] = float(ssl.cert_time_to_seconds(certificate.get_info()["notAfter"]))
    return end
