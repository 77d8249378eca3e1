"""Puts the packages together, starts them, stops them.

Rule 1: this package adds no rule about probes, backends or metrics. Rule 2: it stops what it has started, in the
opposite order, whatever happens.

`running` starts and stops · `startup_gate` delays the first sessions · `reloading`, `plan_applier` apply another config
while sessions run · `result_dispatcher` passes results on · `http_api` answers HTTP requests · `status_source` has what
the status page shows · `on_demand` runs sessions that HTTP requests ask for · `probe_endpoint` answers /probe.
"""

from exporter.daemon.running import HOUSEKEEPING_SECONDS, Daemon, DaemonOptions
from exporter.daemon.startup_gate import FIRST_SCRAPE_SECONDS

__all__ = ["FIRST_SCRAPE_SECONDS", "HOUSEKEEPING_SECONDS", "Daemon", "DaemonOptions"]
