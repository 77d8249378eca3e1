"""Causes in the phases before the WebSocket is open."""

from typing import Final

from exporter.report.causes import Alert, Cause
from exporter.report.causes_status import STATUS_CAUSES, UPGRADE_LOGIN_CAUSES, upgrade_cause
from exporter.report.situation import SituationFact
from exporter.result import Confidence, Handshake, Layer, Phase, Reason, TlsVerify

_CONNECT: Final = Alert.CONNECT_FAILING
_KEEP_INTERIM_AWAY: Final = (
    "Ask the backend without the proxy, and keep interim answers (Early Hints) away from upgrades: nginx 1.22 holds a "
    "103 back until its timeout, and loses the 101 behind it."
)


def _resolve(reason: Reason, sentence: str, next_step: str) -> Cause:
    return Cause(sentence, _CONNECT, next_step, Phase.RESOLVE, reason)


def _tcp(reason: Reason, sentence: str, next_step: str) -> Cause:
    return Cause(sentence, _CONNECT, next_step, Phase.TCP, reason)


def _tls(reason: Reason, sentence: str, next_step: str) -> Cause:
    return Cause(sentence, _CONNECT, next_step, Phase.TLS, reason)


def _certificate(verify: TlsVerify | None, sentence: str, next_step: str) -> Cause:
    return Cause(sentence, _CONNECT, next_step, Phase.TLS, Reason.TLS_CERTIFICATE, verify=verify)


def _handshake(
    handshake: Handshake | None,
    sentence: str,
    next_step: str,
    fault: tuple[Layer, Confidence] | None = None,
    *,
    given: tuple[SituationFact, ...] = (),
) -> Cause:
    of_upgrade = Phase.UPGRADE, Reason.BAD_HANDSHAKE
    return Cause(sentence, _CONNECT, next_step, *of_upgrade, handshake=handshake, given=given, fault=fault)


NAME_CAUSES: Final = (
    _resolve(
        Reason.DNS,
        "The host name does not resolve, so no connection was tried.",
        "Ask for the name on the exporter's host (getent hosts {host}) and at another resolver: a changed record, or "
        "this host's DNS?",
    ),
    _resolve(
        Reason.TIMEOUT,
        "The resolver did not answer within the deadline, so no connection was tried: this says more of the "
        "exporter's DNS than of the backend.",
        "See whether other names resolve on the exporter's host; then look at its resolver.",
    ),
)

