"""The stand-in's model: slots, breaker, cache, replies, credentials, faults. No socket, no clock but a number."""

import json
import random

import pytest
from support import standin_clients as clients

from exporter.standin import FAULTS, Timings, parse
from exporter.standin.backend import AuthService, Backend, LoginRefusedError, TokenVerdict
from exporter.standin.breaker import AuthBreaker
from exporter.standin.credentials import UpgradeRequest, unverified_subject, well_formed
from exporter.standin.fault_registry import FaultRegistry, canonical
from exporter.standin.replies import answer, transport_answer
from exporter.standin.slots import UserManagers

USER = clients.USER


def managers(limit=5, **options):
    return UserManagers(limit, **{"release": 300.0, "idle": 1800.0, "cleanup": 300.0, "now": 0.0, **options})


def fill(held, count, at=0.0, user=USER):
    return [held.take(user, f"{user}-{at}-{number}", at) for number in range(count)]


# Slots (docs/backend-protocol.md#the-manager-factory) --------------------------------------------------------------


@pytest.mark.parametrize("limit", [5, 20])
def test_one_more_than_the_limit_is_refused(limit):
    """The limit is exact, per user, and a refusal takes nothing."""
    held = managers(limit)
    assert fill(held, limit + 2) == [True] * limit + [False] * 2
    assert held.count(USER) == limit
    assert fill(held, 1, user="somebody-else") == [True]


@pytest.mark.parametrize("limit", [5, 20])
def test_a_disconnect_counts_as_activity_and_frees_nothing(limit):
    """The release is counted from the disconnect, not from the connect, and must be exceeded."""
    held = managers(limit)
    for number in range(limit):
        held.take(USER, f"c{number}", 0.0)
        held.touch(USER, f"c{number}", 100.0)
    assert held.count(USER) == limit
    assert not held.take(USER, "late", 300.1)
    assert not held.take(USER, "late", 400.0)
    assert held.take(USER, "late", 400.1)
    assert held.count(USER) == 1


def test_the_emergency_clean_up_comes_only_with_the_limit():
    """Below the limit a manager stays, however idle."""
    held = managers()
    fill(held, 4)
    assert held.take(USER, "fifth", 1700.0)
    assert held.count(USER) == 5
    assert held.take(USER, "sixth", 1701.0)
    assert held.count(USER) == 2


def test_the_emergency_clean_up_takes_only_idle_managers_of_that_user():
    """Those of the user that are fresh enough stay, and so do all of other users."""
    held = managers()
    fill(held, 5, user="other")
    fill(held, 3)
    fill(held, 2, at=200.0)
    assert held.take(USER, "new", 301.0)
    assert held.count(USER) == 3
    assert held.count("other") == 5


def test_idle_live_connections_are_evicted_like_leaked_ones():
    """A manager knows nothing of whether its connection lives."""
    held = managers()
    fill(held, 5)
    assert held.has(USER, f"{USER}-0.0-0")
    assert held.take(USER, "sixth", 301.0)
    assert not held.has(USER, f"{USER}-0.0-0")
    held.touch(USER, f"{USER}-0.0-0", 302.0)
    assert held.count(USER) == 1


def test_the_background_clean_up_takes_what_is_idle_for_1800_seconds():
    """At a multiple of 300 s, whoever asks next, and as of then."""
    held = managers()
    fill(held, 3, at=10.0)
    held.touch(USER, "nobody", 2099.0)
    assert held.count(USER) == 3  # at 1800 they were idle for 1790 s only
    held.touch(USER, "nobody", 2100.0)
    assert held.count(USER) == 0


def test_a_leaked_manager_is_dropped_by_no_clean_up():
    """Neither at the limit nor in the background: what leaks fills the user's slots for good."""
    held = managers(limit=3)
    fill(held, 2)
    held.leak(f"{USER}-0.0-0")
    held.touch(USER, "nobody", 2100.0)
    assert held.count(USER) == 1
    fill(held, 2, at=2101.0)
    assert held.take(USER, "fourth", 2402.0)
    assert held.count(USER) == 2


