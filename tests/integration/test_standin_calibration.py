"""The stand-in against what was observed of the real backend: docs/backend-protocol.md#calibration, in virtual time."""

import asyncio
import json

import pytest
from support import standin_clients as clients
from support import virtual_clock
from support.standin_clients import NONCE, Peer, offer, story, until, word_of

from exporter.standin import StandIn, Timings

FINE = "101 > welcome > ping ack > close 1000 eof"
REJECTED = "101 > VALIDATION_FAILED close 1008 SSOT Auth failed eof"
NO_TOKEN = "101 > NO_TOKEN close 1008 SSOT Auth failed eof"
LIMIT = "101 > FACTORY_INIT_FAILED close 1011 Factory SSOT validation failed eof"
BYPASS = ["X-E2E-Test: true"]


def scene(play, *, slots=5, **options):
    """Play against a stand-in with limit 5 on a virtual clock."""

    async def main(loop):
        async with StandIn.start(clock=loop.time, wall=loop.wall, slots=slots, **options) as standin:
            stage = Stage(standin, loop)
            found = await play(stage)
            for peer in stage.peers:
                await peer.close()
            assert not standin.crashes
            return found

    return virtual_clock.run(main)


class Stage:
    """The stand-in, the clock, and shorthands."""

    def __init__(self, standin, loop):
        self.standin = standin
        self.loop = loop
        self.peers = []

    def token(self, subject=clients.USER, key=None, **options):
        return clients.token(key or self.standin.key, self.loop.wall(), subject, **options)

    def forged(self):
        return self.token("mallory", b"f" * 64)

    async def story(self, token=None, headers=(), path="/ws"):
        bearer = [] if token is None else [f"Authorization: Bearer {token}"]
        return await story(self.standin, path, headers=[*bearer, *headers])

    async def open(self, subject=clients.USER, path="/ws"):
        peer = await Peer.connect(self.standin)
        self.peers.append(peer)
        assert await peer.upgrade(path, [f"Authorization: Bearer {self.token(subject)}"]) == "101"
        return peer

    async def welcomed(self, subject=clients.USER, path="/ws"):
        peer = await self.open(subject, path)
        assert (await until(peer, "ping"))[-2:] == ["welcome", "ping"]
        return peer

    async def first_error(self, token):
        peer = await Peer.connect(self.standin)
        self.peers.append(peer)
        await peer.upgrade("/ws", [f"Authorization: Bearer {token}"])
        return json.loads((await peer.frame())[1])


def test_a_valid_token_is_welcomed_after_a_tenth_of_a_second():
    """Welcome 0.1 s after the upgrade, the ping at once, an ack when asked, 1000 answered by 1000."""

    async def play(stage):
        begun = stage.loop.time()
        peer = await stage.open()
        assert await until(peer, "welcome") == ["welcome"]
        assert stage.loop.time() - begun == pytest.approx(0.1, abs=0.005)
        assert await until(peer, "ping") == ["ping"]
        assert stage.loop.time() - begun == pytest.approx(0.1, abs=0.005)
        return await stage.story(stage.token())

    assert scene(play) == FINE


def test_a_message_sent_before_the_welcome_is_kept_and_answered_after_it():
    """It is answered 50 ms after the welcome, behind welcome and ping."""

    async def play(stage):
        peer = await stage.open()
        peer.send_json({"type": NONCE})
        words = await until(peer, "ack")
        return words, stage.loop.time()

    words, at = scene(play)
    assert words == ["welcome", "ping", "ack"]
    assert at == pytest.approx(0.15, abs=0.01)


@pytest.mark.parametrize("claims", [None, {}])
def test_bypass_headers_let_any_token_in_as_whoever_it_says(claims):
    """A header whose name says test or e2e switches the check off, wrong signature or wrong claims alike."""

    async def play(stage):
        token = stage.token("mallory", b"f" * 64, claims=claims)
        told = await stage.story(token, BYPASS)
        return told, (await stage.standin.wait_sessions(1))[0].user

    assert scene(play) == (FINE, "mallory")


