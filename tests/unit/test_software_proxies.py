"""The table of proxies agrees with the cells that `make test` and `make layers` run against the real ones."""

import pytest
import yaml
from support.paths import DATA

from exporter.result import Layer
from exporter.software import PROXY_BEHAVIOURS, ProxyEvent

CELLS = yaml.safe_load((DATA / "layers/proxies.yml").read_text())
CASES = {
    ProxyEvent.BACKEND_REFUSES: ("plain", ["port closed"]),
    ProxyEvent.BACKEND_UNREACHABLE: ("plain", ["backlog full", "backlog full, and we wait"]),
    ProxyEvent.BACKEND_HANGS: ("plain", ["hangs"]),
    ProxyEvent.BACKEND_CUTS: ("plain", ["cuts"]),
    ProxyEvent.BACKEND_DIES: ("plain", ["dies"]),
    ProxyEvent.NO_UPGRADE: ("no upgrades", ["aiohttp", "uvicorn", "websockets"]),
    ProxyEvent.NO_ROUTE: ("plain", ["no route"]),
    ProxyEvent.HEAD_TOO_LARGE: ("plain", ["9 KB of header", "18 KB of header", "30 KB of header", "70 KB of header"]),
    ProxyEvent.INTERIM_ANSWER: ("plain", ["interim 103"]),
    ProxyEvent.INTERIM_AT_ONCE: ("plain", ["interim 103 and 101 at once"]),
}
ENDS = {
    ProxyEvent.RELOADED: "reloaded",
    ProxyEvent.STOPPED_GRACEFULLY: "stopped gracefully",
    ProxyEvent.STOPPED: "stopped",
    ProxyEvent.KILLED: "killed",
}
HTTP2 = {
    ProxyEvent.OTHER_PROTOCOL: "envoy > uvicorn",
    ProxyEvent.HTTP2_UPGRADE: "envoy > nginx",
    ProxyEvent.HTTP2_ACCEPT: "envoy > rfc8441",
}
"""Chains of the section `http/2 behind`, by event."""
SHORTENED = {("caddy", ProxyEvent.BACKEND_HANGS), ("lighttpd", ProxyEvent.IDLE)}
"""Cells in which a proxy that waits for ever by default was given a limit, or one of a minute was not shortened."""


def cells_of(row, setup):
    """The cells that a row is about."""
    if row.event in ENDS:
        cells = CELLS["ends"].get(row.proxy, {}).get(setup, {})
        return [cells[name] for name in [ENDS[row.event]] if name in cells]
    if row.event is ProxyEvent.IDLE:
        return list(CELLS["idle"].get(row.proxy, {}).get(setup, {}).values())
    if row.event in HTTP2:
        return list(CELLS["http/2 behind"][HTTP2[row.event]].values())
    own, names = CASES.get(row.event, ("plain", []))
    wanted = [own, "no upgrade header"] if own == "no upgrades" else [setup]
    setups = CELLS["one proxy"].get(row.proxy, {})
    return [setups[name][case] for name in wanted if name in setups for case in names if case in setups[name]]


def shows(row):
    """The words of `says` that a row promises."""
    if row.status == 101:
        return {"no_accept"}
    if row.status is not None:
        return {str(row.status)}
    if row.code is not None:
        return {str(row.code)}
    return {"reset"} if row.ending or row.tls_ending else {"timeout"}


RUN = [row for row in PROXY_BEHAVIOURS if row.seen and (row.proxy, row.event) not in SHORTENED]


@pytest.mark.parametrize("row", RUN, ids=lambda row: f"{row.proxy}-{row.event.name}-{row.status or row.code or ''}")
def test_a_row_is_a_cell_that_is_run(row):
    """Status or close code, and the way the connection ends without TLS and with it, are those of a cell."""
    plain, tls = cells_of(row, "plain"), cells_of(row, "tls")
    assert any(shows(row) <= set(cell["says"].split()) for cell in plain + tls), (row, plain + tls)
    for cells, ending in ((plain, row.ending), (tls, row.tls_ending)):
        assert ending is None or any(cell.get("ending") == ending for cell in cells), (row, cells)


def test_each_layer_is_a_word_of_the_list():
    """Layers of the cells are those that a diagnosis may name."""
    sections = [*CELLS["one proxy"].values(), *CELLS["ends"].values()]
    rows = [row for setups in sections for cells in setups.values() for row in cells.values()]
    rows += [
        row
        for part in ("idle", "messages", "http/2")
        for setups in CELLS[part].values()
        for cells in setups.values()
        for row in cells.values()
    ]
    rows += [row for part in ("chains", "http/2 behind") for cells in CELLS[part].values() for row in cells.values()]
    rows += CELLS["server killed"].values()
    assert {row["layer"] for row in rows if "layer" in row} <= set(Layer)
    assert all(("layer" in row) is not row["says"].startswith(("pass", "reply timeout")) for row in rows)
