"""What a cell of tests/data/layers_servers.yml says, as a row of exporter/software."""

from exporter.result import Software
from exporter.software import ServerEvent
from support.layer_cells import SERVER_CELLS

EVENTS = {
    "raises-before": ServerEvent.RAISES_BEFORE_ACCEPT,
    "returns-before": ServerEvent.RETURNS_BEFORE_ACCEPT,
    "refuses": ServerEvent.REFUSES_LOGIN,
    "raises-after": ServerEvent.RAISES_AFTER_ACCEPT,
    "raises-401-after": ServerEvent.REFUSES_AFTER_ACCEPT,
    "raises-on-message": ServerEvent.RAISES_ON_MESSAGE,
    "returns-after": ServerEvent.RETURNS,
    "returns-on-message": ServerEvent.RETURNS,
    "closes-1008": ServerEvent.CLOSES_1008,
    "foreign-subprotocol": ServerEvent.FOREIGN_SUBPROTOCOL,
    "nowhere": ServerEvent.WRONG_PATH,
    "ready": ServerEvent.NO_WEBSOCKET,
    "deaf": ServerEvent.HANGS,
    "too-big": ServerEvent.TOO_BIG,
    "stopped": ServerEvent.STOPPED,
    "killed": ServerEvent.KILLED,
    "recycled": ServerEvent.RECYCLED,
    "worker-killed": ServerEvent.WORKER_KILLED,
    "no-pongs": ServerEvent.NO_PONGS,
    "quiet": ServerEvent.IDLE,
}
"""Those that the server decides. What passes through each server, such as a 4401, needs no row."""


def rows_of(name):
    """(software, event, status, code, after, answers_close, is_http) of each cell of a server that has an event."""
    server = SERVER_CELLS[name]
    by_default = server.get("by_default", {})
    return {
        (Software(server.get("library", server["software"])), EVENTS[case], *_seen(case, row, by_default))
        for case, row in server["cases"].items()
        if case in EVENTS and _tells(row)
    }


def _tells(row):
    """Whether the server decides: it may pass on what its application wants."""
    _, failure, _, close, *_ = row
    return close != "1008 remote" and failure != "upgrade bad_handshake"


def _seen(case, row, by_default):
    _, failure, status, close, _, after, _ = row
    waits, after = (failure or "").endswith("timeout"), by_default.get(case, after)
    code = int(close.split()[0]) if close and close != "any" and not close.endswith("local") and not waits else None
    if after == "never":
        code, after = None, None
    answers = close != "1006 none" if case == "deaf" else None
    return status, code, after and tuple(after), answers, (failure or "").endswith("protocol_error")
