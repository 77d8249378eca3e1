"""What the modules of this package share."""

from dataclasses import dataclass, field

from exporter.daemon.change_log import ChangeLog
from exporter.history import History
from exporter.host import Clock
from exporter.metrics import Metrics
from exporter.plan import Job
from exporter.resolver import Resolver
from exporter.state import LedgerFile


@dataclass(slots=True)
class Links:
    """Where pages for people are; a reload changes it. `runbook_url`: as in the config."""

    runbook_url: str | None = None


@dataclass(frozen=True, slots=True)
class Services:
    """`jobs`: those that run now, by name, in the order of the config. `origin`: where the exporter probes from."""

    jobs: dict[str, Job]
    metrics: Metrics
    history: History
    state: LedgerFile
    clock: Clock
    resolver: Resolver
    changes: ChangeLog = field(default_factory=ChangeLog)
    links: Links = field(default_factory=Links)
    origin: str | None = None
