"""Every event of every server, alone and behind proxies that hide it: what is certain of it is right.

No run made these combinations: each is put together from what the server was seen to do and from what the proxy was.
"""

from dataclasses import replace

import pytest
from support import report_cases as cases

from exporter.report import explain
from exporter.report.programs import SERVER_MEANINGS
from exporter.result import Close, Confidence, Ending, Initiator, Layer, Phase, Reason, Software
from exporter.software import GATEWAY_STATUSES, PROXY_BEHAVIOURS, SERVER_BEHAVIOURS, ProxyEvent, ServerEvent

AFFAIRS = {event: meaning.layer for event, meaning in SERVER_MEANINGS.items()} | {
    ServerEvent.NO_PONGS: Layer.CLIENT,
    ServerEvent.CLOSES_1008: Layer.LOGIN,
}
"""Whose affair an event is; pings that get no pong are lost on the way or at the client."""

PROXIES = {
    None: (),
    Software.HAPROXY: (),  # passes an answer on as it is
    Software.NGINX: (Software.NGINX,),  # puts its name in the place of the server's
    Software.TRAEFIK: (),  # answers by itself in a way that none can tell
}
"""A proxy, or none, and what the answers that it passed on name of it."""

SECONDS = 0.01
OUR_CLOSE = Close(1000, Initiator.LOCAL, Phase.CLOSE)


def failed(phase, reason, after, verdicts="pass/-/fail", **known):
    result = cases.failed(phase, reason, verdicts, credential_sent=True, **known)
    return replace(result, refused_after=sum(result.phases.values()) + after)


def refused(after, status, **known):
    reason = Reason.AUTH_REJECTED if status == 401 else Reason.HTTP_STATUS
    return failed(Phase.UPGRADE, reason, after, "fail/-/fail", http_status=status, **known)


def own_answers(proxy, event, after):
    """What a client gets of a proxy that meets this behind it."""
    for row in PROXY_BEHAVIOURS:
        if (row.proxy, row.event) == (proxy, event) and row.status is not None:
            yield refused(after, row.status, answered_by=proxy)


def without_code(row, proxy, after, known):
    """A server that ended the connection instead of an answer, gave none, or stays open."""
    if row.ending is not None:
        cut = failed(Phase.UPGRADE, Reason.RESET, after, "fail/-/fail", ending=row.ending)
        yield from (cut,) if proxy is None else own_answers(proxy, ProxyEvent.BACKEND_CUTS, after)
    elif row.event is ServerEvent.RAISES_BEFORE_ACCEPT:
        silent = failed(Phase.UPGRADE, Reason.TIMEOUT, 9.0, "fail/-/fail")
        yield from (silent,) if proxy is None else own_answers(proxy, ProxyEvent.BACKEND_HANGS, 60.0)
    else:
        yield failed(Phase.REPLY, Reason.TIMEOUT, 9.0, close=OUR_CLOSE, **known)


def closed(row, after, known):
    """A close frame, or its lack, which a proxy passes on with an end of its own."""
    initiator = Initiator.NONE if row.code == 1006 else Initiator.REMOTE
    stops = row.event in (ServerEvent.STOPPED, ServerEvent.RECYCLED)
    reason = Reason.SERVER_ERROR if row.code == 1011 and not stops else Reason.CLOSED
    ending = row.ending if row.code != 1006 else row.ending or Ending.FIN
    for phase, verdicts in ((Phase.ADMISSION, "pass/fail/fail"), (Phase.REPLY, "pass/-/fail")):
        known = {**known, "ending": ending, "close": Close(row.code, initiator, phase)}
        yield failed(phase, Reason.RESET if row.code == 1006 else reason, after, verdicts, **known)


def sessions(row, proxy):
    """What one session sees of the event, where the answer names its server and where it does not."""
    after = row.after[0] if row.after and row.after[0] else SECONDS
    for by in {row.server, None}:
        known = {"answered_by": None if PROXIES[proxy] else by, "via": PROXIES[proxy]}
        if row.is_http:
            yield failed(Phase.REPLY, Reason.PROTOCOL_ERROR, after, stream_status=row.status, **known)
        elif row.status is not None:
            hidden = {"answered_by": Software.BACKEND} if proxy and PROXIES[proxy] else {}
            yield refused(after, row.status, **known | ({} if row.status in GATEWAY_STATUSES else hidden))
        elif row.code is not None:
            yield from closed(row, after, known)
        else:
            yield from without_code(row, proxy, after, known)


@pytest.mark.parametrize("proxy", PROXIES, ids=str)
def test_what_is_certain_of_a_server_is_right(proxy):
    """Whether or not the config knows the server, or what runs it."""
    behind = [] if proxy is None else [proxy.value]
    hosts = {Software.UVICORN: "gunicorn", Software.FLASK_SOCK: "gunicorn"}
    wrong = {
        (row.server, row.event.name, row.version, result.answered_by, server)
        for row in SERVER_BEHAVIOURS
        for result in sessions(row, proxy)
        for server in {row.server.value, hosts.get(row.server)}
        for said in [explain(result, cases.context("echo", server=server, behind=behind))]
        if said.confidence is Confidence.CERTAIN and said.layer is not AFFAIRS[row.event]
    }
    assert wrong == set()
