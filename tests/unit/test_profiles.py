"""Package `profiles`: built-in profiles as data, and what reads any profile."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.catalog import read_profile
from exporter.config import CloseRule, ErrorRule, NoiseRule, Profile, Step, load_yaml, parse, profile_problems
from exporter.profiles import (
    BUILT_IN,
    ECHO,
    FACTORY,
    OTHER_KINDS,
    MessageMatcher,
    SessionMessages,
    fill,
    kinds_of,
    lookup,
    matches,
    own_codes,
    phases_of,
    probes_of,
    resembles,
    sort_close,
    sort_error,
    variables,
)
from exporter.result import FactoryReason, Phase, Probe, Reason

calm = settings(deadline=None, database=None)  # a busy machine is no finding

VALUES = {"nonce": "9f3a2b1c", "identity": "staging-e2e-user-001", "token": "aaa.bbb.ccc"}

KEYS = st.text(max_size=8)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12)
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4))
OBJECTS = st.dictionaries(KEYS, JSON, max_size=5)
HOSTILE = st.recursive(
    SCALARS | st.floats(), lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4)
)
TEMPLATES = st.recursive(
    SCALARS.filter(lambda value: not (isinstance(value, str) and "$" in value))
    | st.sampled_from(["${nonce}", "a_${nonce}_${identity}", "${token}"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
)


# Patterns ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "value", "expected"),
    [
        ({}, {"a": 1}, True),
        ({}, [], False),
        ({"a": 1}, {"a": 1, "b": 2}, True),
        ({"a": 1}, {"b": 1}, False),
        ({"a": 1}, {}, False),
        ({"a": 1}, None, False),
        ({"a": {"b": 1}}, {"a": {"b": 1, "c": 2}}, True),
        ({"a": {"b": 1}}, {"a": 1}, False),
        ({"a": {}}, {"a": {"b": 1}}, True),
        ({"a": {}}, {"a": []}, False),
        ({"a": True}, {"a": True}, True),
        ({"a": True}, {"a": 1}, False),
        ({"a": 1}, {"a": True}, False),
        ({"a": False}, {"a": 0}, False),
        ({"a": 0}, {"a": False}, False),
        ({"a": 0}, {"a": 0.0}, True),
        ({"a": 1}, {"a": 1.0}, True),
        ({"a": 1}, {"a": 1.5}, False),
        ({"a": 1}, {"a": "1"}, False),
        ({"a": "1"}, {"a": 1}, False),
        ({"a": None}, {"a": None}, True),
        ({"a": None}, {}, False),
        ({"a": None}, {"a": False}, False),
        ({"a": [1, 2]}, {"a": [1, 2]}, True),
        ({"a": [1, 2]}, {"a": [1, 2, 3]}, False),
        ({"a": [1, 2]}, {"a": [2, 1]}, False),
        ({"a": [True]}, {"a": [1]}, False),
        ({"a": [1]}, {"a": [True]}, False),
        ({"a": [{"b": True}]}, {"a": [{"b": 1}]}, False),
        ({"a": [{"b": 1}]}, {"a": [{"b": 1, "c": 2}]}, True),
        ({"a": []}, {"a": []}, True),
        ({"a": []}, {"a": {}}, False),
        ({"a": ["b"]}, {"a": "b"}, False),
        ({"a": "b"}, {"a": ["b"]}, False),
        ({"a": 1}, {"a": float("nan")}, False),
    ],
)
def test_objects_contain_and_all_else_is_equal(pattern, value, expected):
    """Objects contain the pattern, lists agree item by item, all else is equal in value and JSON type."""
    assert matches(pattern, value) is expected


@calm
@given(OBJECTS)
def test_a_value_matches_itself(value):
    """Every JSON object contains itself."""
    assert matches(value, value)


@calm
@given(OBJECTS, OBJECTS)
def test_a_pattern_matches_what_has_more(pattern, more):
    """A message with more fields than the pattern still matches; without one of them it does not."""
    assert matches(pattern, {**more, **pattern})
    for key in pattern:
        assert not matches(pattern, {name: value for name, value in pattern.items() if name != key})


@calm
@given(HOSTILE, HOSTILE)
def test_no_json_value_breaks_matching(pattern, value):
    """Whatever a stranger sends, matching answers yes or no; what matches also resembles."""
    answer = matches(pattern, value)

    assert answer in (True, False)
    assert not answer or "$" in json.dumps(pattern) or resembles(pattern, value)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a", {"b": {"c": 0}, "n": None}),
        ("a.b.c", 0),
        ("a.n", None),
        ("a.x", None),
        ("a.b.c.d", None),
        ("x", None),
        ("t", "text"),
        ("t.0", None),
        ("l", [1]),
        ("l.0", 1),
        ("l.1", None),
        ("l.-1", None),
        ("l.x", None),
        ("", None),
    ],
)
def test_a_path_leads_to_a_field_or_to_none(path, expected):
    """A dotted path leads through objects, and by numbers through lists; what is not there is None."""
    assert lookup({"a": {"b": {"c": 0}, "n": None}, "t": "text", "l": [1]}, path) == expected


@calm
@given(HOSTILE, st.text())
def test_no_json_value_breaks_looking_up(value, path):
    """A field of anything is a value or None, never an error."""
    lookup(value, path)


# Templates --------------------------------------------------------------------------------------------------------


def test_variables_are_filled_in_wherever_text_stands():
    """Each `${name}` in a text is replaced, in objects and lists too; keys and all that is no text stay."""
    template = {"a": "${nonce}-${nonce}", "${nonce}": ["x${identity}", 1, None, True, {"b": "${token}"}], "c": "$nonce"}

    assert fill(template, VALUES) == {
        "a": "9f3a2b1c-9f3a2b1c",
        "${nonce}": ["xstaging-e2e-user-001", 1, None, True, {"b": "aaa.bbb.ccc"}],
        "c": "$nonce",
    }
    assert template["a"] == "${nonce}-${nonce}"


def test_a_filled_in_value_is_not_read_again():
    """A subject that looks like a variable does not bring a token to light."""
    assert fill("${identity}", {"identity": "${token}", "token": "secret"}) == "${token}"


def test_a_variable_without_value_is_an_error_of_ours():
    """A name that has no value is never sent as it stands."""
    with pytest.raises(KeyError, match="token"):
        fill({"a": ["${token}"]}, {"nonce": "1"})


@pytest.mark.parametrize(
    ("template", "names"),
    [
        ({"a": "${nonce}", "b": ["${nonce} ${identity}", {"c": "${token}"}]}, ["nonce", "nonce", "identity", "token"]),
        ({"${nonce}": "nonce"}, []),
        (["$nonce", "${}", "$ {nonce}", "${no nce}", 1, None], []),
    ],
)
def test_the_variables_of_a_template_are_named(template, names):
    """Names stand in order, with repetitions, and only for what would be filled in."""
    assert list(variables(template)) == names


@calm
@given(st.dictionaries(KEYS, TEMPLATES, max_size=5), OBJECTS)
def test_a_filled_pattern_matches_the_message_made_from_it(template, more):
    """What is sent back as it was asked for is our reply, whatever else stands in it; another's only resembles it."""
    ours = fill(template, VALUES)
    theirs = fill(template, {**VALUES, "nonce": "another"})

    assert matches(ours, {**more, **ours})
    assert resembles(template, {**more, **ours})
    assert resembles(template, theirs)
    assert matches(ours, theirs) is ("nonce" not in variables(template))


