"""Causes in the phases before the WebSocket is open."""

from typing import Final

from exporter.report.causes import Alert, Cause
from exporter.report.situation import SituationFact
from exporter.result import Confidence, Handshake, Layer, Phase, Reason, TlsVerify

_CONNECT: Final = Alert.CONNECT_FAILING
_KEEP_INTERIM_AWAY: Final = (
    "Ask the backend without the proxy, and keep interim answers (Early Hints) away from upgrades: nginx before 1.29 "
    "passes a 103 on and loses the 101 behind it."
)


def _resolve(reason: Reason, sentence: str, next_step: str) -> Cause:
    return Cause(sentence, _CONNECT, next_step, Phase.RESOLVE, reason)


def _tcp(reason: Reason, sentence: str, next_step: str) -> Cause:
    return Cause(sentence, _CONNECT, next_step, Phase.TCP, reason)


def _tls(reason: Reason, sentence: str, next_step: str) -> Cause:
    return Cause(sentence, _CONNECT, next_step, Phase.TLS, reason)


def _certificate(verify: TlsVerify | None, sentence: str, next_step: str) -> Cause:
    return Cause(sentence, _CONNECT, next_step, Phase.TLS, Reason.TLS_CERTIFICATE, verify=verify)


def _upgrade(
    reason: Reason,
    sentence: str,
    next_step: str,
    *statuses: int,
    alert: Alert = _CONNECT,
    given: tuple[SituationFact, ...] = (),
    fault: tuple[Layer, Confidence] | None = None,
) -> Cause:
    return Cause(sentence, alert, next_step, Phase.UPGRADE, reason, statuses=statuses or None, given=given, fault=fault)


def _handshake(
    handshake: Handshake | None, sentence: str, next_step: str, fault: tuple[Layer, Confidence] | None = None
) -> Cause:
    return Cause(sentence, _CONNECT, next_step, Phase.UPGRADE, Reason.BAD_HANDSHAKE, handshake=handshake, fault=fault)


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

UPGRADE_LOGIN_CAUSES: Final = (
    _upgrade(
        Reason.AUTH_REJECTED,
        "{program} itself refused the upgrade{status}{after}, so no login was asked: it answers so when {events}.",
        "{event_steps}",
        given=(SituationFact.PROXY_ANSWERED, SituationFact.KNOWN_BEHAVIOUR),
    ),
    _upgrade(
        Reason.AUTH_REJECTED,
        "The server refused the {credential}{status}, before it accepted a WebSocket.",
        "{keys} Two refusals in a row stop it for {auth_retry}.{dropped}",
        alert=Alert.AUTH_FAILING,
    ),
    _upgrade(
        Reason.AUTH_UNAVAILABLE,
        "The upgrade was refused{status}: the server could not check the {credential}, which itself may be good.",
        "Look at the auth service and the backend's way to it.{after_breaker}",
        alert=Alert.AUTH_UNAVAILABLE,
    ),
)

