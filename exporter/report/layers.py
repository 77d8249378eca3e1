"""The layer at fault, and how sure that is.

The first that knows: the row of causes that explains the result, if it names a layer; what the program that is known
here was seen to do (`programs`); the failure's phase and reason.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from exporter.report.programs import EVENT_MEANINGS, Match
from exporter.report.situation import FailureSituation
from exporter.result import Confidence, Layer, Phase, Reason


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The layer at fault. `match`: what the program that is known here was seen to do so; None: no table says it."""

    layer: Layer
    confidence: Confidence
    match: Match | None = None


# By phase and reason --------------------------------------------------------------------------------------------------

_LIKELY, _OPEN, _CERTAIN = Confidence.LIKELY, Confidence.OPEN, Confidence.CERTAIN

LAYERS_BY_REASON: Final[Mapping[tuple[Phase | None, Reason], tuple[Layer, Confidence]]] = {
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
    1012: (Layer.SERVER, _CERTAIN),
    1013: (Layer.SERVER, _LIKELY),
}
"""Close codes by which a server says itself that it stops (RFC 6455 section 7.4.1 and IANA's registry)."""


def diagnose(situation: FailureSituation, named: tuple[Layer, Confidence] | None) -> Diagnosis:
    """The layer at fault of a result that a row of causes explains. `named`: what that row says."""
    result = situation.result
    if named is not None:
        return Diagnosis(*named)
    if result.impairment is not None:
        return Diagnosis(Layer.CLIENT, _CERTAIN)
    if result.reason is None:
        return Diagnosis(Layer.FACTORY, _LIKELY)
    match = situation.match
    if match is not None:
        return _diagnosis_of(match, may_be_certain=_speaks_for_itself(situation))
    by_code = LAYERS_BY_CODE.get(situation.server_code or 0) if result.reason is Reason.CLOSED else None
    by_phase = by_code or LAYERS_BY_REASON.get((result.phase, result.reason))
    return Diagnosis(*(by_phase or LAYERS_BY_REASON.get((None, result.reason), (Layer.UNKNOWN, _OPEN))))


def _speaks_for_itself(situation: FailureSituation) -> bool:
    """Whether what was seen can only come from the program that is known: silence and a lost connection need not."""
    result, context = situation.result, situation.context
    if result.reason is Reason.TIMEOUT:
        return False
    alone = context.server is not None and not context.behind and not result.via
    return result.reason is not Reason.RESET or alone


def _diagnosis_of(match: Match, *, may_be_certain: bool) -> Diagnosis:
    """The layer of the events, certain if each is that layer's alone; of several layers the first event's, and open."""
    meanings = [EVENT_MEANINGS[event] for event in match.events]
    layers = {meaning.layer for meaning in meanings}
    if len(layers) > 1:
        return Diagnosis(meanings[0].layer, _OPEN, match)
    is_certain = may_be_certain and all(meaning.is_sure for meaning in meanings)
    return Diagnosis(meanings[0].layer, _CERTAIN if is_certain else _LIKELY, match)
