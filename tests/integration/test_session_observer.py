"""What an observer of a session is shown, and that without one nothing is kept."""

from support.raw_server import AUTHED, ECHO_REPLY, MESSAGE, NONCE, UPGRADE, close, converse, frame, plays, serving, text
from websockets.frames import Opcode

from exporter.config import Profile
from exporter.result import Direction

HELLO = text({"type": "hello"})


async def seen_by(*steps, **wanted):
    seen = []
    async with serving(plays(*steps)) as server:
        facts = await converse(server, observer=seen.append, **wanted)
        await server.over()
    return seen, facts


async def test_an_observer_sees_messages_of_both_sides_and_the_closes():
    """In the order in which they passed, as values, with the secrets of the session."""
    script = (UPGRADE, HELLO, MESSAGE, text({"type": "auth_ok"}), MESSAGE, text(ECHO_REPLY))
    seen, _ = await seen_by(*script, profile=AUTHED, secrets=("t0ken",))

    assert [(one.direction, one.values, one.code) for one in seen] == [
        (Direction.IN, ({"type": "hello"},), None),
        (Direction.OUT, ({"type": "auth", "token": "t0ken"},), None),
        (Direction.IN, ({"type": "auth_ok"},), None),
        (Direction.OUT, ({"type": "echo", "id": NONCE},), None),
        (Direction.IN, (ECHO_REPLY,), None),
        (Direction.OUT, None, 1000),
        (Direction.IN, None, 1000),
    ]
    assert {one.secrets for one in seen} == {("t0ken",)}


async def test_an_observer_sees_what_the_framing_cannot_read_and_the_servers_close():
    """Such a message has no values and its payload; a close has its code and its reason."""
    seen, _ = await seen_by(UPGRADE, frame(Opcode.TEXT, b"{no"), close(4403, "Forbidden"))

    assert [(one.data, one.values, one.code) for one in seen] == [(b"{no", None, None), (b"Forbidden", None, 4403)]


async def test_a_session_says_which_of_the_profiles_subprotocols_was_chosen():
    """One that carries a token is never in the observation."""
    profile = Profile.model_validate({"subprotocols": ["a.v1"]})

    async def choose(peer, name):
        await peer.request()
        peer.send(peer.switching(f"Sec-WebSocket-Protocol: {name}\r\n"))

    for name in ("a.v1", "jwt.t0ken"):
        async with serving(lambda peer, name=name: choose(peer, name)) as server:
            facts = await converse(server, profile=profile, subprotocols=("a.v1", "jwt.t0ken"))
        assert facts.fault is None
        assert facts.subprotocol == ("a.v1" if name == "a.v1" else None)
