"""Causes on an open WebSocket: before the welcome, at the login message, before the reply."""

from collections.abc import Container
from functools import partial
from typing import Final

from exporter.report.causes import Alert, Cause
from exporter.report.causes_factory import OVERLOAD_CODES, RESTART_CODES
from exporter.report.situation import TOKENLESS_CAUSE, SituationFact
from exporter.result import Confidence, Layer, Phase, Reason


def _open(
    reason: Reason,
    sentence: str,
    next_step: str,
    alert: Alert | None = None,
    *,
    phase: Phase,
    usual: Alert,
    codes: Container[int] | None = None,
    given: tuple[SituationFact, ...] = (),
    fault: tuple[Layer, Confidence] | None = None,
) -> Cause:
    return Cause(sentence, alert or usual, next_step, phase, reason, codes=codes, given=given, fault=fault)


_admission = partial(_open, phase=Phase.ADMISSION, usual=Alert.NO_WELCOME)
_auth = partial(_open, phase=Phase.AUTH, usual=Alert.AUTH_UNAVAILABLE)
_reply = partial(_open, phase=Phase.REPLY, usual=Alert.SEND_FAILING)

_CHECK_KEYS: Final = "{keys} Two refusals in a row stop it for {auth_retry}.{dropped}{auth_500}"
_CHECK_AUTH_SERVICE: Final = "Look at the auth service and the backend's way to it.{after_breaker}"
_NAME_THE_ERROR: Final = (
    "Read the backend's log at this second for that error, and name it in a rule of `errors` of {profile}: until then "
    "nothing says that the {credential} is to blame, or that it is not."
)
_SLOW_DOWN: Final = "Add up who connects and sends from this address and as this user; slow down, or raise the limit."
_LOOK_FOR_RESTART: Final = (
    "Look for a deploy, a scale-in or worker recycling at this second; three in 15 min are not normal."
)
_LOOK_AT_LOAD: Final = "Look at the backend's load and dependencies."
_READ_LOG: Final = "Read the backend's log at this second for the exception."
_ADD_CLOSE_RULE: Final = (
    "Read the backend's log at this second; if this close has a code or a reason of its own, add a rule to `closes` of "
    "the profile (some servers refuse a login with 1000)."
)
_LOOK_FOR_PROXY: Final = (
    "Look for a proxy that touches frames, and at what the last release changed in the server's library."
)
_COMPARE_MESSAGES: Final = (
    "Is {profile} right for this backend? Its messages are JSON: look at what the server sends (a browser's network "
    "tab), and at the subprotocol that it speaks."
)
_COMPARE_PROTOCOL: Final = (
    "Nothing came on this connection at all: look first for another protocol or subprotocol than {profile} speaks; "
    "then "
)

REFUSAL_CAUSES: Final = (
    _admission(
        Reason.AUTH_REJECTED,
        "The WebSocket opened, then the server said that NO token arrived, though one was sent: something in between "
        "took it.",
        "See what stands in front of the backend and drops {carrier} on upgrades (load balancer, proxy, CDN), and "
        "whether its configuration has just changed.",
        Alert.AUTH_FAILING,
        given=(SituationFact.NO_TOKEN, SituationFact.TOKEN_SENT),
        fault=(Layer.PROXY, Confidence.LIKELY),
    ),
    _admission(
        Reason.AUTH_REJECTED,
        "The WebSocket opened, then the server said that no token arrived.",
        "See whether the target has `auth`; if it has, look at what stands in front of the backend and may drop the "
        "token.",
        Alert.AUTH_FAILING,
        given=(SituationFact.NO_TOKEN,),
        fault=(Layer.CLIENT, Confidence.OPEN),
    ),
    _admission(
        Reason.AUTH_REJECTED,
        "The WebSocket opened, then the server refused the login with an error that no rule of {profile} names.",
        _NAME_THE_ERROR + " Two refusals in a row stop it for {auth_retry}.",
        Alert.AUTH_FAILING,
        given=(SituationFact.UNKNOWN_ERROR,),
        fault=(Layer.LOGIN, Confidence.OPEN),
    ),
    _admission(
        Reason.AUTH_UNAVAILABLE,
        "The WebSocket opened, then the server answered with an error that no rule of {profile} names, and did not "
        "let us in.",
        _NAME_THE_ERROR,
        Alert.AUTH_UNAVAILABLE,
        given=(SituationFact.UNKNOWN_ERROR,),
    ),
    _admission(
        Reason.AUTH_REJECTED,
        "The WebSocket opened, then the server refused our {credential}: the login failed.",
        _CHECK_KEYS,
        Alert.AUTH_FAILING,
    ),
    _admission(
        Reason.AUTH_UNAVAILABLE,
        "The WebSocket opened, but the server could not check our {credential}: its auth service is down, slow, or cut "
        "off. The {credential} itself may be good.",
        _CHECK_AUTH_SERVICE,
        Alert.AUTH_UNAVAILABLE,
    ),
    _admission(
        Reason.RATE_LIMITED,
        "The WebSocket opened, then the server turned us away as too many{wait}. It may be our own doing, not an "
        "outage.",
        _SLOW_DOWN,
        Alert.RATE_LIMITED,
    ),
)