@calm
@given(st.dictionaries(KEYS, TEMPLATES, max_size=5))
def test_every_variable_is_filled(template):
    """A filled template holds no variable, and names exactly those it needs."""
    needed = {name: VALUES[name] for name in variables(template)}

    assert list(variables(fill(template, needed))) == []


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"type": "ack", "received_type": "chat_message"}, True),
        ({"type": "ack", "received_type": "ws_factory_exporter_other", "user_id": "x"}, True),
        ({"type": "ack", "received_type": None}, False),
        ({"type": "ack", "received_type": 7}, False),
        ({"type": "ack"}, False),
        ({"type": "ping", "received_type": "chat_message"}, False),
    ],
)
def test_a_reply_to_somebody_else_resembles_ours(value, expected):
    """An acknowledgement of anything is a reply, whoever asked; other frames are not."""
    assert resembles(FACTORY.send[0].match, value) is expected
    assert resembles({"list": [FACTORY.send[0].match]}, {"list": [value]}) is expected


# The built-in profiles --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_built_in_profiles_pass_the_checks_of_the_config(name):
    """What we ship keeps the rules that we hold a user's profiles to."""
    assert list(profile_problems(BUILT_IN[name])) == []


def test_the_factory_is_handled_with_the_care_of_the_design():
    """20 slots of 300 s, one in reserve, no token where none is needed, no header that bypasses it."""
    limits = FACTORY.limits

    assert (limits.slots_per_identity, limits.slot_release, limits.reserve) == (20, 300, 1)
    assert (FACTORY.needs_token, FACTORY.connect_without_token) == (True, True)
    assert FACTORY.bypass_headers == ["test", "e2e"]
    assert ECHO.limits.slots_per_identity == 0


