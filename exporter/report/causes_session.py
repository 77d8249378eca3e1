"""Causes on an open WebSocket: until the welcome, at the login message, and until our reply."""

from collections.abc import Container
from typing import Final

from exporter.report.causes import Alert, Cause
from exporter.report.causes_factory import OVERLOAD, RESTARTS
from exporter.result import Phase, Reason


def _admission(reason: Reason, sentence: str, next_step: str, alert: Alert = Alert.NO_WELCOME) -> Cause:
    return Cause(sentence, alert, next_step, Phase.ADMISSION, reason)


def _auth(
    reason: Reason,
    sentence: str,
    next_step: str,
    alert: Alert = Alert.AUTH_UNAVAILABLE,
    codes: Container[int] | None = None,
) -> Cause:
    return Cause(sentence, alert, next_step, Phase.AUTH, reason, codes=codes)


def _reply(
    reason: Reason,
    sentence: str,
    next_step: str,
    alert: Alert = Alert.SEND_FAILING,
    codes: Container[int] | None = None,
) -> Cause:
    return Cause(sentence, alert, next_step, Phase.REPLY, reason, codes=codes)


_KEYS: Final = (
    "Compare the signing key, `iss` and `aud` with the auth service's, and the clocks. All identities at once after "
    "a load balancer change: the header is dropped on upgrades. Two refusals stop our tokens for auth_retry (5 min)."
)
_BREAKER: Final = (
    "Look at the auth service and the backend's way to it. If it comes and goes within 10 s, the backend's breaker "
    "is open: somebody sends it bad tokens."
)
_RATE: Final = "Add up who connects and sends from this address and as this user; slow down, or raise the limit."
_RESTART: Final = "Look for a deploy, a scale-in or worker recycling at this second; three in 15 min are not normal."
_LOG: Final = "Read the backend's log at this second for the exception."

REFUSALS: Final = (
    _admission(
        Reason.AUTH_REJECTED,
        "The WebSocket opened, then the server refused our token: the login failed, the factory was not reached.",
        _KEYS,
        Alert.AUTH_FAILING,
    ),
    _admission(
        Reason.AUTH_UNAVAILABLE,
        "The WebSocket opened, but the server could not check our token: its auth service is down, slow, or cut off "
        "by the breaker. The token itself may be good.",
        _BREAKER,
        Alert.AUTH_UNAVAILABLE,
    ),
    _admission(
        Reason.RATE_LIMITED,
        "The WebSocket opened, then the server turned us away as too many{wait}. It may be our own doing, not an "
        "outage.",
        _RATE,
        Alert.RATE_LIMITED,
    ),
)

SILENCE: Final = (
    _admission(
        Reason.TIMEOUT,
        "The upgrade succeeded, then SILENCE: no welcome, no error frame and no close before the deadline. Not the "
        "login's fault: nobody said anything about it.",
        "Look for a start-up or readiness wait inside the backend's handshake (minutes are on record), and for a "
        "hanging auth service; see whether other instances welcome.",
    ),
    _admission(
        Reason.RESET,
        "The upgrade succeeded, then the connection was lost before the welcome, without a close frame.",
        "Look for a killed or crashing process, then at the load balancer: for everybody at once, it is its upgrade "
        "settings.",
    ),
    _admission(
        Reason.PROTOCOL_ERROR,
        "The upgrade succeeded, then the server broke the WebSocket protocol before the welcome.",
        "Look for a proxy that touches frames, and at what the last release changed in the server's library.",
    ),
    _admission(
        Reason.TOO_BIG,
        "The upgrade succeeded, then the first message was larger than any welcome may be.",
        "See what the backend sends on connect: a replay of history, or another service's stream.",
    ),
)

