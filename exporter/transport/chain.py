"""The chain from a server's certificate to one that is trusted: when it ends, and why it is refused."""

import ssl
from typing import Any, Final

from exporter.result import CertificateEnd, CertificatePlace, TlsVerify

VERIFY_CODES: Final = {
    2: TlsVerify.UNKNOWN_ISSUER,  # an authority is trusted, but the one above it is not known
    9: TlsVerify.NOT_YET_VALID,
    10: TlsVerify.EXPIRED,
    18: TlsVerify.SELF_SIGNED,
    19: TlsVerify.UNKNOWN_ISSUER,  # the root came along, and is not trusted
    20: TlsVerify.UNKNOWN_ISSUER,
    21: TlsVerify.UNKNOWN_ISSUER,
    26: TlsVerify.WRONG_PURPOSE,
    62: TlsVerify.WRONG_NAME,
    64: TlsVerify.WRONG_NAME,  # an address that is not in the certificate
    66: TlsVerify.WEAK,  # the server's key
    67: TlsVerify.WEAK,  # an issuer's key
    68: TlsVerify.WEAK,  # an issuer's digest
}
"""What OpenSSL's verify codes mean (x509_vfy.h); all others are `other`."""

NO_ISSUER: Final = frozenset({20, 21})

CHAIN_ENDS: Final[dict[Any, float]] = {}
"""Unix seconds at which certificates end: to read one costs as much as a tenth of the handshake."""

MAX_CHAIN_ENDS: Final = 1024


def verdict_of(error: ssl.SSLCertVerificationError, tls: ssl.SSLObject) -> TlsVerify:
    """Why the certificate was refused.

    A server that sends its own certificate alone, while that one names the place where its issuer's is published (RFC
    5280 section 4.2.2.1), has left out the intermediate one. Without such a place an authority of one's own that issued
    it directly is as likely, so the issuer is only unknown.
    """
    chain = _chain(tls)
    if error.verify_code in NO_ISSUER and len(chain) == 1 and chain[0].get_info().get("caIssuers"):
        return TlsVerify.INCOMPLETE_CHAIN
    return VERIFY_CODES.get(error.verify_code, TlsVerify.OTHER)


def earliest_end(tls: ssl.SSLObject) -> CertificateEnd | None:
    """The earliest end in the chain that was verified, or refused; None if nothing tells it.

    What the server sent beside that chain does not count: clients do not need it.
    """
    chain = _chain(tls)
    if chain:
        number = min(range(len(chain)), key=lambda place: _end(chain[place]))
        return CertificateEnd(_end(chain[number]), _place(chain, number))
    until = (tls.getpeercert() or {}).get("notAfter")
    return CertificateEnd(float(ssl.cert_time_to_seconds(until)), None) if isinstance(until, str) else None


def _chain(tls: ssl.SSLObject) -> list[Any]:
    """The certificates from the server's own upwards, as far as a chain was built."""
    # The public method is of Python 3.13 and gives bytes; this one, of 3.10, gives certificates that have been read.
    ask = getattr(getattr(tls, "_sslobj", None), "get_verified_chain", None)
    return (ask() if ask is not None else None) or []


def _place(chain: list[Any], number: int) -> CertificatePlace:
    if number == 0:
        return CertificatePlace.LEAF
    about = chain[number].get_info()
    return CertificatePlace.ROOT if about["subject"] == about["issuer"] else CertificatePlace.INTERMEDIATE


def _end(certificate: Any) -> float:
    known = CHAIN_ENDS.get(certificate)
    if known is None:
        if len(CHAIN_ENDS) >= MAX_CHAIN_ENDS:
            CHAIN_ENDS.clear()
        known = CHAIN_ENDS[certificate] = float(ssl.cert_time_to_seconds(certificate.get_info()["notAfter"]))
    return known
