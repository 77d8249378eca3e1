"""One held connection to a real server, and what it shows."""

from math import inf

from exporter.catalog import read_profile
from exporter.config import Profile
from exporter.plan import Job
from exporter.result import LineLevel
from exporter.session import HoldRequest, HoldTerms
from support import harness


def with_heartbeat(announced, heartbeat):
    """The built-in profile `stomp`; its CONNECT has this header `heart-beat`, and its `heartbeat` is another one."""
    profile = read_profile("stomp").model_dump(exclude_unset=True)
    (login,) = profile["auth"]
    headers = {**login["message"]["headers"], "heart-beat": announced}
    auth = [{**login, "message": {**login["message"], "headers": headers}}]
    return Profile.model_validate({**profile, "auth": auth, "heartbeat": heartbeat})


class Watcher:
    """Records what happens on one connection."""

    def __init__(self):
        self.heartbeats, self.announced, self.end, self.age, self.result = [], None, None, 0.0, None

    def opened(self, _at, announced):
        self.announced = announced

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


async def held(target, profile, seconds):
    """What a quiet connection shows that is held for these seconds."""
    watcher = Watcher()
    hold = HoldRequest(HoldTerms(seconds, 10.0), watcher)
    watcher.result = await harness.Rig().run(Job.of(target, profile, 60), hold=hold)
    return watcher
