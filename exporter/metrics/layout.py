"""The slot of each series in a target's flat list of values, and the templates of its text.

Rule 1: targets with the same kinds of series share one layout, whatever the names of the targets and of their
identities; one more such target costs a list of values.
Rule 2: a value is an int or a float; None means that the series is unknown and has no line.
Rule 3: the series of a family are adjacent, so that its text is one template filled from one slice.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Final

from exporter.metrics.families import ALL, Family
from exporter.metrics.series import Key

NAME_PLACEHOLDER: Final = "\0"
"""The place of a target's name in a template. Names and aliases consist of letters, digits and `_.:-`
(`config.scalars`), so none contains a placeholder, a quote, or a `%`."""

LABELS_PLACEHOLDER: Final = "\2"
"""The place in a template of the labels that the config gives a target (`labels_text`)."""


def labels_text(labels: Mapping[str, str]) -> str:
    """`,team="payments"`, escaped for the exposition format and for `%`."""
    return "".join(f',{name}="{value.translate(ESCAPES)}"' for name, value in labels.items())


ESCAPES: Final = str.maketrans({"\\": r"\\", '"': r"\"", "%": "%%"})


def alias_placeholder(number: int) -> str:
    """The place of the alias of the `number`-th identity."""
    return f"\x01{number}\x01"


BY_IDENTITY: Final = frozenset(family for family in ALL if "identity" in family.labels)
"""Families whose only label beside the target is an alias."""

FAMILY_ORDER: Final = {family: number for number, family in enumerate(ALL)}

SampleValue = int | float | None


@dataclass(frozen=True, slots=True)
class FamilyTemplate:
    """The text of one family.

    `keys`: its series, in the order of their values.
    `lines`, `template`: a template for each line, and all of them in one.
    `zeros`: the text if every value is 0, the usual case: failures that never happened.
    `first`, `end`: the slots of the values. `buckets`: of a histogram without +Inf; 0 for other kinds.
    `by_name`: the text has other placeholders beside the target's name.
    """

    keys: tuple[Key, ...]
    lines: tuple[str, ...]
    template: str
    zeros: str
    first: int
    end: int
    buckets: int
    may_be_unknown: bool
    by_name: bool

    def text(self, names: Mapping[str, str], values: Sequence[SampleValue]) -> str:
        """The lines of a target; `names`: what to write for each placeholder."""
        samples: Sequence[SampleValue] = values[self.first : self.end]
        if self.buckets:
            samples = list(_cumulate(samples, self.buckets + 2))
        template = self.template
        if not self.may_be_unknown and not any(samples):
            return self._fill_in(self.zeros, names)
        if self.may_be_unknown and None in samples:
            lines = zip(self.lines, samples, strict=True)
            template = "".join(line for line, sample in lines if sample is not None)
            samples = [sample for sample in samples if sample is not None]
        return self._fill_in(template, names) % tuple(samples)  # no name contains a `%`

    def _fill_in(self, template: str, names: Mapping[str, str]) -> str:
        for placeholder, name in names.items() if self.by_name else ((NAME_PLACEHOLDER, names[NAME_PLACEHOLDER]),):
            template = template.replace(placeholder, name)
        return template


class SeriesLayout:
    """The slots of a set of series; `slots`: the first slot of each.

    A histogram has one slot for each bucket, which does not count the smaller ones, then +Inf, then the sum. An
    observation changes two slots; the cumulative counts are made at the scrape.
    """

    def __init__(self, keys: Iterable[Key]) -> None:
        self.slots: dict[Key, int] = {}
        self.templates: dict[Family, FamilyTemplate] = {}
        self.size = 0
        by_family: dict[Family, list[Key]] = {}
        for key in keys:
            by_family.setdefault(key[0], []).append(key)
        for family in sorted(by_family, key=FAMILY_ORDER.__getitem__):
            self._add_family(family, by_family[family])

    def _add_family(self, family: Family, keys: Sequence[Key]) -> None:
        first, lines = self.size, []
        for key in keys:
            self.slots[key] = self.size
            lines += _lines(key)
            self.size += slot_count(family)
        template, zeros = "".join(lines), (0,) * len(lines)
        self.templates[family] = FamilyTemplate(
            keys=tuple(keys),
            lines=tuple(lines),
            template=template,
            zeros=template % zeros,
            first=first,
            end=self.size,
            buckets=len(family.buckets),
            may_be_unknown=family.kind == "gauge",
            by_name=family in BY_IDENTITY or family.with_config_labels,
        )


@lru_cache(maxsize=256)
def layout_of(keys: tuple[Key, ...]) -> SeriesLayout:
    """The layout of these series; equal keys share one."""
    return SeriesLayout(keys)


def slot_count(family: Family) -> int:
    """The number of slots of one series of the family."""
    return len(family.buckets) + 2 if family.buckets else 1


def _cumulate(values: Sequence[SampleValue], length: int) -> Iterator[SampleValue]:
    """The samples of histograms of `length` slots each: cumulative buckets, count, sum."""
    for first in range(0, len(values), length):
        *counts, total = values[first : first + length]
        yield from accumulate(counts)  # a histogram has no None
        yield sum(counts)  # type: ignore[arg-type]
        yield total


def _lines(key: Key) -> list[str]:
    family, *values = key
    all_values = [NAME_PLACEHOLDER, *values] if "target" in family.labels else values
    labels = [f'{label}="{value}"' for label, value in zip(family.labels, all_values, strict=True)]
    after = LABELS_PLACEHOLDER if family.with_config_labels else ""
    return [f"{family.name}{end}{_braced([*labels, *more], after)} %s\n" for end, more in _samples(family)]


def _samples(family: Family) -> Iterator[tuple[str, list[str]]]:
    """The suffix of the name and the additional labels of each sample of a series."""
    if not family.buckets:
        yield "", []
        return
    for bound in (*map(str, map(float, family.buckets)), "+Inf"):
        yield "_bucket", [f'le="{bound}"']
    yield from (("_count", []), ("_sum", []))


def _braced(labels: Sequence[str], after: str) -> str:
    return f"{{{','.join(labels)}{after}}}" if labels else ""
