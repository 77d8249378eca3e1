"""Where each series of a target stands in a flat list of figures, and the text that is written around the figures.

Rule 1: targets of one shape share one layout, whatever they and their identities are called: a target of its own costs
a list of figures and no more.
Rule 2: a figure is an int or a float; None is a series that is not known yet and has no line.
Rule 3: the series of one family stand side by side, so that its text is one template and one slice.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Final

from exporter.metrics.families import ALL, Family
from exporter.metrics.series import Key

NAME_PLACEHOLDER: Final = "\0"
"""Stands in a template where a target's name goes. Names and aliases are letters, digits and `_.:-`
(`config.scalars.NAME_PLACEHOLDER`), so none holds it, a quote, or a `%`."""


LABELS_PLACEHOLDER: Final = "\2"
"""Stands in a template where the labels go that the config gives a target (`labels_text`)."""


def labels_text(labels: Mapping[str, str]) -> str:
    """`,team="payments"`, escaped for the page and for the template that it comes into."""
    return "".join(f',{name}="{value.translate(ESCAPES)}"' for name, value in labels.items())


ESCAPES: Final = str.maketrans({"\\": r"\\", '"': r"\"", "%": "%%"})


def alias(number: int) -> str:
    """Stands in a layout where the alias of the `number`-th identity goes."""
    return f"\x01{number}\x01"


BY_IDENTITY: Final = frozenset(family for family in ALL if "identity" in family.labels)
"""Families whose series have an alias for a label, their only one."""


FAMILY_ORDER: Final = {family: number for number, family in enumerate(ALL)}

Figure = int | float | None


@dataclass(frozen=True, slots=True)
class FamilyTemplate:
    """The text of one family: a template for each line, all of them in one, and the slots of their figures.

    `by_name`: other names than the target's stand in it. `zeros`: the whole text where every figure is 0, as most are:
    failures that never happened.
    """

    lines: tuple[str, ...]
    template: str
    zeros: str
    first: int
    end: int
    buckets: int
    may_be_unknown: bool
    by_name: bool

    def text(self, names: Mapping[str, str], figures: Sequence[Figure]) -> str:
        """The lines of a target; `names` says what stands for each placeholder, its own name for `NAME_PLACEHOLDER`."""
        known: Sequence[Figure] = figures[self.first : self.end]
        if self.buckets:
            known = list(_cumulated(known, self.buckets + 2))
        template = self.template
        if not self.may_be_unknown and not any(known):
            return self._named(self.zeros, names)
        if self.may_be_unknown and None in known:
            lines = zip(self.lines, known, strict=True)
            template = "".join(line for line, figure in lines if figure is not None)
            known = [figure for figure in known if figure is not None]
        return self._named(template, names) % tuple(known)  # no name holds a `%`

    def _named(self, template: str, names: Mapping[str, str]) -> str:
        for placeholder, name in names.items() if self.by_name else ((NAME_PLACEHOLDER, names[NAME_PLACEHOLDER]),):
            template = template.replace(placeholder, name)
        return template


class SeriesLayout:
    """The slots of a set of series. `at`: the first slot of each.

    A histogram has one for what fell into each bucket and no smaller one, then +Inf, then the sum: to count is to
    change two, and what is cumulative is made when somebody reads.
    """

    def __init__(self, keys: Iterable[Key]) -> None:
        self.at: dict[Key, int] = {}
        self.blocks: dict[Family, FamilyTemplate] = {}
        self.size = 0
        by_family: dict[Family, list[Key]] = {}
        for key in keys:
            by_family.setdefault(key[0], []).append(key)
        for family in sorted(by_family, key=FAMILY_ORDER.__getitem__):
            self._place(family, by_family[family])

    def _place(self, family: Family, keys: Sequence[Key]) -> None:
        first, lines = self.size, []
        for key in keys:
            self.at[key] = self.size
            lines += _lines(key)
            self.size += slots(family)
        template, zeros = "".join(lines), (0,) * len(lines)
        self.blocks[family] = FamilyTemplate(
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
    """The layout of these series, the same one for all who ask."""
    return SeriesLayout(keys)


def slots(family: Family) -> int:
    """How many figures one series of the family has."""
    return len(family.buckets) + 2 if family.buckets else 1


def _cumulated(figures: Sequence[Figure], length: int) -> Iterator[Figure]:
    """The samples of histograms of `length` slots each: buckets with all that are smaller, count, sum."""
    for first in range(0, len(figures), length):
        *counts, total = figures[first : first + length]
        yield from accumulate(counts)  # of a histogram every figure is known
        yield sum(counts)  # type: ignore[arg-type]
        yield total


def _lines(key: Key) -> list[str]:
    family, *values = key
    named = [NAME_PLACEHOLDER, *values] if "target" in family.labels else values
    labels = [f'{label}="{value}"' for label, value in zip(family.labels, named, strict=True)]
    after = LABELS_PLACEHOLDER if family.with_config_labels else ""
    return [f"{family.name}{end}{_braced([*labels, *more], after)} %s\n" for end, more in _samples(family)]


def _samples(family: Family) -> Iterator[tuple[str, list[str]]]:
    """The ending of the name and the further labels of each sample of a series."""
    if not family.buckets:
        yield "", []
        return
    for bound in (*map(str, map(float, family.buckets)), "+Inf"):
        yield "_bucket", [f'le="{bound}"']
    yield from (("_count", []), ("_sum", []))


def _braced(labels: Sequence[str], after: str) -> str:
    return f"{{{','.join(labels)}{after}}}" if labels else ""
