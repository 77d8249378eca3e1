"""Where the figures are kept: the library's children, on a registry of our own.

Rule 1: the only file that touches prometheus_client. Rule 2: what a `Shelf` offers is all that `doors` may use, so
that another storage can take this one's place.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

from exporter.metrics.families import ALL, Family
from exporter.metrics.series import Key, Start

TYPES: Final[Mapping[str, Any]] = {"counter": Counter, "gauge": Gauge, "histogram": Histogram}


class Storage:
    """All families on a private registry, and a `Shelf` for each target. Created-series are off."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self._metrics = {family: self._register(family) for family in ALL}
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def _register(self, family: Family) -> Any:
        extra = {"buckets": family.buckets} if family.buckets else {}
        return TYPES[family.kind](family.name, family.help, family.labels, registry=self.registry, **extra)

    def child(self, family: Family, *labels: str) -> Any:
        """The series of these label values, made if need be."""
        return self._metrics[family].labels(*labels) if labels else self._metrics[family]

    def remove(self, family: Family, *labels: str) -> None:
        """Forget a series."""
        self._metrics[family].remove(*labels)


class Shelf:
    """The series of one target, by family and the label values after `target`. Times in seconds."""

    def __init__(self, storage: Storage, target: str) -> None:
        self._storage = storage
        self._target = target
        self._children: dict[Key, Any] = {}
        self._legal: Mapping[Key, Start] = {}

    def arrange(self, legal: Mapping[Key, Start]) -> None:
        """Make the series that have a start, keep those that are there, drop those that are legal no more."""
        for key in [key for key in self._children if key not in legal]:
            self._drop(key)
        self._legal = legal
        for key, start in legal.items():
            if start is not None:
                child = self._child(key)
                if start:
                    child.set(start)

    def clear(self) -> None:
        """Drop every series of the target."""
        for key in list(self._children):
            self._drop(key)

    def add(self, *key: Any, amount: float = 1) -> None:
        """Count."""
        (self._children.get(key) or self._child(key)).inc(amount)

    def set(self, value: float, *key: Any) -> None:
        """Set a gauge."""
        (self._children.get(key) or self._child(key)).set(value)

    def observe(self, value: float, *key: Any) -> None:
        """Put a value into a histogram."""
        (self._children.get(key) or self._child(key)).observe(value)

    def strays(self) -> Iterator[Key]:
        """Series that are there although no combination of the target is legal for them."""
        return (key for key in self._children if key not in self._legal)

    def _child(self, key: Key) -> Any:
        if key not in self._children:
            self._children[key] = self._storage.child(key[0], self._target, *key[1:])
        return self._children[key]

    def _drop(self, key: Key) -> None:
        del self._children[key]
        self._storage.remove(key[0], self._target, *key[1:])
