"""Facts become verdicts and reasons: tables, and one function.

Rule 1: knows no library, no socket and no clock: only kinds of faults, close codes, statuses and JSON objects.
Rule 2: never by 1011 alone: an error frame is asked first, then close code and reason text, then the phase.
Rule 3: what is not in `LEGAL_FAILURES` and `legal_closes` cannot come out, so these are the label values there are.
Rule 4: a probe passes by a completed phase that proves it, never for want of a fault.

`judging`: tables and function. `case`: what was asked. `welcome`: what it tells, and what is wrong with it. `memory`:
what a target has shown before. `outage`: when failures are an outage, and of which cause.
"""

from exporter.classify.case import Case
from exporter.classify.judging import (
    ASLEEP,
    BLIND,
    DISTORTED,
    LEGAL_FAILURES,
    OTHERWISE,
    OWN_PHASE,
    REASONS,
    REMOTE_CODES,
    Judgement,
    close_label,
    failing_phases,
    judge,
    legal_closes,
    own_phases,
    told,
)
from exporter.classify.memory import AGE, Memory
from exporter.classify.outage import ENOUGH, MOST, Cause, Outages, Watched, possible_causes
from exporter.classify.welcome import unix_time

__all__ = [
    "AGE",
    "ASLEEP",
    "BLIND",
    "DISTORTED",
    "ENOUGH",
    "LEGAL_FAILURES",
    "MOST",
    "OTHERWISE",
    "OWN_PHASE",
    "REASONS",
    "REMOTE_CODES",
    "Case",
    "Cause",
    "Judgement",
    "Memory",
    "Outages",
    "Watched",
    "close_label",
    "failing_phases",
    "judge",
    "legal_closes",
    "own_phases",
    "possible_causes",
    "told",
    "unix_time",
]
