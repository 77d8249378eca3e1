"""Where the figures are kept: one flat list a target, behind the text of its layout.

Rule 1: what a `SampleStore` offers is all that `doors` may use, so that another storage can take this one's place.
Rule 2: whoever reads reads one moment: a shelf that is written to meanwhile keeps what it held (`Storage.reading`).
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from exporter.metrics.families import Family
from exporter.metrics.layout import (
    BY_IDENTITY,
    LABELS_PLACEHOLDER,
    NAME_PLACEHOLDER,
    Figure,
    SeriesLayout,
    alias,
    layout_of,
    slots,
)
from exporter.metrics.series import Key, Start


class SampleStore:
    """The series of one target (None: of the exporter itself), by family and the label values after `target`."""

    def __init__(self, target: str | None) -> None:
        self._names = {NAME_PLACEHOLDER: target or ""}
        self._aliases: dict[str, str] = {}
        self._figures: list[Figure] = []
        self._layout = layout_of(())
        self._strays: set[Key] = set()
        self._kept: tuple[object, Mapping[str, str], SeriesLayout, list[Figure]] | None = None

    def arrange(self, legal: Mapping[Key, Start], aliases: Sequence[str] = (), labels: str = "") -> None:
        """Make the series that have a start, keep those that are there, drop those that are legal no more.

        `aliases`: those of the identities, in their order. `labels`: see `layout.labels_text`.
        """
        self._strays.clear()
        before = {key: self._slice(key) for key in self._keys()}
        self._aliases = {name: alias(number) for number, name in enumerate(aliases)}
        marks = {mark: name for name, mark in self._aliases.items()}
        self._names = {NAME_PLACEHOLDER: self._names[NAME_PLACEHOLDER], **marks, LABELS_PLACEHOLDER: labels}
        self._lay_out(layout_of(tuple(map(self._placed, legal))), before)
        for key, start in legal.items():
            at = self._layout.at[self._placed(key)]
            if start:
                self._figures[at] = start
            elif start is not None and self._figures[at] is None:
                self._figures[at : at + slots(key[0])] = [0] * slots(key[0])

    def _lay_out(self, layout: SeriesLayout, before: Mapping[Key, list[Figure]]) -> None:
        """Move to another layout; what it does not have is dropped, what is new is not known yet."""
        self._layout, self._figures = layout, [None] * layout.size
        for key, figures in before.items():
            at = layout.at.get(self._placed(key))
            if at is not None:
                self._figures[at : at + len(figures)] = figures

    def _keys(self) -> Iterator[Key]:
        """The series that have a place."""
        for family, *values in self._layout.at:
            yield (family, *(self._names.get(value, value) for value in values))

    def _placed(self, key: Key) -> Key:
        """The key as layouts have it: an alias is the place of its identity in the pool."""
        return (key[0], self._aliases.get(key[1], key[1])) if key[0] in BY_IDENTITY else key

    def _slice(self, key: Key) -> list[Figure]:
        at = self._layout.at[self._placed(key)]
        return self._figures[at : at + slots(key[0])]

    def add(self, *key: Any, amount: float = 1) -> None:
        """Count."""
        at = self._at(key)
        self._figures[at] = (self._figures[at] or 0) + amount

    def get(self, *key: Any) -> float:
        """A gauge or a counter; 0 if it is not known."""
        return self._figures[self._at(key)] or 0

    def set(self, value: float, *key: Any) -> None:
        """Set a gauge."""
        at = self._at(key)  # first: to make a place makes another list
        self._figures[at] = +value  # a bool becomes a number

    def unset(self, *key: Any) -> None:
        """Make a gauge unknown again."""
        at = self._layout.at.get(self._placed(key))
        if at is not None:
            self._figures[at] = None

    def observe(self, value: float, *key: Any) -> None:
        """Put a value into a histogram."""
        first, buckets, figures = self._at(key), key[0].buckets, self._figures
        figures[first + bisect_left(buckets, value)] += 1  # type: ignore[operator]  # every figure is known
        figures[first + len(buckets) + 1] += value  # type: ignore[operator]

    def unexpected_series(self) -> Iterator[Key]:
        """Series that are there although no combination of the target is legal for them."""
        return iter(self._strays)

    def _at(self, key: Key) -> int:
        at = self._layout.at.get(key)
        if at is None:  # an alias, or new
            at = self._layout.at.get(self._placed(key))
        return self._made(key) if at is None else at

    def _made(self, key: Key) -> int:
        """A place for a series that no table foresaw: it is counted all the same, and can be found."""
        self._strays.add(key)
        before = {known: self._slice(known) for known in self._keys()}
        self._lay_out(SeriesLayout((*self._layout.at, self._placed(key))), before)
        at, length = self._layout.at[self._placed(key)], slots(key[0])
        self._figures[at : at + length] = [0] * length
        return at

    # Reading -------------------------------------------------------------------------------------------------------

    def keep(self, reading: object) -> None:
        """Keep what is here for who is reading now: it is about to change."""
        if self._kept is None or self._kept[0] is not reading:
            self._kept = reading, self._names, self._layout, self._figures.copy()

    def let_go(self) -> None:
        """Nobody is reading any more."""
        self._kept = None

    def text(self, family: Family, reading: object) -> str:
        """The lines of a family, as they were when `reading` began."""
        kept = self._kept
        if kept is not None and kept[0] is reading:
            _, names, layout, figures = kept
        else:
            names, layout, figures = self._names, self._layout, self._figures
        block = layout.blocks.get(family)
        return block.text(names, figures) if block is not None else ""


class MetricStorage:
    """The exporter's own shelf and one for each target."""

    def __init__(self) -> None:
        self._own = SampleStore(None)
        self._shelves: dict[str, SampleStore] = {}
        self._reading: object = None

    def own(self) -> SampleStore:
        """The series that belong to no target, to be written to now."""
        return self.open(self._own)

    def add(self, target: str) -> SampleStore:
        """Put up an empty shelf."""
        shelf = self._shelves[target] = SampleStore(target)
        return shelf

    def remove(self, target: str) -> None:
        """Take down a shelf, with all its series."""
        del self._shelves[target]

    def open(self, shelf: SampleStore) -> SampleStore:
        """The shelf, to be written to now."""
        if self._reading is not None:
            shelf.keep(self._reading)
        return shelf

    @contextmanager
    def read(self) -> Iterator[tuple[object, list[SampleStore]]]:
        """All shelves as they are now, and the reading to ask them with; raises RuntimeError if one is under way."""
        if self._reading is not None:
            raise RuntimeError("a reading within a reading")
        self._reading = reading = object()
        shelves = [self._own, *self._shelves.values()]
        try:
            yield reading, shelves
        finally:
            self._reading = None
            for shelf in shelves:
                shelf.let_go()
