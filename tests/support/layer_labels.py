"""Every cell that was run on a real proxy or server, as the result of a session beside its true layer."""

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from itertools import product

import yaml

from exporter.report import TargetContext, explain
from exporter.report.programs import MAX_REFUSAL_SECONDS, waited_seconds
from exporter.result import (
    PROXIES,
    Close,
    Confidence,
    Ending,
    Handshake,
    Initiator,
    Layer,
    Phase,
    Probe,
    Reason,
    Result,
    Software,
    Verdict,
)
from exporter.software import GATEWAY_STATUSES, PROXY_BEHAVIOURS, ProxyEvent
from support import report_cases as cases
from support.layer_cells import SERVER_CELLS
from support.paths import DATA

PROXY_CELLS = yaml.safe_load((DATA / "layers/proxies.yml").read_text())


@dataclass(frozen=True)
class LabelledCell:
    """What one session saw of one event, what its config may say, and whose fault it was."""

    name: str
    result: Result
    context: TargetContext
    layer: Layer

    def evidence(self):
        """What a diagnosis can look at; cells of the same evidence and different layers are undecidable."""
        result, close = self.result, self.result.close
        waited = (result.refused_after or 0.0) - sum(result.phases.values())
        return (
            result.phase,
            result.reason,
            result.http_status,
            result.stream_status,
            close and (close.code, close.initiator),
            result.answered_by,
            bool(result.via),
            result.interim_status,
            result.handshake,
            waited >= 1.0,
            self.context.server,
        )

    @property
    def doubt(self):
        """Why another layer can look the same, though no cell shows it; None: no reason is known."""
        return next((why for why, fits in DOUBTS.items() if fits(self.result)), None)


CUT_OR_HUNG = {
    (row.proxy, row.status)
    for row in PROXY_BEHAVIOURS
    if row.event in (ProxyEvent.BACKEND_CUTS, ProxyEvent.BACKEND_HANGS) and row.status is not None
} | set(product(PROXIES, (502, 504)))
"""Statuses by which a proxy says that its backend ended the connection, or did not answer."""

DOUBTS = {
    "silence: our profile may speak another protocol than the server": lambda result: result.reason is Reason.TIMEOUT,
    "a lost connection: a proxy, a kill and an exception all end in FIN, behind an interim answer too": lambda result: (
        result.reason is Reason.RESET
    ),
    "503 of HAProxy at once: no route, or a server that its health checks have marked down": lambda result: (
        result.answered_by is Software.HAPROXY and result.http_status == 503
    ),
    "a path: wrong in our URL, in a proxy's routes or in the application": lambda result: (
        result.http_status in (200, 404, 405, 410)
    ),
    "403: a refused login, a path or Origin, an exception (granian, Litestar) or a proxy's own filter": lambda result: (
        result.http_status == 403
    ),
    "a backend that cuts or hangs: its process, or an exception, a path or a wait ahead of the accept": lambda result: (
        (result.answered_by, result.http_status) in CUT_OR_HUNG
    ),
    "an address that takes no connection: a firewall, a dead host, or a process that hangs": lambda result: (
        result.http_status in GATEWAY_STATUSES and (waited_seconds(result) or 0.0) > MAX_REFUSAL_SECONDS
    ),
    "400: a proxy that drops the upgrade, or terms or a head that the server does not take": lambda result: (
        result.http_status == 400
    ),
    "502 to 504 of an unknown author: a proxy with a page of its own, or an application": lambda result: (
        result.http_status in (502, 503, 504) and result.answered_by not in PROXIES
    ),
    "a head too large: our token, or the limit": lambda result: result.http_status in (413, 414, 431),
    "426 or 505: a proxy that drops the upgrade, or terms that the application does not take": lambda result: (
        result.http_status in (426, 505)
    ),
    "101 without an accept: a proxy that speaks HTTP/2 with the backend, or the backend's library": lambda result: (
        result.handshake is Handshake.NO_ACCEPT
    ),
    "1000 or 1005: a handler that returned, or an application that refuses a login": lambda result: (
        result.close is not None and result.close.initiator is Initiator.REMOTE and result.close.code in (1000, 1005)
    ),
    "1002: what a proxy broke on the way, or what its library does with an exception": lambda result: (
        result.close is not None and result.close.initiator is Initiator.REMOTE and result.close.code == 1002
    ),
    "1008: a refused login, or another rule that was broken": lambda result: (
        result.close is not None and result.close.code == 1008
    ),
}


