"""The results of one target: the last ones, and of those before them the last failures."""

from collections import deque
from collections.abc import Iterator
from typing import Final

from exporter.result import Result

RESULT_BYTES: Final = 1_100
FRAME_BYTES: Final = 160
FIGURE_BYTES: Final = 40
KIND_BYTES: Final = 170
"""Bytes of a result, of each frame and figure in it, and of what was passed over: measured on CPython 3.11."""


def weight(result: Result) -> int:
    """About how many bytes of memory a result takes."""
    figures = len(result.phases) + len(result.durations)
    kinds = KIND_BYTES if result.passed_over else 0
    return RESULT_BYTES + FRAME_BYTES * len(result.transcript) + FIGURE_BYTES * figures + kinds


class ResultBuffer:
    """At most `last` results, and `failures` older ones that failed; `size` in bytes, as `weight` has them.

    What is pushed out of the first row stands in the second if it is a failure. So a failure is there for as long as
    there are not `failures` later ones, however many passes came after it.
    """

    __slots__ = ("_failures", "_last", "_most_failures", "_recent", "size")

    def __init__(self, last: int, failures: int) -> None:
        self._last = last
        self._most_failures = failures
        self._recent: deque[Result] = deque()
        self._failures: deque[Result] = deque()
        self.size = 0

    @property
    def spare(self) -> int:
        """Bytes of a shelf that can be shrunk; 0 for one that holds a single result."""
        return self.size if len(self._recent) + len(self._failures) > 1 else 0

    def add(self, result: Result) -> None:
        """Put the newest result on it."""
        self._recent.append(result)
        self.size += weight(result)
        if len(self._recent) > self._last:
            self._push_out()

    def shrink(self) -> bool:
        """Give up the oldest success; if there is none, the oldest failure; never the newest result of all."""
        before = self.size
        while len(self._recent) > 1 and self.size == before:
            self._push_out()
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
        """Those that failed, newest first."""
        return (result for result in self.newest_first() if result.failed)

    def _push_out(self) -> None:
        oldest = self._recent.popleft()
        if oldest.failed:
            self._failures.append(oldest)
            if len(self._failures) <= self._most_failures:
                return
            oldest = self._failures.popleft()
        self.size -= weight(oldest)
