"""Causes in the phase `before`: the HTTP request ahead of the WebSocket, which was not tried then."""

from typing import Final

from exporter.report.causes import Alert, Cause
from exporter.report.situation import SituationFact
from exporter.result import Phase, Reason

_CONNECT: Final = Alert.CONNECT_FAILING


def _before(
    reason: Reason,
    sentence: str,
    next_step: str,
    *statuses: int,
    alert: Alert = _CONNECT,
    given: tuple[SituationFact, ...] = (),
) -> Cause:
    return Cause(sentence, alert, next_step, Phase.BEFORE, reason, statuses=statuses or None, given=given)


REACH_CAUSES: Final = (
    _before(
        Reason.DNS,
        "The host name of the HTTP request before the WebSocket does not resolve, so the WebSocket was not tried.",
        "Ask for the name of {asked} on the exporter's host (getent hosts) and at another resolver.",
    ),
    _before(
        Reason.REFUSED,
        "Nothing listens where the HTTP request before the WebSocket goes: the TCP connection was refused.",
        "See whether the process that answers `before` is up at {asked}, and whether that port is the right one.",
    ),
    _before(
        Reason.UNREACHABLE,
        "There is no way to the address that the HTTP request before the WebSocket goes to: it is unreachable.",
        "Try {asked} by hand from the exporter's host; look at routes and the VPN.",
    ),
    _before(
        Reason.RESET,
        "The connection of the HTTP request before the WebSocket broke before the answer was complete.",
        "Look for a crash or a restart behind {asked} at this second, and at what stands in front of it.",
    ),
    _before(
        Reason.TIMEOUT,
        "The HTTP request before the WebSocket had no complete answer at the deadline, so the WebSocket was not tried.",
        "Send the request by hand (curl -v) and see where it waits; then look at the load of what answers at {asked}.",
    ),
    _before(
        Reason.TLS_CERTIFICATE,
        "The TLS certificate that the HTTP request before the WebSocket met is refused.",
        "Look at it: openssl s_client -connect {asked} -showcerts </dev/null. `tls.ca_file` holds for "
        "an `origin` too, which is asked under its own name; `tls.server_name` is for the target's own server.",
    ),
    _before(
        Reason.TLS_HANDSHAKE,
        "The TLS handshake of the HTTP request before the WebSocket failed: no common version or cipher, a missing "
        "client certificate, or no TLS on that port.",
        "See whether {asked} speaks TLS, and whether it asks for a client certificate.",
    ),
)

REFUSED_REQUEST_CAUSES: Final = (
    _before(
        Reason.AUTH_REJECTED,
        "The server refused the {credential}{status} in the HTTP request before the WebSocket: no ticket, no session.",
        "{keys} Two refusals in a row stop it for {auth_retry}.",
        alert=Alert.AUTH_FAILING,
    ),
    _before(
        Reason.AUTH_UNAVAILABLE,
        "The HTTP request before the WebSocket was refused{status}: the server could not check the {credential}, which "
        "itself may be good.",
        "Look at the auth service and the way to it from {asked}.{after_breaker}",
        alert=Alert.AUTH_UNAVAILABLE,
    ),
    _before(
        Reason.RATE_LIMITED,
        "The HTTP request before the WebSocket was refused{status} as one too many{wait}. It may be our own doing, not "
        "an outage.",
        "Add up what asks {asked} from this address, or as this user. Probing goes on when the rest is over.",
        alert=Alert.RATE_LIMITED,
    ),
    _before(
        Reason.REDIRECT,
        "The HTTP request before the WebSocket was redirected{status}, and no redirect is followed: a token would go "
        "with it.",
        "See where it leads (curl -i): a login page, a moved path, or http to https. Write the path, or the host under "
        "`origin`, into `before` of {profile}.",
    ),
    _before(
        Reason.HTTP_STATUS,
        "The HTTP request before the WebSocket was refused{status}: the server wants a login, and it held no "
        "credential.",
        "Give the target `auth`, and `before` of {profile} a header Authorization that holds its token.",
        401,
        403,
        given=(SituationFact.NO_CREDENTIAL,),
    ),
    _before(
        Reason.HTTP_STATUS,
        "The HTTP request before the WebSocket was answered{status}: there is no such request at this path.",
        "Compare method and path of `before` in {profile} with the backend's routes, and the host with the site it "
        "leads to.",
        404,
        405,
        410,
    ),
    _before(
        Reason.HTTP_STATUS,
        "The HTTP request before the WebSocket was answered{status}: what answers it is broken, or not there.",
        "Read the log behind {asked} at this second; 502, 503 and 504 are those of a load balancer without a healthy "
        "instance.",
        *range(500, 600),
    ),
    _before(
        Reason.HTTP_STATUS,
        "The HTTP request before the WebSocket was answered{status} instead of 2xx.",
        "Send it by hand (curl -i): method, path, headers and body of `before` in {profile}.",
    ),
)

BEFORE_CAUSES: Final = (
    *REACH_CAUSES,
    *REFUSED_REQUEST_CAUSES,
    _before(
        Reason.BAD_REPLY,
        "The answer to the HTTP request before the WebSocket is no JSON, lacks a field that `before` keeps, or holds a "
        "value there that fits nowhere.",
        "See its shape (`check --show-frames`) and compare it with `before.keep` of {profile}: an id or ticket is a "
        "number or a short text.",
    ),
    _before(
        Reason.TOO_BIG,
        "The answer to the HTTP request before the WebSocket is larger than the exporter takes (64 KiB).",
        "Ask for less: a path or query in `before` of {profile} that names one thing instead of a list.",
    ),
)
