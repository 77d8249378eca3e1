"""Messages of a profile that its framing cannot send for a target are mistakes of the config, not of the server."""

import pytest

from exporter.catalog import CATALOG
from exporter.config import Config, parse

PUB = {"op": "PUB", "subject": "a.${identity}.${nonce}", "payload": "${nonce}"}
NATS = {"framing": "nats", "send": {"message": PUB, "match": {"op": "MSG", "payload": "${nonce}"}}}
SUBSCRIBE = {"packet": "SUBSCRIBE", "id": "${number}", "topics": ["${nonce}"]}
MQTT_NUMBER = {"framing": "mqtt", "send": {"message": SUBSCRIBE, "match": {"packet": "SUBACK", "id": "${number}"}}}
CONNECT = {"packet": "CONNECT", "client_id": "${identity}"}
MQTT_CLIENT = {
    "framing": "mqtt",
    "needs_token": False,
    "auth": {"message": CONNECT, "match": {"packet": "CONNACK"}},
}
NAMED = {"needs_token": False, "auth": {"message": {"a": "${token}"}, "match": {"user": "${identity}"}}}
MISTAKES = {
    "an end that may be JSON": (
        {"framing": {"end": "x-is-no-end"}},
        {},
        'profiles.p.framing: `end` must be control characters, such as "\\x1e"',
    ),
    "a last message after none": (
        {"bye": {"op": "quit"}},
        {},
        "profiles.p.bye: is never sent: it ends a session in which a message of auth or send was sent",
    ),
    "a heartbeat that the framing cannot hold": (
        {"framing": "mqtt", "heartbeat": {"message": {"packet": "PING"}, "every": "30s"}},
        {},
        (
            "profiles.p.heartbeat.message: cannot be sent as mqtt: `packet` must be one of CONNECT, CONNACK, PUBLISH, "
            "PUBACK, SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP, DISCONNECT"
        ),
    ),
    "a heartbeat with a token": (
        {"heartbeat": {"message": {"token": "${token}"}, "every": "30s"}},
        {},
        "profiles.p.heartbeat.message: unknown variable: filled in here are ${identity}, ${nonce}, ${number}",
    ),
    "a heartbeat that never pauses": (
        {"heartbeat": {"message": {"op": "beat"}, "every": "0.5s"}},
        {},
        "profiles.p.heartbeat.every: must be at least 1",
    ),
    "a number that is too large for its field": (
        MQTT_NUMBER,
        {},
        "profiles.p.send.message: cannot be sent as mqtt: `id` must be a whole number from 1 to 65535",
    ),
    "a user whose name does not fit": (
        NATS,
        {"a": "fine", "b": "has space"},
        (
            "targets[0] (t).identities.b: does not fit into send.message of the profile, which cannot be sent as "
            "nats: `subject` must not be empty, and must not hold white space"
        ),
    ),
    "a message that lacks what was left out": (
        MQTT_CLIENT,
        {},
        (
            "targets[0] (t).identities: is required: without it auth.message of the profile cannot be sent as mqtt: "
            "CONNECT needs `client_id`"
        ),
    ),
    "a pattern of which nothing is left": (
        NAMED,
        {},
        "targets[0] (t).identities: is required: without it auth.match of the profile matches whatever comes",
    ),
}


def parsed(profile, identities):
    target = {"name": "t", "url": "ws://a", "profile": "p", "identities": identities}
    return parse({"targets": [target], "profiles": {"p": profile}}, CATALOG)


@pytest.mark.parametrize("name", MISTAKES)
def test_what_no_session_could_send_or_compare_is_refused_with_the_config(name):
    """The sentence names the field and what to do, where a session would blame the server's answer or pass for all."""
    profile, identities, sentence = MISTAKES[name]
    assert [str(problem) for problem in parsed(profile, identities)] == [sentence]


@pytest.mark.parametrize("profile", [NATS, MQTT_CLIENT, NAMED])
def test_a_user_who_fits_makes_the_same_profile_good(profile):
    """Only what cannot be sent, or would match everything, is refused."""
    assert isinstance(parsed(profile, {"a": "probe"}), Config)


@pytest.mark.parametrize(
    ("profile", "carry"),
    [
        ({"carry": {"header": "Basic ${basic}"}}, "header"),
        ({"auth": {"message": {"login": "${basic}"}, "match": {"in": 1}}}, "message"),
    ],
    ids=["in a header", "in a message"],
)
def test_a_user_with_a_colon_is_none_for_basic(profile, carry):
    """RFC 7617 section 2: what follows the colon would be read as the password; other ways of a token take it."""
    target = {"name": "t", "url": "ws://a", "profile": "p", "identities": {"a": "user:1", "b": "user"}}
    target["auth"] = {"secret_env": "KEY", "carry": carry}

    (mistake,) = parse({"targets": [target], "profiles": {"p": profile}}, CATALOG)

    assert str(mistake) == (
        "targets[0] (t).identities.a: must hold no colon: in ${basic} it would end the user (RFC 7617 section 2)"
    )
    plain = {**target, "auth": {"secret_env": "KEY"}}
    assert isinstance(parse({"targets": [plain], "profiles": {"p": {}}}, CATALOG), Config)
