"""Facts become verdicts and reasons: tables, and one function.

Rule 1: knows no library, no socket and no clock: only kinds of faults, close codes, statuses and JSON objects.
Rule 2: never by 1011 alone: an error frame is asked first, then close code and reason text, then the phase.
Rule 3: what is not in `LEGAL_FAILURES` and `legal_closes` cannot come out, so these are the label values there are.
Rule 4: a probe passes by a completed phase that proves it, never for want of a fault.

`judging`: tables and function. `case`: what was asked. `welcome`: what it tells, and what is wrong with it. `memory`:
what a target has shown before. `outage`: when failures are an outage, and of which cause.
"""

from exporter.classify.context import ClassifyContext
from exporter.classify.outage import (
    MIN_FAILURES,
    MIN_FAILURES_OF_CAUSE,
    OutageCause,
    OutageDetector,
    OutagePolicy,
    possible_causes,
)
from exporter.classify.replay import REPLAY_WINDOW_SECONDS, WelcomeReplayDetector
from exporter.classify.rules import (
    DISTORTION_SECONDS,
    FALLBACK_REASONS,
    LEGAL_FAILURES,
    MIN_STALL_SECONDS,
    PHASES_OF_PROBE,
    REASON_OF_ERROR,
    REMOTE_CODES,
    STALL_FRACTION,
    Classification,
    classify,
    close_label,
    failing_phases,
    legal_closes,
    own_phases,
    told,
)
from exporter.classify.welcome import unix_time

__all__ = [
    "DISTORTION_SECONDS",
    "FALLBACK_REASONS",
    "LEGAL_FAILURES",
    "MIN_FAILURES",
    "MIN_FAILURES_OF_CAUSE",
    "MIN_STALL_SECONDS",
    "PHASES_OF_PROBE",
    "REASON_OF_ERROR",
    "REMOTE_CODES",
    "REPLAY_WINDOW_SECONDS",
    "STALL_FRACTION",
    "Classification",
    "ClassifyContext",
    "OutageCause",
    "OutageDetector",
    "OutagePolicy",
    "WelcomeReplayDetector",
    "classify",
    "close_label",
    "failing_phases",
    "legal_closes",
    "own_phases",
    "possible_causes",
    "told",
    "unix_time",
]
