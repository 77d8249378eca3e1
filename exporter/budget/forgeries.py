"""Whether a token may be sent that the backend must refuse.

Rule 1: backends count refused logins in a row, and shut everybody out after a few. So between two such tokens a good
one has been let in, none is sent beside another login, and there are `MIN_FORGERY_GAP_SECONDS` between two.
Rule 2: in doubt none is sent: it answers a question that can wait.
"""

from typing import Final

from exporter.budget.login_streak import REJECTED_EVENT, LoginStreak
from exporter.budget.session_cost import Refusal
from exporter.config import MIN_RARE_GAP_SECONDS
from exporter.result import Holdup, SkipCause

MIN_FORGERY_GAP_SECONDS: Final = 0.9 * MIN_RARE_GAP_SECONDS
"""Seconds between two tokens that must be refused, at one backend: what counts refused logins by time forgets them.
A little less than the plan's, so that a run that waited for another session does not cost the next one its turn."""


def forgery_refusal(streak: LoginStreak, now: float) -> Refusal | None:
    """Return why no token that must be refused may be sent now; None if one may."""
    if any(now < login.uncertain_until for login in streak.pending.values()):
        return Refusal(SkipCause.RESTING, Holdup.VERDICT, "a token that must be refused waits for the end of a login")
    spaced_at = streak.forged_span.until + MIN_FORGERY_GAP_SECONDS
    if now < spaced_at:
        reason_text = "a token that must be refused was sent a short time ago"
        return Refusal(SkipCause.RESTING, Holdup.FORGERY, reason_text, spaced_at)
    rejected = any(failure.kind == REJECTED_EVENT for failure in streak.failures)
    if rejected or streak.proven_at <= streak.forged_span.until:
        reason_text = "no good token was let in since the last one that was refused"
        return Refusal(SkipCause.RESTING, Holdup.FORGERY, reason_text)
    return None
