"""The figures as text, in the forms that Prometheus reads: written piece by piece, by who has the time.

Rule 1: all pieces of one reading are of one moment, however long it takes to write them.
Rule 2: process, platform and garbage collection are the library's, the only thing that is: the rest of this package
writes 300 lines of a target with one list and shared templates (ARCHITECTURE, "Why our own storage").

Text 0.0.4: Prometheus, "exposition formats". OpenMetrics 1.0.0: RFC-draft-richih-opsawg-openmetrics.
"""

from collections.abc import Generator
from enum import Enum
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.openmetrics import exposition as openmetrics

from exporter.metrics.families import ALL, Family
from exporter.metrics.storage import MetricStorage


class ExpositionFormat(Enum):
    """A form we can write: media type and version."""

    TEXT = ("text/plain", "0.0.4")
    OPENMETRICS = ("application/openmetrics-text", "1.0.0")


HELP_ESCAPES: Final = str.maketrans({"\\": r"\\", "\n": r"\n"})


def figures(storage: MetricStorage, form: ExpositionFormat) -> Generator[str]:
    """Every series of ours, a family of a target at a time; what is counted meanwhile is not in it.

    Raises RuntimeError if another reading is under way; closing the iterator ends this one.
    """
    with storage.read() as (reading, shelves):
        for family in ALL:
            yield _head(family, form)
            for shelf in shelves:
                yield shelf.text(family, reading)


def _head(family: Family, form: ExpositionFormat) -> str:
    name = family.name.removesuffix("_total") if form is ExpositionFormat.OPENMETRICS else family.name
    return f"# HELP {name} {family.help.translate(HELP_ESCAPES)}\n# TYPE {name} {family.kind}\n"


class ProcessMetrics:
    """The figures of this process and its interpreter. `text` reads /proc: half a millisecond, in any thread."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self._registry)

    def text(self, form: ExpositionFormat) -> str:
        """The last part of a page, with the end that its form asks for."""
        if form is ExpositionFormat.TEXT:
            return generate_latest(self._registry).decode()
        text: bytes = openmetrics.generate_latest(self._registry)  # type: ignore[no-untyped-call]
        return text.decode()
