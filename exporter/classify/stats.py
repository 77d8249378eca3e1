"""What an answer with the backend's own figures holds.

Rule 1: only finite numbers are taken. No other part of an answer is kept: it may hold names of users.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from exporter.config import Stats
from exporter.framing import FramingError, codec_of
from exporter.profiles import lookup
from exporter.result import StatsOutcome


@dataclass(frozen=True, slots=True)
class StatsReading:
    """What one read came to. `values`, `limits`: by the name of the figure; what is absent was not readable."""

    outcome: StatsOutcome
    values: Mapping[str, float] = field(default_factory=dict)
    limits: Mapping[str, float] = field(default_factory=dict)


def read_figures(stats: Stats, body: bytes) -> StatsReading:
    """Return the figures in the body of an answer."""
    try:
        (answer,) = codec_of("json").decode(body, 2).values
    except (FramingError, ValueError):
        return StatsReading(StatsOutcome.UNREADABLE)
    values = {name: _number(lookup(answer, path)) for name, path in stats.fields.items()}
    limits = {
        name: _number(lookup(answer, limit) if isinstance(limit, str) else limit)
        for name, limit in stats.limits.items()
    }
    complete = None not in values.values() and None not in limits.values()
    return StatsReading(StatsOutcome.READ if complete else StatsOutcome.UNREADABLE, _known(values), _known(limits))


def _number(value: Any) -> float | None:
    """Return a JSON number as a float, if one can hold it; true and false are none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if isfinite(number) else None


def _known(numbers: Mapping[str, float | None]) -> dict[str, float]:
    return {name: number for name, number in numbers.items() if number is not None}
