"""Causes of a refused upgrade: who refused it, by its status."""

from typing import Final

from exporter.report.causes import Alert, Cause
from exporter.report.situation import SituationFact
from exporter.result import Confidence, Layer, Phase, Reason

_LOOK_AT_FILTER: Final = "{event_steps} See also whether {program} checks logins or addresses, or has them checked."


def upgrade_cause(
    reason: Reason,
    sentence: str,
    next_step: str,
    *statuses: int,
    alert: Alert = Alert.CONNECT_FAILING,
    given: tuple[SituationFact, ...] = (),
    fault: tuple[Layer, Confidence] | None = None,
) -> Cause:
    """A row of a failed upgrade; without `statuses` of any status. `fault`: the layer at fault, if the row knows it."""
    return Cause(sentence, alert, next_step, Phase.UPGRADE, reason, statuses=statuses or None, given=given, fault=fault)


UPGRADE_LOGIN_CAUSES: Final = (
    upgrade_cause(
        Reason.AUTH_REJECTED,
        "{program} itself refused the upgrade{status}{after}, so the backend was not asked: it answers so {events}, or "
        "when it checks logins itself.",
        _LOOK_AT_FILTER,
        given=(SituationFact.PROXY_ANSWERED, SituationFact.KNOWN_BEHAVIOUR),
    ),
    upgrade_cause(
        Reason.AUTH_REJECTED,
        "{answerer} itself refused the login{status}: the request got no further.",
        "See which login {answerer} asks for at this path, and whether the target's credential is meant for it.",
        alert=Alert.AUTH_FAILING,
        given=(SituationFact.PROXY_ANSWERED,),
        fault=(Layer.LOGIN, Confidence.LIKELY),
    ),
    upgrade_cause(
        Reason.AUTH_REJECTED,
        "The server refused the {credential}{status}, before it accepted a WebSocket.",
        "{keys} Two refusals in a row stop it for {auth_retry}.{dropped}",
        alert=Alert.AUTH_FAILING,
    ),
    upgrade_cause(
        Reason.AUTH_UNAVAILABLE,
        "The upgrade was refused{status}: the server could not check the {credential}, which itself may be good.",
        "Look at the auth service and the backend's way to it.{after_breaker}",
        alert=Alert.AUTH_UNAVAILABLE,
    ),
)

_ASK_ORIGIN: Final = "Ask the backend without Cloudflare, and compare with what Cloudflare has as its address."

ORIGIN_CAUSES: Final = tuple(
    upgrade_cause(
        Reason.HTTP_STATUS,
        f"{who} refused the upgrade{{status}}{{after}}: {meaning}",
        f"{next_step} {_ASK_ORIGIN}",
        *statuses,
        given=given,
        fault=(layer, confidence),
    )
    for who, given, confidence in (
        ("{answerer} itself", (SituationFact.PROXY_ANSWERED,), Confidence.LIKELY),
        ("A proxy that uses the statuses of Cloudflare", (), Confidence.OPEN),
    )
    for statuses, layer, meaning, next_step in (
        ((520,), Layer.SERVER, "the backend's answer was empty or no HTTP.", "Read the backend's log at this second."),
        ((521,), Layer.SERVER, "the backend refuses its connections.", "See whether the backend's port is open to it."),
        (
            (522, 523),
            Layer.NETWORK,
            "it does not reach the backend's address.",
            "Look at firewalls, at routes and at the load of the host.",
        ),
        ((524,), Layer.SERVER, "the backend took its request and did not answer.", "See what the backend waits for."),
        (
            (525, 526),
            Layer.TLS,
            "TLS between it and the backend fails: the handshake (525) or the certificate (526).",
            "Look at the certificate and at the TLS versions of the backend.",
        ),
        ((527, 530), Layer.PROXY, "it cannot resolve or use the backend.", "Read the error 1XXX on its page."),
    )
)
"""Statuses that no standard knows and that are Cloudflare's by custom."""

