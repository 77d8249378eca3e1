"""The layer at fault: every event of a program has its meaning, and every cell that was run its layer."""

from dataclasses import replace

import pytest
from support import report_cases as cases
from support.layer_labels import judged, matrix, proxy_cells, server_cells

from exporter.classify import LEGAL_FAILURES
from exporter.report.layers import Diagnosis, diagnose
from exporter.report.programs import PROXY_MEANINGS, SERVER_MEANINGS
from exporter.report.situation import FailureSituation
from exporter.result import Confidence, Layer, Phase, Reason, Software
from exporter.software import ProxyEvent, ServerEvent

LEAST_CERTAIN = 0.9
"""The share of the decidable cells whose layer must be right and certain, if the config says what stands there."""


def test_every_event_has_its_meaning():
    """What proxies and servers were seen to do belongs to a layer, and has a next step."""
    assert list(map(set, (PROXY_MEANINGS, SERVER_MEANINGS))) == [set(ProxyEvent), set(ServerEvent)]
    meanings = (*PROXY_MEANINGS.values(), *SERVER_MEANINGS.values())
    assert all(meaning.next_step.endswith(".") for meaning in meanings)


@pytest.mark.parametrize("cells", [server_cells, proxy_cells])
@pytest.mark.parametrize("configured", [True, False], ids=["configured", "by the evidence alone"])
def test_no_cell_is_certain_and_wrong(cells, configured):
    """Whatever a real program did, a diagnosis that calls itself certain names the layer that was at fault."""
    judgements = list(judged(cells(configured=configured)))
    print("\n".join(["", f"{cells.__name__}, configured: {configured}; certain ones in brackets", *matrix(judgements)]))

    wrong = [cell.name for cell, layer, how, _ in judgements if how is Confidence.CERTAIN and layer is not cell.layer]
    assert wrong == []


@pytest.mark.parametrize("cells", [server_cells, proxy_cells])
def test_what_can_be_decided_is(cells):
    """Where nothing else looks the same, the layer is right and certain, if the config says what stands there."""
    decidable = [row for row in judged(cells(configured=True)) if row[3]]
    right = [cell for cell, layer, how, _ in decidable if layer is cell.layer and how is Confidence.CERTAIN]
    print(f"{cells.__name__}: {len(right)} of {len(decidable)} decidable cells are right and certain")

    assert len(right) >= LEAST_CERTAIN * len(decidable) > 0


BEFORE = {
    Reason.DNS: (Layer.NETWORK, Confidence.LIKELY),
    Reason.UNREACHABLE: (Layer.NETWORK, Confidence.LIKELY),
    Reason.REFUSED: (Layer.SERVER, Confidence.LIKELY),
    Reason.TIMEOUT: (Layer.SERVER, Confidence.LIKELY),
    Reason.RESET: (Layer.SERVER, Confidence.OPEN),
    Reason.TLS_CERTIFICATE: (Layer.TLS, Confidence.LIKELY),
    Reason.TLS_HANDSHAKE: (Layer.TLS, Confidence.LIKELY),
    Reason.HTTP_STATUS: (Layer.UNKNOWN, Confidence.OPEN),
    Reason.REDIRECT: (Layer.CLIENT, Confidence.LIKELY),
    Reason.AUTH_REJECTED: (Layer.LOGIN, Confidence.LIKELY),
    Reason.AUTH_UNAVAILABLE: (Layer.LOGIN, Confidence.LIKELY),
    Reason.RATE_LIMITED: (Layer.CLIENT, Confidence.LIKELY),
    Reason.BAD_REPLY: (Layer.APPLICATION, Confidence.LIKELY),
    Reason.TOO_BIG: (Layer.APPLICATION, Confidence.LIKELY),
}


@pytest.mark.parametrize("reason", sorted(LEGAL_FAILURES[Phase.BEFORE]))
def test_every_reason_of_a_request_before_the_upgrade_has_its_layer(reason):
    """A silence there is the server's, not the application's; a 401 may be a proxy's, so it is not certain."""
    result = replace(cases.PASSED, phase=Phase.BEFORE, reason=reason, close=None)

    assert diagnose(FailureSituation(result), None) == Diagnosis(*BEFORE[reason])


@pytest.mark.parametrize("phase", [Phase.BEFORE, Phase.RESOLVE, Phase.TCP, Phase.TLS])
@pytest.mark.parametrize("server", [Software.UVICORN, Software.DAPHNE])
def test_a_known_server_did_nothing_to_a_websocket_that_was_not_tried(phase, server):
    """A silence ahead of the upgrade, perhaps of another host, is not the application that hangs on a message."""
    result = replace(cases.PASSED, phase=phase, reason=Reason.TIMEOUT, close=None, phases={})
    situation = FailureSituation(result, replace(cases.STAGING, server=server))

    assert situation.match is None
    assert diagnose(situation, None).layer is not Layer.APPLICATION