LOGIN: Final = (
    _auth(
        Reason.AUTH_REJECTED,
        "The connection is open and was greeted, then the server refused the token in our login message.",
        _KEYS,
        Alert.AUTH_FAILING,
    ),
    _auth(
        Reason.AUTH_UNAVAILABLE,
        "The connection is open, but the server could not check the token in our login message: its auth service is "
        "down or slow.",
        _BREAKER,
    ),
    _auth(
        Reason.RATE_LIMITED,
        "The server refused our login message as one too many{wait}.",
        _RATE,
        Alert.RATE_LIMITED,
    ),
    _auth(
        Reason.TIMEOUT,
        "Our login message got no answer before the deadline, though the connection is open.",
        "Look at the auth service's latency; see whether other identities get an answer.",
    ),
    _auth(
        Reason.RESET,
        "The connection was lost after our login message, without a close frame.",
        "Look for a process that dies on login; then at the network between.",
    ),
    _auth(
        Reason.SERVER_ERROR,
        "The server closed with 1011 (internal error) after our login message: an unhandled exception in its login.",
        _LOG,
        Alert.INTERNAL_ERROR_SPIKE,
    ),
    _auth(
        Reason.CLOSED,
        "The server was being stopped or recycled: it closed with {code} instead of answering our login message.",
        _RESTART,
        Alert.SERVER_RESTARTING,
        RESTARTS,
    ),
    _auth(
        Reason.CLOSED,
        "The server closed{ended} instead of answering our login message, and no rule of the profile knows why.",
        "Read the backend's log at this second; if the reason text is a new one, add a rule to the profile.",
    ),
    _auth(
        Reason.BAD_REPLY,
        "The answer to our login message is not the one that the profile expects.",
        "Compare the profile's `auth.expect` with what the backend answers now; an error frame counts as one, too.",
    ),
    _auth(
        Reason.PROTOCOL_ERROR,
        "The server broke the WebSocket protocol when it was to answer our login message.",
        "Look for a proxy that touches frames, and at what the last release changed.",
    ),
    _auth(
        Reason.TOO_BIG,
        "The answer to our login message is larger than any may be.",
        "See what the backend sends on login.",
    ),
)

REPLY: Final = (
    _reply(
        Reason.TIMEOUT,
        "{open}, but our message got NO REPLY, while the socket stays open: a zombie connection (its message loop "
        "has ended), a deaf one (its manager was evicted), or a router that drops the message.",
        "Check again: every time means all messages are lost, now and then a zombie after five bad messages. The "
        "backend's log shows whether our message arrived; protocol pings prove nothing.",
    ),
    _reply(
        Reason.RESET,
        "{open}, then the connection was lost before our reply, without a close frame.",
        "Look for a killed or crashing process, or a platform that cuts requests; always at the same age: a proxy's "
        "timeout.",
    ),
    _reply(
        Reason.SERVER_ERROR,
        "{open}, then the server closed with 1011 (internal error) instead of replying: its handling of our message "
        "broke.",
        _LOG,
        Alert.INTERNAL_ERROR_SPIKE,
    ),
    _reply(
        Reason.CLOSED,
        "The server was being stopped or recycled: it closed with {code} before it replied.",
        _RESTART,
        Alert.SERVER_RESTARTING,
        RESTARTS,
    ),
    _reply(
        Reason.CLOSED,
        "The server gave us up as overloaded or not available for now: it closed with {code} instead of replying.",
        "Look at the backend's load and dependencies; newer releases say 1013 where older ones said 1011.",
        codes=OVERLOAD,
    ),
    _reply(
        Reason.CLOSED,
        "{open}, then the server closed{ended} instead of replying.",
        "Read the backend's log at this second; a 1008 is a rule that our message broke, a 1000 a graceful end of it.",
    ),
    _reply(
        Reason.BAD_REPLY,
        "Our message was answered, but wrongly: the reply names another user or status than ours, or an error.",
        "Compare the profile's `send.expect` with the reply; another user's name in it is a leak of data between "
        "users.",
    ),
    _reply(
        Reason.PROTOCOL_ERROR,
        "{open}, then the server broke the WebSocket protocol when it was to reply.",
        "Look for a proxy that touches frames, and at what the last release changed in the server's library.",
    ),
    _reply(
        Reason.TOO_BIG,
        "The reply is larger than any may be.",
        "See what the backend echoes, and what else it pushes to this user.",
    ),
    _reply(
        Reason.RATE_LIMITED,
        "{open}, then our message was refused as one too many{wait}.",
        _RATE,
        Alert.RATE_LIMITED,
    ),
)

ANSWERS: Final = (*REFUSALS, *LOGIN[:3])
"""Refusals that say their cause themselves: they are asked before the factory."""

SESSION_CAUSES: Final = (*SILENCE, *LOGIN[3:], *REPLY)
