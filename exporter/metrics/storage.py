"""The samples: one flat list of values per target, which its layout turns into text or into points.

Rule 1: `recorder` uses only the methods of `SampleStore`, so that another storage could take its place.
Rule 2: a reader sees one moment: a store that is written to during a reading keeps a copy (`MetricStorage.read`).
"""

from bisect import bisect_left
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from exporter.metrics.families import Family
from exporter.metrics.layout import (
    BY_IDENTITY,
    LABELS_PLACEHOLDER,
    NAME_PLACEHOLDER,
    SampleValue,
    SeriesLayout,
    alias_placeholder,
    labels_text,
    layout_of,
    slot_count,
)
from exporter.metrics.series import Key, Start


class Point(NamedTuple):
    """One series at one moment.

    `values`: one, or of a histogram the count of each bucket, which does not count the smaller ones, then of +Inf, then
    the sum. `since`: unix seconds at which it began to count; 0: unknown.
    """

    labels: Mapping[str, str]
    values: Sequence[float]
    since: float


class StoreView(NamedTuple):
    """The series of a store; `labels`: those that the config gives the target."""

    names: Mapping[str, str]
    labels: Mapping[str, str]
    layout: SeriesLayout
    values: list[SampleValue]
    births: Mapping[Key, float]
    born: float

    def points(self, family: Family) -> Iterator[Point]:
        """Every known series of a family."""
        template = self.layout.templates.get(family)
        if template is None:
            return
        target = (self.names[NAME_PLACEHOLDER],) if family.labels[:1] == ("target",) else ()
        labels = self.labels if family.with_config_labels else {}
        count = slot_count(family)
        for slot, key in zip(range(template.first, template.end, count), template.keys, strict=True):
            values = self.values[slot : slot + count]
            if values[0] is not None:
                words = [self.names.get(word, word) for word in key[1:]]
                named = dict(zip(family.labels, (*target, *words), strict=True))
                since = self.births.get((family, *words), self.born) if self.births else self.born
                yield Point({**named, **labels} if labels else named, values, since)  # type: ignore[arg-type]


class SampleStore:
    """The series of one target (None: of the exporter itself), by family and the label values after `target`.

    `born`: unix seconds of now; 0: unknown.
    """

    def __init__(self, target: str | None, born: float = 0.0) -> None:
        self._names = {NAME_PLACEHOLDER: target or ""}
        self._labels: Mapping[str, str] = {}
        self._aliases: dict[str, str] = {}
        self._values: list[SampleValue] = []
        self._layout = layout_of(())
        self._born = born
        self._births: dict[Key, float] = {}  # of the series that are younger than the store
        self._unexpected: set[Key] = set()
        self._copies: dict[object, StoreView] = {}

    def set_series(
        self,
        legal: Mapping[Key, Start],
        aliases: Sequence[str] = (),
        labels: Mapping[str, str] | None = None,
        *,
        at: float = 0.0,
    ) -> None:
        """Make exactly these series: keep the values of those that exist, add those with a start, drop all others.

        `aliases`: of the identities, in the order of the pool. `labels`: those that the config gives the target.
        `at`: unix seconds of now; 0: unknown.
        """
        self._unexpected.clear()
        before = {key: self._values_of(key) for key in self._keys()}
        if before:
            self._births = {key: self._births.get(key, at) for key in legal if key in self._births or key not in before}
        self._aliases = {name: alias_placeholder(number) for number, name in enumerate(aliases)}
        placeholders = {placeholder: name for name, placeholder in self._aliases.items()}
        self._labels = labels or {}
        text = labels_text(self._labels)
        self._names = {NAME_PLACEHOLDER: self._names[NAME_PLACEHOLDER], **placeholders, LABELS_PLACEHOLDER: text}
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

    def view(self, values: list[SampleValue]) -> StoreView:
        """The series as they are now, with these values."""
        return StoreView(self._names, self._labels, self._layout, values, self._births, self._born)

    def copy_for(self, readings: Collection[object]) -> None:
        """Keep one copy for those of these readings that have none; to be called before the values change."""
        missing = [reading for reading in readings if reading not in self._copies]
        if missing:
            self._copies |= dict.fromkeys(missing, self.view(self._values.copy()))

    def drop_copy(self, reading: object) -> None:
        """Drop the copy at the end of the reading."""
        self._copies.pop(reading, None)

    def text(self, family: Family, reading: object) -> str:
        """The lines of a family, as they were when `reading` began."""
        if self._copies and reading in self._copies:
            names, _, layout, values, *_ = self._copies[reading]
        else:
            names, layout, values = self._names, self._layout, self._values
        template = layout.templates.get(family)
        return template.text(names, values) if template is not None else ""

    def frozen(self, reading: object) -> StoreView:
        """All series, as they were when `reading` began; what is counted later changes nothing of it."""
        return self._copies.get(reading) or self.view(self._values.copy())


class MetricStorage:
    """One store for the exporter itself and one for each target."""

    def __init__(self, born: float = 0.0) -> None:
        """`born`: unix seconds of now; 0: unknown."""
        self._own = SampleStore(None, born)
        self._stores: dict[str, SampleStore] = {}
        self._readings: list[object] = []

    def own(self) -> SampleStore:
        """The store of the exporter itself, ready to be written to."""
        return self.writable(self._own)

    def add(self, target: str, at: float = 0.0) -> SampleStore:
        """Add an empty store for a target; `at`: unix seconds of now, 0: unknown."""
        store = self._stores[target] = SampleStore(target, at)
        return store

    def remove(self, target: str) -> None:
        """Remove the store of a target, with all its series."""
        del self._stores[target]

    def writable(self, store: SampleStore) -> SampleStore:
        """The store, ready to be written to until control returns to the event loop."""
        if self._readings:
            store.copy_for(self._readings)
        return store

    @contextmanager
    def read(self) -> Iterator[tuple[object, list[SampleStore]]]:
        """Begin a reading: yields it and all stores as they are now. Several may be under way."""
        reading = object()
        self._readings.append(reading)
        stores = [self._own, *self._stores.values()]
        try:
            yield reading, stores
        finally:
            self._readings.remove(reading)
            for store in stores:
                store.drop_copy(reading)
