"""What a session was asked to find out."""

from dataclasses import dataclass, field
from math import inf

from exporter.classify.replay import WelcomeReplayDetector
from exporter.config import Profile
from exporter.result import Probe, Software


@dataclass(frozen=True, slots=True)
class ClassifyContext:
    """What a session was asked to find out.

    started_at: start of `resolve`, unix seconds
    subject, environment: what the welcome must name; None: anything
    timeout: seconds to the deadline
    max_loop_stall: the longest delay of the event loop meanwhile, seconds
    credential_sent, credential_sent_before: the upgrade request, and the one before it, held a credential
    token_withheld: the upgrade request lacked the token that deeper sessions put there
    server: what the backend runs on, as the config says; None: it does not
    """

    profile: Profile
    depth: Probe
    started_at: float
    replay_detector: WelcomeReplayDetector = field(repr=False)
    subject: str | None = field(default=None, repr=False)
    environment: str | None = None
    timeout: float = inf
    max_loop_stall: float = 0.0
    credential_sent: bool = False
    credential_sent_before: bool = False
    token_withheld: bool = False
    server: Software | None = None