def test_activity_after_the_background_pass_does_not_undo_it():
    """A pass that fell due is made as of its own time, though nobody looked then."""
    held = managers()
    fill(held, 1, at=10.0)
    held.touch(USER, f"{USER}-10.0-0", 2200.0)
    assert held.count(USER) == 0


@pytest.mark.parametrize(("limit", "every"), [(5, 60), (20, 15)])
def test_the_sustainable_rate_is_one_per_release_over_limit(limit, every):
    """5 slots bear one connect of a user per 60 s, 20 one per 15 s; a little faster meets the limit."""

    def refusals(gap):
        held = managers(limit)
        times = [number * gap for number in range(400)]
        return sum(not held.take(USER, f"c{at}", at) for at in times)

    assert refusals(every + 0.1) == 0
    assert refusals(every - 1) > 0


# Breaker and cache (section 1) -------------------------------------------------------------------------------------


def test_three_failures_in_a_row_open_the_breaker_for_its_time():
    """Open for ten seconds, then half-open; one success closes it."""
    breaker = AuthBreaker(10.0)
    for now in (0.0, 1.0, 2.0):
        assert breaker.allows(now)
        breaker.record(now, ok=False)
    assert not breaker.allows(2.0)
    assert not breaker.allows(11.9)
    assert breaker.allows(12.0)
    breaker.record(12.0, ok=True)
    breaker.record(13.0, ok=False)
    breaker.record(14.0, ok=False)
    assert breaker.allows(14.0)


def test_a_failure_while_half_open_opens_it_again():
    """One is enough then."""
    breaker = AuthBreaker(10.0)
    for _ in range(3):
        breaker.record(0.0, ok=False)
    assert breaker.allows(10.0)
    breaker.record(10.0, ok=False)
    assert not breaker.allows(19.9)
    assert breaker.allows(20.0)


@pytest.mark.parametrize(
    ("calls", "opens"),
    [
        ("FFF", True),
        ("FSF", False),
        ("FFSFF", True),
        ("SFFSFF", False),
        ("FS" * 6, False),
        ("SF" * 6, False),
        ("FF", False),
    ],
)
def test_the_rate_opens_it_at_four_fifths(calls, opens):
    """80 % of at least three calls; alternating ones never do."""
    breaker = AuthBreaker(10.0)
    for call in calls:
        breaker.record(0.0, ok=call == "S")
    assert breaker.allows(0.0) is not opens


KEY = b"k" * 64
NOW = 1_800_000_000.0


def backend(**options):
    return Backend(KEY, **{"slots": 5, "timings": Timings(), "rng": random.Random(0), "now": 0.0, **options})


def knock(token=None, **headers):
    bearer = {} if token is None else {"authorization": f"Bearer {token}"}
    return UpgradeRequest("/ws", headers={**bearer, **headers})


def test_a_remembered_token_keeps_the_breaker_closed_and_ends_with_its_time():
    """A positive verdict lives 300 s from when it was given, and counts as a success."""
    process = backend()
    token = clients.token(KEY, NOW, lifetime=60)
    assert process.authenticate(knock(token), now=0.0, wall=NOW) == USER
    assert process.authenticate(knock(token), now=299.0, wall=NOW + 299) == USER
    with pytest.raises(LoginRefusedError):
        process.authenticate(knock(token), now=300.0, wall=NOW + 300)


def test_an_open_breaker_refuses_remembered_tokens_too():
    """Any good token is refused in the next ten seconds (section 9)."""
    process = backend()
    good, bad = clients.token(KEY, NOW), clients.token(b"f" * 64, NOW)
    process.authenticate(knock(good), now=0.0, wall=NOW)
    for _ in range(3):
        with pytest.raises(LoginRefusedError):
            process.authenticate(knock(bad), now=1.0, wall=NOW)
    with pytest.raises(LoginRefusedError) as refused:
        process.authenticate(knock(good), now=10.9, wall=NOW)
    assert refused.value.frame["error_message"].startswith("auth_service_unreachable")
    assert process.authenticate(knock(good), now=11.0, wall=NOW) == USER


