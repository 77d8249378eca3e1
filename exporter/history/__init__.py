"""What has happened lately, target by target: results, states, cycles, counts. In memory, bounded.

Rule 1: no I/O and no clock: results bring their time, what has none is given one.
Rule 2: nothing here grows with time, with a chatty neighbour or with what a server invents: results are bounded by
number and by bytes, cycles by number, counts by hours and by the number of their kinds.
Rule 3: what is counted or said of a state does not depend on which results are still kept.

`history` the room's door · `shelf` the results of one target · `standing` its state, and since when · `strip` its
cycles · `tally` counts of the last day.
"""

from exporter.history.cycle_timeline import CycleMark, CycleOutcome
from exporter.history.history import RETAINED_FAILURES, RETAINED_RESULTS, History, HistorySnapshot
from exporter.history.result_buffer import weight
from exporter.history.target_state import StateKind, TargetState
from exporter.history.windowed_counter import BUCKET_SECONDS, WINDOW_SECONDS

__all__ = [
    "BUCKET_SECONDS",
    "RETAINED_FAILURES",
    "RETAINED_RESULTS",
    "WINDOW_SECONDS",
    "CycleMark",
    "CycleOutcome",
    "History",
    "HistorySnapshot",
    "StateKind",
    "TargetState",
    "weight",
]