def test_the_word_garbage_gets_an_invented_user_under_bypass():
    """What cannot be read wanders over a thousand user names, by the time."""

    async def play(stage):
        told = await stage.story("garbage", BYPASS)
        return told, (await stage.standin.wait_sessions(1))[0].user, int(stage.loop.wall()) % 1000

    told, user, thousandth = scene(play)
    assert told == FINE
    assert user == f"staging-e2e-user-{thousandth}"


@pytest.mark.parametrize(
    ("header", "bypassed"),
    [
        ("X-Test-Type: E2E", True),
        ("X-Test-Mode: 1", True),
        ("X-Staging-E2E: staging", True),
        ("X-Test-Priority: high", False),
        ("X-Auth-Fast-Path: enabled", False),
        ("User-Agent: Netra-E2E-Tests/1.0", False),
    ],
)
def test_only_names_with_test_or_e2e_and_a_usual_value_bypass(header, bypassed):
    """The name and the value both count (docs/backend-protocol.md#connecting)."""
    told = scene(lambda stage: stage.story(stage.forged(), [header]))
    assert told == (FINE if bypassed else REJECTED)


@pytest.mark.parametrize(
    ("claims", "options"),
    [
        ({"iss": "somebody", "aud": "netra-platform", "token_type": "access"}, {}),
        ({"iss": "netra-auth-service", "aud": "elsewhere", "token_type": "access"}, {}),
        ({"iss": "netra-auth-service", "aud": "netra-platform", "token_type": "refresh"}, {}),
        ({"iss": "netra-auth-service", "aud": "netra-platform"}, {}),
        ({**clients.CLAIMS, "env": "production"}, {}),
        ({**clients.CLAIMS, "svc_id": "other"}, {}),
        (None, {"key": b"f" * 64}),
    ],
    ids=["iss", "aud", "token_type", "no token_type", "env", "svc_id", "signature"],
)
def test_a_token_that_is_wrong_anywhere_is_rejected(claims, options):
    """Forged, or not as docs/backend-protocol.md#limits says: VALIDATION_FAILED token_rejected, 1008 after 0.1 s."""

    async def play(stage):
        frame = await stage.first_error(stage.token(claims=claims, **options))
        begun = stage.loop.time()
        told = await stage.story(stage.token(claims=claims, **options))
        return frame, told, stage.loop.time() - begun

    frame, told, took = scene(play)
    assert told == REJECTED
    assert frame["error_code"] == "VALIDATION_FAILED"
    assert frame["error_message"].startswith("token_rejected")
    assert took == pytest.approx(0.1, abs=0.005)


@pytest.mark.parametrize(("env", "expected"), [("staging", FINE), ("production", REJECTED)])
def test_env_if_present_must_be_its_own(env, expected):
    """A claim that need not be there must be right if it is."""
    assert scene(lambda stage: stage.story(stage.token(claims={**clients.CLAIMS, "env": env}))) == expected


def test_an_expired_token_is_rejected():
    """By the stand-in's wall clock."""

    async def play(stage):
        token = stage.token(lifetime=300)
        await asyncio.sleep(301)
        return await stage.story(token)

    assert scene(play) == REJECTED


@pytest.mark.parametrize("headers", [[], BYPASS, ["Authorization: bearer x.y.z"], ["Authorization: Bearer "]])
def test_without_a_token_nobody_is_let_in(headers):
    """NO_TOKEN, with or without bypass headers, and for a lower-case `bearer`."""
    assert scene(lambda stage: stage.story(headers=headers)) == NO_TOKEN


