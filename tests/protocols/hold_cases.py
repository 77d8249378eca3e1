"""Held connections to the servers that take longer: what keeps one open, and what cuts it; `make protocols` runs it.

pytest tests/protocols/hold_cases.py
"""

import pytest
from slow_servers import SLOW_SERVERS, pinging_centrifugo
from support.held import held, with_heartbeat
from support.protocol_cases import job

from exporter.catalog import read_profile
from exporter.result import HoldEnd, Initiator, LineLevel

STOMP = {"message": {"command": "EOL"}, "every": "1s", "server_milliseconds": "headers.heart-beat"}


async def held_by(name, profile, folder, seconds):
    """What a quiet connection to the server shows that is held for these seconds; its logins have 3 s."""
    async with SLOW_SERVERS[name](folder) as server:
        return await held(job(server, name, "healthy", folder, server.url, timeout="3s").target, profile, seconds)


async def test_rabbitmq_keeps_a_client_that_sends_what_it_has_announced(tmp_path):
    """What is announced is the built-in profile's, 5 s for a heartbeat each second: RabbitMQ sends its own as often."""
    watcher = await held_by("rabbitmq-stomp", with_heartbeat("${heartbeat},${heartbeat}", STOMP), tmp_path, 25.0)

    assert watcher.end is HoldEnd.OVER
    assert watcher.announced == 5.0
    assert {level for level, _ in watcher.heartbeats} == {LineLevel.APPLICATION}
    assert len(watcher.heartbeats) >= 4


async def test_rabbitmq_cuts_a_client_that_announces_and_is_silent(tmp_path):
    """After twice what it has announced: it would have cut the one above."""
    watcher = await held_by("rabbitmq-stomp", with_heartbeat("5000,5000", None), tmp_path, 60.0)

    assert watcher.end in {HoldEnd.LOST, HoldEnd.CLOSED}
    assert watcher.age == pytest.approx(12.5, abs=10)


async def test_rabbitmq_keeps_a_client_that_announces_nothing(tmp_path):
    """As every session of a cycle: nothing is awaited of it, and it sends nothing."""
    watcher = await held_by("rabbitmq-stomp", with_heartbeat("0,0", None), tmp_path, 25.0)

    assert watcher.end is HoldEnd.OVER
    assert watcher.announced is None
    assert watcher.heartbeats == []


CENTRIFUGO = read_profile("centrifugo")


async def held_by_centrifugo(profile, folder, seconds):
    """The same of Centrifugo, which pings each 2 s."""
    async with pinging_centrifugo(folder) as server:
        return await held(job(server, "centrifugo", "healthy", folder, server.url).target, profile, seconds)


async def test_centrifugo_keeps_a_client_that_answers_its_pings(tmp_path):
    """Each empty object is a heartbeat, and gets another one; several times as long as a client without an answer."""
    watcher = await held_by_centrifugo(CENTRIFUGO, tmp_path, 11.0)

    assert watcher.end is HoldEnd.OVER
    assert {level for level, _ in watcher.heartbeats} == {LineLevel.APPLICATION}
    assert len(watcher.heartbeats) >= 4
    assert watcher.result.close.initiator is Initiator.LOCAL


async def test_centrifugo_cuts_a_client_that_does_not(tmp_path):
    """With 3012, no pong."""
    mute = CENTRIFUGO.model_copy(update={"noise": [rule for rule in CENTRIFUGO.noise if rule.answer is None]})
    watcher = await held_by_centrifugo(mute, tmp_path, 60.0)

    assert watcher.end is HoldEnd.CLOSED
    assert (watcher.result.close.code, watcher.result.close.initiator) == (3012, Initiator.REMOTE)
    assert watcher.heartbeats == []
