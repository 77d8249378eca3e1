"""What has changed since the start, for readers that poll."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from itertools import takewhile

from exporter.result import SkipCause


@dataclass(slots=True)
class ChangeLog:
    """Counts since the start, and the order in which targets last changed.

    `last_scrape`: unix seconds; None before the first.
    `begins_by`: unix seconds until which the first sessions wait for a scrape.
    """

    sessions: int = 0
    skips: Counter[SkipCause] = field(default_factory=Counter)
    last_scrape: float | None = None
    begins_by: float | None = None
    _count: int = 0
    _changed: dict[str, int] = field(default_factory=dict)

    def record(self, target: str) -> None:
        """Record a change of the target."""
        self._count += 1
        self._changed.pop(target, None)  # moves the target to the end
        self._changed[target] = self._count

    def since(self, count: int) -> tuple[int, Collection[str]]:
        """The number of changes now, and the targets that have changed since that number was `count`."""
        latest = reversed(self._changed.items())
        return self._count, [name for name, _ in takewhile(lambda change: change[1] > count, latest)]

    def remove(self, target: str) -> None:
        """Forget a removed target."""
        self._changed.pop(target, None)
