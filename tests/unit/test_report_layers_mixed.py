"""Combinations that no cell ran: a diagnosis calls itself certain only if none of the programs can make it wrong."""

from dataclasses import replace

import pytest
from support import report_cases as cases

from exporter.report import explain
from exporter.report.programs import SERVER_MEANINGS
from exporter.result import (
    Close,
    Confidence,
    Direction,
    Ending,
    Frame,
    Initiator,
    Layer,
    Opcode,
    Phase,
    Reason,
    Software,
    TlsVerify,
)
from exporter.software import PROXY_BEHAVIOURS, SERVER_BEHAVIOURS, ProxyEvent, ServerEvent


def refused(status, by=None, reason=Reason.HTTP_STATUS, after=0.01, **known):
    """An upgrade that this program refused."""
    result = cases.failed(Phase.UPGRADE, reason, "fail/fail/fail", http_status=status, answered_by=by, **known)
    return replace(result, credential_sent=True, refused_after=sum(result.phases.values()) + after)


def ended(reason, code, after=0.01, verdicts="pass/pass/fail", **known):
    """A session that the server closed, or lost, before the reply."""
    close = Close(code, Initiator.NONE if reason is Reason.RESET else Initiator.REMOTE, Phase.REPLY)
    result = cases.failed(Phase.REPLY, reason, verdicts, close=close, **known)
    return replace(result, refused_after=sum(result.phases.values()) + after)


def certificate(verify):
    """A certificate that is refused for this."""
    return cases.failed(Phase.TLS, Reason.TLS_CERTIFICATE, "fail/fail/fail", tls_verify=verify)


def unknown_error():
    """An error frame without a word, which the login answered."""
    frame = Frame(0.1, Direction.IN, Opcode.TEXT, 20, "error")
    return cases.failed(Phase.ADMISSION, Reason.AUTH_REJECTED, "pass/fail/fail", transcript=(frame,))


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
    "an upgrade that may be refused by its application": (refused(426, by=Software.WEBSOCKETS), {"behind": ["nginx"]}),
    "the same by HTTP's version": (refused(505, via=(Software.NGINX,)), {}),
    "a credential that a proxy may have dropped": (
        refused(401, Software.UVICORN, Reason.AUTH_REJECTED),
        {"behind": ["nginx"], "auth": cases.SIGNED},
    ),
    "the login of a proxy": (refused(401, Software.NGINX, Reason.AUTH_REJECTED), {"server": "uvicorn"}),
    "a login in front, whose service is down": (refused(500), {"server": "uvicorn", "behind": ["traefik"]}),
    "a port behind Apache that drops packets": (refused(503, Software.APACHE, after=1.1), {"behind": ["apache"]}),
    "a port behind HAProxy that drops packets": (refused(503, Software.HAPROXY, after=20.0), {"behind": ["haproxy"]}),
    "an application's own code": (ended(Reason.CLOSED, 4001), {"server": "uvicorn"}),
    "a close without a code": (ended(Reason.CLOSED, 1005), {"server": "ws"}),
    "a name that our URL has wrong": (certificate(TlsVerify.WRONG_NAME), {}),
    "an authority that our ca_file lacks": (certificate(TlsVerify.UNKNOWN_ISSUER), {}),
    "a host that no router knows": (cases.failed(Phase.TCP, Reason.UNREACHABLE, "fail/fail/fail"), {}),
    "an error that no rule of the profile knows": (unknown_error(), {}),
    "a wrong path of Django Channels": (refused(500, Software.UVICORN), {"server": "uvicorn"}),
    "a 500 that lacks the name of its server": (refused(500), {"server": "aiohttp"}),
    "a login that its application refuses by a close": (
        ended(Reason.CLOSED, 1000, verdicts="pass/-/fail"),
        {"server": "aiohttp"},
    ),
    "a frame that a proxy broke, at Tomcat": (ended(Reason.CLOSED, 1002), {"server": "tomcat"}),
    "a keepalive that a proxy lost": (ended(Reason.SERVER_ERROR, 1011, after=40.5), {"server": "websockets"}),
    "a code of what gunicorn runs": (ended(Reason.SERVER_ERROR, 1011), {"server": "gunicorn"}),
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


LOST_TOKEN = cases.failed(Phase.ADMISSION, Reason.AUTH_REJECTED, "pass/fail/fail", no_token=True, credential_sent=True)


def test_a_token_that_was_sent_and_never_arrived_is_the_fault_of_what_is_in_between():
    """The server says that none came: the keys are not to blame."""
    assert layer(LOST_TOKEN) == (Layer.PROXY, Confidence.LIKELY)


STATUSES_OF_CLOUDFLARE = {520: Layer.SERVER, 522: Layer.NETWORK, 525: Layer.TLS, 530: Layer.PROXY}


@pytest.mark.parametrize(("status", "expected"), STATUSES_OF_CLOUDFLARE.items())
def test_the_statuses_of_cloudflare_name_what_it_met(status, expected):
    """Only if it is Cloudflare that answered: another program may use them for anything."""
    assert layer(refused(status, Software.CLOUDFLARE)) == (expected, Confidence.LIKELY)
    assert layer(refused(status)) == (expected, Confidence.OPEN)


EDGES = [
    ("nginx", Ending.TLS_CUT, Layer.PROXY),
    ("haproxy", Ending.TLS_CUT, Layer.PROXY),
    ("nginx", Ending.CLOSE_NOTIFY, Layer.APPLICATION),
    ("envoy", Ending.CLOSE_NOTIFY, Layer.APPLICATION),
    ("apache", Ending.TLS_CUT, Layer.APPLICATION),
    ("nginx", Ending.FIN, Layer.APPLICATION),
]


@pytest.mark.parametrize(("proxy", "ending", "expected"), EDGES)
def test_the_end_of_tls_tells_a_stopped_proxy_from_a_lost_backend(proxy, ending, expected):
    """A killed nginx cannot announce the end of TLS, which it does for a lost backend; Apache never does."""
    result = ended(Reason.RESET, 1006, ending=ending, answered_by=Software.UVICORN)
    assert layer(result, behind=[proxy, "varnish"], server="uvicorn")[0] is expected
    assert layer(result, server="uvicorn")[0] is Layer.APPLICATION


@pytest.mark.parametrize(("status", "expected"), [(500, Layer.APPLICATION), (401, Layer.LOGIN), (400, Layer.CLIENT)])
def test_an_http_answer_in_the_stream_tells_by_its_status(status, expected):
    """Flask-Sock answers an exception and a refused login so, engine.io what it does not know in the URL."""
    result = cases.failed(Phase.REPLY, Reason.PROTOCOL_ERROR, "pass/-/fail", stream_status=status)
    assert layer(result)[0] is expected
    assert f"HTTP {status}" in explain(result).sentence


def test_an_exception_after_a_timeout_of_five_seconds_is_no_stop():
    """Hypercorn stops after three: what a database's timeout raises in the application is not taken for a deploy."""
    result = ended(Reason.SERVER_ERROR, 1011, after=5.0, answered_by=Software.HYPERCORN)
    assert layer(result, server="hypercorn") == (Layer.APPLICATION, Confidence.OPEN)
