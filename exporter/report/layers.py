"""The layer at fault, and how sure that is.

The first that knows: the row of causes that explains the result, if it names a layer; what the program that is known
here was seen to do (`programs`); the failure's phase and reason.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from websockets.frames import CloseCode

from exporter.report.programs import MAX_REFUSAL_SECONDS, ROWS, Event, Match, meaning_of, waited_seconds
from exporter.report.situation import STOPPING_EVENTS, FailureSituation, SituationFact, fact_holds
from exporter.result import PROXIES, SERVERS, Confidence, Layer, Phase, Reason, Software, TlsVerify
from exporter.software import (
    GATEWAY_STATUSES,
    PROXY_BEHAVIOURS,
    SERVER_BEHAVIOURS,
    SIGNED_REFUSALS,
    ProxyEvent,
    ServerEvent,
)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The layer at fault. `match`: what the program that is known here was seen to do so; None: no table says it."""

    layer: Layer
    confidence: Confidence
    match: Match | None = None


# By phase and reason --------------------------------------------------------------------------------------------------

_LIKELY, _OPEN, _CERTAIN = Confidence.LIKELY, Confidence.OPEN, Confidence.CERTAIN

LAYERS_BY_REASON: Final[Mapping[tuple[Phase | None, Reason], tuple[Layer, Confidence]]] = {
    (Phase.BEFORE, Reason.DNS): (Layer.NETWORK, _LIKELY),
    (Phase.BEFORE, Reason.UNREACHABLE): (Layer.NETWORK, _LIKELY),
    (Phase.BEFORE, Reason.REFUSED): (Layer.SERVER, _LIKELY),
    (Phase.BEFORE, Reason.TIMEOUT): (Layer.SERVER, _LIKELY),
    (Phase.BEFORE, Reason.RESET): (Layer.SERVER, _OPEN),
    (Phase.BEFORE, Reason.TLS_CERTIFICATE): (Layer.TLS, _LIKELY),
    (Phase.BEFORE, Reason.TLS_HANDSHAKE): (Layer.TLS, _LIKELY),
    (Phase.BEFORE, Reason.AUTH_REJECTED): (Layer.LOGIN, _LIKELY),
    (Phase.BEFORE, Reason.HTTP_STATUS): (Layer.UNKNOWN, _OPEN),
    (Phase.BEFORE, Reason.REDIRECT): (Layer.CLIENT, _LIKELY),
    (Phase.BEFORE, Reason.BAD_REPLY): (Layer.APPLICATION, _LIKELY),
    (Phase.BEFORE, Reason.TOO_BIG): (Layer.APPLICATION, _LIKELY),
    (Phase.RESOLVE, Reason.DNS): (Layer.NETWORK, _LIKELY),
    (Phase.RESOLVE, Reason.TIMEOUT): (Layer.NETWORK, _LIKELY),
    (Phase.TCP, Reason.REFUSED): (Layer.SERVER, _LIKELY),
    (Phase.TCP, Reason.UNREACHABLE): (Layer.NETWORK, _LIKELY),
    (Phase.TCP, Reason.TIMEOUT): (Layer.NETWORK, _LIKELY),
    (Phase.TCP, Reason.RESET): (Layer.NETWORK, _OPEN),
    (Phase.TLS, Reason.TLS_CERTIFICATE): (Layer.TLS, _LIKELY),
    (Phase.TLS, Reason.TLS_HANDSHAKE): (Layer.TLS, _LIKELY),
    (Phase.TLS, Reason.TIMEOUT): (Layer.TLS, _OPEN),
    (Phase.TLS, Reason.RESET): (Layer.TLS, _OPEN),
    (Phase.UPGRADE, Reason.AUTH_REJECTED): (Layer.LOGIN, _LIKELY),
    (Phase.UPGRADE, Reason.HTTP_STATUS): (Layer.UNKNOWN, _OPEN),
    (Phase.UPGRADE, Reason.REDIRECT): (Layer.CLIENT, _LIKELY),
    (Phase.UPGRADE, Reason.BAD_HANDSHAKE): (Layer.UNKNOWN, _OPEN),
    (Phase.UPGRADE, Reason.RESET): (Layer.SERVER, _OPEN),
    (Phase.UPGRADE, Reason.TIMEOUT): (Layer.SERVER, _LIKELY),
    (Phase.AUTH, Reason.CLOSED): (Layer.LOGIN, _OPEN),
    (Phase.AUTH, Reason.TIMEOUT): (Layer.LOGIN, _OPEN),
    (None, Reason.AUTH_REJECTED): (Layer.LOGIN, _CERTAIN),
    (None, Reason.AUTH_UNAVAILABLE): (Layer.LOGIN, _LIKELY),
    (None, Reason.RATE_LIMITED): (Layer.CLIENT, _LIKELY),
    (None, Reason.FACTORY): (Layer.FACTORY, _LIKELY),
    (None, Reason.SERVER_ERROR): (Layer.APPLICATION, _LIKELY),
    (None, Reason.CLOSED): (Layer.APPLICATION, _OPEN),
    (None, Reason.BAD_REPLY): (Layer.APPLICATION, _LIKELY),
    (None, Reason.PROTOCOL_ERROR): (Layer.UNKNOWN, _OPEN),
    (None, Reason.TOO_BIG): (Layer.APPLICATION, _LIKELY),
    (None, Reason.TIMEOUT): (Layer.APPLICATION, _OPEN),
    (None, Reason.RESET): (Layer.APPLICATION, _OPEN),
}
"""Where no row of causes and no table of a program says more; None: any other phase."""


