"""How servers end a connection: what a client sees of each event at each server."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from exporter.result import Ending, Software


class ServerEvent(StrEnum):
    """What happens at a server while a client connects or is connected."""

    RAISES_BEFORE_ACCEPT = "its application raises before it accepts"
    RETURNS_BEFORE_ACCEPT = "its application returns before it accepts"
    RAISES_AFTER_ACCEPT = "its application raises after it accepted"
    RAISES_ON_MESSAGE = "its application raises on a message"
    RETURNS = "its application returns without closing"
    REFUSES_LOGIN = "its application refuses the login before it accepts, with a status of the server"
    REFUSES_AFTER_ACCEPT = "its application refuses the login by an exception of its framework after it accepted"
    CLOSES_1008 = "its application closes with 1008"
    FOREIGN_SUBPROTOCOL = "its application chooses a subprotocol that was not offered"
    WRONG_PATH = "nothing serves the path"
    NO_WEBSOCKET = "a page serves the path, and no WebSocket"
    STOPPED = "it is stopped"
    RECYCLED = "its worker is recycled"
    KILLED = "its first process is killed"
    WORKER_KILLED = "its worker is killed, and the first process lives"
    TOO_BIG = "a message is larger than it takes"
    NO_PONGS = "the client answers no ping"
    HANGS = "its application hangs on a message"


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


class _Outcome(NamedTuple):
    """What a client sees: the fields of `ServerBehaviour` by their order."""

    status: int | None = None
    code: int | None = None
    after: tuple[float, float] | None = None
    ending: Ending | None = None
    answers_close: bool | None = None
    is_http: bool = False


def _refused(status: int, after: tuple[float, float] | None = None) -> _Outcome:
    return _Outcome(status=status, after=after)


def _closed(code: int, after: tuple[float, float] | None = None) -> _Outcome:
    return _Outcome(code=code, after=after)


def _lost(ending: Ending | None, after: tuple[float, float] | None = None) -> _Outcome:
    return _Outcome(code=1006, ending=ending, after=after)


def _in_stream(status: int) -> _Outcome:
    return _Outcome(status=status, is_http=True)


def _no_answer(ending: Ending | None, after: tuple[float, float] | None = None) -> _Outcome:
    return _Outcome(ending=ending, after=after)


_OPEN: Final = _Outcome()
_FIN: Final = _lost(Ending.FIN)
_RESET: Final = _lost(Ending.RESET)
_LOST: Final = _lost(None)
"""FIN, or a reset if our message had not been read."""
_NO_ANSWER: Final = _no_answer(Ending.FIN)
_HANGS_ANSWERS: Final = _Outcome(answers_close=True)
_HANGS_DEAF: Final = _Outcome(answers_close=False)

_OWNS_CONNECTION: Final = {
    ServerEvent.RAISES_BEFORE_ACCEPT: _NO_ANSWER,
    ServerEvent.REFUSES_LOGIN: _refused(403),
    ServerEvent.RAISES_AFTER_ACCEPT: _LOST,
    ServerEvent.RAISES_ON_MESSAGE: _FIN,
    ServerEvent.RETURNS: _LOST,
    ServerEvent.WRONG_PATH: _refused(404),
    ServerEvent.NO_WEBSOCKET: _refused(200),
    ServerEvent.HANGS: _HANGS_DEAF,
    ServerEvent.TOO_BIG: _closed(1009),
    ServerEvent.STOPPED: _FIN,
    ServerEvent.KILLED: _FIN,
}
"""Of a library whose handler has the connection for itself: a panic in it, or its return, ends that alone."""

_RUN: Final[Mapping[tuple[Software, str], Mapping[ServerEvent, _Outcome]]] = {
    (Software.UVICORN, "uvicorn 0.54.0, websockets 17.4"): {
        ServerEvent.RAISES_BEFORE_ACCEPT: _refused(500),
        ServerEvent.RETURNS_BEFORE_ACCEPT: _refused(500),
        ServerEvent.REFUSES_LOGIN: _refused(403),
        ServerEvent.RAISES_AFTER_ACCEPT: _LOST,
        ServerEvent.RAISES_ON_MESSAGE: _FIN,
        ServerEvent.RETURNS: _LOST,
        ServerEvent.HANGS: _HANGS_ANSWERS,
        ServerEvent.TOO_BIG: _closed(1009),
        ServerEvent.STOPPED: _closed(1012),
        ServerEvent.KILLED: _FIN,
        ServerEvent.RECYCLED: _closed(1012),
        ServerEvent.WORKER_KILLED: _FIN,
        ServerEvent.NO_PONGS: _closed(1011, (40, 41)),
    },
    (Software.UVICORN, "uvicorn 0.54.0, wsproto 1.3.2"): {
        ServerEvent.FOREIGN_SUBPROTOCOL: _NO_ANSWER,
    },
    (Software.HYPERCORN, "hypercorn 0.18.0"): {
        ServerEvent.RAISES_BEFORE_ACCEPT: _refused(500),
        ServerEvent.RETURNS_BEFORE_ACCEPT: _refused(500),
        ServerEvent.REFUSES_LOGIN: _refused(403),
        ServerEvent.RAISES_AFTER_ACCEPT: _closed(1011),
        ServerEvent.RAISES_ON_MESSAGE: _closed(1011),
        ServerEvent.RETURNS: _closed(1011),
        ServerEvent.FOREIGN_SUBPROTOCOL: _NO_ANSWER,
        ServerEvent.HANGS: _HANGS_ANSWERS,
        ServerEvent.TOO_BIG: _closed(1009),
        ServerEvent.STOPPED: _closed(1011, (3, 4)),
        ServerEvent.KILLED: _OPEN,
        ServerEvent.RECYCLED: _closed(1011, (3, 4)),
        ServerEvent.WORKER_KILLED: _FIN,
    },
    (Software.DAPHNE, "daphne 4.2.3, autobahn 26.10.2"): {
        ServerEvent.RAISES_BEFORE_ACCEPT: _refused(500, (0, 1)),
        ServerEvent.RETURNS_BEFORE_ACCEPT: _no_answer(Ending.RESET, (4, 5)),
        ServerEvent.REFUSES_LOGIN: _refused(403),
        ServerEvent.RAISES_AFTER_ACCEPT: _closed(1011, (0, 1)),
        ServerEvent.RAISES_ON_MESSAGE: _closed(1011, (0, 1)),
        ServerEvent.RETURNS: _OPEN,
        ServerEvent.CLOSES_1008: _closed(1011, (0, 1)),
        ServerEvent.FOREIGN_SUBPROTOCOL: _no_answer(Ending.RESET, (4, 5)),
        ServerEvent.HANGS: _HANGS_ANSWERS,
        ServerEvent.TOO_BIG: _RESET,
        ServerEvent.STOPPED: _FIN,
        ServerEvent.KILLED: _FIN,
        ServerEvent.NO_PONGS: _lost(None, (50, 52)),
    },
    (Software.GRANIAN, "granian 2.8.9"): {
        ServerEvent.RAISES_BEFORE_ACCEPT: _refused(403),
        ServerEvent.RETURNS_BEFORE_ACCEPT: _refused(403),
        ServerEvent.REFUSES_LOGIN: _refused(403),
        ServerEvent.RAISES_AFTER_ACCEPT: _closed(1005),
        ServerEvent.RAISES_ON_MESSAGE: _closed(1005),
        ServerEvent.RETURNS: _closed(1005),
        ServerEvent.HANGS: _HANGS_DEAF,
        ServerEvent.STOPPED: _FIN,
        ServerEvent.KILLED: _OPEN,
        ServerEvent.WORKER_KILLED: _FIN,
    },
    (Software.AIOHTTP, "aiohttp 3.14.5"): {
        ServerEvent.RAISES_BEFORE_ACCEPT: _refused(500),
        ServerEvent.REFUSES_LOGIN: _refused(403),
        ServerEvent.RAISES_AFTER_ACCEPT: _LOST,
        ServerEvent.RAISES_ON_MESSAGE: _FIN,
        ServerEvent.RETURNS: _closed(1000),
        ServerEvent.WRONG_PATH: _refused(404),
        ServerEvent.NO_WEBSOCKET: _refused(200),
        ServerEvent.HANGS: _HANGS_DEAF,
        ServerEvent.TOO_BIG: _closed(1009),
        ServerEvent.STOPPED: _lost(Ending.FIN, (120, 121.5)),
        ServerEvent.KILLED: _FIN,
        ServerEvent.NO_PONGS: _OPEN,
    },
    (Software.WEBSOCKETS, "websockets 17.4"): {
        ServerEvent.RAISES_BEFORE_ACCEPT: _refused(500),
        ServerEvent.REFUSES_LOGIN: _refused(403),
        ServerEvent.RAISES_AFTER_ACCEPT: _closed(1011),
        ServerEvent.RAISES_ON_MESSAGE: _closed(1011),
        ServerEvent.RETURNS: _closed(1000),
        ServerEvent.NO_WEBSOCKET: _refused(200),
        ServerEvent.HANGS: _HANGS_ANSWERS,
        ServerEvent.TOO_BIG: _closed(1009),
        ServerEvent.STOPPED: _closed(1001),
        ServerEvent.KILLED: _FIN,
        ServerEvent.NO_PONGS: _closed(1011, (40, 41)),
    },
    (Software.WS, "ws 8.23.0, Node 20"): {
        ServerEvent.REFUSES_LOGIN: _refused(403),
        ServerEvent.WRONG_PATH: _NO_ANSWER,
        ServerEvent.HANGS: _HANGS_DEAF,
        ServerEvent.TOO_BIG: _closed(1009),
        ServerEvent.RAISES_BEFORE_ACCEPT: _NO_ANSWER,
        ServerEvent.RAISES_AFTER_ACCEPT: _LOST,
        ServerEvent.RAISES_ON_MESSAGE: _FIN,
        ServerEvent.STOPPED: _FIN,
        ServerEvent.KILLED: _FIN,
    },
    (Software.UVICORN, "gunicorn 27.0.1, uvicorn-worker 0.4.0, uvicorn 0.54.0"): {
        ServerEvent.RETURNS: _FIN,
        ServerEvent.KILLED: _OPEN,
    },
    (Software.UVICORN, "uvicorn 0.54.0, FastAPI 0.165.0"): {
        ServerEvent.REFUSES_AFTER_ACCEPT: _LOST,
        ServerEvent.WRONG_PATH: _refused(403),
        ServerEvent.NO_WEBSOCKET: _refused(403),
    },
    (Software.HYPERCORN, "hypercorn 0.18.0, FastAPI 0.165.0"): {
        ServerEvent.REFUSES_AFTER_ACCEPT: _closed(1011),
        ServerEvent.WRONG_PATH: _refused(403),
        ServerEvent.NO_WEBSOCKET: _refused(403),
    },
    (Software.UVICORN, "uvicorn 0.54.0, Litestar 2.25.0"): {
        ServerEvent.RAISES_BEFORE_ACCEPT: _refused(403),
        ServerEvent.RAISES_AFTER_ACCEPT: _closed(4500),
        ServerEvent.REFUSES_AFTER_ACCEPT: _closed(4500),
        ServerEvent.RAISES_ON_MESSAGE: _closed(4500),
    },
    (Software.HYPERCORN, "hypercorn 0.18.0, Quart 0.22.0"): {
        ServerEvent.RAISES_AFTER_ACCEPT: _closed(1000),
        ServerEvent.REFUSES_AFTER_ACCEPT: _closed(1000),
        ServerEvent.RAISES_ON_MESSAGE: _closed(1000),
        ServerEvent.RETURNS: _closed(1000),
        ServerEvent.WRONG_PATH: _refused(404),
        ServerEvent.NO_WEBSOCKET: _refused(400),
    },
    (Software.DAPHNE, "daphne 4.2.3, channels 4.3.2"): {
        ServerEvent.WRONG_PATH: _refused(500, (0, 1)),
        ServerEvent.NO_WEBSOCKET: _refused(500, (0, 1)),
    },
    (Software.UVICORN, "uvicorn 0.54.0, channels 4.3.2"): {
        ServerEvent.WRONG_PATH: _refused(500),
        ServerEvent.NO_WEBSOCKET: _refused(500),
    },
    (Software.HYPERCORN, "hypercorn 0.18.0, channels 4.3.2"): {
        ServerEvent.WRONG_PATH: _refused(500),
        ServerEvent.NO_WEBSOCKET: _refused(500),
    },
    (Software.UVICORN, "uvicorn 0.54.0, BlackSheep 2.6.4"): {
        ServerEvent.RAISES_AFTER_ACCEPT: _closed(1011),
        ServerEvent.REFUSES_AFTER_ACCEPT: _closed(1011),
        ServerEvent.RAISES_ON_MESSAGE: _closed(1011),
    },
    (Software.SANIC, "Sanic 25.12.1"): {
        ServerEvent.RAISES_BEFORE_ACCEPT: _refused(500),
        ServerEvent.REFUSES_LOGIN: _refused(403),
        ServerEvent.RAISES_AFTER_ACCEPT: _closed(1000),
        ServerEvent.REFUSES_AFTER_ACCEPT: _closed(1000),
        ServerEvent.RAISES_ON_MESSAGE: _closed(1000),
        ServerEvent.RETURNS: _closed(1000),
        ServerEvent.WRONG_PATH: _refused(404),
        ServerEvent.NO_WEBSOCKET: _refused(200),
        ServerEvent.HANGS: _HANGS_ANSWERS,
        ServerEvent.TOO_BIG: _closed(1009),
        ServerEvent.STOPPED: _closed(1000),
        ServerEvent.KILLED: _FIN,
        ServerEvent.NO_PONGS: _closed(1011, (40, 41)),
    },
    (Software.ROBYN, "Robyn 0.88.0"): {
        ServerEvent.RAISES_AFTER_ACCEPT: _OPEN,
        ServerEvent.RAISES_ON_MESSAGE: _OPEN,
        ServerEvent.RETURNS: _OPEN,
        ServerEvent.WRONG_PATH: _OPEN,
        ServerEvent.HANGS: _HANGS_DEAF,
        ServerEvent.KILLED: _FIN,
    },
    (Software.TORNADO, "tornado 6.6.1"): {
        ServerEvent.RAISES_BEFORE_ACCEPT: _refused(500),
        ServerEvent.REFUSES_LOGIN: _refused(403),
        ServerEvent.RAISES_AFTER_ACCEPT: _LOST,
        ServerEvent.RAISES_ON_MESSAGE: _FIN,
        ServerEvent.WRONG_PATH: _refused(404),
        ServerEvent.NO_WEBSOCKET: _refused(200),
        ServerEvent.HANGS: _HANGS_DEAF,
        ServerEvent.TOO_BIG: _closed(1009),
        ServerEvent.STOPPED: _FIN,
        ServerEvent.KILLED: _FIN,
        ServerEvent.NO_PONGS: _OPEN,
    },
    (Software.FLASK_SOCK, "gunicorn 27.0.1 gthread, Flask-Sock 0.7.0, simple-websocket 1.1.0"): {
        ServerEvent.RAISES_BEFORE_ACCEPT: _refused(500),
        ServerEvent.REFUSES_LOGIN: _refused(403),
        ServerEvent.RAISES_AFTER_ACCEPT: _in_stream(500),
        ServerEvent.REFUSES_AFTER_ACCEPT: _in_stream(401),
        ServerEvent.RAISES_ON_MESSAGE: _in_stream(500),
        ServerEvent.RETURNS: _closed(1000),
        ServerEvent.WRONG_PATH: _refused(404),
        ServerEvent.NO_WEBSOCKET: _refused(400),
        ServerEvent.HANGS: _HANGS_ANSWERS,
        ServerEvent.TOO_BIG: _closed(1009),
        ServerEvent.STOPPED: _lost(Ending.FIN, (30, 31.5)),
        ServerEvent.KILLED: _OPEN,
        ServerEvent.WORKER_KILLED: _FIN,
    },
    (Software.FASTIFY, "fastify 5.12.8, @fastify/websocket 11.3.6, Node 20"): {
        ServerEvent.RAISES_BEFORE_ACCEPT: _refused(500),
        ServerEvent.REFUSES_LOGIN: _refused(403),
        ServerEvent.RAISES_AFTER_ACCEPT: _LOST,
        ServerEvent.RAISES_ON_MESSAGE: _FIN,
        ServerEvent.RETURNS: _OPEN,
        ServerEvent.WRONG_PATH: _refused(404),
        ServerEvent.NO_WEBSOCKET: _closed(1005),
        ServerEvent.TOO_BIG: _closed(1009),
        ServerEvent.STOPPED: _closed(1005),
        ServerEvent.KILLED: _FIN,
    },
    (Software.FAYE, "faye-websocket 0.11.4, Node 20"): {
        ServerEvent.RAISES_AFTER_ACCEPT: _NO_ANSWER,
        ServerEvent.RAISES_ON_MESSAGE: _FIN,
        ServerEvent.RETURNS: _OPEN,
        ServerEvent.WRONG_PATH: _refused(404),
        ServerEvent.TOO_BIG: _closed(1009),
        ServerEvent.STOPPED: _FIN,
        ServerEvent.KILLED: _FIN,
    },
    (Software.WS, "ws 8.23.0, closeAllConnections of Node 20"): {
        ServerEvent.STOPPED: _OPEN,
    },
    (Software.NEST, "NestJS 12.5.1, platform-ws 12.1.1, Node 20"): {
        ServerEvent.RAISES_AFTER_ACCEPT: _LOST,
        ServerEvent.RAISES_ON_MESSAGE: _OPEN,
        ServerEvent.WRONG_PATH: _NO_ANSWER,
        ServerEvent.NO_WEBSOCKET: _NO_ANSWER,
        ServerEvent.STOPPED: _FIN,
        ServerEvent.KILLED: _FIN,
    },
    (Software.GORILLA, "gorilla/websocket 1.5.3, Go 1.26"): _OWNS_CONNECTION,
    (Software.CODER, "coder/websocket 1.8.15, Go 1.26"): _OWNS_CONNECTION,
    (Software.AXUM, "axum 0.8.9, Rust 1.95"): {**_OWNS_CONNECTION, ServerEvent.TOO_BIG: _LOST},
    (Software.TUNGSTENITE, "tokio-tungstenite 0.30.0, Rust 1.95"): {
        **{event: row for event, row in _OWNS_CONNECTION.items() if event is not ServerEvent.NO_WEBSOCKET},
        ServerEvent.TOO_BIG: _LOST,
    },
    (Software.GOBWAS, "gobwas/ws 1.5.0, Go 1.26"): {
        ServerEvent.RAISES_BEFORE_ACCEPT: _NO_ANSWER,
        ServerEvent.REFUSES_LOGIN: _refused(403),
        ServerEvent.RAISES_AFTER_ACCEPT: _LOST,
        ServerEvent.RAISES_ON_MESSAGE: _FIN,
        ServerEvent.RETURNS: _LOST,
        ServerEvent.WRONG_PATH: _refused(404),
        ServerEvent.NO_WEBSOCKET: _refused(200),
        ServerEvent.HANGS: _HANGS_DEAF,
        ServerEvent.STOPPED: _FIN,
        ServerEvent.KILLED: _FIN,
    },
    (Software.GWS, "lxzan/gws 1.8.9, Go 1.26"): {
        ServerEvent.RAISES_BEFORE_ACCEPT: _NO_ANSWER,
        ServerEvent.REFUSES_LOGIN: _refused(403),
        ServerEvent.RAISES_AFTER_ACCEPT: _LOST,
        ServerEvent.RAISES_ON_MESSAGE: _OPEN,
        ServerEvent.RETURNS: _OPEN,
        ServerEvent.WRONG_PATH: _refused(404),
        ServerEvent.NO_WEBSOCKET: _refused(200),
        ServerEvent.HANGS: _HANGS_DEAF,
        ServerEvent.TOO_BIG: _closed(1009),
        ServerEvent.STOPPED: _FIN,
        ServerEvent.KILLED: _FIN,
    },
    (Software.SOCKETIO, "socket.io 4.8.4, engine.io 6.6.13, Node 20"): {
        ServerEvent.REFUSES_LOGIN: _OPEN,
        ServerEvent.WRONG_PATH: _no_answer(Ending.FIN, (1, 1.5)),
        ServerEvent.RAISES_AFTER_ACCEPT: _LOST,
        ServerEvent.STOPPED: _closed(1005),
        ServerEvent.KILLED: _FIN,
    },
    (Software.TOMCAT, "Tomcat 11.0.27, Java 17"): {
        ServerEvent.RAISES_AFTER_ACCEPT: _closed(1002),
        ServerEvent.RAISES_ON_MESSAGE: _OPEN,
        ServerEvent.HANGS: _HANGS_DEAF,
        ServerEvent.TOO_BIG: _closed(1009),
        ServerEvent.STOPPED: _closed(1001),
        ServerEvent.KILLED: _FIN,
    },
    (Software.JETTY, "Jetty 12.1.14, Java 17"): {
        ServerEvent.RAISES_BEFORE_ACCEPT: _refused(500),
        ServerEvent.REFUSES_LOGIN: _refused(403),
        ServerEvent.RAISES_AFTER_ACCEPT: _closed(1011),
        ServerEvent.RAISES_ON_MESSAGE: _closed(1011),
        ServerEvent.WRONG_PATH: _refused(404),
        ServerEvent.NO_WEBSOCKET: _refused(200),
        ServerEvent.HANGS: _HANGS_DEAF,
        ServerEvent.TOO_BIG: _closed(1009),
        ServerEvent.STOPPED: _FIN,
        ServerEvent.KILLED: _FIN,
    },
    (Software.UNDERTOW, "Undertow 2.4.4, Java 17"): {
        ServerEvent.RAISES_BEFORE_ACCEPT: _refused(500),
        ServerEvent.REFUSES_LOGIN: _refused(403),
        ServerEvent.RAISES_AFTER_ACCEPT: _LOST,
        ServerEvent.RAISES_ON_MESSAGE: _OPEN,
        ServerEvent.WRONG_PATH: _refused(404),
        ServerEvent.NO_WEBSOCKET: _refused(200),
        ServerEvent.HANGS: _HANGS_DEAF,
        ServerEvent.STOPPED: _FIN,
        ServerEvent.KILLED: _FIN,
    },
    (Software.JAVA_WEBSOCKET, "Java-WebSocket 1.6.0, Java 17"): {
        ServerEvent.RAISES_AFTER_ACCEPT: _OPEN,
        ServerEvent.RAISES_ON_MESSAGE: _OPEN,
        ServerEvent.HANGS: _HANGS_DEAF,
        ServerEvent.STOPPED: _closed(1001),
        ServerEvent.KILLED: _FIN,
    },
    (Software.VERTX, "Vert.x 5.2.3, Java 17"): {
        ServerEvent.RAISES_BEFORE_ACCEPT: _OPEN,
        ServerEvent.REFUSES_LOGIN: _refused(502),
        ServerEvent.RAISES_AFTER_ACCEPT: _OPEN,
        ServerEvent.RAISES_ON_MESSAGE: _OPEN,
        ServerEvent.HANGS: _HANGS_DEAF,
        ServerEvent.TOO_BIG: _closed(1000),
        ServerEvent.STOPPED: _closed(1000),
        ServerEvent.KILLED: _FIN,
    },
}
"""Server and versions, with what each event shows, by the cells of tests/data/layers_servers.yml.

