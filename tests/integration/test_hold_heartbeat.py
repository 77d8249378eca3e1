"""What a profile sends on a silent held connection, against a broker that disconnects clients without a heartbeat."""

from math import inf

import pytest
from support import harness
from support.protocol_cases import job
from support.protocol_servers import SERVERS

from exporter.catalog import read_profile
from exporter.config import Profile
from exporter.plan import Job
from exporter.result import HoldEnd, LineLevel
from exporter.session import HoldRequest, HoldTerms

MQTT = read_profile("mqtt").model_dump(exclude_unset=True)
CONNECT = MQTT["auth"][0]


def mqtt(**changes):
    """The built-in profile with a keep alive of 1 s, after 1.5 of which the broker disconnects (section 3.1.2.10)."""
    hasty = {**CONNECT, "message": {**CONNECT["message"], "keep_alive": 1}}
    return Profile.model_validate({**MQTT, "auth": [hasty], **changes})


class Watcher:
    """Records what happens on one connection."""

    def __init__(self):
        self.heartbeats, self.end, self.age = [], None, 0.0

    def opened(self, _at, announced):
        assert announced is None

    def round_trip(self, level, _seconds, _at):
        assert level is LineLevel.PROTOCOL

    def unanswered_request(self):
        raise AssertionError("nothing was asked")

    def heartbeat(self, level, at):
        self.heartbeats.append((level, at))

    def check_heartbeats(self, _now):
        return inf

    def ended(self, end, age):
        self.end, self.age = end, age


async def held(profile, folder, seconds):
    """What a quiet connection to mosquitto shows that is held for these seconds."""
    watcher = Watcher()
    async with SERVERS["mosquitto"](folder) as server:
        target = job(server, "mosquitto", "healthy", folder, server.url).target
        await harness.Rig().run(Job.of(target, profile, 60), hold=HoldRequest(HoldTerms(seconds, 10.0), watcher))
    return watcher


async def test_a_broker_answers_the_heartbeat_of_the_profile_and_keeps_the_connection(tmp_path):
    """A PINGREQ each second, a PINGRESP for each; twice the time after which a silent client is disconnected."""
    watcher = await held(mqtt(heartbeat={"message": {"packet": "PINGREQ"}, "every": "1s"}), tmp_path, 4.5)

    assert watcher.end is HoldEnd.OVER
    assert {level for level, _ in watcher.heartbeats} == {LineLevel.APPLICATION}
    assert len(watcher.heartbeats) >= 3


async def test_a_broker_disconnects_a_client_without_a_heartbeat(tmp_path):
    """So the profile needs one."""
    watcher = await held(mqtt(heartbeat=None), tmp_path, 60.0)

    assert watcher.end in {HoldEnd.LOST, HoldEnd.CLOSED}
    assert watcher.heartbeats == []
    assert watcher.age == pytest.approx(1.5, abs=10)
