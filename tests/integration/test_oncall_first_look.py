"""The first look at a backend: how many connections, what they send, and how they end, as the backend sees it."""

import asyncio

import pytest
from support.raw_server import END, MESSAGE, UPGRADE, close, frame, leaves_nothing, plays, serving, text
from websockets.frames import Opcode

from exporter.commands.bare_url import config_of_url
from exporter.discovery import (
    ASKED_CALL,
    OFFERED_SUBPROTOCOLS,
    UNKNOWN_SUBPROTOCOL,
    BackendEvidence,
    candidates,
    recognise,
)
from exporter.oncall.first_look import first_look
from exporter.result import ErrorKind, Handshake

CREDENTIAL_HEADERS = {"authorization", "cookie", "proxy-authorization", "x-api-key"}


async def looked(script, path="/"):
    """What the look met, and the server."""
    async with serving(script) as server, leaves_nothing():
        job = config_of_url(f"ws://127.0.0.1:{server.port}{path}", None).plan.jobs[0]
        sightings = await first_look(job)
        await server.over()
    return sightings, server


async def choose_first(peer):
    """A server that chooses the first of whatever it is offered, and says nothing."""
    await peer.request()
    offer = peer.headers.get("sec-websocket-protocol")
    peer.send(peer.switching(f"Sec-WebSocket-Protocol: {offer.split(', ')[0]}\r\n" if offer else ""))


async def test_an_unknown_server_gets_three_connections_without_credentials():
    """Each is closed with 1000; the only message is the call that no server has, on the last."""
    sightings, server = await looked(plays(UPGRADE, text({"type": "hello", "session": "s"})))

    assert [one.asked for one in sightings] == [False, False, True]
    assert [peer.codes for peer in server.peers] == [[], [1000], [1000]]
    assert [peer.messages for peer in server.peers] == [[], [], [dict(ASKED_CALL)]]
    assert not any(CREDENTIAL_HEADERS & peer.headers.keys() for peer in server.peers)
    assert recognise(BackendEvidence(sightings)) == []
    assert [len(one.messages) for one in sightings] == [0, 1, 1]


async def test_a_server_that_chooses_none_of_the_offered_is_looked_at_without_an_offer():
    """Browsers refuse its answer to the offer; the second connection says how it is otherwise."""
    sightings, server = await looked(plays(UPGRADE))

    assert sightings[0].handshake is Handshake.SUBPROTOCOL_NOT_CHOSEN
    assert sightings[1].opened
    offers = [peer.headers.get("sec-websocket-protocol") for peer in server.peers]
    assert offers == [", ".join([UNKNOWN_SUBPROTOCOL, *OFFERED_SUBPROTOCOLS]), None, None]


async def test_a_server_that_chooses_whatever_is_offered_is_not_recognised_by_its_choice():
    """The library ws does so by itself."""
    sightings, server = await looked(choose_first)

    assert sightings[0].subprotocol == UNKNOWN_SUBPROTOCOL
    assert sightings[0].chosen is None
    assert recognise(BackendEvidence(sightings)) == []
    assert server.peers[1].headers.get("sec-websocket-protocol") is None


async def _read_json(peer):
    """A broker of MQTT on the library ws, as aedes: JSON is a packet that it cannot read."""
    await choose_first(peer)
    if await peer.message():
        peer.end()


BROKERS = {"of MQTT": (_read_json, ("mqtt",)), "that is silent": (choose_first, ("stomp", "mqtt"))}


@pytest.mark.parametrize(("script", "profiles"), BROKERS.values(), ids=BROKERS)
async def test_a_broker_that_chooses_whatever_is_offered_shows_which_profiles_come_into_question(script, profiles):
    """It is sent the same call as any other, and no login of a protocol that is only guessed."""
    sightings, server = await looked(script)
    evidence = BackendEvidence(sightings)

    assert recognise(evidence) == []
    assert candidates(evidence).profiles == profiles
    assert [peer.messages for peer in server.peers] == [[], [], [dict(ASKED_CALL)]]


