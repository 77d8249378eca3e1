"""Counts of the last day, by kind and in buckets of five minutes."""

from array import array
from collections import Counter
from collections.abc import Hashable, Mapping
from typing import Final, Generic, TypeVar

BUCKET_SECONDS: Final = 300

WINDOW_SECONDS: Final = 86_400
"""Seconds for which counts are kept."""

BUCKET_COUNT: Final = WINDOW_SECONDS // BUCKET_SECONDS

MAX_COUNT: Final = 0xFFFF
"""The largest count of a bucket, which has two bytes."""

MAX_KINDS: Final = 64
"""Kinds that have a count of their own; a target has a handful, unless its server invents close codes."""

K = TypeVar("K", bound=Hashable)


class WindowedCounter(Generic[K]):
    """Counts each kind over `WINDOW_SECONDS`; a kind with a count in the window takes 600 bytes."""

    __slots__ = ("_newest", "_rings")

    def __init__(self) -> None:
        self._rings: dict[K, array[int]] = {}
        self._newest: int | None = None

    def count(self, kind: K, at: float, *, max_kinds: int = MAX_KINDS) -> bool:
        """Add one at `at` (unix seconds); False if the kind is new and there are `max_kinds` already."""
        bucket = int(at // BUCKET_SECONDS)
        if bucket != self._newest:
            self._advance_to(bucket)
        ring = self._rings.get(kind)
        if ring is None:
            if len(self._rings) >= max_kinds:
                return False
            ring = self._rings[kind] = array("H", bytes(2 * BUCKET_COUNT))
        place = bucket % BUCKET_COUNT
        count = ring[place]
        if count < MAX_COUNT:
            ring[place] = count + 1
        return True

    @property
    def begin(self) -> float:
        """The beginning of the window in unix seconds: `WINDOW_SECONDS` before the last count."""
        return 0.0 if self._newest is None else (self._newest - BUCKET_COUNT + 1) * float(BUCKET_SECONDS)

    def since(self, at: float) -> Counter[K]:
        """The counts from the bucket of `at` (unix seconds) on, as far as the window goes back."""
        return Counter({kind: sum(counts.values()) for kind, counts in self.buckets(at).items()})

    def buckets(self, since: float = 0.0) -> dict[K, dict[int, int]]:
        """The counts of `since` by bucket, those that are not 0; a bucket's number counts from the epoch."""
        if self._newest is None:
            return {}
        first = max(int(since // BUCKET_SECONDS), self._newest - BUCKET_COUNT + 1)
        window = range(first, self._newest + 1)
        by_kind = {
            kind: {bucket: ring[bucket % BUCKET_COUNT] for bucket in window if ring[bucket % BUCKET_COUNT]}
            for kind, ring in self._rings.items()
        }
        return {kind: counts for kind, counts in by_kind.items() if counts}

    def restore(self, buckets: Mapping[K, Mapping[int, int]]) -> None:
        """Continue from what `buckets()` of an earlier process returned."""
        numbers = [bucket for counts in buckets.values() for bucket in counts]
        if not numbers:
            return
        newest = self._newest = max(numbers)
        self._rings = {}
        for kind, counts in list(buckets.items())[:MAX_KINDS]:
            ring = self._rings[kind] = array("H", bytes(2 * BUCKET_COUNT))
            for bucket, count in counts.items():
                if newest - BUCKET_COUNT < bucket <= newest:
                    ring[bucket % BUCKET_COUNT] = max(0, min(MAX_COUNT, count))

    def _advance_to(self, bucket: int) -> None:
        """Drop the buckets that leave the window; all of them if the clock was put back by more than the window."""
        newest = self._newest
        if newest is None or not newest - BUCKET_COUNT < bucket < newest + BUCKET_COUNT:
            self._rings.clear()
        elif bucket < newest:
            return
        else:
            for passed in range(newest + 1, bucket + 1):
                for ring in self._rings.values():
                    ring[passed % BUCKET_COUNT] = 0
            self._rings = {kind: ring for kind, ring in self._rings.items() if any(ring)}
        self._newest = bucket
