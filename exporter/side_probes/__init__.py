"""Side probes: what a target asks beside its cycles, by sessions on cadences of their own.

Rule 1: the results of a side probe go to that probe alone: no verdict, series, history, confirm run or outage of the
target's cycles sees them.
Rule 2: due times are absolute and a late run is dropped, so that neither a restart nor a step of the wall clock bunches
up sessions.
Rule 3: the plan has counted every session here; the ledger admits each one all the same, and `max_sessions` binds.

`runner` starts the runs that are due · `leak_canary` opens rounds of connections that show whether slots come back ·
`sentinel` connects between the cycles · `refusal` asks whether what must be refused is refused · `hold` keeps a
connection open · `stats` reads what the backend tells of itself.
"""

from exporter.side_probes.hold import HoldProbe, HoldSink
from exporter.side_probes.leak_canary import LeakCanary
from exporter.side_probes.refusal import RefusalProbe, RefusalSink
from exporter.side_probes.runner import MAX_LATE_SECONDS, RunSession, RunSideProbe, SideProbes, SideRun
from exporter.side_probes.sentinel import ConnectSentinel
from exporter.side_probes.stats import StatsReader, StatsSink

__all__ = [
    "MAX_LATE_SECONDS",
    "ConnectSentinel",
    "HoldProbe",
    "HoldSink",
    "LeakCanary",
    "RefusalProbe",
    "RefusalSink",
    "RunSession",
    "RunSideProbe",
    "SideProbes",
    "SideRun",
    "StatsReader",
    "StatsSink",
]