# docs/backend-protocol.md#frames: types that the server routes somewhere. An unknown one is answered by a bare ack.
ROUTED = {
    *("start_agent", "agent_request", "user_message", "user", "user_input", "chat", "chat_message", "message"),
    *("connect", "disconnect", "broadcast", "ping", "pong", "heartbeat", "jsonrpc_request", "auth", "typing"),
}


def test_our_message_cannot_start_an_agent():
    """The factory is sent one text field: a type that no server routes anywhere, far below its size limit."""
    message = fill(FACTORY.send[0].message, VALUES)

    assert list(message) == ["type"]
    assert message["type"] == "ws_factory_exporter_9f3a2b1c"
    assert not any(message["type"].startswith(known) for known in ROUTED)
    assert len(json.dumps(message)) < 8_192 / 10
    assert FACTORY.auth == []


def frame(code, text="", error=""):
    """An error frame as docs/backend-protocol.md#frames shows it."""
    details = {"error_message": error, "error_type": "FactoryInitializationError"}
    return {"type": "error_message", "error_code": code, "error_message": text, "details": details, "timestamp": 1.5}


LIMIT = "User has reached the maximum number of WebSocket managers (5). Emergency cleanup attempted."
REJECTED, UNAVAILABLE = Reason.AUTH_REJECTED, Reason.AUTH_UNAVAILABLE
INIT, SLOTS, STARTUP = FactoryReason.INIT_FAILED, FactoryReason.SLOT_LIMIT, FactoryReason.STARTUP_INCOMPLETE

# docs/backend-protocol.md#login-refusals: error frame → meaning, slot limit, whether the token was verified.
FRAMES = [
    (frame("FACTORY_INIT_FAILED", error=LIMIT), SLOTS, 5, True),
    (frame("FACTORY_INIT_FAILED", error=LIMIT.replace("5", "20")), SLOTS, 20, True),
    (frame("FACTORY_INIT_FAILED", error="context is of the wrong type"), INIT, None, True),
    (frame("FACTORY_INIT_FAILED", LIMIT), INIT, None, True),
    ({"type": "error_message", "error_code": "FACTORY_INIT_FAILED"}, INIT, None, True),
    ({**frame("FACTORY_INIT_FAILED"), "details": {"error_message": ["5"]}}, INIT, None, True),
    ({**frame("FACTORY_INIT_FAILED"), "details": LIMIT}, INIT, None, True),
    (frame("FACTORY_CRITICAL_FAILURE"), INIT, None, True),
    (frame("STARTUP_INCOMPLETE"), STARTUP, None, True),
    (frame("NO_TOKEN"), REJECTED, None, False),
    (frame("INVALID_FORMAT"), REJECTED, None, False),
    (frame("AUTH_ERROR"), REJECTED, None, False),
    (frame("VALIDATION_FAILED"), REJECTED, None, False),
    (frame("VALIDATION_FAILED", "Authentication failed: token_rejected by auth service"), REJECTED, None, False),
    (frame("VALIDATION_FAILED", "auth_service_unreachable: breaker is open"), UNAVAILABLE, None, False),
    (frame("VALIDATION_FAILED", "validation_failed_circuitbreakertimeout: 3.0 s"), UNAVAILABLE, None, False),
    (frame("VALIDATION_FAILED", "inter_service_auth_failed"), UNAVAILABLE, None, False),
    (frame("AUTH_SERVICE_ERROR"), UNAVAILABLE, None, False),
    (frame("UNEXPECTED_ERROR"), UNAVAILABLE, None, False),
    (frame("WEBSOCKET_AUTH_ERROR"), UNAVAILABLE, None, False),
    (frame("WEBSOCKET_AUTH_EXCEPTION"), UNAVAILABLE, None, False),
    (frame("INVALID_WEBSOCKET_STATE"), UNAVAILABLE, None, False),
    (frame("AUTH_CIRCUIT_BREAKER_OPEN"), UNAVAILABLE, None, False),
    (frame("AUTH_RETRY_ERROR"), UNAVAILABLE, None, False),
    (frame("AUTH_RETRY_EXHAUSTED"), UNAVAILABLE, None, False),
]