def test_bypassed_and_malformed_knocks_never_touch_the_breaker():
    """Nor do requests without a token."""
    process = backend()
    for _ in range(5):
        for each in (knock(), knock("a.b")):
            with pytest.raises(LoginRefusedError, match="1008"):
                process.authenticate(each, now=0.0, wall=NOW)
        process.authenticate(knock("garbage", **{"x-test-mode": "true"}), now=0.0, wall=NOW)
    assert process.authenticate(knock(clients.token(KEY, NOW)), now=0.0, wall=NOW) == USER


def test_the_memory_of_verdicts_is_bounded(monkeypatch):
    """Whatever a client sends; the oldest go first."""
    monkeypatch.setattr("exporter.standin.backend.MAX_REMEMBERED_TOKENS", 10)
    process = backend()
    for number in range(30):
        process.authenticate(knock(clients.token(KEY, NOW)), now=float(number), wall=NOW)
    assert len(process._cached) == 10
    process.authenticate(knock(clients.token(KEY, NOW)), now=1000.0, wall=NOW)
    assert len(process._cached) == 1


def test_a_service_of_a_fault_judges_in_place_of_the_real_one():
    """It overrides cache and breaker unless it asks to be counted."""
    process = backend()
    token = clients.token(KEY, NOW)
    process.authenticate(knock(token), now=0.0, wall=NOW)
    service = AuthService(lambda _token: TokenVerdict(text="no"))
    for _ in range(5):
        with pytest.raises(LoginRefusedError, match="1008"):
            process.authenticate(knock(token), now=0.0, wall=NOW, service=service)
    assert process.authenticate(knock(token), now=0.0, wall=NOW) == USER


def test_connection_ids_look_like_the_real_ones_and_follow_the_seed():
    """`ws_<first 8 of user>_<unix s>_<8 hex>`."""
    one, two = backend().connection_id(USER, NOW), backend().connection_id(USER, NOW)
    assert one == two
    prefix, hexadecimal = one.rsplit("_", 1)
    assert prefix == "ws_staging-_1800000000"
    assert int(hexadecimal, 16) < 2**32
    assert len(hexadecimal) == 8


# Credentials --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "query", "token"),
    [
        ({"authorization": "Bearer a.b.c"}, "", "a.b.c"),
        ({"authorization": "bearer a.b.c"}, "", None),
        ({"authorization": "Basic a"}, "token=q", "q"),
        ({"sec-websocket-protocol": f"jwt-auth, {clients.offer('x.y.z')}"}, "token=q", "x.y.z"),
        ({"sec-websocket-protocol": "jwt.!!!"}, "", None),
        ({"sec-websocket-protocol": "jwt.gICA"}, "", None),
        ({"sec-websocket-protocol": "jwt."}, "token=q", "q"),
        ({}, "token=q&token=r", "q"),
        ({}, "token=", None),
        ({}, "", None),
    ],
)
def test_the_token_is_looked_for_in_order(headers, query, token):
    """Header, subprotocol, query; what cannot be read is not there."""
    assert UpgradeRequest("/ws", query, headers).token() == token


@pytest.mark.parametrize(("text", "formed"), [("a.b.c", True), ("a.b", False), ("a..c", False), ("a.b.c.d", False)])
def test_the_format_check_wants_three_parts(text, formed):
    """None of them empty."""
    assert well_formed(text) is formed


