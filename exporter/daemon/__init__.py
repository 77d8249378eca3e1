"""Puts the rooms together, starts them, stops them.

Rule 1: no rule of its own about probes, backends or metrics. Rule 2: what is started here is stopped here, in the
opposite order, whatever happens.

`running` starts and stops · `told` is told of results by the scheduler · `desk` answers the HTTP side · `asked` runs
the sessions that the HTTP side asks for · `probes` says what /probe answers.
"""

from exporter.daemon.running import FIRST_SCRAPE, TIDY, Daemon, Options

__all__ = ["FIRST_SCRAPE", "TIDY", "Daemon", "Options"]