@pytest.mark.parametrize(("message", "meaning", "limit", "proved"), FRAMES)
def test_error_frames_are_sorted_by_code_and_text(message, meaning, limit, proved):
    """Each error code of the backend has its meaning; where one code has several, the text decides."""
    ruling = sort_error(FACTORY, message)

    assert (ruling.rule.reason or ruling.rule.factory, ruling.limit, ruling.rule.proves_auth) == (
        meaning,
        limit,
        proved,
    )


@pytest.mark.parametrize(
    "message",
    [
        frame("FORMAT_ERROR"),
        frame("SOMETHING_NEW"),
        frame(None),
        frame(["NO_TOKEN"]),
        {},
        {"error_code": "NO_TOKEN"},
        {"type": "error", "error_code": "NO_TOKEN"},
    ],
)
def test_an_error_frame_that_no_rule_knows_has_no_ruling(message):
    """An unknown error is not guessed at."""
    assert sort_error(FACTORY, message) is None


# docs/backend-protocol.md#how-connections-end: (code, reason text) → what it means, slot limit, seconds to stay away.
CLOSES = [
    (1008, "SSOT Auth failed", REJECTED, None, None),
    (1011, "SSOT Auth failed", REJECTED, None, None),
    (1008, "Auth failed", REJECTED, None, None),
    (1002, "Auth: token refused", REJECTED, None, None),
    (1002, "Authentication: token refused", REJECTED, None, None),
    (1008, "Authentication failed", REJECTED, None, None),
    (1008, "Authentication required", REJECTED, None, None),
    (4001, "Authentication failed", REJECTED, None, None),
    (4001, "", REJECTED, None, None),
    (4002, "Authentication system error", UNAVAILABLE, None, None),
    (4002, "", UNAVAILABLE, None, None),
    (1008, "Too many concurrent connections (4/3)", SLOTS, 3, None),
    (1008, "Rate limit exceeded - retry after 30s", Reason.RATE_LIMITED, None, 30),
    (1003, "Factory: no manager", INIT, None, None),
    (1011, "Factory SSOT validation failed", INIT, None, None),
    (1011, "Critical factory failure", INIT, None, None),
    (1011, "Service startup incomplete", STARTUP, None, None),
]


@pytest.mark.parametrize(("code", "text", "meaning", "limit", "retry_after"), CLOSES)
def test_close_frames_are_sorted_by_reason_text_and_code(code, text, meaning, limit, retry_after):
    """Each close of the backend that says its cause has its meaning, and its figures are read."""
    ruling = sort_close(FACTORY, code, text)

    assert (ruling.rule.reason or ruling.rule.factory, ruling.limit, ruling.retry_after) == (
        meaning,
        limit,
        retry_after,
    )


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1005, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 3000, 4000])
@pytest.mark.parametrize("text", ["", "Internal error", "Graceful restart", "keepalive ping timeout", "Database: down"])
def test_a_close_that_says_no_cause_has_no_ruling(code, text):
    """No code of the registry means anything by itself, 1011 least of all."""
    assert sort_close(FACTORY, code, text) is None


def test_no_rule_of_the_factory_is_shadowed():
    """Every rule is met by some frame of docs/backend-protocol.md: none stands behind one that takes it all."""
    rules = [sort_error(FACTORY, row[0]).rule for row in FRAMES] + [
        sort_close(FACTORY, *row[:2]).rule for row in CLOSES
    ]

    assert [rule for rule in [*FACTORY.errors, *FACTORY.closes] if not any(rule is met for met in rules)] == []


