"""The servers that take longer, and the rows of tests/data/protocols.yml about them; `make protocols` runs it.

pytest tests/protocols/cases.py
"""

import base64
import json
import time

import jwt
import pytest
from slow_servers import KEYS, SLOW_SERVERS
from support.conversations import RPC_CALL, STAYS_OPEN, close_code, mqtt, spoken_to, stomp
from support.protocol_cases import cases_of, expected, outcome

STOMP, MQTT, CABLE = ["v12.stomp"], ["mqtt"], ["actioncable-v1-json"]


def centrifugo(key, lifetime=60):
    """The first command of a client whose token this key has signed."""
    token = jwt.encode({"sub": "probe", "exp": int(time.time()) + lifetime}, key.secret, "HS256")
    return json.dumps({"id": 1, "connect": {"token": token}})


def xml(name, **attributes):
    """An element of XMPP's own framing (RFC 7395), or of SASL."""
    space = "xmpp-framing" if name == "open" else "xmpp-sasl"
    rest, text = (
        "".join(f' {key}="{value}"' for key, value in attributes.items() if key != "text"),
        "text" in attributes,
    )
    start = f'<{name} xmlns="urn:ietf:params:xml:ns:{space}"{rest}'
    return f"{start}>{attributes['text']}</{name}>" if text else f"{start}/>"


def plain(password):
    """SASL PLAIN (RFC 4616)."""
    return xml("auth", mechanism="PLAIN", text=base64.b64encode(f"\0probe\0{password}".encode()).decode())


def home(token):
    """The login of Home Assistant."""
    return json.dumps({"type": "auth", "access_token": token})


ASKED = (None, '{"type":"auth_required","ha_version":"')
OPEN = (xml("open", to="localhost", version="1.0"), "<open ")
FEATURES = (None, "<stream:features")
WAMP_HELLO = ('[1,"realm1",{"roles":{"caller":{}},"authmethods":["ticket"],"authid":"probe"}]', '[4,"ticket",{}]')
HELLO = (None, '{"event":"pusher:connection_established"')
HEALTHY = {
    "rabbitmq-stomp": (
        STOMP,
        [
            (stomp("good"), "CONNECTED\nserver:RabbitMQ/3"),
            ("SUBSCRIBE\nid:1\ndestination:/topic/n1\n\n\0", None),
            ("SEND\ndestination:/topic/n1\n\nn1\0", "MESSAGE\n"),
        ],
        None,
    ),
    "rabbitmq-mqtt": (MQTT, [(mqtt("probe", "good"), b"\x20\2\0\0"), (b"\x82\7\0\1\0\2n1\0", b"\x90\3\0\1\0")], None),
    "centrifugo": (
        [],
        [(centrifugo(KEYS[0]), '{"id":1,"connect":{"client":'), ('{"id":2,"rpc":{}}', '{"id":2,"error":{"code":108')],
        3001,
    ),
    "ganache": ([], [(RPC_CALL, '{"id":"n1","jsonrpc":"2.0","error":')], 1000),
    "soketi": (
        [],
        [
            HELLO,
            (
                '{"event":"pusher:subscribe","data":{"channel":"n1"}}',
                '{"event":"pusher_internal:subscription_succeeded"',
            ),
        ],
        4200,
    ),
    "actioncable": (CABLE, [(None, '{"type":"welcome"}')], None),
    "prosody": (["xmpp"], [OPEN, FEATURES, (plain("good"), "<success ")], None),
    "crossbar": (["wamp.2.json"], [WAMP_HELLO, ('[5,"good",{}]', "[2,")], None),
    "homeassistant": (
        [],
        lambda server: [
            ASKED,
            (home(server.good.secret), '{"type":"auth_ok","ha_version":"'),
            ('{"id": 7, "type": "ping"}', '{"id":7,"type":"pong"}'),
        ],
        None,
    ),
    "signalr": ([], [('{"protocol":"json","version":1}\x1e', b"{}\x1e")], 1000),
}
"""Server → (subprotocols, steps, the close code when it is told to stop)."""

REFUSED = {
    "rabbitmq-stomp": (STOMP, [(stomp("bad"), "ERROR\nmessage:Bad CONNECT\n")], STAYS_OPEN),
    "rabbitmq-mqtt": (MQTT, [(mqtt("probe", "bad"), None)], 1002),
    "centrifugo": ([], [(centrifugo(KEYS[1]), None)], 3500),
    "actioncable": (CABLE, [(None, '{"type":"disconnect","reason":"unauthorized"')], 1000),
    "prosody": (["xmpp"], [OPEN, FEATURES, (plain("bad"), "<failure ")], STAYS_OPEN),
    "crossbar": (["wamp.2.json"], [WAMP_HELLO, ('[5,"bad",{}]', "[3,")], STAYS_OPEN),
    "homeassistant": ([], [ASKED, (home("bad"), '{"type":"auth_invalid"')], 1000),
}


@pytest.mark.parametrize("name", HEALTHY)
async def test_a_healthy_conversation_and_a_stop(name, tmp_path):
    """Login and question are answered; told to stop, the server says goodbye in its own way, or its connections end."""
    *conversation, code = HEALTHY[name]
    query = "?token=good" if name == "actioncable" else ""
    async with spoken_to(name, tmp_path, conversation, SLOW_SERVERS, query) as (server, ws):
        server.stop()
        assert await close_code(ws) == code


@pytest.mark.parametrize("name", REFUSED)
async def test_a_refused_login(name, tmp_path):
    """It is told by a frame, a close code, both, or by a frame on a connection that stays open."""
    *conversation, code = REFUSED[name]
    async with spoken_to(name, tmp_path, conversation, SLOW_SERVERS) as (_, ws):
        if code is STAYS_OPEN:
            await (await ws.ping())
        else:
            assert await close_code(ws) == code


async def test_an_expired_token_at_centrifugo(tmp_path):
    """It is an error 109, and no close."""
    conversation = [], [(centrifugo(KEYS[0], lifetime=-60), '{"id":1,"error":{"code":109')]
    async with spoken_to("centrifugo", tmp_path, conversation, SLOW_SERVERS) as (_, ws):
        await (await ws.ping())


async def test_a_pong_without_a_ping_at_centrifugo(tmp_path):
    """It is a bad request (3501): the answer to its ping goes to an empty object alone."""
    conversation = [], [(centrifugo(KEYS[0]), '{"id":1,"connect":{"client":'), ("{}", None)]
    async with spoken_to("centrifugo", tmp_path, conversation, SLOW_SERVERS) as (_, ws):
        assert await close_code(ws) == 3501


@pytest.mark.parametrize(("name", "case"), cases_of(SLOW_SERVERS))
async def test_a_session_with_the_built_in_profile(name, case, tmp_path):
    """Verdicts, phase, reason and close are those that were written down before it was run."""
    assert await outcome(SLOW_SERVERS, name, case, tmp_path) == expected(name, case)
