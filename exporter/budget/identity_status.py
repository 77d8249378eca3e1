"""The state of one identity in the ledger, for metrics and the status page."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from exporter.budget.ledger import Ledger
from exporter.budget.session_cost import SessionCost
from exporter.result import Holdup


@dataclass(frozen=True, slots=True)
class IdentityStatus:
    """The slots and the rest of one identity.

    `budget`: slots that the identity may hold; None without a limit.
    `holdup`: why its sessions send no token now; None if they do.
    `until`: unix seconds until which they send none; None if no time is known.
    """

    alias: str
    held: int
    budget: int | None
    resting: bool
    holdup: Holdup | None = None
    until: float | None = None


def identity_statuses(
    ledger: Ledger, users: Mapping[str, str], request: SessionCost, now: float
) -> Iterator[IdentityStatus]:
    """The status at `now` (unix seconds) of each identity (alias → user) that could run `request`.

    What the identities share, the key and the limit, is asked once: every failed session asks.
    """
    tokens, budget = ledger.token_cooldown(request, now), ledger.slot_budget(request, now)
    for alias, user in users.items():
        rest = ledger.identity_cooldown(user, tokens, now)
        yield IdentityStatus(
            alias,
            held=ledger.held_slots(user, now),
            budget=budget,
            resting=rest is not None,
            holdup=None if rest is None else rest.holdup,
            until=None if rest is None else rest.until,
        )
