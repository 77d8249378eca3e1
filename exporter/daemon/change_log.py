"""What has happened since the start, for who looks now and then."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from itertools import takewhile

from exporter.result import SkipCause


@dataclass(slots=True)
class ChangeLog:
    """`last_scrape` in unix seconds, None before the first; `begins_by`: until when the first sessions wait for it."""

    sessions: int = 0
    skips: Counter[SkipCause] = field(default_factory=Counter)
    last_scrape: float | None = None
    begins_by: float | None = None
    _count: int = 0
    _changed: dict[str, int] = field(default_factory=dict)

    def of(self, target: str) -> None:
        """Something about the target is not as it was."""
        self._count += 1
        self._changed.pop(target, None)  # the latest stands last
        self._changed[target] = self._count

    def since(self, count: int) -> tuple[int, Collection[str]]:
        """Where the count of changes stands, and the targets that have changed since it stood at `count`."""
        latest = reversed(self._changed.items())
        return self._count, [name for name, _ in takewhile(lambda change: change[1] > count, latest)]

    def forget(self, target: str) -> None:
        """The target is gone."""
        self._changed.pop(target, None)