SILENCE_CAUSES: Final = (
    _admission(
        Reason.TIMEOUT,
        "The upgrade succeeded, and messages came before the deadline ({came}{fields}), but none of them is the "
        "welcome of this profile.",
        "Is {profile} right for this backend, and its `welcome.match`? Compare it with the first messages that a "
        "browser gets there.",
        given=(SituationFact.STRANGE,),
    ),
    _admission(
        Reason.TIMEOUT,
        "The upgrade succeeded, and the server speaks, but not {framing} ({came}): no welcome that we can read came "
        "before the deadline.",
        _COMPARE_MESSAGES,
        given=(SituationFact.UNREADABLE,),
    ),
    _admission(
        Reason.TIMEOUT,
        "The upgrade succeeded, and messages came before the deadline ({came}), but no welcome, no refusal and no "
        "close.",
        "Look for a start-up or readiness wait inside the backend's handshake, and for a hanging auth service; see "
        "whether other instances welcome.",
        given=(SituationFact.HEARD,),
    ),
    _admission(
        Reason.TIMEOUT,
        "The upgrade succeeded, then SILENCE: no message and no close before the deadline{deaf}, so nothing was said "
        "of the login either.",
        "Look for a start-up or readiness wait inside the backend's handshake and for a hanging "
        "auth service; if it never welcomed, compare {profile} and its subprotocols.",
        given=(SituationFact.MUTE,),
    ),
    _admission(
        Reason.TIMEOUT,
        "The upgrade succeeded, and parts of a message came, but no whole one before the deadline.",
        "Look for a proxy that holds frames back, and for a backend that hangs while it writes its welcome.",
    ),
    _admission(
        Reason.RESET,
        "The upgrade succeeded, then the connection was lost{heard} before the welcome, without a close frame.",
        "Read the backend's log at this second first: on many servers an exception in the handler ends a connection "
        "so. Then compare the age of its process; for everybody at once, look at the load balancer's upgrade settings.",
    ),
    _admission(
        Reason.PROTOCOL_ERROR,
        "The upgrade succeeded, then the server broke the WebSocket protocol before the welcome.",
        _LOOK_FOR_PROXY,
    ),
    _admission(
        Reason.TOO_BIG,
        "The upgrade succeeded, then the first message was larger than any welcome may be.",
        "See what the backend sends on connect: a replay of history, or another service's stream.",
    ),
    _admission(
        Reason.CLOSED,
        "The server was being stopped or recycled: it closed with {code} before it welcomed us.",
        _LOOK_FOR_RESTART,
        Alert.SERVER_RESTARTING,
        codes=RESTART_CODES,
    ),
    _admission(
        Reason.CLOSED,
        "The server turned us away as overloaded or not available for now: it closed with {code}, no welcome came.",
        _LOOK_AT_LOAD,
        Alert.SERVER_RESTARTING,
        codes=OVERLOAD_CODES,
    ),
    _admission(
        Reason.CLOSED,
        "The server closed{ended}{heard} before the welcome, and no rule of the profile knows why.",
        _ADD_CLOSE_RULE,
    ),
    _admission(
        Reason.SERVER_ERROR,
        "The upgrade succeeded, then the server closed with {code} before the welcome{unhandled}.",
        _READ_LOG,
        Alert.INTERNAL_ERROR_SPIKE,
        codes=(1011,),
    ),
    _admission(
        Reason.SERVER_ERROR,
        "The upgrade succeeded, then the server ended with an internal error{ended} before the welcome.",
        _READ_LOG,
        Alert.INTERNAL_ERROR_SPIKE,
    ),
    _admission(
        Reason.BAD_REPLY,
        "The upgrade succeeded, then an error came before the welcome that no rule of the profile knows.",
        "Read the backend's log at this second, and add a rule to `errors` of the profile.",
    ),
)