@calm
@given(OBJECTS | st.builds(frame, HOSTILE, HOSTILE, HOSTILE))
def test_no_frame_breaks_sorting(message):
    """Whatever an error frame holds, it meets a rule or none."""
    sort_error(FACTORY, message)


@calm
@given(st.integers(0, 70_000), st.text())
def test_no_close_breaks_sorting(code, text):
    """Whatever a close frame says, it meets a rule or none."""
    sort_close(FACTORY, code, text)


# Rules in general -------------------------------------------------------------------------------------------------

GREEDY = r"(?s)limit (?P<limit>\S+)(?: after (?P<retry_after>\S+))?"


@pytest.mark.parametrize(
    ("text", "limit", "retry_after"),
    [
        ("limit 5 after 30", 5, 30),
        ("limit 5", 5, None),
        ("limit 007 after 0", 7, 0),
        ("limit 0", None, None),
        ("limit 1000000 after 1000000", 1_000_000, 1_000_000),
        ("limit 1000001 after 1000001", None, None),
        ("limit " + "9" * 1_990, None, None),
        ("limit 5 after " + "9" * 1_980, 5, None),
        ("limit -5 after -1", None, None),
        ("limit 5.5 after 1e3", None, None),
        ("limit ² after ½", None, None),
        ("limit ٥", 5, None),
        ("limit many", None, None),
    ],
)
def test_figures_are_read_within_bounds(text, limit, retry_after):
    """A figure in a foreign text is a plain number up to a million, or it is not believed."""
    rules = Profile(
        errors=[ErrorRule(match={"type": "no"}, text={"why.text": GREEDY}, reason=REJECTED)],
        closes=[CloseRule(text=GREEDY, reason=REJECTED)],
    )

    for ruling in (sort_error(rules, {"type": "no", "why": {"text": text}}), sort_close(rules, 1008, text)):
        assert (ruling.limit, ruling.retry_after) == (limit, retry_after)


def test_only_the_beginning_of_a_text_is_looked_at():
    """A rule looks at the first 2,000 characters of a text: a longer one is not ours to search."""
    rules = Profile(
        errors=[ErrorRule(match={"type": "no"}, text={"text": "needle"}, reason=REJECTED)],
        closes=[CloseRule(text="needle", reason=REJECTED)],
    )
    near, far = " " * 1_994 + "needle", " " * 1_995 + "needle"

    assert [sort_close(rules, 1000, text) is not None for text in (near, far)] == [True, False]
    assert [sort_error(rules, {"type": "no", "text": text}) is not None for text in (near, far)] == [True, False]


def test_the_first_rule_that_is_met_wins():
    """Rules are asked in their order; a close rule needs both its code and its text, an error rule all its texts."""
    rules = Profile(
        errors=[
            ErrorRule(match={"type": "no"}, text={"a": "x", "b": "y"}, reason=Reason.CLOSED),
            ErrorRule(match={"type": "no"}, reason=Reason.BAD_REPLY),
            ErrorRule(match={"type": "no"}, text={"a": "x"}, reason=Reason.RESET),
        ],
        closes=[
            CloseRule(code=4100, text="x", reason=Reason.CLOSED),
            CloseRule(text="x", reason=Reason.BAD_REPLY),
            CloseRule(code=4100, reason=Reason.TOO_BIG),
        ],
    )

    assert sort_error(rules, {"type": "no", "a": "x", "b": "y"}).rule is rules.errors[0]
    assert sort_error(rules, {"type": "no", "a": "x"}).rule is rules.errors[1]
    assert sort_close(rules, 4100, "x").rule is rules.closes[0]
    assert sort_close(rules, 4101, "x").rule is rules.closes[1]
    assert sort_close(rules, 4100, "").rule is rules.closes[2]
    assert sort_close(rules, 4101, "") is None


# What a profile has -----------------------------------------------------------------------------------------------

WITH_AUTH = Profile(auth=Step(message={"token": "${token}"}, match={"type": "welcome"}))
BARE = Profile()


