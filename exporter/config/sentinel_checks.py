"""What the sentinel of a target needs: anonymous connects, and confirm runs that can make an outage of its suspicion.

Rule 1: as of `target_checks`.
"""

from collections.abc import Iterator
from typing import Final

from exporter.config.carrying import connects_anonymously, speaks_as_user_before
from exporter.config.model import Target
from exporter.config.profile_checks import Found
from exporter.config.profile_model import Profile

MIN_CONFIRM_RUNS: Final = 2
"""`confirm.runs` with which a suspicion opens the three sessions that make an outage."""
AS_NOBODY: Final = "must be absent: its connects send no token, and "


def sentinel_faults(target: Target) -> Iterator[Found]:
    """Yield what makes a sentinel useless."""
    if target.sentinel is None:
        return
    if target.confirm.runs < MIN_CONFIRM_RUNS:
        yield (
            "sentinel",
            (
                f"needs confirm.runs {MIN_CONFIRM_RUNS}: an outage takes three failed sessions of the pool, and a "
                "sentinel's own is none of them"
            ),
        )
    if target.sentinel.every >= target.interval:
        yield "sentinel.every", f"must be less than interval {target.interval:g}s: cycles see as much"


def sentinel_profile_faults(target: Target, profile: Profile) -> Iterator[Found]:
    """Yield why no session of this target may connect anonymously."""
    if target.sentinel is None or connects_anonymously(target.auth, profile):
        return
    if speaks_as_user_before(profile):
        yield "sentinel", AS_NOBODY + "the profile's before speaks as a user in every session"
    else:
        yield (
            "sentinel",
            (
                AS_NOBODY + "nothing says that this backend opens a WebSocket without one. If it does, say "
                "connect_without_token: true in the profile"
            ),
        )