LAYERS_BY_CODE: Final[Mapping[int, tuple[Layer, Confidence]]] = {
    1001: (Layer.SERVER, _LIKELY),
    1008: (Layer.LOGIN, _OPEN),
    1009: (Layer.SERVER, _CERTAIN),
    1012: (Layer.SERVER, _CERTAIN),
    1013: (Layer.SERVER, _LIKELY),
    3000: (Layer.LOGIN, _CERTAIN),
    3003: (Layer.LOGIN, _LIKELY),
    4401: (Layer.LOGIN, _CERTAIN),
    4403: (Layer.LOGIN, _LIKELY),
    4406: (Layer.CLIENT, _LIKELY),
    4429: (Layer.CLIENT, _LIKELY),
    4500: (Layer.APPLICATION, _LIKELY),
}
"""Close codes that name the layer: RFC 6455 section 7.4.1, IANA's registry, and the custom of 44xx and 45xx for
HTTP statuses. The application at a known server can send them too; few do."""


DATED_CERTIFICATES: Final = frozenset({TlsVerify.EXPIRED, TlsVerify.WRONG_PURPOSE, TlsVerify.WEAK})
"""What is wrong with a certificate whatever our configuration says; of others our name, clock or `ca_file` may be."""


LAYERS_BY_STREAM_STATUS: Final[Mapping[int, tuple[Layer, Confidence]]] = {
    400: (Layer.CLIENT, _LIKELY),
    401: (Layer.LOGIN, _LIKELY),
    403: (Layer.LOGIN, _LIKELY),
    500: (Layer.APPLICATION, _LIKELY),
}
"""By the status of an HTTP answer in the stream of the open WebSocket, where no program is known."""


LIBRARY_CODES: Final = frozenset({1002, 1003, 1006, 1007, 1010, 1014})
"""Close codes of a WebSocket library that is sent what it does not take, perhaps by a proxy, and those of gateways."""


NORMAL_CODES: Final = frozenset({1000, 1005})
"""Of a close that says nothing: that of a handler which returned, or an application's own."""