@pytest.mark.parametrize(
    ("token", "user"),
    [
        (f"x.{clients.offer(json.dumps({'sub': 'a', 'user_id': 'b'}))[4:]}.z", "a"),
        (f"x.{clients.offer(json.dumps({'user_id': 'b'}))[4:]}.z", "b"),
        (f"x.{clients.offer(json.dumps({'sub': 5, 'username': 'c'}))[4:]}.z", "c"),
        (f"x.{clients.offer('[]')[4:]}.z", "staging-e2e-user-123"),
        (f"x.{clients.offer('[' * 100_000)[4:]}.z", "staging-e2e-user-123"),
        ("garbage", "staging-e2e-user-123"),
        ("a.%%%.c", "staging-e2e-user-123"),
    ],
    ids=["sub", "user_id", "username", "array", "deep", "garbage", "not base64"],
)
def test_an_unverified_subject_is_read_or_invented(token, user):
    """`sub`, `user_id`, `username`, else a name made of the time."""
    assert unverified_subject(token, 1_757_000_123.9) == user


# Replies (section 2) --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "word"),
    [
        ({"type": "ping"}, "pong"),
        ({"type": "heartbeat"}, "heartbeat_ack"),
        ({"type": "message", "message_id": "m"}, "acknowledged"),
        ({"type": "user_input"}, "acknowledged"),
        ({"type": "chat_message"}, "ack chat_message"),
        ({"type": "auth", "token": "x"}, "ack auth"),
        ({"type": "anything"}, "ack anything"),
        ({"type": ["odd"]}, "ack ['odd']"),
        ({"type": None}, "ack None"),
        ({"jsonrpc": "2.0", "method": "x", "id": 1}, "ack unknown"),
        ({"type": "jsonrpc_request", "method": "x", "id": 7}, "rpc 7"),
        ({"type": "connect"}, "connected"),
        ({"type": "disconnect"}, "disconnect_acknowledged"),
        ({"type": "typing"}, "typing_acknowledged"),
        ({"type": "agent_status"}, "agent_message_acknowledged"),
    ],
)
def test_every_type_has_its_reply(message, word):
    """As the table of frames says."""
    (frame,) = answer(json.dumps(message), USER, NOW).frames
    told = {
        "ack": f"ack {frame.get('received_type')}",
        "system_message": frame.get("data", {}).get("status"),
    }.get(frame.get("type"), frame.get("type") or f"rpc {frame['id']}")
    assert told == word


def test_replies_can_be_correlated():
    """By `received_type`, by `original_message_id`, by the id of JSON-RPC."""
    assert answer('{"type":"nonce-7"}', USER, NOW).frames[0]["received_type"] == "nonce-7"
    chat = answer('{"type":"message","message_id":"m-7"}', USER, NOW).frames[0]
    assert chat["data"]["original_message_id"] == "m-7"
    assert answer('{"type":"jsonrpc_request","id":[1]}', USER, NOW).frames[0]["id"] == [1]


@pytest.mark.parametrize("kind", ["pong", "agent_request", "broadcast"])
def test_some_types_get_no_reply_and_are_no_error(kind):
    """Silence, and nothing counted."""
    reply = answer(json.dumps({"type": kind}), USER, NOW)
    assert (reply.frames, reply.error) == ([], False)


@pytest.mark.parametrize("message", [None, "[]", "1", '"x"', "null", '{"timestamp":"x"}', '{"payload":1}'])
def test_slips_are_errors_without_a_word(message):
    """Binary, no object, wrongly typed."""
    reply = answer(message, USER, NOW)
    assert (reply.frames, reply.error) == ([], True)


@pytest.mark.parametrize("message", ["", "{", "nonsense", "[" * 100_000, "9" * 5000])
def test_what_is_no_json_is_answered_and_no_slip(message):
    """FORMAT_ERROR, whatever Python's parser makes of it."""
    reply = answer(message, USER, NOW)
    assert [frame["error_code"] for frame in reply.frames] == ["FORMAT_ERROR"]
    assert reply.error is False
    assert transport_answer(message, NOW)["type"] == "error"


