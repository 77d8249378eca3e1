"""Heartbeats of both sides: what is announced is kept, and what the server says of its own is read or left."""

import pytest

from exporter.catalog import read_profile
from exporter.config import ClientHeartbeat, profile_problems
from exporter.profiles import MessageMatcher, SessionMessages, announced_milliseconds, read_interval

STOMP = read_profile("stomp")
VALUES = {"nonce": "9f3a2b1c", "identity": "probe", "token": "good"}


def connected(value):
    return {"command": "CONNECTED", "headers": {"version": "1.2", **value}, "body": ""}


def session(heartbeat=0, profile=STOMP):
    return SessionMessages(MessageMatcher(profile), VALUES, heartbeat)


@pytest.mark.parametrize(("announced", "header"), [(0, "0,0"), (30_000, "30000,30000")])
def test_a_login_of_stomp_announces_heartbeats_if_they_will_be_sent(announced, header):
    """A session that is over before one is due announces none, so that the broker awaits none of it."""
    login = session(announced).bind(STOMP.auth[0]).message

    assert login["headers"]["heart-beat"] == header


@pytest.mark.parametrize(("every", "timeout"), [("1s", 0.5), ("10s", 10.0), ("10s", 60.0), ("1250ms", 0.0001)])
def test_what_is_announced_is_longer_than_any_silence(every, timeout):
    """The longest lasts from the login, over replies that take all of the time, to the first heartbeat."""
    heartbeat = ClientHeartbeat(message={}, every=every)
    announced = announced_milliseconds(heartbeat, timeout)

    assert announced / 1000 >= timeout + 2 * heartbeat.every
    assert announced_milliseconds(None, timeout) == 0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"heart-beat": "45000,10000"}, 45.0),
        ({"heart-beat": "10000,10000"}, 30.0),
        ({"heart-beat": "0,10000"}, None),
        ({"heart-beat": "soon"}, None),
        ({"heart-beat": "-5000,0"}, None),
        ({}, None),
    ],
)
def test_the_longer_of_both_times_is_agreed(headers, seconds):
    """The server's, if it is longer than what we asked for; 0, nonsense or nothing: it announces no heartbeat."""
    messages = session(30_000)

    assert messages.keep(STOMP.auth[0], connected(headers))
    assert messages.server_heartbeat == seconds


def test_a_later_reply_that_says_nothing_changes_nothing():
    """The login's counts."""
    messages = session(30_000)
    messages.keep(STOMP.auth[0], connected({"heart-beat": "45000,0"}))
    messages.keep(STOMP.send[1], {"command": "MESSAGE", "headers": {}})

    assert messages.server_heartbeat == 45.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (25_000, 25.0),
        (2.5, 0.0025),
        ("25000", 25.0),
        ("25000,0", 25.0),
        (10**12, None),
        (86_400_000, 86_400.0),
        ("9" * 5_000, None),
        (0, None),
        (-1, None),
        (True, None),
        (float("nan"), None),
        (float("inf"), None),
        ("", None),
        ("\u0662\u0665", None),
        ([25], None),
        (None, None),
    ],
)
def test_an_interval_is_a_number_of_sense_or_none(value, seconds):
    """Whatever a server writes there; milliseconds of a day are the most."""
    assert read_interval(value, 1000) == seconds


def test_a_login_may_announce_only_what_the_profile_sends():
    """Without `heartbeat` a connection that has announced one would be cut."""
    silent = STOMP.model_copy(update={"heartbeat": None})

    assert [path for path, _ in profile_problems(silent)] == ["auth.message"]
    assert list(profile_problems(STOMP)) == []
