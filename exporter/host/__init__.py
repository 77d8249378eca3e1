"""The process and its machine: clocks, lag of the event loop, garbage, resource limits, systemd.

Rule 1: other packages read no clock themselves; they take a `Clock`, and a test passes one of its own.
Rule 2: a failing service manager never stops probing.

`clocks` the clocks and steps of the wall clock · `loop_lag` how late the event loop runs · `slices` long work that does
not block the loop · `garbage` when Python's collector runs · `limits` descriptors and core dumps · `systemd` socket
activation and notifications.
"""

from exporter.host.clocks import Clock, ClockStepDetector
from exporter.host.garbage import collect_garbage
from exporter.host.limits import disable_core_dumps, raise_descriptor_limit
from exporter.host.loop_lag import TICK_SECONDS, LoopLagMonitor
from exporter.host.slices import SLICE_SECONDS, cooperatively, run_in_thread
from exporter.host.systemd import NoListenFdsError, SystemdNotifier, listen_fds

__all__ = [
    "SLICE_SECONDS",
    "TICK_SECONDS",
    "Clock",
    "ClockStepDetector",
    "LoopLagMonitor",
    "NoListenFdsError",
    "SystemdNotifier",
    "collect_garbage",
    "cooperatively",
    "disable_core_dumps",
    "listen_fds",
    "raise_descriptor_limit",
    "run_in_thread",
]
