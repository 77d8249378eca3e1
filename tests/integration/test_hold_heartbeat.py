"""What a profile sends on a silent held connection, against brokers that disconnect clients without a heartbeat."""

import pytest
from support import harness
from support.held import Watcher, held, with_heartbeat
from support.protocol_cases import job
from support.protocol_servers import SERVERS

from exporter.catalog import read_profile
from exporter.config import Profile
from exporter.framing import codec_of
from exporter.result import Direction, HoldEnd, LineLevel
from exporter.session import HoldRequest, HoldTerms

MQTT = read_profile("mqtt").model_dump(exclude_unset=True)
PINGREQ, EOL = {"packet": "PINGREQ"}, {"command": "EOL"}
ASKING = {"message": EOL, "server_milliseconds": "headers.heart-beat"}


def mqtt(**changes):
    """The built-in profile with a keep alive of 1 s, after 1.5 of which the broker disconnects (section 3.1.2.10)."""
    (login,) = MQTT["auth"]
    hasty = {**login, "message": {**login["message"], "keep_alive": 1}}
    return Profile.model_validate({**MQTT, "auth": [hasty], **changes})


async def held_by(name, profile, folder, seconds):
    """What a quiet connection to the broker shows that is held for these seconds."""
    async with SERVERS[name](folder) as server:
        return await held(job(server, name, "healthy", folder, server.url).target, profile, seconds)


async def test_a_broker_answers_the_heartbeat_of_the_profile_and_keeps_the_connection(tmp_path):
    """A PINGREQ each second, a PINGRESP for each; twice the time after which a silent client is disconnected."""
    watcher = await held_by("mosquitto", mqtt(heartbeat={"message": PINGREQ, "every": "1s"}), tmp_path, 4.5)

    assert watcher.end is HoldEnd.OVER
    assert watcher.announced is None
    assert {level for level, _ in watcher.heartbeats} == {LineLevel.APPLICATION}
    assert len(watcher.heartbeats) >= 3


async def test_a_broker_disconnects_a_client_without_a_heartbeat(tmp_path):
    """So the profile needs one."""
    watcher = await held_by("mosquitto", mqtt(heartbeat=None), tmp_path, 60.0)

    assert watcher.end in {HoldEnd.LOST, HoldEnd.CLOSED}
    assert watcher.heartbeats == []
    assert watcher.age == pytest.approx(1.5, abs=10)


@pytest.mark.needs("node")
async def test_a_broker_of_stomp_keeps_a_client_that_sends_what_it_has_announced(tmp_path):
    """A newline each second, for twice the time after which the same broker closes on a silent client, as below."""
    profile = with_heartbeat("2000,0", {"message": EOL, "every": "1s"})
    watcher = await held_by("stomp-broker-js", profile, tmp_path, 9.0)

    assert watcher.end is HoldEnd.OVER
    assert watcher.heartbeats == []


@pytest.mark.needs("node")
async def test_a_broker_of_stomp_closes_on_a_client_that_announces_and_is_silent(tmp_path):
    """At its second look, an interval after the first: so a connection that cannot keep it must announce nothing."""
    watcher = await held_by("stomp-broker-js", with_heartbeat("2000,0", None), tmp_path, 60.0)

    assert watcher.end in {HoldEnd.LOST, HoldEnd.CLOSED}
    assert watcher.age == pytest.approx(4.0, abs=10)


@pytest.mark.needs("node")
async def test_the_heartbeats_of_a_broker_of_stomp_are_counted(tmp_path):
    """A newline of its own each second, and the time between two in CONNECTED."""
    profile = with_heartbeat("0,1500", {**ASKING, "every": "10s"})
    watcher = await held_by("stomp-broker-js", profile, tmp_path, 5.0)

    assert watcher.end is HoldEnd.OVER
    assert {level for level, _ in watcher.heartbeats} == {LineLevel.APPLICATION}
    assert len(watcher.heartbeats) >= 2
    assert watcher.announced is not None


@pytest.mark.needs("node")
@pytest.mark.parametrize(("is_held", "header"), [(True, "30000,30000"), (False, "0,0")])
async def test_only_a_held_connection_announces_heartbeats(tmp_path, is_held, header):
    """The session of a cycle asks for none, as before, and the broker treats it as one that never sends any."""
    seen, rig = [], harness.Rig()
    rig.prober._observer = seen.append
    hold = HoldRequest(HoldTerms(0.1, 10.0), Watcher()) if is_held else None
    async with SERVERS["stomp-broker-js"](tmp_path) as server:
        result = await rig.run(job(server, "stomp-broker-js", "healthy", tmp_path, server.url), hold=hold)

    (login,) = codec_of("stomp").decode(next(each.data for each in seen if each.direction is Direction.OUT), 1).values
    assert not result.failed
    assert (login["command"], login["headers"]["heart-beat"]) == ("CONNECT", header)