@pytest.mark.parametrize("token", ["x.y", "x..z", "nothing"])
def test_what_is_no_token_is_refused_before_the_auth_service(token):
    """INVALID_FORMAT, any number of times: the breaker is not touched."""

    async def play(stage):
        told = {await stage.story(token) for _ in range(6)}
        return told, await stage.story(stage.token())

    assert scene(play) == ({"101 > INVALID_FORMAT close 1008 SSOT Auth failed eof"}, FINE)


def test_three_rejected_tokens_shut_everybody_out_for_ten_seconds():
    """The fourth and any good token then meet auth_service_unreachable; ten seconds later all is well again."""

    async def play(stage):
        texts = [(await stage.first_error(stage.forged()))["error_message"].split()[0] for _ in range(4)]
        other = (await stage.first_error(stage.token("somebody-else")))["error_message"].split()[0]
        elsewhere = await stage.story(stage.token(), path="/ws/other")
        await asyncio.sleep(10)
        return texts, other, elsewhere, await stage.story(stage.token())

    texts, other, elsewhere, later = scene(play)
    assert texts == ["token_rejected"] * 3 + ["auth_service_unreachable"]
    assert other == "auth_service_unreachable"
    assert elsewhere == FINE  # another path is another process
    assert later == FINE


def test_good_and_bad_tokens_in_turn_never_trip_the_breaker():
    """Six rounds, as observed."""

    async def play(stage):
        good = stage.token()
        return [(await stage.story(stage.forged()), await stage.story(good, path="/ws")) for _ in range(6)]

    assert scene(play, slots=20) == [(REJECTED, FINE)] * 6


def test_a_positive_verdict_is_remembered_for_300_seconds():
    """A token is let in as long as its verdict is remembered, even if it has expired meanwhile."""

    async def play(stage):
        token = stage.token(lifetime=60)
        told = [await stage.story(token)]
        for seconds in (290, 11):
            await asyncio.sleep(seconds)
            told.append(await stage.story(token))
        return told

    assert scene(play) == [FINE, FINE, REJECTED]


def test_the_sixth_connection_of_a_user_is_refused_however_cleanly_the_others_closed():
    """The incident: five clean sessions, then FACTORY_INIT_FAILED (5) and 1011 at once; other users are fine."""

    async def play(stage):
        told = [await stage.story(stage.token()) for _ in range(5)]
        begun = stage.loop.time()
        sixth = await stage.story(stage.token())
        took = stage.loop.time() - begun
        return told, sixth, took, await stage.story(stage.token("somebody-else"))

    told, sixth, took, other = scene(play)
    assert told == [FINE] * 5
    assert sixth == LIMIT
    assert took < 0.01
    assert other == FINE


def test_301_seconds_later_the_slots_are_free_again():
    """Counted from the disconnect: a second too early is too early."""

    async def play(stage):
        for _ in range(5):
            await stage.story(stage.token())
        await asyncio.sleep(299)
        early = await stage.story(stage.token())
        await asyncio.sleep(2)
        return early, await stage.story(stage.token()), stage.standin.held(clients.USER)

    assert scene(play) == (LIMIT, FINE, 1)


def test_the_release_is_counted_from_the_disconnect():
    """Five connections that lived 200 s hold their slots until 300 s after their end, not after their start."""

    async def play(stage):
        peers = [await stage.welcomed() for _ in range(5)]
        await asyncio.gather(*(_answer_pings(peer, 200) for peer in peers))
        for peer in peers:
            peer.send_close()
            await until(peer, "eof", ends=("eof",))
        told = []
        for seconds in (290, 11):
            await asyncio.sleep(seconds)
            told.append(await stage.story(stage.token()))
        return told

    assert scene(play) == [LIMIT, FINE]


def test_eight_at_once_are_five_welcomes_and_three_refusals():
    """Order under concurrency: the limit is exact."""

    async def play(stage):
        return await asyncio.gather(*(stage.story(stage.token()) for _ in range(8)))

    told = scene(play)
    assert sorted(told) == [LIMIT] * 3 + [FINE] * 5