STATUS_CAUSES: Final = (
    *ORIGIN_CAUSES,
    upgrade_cause(
        Reason.HTTP_STATUS,
        "{answerer} itself wants a login (HTTP 401): the request got no further.",
        "See which login {answerer} asks for at this path, and whether the target's credential is meant for it.",
        401,
        given=(SituationFact.PROXY_ANSWERED,),
        fault=(Layer.LOGIN, Confidence.LIKELY),
    ),
    upgrade_cause(
        Reason.HTTP_STATUS,
        "The upgrade was refused{status}: the server wants a login, and this request carried no credential.",
        "Give the target `auth`, with a `carry` that stands in the upgrade request (header, query, subprotocol), or "
        "see what asks for a login in front of the backend.",
        401,
        given=(SituationFact.NO_CREDENTIAL,),
        fault=(Layer.LOGIN, Confidence.LIKELY),
    ),
    upgrade_cause(
        Reason.HTTP_STATUS,
        "The upgrade was refused{status}: the server wants a login, and refuses the {credential} or did not get it.",
        "{keys}{dropped}",
        401,
        given=(SituationFact.TOKEN_SENT,),
    ),
    upgrade_cause(
        Reason.HTTP_STATUS,
        "{program} itself refused the upgrade{status}{after}: it answers so {events}, or when it checks logins itself.",
        _LOOK_AT_FILTER,
        403,
        given=(SituationFact.PROXY_ANSWERED, SituationFact.KNOWN_BEHAVIOUR),
    ),
    upgrade_cause(
        Reason.HTTP_STATUS,
        "{program} itself {refused} the upgrade{status}{after}: it answers so {events}.",
        "{event_steps}",
        given=(SituationFact.PROXY_ANSWERED, SituationFact.KNOWN_BEHAVIOUR),
    ),
    upgrade_cause(
        Reason.HTTP_STATUS,
        "{answerer} itself refused the upgrade{status}{after}: it holds no backend for healthy, or limits connects.",
        "See what {answerer} says of the health of its backends, then its error log at this second and its limits.",
        503,
        given=(SituationFact.PROXY_ANSWERED,),
        fault=(Layer.SERVER, Confidence.OPEN),
    ),
    upgrade_cause(
        Reason.HTTP_STATUS,
        "{answerer} itself refused the upgrade{status}{after}: the request got no further.",
        "Look at {answerer}'s error log at this second, and at its rules for this host and path.",
        given=(SituationFact.PROXY_ANSWERED,),
        fault=(Layer.PROXY, Confidence.LIKELY),
    ),
    upgrade_cause(
        Reason.HTTP_STATUS,
        "The upgrade was refused{status}{after}: {program} answers so {events}{or_origin}{or_our_origin}.",
        "{event_steps}{set_origin}",
        400,
        403,
        404,
        given=(SituationFact.KNOWN_BEHAVIOUR,),
    ),
    upgrade_cause(
        Reason.HTTP_STATUS,
        "The upgrade was refused{status}{after}: {program} answers so {events}, and so does a load balancer that "
        "reaches no backend.",
        "{event_steps} Else look at the load balancer's backends and their timeouts.",
        502,
        503,
        504,
        given=(SituationFact.KNOWN_BEHAVIOUR,),
    ),
    upgrade_cause(
        Reason.HTTP_STATUS,
        "The upgrade was {refused}{status}{after}: {program} answers so {events}.",
        "{event_steps}",
        given=(SituationFact.KNOWN_BEHAVIOUR,),
    ),
    upgrade_cause(
        Reason.HTTP_STATUS,
        "The upgrade was refused{status}: the path is closed to us or does not exist{or_credential}{or_origin}"
        "{or_our_origin}; some frameworks say this of every exception ahead of the accept.",
        "Compare the path of the URL with the backend's routes: many servers say this of unknown paths."
        "{set_origin}{check_credential} An exception stands in the backend's log.",
        401,
        403,
        fault=(Layer.LOGIN, Confidence.OPEN),
    ),
    upgrade_cause(
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
    upgrade_cause(
        Reason.HTTP_STATUS,
        "The upgrade was answered{status}: an ordinary page, and no WebSocket at this path.",
        "Compare the path in the URL with the backend's routes; a proxy that drops the upgrade gets the page of a "
        "plain request, too.",
        *range(200, 300),
        fault=(Layer.CLIENT, Confidence.OPEN),
    ),
    upgrade_cause(
        Reason.HTTP_STATUS,
        "The upgrade was answered{status}: the server saw no WebSocket upgrade in our request, and it came through "
        "{proxies}: there, or at another proxy, Upgrade and Connection are dropped, or HTTP/1.0 is spoken.",
        "Look at the WebSocket settings of {proxies} (nginx: proxy_http_version 1.1, and both headers passed on), and "
        "ask the backend without it.",
        426,
        505,
        given=(SituationFact.BEHIND_PROXIES,),
        fault=(Layer.PROXY, Confidence.LIKELY),
    ),
    upgrade_cause(
        Reason.HTTP_STATUS,
        "The upgrade was answered{status}: the server saw no WebSocket upgrade in our request, so something in front "
        "of it drops Upgrade and Connection or speaks HTTP/1.0.",
        "Look at the proxy (nginx: proxy_http_version 1.1, and both headers passed on) and ask the backend without it.",
        426,
        505,
        fault=(Layer.PROXY, Confidence.LIKELY),
    ),
    upgrade_cause(
        Reason.HTTP_STATUS,
        "The upgrade was answered{status}: the server saw no WebSocket upgrade in our request, so something in front "
        "of it drops Upgrade and Connection; or it does not take the request's terms.",
        "Look at the proxy (nginx: proxy_http_version 1.1, and both headers passed on) and ask the backend without it; "
        "then compare query, subprotocols and headers with a browser's.",
        400,
        501,
        fault=(Layer.PROXY, Confidence.OPEN),
    ),
    upgrade_cause(
        Reason.HTTP_STATUS,
        "The upgrade was refused{status}: the head of our request is larger than a proxy or the server takes.",
        "Compare the size of the token and of the target's headers with the limits of the proxies and of the server.",
        413,
        414,
        431,
        fault=(Layer.CLIENT, Confidence.LIKELY),
    ),
    upgrade_cause(
        Reason.HTTP_STATUS,
        "The upgrade was refused{status}: what took the request does not serve this host name on this connection.",
        "Compare the host of the URL, `address` and `tls.server_name` with the names that the server or proxy serves.",
        421,
        fault=(Layer.CLIENT, Confidence.OPEN),
    ),
    upgrade_cause(
        Reason.HTTP_STATUS,
        "The upgrade was refused{status}{after}: what took the request says that it did not get it whole in its time.",
        "See what stands in between and holds requests back, and ask the backend without it.",
        408,
        fault=(Layer.PROXY, Confidence.OPEN),
    ),
    upgrade_cause(
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
    upgrade_cause(
        Reason.HTTP_STATUS,
        "The upgrade was refused{status}{after}: by a server behind {proxies}, or by {proxies} with a page of its own "
        "making for want of a healthy backend.",
        "Ask the backend without {proxies}: if it answers the same, read its log at this second; else look at the "
        "error log of {proxies}.",
        502,
        503,
        504,
        given=(SituationFact.BEHIND_PROXIES,),
        fault=(Layer.APPLICATION, Confidence.OPEN),
    ),
    upgrade_cause(
        Reason.HTTP_STATUS,
        "The upgrade was refused{status}{after}: no healthy instance, a failing start-up, a crash loop, or a limit of "
        "connects.",
        "Look at the instances: do they start, and with what exit code? /health may still say healthy. If refusals "
        "come and go, look for a limit in front of them.",
        503,
        fault=(Layer.SERVER, Confidence.OPEN),
    ),
    upgrade_cause(
        Reason.HTTP_STATUS,
        "The upgrade was refused{status}{after}: a load balancer reaches no backend that answers, or an application "
        "says so itself.",
        "Look at the load balancer's backends and their timeouts, then at the backend's log at this second.",
        502,
        504,
        fault=(Layer.SERVER, Confidence.OPEN),
    ),
    upgrade_cause(
        Reason.HTTP_STATUS,
        "The upgrade was refused{status}: the backend broke before it accepted the WebSocket.",
        "Read the backend's log at this second: an unhandled exception ahead of the accept, or services that are "
        "missing.",
        *range(500, 600),
        fault=(Layer.APPLICATION, Confidence.LIKELY),
    ),
    upgrade_cause(
        Reason.HTTP_STATUS,
        "The upgrade was refused{status} instead of 101.",
        "Look up who answered (Server header of a curl to the same URL): the backend, or something in front of it.",
    ),
)