SOCKET_CAUSES: Final = (
    _tcp(
        Reason.REFUSED,
        "The host answers, but nothing listens on the port: the TCP connection was refused.",
        "See whether the backend's process or its load balancer is up at {server}, and whether that port is the right "
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

CERTIFICATE_CAUSES: Final = (
    _certificate(
        TlsVerify.EXPIRED,
        "The TLS certificate {whose} has expired{since}. Browsers refuse it as well.",
        "Renew it, and reload whatever ends TLS: the old one may still be in its memory. {look}",
    ),
    _certificate(
        TlsVerify.NOT_YET_VALID,
        "The server's TLS certificate, or one above it, is not valid yet.",
        "Compare the clock of the exporter's host with another one, then the start date of the certificate. {look}",
    ),
    _certificate(
        TlsVerify.WRONG_NAME,
        "The server's TLS certificate is not for {tls_name}. Browsers refuse it as well.",
        "See which names it has. If {tls_name} is right, the certificate of another site is served: look at the "
        "configuration of whatever ends TLS; else correct the URL or `tls.server_name`. {look}",
    ),
    _certificate(
        TlsVerify.UNKNOWN_ISSUER,
        "The server's TLS certificate leads to no authority that the exporter trusts.",
        "If the authority is your own, name its root certificate in `tls.ca_file`; else see whether the server sends "
        "the intermediate certificates too: browsers may have them already. {look}",
    ),
    _certificate(
        TlsVerify.SELF_SIGNED,
        "The server's TLS certificate is self-signed, so no authority vouches for it.",
        "If it is the one that clients expect, name it in `tls.ca_file`; else it may be a proxy's default. {look}",
    ),
    _certificate(
        TlsVerify.INCOMPLETE_CHAIN,
        "The server sends its own TLS certificate without the intermediate one above it, so the chain is incomplete. "
        "Browsers may have that one already, or fetch it; most other clients refuse.",
        "Give whatever ends TLS the whole chain (nginx: the intermediates behind the server's in `ssl_certificate`), "
        "or, if the issuer is your own root, name it in `tls.ca_file`. {look}",
    ),
    _certificate(
        TlsVerify.WRONG_PURPOSE,
        "The server's TLS certificate, or one above it, was not issued for servers.",
        "See its extended key usage: serverAuth is needed. {look}",
    ),
    _certificate(
        TlsVerify.WEAK,
        "The server's TLS certificate, or one above it, has a key or a signature too weak for this OpenSSL.",
        "Renew it with RSA of 2,048 bits at least, or an elliptic curve, and SHA-256. {look}",
    ),
    _certificate(
        None,
        "The server's TLS certificate is refused, for a reason that has no word here.",
        "OpenSSL says the reason in its last lines. {look}",
    ),
)

TLS_CAUSES: Final = (
    _tls(
        Reason.TLS_HANDSHAKE,
        "TCP is fine, but the TLS handshake failed: no common version or cipher, a missing client certificate, or "
        "no TLS on that port.",
        "See whether {server} speaks TLS at all, and whether it now asks for a client certificate.",
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

HANDSHAKE_CAUSES: Final = (
    _handshake(
        Handshake.SUBPROTOCOL_NOT_CHOSEN,
        "The server accepted, but chose none of the subprotocols offered: browsers refuse such a connection.",
        "Have the server answer with one of those offered in Sec-WebSocket-Protocol (in most frameworks an argument of "
        "the accept).",
        (Layer.APPLICATION, Confidence.LIKELY),
    ),
    _handshake(
        Handshake.SUBPROTOCOL_NOT_OFFERED,
        "The server accepted, but chose a subprotocol that was not offered, or several: browsers refuse such a "
        "connection.",
        "Compare what the server can speak with the `subprotocols` that the target's profile offers.",
        (Layer.APPLICATION, Confidence.CERTAIN),
    ),
    _handshake(
        Handshake.TOO_LARGE,
        "The head of the answer to the upgrade is larger than the exporter takes: its limit, and not by itself a "
        "fault of the backend.",
        "See what makes it so large (cookies?): curl -i on the same URL; proxies have limits of their own.",
        (Layer.CLIENT, Confidence.OPEN),
    ),
    _handshake(
        Handshake.NO_HTTP,
        "The answer to the upgrade is no HTTP: another protocol is spoken at {server}.",
        "See what listens there, and whether the port speaks TLS (wss:// or ws://).",
        (Layer.CLIENT, Confidence.LIKELY),
    ),
    _handshake(
        Handshake.NO_ACCEPT,
        "The server answered 101 without Sec-WebSocket-Accept, behind {proxies}: browsers refuse such a connection.",
        "See whether {proxies} speaks HTTP/2 with the backend, where a WebSocket has no such field (RFC 8441): Envoy "
        "adds none, and needs HTTP/1.1 to this backend. Else look at the backend's WebSocket library.",
        (Layer.PROXY, Confidence.LIKELY),
        given=(SituationFact.BEHIND_PROXIES,),
    ),
    _handshake(
        Handshake.NO_ACCEPT,
        "The server answered 101 without Sec-WebSocket-Accept: browsers refuse such a connection.",
        "Look at the backend's WebSocket library, then for a proxy that takes the field off or speaks HTTP/2 with the "
        "backend, where a WebSocket has none (RFC 8441).",
        (Layer.APPLICATION, Confidence.OPEN),
    ),
    _handshake(
        Handshake.WRONG_ACCEPT,
        "The answer to the upgrade does not belong to our request (Sec-WebSocket-Accept): the server computes it "
        "wrongly, or it is a cached or canned one. Browsers refuse this, too.",
        "Look at the backend's WebSocket library first: proxies pass this header on as it is. Then look for a cache or "
        "mock in front of it.",
        (Layer.APPLICATION, Confidence.CERTAIN),
    ),
    _handshake(
        Handshake.NO_UPGRADE,
        "The server answered 101, but did not upgrade to a WebSocket (Upgrade, Connection): browsers refuse that.",
        "Look for a proxy that takes these headers off the answer.",
        (Layer.PROXY, Confidence.LIKELY),
    ),
    _handshake(
        Handshake.EXTENSION,
        "The server chose an extension that was not asked for: browsers refuse such a connection.",
        "Look at the compression settings of the server and of proxies in front of it.",
        (Layer.APPLICATION, Confidence.LIKELY),
    ),
    _handshake(
        None,
        "The answer to the upgrade is no WebSocket handshake that a browser takes: a proxy or another service "
        "speaks here, or a header of the answer is wrong.",
        "See what answers (curl -i on the same URL), and whether the load balancer passes the upgrade headers.",
    ),
)

UPGRADE_CAUSES: Final = (
    upgrade_cause(
        Reason.RATE_LIMITED,
        "{answerer} itself refused the upgrade{status} and a time to wait{wait}: it reaches no backend, limits "
        "connects, or is in maintenance.",
        "Look at {answerer}'s log and at its backends first: its own page for a backend that is down may name a time "
        "to wait (Varnish). Then look for a limit on connects there. Probing goes on when the rest is over.",
        503,
        alert=Alert.RATE_LIMITED,
        given=(SituationFact.RETRY_AFTER, SituationFact.PROXY_ANSWERED),
        fault=(Layer.SERVER, Confidence.OPEN),
    ),
    upgrade_cause(
        Reason.RATE_LIMITED,
        "The upgrade was refused{status} and a time to wait{wait}: a limit of connects, or maintenance.",
        "Look for a limit on connects in front of the backend, and add up what leaves through this address. Probing "
        "goes on when the rest is over.",
        503,
        alert=Alert.RATE_LIMITED,
        given=(SituationFact.RETRY_AFTER,),
    ),
    upgrade_cause(
        Reason.RATE_LIMITED,
        "The upgrade was refused{status}: too many connects from this address{wait}. It may be our own ban, not an "
        "outage.",
        "Add up what leaves through this address: exporters, health checks, CI. Probing goes on when the rest is over.",
        alert=Alert.RATE_LIMITED,
    ),
    upgrade_cause(
        Reason.REDIRECT,
        "The upgrade was redirected{status}: WebSocket clients do not follow, so they do not get in.",
        "See where it leads (curl -i): a login page, a moved path, or http to https. Correct the URL or the redirect.",
    ),
    *HANDSHAKE_CAUSES,
    upgrade_cause(
        Reason.TIMEOUT,
        "{transport} fine, but only an interim answer came (HTTP {interim}), and the 101 never did: a proxy may have "
        "taken the interim answer for the final one.",
        _KEEP_INTERIM_AWAY,
        given=(SituationFact.INTERIM,),
        fault=(Layer.PROXY, Confidence.LIKELY),
    ),
    upgrade_cause(
        Reason.RESET,
        "Only an interim answer came to the upgrade (HTTP {interim}), and then{after} the connection was cut: a proxy "
        "may have taken the interim answer for the final one.",
        _KEEP_INTERIM_AWAY,
        given=(SituationFact.INTERIM,),
        fault=(Layer.PROXY, Confidence.LIKELY),
    ),
    upgrade_cause(
        Reason.TIMEOUT,
        "{transport} fine, but the upgrade got no answer before the deadline: the backend accepts connections "
        "and does not serve them.",
        "Look for a saturated or starting backend, or an auth service asked before the accept; does /health hang as "
        "well?",
    ),
    upgrade_cause(
        Reason.RESET,
        "The connection was cut{after} instead of an answer to the upgrade: {program} does so {events}.",
        "{event_steps}",
        given=(SituationFact.KNOWN_BEHAVIOUR,),
    ),
    upgrade_cause(
        Reason.RESET,
        "The connection was cut{after} instead of an answer: nothing listens behind a TCP balancer or a tunnel, the "
        "handler or its process died, nothing serves the path, or the server refuses the request's terms (token, "
        "subprotocol, Origin) so.",
        "See whether the backend's port is open, then read its log at this second for an exception or a restart; then "
        "ask with the path and the terms of a client that gets in.",
    ),
)

CONNECT_CAUSES: Final = (
    *NAME_CAUSES,
    *SOCKET_CAUSES,
    *CERTIFICATE_CAUSES,
    *TLS_CAUSES,
    *UPGRADE_LOGIN_CAUSES,
    *STATUS_CAUSES,
    *UPGRADE_CAUSES,
)
