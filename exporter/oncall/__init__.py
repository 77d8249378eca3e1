"""The check of the person on call: a session now, here or asked of an exporter that runs.

Rule 1: a check takes no slot that the schedule needs and costs it no cycle: it waits for a session that is under way,
and is refused with a cause otherwise.
Rule 2: its sessions enter the ledger and no counter.

`checks` runs sessions of a target, `several` of more · `asking` asks another exporter.
"""

from exporter.oncall.checker import REFUSAL_TEXTS, Checker, SeriesOptions
from exporter.oncall.remote import RemoteError, asked_of, client_of, healthy_at
from exporter.oncall.several import check_each

__all__ = [
    "REFUSAL_TEXTS",
    "Checker",
    "RemoteError",
    "SeriesOptions",
    "asked_of",
    "check_each",
    "client_of",
    "healthy_at",
]
