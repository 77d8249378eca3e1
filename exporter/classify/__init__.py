"""Classification: turns what a session observed into verdicts and reasons.

Rule 1: no library, socket or clock is used: only kinds of errors, close codes, statuses and JSON objects.
Rule 2: 1011 alone decides nothing: an error frame counts first, then close code and reason text, then the phase.
Rule 3: only values of `LEGAL_FAILURES` and `legal_closes` are returned, so they are all label values.
Rule 4: a probe passes by a completed phase that proves it, never by the absence of an error.

`rules`: tables and `classify`. `context`: what was asked. `welcome`: what is in a welcome, and what is wrong with it.
`replay`: welcomes that repeat. `leak`: whether slots come back, by the connections of a canary. `outage`: when
failures are an outage, and of which cause. `refusal`: what became of a credential that must be refused. `line`:
heartbeats and ends of a held connection. `usual_waits`: how long phases take at worst. `stats`: the backend's own
figures.
"""

from exporter.classify.context import ClassifyContext
from exporter.classify.leak import CanaryLimits, CanaryOpen, LeakDetector, LeakFindings
from exporter.classify.line import Cuts, EndLearner, HeartbeatCadence, find_cuts
from exporter.classify.outage import (
    MIN_FAILURES,
    MIN_FAILURES_OF_CAUSE,
    OUTAGE_WINDOW_CYCLES,
    OutageCause,
    OutageDetector,
    OutagePolicy,
    causes_of,
    possible_causes,
)
from exporter.classify.refusal import refusal_outcome
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
    reported_close,
)
from exporter.classify.stats import StatsReading, read_figures
from exporter.classify.usual_waits import UsualWaits, Wait
from exporter.classify.welcome import unix_time

__all__ = [
    "DISTORTION_SECONDS",
    "FALLBACK_REASONS",
    "LEGAL_FAILURES",
    "MIN_FAILURES",
    "MIN_FAILURES_OF_CAUSE",
    "MIN_STALL_SECONDS",
    "OUTAGE_WINDOW_CYCLES",
    "PHASES_OF_PROBE",
    "REASON_OF_ERROR",
    "REMOTE_CODES",
    "REPLAY_WINDOW_SECONDS",
    "STALL_FRACTION",
    "CanaryLimits",
    "CanaryOpen",
    "Classification",
    "ClassifyContext",
    "Cuts",
    "EndLearner",
    "HeartbeatCadence",
    "LeakDetector",
    "LeakFindings",
    "OutageCause",
    "OutageDetector",
    "OutagePolicy",
    "StatsReading",
    "UsualWaits",
    "Wait",
    "WelcomeReplayDetector",
    "causes_of",
    "classify",
    "close_label",
    "failing_phases",
    "find_cuts",
    "legal_closes",
    "own_phases",
    "possible_causes",
    "read_figures",
    "refusal_outcome",
    "reported_close",
    "unix_time",
]
