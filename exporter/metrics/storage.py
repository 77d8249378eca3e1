"""The samples: one flat list of values per target, which its layout turns into text.

Rule 1: `recorder` uses only the methods of `SampleStore`, so that another storage could take its place.
Rule 2: a reader sees one moment: a store that is written to during a reading keeps a copy (`MetricStorage.read`).
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
    SampleValue,
    SeriesLayout,
    alias_placeholder,
    layout_of,
    slot_count,
)
from exporter.metrics.series import Key, Start


class SampleStore:
    """The series of one target (None: of the exporter itself), by family and the label values after `target`."""

    def __init__(self, target: str | None) -> None:
        self._names = {NAME_PLACEHOLDER: target or ""}
        self._aliases: dict[str, str] = {}
        self._values: list[SampleValue] = []
        self._layout = layout_of(())
        self._unexpected: set[Key] = set()
        self._copy: tuple[object, Mapping[str, str], SeriesLayout, list[SampleValue]] | None = None

    def set_series(self, legal: Mapping[Key, Start], aliases: Sequence[str] = (), labels: str = "") -> None:
        """Make exactly these series: keep the values of those that exist, add those with a start, drop all others.

        `aliases`: of the identities, in the order of the pool. `labels`: as `layout.labels_text` returns them.
        """
        self._unexpected.clear()
        before = {key: self._values_of(key) for key in self._keys()}
        self._aliases = {name: alias_placeholder(number) for number, name in enumerate(aliases)}
        placeholders = {placeholder: name for name, placeholder in self._aliases.items()}
        self._names = {NAME_PLACEHOLDER: self._names[NAME_PLACEHOLDER], **placeholders, LABELS_PLACEHOLDER: labels}
        self._change_layout(layout_of(tuple(map(self._layout_key, legal))), before)
        for key, start in legal.items():
            slot = self._layout.slots[self._layout_key(key)]
            if start:
                self._values[slot] = start
            elif start is not None and self._values[slot] is None:
                self._values[slot : slot + slot_count(key[0])] = [0] * slot_count(key[0])

    def _change_layout(self, layout: SeriesLayout, before: Mapping[Key, list[SampleValue]]) -> None:
        """Move the values to another layout: series that it lacks are dropped, series that are new are unknown."""
        self._layout, self._values = layout, [None] * layout.size
        for key, values in before.items():
            slot = layout.slots.get(self._layout_key(key))
            if slot is not None:
                self._values[slot : slot + len(values)] = values

    def _keys(self) -> Iterator[Key]:
        """Every series."""
        for family, *labels in self._layout.slots:
            yield (family, *(self._names.get(label, label) for label in labels))

    def _layout_key(self, key: Key) -> Key:
        """The key as the layout has it: the placeholder of an identity instead of its alias."""
        return (key[0], self._aliases.get(key[1], key[1])) if key[0] in BY_IDENTITY else key

    def _values_of(self, key: Key) -> list[SampleValue]:
        slot = self._layout.slots[self._layout_key(key)]
        return self._values[slot : slot + slot_count(key[0])]

    def add(self, *key: Any, amount: float = 1) -> None:
        """Add to a counter."""
        slot = self._slot(key)
        self._values[slot] = (self._values[slot] or 0) + amount

    def get(self, *key: Any) -> float:
        """The value of a gauge or a counter; 0 if it is unknown."""
        return self._values[self._slot(key)] or 0

    def set(self, value: float, *key: Any) -> None:
        """Set a gauge."""
        slot = self._slot(key)  # before the assignment: to add a series replaces the list
        self._values[slot] = +value  # a bool becomes a number

    def unset(self, *key: Any) -> None:
        """Make a gauge unknown."""
        slot = self._layout.slots.get(self._layout_key(key))
        if slot is not None:
            self._values[slot] = None

    def observe(self, value: float, *key: Any) -> None:
        """Add a value to a histogram."""
        first, buckets, values = self._slot(key), key[0].buckets, self._values
        values[first + bisect_left(buckets, value)] += 1  # type: ignore[operator]  # a histogram has no None
        values[first + len(buckets) + 1] += value  # type: ignore[operator]

    def unexpected_series(self) -> Iterator[Key]:
        """Series that exist although they are not legal for the target."""
        return iter(self._unexpected)

    def _slot(self, key: Key) -> int:
        slot = self._layout.slots.get(key)
        if slot is None:  # the key has an alias, or is new
            slot = self._layout.slots.get(self._layout_key(key))
        return self._add_unexpected(key) if slot is None else slot

    def _add_unexpected(self, key: Key) -> int:
        """Add a series that is not legal: nothing that happened goes uncounted, and tests can find it."""
        self._unexpected.add(key)
        before = {series: self._values_of(series) for series in self._keys()}
        self._change_layout(SeriesLayout((*self._layout.slots, self._layout_key(key))), before)
        slot, count = self._layout.slots[self._layout_key(key)], slot_count(key[0])
        self._values[slot : slot + count] = [0] * count
        return slot

    # Reading -------------------------------------------------------------------------------------------------------

    def copy_for(self, reading: object) -> None:
        """Copy the values for this reading, once; to be called before they change."""
        if self._copy is None or self._copy[0] is not reading:
            self._copy = reading, self._names, self._layout, self._values.copy()

    def drop_copy(self) -> None:
        """Drop the copy at the end of the reading."""
        self._copy = None

    def text(self, family: Family, reading: object) -> str:
        """The lines of a family, as they were when `reading` began."""
        copy = self._copy
        if copy is not None and copy[0] is reading:
            _, names, layout, values = copy
        else:
            names, layout, values = self._names, self._layout, self._values
        template = layout.templates.get(family)
        return template.text(names, values) if template is not None else ""


class MetricStorage:
    """One store for the exporter itself and one for each target."""

    def __init__(self) -> None:
        self._own = SampleStore(None)
        self._stores: dict[str, SampleStore] = {}
        self._reading: object = None

    def own(self) -> SampleStore:
        """The store of the exporter itself, ready to be written to."""
        return self.writable(self._own)

    def add(self, target: str) -> SampleStore:
        """Add an empty store for a target."""
        store = self._stores[target] = SampleStore(target)
        return store

    def remove(self, target: str) -> None:
        """Remove the store of a target, with all its series."""
        del self._stores[target]

    def writable(self, store: SampleStore) -> SampleStore:
        """The store, ready to be written to until control returns to the event loop."""
        if self._reading is not None:
            store.copy_for(self._reading)
        return store

    @contextmanager
    def read(self) -> Iterator[tuple[object, list[SampleStore]]]:
        """Begin a reading: yields it and all stores as they are now. Raises RuntimeError if another is under way."""
        if self._reading is not None:
            raise RuntimeError("a reading within a reading")
        self._reading = reading = object()
        stores = [self._own, *self._stores.values()]
        try:
            yield reading, stores
        finally:
            self._reading = None
            for store in stores:
                store.drop_copy()