def diagnose(situation: FailureSituation, named: tuple[Layer, Confidence] | None) -> Diagnosis:
    """The layer at fault of a result that a row of causes explains. `named`: what that row says."""
    result = situation.result
    if named is not None:
        return Diagnosis(*named)
    if result.impairment is not None:
        return Diagnosis(Layer.CLIENT, _CERTAIN)
    if result.reason is None:
        return Diagnosis(Layer.FACTORY, _LIKELY)
    if result.reason is Reason.FACTORY and result.rule is not None:
        return Diagnosis(Layer.FACTORY, _CERTAIN)  # the server said so itself
    if result.http_status == HTTPStatus.UNAUTHORIZED:
        return Diagnosis(Layer.LOGIN, _CERTAIN if _is_servers_login(situation) else _LIKELY)
    if result.tls_verify in DATED_CERTIFICATES:
        return Diagnosis(Layer.TLS, _CERTAIN)
    match = situation.match
    if match is not None:
        return _behind_another(situation, match) or _diagnosis_of(match, may_be_certain=_speaks_for_itself(situation))
    by_stream = LAYERS_BY_STREAM_STATUS.get(result.stream_status or 0)
    return Diagnosis(*by_stream or _by_close(situation) or _by_phase(result.phase, result.reason))


def _is_servers_login(situation: FailureSituation) -> bool:
    """Whether a 401 is the server's own word on our credential: no proxy's, and none is known that may have dropped it.

    Proxies take headers off a request, not the query or a subprotocol.
    """
    result, context = situation.result, situation.context
    in_front = result.via or context.behind
    may_be_dropped = bool(in_front) and (context.carrier or "").startswith("the header")
    return result.phase is Phase.UPGRADE and result.answered_by not in PROXIES and not may_be_dropped


def _by_close(situation: FailureSituation) -> tuple[Layer, Confidence] | None:
    """What the server's close code says; one that a known server never sends by itself is its application's.

    Only 1011 says that it broke: with another code, one of its own too, an application may refuse a login.
    """
    close_code, result = situation.server_code, situation.result
    if close_code in (None, *LIBRARY_CODES) or result.reason not in (Reason.CLOSED, Reason.SERVER_ERROR):
        return None
    by_code = LAYERS_BY_CODE.get(close_code or 0)
    if by_code is not None or situation.server is None or result.phase is Phase.AUTH:
        return by_code
    is_sure = close_code == CloseCode.INTERNAL_ERROR and situation.server in ROWS
    return Layer.APPLICATION, _CERTAIN if is_sure else _LIKELY


def _by_phase(phase: Phase | None, reason: Reason) -> tuple[Layer, Confidence]:
    by_phase = LAYERS_BY_REASON.get((phase, reason))
    return by_phase or LAYERS_BY_REASON.get((None, reason), (Layer.UNKNOWN, _OPEN))


BACKEND_EVENTS: Final = frozenset(
    {
        ProxyEvent.BACKEND_REFUSES,
        ProxyEvent.BACKEND_UNREACHABLE,
        ProxyEvent.BACKEND_HANGS,
        ProxyEvent.BACKEND_CUTS,
        ProxyEvent.BACKEND_DIES,
    }
)


TUNNELS: Final = frozenset({Software.VARNISH, Software.STUNNEL})
"""Proxies that pass an end of the backend's connection on, as an end of their own."""


def _behind_another(situation: FailureSituation, match: Match) -> Diagnosis | None:
    """The next proxy, if the one that found nothing behind it is not the last in front of the server.

    One that is waited for in vain waits for the server itself. One that cuts may forward TCP: it is never certain.
    """
    events, following = set(match.events), situation.proxies_behind(match.software)
    if not following or ProxyEvent.BACKEND_HANGS in events or not BACKEND_EVENTS.issuperset(events):
        return None
    if events == {ProxyEvent.BACKEND_REFUSES}:
        return Diagnosis(Layer.PROXY, _CERTAIN if _is_prompt(situation) else _LIKELY, match)
    return None if TUNNELS.intersection(following) else Diagnosis(Layer.PROXY, _LIKELY, match)


