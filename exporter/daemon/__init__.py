"""Puts the packages together, starts them, stops them.

Rule 1: no rule of its own about probes, backends or metrics. Rule 2: what is started here is stopped here, in the
opposite order, whatever happens.

`running` starts and stops · `newcomers` wait for their first session · `reloading` and `swapping` take another config
while sessions run · `told` is told of results by the scheduler · `desk` answers the HTTP side · `asked` runs the
sessions that the HTTP side asks for · `probes` says what /probe answers.
"""

from exporter.daemon.running import HOUSEKEEPING_SECONDS, Daemon, DaemonOptions
from exporter.daemon.startup_gate import FIRST_SCRAPE_SECONDS

__all__ = ["FIRST_SCRAPE_SECONDS", "HOUSEKEEPING_SECONDS", "Daemon", "DaemonOptions"]