def _failed(failure, *, status, close, ending, after, by=None, via=(), interim=None):
    phase_word, reason_word, *rest = failure.split()
    phase, reason = Phase(phase_word), Reason(reason_word)
    phases = {p: 0.001 for p in (Phase.RESOLVE, Phase.TCP, Phase.UPGRADE) if p is not phase}
    lost = reason in (Reason.RESET, Reason.HTTP_STATUS, Reason.AUTH_REJECTED, Reason.CLOSED, Reason.SERVER_ERROR)
    if close and close.startswith("1000 local"):
        phases[Phase.CLOSE] = 0.001
    shut = None
    if close and close != "any":
        code, initiator = close.split()
        open_close = Phase.CLOSE if (reason is Reason.TIMEOUT) else phase
        shut = Close(int(code), Initiator(initiator), open_close)
    waited = 0.01 if after is None or after[0] == 0 else sum(after) / 2
    before = sum(phases.values()) - phases.get(Phase.CLOSE, 0.0)
    return replace(
        cases.PASSED,
        verdicts={Probe.CONNECT: Verdict.FAIL, Probe.AUTH: Verdict.FAIL, Probe.SEND: Verdict.FAIL},
        phase=phase,
        reason=reason,
        phases=phases,
        http_status=status,
        retry_after=5.0 if reason is Reason.RATE_LIMITED else None,
        close=shut,
        ending=None if ending in (None, "any") else Ending(ending),
        handshake=Handshake(rest[0]) if reason is Reason.BAD_HANDSHAKE and rest else None,
        refused_after=before + waited if lost else None,
        answered_by=by and Software(by),
        via=tuple(map(Software, via)),
        interim_status=interim,
        credential_sent=True,
        transcript=(),
        passed_over={},
    )


def server_cells(*, configured):
    """The cells of servers; `configured`: the target names its server."""
    for name, server in SERVER_CELLS.items():
        software = Software(server.get("library", server["software"]))
        context = cases.context("echo", **({"server": software.value} if configured else {}))
        for case, (_, failure, status, close, ending, after, layer) in server["cases"].items():
            if failure is None or layer is None:
                continue
            in_stream = failure.endswith("protocol_error")
            is_open = status is None or in_stream
            named = (101 if is_open else "refusals") in server["names"] and failure != "upgrade reset"
            by = server["software"] if named else None
            breach = " subprotocol_not_offered" if failure == "upgrade bad_handshake" else ""
            result = _failed(failure + breach, status=status, close=close, ending=ending, after=after, by=by)
            if in_stream:
                result = replace(result, http_status=None, stream_status=status)
            yield LabelledCell(f"{name}, {case}", result, context, Layer(layer))


def proxy_cells(*, configured):
    """The cells of proxies; `configured`: the target names those that stand in front of its server."""
    rows = [
        (name, f"{name} {setup}", case, row)
        for name, setups in PROXY_CELLS["one proxy"].items()
        for setup, cells in setups.items()
        for case, row in cells.items()
    ]
    rows += [(chain, chain, case, row) for chain, cells in PROXY_CELLS["chains"].items() for case, row in cells.items()]
    rows += [
        (names.partition(",")[0], names, case, row)
        for names, cells in PROXY_CELLS["http/2 behind"].items()
        for case, row in cells.items()
    ]
    for names, title, case, row in rows:
        says = row["says"]
        if says.startswith("pass") or "layer" not in row:
            continue
        words = says.split()
        status = (
            int(words[2]) if len(words) > 2 and words[1] in ("http_status", "auth_rejected", "rate_limited") else None
        )
        close = " ".join(words[2:4]) if words[0] != "upgrade" and len(words) >= 4 else None
        failure = " ".join(words[:3] if words[1] == "bad_handshake" else words[:2])
        result = _failed(
            failure,
            status=status,
            close=close,
            ending=row.get("ending"),
            after=row.get("after"),
            by=row.get("by"),
            via=row.get("via", ()),
            interim=row.get("interim"),
        )
        behind = [part for part in names.split(" > ") if part in set(PROXIES)] if configured else []
        yield LabelledCell(f"{title}, {case}", result, cases.context("echo", behind=behind), Layer(row["layer"]))


def judged(cells):
    """(cell, layer, confidence, whether the evidence decides) for each."""
    cells = list(cells)
    layers = defaultdict(set)
    for cell in cells:
        layers[cell.evidence()].add(cell.layer)
    for cell in cells:
        said = explain(cell.result, cell.context)
        yield cell, said.layer, said.confidence, len(layers[cell.evidence()]) == 1 and cell.doubt is None


def matrix(judgements):
    """Lines of a table: true layer × the layer that was said, with how many of them were certain."""
    counts = Counter((cell.layer, said) for cell, said, _, _ in judgements)
    sure = Counter((cell.layer, said) for cell, said, how, _ in judgements if how is Confidence.CERTAIN)
    columns = sorted({said for _, said in counts})
    yield f"{'true':<12}" + "".join(f"{said:>16}" for said in columns)
    for true in sorted({true for true, _ in counts}):
        row = [f"{counts[true, said]} ({sure[true, said]})" if counts[true, said] else "." for said in columns]
        yield f"{true:<12}" + "".join(f"{text:>16}" for text in row)
