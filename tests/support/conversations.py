"""Conversations with the real servers of protocols by a plain client, for the tests that say what the servers show."""

import json
from contextlib import asynccontextmanager

from websockets.asyncio.client import connect

from support.protocol_servers import SERVERS

GRAPHQL_QUERY = '{"id": "n1", "type": "subscribe", "payload": {"query": "{__typename}"}}'
RPC_CALL = '{"jsonrpc": "2.0", "id": "n1", "method": "nosuch"}'
TRPC_QUERY = '{"id": "n1", "method": "query", "params": {"path": "nosuch"}}'


def graphql(token):
    return json.dumps({"type": "connection_init", "payload": {"authorization": f"Bearer {token}"}})


def trpc(token):
    return json.dumps({"method": "connectionParams", "data": {"token": token}})


def stomp(passcode):
    return f"CONNECT\naccept-version:1.2\nhost:/\nlogin:probe\npasscode:{passcode}\n\n\0"


def nats(user, password):
    return f"CONNECT {json.dumps({'verbose': True, 'user': user, 'pass': password})}\r\n".encode()


def mqtt(user, password):
    """CONNECT of MQTT 3.1.1 section 3.1: clean session, user and password, keep-alive of 30 s."""
    texts = [part.encode() for part in ("probe-1", user, password)]
    body = b"\0\4MQTT\4\xc2\0\x1e" + b"".join(len(text).to_bytes(2, "big") + text for text in texts)
    return b"\x10" + bytes([len(body)]) + body


async def converse(ws, steps):
    """Send each step's message, and compare how its answer begins."""
    for message, answer in steps:
        if message is not None:
            await ws.send(message)
        if answer is not None:
            assert (await _answer(ws, answer))[: len(answer)] == answer


async def _answer(ws, answer):
    """What the server says next, of one message or of several; nats-server's own PING may come at any moment."""
    said = await ws.recv()
    while (said := _without_ping(said)) != answer and answer.startswith(said):
        said += await ws.recv()
    return said


def _without_ping(said):
    return said.replace(b"PING\r\n", b"") if isinstance(said, bytes) else said


async def close_code(ws):
    """The close code of the server, 1005 for a close frame without one, None if there was no close frame."""
    await ws.wait_closed()
    return ws.protocol.close_rcvd and ws.protocol.close_rcvd.code


STAYS_OPEN = "stays open"
"""In place of a close code: a server that refuses a login and keeps the connection."""


@asynccontextmanager
async def spoken_to(name, folder, conversation, servers=SERVERS, query=""):
    """A running server, and a connection on which the conversation (subprotocols, steps) has been held.

    Steps that need what only the running server knows are a function of it.
    """
    subprotocols, steps = conversation
    async with (
        servers[name](folder) as server,
        connect(server.url + query, proxy=None, subprotocols=subprotocols or None) as ws,
    ):
        assert ws.subprotocol == (subprotocols[0] if subprotocols else None)
        await converse(ws, steps(server) if callable(steps) else steps)
        yield server, ws