LOGIN_REFUSAL_CAUSES: Final = (
    _auth(
        Reason.AUTH_REJECTED,
        "{open}, then the server refused our login message with an error that no rule of {profile} names.",
        _NAME_THE_ERROR + " Two refusals in a row stop it for {auth_retry}.",
        Alert.AUTH_FAILING,
        given=(SituationFact.UNKNOWN_ERROR,),
        fault=(Layer.LOGIN, Confidence.OPEN),
    ),
    _auth(
        Reason.AUTH_UNAVAILABLE,
        "{open}, then the server answered our login message with an error that no rule of {profile} names.",
        _NAME_THE_ERROR,
        given=(SituationFact.UNKNOWN_ERROR,),
    ),
    _auth(
        Reason.AUTH_REJECTED,
        "{open}, then the server refused our login message, which had no token: the target has no `auth`.",
        TOKENLESS_CAUSE,
        Alert.AUTH_FAILING,
        given=(SituationFact.NO_CREDENTIAL,),
        fault=(Layer.CLIENT, Confidence.LIKELY),
    ),
    _auth(
        Reason.AUTH_REJECTED,
        "{open}, then the server refused the {credential} in our login message.",
        _CHECK_KEYS,
        Alert.AUTH_FAILING,
    ),
    _auth(
        Reason.AUTH_UNAVAILABLE,
        "{open}, but the server could not check the {credential} in our login message: its auth service is down or "
        "slow.",
        _CHECK_AUTH_SERVICE,
    ),
    _auth(
        Reason.RATE_LIMITED,
        "The server refused our login message as one too many{wait}.",
        _SLOW_DOWN,
        Alert.RATE_LIMITED,
    ),
)

LOGIN_CAUSES: Final = (
    _auth(
        Reason.TIMEOUT,
        "{open}, and messages came after our login message ({came}{fields}), but none is the answer to it.",
        "Compare `auth.match` of {profile} with what the backend answers; then look at the auth service's latency.",
        given=(SituationFact.STRANGE,),
    ),
    _auth(
        Reason.TIMEOUT,
        "{open}, and the server speaks, but not {framing} ({came}): no answer to our login message that we can read.",
        _COMPARE_MESSAGES,
        given=(SituationFact.UNREADABLE,),
    ),
    _auth(
        Reason.TIMEOUT,
        "{open}, but the server has sent no message at all, not even an answer to our login message.",
        _COMPARE_PROTOCOL + "at the auth service's latency.",
        given=(SituationFact.MUTE,),
    ),
    _auth(
        Reason.TIMEOUT,
        "Our login message got no answer before the deadline{besides}, though the connection is open.",
        "Look at the auth service's latency; see whether other identities get an answer.",
    ),
    _auth(
        Reason.RESET,
        "The connection was lost{heard} after our login message, without a close frame.",
        "Read the backend's log at this second first: a refusal that the profile does not know as an error (a rule in "
        "`errors`), an exception in the login, a process that died, and the network between look alike here.",
    ),
    _auth(
        Reason.SERVER_ERROR,
        "The server closed with {code} after our login message{login_broke}.",
        _READ_LOG,
        Alert.INTERNAL_ERROR_SPIKE,
        codes=(1011,),
    ),
    _auth(
        Reason.SERVER_ERROR,
        "The server answered our login message with an internal error.",
        _READ_LOG,
        Alert.INTERNAL_ERROR_SPIKE,
    ),
    _auth(
        Reason.CLOSED,
        "The server was being stopped or recycled: it closed with {code} instead of answering our login message.",
        _LOOK_FOR_RESTART,
        Alert.SERVER_RESTARTING,
        codes=RESTART_CODES,
    ),
    _auth(
        Reason.CLOSED,
        "The server closed{ended}{heard} instead of answering our login message, and no rule of the profile knows why.",
        _ADD_CLOSE_RULE,
    ),
    _auth(
        Reason.BAD_REPLY,
        "The answer to our login message is not the one that the profile expects, or an error that no rule knows.",
        "Compare `auth.expect`, `auth.keep` and `errors` of {profile} with what the backend answers now.",
    ),
    _auth(
        Reason.PROTOCOL_ERROR,
        "The server broke the WebSocket protocol when it was to answer our login message.",
        _LOOK_FOR_PROXY,
    ),
    _auth(
        Reason.TOO_BIG,
        "The answer to our login message is larger than any may be.",
        "See what the backend sends on login.",
    ),
)