def test_at_t1_the_twenty_first_is_refused():
    """The fix moved the limit and left the leak."""

    async def play(stage):
        return [await stage.story(stage.token()) for _ in range(23)]

    assert scene(play, slots=20) == [FINE] * 20 + [LIMIT] * 3


def test_an_abrupt_end_leaks_like_a_clean_close():
    """Nothing a client does at the end frees its slot."""

    async def play(stage):
        for _ in range(5):
            peer = await stage.welcomed()
            peer.writer.transport.abort()
        await stage.standin.wait_sessions(5)
        return await stage.story(stage.token())

    assert scene(play) == LIMIT


def test_five_idle_live_connections_lose_their_managers_to_a_sixth():
    """Over 300 s idle, they are evicted: a sixth is let in, and they go deaf, though they still answer pings."""

    async def play(stage):
        peers = [await stage.welcomed() for _ in range(5)]
        keepers = [asyncio.ensure_future(_answer_pings(peer, 301)) for peer in peers]
        await asyncio.gather(*keepers)
        sixth = await stage.story(stage.token())
        peers[0].send_json({"type": NONCE})
        peers[0].send_json({"type": "ping"})
        return sixth, await until(peers[0], "pong"), stage.standin.held(clients.USER)

    assert scene(play) == (FINE, ["pong"], 1)


async def _answer_pings(peer, seconds):
    """Live on for so long: answer protocol and application pings."""
    loop = asyncio.get_running_loop()
    until_when = loop.time() + seconds
    while (left := until_when - loop.time()) > 0:
        if await peer.word(idle=left) == "ping":
            peer.send_json({"type": "pong"})


def test_start_agent_takes_a_further_slot():
    """One connection and one `start_agent` are two managers; the events come a tenth of a second apart."""

    async def play(stage):
        peer = await stage.welcomed()
        peer.send_json({"type": "start_agent"})
        words = await until(peer, "agent_completed")
        return words, stage.loop.time(), stage.standin.held(clients.USER)

    words, at, held = scene(play)
    assert words == ["agent_started", "agent_thinking", "tool_executing", "tool_completed", "agent_completed"]
    assert at == pytest.approx(0.55, abs=0.01)
    assert held == 2


def test_a_start_up_that_never_completes_ends_after_thirty_seconds():
    """Without bypass headers: STARTUP_INCOMPLETE and 1011."""

    async def play(stage):
        stage.standin.set_fault("/ws", "startup_incomplete")
        peer = await stage.open()
        words = []
        while not words or not words[-1].startswith("close"):
            words.append(await peer.word(idle=40))
        return words, stage.loop.time()

    words, at = scene(play)
    assert words == ["PING", "STARTUP_INCOMPLETE", "close 1011 Service startup incomplete"]
    assert at == pytest.approx(30, abs=0.1)


def test_under_bypass_an_incomplete_start_up_is_admitted():
    """service_info at 3.0 s, the welcome at 3.1 s, and it says so."""

    async def play(stage):
        stage.standin.set_fault("/ws", "startup_incomplete")
        peer = await Peer.connect(stage.standin)
        stage.peers.append(peer)
        await peer.upgrade("/ws", [f"Authorization: Bearer {stage.token()}", *BYPASS])
        frames = [json.loads((await peer.frame())[1]) for _ in range(2)]
        return [word_of(frame) for frame in frames], frames[1]["data"]["startup_complete"], stage.loop.time()

    words, complete, at = scene(play)
    assert words == ["service_info", "welcome"]
    assert complete is False
    assert at == pytest.approx(3.1, abs=0.01)