A framework, or another version, has those rows alone in which it differs from the server above it.
"""

_BY_HAND: Final[Mapping[tuple[Software, str], Mapping[ServerEvent, _Outcome]]] = {
    (Software.ROBYN, "Robyn 0.88.0"): {ServerEvent.STOPPED: _lost(Ending.FIN, (30, 31))},
    (Software.SOCKETIO, "socket.io 4.8.4"): {ServerEvent.NO_PONGS: _closed(1005, (45, 46))},
    (Software.GRAPHQL_WS, "graphql-ws 6.4.2"): {
        ServerEvent.STOPPED: _closed(1001),
        ServerEvent.NO_PONGS: _lost(Ending.FIN, (24, 25)),
    },
    (Software.JETTY, "Jetty 12.1.14, GracefulHandler"): {ServerEvent.STOPPED: _closed(1001)},
    (Software.VERTX, "Vert.x 5.0.7"): {ServerEvent.WRONG_PATH: _refused(400)},
    (Software.ACTIX, "actix-ws 0.4.0"): {
        ServerEvent.RAISES_ON_MESSAGE: _lost(Ending.FIN, (0.4, 1)),
        ServerEvent.RETURNS: _lost(Ending.FIN, (0.4, 1)),
        ServerEvent.STOPPED: _lost(Ending.FIN, (30, 31)),
    },
}
"""The same of servers that no cell runs: seen once, by a client of raw sockets."""

SERVER_BEHAVIOURS: Final = tuple(
    ServerBehaviour(server, event, version, seen, *outcome)
    for seen, table in (("2026-11-30", _RUN), ("2026-11-29", _BY_HAND))
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
