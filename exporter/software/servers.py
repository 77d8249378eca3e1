"""How servers end a connection: what a client sees of each event at each server."""

from dataclasses import dataclass
from typing import Final

from exporter.result import Ending, Software
from exporter.software.other_servers import OTHER_SERVERS
from exporter.software.outcomes import ServerEvent, Table, closed, lost, refused
from exporter.software.python_servers import PYTHON_SERVERS


@dataclass(frozen=True, slots=True)
class ServerBehaviour:
    """One cell, of a server with its own settings.

    status: HTTP status of the refused upgrade, or in the stream; None: the WebSocket opened, or there was no answer
    code: close code of the server; 1006: the connection ended without a close frame; None: it stays open, or never was
    after: the least and the most seconds until that, since the client's last bytes; None: at once
    ending: how the transport ended; without status and code: in place of an answer; None: it varies, or stays open
    answers_close: whether the client's close is answered meanwhile; None: no matter, or not noted
    is_http: whether an HTTP answer comes in the stream of the open WebSocket
    version: of the server, and of what it runs on
    seen: the day of the last run; None: not run, and so never used in a diagnosis
    """

    server: Software
    event: ServerEvent
    version: str
    seen: str | None
    status: int | None = None
    code: int | None = None
    after: tuple[float, float] | None = None
    ending: Ending | None = None
    answers_close: bool | None = None
    is_http: bool = False


_BY_HAND: Final[Table] = {
    (Software.ROBYN, "Robyn 0.88.0"): {ServerEvent.STOPPED: lost(Ending.FIN, (30, 31))},
    (Software.SOCKETIO, "socket.io 4.8.4"): {ServerEvent.NO_PONGS: closed(1005, (45, 46))},
    (Software.GRAPHQL_WS, "graphql-ws 6.4.2"): {
        ServerEvent.STOPPED: closed(1001),
        ServerEvent.NO_PONGS: lost(Ending.FIN, (24, 25)),
    },
    (Software.VERTX, "Vert.x 5.0.7"): {ServerEvent.WRONG_PATH: refused(400)},
    (Software.ACTIX, "actix-ws 0.4.0"): {
        ServerEvent.RAISES_ON_MESSAGE: lost(Ending.FIN, (0.4, 1)),
        ServerEvent.RETURNS: lost(Ending.FIN, (0.4, 1)),
        ServerEvent.STOPPED: lost(Ending.FIN, (30, 31)),
    },
}
"""The same of servers that no cell runs: seen once, by a client of raw sockets."""

SERVER_BEHAVIOURS: Final = tuple(
    ServerBehaviour(server, event, version, seen, *outcome)
    for seen, table in (("2026-11-30", {**PYTHON_SERVERS, **OTHER_SERVERS}), ("2026-11-29", _BY_HAND))
    for (server, version), outcomes in table.items()
    for event, outcome in outcomes.items()
)


def is_stop(server: Software | None, code: int, waited_seconds: float | None) -> bool:
    """Whether this server was seen to close with this code, so late after the client's last bytes, when it stops.

    Later it is more likely an exception, such as a timeout of five or ten seconds behind the application.
    """
    return waited_seconds is not None and any(
        row.server is server
        and row.event in (ServerEvent.STOPPED, ServerEvent.RECYCLED)
        and row.code == code
        and row.after is not None
        and 0 < EARLIEST_FRACTION * row.after[0] <= waited_seconds <= LATEST_FRACTION * row.after[1]
        for row in SERVER_BEHAVIOURS
    )


EARLIEST_FRACTION: Final = 0.8
"""The fraction of a row's shortest time that must have passed: timers of servers are coarse."""

LATEST_FRACTION: Final = 1.2
"""The fraction of a row's longest time after which it is another event's."""