@pytest.mark.parametrize(
    "slip",
    [b"[]", b'"text"', b'{"type":"x","timestamp":"2025-09-09T00:00:00"}', b'{"type":"x","payload":[]}'],
    ids=["array", "string", "timestamp", "payload"],
)
def test_five_slips_make_a_zombie(slip):
    """Four are forgiven; the fifth in a row ends the message loop, while the protocol lives on and says nothing."""

    async def play(stage):
        peer = await stage.welcomed()
        for count, expected in ((4, "ack"), (5, "silence")):
            for _ in range(count):
                peer.send("text", slip)
            peer.send_json({"type": NONCE})
            assert (await until(peer, "ack"))[-1] == expected
        peer.send_json({"type": "ping"})
        words = [await peer.word(idle=19) for _ in range(4)]
        peer.send_close()
        return words, (await until(peer))[-1]

    words, last = scene(play)
    assert set(words) <= {"PING", "silence"}
    assert "PING" in words
    assert last == "close 1000"


def test_binary_messages_are_slips_too():
    """Five of them make a zombie, without a word."""

    async def play(stage):
        peer = await stage.welcomed()
        for _ in range(5):
            peer.send("binary", b"\x00\x01")
        peer.send_json({"type": NONCE})
        return await until(peer, "ack")

    assert scene(play) == ["silence"]


def test_withheld_protocol_pongs_end_in_a_keepalive_1011():
    """Pings at 0 and 25 s, 1011 `keepalive ping timeout` at 40 s."""

    async def play(stage):
        peer = await stage.open()
        log = []
        while not log or not log[-1][1].startswith("close"):
            kind, value = await peer.frame(idle=100)
            word = f"close {value}" if kind == "close" else kind if kind == "ping" else word_of(json.loads(value))
            log.append((stage.loop.time(), "PING" if kind == "ping" else word))
        return log

    log = scene(play)
    assert [word for _, word in log] == ["welcome", "ping", "PING", "ping", "close 1011 keepalive ping timeout"]
    assert [at for at, _ in log] == pytest.approx([0.1, 0.1, 20, 25.1, 40], abs=0.01)


def test_withheld_application_pongs_only_stop_the_heartbeat():
    """Pings at 0, 25, 50 and 75 s, then none; requests are still answered and nothing is closed."""

    async def play(stage):
        peer = await stage.open()
        pings = []
        while stage.loop.time() < 200:
            if await peer.word(idle=200 - stage.loop.time()) == "ping":
                pings.append(stage.loop.time())
        peer.send_json({"type": NONCE})
        return pings, await until(peer, "ack")

    pings, words = scene(play)
    assert pings == pytest.approx([0.1, 25.1, 50.1, 75.1], abs=0.01)
    assert words[-1] == "ack"


def test_answered_heartbeats_go_on():
    """With a pong for each ping they come every 25 s."""

    async def play(stage):
        peer = await stage.welcomed()
        pings = []
        while stage.loop.time() < 200:
            if await peer.word(idle=200 - stage.loop.time()) == "ping":
                pings.append(stage.loop.time())
                peer.send_json({"type": "pong"})
        return pings

    assert scene(play) == pytest.approx([25.1, 50.1, 75.1, 100.1, 125.1, 150.1, 175.1], abs=0.01)


def test_a_message_over_8192_bytes_is_dropped_and_the_next_answered():
    """Not a word about it, and it is no slip."""

    async def play(stage):
        peer = await stage.welcomed()
        for _ in range(6):
            peer.send("text", b'{"type":"' + b"x" * 8200 + b'"}')
        peer.send_json({"type": "ping"})
        peer.send("text", b'{"type":"' + b"y" * (8192 - 11) + b'"}')
        return await until(peer, "pong"), await until(peer, "ack")

    pong, ack = scene(play)
    assert pong == ["pong"]
    assert ack == ["ack"]


def test_a_message_over_16_mib_is_1009():
    """By the library, at the frame's head, with an empty reason."""

    async def play(stage):
        peer = await stage.welcomed()
        peer.writer.write(b"\x81\xff" + (17 * 2**20).to_bytes(8, "big"))
        return await until(peer)

    assert scene(play) == ["close 1009"]


