"""What the held connection of a target needs: a user of its own where the target has users, and times that fit.

Rule 1: as of `target_checks`.
"""

from collections.abc import Iterator

from exporter.config.model import Hold, Target
from exporter.config.profile_checks import Found
from exporter.config.profile_model import Profile


def hold_faults(target: Target) -> Iterator[Found]:
    """Yield what is wrong with the user and the times of a held connection."""
    if target.hold is not None:
        yield from _user(target, target.hold)
        yield from _times(target, target.hold)


def _user(target: Target, hold: Hold) -> Iterator[Found]:
    if not target.identities:
        if hold.identity:
            yield "hold.identity", "must be absent: the target has no identities, so its connection needs none"
        return
    if len(hold.identity) != 1:
        yield "hold.identity", "must be one alias: subject, of a user that nothing else speaks as"
    pools = {
        "identities": target.identities,
        "check_identities": target.check_identities,
        "canary.identity": target.canary.identity if target.canary else {},
    }
    for alias, subject in hold.identity.items():
        for pool, users in pools.items():
            if alias in users or subject in users.values():
                yield (
                    f"hold.identity.{alias}",
                    f"stands under {pool} too: give the held connection a user of its own, who has no other open",
                )
    if target.auth is not None and target.auth.jwt is not None and target.auth.jwt.token_file is not None:
        yield "hold", "must be absent: the token in token_file is one user's, and the held connection needs its own"


def _times(target: Target, hold: Hold) -> Iterator[Found]:
    opening = target.timeout + target.close_timeout
    if hold.reconnect < opening:
        yield (
            "hold.reconnect",
            (
                f"must be at least timeout {target.timeout:g}s + close_timeout {target.close_timeout:g}s: an attempt "
                "is over before the next one"
            ),
        )
    for name, seconds in (("ping", hold.ping), ("ask", hold.ask), ("quiet", hold.quiet)):
        if seconds is not None and seconds > hold.max_age:
            yield f"hold.{name}", f"must be at most max_age {hold.max_age:g}s"


def hold_profile_faults(target: Target, profile: Profile) -> Iterator[Found]:
    """Yield why the `send` of the profile cannot be asked again on an open connection."""
    if target.hold is None or target.hold.ask is None:
        return
    if len(profile.send) != 1 or profile.send[0].message is None or profile.send[0].match is None:
        yield (
            "hold.ask",
            (
                "must be absent: only a send of one step, with a message and its answer, can be asked again on one "
                "connection, and the profile has another"
            ),
        )
