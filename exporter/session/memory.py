"""What a target keeps from one session to the next."""

from typing import Final, NamedTuple, Self

from exporter.classify import REPLAY_WINDOW_SECONDS, UsualWaits, WelcomeReplayDetector
from exporter.config import Profile
from exporter.profiles import MessageMatcher
from exporter.resolver import AddressHealth

MIN_REMEMBERED_SESSIONS: Final = 3
"""Sessions that replay detection covers at least, if they are far apart."""


class TargetMemory(NamedTuple):
    """How messages are read, and what earlier sessions showed."""

    reader: MessageMatcher
    replay_detector: WelcomeReplayDetector
    addresses: AddressHealth
    usual_waits: UsualWaits

    @classmethod
    def of(cls, profile: Profile, interval: float, earlier: Self | None) -> Self:
        """Make an empty one for cycles `interval` seconds apart, or the earlier one for another profile."""
        reader = MessageMatcher(profile)
        if earlier is not None:
            return earlier._replace(reader=reader)
        seconds = max(REPLAY_WINDOW_SECONDS, MIN_REMEMBERED_SESSIONS * interval)
        return cls(reader, WelcomeReplayDetector(seconds), AddressHealth(), UsualWaits())
