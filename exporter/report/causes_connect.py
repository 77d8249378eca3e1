"""Causes in the phases before the WebSocket is open: nothing of it depends on the user."""

from typing import Final

from exporter.report.causes import Alert, Cause
from exporter.result import Phase, Reason

_CONNECT: Final = Alert.CONNECT_FAILING


def _resolve(reason: Reason, sentence: str, next_step: str) -> Cause:
    return Cause(sentence, _CONNECT, next_step, Phase.RESOLVE, reason)


def _tcp(reason: Reason, sentence: str, next_step: str) -> Cause:
    return Cause(sentence, _CONNECT, next_step, Phase.TCP, reason)


def _tls(reason: Reason, sentence: str, next_step: str) -> Cause:
    return Cause(sentence, _CONNECT, next_step, Phase.TLS, reason)


def _upgrade(reason: Reason, sentence: str, next_step: str, *statuses: int) -> Cause:
    return Cause(sentence, _CONNECT, next_step, Phase.UPGRADE, reason, statuses=statuses or None)


NAME: Final = (
    _resolve(
        Reason.DNS,
        "The host name does not resolve, so no connection was tried.",
        "Ask for the name on the exporter's host (getent hosts NAME) and at another resolver: a changed record, or "
        "this host's DNS?",
    ),
    _resolve(
        Reason.TIMEOUT,
        "The resolver did not answer within the deadline, so no connection was tried: this says more of the "
        "exporter's DNS than of the backend.",
        "See whether other names resolve on the exporter's host; then look at its resolver.",
    ),
)

SOCKET: Final = (
    _tcp(
        Reason.REFUSED,
        "The host answers, but nothing listens on the port: the TCP connection was refused.",
        "See whether the backend's process or its load balancer is up, and whether the port in the URL is the right "
        "one.",
    ),
    _tcp(
        Reason.UNREACHABLE,
        "There is no way to the backend's address: a router, or this host, says that it is unreachable.",
        "Try the address by hand from the exporter's host (both IP families, if `ip_protocol` is any); look at "
        "routes and the VPN.",
    ),
    _tcp(
        Reason.TIMEOUT,
        "Nobody answered our TCP connection before the deadline: packets are dropped on the way, or the host is "
        "dead or overrun.",
        "Try from a second place. Dead from both: the host or load balancer; from here only: a firewall or route.",
    ),
    _tcp(
        Reason.RESET,
        "The TCP connection was reset as soon as it was made: something in front of the backend turns us away.",
        "Look at the load balancer's health checks and firewall log for the exporter's address.",
    ),
)

TRUST: Final = (
    _tls(
        Reason.TLS_CERTIFICATE,
        "The server's certificate is not trusted: it is expired, for another name, or signed by an unknown "
        "authority. Browsers see the same.",
        "Look at the certificate: openssl s_client -connect HOST:443 -servername HOST. Renew it, or set `tls.ca_file`.",
    ),
    _tls(
        Reason.TLS_HANDSHAKE,
        "TCP is fine, but the TLS handshake failed: no common version or cipher, a missing client certificate, or "
        "no TLS on that port.",
        "See whether the port speaks TLS at all, and whether the server now asks for a client certificate.",
    ),
    _tls(
        Reason.TIMEOUT,
        "TCP is fine, but the TLS handshake was not finished before the deadline: the other end accepts and then "
        "hangs.",
        "Look at the load of the load balancer or of whatever ends TLS; a plain TCP proxy without a backend looks "
        "so too.",
    ),
    _tls(
        Reason.RESET,
        "TCP is fine, but the connection was cut during the TLS handshake.",
        "See whether a firewall inspects TLS, whether the server name (SNI) is one it knows, and whether TLS is on "
        "here.",
    ),
)

STATUS: Final = (
    _upgrade(
        Reason.HTTP_STATUS,
        "The upgrade was refused with HTTP {status}: this backend sorts tokens out before it accepts a WebSocket, "
        "or the path is closed to us.",
        "Compare the signing secrets of backend and auth service, and the path of the URL; the API may work all the "
        "same.",
        401,
        403,
    ),
    _upgrade(
        Reason.HTTP_STATUS,
        "The upgrade was answered with HTTP {status}: there is no WebSocket at this path.",
        "Compare the path in the URL with the backend's routes, and the load balancer's rules for it.",
        404,
        405,
        410,
    ),
    _upgrade(
        Reason.HTTP_STATUS,
        "The upgrade was refused with HTTP 503: no healthy instance, a failing start-up or a crash loop.",
        "Look at the instances: do they start, and with what exit code? /health may still say healthy.",
        503,
    ),
    _upgrade(
        Reason.HTTP_STATUS,
        "The upgrade was refused with HTTP {status}: the load balancer reaches no backend that answers.",
        "Look at the load balancer's backends and their timeouts.",
        502,
        504,
    ),
    _upgrade(
        Reason.HTTP_STATUS,
        "The upgrade was refused with HTTP {status}: the backend broke before it accepted the WebSocket.",
        "Read the backend's log at this second: an unhandled exception ahead of the accept, or services that are "
        "missing.",
        *range(500, 600),
    ),
    _upgrade(
        Reason.HTTP_STATUS,
        "The upgrade was refused with HTTP {status} instead of 101.",
        "Look up who answered (Server header of a curl to the same URL): the backend, or something in front of it.",
    ),
)

UPGRADE: Final = (
    Cause(
        "The host refuses us with HTTP {status}: too many connects from this address{wait}. It may be our own ban, "
        "not an outage.",
        Alert.RATE_LIMITED,
        "Add up what leaves through this address: exporters, health checks, CI. Probing goes on when the rest is over.",
        Phase.UPGRADE,
        Reason.RATE_LIMITED,
    ),
    _upgrade(
        Reason.REDIRECT,
        "The upgrade was redirected (HTTP {status}): WebSocket clients do not follow, so they do not get in.",
        "See where it leads (curl -i): a login page, a moved path, or http to https. Mend the URL or the redirect.",
    ),
    _upgrade(
        Reason.BAD_HANDSHAKE,
        "The answer to the upgrade is no valid WebSocket handshake: a proxy, or another service, speaks here.",
        "See what answers (curl -i on the same URL), and whether the load balancer passes the upgrade headers.",
    ),
    _upgrade(
        Reason.TIMEOUT,
        "TCP and TLS are fine, but the upgrade got no answer before the deadline: the backend accepts connections "
        "and does not serve them.",
        "Look for a saturated or starting backend, or an auth service asked before the accept; does /health hang as "
        "well?",
    ),
    _upgrade(
        Reason.RESET,
        "The connection was cut instead of an answer to the upgrade: the process died, or the load balancer is not "
        "set up for upgrades.",
        "Look for instances that restart at this second; then at the load balancer's WebSocket settings.",
    ),
)

CONNECT_CAUSES: Final = (*NAME, *SOCKET, *TRUST, *STATUS, *UPGRADE)
