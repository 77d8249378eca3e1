"""What the leak canary of a target needs: a user of its own, and a profile that can say that a user has no slot left.

Rule 1: as of `target_checks`.
"""

from collections.abc import Iterator

from exporter.config.model import Target
from exporter.config.profile_checks import Found
from exporter.config.profile_model import Profile
from exporter.result import FactoryReason

POOLS = ("identities", "check_identities")


def canary_faults(target: Target) -> Iterator[Found]:
    """Yield what is wrong with the canary's user: one, and never one of a pool."""
    canary = target.canary
    if canary is None:
        return
    if len(canary.identity) != 1:
        yield "canary.identity", "must be one alias: subject, of a user that nothing else speaks as"
    for alias, subject in canary.identity.items():
        for pool in POOLS:
            if alias in getattr(target, pool):
                yield f"canary.identity.{alias}", f"stands under {pool} too: give the canary an alias of its own"
            elif subject in getattr(target, pool).values():
                yield (
                    f"canary.identity.{alias}",
                    f"has the subject of one of {pool}: give the canary a user of its own, whose slots it may fill",
                )
    if target.auth is not None and target.auth.jwt is not None and target.auth.jwt.token_file is not None:
        yield "canary", "must be absent: the token in token_file is one user's, and the canary needs one of its own"


def canary_profile_faults(target: Target, profile: Profile) -> Iterator[Found]:
    """Yield why a canary can learn nothing from this kind of backend."""
    if target.canary is None:
        return
    rules = (*profile.errors, *profile.closes)
    if profile.welcome is None or not any(rule.factory is FactoryReason.SLOT_LIMIT for rule in rules):
        yield (
            "canary",
            (
                "has no effect: a canary needs a profile with a welcome and a rule for refusals of reason slot_limit "
                "(factory: slot_limit under errors or closes)"
            ),
        )
