"""The check of the person on call: a session now, run here or by an exporter that is asked over HTTP.

Rule 1: a check takes no slot that the schedule needs, and costs the schedule no cycle: a check waits for the session
that is open, or is refused with a cause.
Rule 2: the sessions of a check enter the ledger and no counter.

`checker` checks one target, `several` more than one, `remote` asks another exporter, `first_look` looks at a backend
that is in no config, and is imported by name: the daemon needs the others alone.
"""

from exporter.oncall.checker import REFUSAL_TEXTS, Checker, SeriesOptions
from exporter.oncall.remote import fetch_check, fetch_health
from exporter.oncall.several import check_each

__all__ = [
    "REFUSAL_TEXTS",
    "Checker",
    "SeriesOptions",
    "check_each",
    "fetch_check",
    "fetch_health",
]