def test_what_is_no_json_gets_a_format_error_and_stays():
    """FORMAT_ERROR any number of times; the connection lives on."""

    async def play(stage):
        peer = await stage.welcomed()
        for _ in range(7):
            peer.send("text", b"{nonsense")
            assert await peer.word() == "FORMAT_ERROR"
        peer.send_json({"type": NONCE})
        return await until(peer, "ack")

    assert scene(play) == ["ack"]


@pytest.mark.parametrize(("live", "expected"), [("restart", "close 1012"), ("kill", "reset"), ("keep", "silence")])
def test_a_worker_told_to_stop_closes_with_1012_and_a_killed_one_resets(live, expected):
    """The process is fresh afterwards: its managers are gone."""

    async def play(stage):
        peer = await stage.welcomed()
        stage.standin.forget("/ws", live=live)
        assert stage.standin.held(clients.USER) == 0
        return (await until(peer))[-1]

    assert scene(play) == expected


def test_a_name_shape_of_t2_meets_only_its_shape():
    """The pool's name is refused by a bare 1011, another shape is let in (docs/backend-protocol.md#incidents, 22)."""

    async def play(stage):
        stage.standin.set_fault("/ws", "name_shape:shape=pool")
        return [await stage.story(stage.token(user)) for user in ("staging-e2e-user-002", "test-user-123", "sub")]

    refused, *others = scene(play)
    assert refused == "101 > handshake_validation close 1011 Internal error eof"
    assert others[1] == FINE


def test_the_first_connection_of_a_process_can_be_slow():
    """`cold_start` is added once per fresh process, on each path of its own."""

    async def play(stage):
        took = []
        for path in ("/ws", "/ws", "/ws/a", "/ws"):
            begun = stage.loop.time()
            await stage.welcomed(path=path)
            took.append(stage.loop.time() - begun)
            if len(took) == 3:
                stage.standin.forget()
        return took

    assert scene(play, timings=Timings(cold_start=1.0)) == pytest.approx([1.1, 0.1, 1.1, 1.1], abs=0.01)


def test_the_platform_cuts_a_connection_after_600_seconds_without_a_close_frame():
    """Seen as 1006."""

    async def play(stage):
        peer = await stage.open()
        while (word := await peer.word(idle=30)) not in ("eof", "reset"):
            if word == "ping":
                peer.send_json({"type": "pong"})
        return stage.loop.time()

    assert scene(play) == pytest.approx(600, abs=0.1)


# Section 1: paths and credentials -----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/ws/", "/", "/nothing", "/ws/UPPER", "/ws/a/b", "/ws/a%20b", "*", "//", "/ws/é"])
def test_an_unknown_path_is_403_on_the_upgrade(path):
    """Whatever it is, and nothing else comes."""

    async def play(stage):
        return await stage.story(stage.token(), path=path)

    assert scene(play) in ("403", "eof")  # a path beyond ASCII is no HTTP at all


def test_plain_http_is_404_but_for_health():
    """`/ws` by plain GET is 404; `/health` says healthy whatever the WebSocket does."""

    async def play(stage):
        stage.standin.set_fault("*", "slot_limit")
        answers = []
        for path in ("/ws", "/health"):
            peer = await Peer.connect(stage.standin)
            peer.writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            answers.append((await peer.status(), json.loads(await peer.body())))
            await peer.close()
        return answers

    (missing, _), (found, health) = scene(play)
    assert (missing, found) == ("404", "200")
    assert health["status"] == "healthy"