REFUSAL_SECONDS: Final[Mapping[Software, float]] = {
    row.proxy: row.after[1] if row.after else MAX_REFUSAL_SECONDS
    for row in PROXY_BEHAVIOURS
    if row.event is ProxyEvent.BACKEND_REFUSES
}
"""By proxy. Later it has waited for an address that does not answer: a firewall or a dead host, and no closed port."""


def _is_prompt(situation: FailureSituation) -> bool:
    """Whether the proxy answered as soon as it does when nothing listens behind it."""
    waited = waited_seconds(situation.result)
    most = REFUSAL_SECONDS.get(situation.result.answered_by or Software.BACKEND, MAX_REFUSAL_SECONDS)
    return waited is not None and waited <= most


LIMIT_CODES: Final = frozenset((row.server, row.code) for row in SERVER_BEHAVIOURS if row.event is ServerEvent.TOO_BIG)
"""By which a server ends a session whose message is too large; some end so what their application raises, too."""


NAMELESS_PROXIES: Final = frozenset({Software.TRAEFIK, Software.CLOUDFLARE, Software.CLOUDFRONT, Software.GFE})
"""Proxies that answer some requests themselves in a way that no fingerprint tells from a server's."""


def _speaks_for_itself(situation: FailureSituation) -> bool:
    """Whether what was seen can only come from the program that is known: silence and a lost connection need not."""
    result, match = situation.result, situation.match
    events = frozenset(() if match is None else match.events)
    if result.http_status is not None:
        by_proxy = result.answered_by in PROXIES
        return _is_proxys_word(situation, events) if by_proxy else _is_servers_word(situation)
    if result.reason in (Reason.TIMEOUT, Reason.RESET) or (situation.server, situation.server_code) in LIMIT_CODES:
        return False
    if events & STOPPING_EVENTS:
        return situation.server_code == CloseCode.SERVICE_RESTART  # an application can send the other codes itself
    if situation.server_code in NORMAL_CODES:
        return fact_holds(SituationFact.LET_IN, situation)  # an application may refuse a login so
    return situation.server_code not in LIBRARY_CODES


def _is_proxys_word(situation: FailureSituation, events: frozenset[Event]) -> bool:
    """Whether a proxy's own answer leaves no doubt. A 403 is that of a filter, or of an auth service that it asks.

    What a proxy finds behind it may be another proxy, if the config does not say.
    """
    if situation.result.http_status == HTTPStatus.FORBIDDEN:
        return False
    if BACKEND_EVENTS.isdisjoint(events):
        return True
    is_last = situation.result.answered_by in situation.context.behind
    return is_last and (ProxyEvent.BACKEND_REFUSES not in events or _is_prompt(situation))


def _is_servers_word(situation: FailureSituation) -> bool:
    """Whether no proxy can have made the answer itself."""
    result = situation.result
    if result.http_status in GATEWAY_STATUSES or result.answered_by in SERVERS:
        return result.http_status not in GATEWAY_STATUSES
    may_be_proxys = NAMELESS_PROXIES.intersection((*result.via, *situation.context.behind))
    lacks_its_name = situation.server in SIGNED_REFUSALS and not result.via
    return not may_be_proxys and not lacks_its_name


def _diagnosis_of(match: Match, *, may_be_certain: bool) -> Diagnosis:
    """The layer of the events, certain if each is that layer's alone; of several layers the first event's, and open."""
    meanings = [meaning_of(event) for event in match.events]
    layers = {meaning.layer for meaning in meanings}
    if len(layers) > 1:
        return Diagnosis(meanings[0].layer, _OPEN, match)
    is_certain = may_be_certain and all(meaning.is_sure for meaning in meanings)
    return Diagnosis(meanings[0].layer, _CERTAIN if is_certain else _LIKELY, match)