REPLY_CAUSES: Final = (
    _reply(
        Reason.TIMEOUT,
        "{open}, and messages came ({came}{fields}), but none is the reply to our message, while the socket "
        "stays open.",
        "Compare `send.match` of {profile} with what the backend answers; if it fits, our message was dropped: the "
        "backend's log shows whether it arrived.",
        given=(SituationFact.STRANGE,),
    ),
    _reply(
        Reason.TIMEOUT,
        "{open}, and the server speaks, but not {framing} ({came}): no reply to our message that we can read.",
        _COMPARE_MESSAGES,
        given=(SituationFact.UNREADABLE,),
    ),
    _reply(
        Reason.TIMEOUT,
        "{open}, but our message got NO REPLY{besides}, and then our close got no answer either: nothing at the server "
        "reads this connection any more, while the socket stays open.",
        "Read the backend's log at this second for an exception in the handler of this connection: some servers leave "
        "the socket open when it ends. Check again: every time means that the process hangs, or a proxy holds frames.",
        given=(SituationFact.CLOSE_UNANSWERED,),
    ),
    _reply(
        Reason.TIMEOUT,
        "{open}, but the server has sent no message at all, not even a reply to ours, while the socket stays open.",
        _COMPARE_PROTOCOL + "see whether our message is in the backend's log.",
        given=(SituationFact.MUTE,),
    ),
    _reply(
        Reason.TIMEOUT,
        "{open}, but our message got NO REPLY{besides}, while the socket stays open{answered}: a zombie connection "
        "(its message loop has ended), a deaf one (its manager was evicted), or a router that drops the message.",
        "Check again: every time means all messages are lost, now and then a zombie after five bad messages. The "
        "backend's log shows whether our message arrived; protocol pings prove nothing.",
        given=(SituationFact.FACTORY,),
    ),
    _reply(
        Reason.TIMEOUT,
        "{open}, but our message got NO REPLY before the deadline{besides}, while the socket stays open{answered}.",
        "Check again: every time means that all messages are lost, now and then that single connections are. The "
        "backend's log shows whether our message arrived; protocol pings prove nothing.",
    ),
    _reply(
        Reason.RESET,
        "{open}, then the connection was lost{heard}{after} before our reply, without a close frame{alike}.",
        "Read the backend's log at this second first, then compare the age of its process with this moment; always at "
        "the same age: a proxy's timeout.",
    ),
    _reply(
        Reason.SERVER_ERROR,
        "{open}, then the server closed with {code} instead of replying{handling_broke}.",
        _READ_LOG,
        Alert.INTERNAL_ERROR_SPIKE,
        codes=(1011,),
    ),
    _reply(
        Reason.SERVER_ERROR,
        "{open}, then the server answered our message with an internal error.",
        _READ_LOG,
        Alert.INTERNAL_ERROR_SPIKE,
    ),
    _reply(
        Reason.CLOSED,
        "The server was being stopped or recycled: it closed with {code} before it replied.",
        _LOOK_FOR_RESTART,
        Alert.SERVER_RESTARTING,
        codes=RESTART_CODES,
    ),
    _reply(
        Reason.CLOSED,
        "The server gave us up as overloaded or not available for now: it closed with {code} instead of replying.",
        _LOOK_AT_LOAD,
        codes=OVERLOAD_CODES,
    ),
    _reply(
        Reason.CLOSED,
        "{open}, then the server closed{ended}{heard} instead of replying.",
        "Read the backend's log at this second.{close_hint}",
    ),
    _reply(
        Reason.BAD_REPLY,
        "Our message was answered, but wrongly: the reply is not the one that the profile expects, or an error.",
        "Compare `send.expect` and `send.keep` of {profile} with the reply; another user's name in it is a leak of "
        "data between users.",
    ),
    _reply(
        Reason.PROTOCOL_ERROR,
        "{open}, then the server broke the WebSocket protocol when it was to reply.",
        _LOOK_FOR_PROXY,
    ),
    _reply(
        Reason.TOO_BIG,
        "The reply is larger than any may be.",
        "See what the backend echoes, and what else it pushes to this user.",
    ),
    _reply(
        Reason.AUTH_REJECTED,
        "{open}, then the server refused our {credential}.",
        _CHECK_KEYS,
        Alert.AUTH_FAILING,
    ),
    _reply(
        Reason.AUTH_UNAVAILABLE,
        "{open}, then the server could not check our {credential}, which itself may be good.",
        _CHECK_AUTH_SERVICE,
        Alert.AUTH_UNAVAILABLE,
    ),
    _reply(
        Reason.RATE_LIMITED,
        "{open}, then our message was refused as one too many{wait}.",
        _SLOW_DOWN,
        Alert.RATE_LIMITED,
    ),
)