async def test_a_server_that_speaks_or_chooses_with_care_is_no_broker():
    """What it said is to be looked at instead."""
    for script in (plays(UPGRADE, text({"type": "hello"})), plays(UPGRADE)):
        sightings, _ = await looked(script)
        assert candidates(BackendEvidence(sightings)) is None


async def test_what_is_recognised_by_itself_is_sent_nothing():
    """Two connections are enough, and no message is sent."""
    sightings, server = await looked(plays(UPGRADE, text({"type": "welcome"})))

    assert [one.protocol for one in recognise(BackendEvidence(sightings))] == ["Action Cable"]
    assert len(server.peers) == 2
    assert [peer.messages for peer in server.peers] == [[], []]


async def test_an_answer_to_the_call_is_seen():
    """The answer ends the listening at once."""

    async def answer(peer):
        await UPGRADE(peer)
        call = await peer.message()
        peer.send(text({"jsonrpc": "2.0", "id": call["id"], "error": {"code": -32601, "message": "no"}}))

    sightings, _ = await looked(answer)

    assert [one.protocol for one in recognise(BackendEvidence(sightings))] == ["JSON-RPC"]


async def test_a_socketio_server_is_asked_again_with_the_query_that_it_needs():
    """Engine.IO refuses an upgrade without it, and users leave it out."""

    async def engine(peer):
        switching = await peer.request()
        if "EIO=4&transport=websocket" in peer.line:
            peer.send(switching, frame(Opcode.TEXT, b'0{"sid":"s","pingInterval":25000}'))
        else:
            peer.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    sightings, server = await looked(engine, "/socket.io")

    assert [one.status for one in sightings] == [400, None]
    assert server.peers[1].line.startswith("GET /socket.io/?EIO=4&transport=websocket ")
    assert recognise(BackendEvidence(sightings))[0].protocol == "Socket.IO"


REFUSALS = {
    "HTTP 401": (
        plays(lambda peer: peer.request(), b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n"),
        2,
        401,
        ErrorKind.STATUS,
    ),
    "no answer": (plays(lambda peer: peer.request(), END), 1, None, ErrorKind.EOF),
    "no HTTP": (plays(lambda peer: peer.request(), b"220 mail\r\n", END), 2, None, ErrorKind.UPGRADE),
}


@pytest.mark.parametrize(("script", "connections", "status", "kind"), REFUSALS.values(), ids=REFUSALS)
async def test_a_refusal_is_a_sighting(script, connections, status, kind):
    """It has its status or its kind; a server that does not answer at all is not asked again."""
    sightings, server = await looked(script)

    assert len(server.peers) == connections
    assert (sightings[-1].status, sightings[-1].error, sightings[-1].opened) == (status, kind, False)


async def test_a_port_where_nobody_listens_is_one_attempt():
    """The rest would be refused as well."""
    async with serving(plays()) as server:
        port = server.port
    (sighting,) = await first_look(config_of_url(f"ws://127.0.0.1:{port}/", None).plan.jobs[0])

    assert sighting.error is ErrorKind.REFUSED


async def test_a_close_of_the_server_is_seen_with_its_code():
    """4406 is what graphql-transport-ws answers without its subprotocol."""
    sightings, _ = await looked(plays(UPGRADE, close(4406, "Subprotocol not acceptable")))

    assert sightings[1].close_code == 4406
    assert recognise(BackendEvidence(sightings))[0].profile == "graphql"


async def test_a_flood_is_bounded():
    """Only the first messages are kept, and the look ends in its time."""
    async with asyncio.timeout(60):
        sightings, _ = await looked(plays(UPGRADE, *[text({"n": number}) for number in range(500)], MESSAGE))

    assert max(len(one.messages) for one in sightings) == 50
