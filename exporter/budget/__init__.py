"""The ledger: what the backends count for this exporter: slots, rejected tokens, connects; and who must pause.

Rule 1: no clock and no I/O. `now` is an argument (unix seconds); `state` carries the events between processes.
Rule 2: the ledger changes only by events: mappings of JSON scalars with one moment `t`; every other time in them is
a length. The same events give the same ledger in every process.
Rule 3: a subject is stored as a hash, and a key as the hash of its source.
"""

from exporter.budget.admission import MOMENTARY_HOLDUPS, admit, settle, settle_login, settle_read
from exporter.budget.breakers import max_connects_without_token
from exporter.budget.effect_texts import effect_lines
from exporter.budget.events import Event
from exporter.budget.identity_status import IdentityStatus, identity_statuses
from exporter.budget.ledger import HELD_LEASE_SECONDS, Ledger
from exporter.budget.session_cost import (
    Grant,
    Refusal,
    SessionCost,
    SettlementEffects,
    TokenCooldown,
    endpoint_id,
    key_id,
    refusal_id,
    short_fingerprint,
    user_key,
)

__all__ = [
    "HELD_LEASE_SECONDS",
    "MOMENTARY_HOLDUPS",
    "Event",
    "Grant",
    "IdentityStatus",
    "Ledger",
    "Refusal",
    "SessionCost",
    "SettlementEffects",
    "TokenCooldown",
    "admit",
    "effect_lines",
    "endpoint_id",
    "identity_statuses",
    "key_id",
    "max_connects_without_token",
    "refusal_id",
    "settle",
    "settle_login",
    "settle_read",
    "short_fingerprint",
    "user_key",
]
