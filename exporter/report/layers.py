"""The layer at fault, and how sure that is.

The first that knows: the row of causes that explains the result, if it names a layer; what the program that is known
here was seen to do (`programs`); the failure's phase and reason.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from websockets.frames import CloseCode

from exporter.report.programs import Match, meaning_of
from exporter.report.situation import STOPPING_EVENTS, FailureSituation
from exporter.result import PROXIES, Confidence, Layer, Phase, Reason, Software
from exporter.software import GATEWAY_STATUSES, ProxyEvent


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
    (Phase.BEFORE, Reason.TLS_CERTIFICATE): (Layer.TLS, _CERTAIN),
    (Phase.BEFORE, Reason.TLS_HANDSHAKE): (Layer.TLS, _LIKELY),
    (Phase.BEFORE, Reason.AUTH_REJECTED): (Layer.LOGIN, _LIKELY),
    (Phase.BEFORE, Reason.HTTP_STATUS): (Layer.UNKNOWN, _OPEN),
    (Phase.BEFORE, Reason.REDIRECT): (Layer.CLIENT, _LIKELY),
    (Phase.BEFORE, Reason.BAD_REPLY): (Layer.APPLICATION, _LIKELY),
    (Phase.BEFORE, Reason.TOO_BIG): (Layer.APPLICATION, _LIKELY),
    (Phase.RESOLVE, Reason.DNS): (Layer.NETWORK, _LIKELY),
    (Phase.RESOLVE, Reason.TIMEOUT): (Layer.NETWORK, _LIKELY),
    (Phase.TCP, Reason.REFUSED): (Layer.SERVER, _LIKELY),
    (Phase.TCP, Reason.UNREACHABLE): (Layer.NETWORK, _CERTAIN),
    (Phase.TCP, Reason.TIMEOUT): (Layer.NETWORK, _LIKELY),
    (Phase.TCP, Reason.RESET): (Layer.NETWORK, _OPEN),
    (Phase.TLS, Reason.TLS_CERTIFICATE): (Layer.TLS, _CERTAIN),
    (Phase.TLS, Reason.TLS_HANDSHAKE): (Layer.TLS, _LIKELY),
    (Phase.TLS, Reason.TIMEOUT): (Layer.TLS, _OPEN),
    (Phase.TLS, Reason.RESET): (Layer.TLS, _OPEN),
    (Phase.UPGRADE, Reason.AUTH_REJECTED): (Layer.LOGIN, _LIKELY),
    (Phase.UPGRADE, Reason.HTTP_STATUS): (Layer.UNKNOWN, _OPEN),
    (Phase.UPGRADE, Reason.REDIRECT): (Layer.CLIENT, _LIKELY),
    (Phase.UPGRADE, Reason.BAD_HANDSHAKE): (Layer.UNKNOWN, _OPEN),
    (Phase.UPGRADE, Reason.RESET): (Layer.SERVER, _OPEN),
    (Phase.UPGRADE, Reason.TIMEOUT): (Layer.SERVER, _LIKELY),
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
    3003: (Layer.LOGIN, _CERTAIN),
    4401: (Layer.LOGIN, _CERTAIN),
    4403: (Layer.LOGIN, _LIKELY),
}
"""Close codes that name the layer: RFC 6455 section 7.4.1, IANA's registry, and the custom of 44xx for the
HTTP statuses of a refused login. The application at a known server can send them too; few do."""


LIBRARY_CODES: Final = frozenset({1002, 1003, 1006, 1007, 1010, 1014})
"""Close codes of a WebSocket library that is sent what it does not take, perhaps by a proxy, and those of gateways."""


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
        return Diagnosis(Layer.LOGIN, _CERTAIN)
    match = situation.match
    if match is not None:
        return _behind_another(situation, match) or _diagnosis_of(match, may_be_certain=_speaks_for_itself(situation))
    return Diagnosis(*_by_close(situation) or _by_phase(result.phase, result.reason))


def _by_close(situation: FailureSituation) -> tuple[Layer, Confidence] | None:
    """What the server's close code says; one that a known server never sends by itself is its application's."""
    close_code, reason = situation.server_code, situation.result.reason
    if close_code in (None, *LIBRARY_CODES) or reason not in (Reason.CLOSED, Reason.SERVER_ERROR):
        return None
    by_code = LAYERS_BY_CODE.get(close_code or 0)
    return by_code or (None if situation.server is None else (Layer.APPLICATION, _CERTAIN))


def _by_phase(phase: Phase | None, reason: Reason) -> tuple[Layer, Confidence]:
    by_phase = LAYERS_BY_REASON.get((phase, reason))
    return by_phase or LAYERS_BY_REASON.get((None, reason), (Layer.UNKNOWN, _OPEN))


BACKEND_EVENTS: Final = frozenset(
    {ProxyEvent.BACKEND_REFUSES, ProxyEvent.BACKEND_HANGS, ProxyEvent.BACKEND_CUTS, ProxyEvent.BACKEND_DIES}
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
        return Diagnosis(Layer.PROXY, _CERTAIN, match)
    return None if TUNNELS.intersection(following) else Diagnosis(Layer.PROXY, _LIKELY, match)


def _speaks_for_itself(situation: FailureSituation) -> bool:
    """Whether what was seen can only come from the program that is known: silence and a lost connection need not.

    What a proxy finds behind it may be another proxy, if the config does not say.
    """
    result, context = situation.result, situation.context
    events = set() if situation.match is None else set(situation.match.events)
    if result.http_status is not None and result.answered_by in PROXIES:
        says_login = result.http_status == HTTPStatus.FORBIDDEN  # of a filter, or of an auth service that it asks
        return not says_login and (result.answered_by in context.behind or BACKEND_EVENTS.isdisjoint(events))
    if result.reason in (Reason.TIMEOUT, Reason.RESET):
        return False
    if events & STOPPING_EVENTS:
        return situation.server_code == CloseCode.SERVICE_RESTART  # an application can send the other codes itself
    return result.http_status not in GATEWAY_STATUSES


def _diagnosis_of(match: Match, *, may_be_certain: bool) -> Diagnosis:
    """The layer of the events, certain if each is that layer's alone; of several layers the first event's, and open."""
    meanings = [meaning_of(event) for event in match.events]
    layers = {meaning.layer for meaning in meanings}
    if len(layers) > 1:
        return Diagnosis(meanings[0].layer, _OPEN, match)
    is_certain = may_be_certain and all(meaning.is_sure for meaning in meanings)
    return Diagnosis(meanings[0].layer, _CERTAIN if is_certain else _LIKELY, match)