@pytest.mark.parametrize(
    ("profile", "probes"),
    [
        (FACTORY, [Probe.CONNECT, Probe.AUTH, Probe.SEND]),
        (ECHO, [Probe.CONNECT, Probe.SEND]),
        (WITH_AUTH, [Probe.CONNECT, Probe.AUTH]),
        (BARE, [Probe.CONNECT]),
    ],
)
def test_a_profile_answers_the_questions_it_can(profile, probes):
    """Every backend is asked connect; auth needs a welcome or an auth message, send a message to send."""
    assert list(probes_of(profile)) == probes


@pytest.mark.parametrize(
    ("profile", "phases"),
    [
        (FACTORY, "resolve tcp tls upgrade admission reply close"),
        (ECHO, "resolve tcp tls upgrade reply close"),
        (WITH_AUTH, "resolve tcp tls upgrade auth close"),
        (BARE, "resolve tcp tls upgrade close"),
    ],
)
def test_a_profile_has_its_phases(profile, phases):
    """The phases of a session follow from the profile; tls is there over wss only."""
    assert list(phases_of(profile, tls=True)) == phases.split()
    assert list(phases_of(profile, tls=False)) == [phase for phase in phases.split() if phase != Phase.TLS]


def test_kinds_of_passed_over_messages_are_a_closed_list():
    """The kinds are those of the profile's rules, each once, and those that every profile has."""
    assert kinds_of(FACTORY) == ("ping", "degraded", "notice", "recovery", *OTHER_KINDS)
    assert kinds_of(ECHO) == OTHER_KINDS
    assert kinds_of(Profile(noise=[NoiseRule(kind="other", match={"type": "x"})])).count("other") == 1


def test_a_profile_names_its_own_codes():
    """Close codes from 3000 that a rule names are label values of their own, registered ones are not."""
    named = [CloseRule(code=code, reason=REJECTED) for code in (1008, 3000, 4000, 4999, 4000)]

    assert own_codes(Profile(closes=named)) == {3000, 4000, 4999}
    assert own_codes(FACTORY) == {4001, 4002}
    assert own_codes(ECHO) == frozenset()


# A session's script -----------------------------------------------------------------------------------------------

CHAT = """
targets:
  - {name: chat, url: "wss://chat.example.com/ws", profile: chat, identities: {one: user-1}}
profiles:
  chat:
    welcome: {match: {type: hello}}
    send: {message: {type: echo, id: "${nonce}"}, match: {type: echo_reply, id: "${nonce}"}}
    noise: [{type: ping}]
"""


@pytest.fixture
def chat():
    """The profile `chat` of the documentation, as a config file brings it."""
    return parse(load_yaml(CHAT), BUILT_IN).profiles["chat"]


def test_another_backend_is_data(chat):
    """A profile of the config is spoken to like the built-in ones."""
    script = SessionMessages(MessageMatcher(chat), VALUES)

    assert probes_of(chat) == (Probe.CONNECT, Probe.AUTH, Probe.SEND)
    assert kinds_of(chat) == ("ping", *OTHER_KINDS)
    assert script.reader.is_welcome({"type": "hello", "motd": "x"})
    (send,) = map(script.bind, chat.send)
    assert send.message == {"type": "echo", "id": "9f3a2b1c"}
    assert send.match == {"type": "echo_reply", "id": "9f3a2b1c"}
    assert script.reader.noise({"type": "ping"}).kind == "ping"
    assert script.reader.noise({"type": "ping"}).answer is None
    assert script.reader.noise({"type": "pong"}) is None
    assert script.reader.kind({"type": "echo_reply", "id": "another"}) == "foreign_reply"
    assert script.reader.kind({"type": "hello"}) == "welcome"
    assert script.reader.kind({"type": "gossip"}) == "other"
    assert not script.reader.is_error({"type": "error"})
    assert chat.auth == []


def test_a_script_is_bound_to_one_session():
    """Message, match and expectation of a script hold this session's nonce, subject and token; the profile does not."""
    step = Step(
        message={"token": "${token}", "as": "${identity}"},
        match={"id": "${nonce}"},
        expect={"user": "${identity}"},
    )
    script = SessionMessages(MessageMatcher(Profile(auth=[step])), VALUES)

    bound = script.bind(step)

    assert bound.message == {"token": "aaa.bbb.ccc", "as": "staging-e2e-user-001"}
    assert bound.match == {"id": "9f3a2b1c"}
    assert bound.expect == {"user": "staging-e2e-user-001"}
    assert step.message == {"token": "${token}", "as": "${identity}"}


