"""Delays the first session of new targets: of all at the start, later of those that a reload adds.

Rule 1: a target waits for the delay and for one scrape that shows its zeros, `FIRST_SCRAPE_SECONDS` at most; with a
delay of 0 it does not wait (docs/design.md#schedule). Rule 2: a target that is removed while it waits does not begin,
even if another of its name has been added since.
"""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from exporter.host import cooperatively

FIRST_SCRAPE_SECONDS: Final = 60.0
"""Seconds after which the first session no longer waits for a scrape."""


@dataclass(frozen=True, slots=True, eq=False)
class _AddedTargets:
    """Targets that were added together; `since`: the loop's time at that moment."""

    since: float
    names: dict[str, None]
    scraped: asyncio.Event = field(default_factory=asyncio.Event)


class StartupGate:
    """Calls `begin` with the name of each target that has waited; `on_end` is called with each task that has ended."""

    def __init__(
        self, delay: float, begin: Callable[[str], None], on_end: Callable[[asyncio.Task[None]], None]
    ) -> None:
        self._delay = delay
        self._begin = begin
        self._on_end = on_end
        self._waiting: dict[asyncio.Task[None], _AddedTargets] = {}

    @property
    def max_wait(self) -> float:
        """Seconds that a target waits at most."""
        return max(self._delay, FIRST_SCRAPE_SECONDS) if self._delay > 0 else 0.0

    def starts_within(self, name: str) -> float | None:
        """Seconds until this target begins at the latest; None if it does not wait."""
        now = asyncio.get_running_loop().time()
        for batch in self._waiting.values():
            if name in batch.names:
                wait = self._delay if batch.scraped.is_set() else self.max_wait
                return max(0.0, batch.since + wait - now)
        return None

    def add(self, names: Iterable[str]) -> None:
        """Let these new targets wait from now on."""
        batch = _AddedTargets(asyncio.get_running_loop().time(), dict.fromkeys(names))
        task = asyncio.create_task(self._wait(batch), name="begin")
        self._waiting[task] = batch
        task.add_done_callback(self._remove_batch)

    def remove(self, name: str) -> None:
        """Do not begin this target; it has been removed."""
        for batch in self._waiting.values():
            batch.names.pop(name, None)

    def record_scrape(self, read_at: float) -> None:
        """Note a served scrape, whose samples were read at `read_at` in the loop's time."""
        for batch in self._waiting.values():
            if read_at >= batch.since:
                batch.scraped.set()

    async def close(self) -> None:
        """Begin no more targets."""
        for task in self._waiting:
            task.cancel()
        await asyncio.gather(*self._waiting, return_exceptions=True)

    async def _wait(self, batch: _AddedTargets) -> None:
        if self._delay > 0:
            await asyncio.sleep(self._delay)
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, FIRST_SCRAPE_SECONDS - self._delay)):
                    await batch.scraped.wait()
        async for name in cooperatively(list(batch.names)):
            if name in batch.names:
                self._begin(name)

    def _remove_batch(self, task: asyncio.Task[None]) -> None:
        del self._waiting[task]
        self._on_end(task)
