"""The state of one identity in the ledger, for metrics and the status page."""

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


def identity_status(ledger: Ledger, alias: str, request: SessionCost, now: float) -> IdentityStatus:
    """The status at `now` (unix seconds) of the identity that `request` would present."""
    rest = ledger.cooldown(request, now)
    return IdentityStatus(
        alias,
        held=ledger.held_slots(request.user or "", now),
        budget=ledger.slot_budget(request, now),
        resting=rest is not None,
        holdup=None if rest is None else rest.holdup,
        until=None if rest is None else rest.until,
    )
