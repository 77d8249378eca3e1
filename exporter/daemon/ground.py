"""What the files of this room share."""

from dataclasses import dataclass, field

from exporter.daemon.news import News
from exporter.history import History
from exporter.host import Clock
from exporter.metrics import Metrics
from exporter.plan import Job
from exporter.resolver import Resolver
from exporter.state import State


@dataclass(frozen=True, slots=True)
class Ground:
    """`jobs`: by name, those that run now, in the order of the config."""

    jobs: dict[str, Job]
    metrics: Metrics
    history: History
    state: State
    clock: Clock
    resolver: Resolver
    news: News = field(default_factory=News)
