"""Counts of the last day, by kind and in steps of five minutes."""

from array import array
from collections import Counter
from collections.abc import Hashable, Mapping
from typing import Final, Generic, TypeVar

BUCKET_SECONDS: Final = 300
"""Seconds of a step."""

WINDOW_SECONDS: Final = 86_400
"""Seconds that are looked back at most."""

BUCKET_COUNT: Final = WINDOW_SECONDS // BUCKET_SECONDS

MAX_COUNT: Final = 0xFFFF
"""A count of five minutes ends here: two bytes."""

MAX_KINDS: Final = 64
"""Kinds that are counted apart; a target has a handful, unless its server invents close codes."""

K = TypeVar("K", bound=Hashable)


class WindowedCounter(Generic[K]):
    """How often each kind was met. A kind costs 600 bytes while it was met within `WINDOW_SECONDS`."""

    __slots__ = ("_newest", "_rings")

    def __init__(self) -> None:
        self._rings: dict[K, array[int]] = {}
        self._newest: int | None = None

    def count(self, kind: K, at: float, *, most: int = MAX_KINDS) -> bool:
        """Count one more; False if there are `most` kinds already and this is another. `at` in unix seconds."""
        bucket = int(at // BUCKET_SECONDS)
        if bucket != self._newest:
            self._turn_to(bucket)
        ring = self._rings.get(kind)
        if ring is None:
            if len(self._rings) >= most:
                return False
            ring = self._rings[kind] = array("H", bytes(2 * BUCKET_COUNT))
        place = bucket % BUCKET_COUNT
        count = ring[place]
        if count < MAX_COUNT:
            ring[place] = count + 1
        return True

    @property
    def begin(self) -> float:
        """The moment from which on it counts, `WINDOW_SECONDS` before its last count."""
        return 0.0 if self._newest is None else (self._newest - BUCKET_COUNT + 1) * float(BUCKET_SECONDS)

    def since(self, moment: float) -> Counter[K]:
        """The counts from the step of this moment on (unix seconds), `WINDOW_SECONDS` before the last count at most."""
        return Counter({kind: sum(counts.values()) for kind, counts in self.steps(moment).items()})

    def steps(self, moment: float = 0.0) -> dict[K, dict[int, int]]:
        """The same in steps: by their number since the epoch, those with a count."""
        if self._newest is None:
            return {}
        first = max(int(moment // BUCKET_SECONDS), self._newest - BUCKET_COUNT + 1)
        wanted = range(first, self._newest + 1)
        found = {
            kind: {step: ring[step % BUCKET_COUNT] for step in wanted if ring[step % BUCKET_COUNT]}
            for kind, ring in self._rings.items()
        }
        return {kind: counts for kind, counts in found.items() if counts}

    def recall(self, steps: Mapping[K, Mapping[int, int]]) -> None:
        """Go on with the counts that `steps` told."""
        numbers = [step for counts in steps.values() for step in counts]
        if not numbers:
            return
        newest = self._newest = max(numbers)
        self._rings = {}
        for kind, counts in list(steps.items())[:MAX_KINDS]:
            ring = self._rings[kind] = array("H", bytes(2 * BUCKET_COUNT))
            for step, count in counts.items():
                if newest - BUCKET_COUNT < step <= newest:
                    ring[step % BUCKET_COUNT] = max(0, min(MAX_COUNT, count))

    def _turn_to(self, bucket: int) -> None:
        """Forget what the window leaves behind. A clock that was put back by more than it begins anew."""
        newest = self._newest
        if newest is None or not newest - BUCKET_COUNT < bucket < newest + BUCKET_COUNT:
            self._rings.clear()
        elif bucket < newest:
            return
        else:
            for step in range(newest + 1, bucket + 1):
                for ring in self._rings.values():
                    ring[step % BUCKET_COUNT] = 0
            self._rings = {kind: ring for kind, ring in self._rings.items() if any(ring)}
        self._newest = bucket
