"""The recent past of every target, in memory and bounded: results, state, cycles, counts.

Rule 1: this package does no I/O and reads no clock. A result carries its time; every other call is given one.
Rule 2: memory is bounded, whatever the uptime, the other targets or the server do: results by number and bytes, cycles
by number, counts by hours and by the number of their kinds.
Rule 3: states and counts do not depend on which results are still in memory.

`history` all targets · `result_buffer` the results of one target · `target_state` its state, and since when ·
`cycle_timeline` its last cycles · `windowed_counter` counts of the last day.
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
