"""The results of one target: the last ones, and the last failures before them."""

from collections import deque
from collections.abc import Iterator
from typing import Final

from exporter.result import Result

RESULT_BYTES: Final = 1_100
FRAME_BYTES: Final = 160
FIGURE_BYTES: Final = 40
KIND_BYTES: Final = 170
"""Bytes of a result, of each frame and each figure in it, and of its passed-over messages: measured on CPython 3.11."""


def weight(result: Result) -> int:
    """About how many bytes of memory a result takes."""
    figures = len(result.phases) + len(result.durations)
    kinds = KIND_BYTES if result.passed_over else 0
    return RESULT_BYTES + FRAME_BYTES * len(result.transcript) + FIGURE_BYTES * figures + kinds


class ResultBuffer:
    """At most `last` results, and at most `failures` older ones that failed; `size` in bytes, as `weight` counts.

    A failure that leaves the last results moves to the older failures. It stays in memory until `failures` later ones
    have followed it, however many passes come between.
    """

    __slots__ = ("_failures", "_last", "_max_failures", "_recent", "size")

    def __init__(self, last: int, failures: int) -> None:
        self._last = last
        self._max_failures = failures
        self._recent: deque[Result] = deque()
        self._failures: deque[Result] = deque()
        self.size = 0

    @property
    def evictable_bytes(self) -> int:
        """The size, if there is anything to evict; 0 for a single result, which always stays."""
        return self.size if len(self._recent) + len(self._failures) > 1 else 0

    def add(self, result: Result) -> None:
        """Append the newest result."""
        self._recent.append(result)
        self.size += weight(result)
        if len(self._recent) > self._last:
            self._evict_oldest()

    def shrink(self) -> bool:
        """Evict the oldest success, else the oldest failure, but never the newest result; False if none was evicted."""
        before = self.size
        while len(self._recent) > 1 and self.size == before:
            self._evict_oldest()
        if self._failures and self.size == before:
            self.size -= weight(self._failures.popleft())
        return self.size < before

    def newest_first(self) -> list[Result]:
        """Every result, none twice."""
        return [*reversed(self._recent), *reversed(self._failures)]

    def recent(self) -> list[Result]:
        """The last results without a gap, oldest first."""
        return list(self._recent)

    def failures(self) -> Iterator[Result]:
        """The results that failed, newest first."""
        return (result for result in self.newest_first() if result.failed)

    def _evict_oldest(self) -> None:
        oldest = self._recent.popleft()
        if oldest.failed:
            self._failures.append(oldest)
            if len(self._failures) <= self._max_failures:
                return
            oldest = self._failures.popleft()
        self.size -= weight(oldest)
