"""Each row of the recognisers has evidence that it holds for, and ordinary backends have none."""

import json

import pytest
from support.paths import ROOT

from exporter.catalog import CATALOG
from exporter.discovery import (
    ASKED_CALL,
    ASKED_ID,
    OFFERED_SUBPROTOCOLS,
    RECOGNISERS,
    UNKNOWN_SUBPROTOCOL,
    BackendEvidence,
    Payload,
    Sighting,
    recognise,
)

URL = "ws://127.0.0.1/"


def said(*messages, asked=False, url=URL, **more):
    """A connection on which the server sent these: bytes are binary, text is text, all else is JSON."""
    payloads = [
        Payload(message if isinstance(message, bytes) else _text(message).encode(), not isinstance(message, bytes))
        for message in messages
    ]
    return Sighting(url, asked=asked, messages=tuple(payloads), **more)


def _text(message):
    return message if isinstance(message, str) else json.dumps(message)


def chose(name):
    return Sighting(URL, (UNKNOWN_SUBPROTOCOL, *OFFERED_SUBPROTOCOLS), subprotocol=name)


def answered(answer):
    return said(answer, asked=True)


EXAMPLES = {
    ("GraphQL over WebSocket", "graphql-transport-ws of"): chose("graphql-transport-ws"),
    ("MQTT 3.1.1", "mqtt"): chose("mqtt"),
    ("STOMP", "v12.stomp"): chose("v12.stomp"),
    ("Action Cable", "actioncable-v1-json"): chose("actioncable-v1-json"),
    ("XMPP", "xmpp"): chose("xmpp"),
    ("WAMP", "wamp.2.json"): chose("wamp.2.json"),
    ("OCPP", "ocpp1.6"): chose("ocpp1.6"),
    ("OCPP", "ocpp2.0.1"): chose("ocpp2.0.1"),
    ("Socket.IO", "open packet"): said('0{"sid":"s","upgrades":[],"pingInterval":25000,"pingTimeout":20000}'),
    ("NATS", "INFO"): said(b'INFO {"server_id":"N","version":"2.15.3","max_payload":1048576} \r\n'),
    ("Pusher Channels", "connection_established"): said({"event": "pusher:connection_established", "data": "{}"}),
    ("Pusher Channels", "pusher:error"): said({"event": "pusher:error", "data": {"code": 4001}}),
    ("Action Cable", "disconnect"): said({"type": "disconnect", "reason": "unauthorized", "reconnect": False}),
    ("Action Cable", "nothing else"): said({"type": "welcome"}),
    ("the factory backend", "welcome"): said({"type": "system_message", "data": {"event": "connection_established"}}),
    ("the factory backend", "error"): said({"type": "error_message", "error_code": "NO_TOKEN"}),
    ("Home Assistant", "auth_required"): said({"type": "auth_required", "ha_version": "2025.1.4"}),
    ("STOMP", "ERROR"): said("ERROR\nmessage:Illegal command\n\nYou must log in\x00\n"),
    ("tRPC", "reconnect"): said({"id": None, "method": "reconnect"}),
    ("GraphQL over WebSocket", "4406"): said(close_code=4406),
    ("GraphQL over WebSocket", "4408"): said(close_code=4408),
    ("Centrifugo", "3501"): said(close_code=3501, asked=True),
    ("Socket.IO", "400"): said(url="ws://127.0.0.1/socket.io/", status=400),
    ("Centrifugo", "/connection/websocket"): said(url="wss://a.example/connection/websocket", status=403),
    ("Action Cable", "404"): said(url="wss://a.example/cable", status=404),
    ("an echo server", "sent our message back"): answered(dict(ASKED_CALL)),
    ("tRPC", "an error of tRPC"): answered(
        {"id": None, "error": {"message": "m", "code": -32700, "data": {"code": "PARSE_ERROR", "httpStatus": 400}}}
    ),
    ("JSON-RPC", "its id"): answered({"jsonrpc": "2.0", "id": ASKED_ID, "error": {"code": -32601, "message": "m"}}),
    ("JSON-RPC", "without an id"): answered({"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "m"}}),
}


def row_of(key):
    protocol, words = key
    (row,) = [row for row in RECOGNISERS if row.protocol == protocol and words in row.sentence]
    return row


@pytest.mark.parametrize("key", EXAMPLES, ids=" ".join)
def test_a_row_recognises_its_protocol_alone(key):
    """What a real server of the protocol shows leads to that protocol and to no other."""
    row = row_of(key)
    (found,) = recognise(BackendEvidence([EXAMPLES[key]]))

    assert (found.protocol, found.profile, found.sentences) == (row.protocol, row.profile, (row.sentence,))


def test_every_row_has_an_example():
    """A row without one would be a guess."""
    assert {row_of(key) for key in EXAMPLES} == set(RECOGNISERS)


def test_every_profile_of_a_row_is_built_in_and_every_protocol_has_one_profile():
    """The name goes into a config."""
    assert {row.profile for row in RECOGNISERS} <= {None, *CATALOG}
    assert all(len({row.profile for row in RECOGNISERS if row.protocol == one.protocol}) == 1 for one in RECOGNISERS)


def test_every_built_in_profile_can_be_recognised():
    """A new file of `profiles_data` needs a row."""
    assert {row.profile for row in RECOGNISERS} >= {*CATALOG}, f"add a row: {ROOT.name}"


def test_the_offer_is_that_of_the_table_and_short():
    """Each name has a row, and the header stays below what mosquitto reads."""
    rows = [row.sentence for row in RECOGNISERS]
    offer = ", ".join([UNKNOWN_SUBPROTOCOL, *OFFERED_SUBPROTOCOLS])

    assert all(any(f"subprotocol {name} " in sentence for sentence in rows) for name in OFFERED_SUBPROTOCOLS)
    assert len(offer) <= 120


UNKNOWN = {
    "nothing": [said()],
    "a hello": [said({"type": "hello", "session": "s-1"})],
    "a welcome with more in it": [said({"type": "welcome", "user": "u"})],
    "text": [said("welcome")],
    "bytes": [said(b"\x00\x01\xff")],
    "a number": [said("42")],
    "a choice of whatever is offered": [chose(UNKNOWN_SUBPROTOCOL)],
    "an error that is no answer": [said({"jsonrpc": "2.0", "id": None, "error": {"code": -32700}})],
    "an answer with another id": [answered({"id": "x", "result": 1})],
    "our call in other words": [answered({"type": "error", "of": dict(ASKED_CALL)})],
    "a method with our id": [answered({"jsonrpc": "2.0", "id": ASKED_ID, "method": "notify", "result": 1})],
    "a refusal": [said(status=401)],
    "a normal close": [said(close_code=1000), said(close_code=1008)],
}


@pytest.mark.parametrize("sightings", UNKNOWN.values(), ids=UNKNOWN)
def test_what_is_no_evidence_recognises_nothing(sightings):
    """A guess would be a config that fails for a reason of its own."""
    assert recognise(BackendEvidence(sightings)) == []


def test_several_that_fit_are_all_named_and_the_surest_is_first():
    """Two rows of one protocol are one entry with both sentences."""
    found = recognise(BackendEvidence([said({"type": "welcome"}, close_code=4406), chose("actioncable-v1-json")]))

    assert [(one.protocol, len(one.sentences)) for one in found] == [("Action Cable", 2), ("GraphQL over WebSocket", 1)]


def test_a_packet_over_two_frames_is_read():
    """NATS may cut its INFO anywhere."""
    info = b'INFO {"server_id":"N"}\r\n'

    assert recognise(BackendEvidence([said(info[:9], info[9:])]))[0].protocol == "NATS"
