"""The real servers of protocols show what the cases say, as a plain client sees it: their logins, refusals and ends."""

import asyncio
import signal

import pytest
from support.conversations import (
    GRAPHQL_QUERY,
    RPC_CALL,
    STAYS_OPEN,
    TRPC_QUERY,
    close_code,
    converse,
    graphql,
    mqtt,
    nats,
    spoken_to,
    stomp,
    trpc,
)
from support.protocol_servers import ON_NODE, SERVERS
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidMessage

OPENED = (None, '0{"sid":')
INFO = (None, b"INFO {")

HEALTHY = {
    "socketio": ([], [OPENED, ("40", '40{"sid":'), ("40/n1,", '44/n1,{"message":"Invalid namespace"}')]),
    "python-socketio": ([], [OPENED, ("40", '40{"sid":'), ("40/n1,", '44/n1,"Unable to connect"')]),
    "graphql-ws": (
        ["graphql-transport-ws"],
        [(graphql("good"), '{"type":"connection_ack"'), (GRAPHQL_QUERY, '{"id":"n1","type":"next"')],
    ),
    "strawberry": (
        ["graphql-transport-ws"],
        [(graphql("good"), '{"type":"connection_ack"'), (GRAPHQL_QUERY, '{"id":"n1","type":"next"')],
    ),
    "trpc": ([], [(trpc("good"), None), (TRPC_QUERY, '{"id":"n1","error":{"message":"No \\"query\\"-procedure')]),
    "rpc-websockets": ([], [(RPC_CALL, '{"jsonrpc":"2.0","error":{"code":-32601')]),
    "aiohttp-jsonrpc": ([], [(RPC_CALL, '{"jsonrpc": "2.0", "error": {"code": -32601')]),
    "stomp-broker-js": (
        ["v12.stomp"],
        [
            (stomp("good"), "CONNECTED\n"),
            ("SUBSCRIBE\nid:1\ndestination:/topic/n1\n\n\0", None),
            ("SEND\ndestination:/topic/n1\n\nn1\0", "MESSAGE\ndestination:/topic/n1\n"),
        ],
    ),
    "nats": (
        [],
        [
            INFO,
            (nats("probe", "good"), b"+OK\r\n"),
            (b"SUB n1 1\r\nPUB n1 1\r\nx\r\n", b"+OK\r\n+OK\r\nMSG n1 1 1\r\nx"),
        ],
    ),
    "mosquitto": (
        ["mqtt"],
        [
            (mqtt("probe", "good"), b"\x20\2\0\0"),
            (b"\x82\7\0\1\0\2n1\0", b"\x90\3\0\1\0"),
            (b"\x30\5\0\2n1x", b"\x30\5\0\2n1x"),
        ],
    ),
}
"""Server → (subprotocols, steps). A step: what is sent, and how the answer begins; None: nothing is."""

REFUSED = {
    "socketio": ([], [OPENED, ('40/admin,{"token":"bad"}', '44/admin,{"message":"not authorized"')], STAYS_OPEN),
    "python-socketio": ([], [OPENED, ('40/admin,{"token":"bad"}', '44/admin,{"message":"not authorized"')], STAYS_OPEN),
    "graphql-ws": (["graphql-transport-ws"], [(graphql("bad"), None)], 4403),
    "strawberry": (["graphql-transport-ws"], [(graphql("bad"), None)], 4403),
    "trpc": ([], [(trpc("bad"), '{"id":null,"error":{"message":"bad token","code":-32001')], 1005),
    "aiohttp-jsonrpc": (
        [],
        [('{"id": "n1", "method": "auth.login", "params": {"token": "bad"}}', '{"jsonrpc": "2.0", "error"')],
        4401,
    ),
    "stomp-broker-js": (["v12.stomp"], [(stomp("bad"), "ERROR\n")], STAYS_OPEN),
    "nats": ([], [INFO, (nats("probe", "bad"), b"-ERR 'Authorization Violation'")], 1008),
    "mosquitto": (["mqtt"], [(mqtt("probe", "bad"), b"\x20\2\0\5")], None),
}
"""Server → (subprotocols, steps, close code); None: TCP ends without a close frame."""

STOPPED = {
    "socketio": 1005,
    "python-socketio": 1012,
    "graphql-ws": 1001,
    "strawberry": 1012,
    "rpc-websockets": None,
    "aiohttp-jsonrpc": 1001,
    "stomp-broker-js": None,
    "nats": 1001,
    "mosquitto": None,
}
"""Server → the close code of a server that is told to stop; None: TCP ends without a close frame."""


def on_servers(names):
    """Parametrize a test over servers; those on Node are left out where Node is."""
    marks = {name: [pytest.mark.needs("node")] if name in ON_NODE else [] for name in names}
    return pytest.mark.parametrize("name", [pytest.param(name, marks=marks[name]) for name in names])


@on_servers(HEALTHY)
async def test_a_healthy_conversation(name, tmp_path):
    """Login and question are answered, with nothing of an application on the server."""
    async with spoken_to(name, tmp_path, HEALTHY[name]) as (_, ws):
        await (await ws.ping())


@on_servers(REFUSED)
async def test_a_refused_login(name, tmp_path):
    """It is told by a frame, a close code, both, or by a frame on a connection that stays open."""
    *conversation, code = REFUSED[name]
    async with spoken_to(name, tmp_path, conversation) as (_, ws):
        if code is STAYS_OPEN:
            await (await ws.ping())
        else:
            assert await close_code(ws) == code


@on_servers(STOPPED)
async def test_a_server_that_is_told_to_stop(name, tmp_path):
    """It says goodbye with the close code of its program, or its connections end with it."""
    async with spoken_to(name, tmp_path, HEALTHY[name]) as (server, ws):
        server.stop()
        assert await close_code(ws) == STOPPED[name]


@pytest.mark.needs("node")
async def test_trpc_asks_its_clients_to_reconnect(tmp_path):
    """A tRPC server that stops as its documentation says answers its clients until they leave."""
    async with spoken_to("trpc", tmp_path, HEALTHY["trpc"]) as (server, ws):
        server.stop()
        await converse(ws, [(None, '{"id":null,"method":"reconnect"}'), HEALTHY["trpc"][1][1]])


async def pong(ws):
    """Return as soon as the server answers our PING; its own first one comes a second after the login."""
    while (said := await ws.recv()) != b"PONG\r\n":
        assert said == b"PING\r\n"


async def test_a_paused_server_is_silent_and_a_killed_one_is_gone(tmp_path):
    """A pause leaves the connection open without an answer; a kill ends it without a close frame."""
    async with spoken_to("nats", tmp_path, HEALTHY["nats"]) as (server, ws):
        await server.pause()
        await ws.send(b"PING\r\n")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(pong(ws), 0.2)
        server.signal(signal.SIGCONT)
        await pong(ws)
        server.kill()
        assert await close_code(ws) is None


@pytest.mark.parametrize("offered", [None, ["junk"]], ids=["none", "foreign"])
async def test_mosquitto_without_its_subprotocol(offered, tmp_path):
    """Offered none it accepts the upgrade and answers no CONNECT; offered another, it cuts the connection."""
    async with SERVERS["mosquitto"](tmp_path) as server:
        if offered:
            with pytest.raises(InvalidMessage):
                await connect(server.url, proxy=None, subprotocols=offered)
            return
        async with connect(server.url, proxy=None) as ws:
            await ws.send(mqtt("probe", "good"))
            await (await ws.ping())
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(ws.recv(), 0.2)
