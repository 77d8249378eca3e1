"""The ledger: what the backends hold of ours, who rests, and how often we connected.

Rule 1: no clock and no I/O: `now` comes in, unix seconds; `state` carries the events between processes.
Rule 2: a decision changes the ledger only by events: mappings of JSON scalars with one moment `t`, all else being
spans beside it. The same events give the same ledger, in this process and in the next one.
Rule 3: a subject stands here as a hash, a key as the hash of where it comes from.
"""

from exporter.budget.admission import MOMENTARY_HOLDUPS, admit, settle
from exporter.budget.events import Event
from exporter.budget.ledger import Ledger
from exporter.budget.session_cost import (
    Grant,
    Refusal,
    SessionCost,
    SettlementEffects,
    TokenCooldown,
    endpoint_id,
    key_id,
    key_print,
    user_key,
)

__all__ = [
    "MOMENTARY_HOLDUPS",
    "Event",
    "Grant",
    "Ledger",
    "Refusal",
    "SessionCost",
    "SettlementEffects",
    "TokenCooldown",
    "admit",
    "endpoint_id",
    "key_id",
    "key_print",
    "settle",
    "user_key",
]