def test_credentials_are_taken_in_the_servers_order():
    """Header before subprotocol before query."""

    async def play(stage):
        tokens = {name: stage.token(name) for name in ("by-header", "by-offer", "by-query")}
        header = f"Authorization: Bearer {tokens['by-header']}"
        offered = f"Sec-WebSocket-Protocol: {offer(tokens['by-offer'])}"
        query = f"/ws?x=1&token={tokens['by-query']}"
        for headers, path in (([header, offered], query), ([offered], query), ([], query)):
            assert await stage.story(headers=headers, path=path) == FINE
        return [seen.user for seen in await stage.standin.wait_sessions(3)]

    assert scene(play) == ["by-header", "by-offer", "by-query"]


@pytest.mark.parametrize(
    ("offers", "answer"),
    [("jwt-auth, jwt.eA", "jwt-auth"), ("jwt.eA", None), ("chat", None), (None, None)],
)
def test_only_jwt_auth_is_ever_selected(offers, answer):
    """The subprotocol answer is `jwt-auth` if it was offered, else none at all."""

    async def play(stage):
        peer = await Peer.connect(stage.standin)
        stage.peers.append(peer)
        assert await peer.upgrade("/ws", [f"Sec-WebSocket-Protocol: {offers}"] if offers else []) == "101"
        return [line for line in peer.head.splitlines() if line.lower().startswith("sec-websocket-protocol")]

    assert scene(play) == ([f"Sec-WebSocket-Protocol: {answer}"] if answer else [])


def test_an_auth_refusal_leaks_what_the_real_one_leaks():
    """Thirty characters of the header, prefix and suffix of the token: so that tests for secrets are honest."""

    async def play(stage):
        token = stage.forged()
        return token, json.dumps(await stage.first_error(token))

    token, frame = scene(play)
    assert f"Bearer {token}"[:30] in frame
    assert token[:12] in frame
    assert token[-8:] in frame
    assert token not in frame


def test_websocket_is_an_alias_and_shares_the_slots():
    """Two of `/ws` and three of `/websocket` are five of one process; `/ws/a` is another."""

    async def play(stage):
        for path in ("/ws", "/ws", "/websocket", "/websocket", "/websocket"):
            await stage.story(stage.token(), path=path)
        return [await stage.story(stage.token(), path=path) for path in ("/ws", "/websocket", "/ws/a")]

    assert scene(play) == [LIMIT, LIMIT, FINE]


# Section 3 and the broken path ------------------------------------------------------------------------------------


def test_ws_test_needs_no_token_and_takes_no_slot():
    """Its first frame, its replies, and a heartbeat after 30 idle seconds."""

    async def play(stage):
        peer = await Peer.connect(stage.standin)
        stage.peers.append(peer)
        assert await peer.upgrade("/ws/test") == "101"
        frames = [json.loads((await peer.frame())[1])]
        for message in (b'{"type":"ping"}', b'{"type":"echo","x":1}', b'{"type":"other"}', b"{", b"[]"):
            peer.send("text", message)
            frames.append(json.loads((await peer.frame())[1]))
        begun = stage.loop.time()
        while (word := await peer.word(idle=40)) == "PING":
            pass
        peer.send_close()
        return frames, word, stage.loop.time() - begun, await peer.word()

    frames, word, took, last = scene(play)
    assert [frame["type"] for frame in frames] == [
        "connection_established",
        "pong",
        "echo_response",
        "ack",
        "error",
        "ack",
    ]
    assert frames[2]["original"] == {"type": "echo", "x": 1}
    assert frames[3]["received_type"] == "other"
    assert (word, last) == ("heartbeat", "close 1000")
    assert took == pytest.approx(30, abs=0.1)


def test_the_isolated_path_is_broken_and_its_health_is_not():
    """`/ws/isolated` opens and says nothing; its health is one frame and a clean close."""

    async def play(stage):
        told = []
        for path in ("/ws/isolated", "/ws/isolated/health"):
            peer = await Peer.connect(stage.standin)
            stage.peers.append(peer)
            assert await peer.upgrade(path) == "101"
            told.append(await until(peer))
        return told

    assert scene(play) == [["silence"], ["health_check", "close 1000 Health check completed"]]
