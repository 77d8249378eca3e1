"""Combinations that no cell ran: a diagnosis calls itself certain only if none of the programs can make it wrong."""

from dataclasses import replace

import pytest
from support import report_cases as cases

from exporter.report import explain
from exporter.report.programs import SERVER_MEANINGS
from exporter.result import Close, Confidence, Ending, Initiator, Layer, Phase, Reason, Software
from exporter.software import PROXY_BEHAVIOURS, SERVER_BEHAVIOURS, ProxyEvent, ServerEvent


def refused(status, by=None, reason=Reason.HTTP_STATUS, after=0.01, **known):
    """An upgrade that this program refused."""
    result = cases.failed(Phase.UPGRADE, reason, "fail/fail/fail", http_status=status, answered_by=by, **known)
    return replace(result, credential_sent=True, refused_after=sum(result.phases.values()) + after)


def ended(reason, code, after=0.01, **known):
    """A session that the server closed, or lost, before the reply."""
    close = Close(code, Initiator.NONE if reason is Reason.RESET else Initiator.REMOTE, Phase.REPLY)
    result = cases.failed(Phase.REPLY, reason, "pass/pass/fail", close=close, **known)
    return replace(result, refused_after=sum(result.phases.values()) + after)


def layer(result, **settings):
    """The layer at fault, and how sure that is."""
    said = explain(result, cases.context("echo", **settings))
    return said.layer, said.confidence


CUTS = {(row.proxy, row.status) for row in PROXY_BEHAVIOURS if row.event is ProxyEvent.BACKEND_CUTS and row.status}
NO_ANSWERS = {
    (row.server, SERVER_MEANINGS[row.event].layer)
    for row in SERVER_BEHAVIOURS
    if row.status is None and row.code is None and row.ending is not None
}
"""Servers that end the connection instead of an answer, and whose affair that is."""


@pytest.mark.parametrize(("proxy", "status"), sorted(CUTS))
def test_a_proxy_whose_backend_cut_is_not_certain_of_the_server(proxy, status):
    """Some servers cut the connection for a wrong path, or for what their application raises before it accepts."""
    assert {affair for _, affair in NO_ANSWERS} >= {Layer.APPLICATION, Layer.CLIENT}
    for server in {server for server, _ in NO_ANSWERS}:
        _, how = layer(refused(status, proxy), behind=[proxy.value], server=server.value)
        assert how is not Confidence.CERTAIN


@pytest.mark.parametrize("server", ["vertx", "granian"])
def test_a_proxy_that_waits_in_vain_is_not_certain_of_the_server(server):
    """Vert.x never answers if a handler throws; any application may wait before it accepts."""
    assert layer(refused(504, Software.NGINX, after=60), behind=["nginx"], server=server)[1] is not Confidence.CERTAIN


CHAINS = [
    (504, "nginx", ["nginx", "caddy"], Layer.SERVER),
    (504, "haproxy", ["haproxy", "nginx"], Layer.SERVER),
    (502, "nginx", ["nginx", "varnish"], Layer.SERVER),
    (502, "nginx", ["nginx", "haproxy"], Layer.PROXY),
]


@pytest.mark.parametrize(("status", "proxy", "behind", "expected"), CHAINS)
def test_a_proxy_in_front_of_another_is_not_certain_of_it(status, proxy, behind, expected):
    """The next one may only be waiting, or pass an end on; one that was refused had nobody listen there."""
    said, how = layer(refused(status, Software(proxy)), behind=behind)
    assert (said, how is Confidence.CERTAIN) == (expected, False)

    refused_port = refused(503, Software.HAPROXY, after=3.5)
    assert layer(refused_port, behind=["haproxy", "nginx"]) == (Layer.PROXY, Confidence.CERTAIN)


DOUBTFUL = {
    "Envoy's filter of logins": (refused(403, Software.ENVOY, Reason.AUTH_REJECTED), {"behind": ["envoy"]}),
    "an Origin that Tornado does not take": (refused(403, Software.TORNADO), {"server": "tornado"}),
    "502 of a balancer without a name": (refused(502), {"server": "vertx"}),
    "an application that closes with 1000": (ended(Reason.CLOSED, 1000), {"server": "vertx"}),
    "an exception after three seconds": (
        ended(Reason.SERVER_ERROR, 1011, after=3.5, answered_by=Software.HYPERCORN),
        {"server": "hypercorn"},
    ),
    "a frame that a proxy broke": (ended(Reason.CLOSED, 1002), {"server": "uvicorn", "behind": ["nginx"]}),
    "text that a proxy broke": (ended(Reason.CLOSED, 1007), {"server": "uvicorn"}),
    "a balancer that cuts": (ended(Reason.RESET, 1006, ending=Ending.FIN), {"server": "websockets"}),
}


@pytest.mark.parametrize("name", DOUBTFUL)
def test_what_another_party_can_do_as_well_is_not_certain(name):
    """Codes and statuses that an application, a proxy without a name or a filter sends as well."""
    result, settings = DOUBTFUL[name]
    assert layer(result, **settings)[1] is not Confidence.CERTAIN


def test_a_time_to_wait_on_a_proxys_own_page_is_not_taken_for_our_ban():
    """Varnish's page for a backend that is down has Retry-After: 5."""
    result = refused(503, Software.VARNISH, Reason.RATE_LIMITED, retry_after=5.0)
    assert layer(result, behind=["varnish"]) == (Layer.SERVER, Confidence.OPEN)
    assert "varnish itself refused" in explain(result).sentence


def test_a_servers_stop_is_certain_only_by_its_own_code():
    """1012 says so by itself."""
    assert ServerEvent.STOPPED in SERVER_MEANINGS
    assert layer(ended(Reason.CLOSED, 1012), server="uvicorn") == (Layer.SERVER, Confidence.CERTAIN)