STATUS_CAUSES: Final = (
    _upgrade(
        Reason.HTTP_STATUS,
        "The upgrade was refused{status}: the server wants a login, and this request carried no credential.",
        "Give the target `auth`, with a `carry` that stands in the upgrade request (header, query, subprotocol), or "
        "see what asks for a login in front of the backend.",
        401,
        given=(SituationFact.NO_CREDENTIAL,),
        fault=(Layer.LOGIN, Confidence.CERTAIN),
    ),
    _upgrade(
        Reason.HTTP_STATUS,
        "The upgrade was refused{status}: the server wants a login, and refuses the {credential} or did not get it.",
        "{keys}{dropped}",
        401,
        given=(SituationFact.TOKEN_SENT,),
        fault=(Layer.LOGIN, Confidence.CERTAIN),
    ),
    _upgrade(
        Reason.HTTP_STATUS,
        "{program} itself refused the upgrade{status}{after}: it answers so when {events}.",
        "{event_steps}",
        given=(SituationFact.PROXY_ANSWERED, SituationFact.KNOWN_BEHAVIOUR),
    ),
    _upgrade(
        Reason.HTTP_STATUS,
        "{answerer} itself refused the upgrade{status}{after}: the request got no further.",
        "Look at {answerer}'s error log at this second, and at its rules for this host and path.",
        given=(SituationFact.PROXY_ANSWERED,),
        fault=(Layer.PROXY, Confidence.LIKELY),
    ),
    _upgrade(
        Reason.HTTP_STATUS,
        "The upgrade was refused{status}{after}, by the backend: {program} answers so when {events}{or_origin}"
        "{or_our_origin}.",
        "{event_steps}{set_origin}",
        given=(SituationFact.KNOWN_BEHAVIOUR,),
    ),
    _upgrade(
        Reason.HTTP_STATUS,
        "The upgrade was refused{status}: the path is closed to us or does not exist{or_credential}{or_origin}"
        "{or_our_origin}; some frameworks say this of every exception ahead of the accept.",
        "Compare the path of the URL with the backend's routes: many servers say this of unknown paths."
        "{set_origin}{check_credential} An exception stands in the backend's log.",
        401,
        403,
        fault=(Layer.LOGIN, Confidence.OPEN),
    ),
    _upgrade(
        Reason.HTTP_STATUS,
        "The upgrade was answered{status}: there is no WebSocket at this path{or_origin}.",
        "Compare the path in the URL with the backend's routes and the load balancer's rules, the host name with the "
        "site it leads to, and see whether a proxy drops the upgrade: a plain request finds nothing there."
        "{set_origin}",
        404,
        405,
        410,
        fault=(Layer.CLIENT, Confidence.OPEN),
    ),
    _upgrade(
        Reason.HTTP_STATUS,
        "The upgrade was answered{status}: an ordinary page, and no WebSocket at this path.",
        "Compare the path in the URL with the backend's routes; a proxy that drops the upgrade gets the page of a "
        "plain request, too.",
        *range(200, 300),
        fault=(Layer.CLIENT, Confidence.OPEN),
    ),
    _upgrade(
        Reason.HTTP_STATUS,
        "The upgrade was answered{status}: the server saw no WebSocket upgrade in our request, and it came through "
        "{proxies}, where Upgrade and Connection are dropped, or which speaks HTTP/1.0 to it.",
        "Look at the WebSocket settings of {proxies} (nginx: proxy_http_version 1.1, and both headers passed on), and "
        "ask the backend without it.",
        426,
        505,
        given=(SituationFact.BEHIND_PROXIES,),
        fault=(Layer.PROXY, Confidence.CERTAIN),
    ),
    _upgrade(
        Reason.HTTP_STATUS,
        "The upgrade was answered{status}: the server saw no WebSocket upgrade in our request, so something in front "
        "of it drops Upgrade and Connection or speaks HTTP/1.0.",
        "Look at the proxy (nginx: proxy_http_version 1.1, and both headers passed on) and ask the backend without it.",
        426,
        505,
        fault=(Layer.PROXY, Confidence.LIKELY),
    ),
    _upgrade(
        Reason.HTTP_STATUS,
        "The upgrade was answered{status}: the server saw no WebSocket upgrade in our request, so something in front "
        "of it drops Upgrade and Connection; or it does not take the request's terms.",
        "Look at the proxy (nginx: proxy_http_version 1.1, and both headers passed on) and ask the backend without it; "
        "then compare query, subprotocols and headers with a browser's.",
        400,
        501,
        fault=(Layer.PROXY, Confidence.OPEN),
    ),
    _upgrade(
        Reason.HTTP_STATUS,
        "The upgrade was refused{status}: the head of our request is larger than somebody on the way takes.",
        "Compare the size of the token and of the target's headers with the limits of the proxies and of the server.",
        413,
        414,
        431,
        fault=(Layer.CLIENT, Confidence.LIKELY),
    ),
    _upgrade(
        Reason.HTTP_STATUS,
        "The upgrade was refused{status} by the backend itself, not by a proxy that found it missing: it says that it "
        "cannot serve now.",
        "Read the backend's log at this second: a start-up that is not finished, a limit of its own, or services that "
        "are missing behind it.",
        502,
        503,
        504,
        given=(SituationFact.BACKEND_ANSWERED,),
        fault=(Layer.APPLICATION, Confidence.LIKELY),
    ),
    _upgrade(
        Reason.HTTP_STATUS,
        "The upgrade was refused{status}{after}: by a server behind {proxies}, or by {proxies} with a page of its own "
        "making, for want of a healthy one.",
        "Ask the backend without {proxies}: if it answers the same, read its log at this second; else look at the "
        "error log of {proxies}.",
        502,
        503,
        504,
        given=(SituationFact.BEHIND_PROXIES,),
        fault=(Layer.APPLICATION, Confidence.OPEN),
    ),
    _upgrade(
        Reason.HTTP_STATUS,
        "The upgrade was refused{status}{after}: no healthy instance, a failing start-up, a crash loop, or a limit of "
        "connects.",
        "Look at the instances: do they start, and with what exit code? /health may still say healthy. If refusals "
        "come and go, look for a limit in front of them.",
        503,
        fault=(Layer.SERVER, Confidence.OPEN),
    ),
    _upgrade(
        Reason.HTTP_STATUS,
        "The upgrade was refused{status}{after}: a load balancer reaches no backend that answers, or an application "
        "says so itself.",
        "Look at the load balancer's backends and their timeouts, then at the backend's log at this second.",
        502,
        504,
        fault=(Layer.SERVER, Confidence.OPEN),
    ),
    _upgrade(
        Reason.HTTP_STATUS,
        "The upgrade was refused{status}: the backend broke before it accepted the WebSocket.",
        "Read the backend's log at this second: an unhandled exception ahead of the accept, or services that are "
        "missing.",
        *range(500, 600),
        fault=(Layer.APPLICATION, Confidence.LIKELY),
    ),
    _upgrade(
        Reason.HTTP_STATUS,
        "The upgrade was refused{status} instead of 101.",
        "Look up who answered (Server header of a curl to the same URL): the backend, or something in front of it.",
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
    _upgrade(
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
    _upgrade(
        Reason.RATE_LIMITED,
        "The upgrade was refused{status} and a time to wait{wait}: a limit of connects, or maintenance.",
        "Look for a limit on connects in front of the backend, and add up what leaves through this address. Probing "
        "goes on when the rest is over.",
        503,
        alert=Alert.RATE_LIMITED,
        given=(SituationFact.RETRY_AFTER,),
    ),
    _upgrade(
        Reason.RATE_LIMITED,
        "The upgrade was refused{status}: too many connects from this address{wait}. It may be our own ban, not an "
        "outage.",
        "Add up what leaves through this address: exporters, health checks, CI. Probing goes on when the rest is over.",
        alert=Alert.RATE_LIMITED,
    ),
    _upgrade(
        Reason.REDIRECT,
        "The upgrade was redirected{status}: WebSocket clients do not follow, so they do not get in.",
        "See where it leads (curl -i): a login page, a moved path, or http to https. Correct the URL or the redirect.",
    ),
    *HANDSHAKE_CAUSES,
    _upgrade(
        Reason.TIMEOUT,
        "{transport} fine, but only an interim answer came (HTTP {interim}), and the 101 never did: a proxy may have "
        "taken the interim answer for the final one.",
        _KEEP_INTERIM_AWAY,
        given=(SituationFact.INTERIM,),
        fault=(Layer.PROXY, Confidence.LIKELY),
    ),
    _upgrade(
        Reason.RESET,
        "Only an interim answer came to the upgrade (HTTP {interim}), and then{after} the connection was cut: a proxy "
        "may have taken the interim answer for the final one.",
        _KEEP_INTERIM_AWAY,
        given=(SituationFact.INTERIM,),
        fault=(Layer.PROXY, Confidence.LIKELY),
    ),
    _upgrade(
        Reason.TIMEOUT,
        "{transport} fine, but the upgrade got no answer before the deadline: the backend accepts connections "
        "and does not serve them.",
        "Look for a saturated or starting backend, or an auth service asked before the accept; does /health hang as "
        "well?",
    ),
    _upgrade(
        Reason.RESET,
        "The connection was cut{after} instead of an answer to the upgrade: {program} does so when {events}.",
        "{event_steps}",
        given=(SituationFact.KNOWN_BEHAVIOUR,),
    ),
    _upgrade(
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
