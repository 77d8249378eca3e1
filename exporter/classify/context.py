"""What a session was sent to find out, as a value."""

from dataclasses import dataclass, field
from math import inf

from exporter.classify.replay import WelcomeReplayDetector
from exporter.config import Profile
from exporter.result import Probe


@dataclass(frozen=True, slots=True)
class ClassifyContext:
    """What a session was sent to find out.

    `started_at`: unix seconds of the start of `resolve`. `timeout`: seconds it had. `late`: seconds by which the event
    loop was late meanwhile. `credential`: the upgrade request held one. `withheld`: it did not hold the token that
    sessions of other depths put there.
    """

    profile: Profile
    depth: Probe
    started_at: float
    memory: WelcomeReplayDetector = field(repr=False)
    subject: str | None = field(default=None, repr=False)
    environment: str | None = None
    timeout: float = inf
    late: float = 0.0
    credential: bool = False
    withheld: bool = False