@pytest.mark.parametrize(
    ("message", "welcome", "error", "noise"),
    [
        ({"type": "system_message", "data": {"event": "connection_established"}}, True, False, None),
        ({"type": "system_message", "data": {"event": "service_info"}}, False, False, "notice"),
        ({"type": "system_message", "data": {"event": "service_status"}}, False, False, "notice"),
        ({"type": "system_message", "data": {"event": "degraded_mode"}}, False, False, "degraded"),
        ({"type": "system_message", "data": {"event": "connection_recovery"}}, False, False, "recovery"),
        ({"type": "system_message", "data": {"event": "something_new"}}, False, False, None),
        ({"type": "system_message", "data": "connection_established"}, False, False, None),
        ({"type": "handshake_validation", "timestamp": 1.0, "validation_id": "test_1"}, False, False, "notice"),
        ({"type": "ping", "data": {"timestamp": 1.0}}, False, False, "ping"),
        (frame("NO_TOKEN"), False, True, None),
        (frame("SOMETHING_NEW"), False, True, None),
        ({"type": "error"}, False, False, None),
        ({"type": "ack", "received_type": "x"}, False, False, None),
    ],
)
def test_a_script_of_the_factory_knows_its_frames(message, welcome, error, noise):
    """Each frame of docs/backend-protocol.md is the welcome, an error, or passed over under its kind."""
    script = SessionMessages(MessageMatcher(FACTORY), VALUES)
    rule = script.reader.noise(message)

    assert (script.reader.is_welcome(message), script.reader.is_error(message), rule and rule.kind) == (
        welcome,
        error,
        noise,
    )


def test_a_ping_of_the_factory_gets_its_pong():
    """The server's application ping is answered; nothing else is."""
    answers = {rule.kind: rule.answer for rule in FACTORY.noise if rule.answer is not None}

    assert answers == {"ping": {"type": "pong"}}


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ({}, "ping"),
        ({"push": {}}, "push"),
        ({"id": 7, "rpc": {}}, None),
        ([], None),
        ("", None),
        (0, None),
        (None, None),
    ],
)
def test_the_ping_of_centrifugo_is_an_empty_object_and_nothing_else(message, kind):
    """A pong for any other message is a bad request there, and the client is disconnected."""
    rule = MessageMatcher(read_profile("centrifugo")).noise(message)

    assert (rule and rule.kind) == kind
    assert (rule is not None and rule.answer == {}) is (kind == "ping")


def test_an_error_that_only_a_rule_knows_is_an_error():
    """A frame is an error if `error` says so or if a rule of `errors` is met."""
    script = SessionMessages(
        MessageMatcher(Profile(error={"kind": "error"}, errors=[ErrorRule(match={"no": True}, reason=REJECTED)])),
        VALUES,
    )

    assert script.reader.is_error({"kind": "error", "code": 7})
    assert script.reader.is_error({"no": True})
    assert not script.reader.is_error({"no": 1})


FEW = st.dictionaries(
    st.sampled_from("abc"), st.sampled_from([1, True, "x", None, [1], {"a": 1}, {"a": 1, "b": "x"}]), min_size=1
)


@calm
@given(st.none() | FEW, st.lists(FEW, max_size=4), FEW)
def test_no_rule_is_overlooked_for_the_sake_of_speed(error, patterns, message):
    """A frame is an error exactly if `error` or any rule is met, although not every rule is looked at."""
    profile = Profile(error=error, errors=[ErrorRule(match=pattern, reason=REJECTED) for pattern in patterns])
    for told in (message, *patterns, {**message, **(error or {})}):
        expected = (error is not None and matches(error, told)) or sort_error(profile, told) is not None
        assert MessageMatcher(profile).is_error(told) is expected


@calm
@given(OBJECTS)
def test_no_message_breaks_a_script(message):
    """Whatever object a server sends, it is sorted."""
    script = SessionMessages(MessageMatcher(FACTORY), VALUES)
    kind = script.reader.kind(message) if script.reader.noise(message) is None else script.reader.noise(message).kind

    assert kind in kinds_of(FACTORY)
    assert not (script.reader.is_welcome(message) and script.reader.is_error(message))