ANSWER_CAUSES: Final = (*REFUSAL_CAUSES, *LOGIN_REFUSAL_CAUSES)
"""Refusals in which the server itself says why: `CAUSES` has them before those of the factory."""

STREAM_CAUSES: Final = (
    Cause(
        "The WebSocket opened, then an HTTP answer (HTTP {stream_status}) came on it {instead}: the framework answered "
        "the request a second time.",
        Alert.SEND_FAILING,
        "Read the backend's log at this second: Flask-Sock answers an exception or a refused login so, gunicorn's sync "
        "worker its timeout, engine.io parameters that it does not know (EIO=4).",
        reason=Reason.PROTOCOL_ERROR,
        given=(SituationFact.HTTP_IN_STREAM,),
    ),
)

STOP_CAUSES: Final = (
    Cause(
        "The server closed with {code} {instead}.",
        Alert.SERVER_RESTARTING,
        "{event_steps}",
        reason=Reason.CLOSED,
        codes=RESTART_CODES,
        given=(SituationFact.NOT_ONLY_STOPPING,),
    ),
    Cause(
        "The server closed with {code}, as {program} does {events}; an application can close so itself.",
        Alert.SERVER_RESTARTING,
        _LOOK_FOR_RESTART + " If there was none, read the backend's log at this second.",
        reason=Reason.CLOSED,
        codes=(1000, 1005, 1011),
        given=(SituationFact.STOPPING,),
    ),
    Cause(
        "The connection was closed with {code}: by Caddy in front, if it was reloaded or stopped at this second, or by "
        "a server behind it that was stopped.",
        Alert.SERVER_RESTARTING,
        "Look at Caddy's log for a reload at this second (it closes every WebSocket then, if stream_close_delay is not "
        "set); then look for a deploy, a scale-in or worker recycling.",
        reason=Reason.CLOSED,
        codes=(1001,),
        given=(SituationFact.BEHIND_CADDY,),
        fault=(Layer.PROXY, Confidence.OPEN),
    ),
)
"""Codes that do not say by themselves that the server stops, or not of this server."""

SESSION_CAUSES: Final = (*STREAM_CAUSES, *STOP_CAUSES, *SILENCE_CAUSES, *LOGIN_CAUSES, *REPLY_CAUSES)