# Faults (specs) ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "values"),
    [
        ("slot_limit", {"user": "", "limit": None}),
        ("slot_limit:limit=5,user=a-b", {"user": "a-b", "limit": 5}),
        ("close:code=1000,reason=Graceful restart, at once,at=reply", {"reason": "Graceful restart, at once"}),
        ("close:reason=a=b", {"reason": "a=b"}),
        ("close:reason=", {"reason": ""}),
        ("slow_reply:delay=1.5s", {"delay": 1.5}),
        ("degraded:welcome=yes", {"welcome": True}),
        (" zombie ", {}),
        ("zombie:share=0.25", {}),
    ],
)
def test_specs_are_read(spec, values):
    """Values may hold spaces, commas and equal signs; what is not given is the default."""
    active = parse(spec)
    assert values.items() <= active.values.items()
    assert active.spec == spec.strip()
    assert active.share == (0.25 if "share" in spec else 1.0)


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("nonsense", "unknown fault 'nonsense'; known are none, refuse, not_tls"),
        ("", "unknown fault ''; known are"),
        ("close:cod=1", "unknown parameter 'cod' of close; known are code, reason, at, frame, text, share"),
        ("zombie:x", "unknown parameter 'x' of zombie; known are delay, share"),
        ("close:at=nowhere", "at of close must be one of admission, welcome, reply, close, not 'nowhere'"),
        ("close:code=x", "code of close must be a whole number below 1000000000, not 'x'"),
        ("close:code=70000", "code of close must be at most 65535"),
        ("close:reason=" + "ä" * 62, "reason of close must be at most 123 bytes"),
        ("slow_reply:delay=-1", "delay of slow_reply must be seconds such as 0.5, not '-1'"),
        ("slow_reply:delay=nan", "must be seconds"),
        ("degraded:welcome=maybe", "welcome of degraded must be true or false"),
        ("zombie:share=0", "share of zombie must be above 0 and at most 1"),
        ("zombie:share=2", "share of zombie must be above 0 and at most 1"),
        ("http:status=42", "status of http must be 100 to 999"),
        ("refuse:share=0.5", "refuse takes no share"),
    ],
)
def test_wrong_specs_are_refused_with_what_is_known(spec, sentence):
    """The sentence names what was wrong and what would be right."""
    with pytest.raises(ValueError, match=r"must|unknown|takes") as refused:
        parse(spec)
    assert sentence in str(refused.value)


def test_the_table_describes_itself():
    """Every fault and parameter has a line for docs and help, and its defaults are legal values."""
    for name, fault in FAULTS.items():
        assert fault.name == name
        assert fault.text
        for param in fault.params:
            assert param.text
            assert param.default in param.choices if param.choices else True
        assert parse(name).share == 1.0


@pytest.mark.parametrize("spec", ["refuse", "not_tls", "tls_expired", "silent:after=tcp", "abort:at=tcp"])
def test_what_acts_before_the_path_is_known_goes_on_all_paths_only(spec):
    """The refusal says so, and nothing is changed by it."""
    board = FaultRegistry(random.Random(0))
    board.set("/ws", ["zombie"])
    with pytest.raises(ValueError, match="acts before a path is known: set it on"):
        board.set("/ws", ["deaf", spec])
    assert board.specs("/ws") == ("zombie",)
    board.set("*", [spec])
    assert board.specs("*") == (spec,)


@pytest.mark.parametrize("path", ["", "ws", "/ws x", "/wsé", "**", "/" + "x" * 300])
def test_a_path_is_a_path(path):
    """Or `*`."""
    with pytest.raises(ValueError, match="no path"):
        canonical(path)


# Pace --------------------------------------------------------------------------------------------------------------


def test_pace_scales_and_shrinks():
    """`scaled` scales all; `quick` shortens only what a session waits for, in the same order."""
    pace, scaled, quick = Timings(cold_start=1.0), Timings(cold_start=1.0).scaled(0.01), Timings.quick()
    for name in Timings.__slots__:
        assert getattr(scaled, name) == pytest.approx(getattr(pace, name) / 100)
    assert quick.settle < quick.registration < quick.services < quick.startup_wait < 0.1
    assert (quick.slot_release, quick.breaker_open, quick.keepalive) == (300.0, 10.0, 20.0)
