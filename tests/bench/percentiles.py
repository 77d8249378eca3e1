"""Figures of a sample: nearest ranks, no interpolation, so that each figure is a value that was seen."""

from dataclasses import dataclass
from math import ceil


def percentile(ordered, share):
    """The smallest value of a sorted sample that at least this share of it does not exceed; 0.0 of none."""
    return ordered[max(0, ceil(share * len(ordered)) - 1)] if ordered else 0.0


@dataclass(frozen=True)
class Figures:
    """How large the errors of a sample are, in milliseconds; `bias`: the median with its sign (> 0: told too long)."""

    n: int
    p50: float
    p99: float
    p99_9: float
    max: float
    bias: float

    @classmethod
    def of(cls, errors):
        """The figures of errors in seconds; zeros if there is none."""
        signed = sorted(1000 * error for error in errors)
        sizes = sorted(map(abs, signed))
        shares = [percentile(sizes, share) for share in (0.5, 0.99, 0.999, 1.0)]
        return cls(len(sizes), *shares, percentile(signed, 0.5))
