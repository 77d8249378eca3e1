"""The text of a scrape in the formats of Prometheus, made piece by piece.

Rule 1: all pieces of one scrape show one moment, however long it takes to make them.
Rule 2: prometheus_client makes only the metrics of process, platform and garbage collection. The rest of this package
writes the 300 lines of a target from one list and shared templates (ARCHITECTURE.md, "Why our own metric storage").

Text 0.0.4: Prometheus, "exposition formats". OpenMetrics 1.0.0: RFC-draft-richih-opsawg-openmetrics.
"""

from collections.abc import Generator, Iterable
from enum import Enum
from typing import Final, NamedTuple

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.samples import Sample

from exporter.metrics.families import ALL, Family
from exporter.metrics.storage import MetricStorage


class ExpositionFormat(Enum):
    """An exposition format: its media type and version."""

    TEXT = ("text/plain", "0.0.4")
    OPENMETRICS = ("application/openmetrics-text", "1.0.0")


HELP_ESCAPES: Final = str.maketrans({"\\": r"\\", "\n": r"\n"})


def samples(storage: MetricStorage, form: ExpositionFormat) -> Generator[str]:
    """All stored series as of now, in pieces: each family's head, then its lines target by target.

    Closing the generator ends the reading.
    """
    with storage.read() as (reading, stores):
        for family in ALL:
            yield _head(family, form)
            for store in stores:
                yield store.text(family, reading)


def _head(family: Family, form: ExpositionFormat) -> str:
    name = family.name.removesuffix("_total") if form is ExpositionFormat.OPENMETRICS else family.name
    return f"# HELP {name} {family.help.translate(HELP_ESCAPES)}\n# TYPE {name} {family.kind}\n"


class PlainFamily(NamedTuple):
    """A family of the process's metrics; `kind`: counter or gauge; `samples`: labels and value of each."""

    name: str
    kind: str
    help: str
    samples: list[tuple[dict[str, str], float]]


class ProcessMetrics:
    """The metrics of this process and its interpreter. Reads /proc in half a millisecond, in any thread."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self._registry)

    def text(self, form: ExpositionFormat) -> str:
        """The last part of a scrape, with the end mark of its format."""
        if form is ExpositionFormat.TEXT:
            return generate_latest(self._registry).decode()
        text: bytes = openmetrics.generate_latest(self._registry)  # type: ignore[no-untyped-call]
        return text.decode()

    def families(self) -> list[PlainFamily]:
        """The same as values, under the names that a scrape has."""
        return [
            PlainFamily(family.samples[0].name, family.type, family.documentation, _labelled(family.samples))
            for family in self._registry.collect()
            if family.samples
        ]


def _labelled(samples: Iterable[Sample]) -> list[tuple[dict[str, str], float]]:
    return [(sample.labels, sample.value) for sample in samples]
