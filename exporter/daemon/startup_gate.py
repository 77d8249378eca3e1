"""Targets that wait before their first session: all at the start, those that a reload adds later.

Rule 1: they wait for the delay and for one scrape that shows their zeros, `FIRST_SCRAPE_SECONDS` at most; for nothing
if the delay is 0 (docs/design.md#schedule). Rule 2: who was taken away meanwhile does not begin, even if one of its
name came after it.
"""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from exporter.host import cooperatively

FIRST_SCRAPE_SECONDS: Final = 60.0
"""Seconds after which the first session waits no longer for a scrape."""


@dataclass(frozen=True, slots=True, eq=False)
class _AddedTargets:
    """Targets that came at one moment. `since`: of the loop's clock."""

    since: float
    names: dict[str, None]
    scraped: asyncio.Event = field(default_factory=asyncio.Event)


class StartupGate:
    """Lets targets begin, each by its name, when they have waited. `died`: told of a task that has ended by itself."""

    def __init__(self, delay: float, begin: Callable[[str], None], died: Callable[[asyncio.Task[None]], None]) -> None:
        self._delay = delay
        self._begin = begin
        self._died = died
        self._waiting: dict[asyncio.Task[None], _AddedTargets] = {}

    @property
    def longest(self) -> float:
        """Seconds that they wait at most."""
        return max(self._delay, FIRST_SCRAPE_SECONDS) if self._delay > 0 else 0.0

    def starts_within(self, name: str) -> float | None:
        """Seconds until this target begins at the latest; None: it does not wait."""
        now = asyncio.get_running_loop().time()
        for batch in self._waiting.values():
            if name in batch.names:
                longest = self._delay if batch.scraped.is_set() else self.longest
                return max(0.0, batch.since + longest - now)
        return None

    def expect(self, names: Iterable[str]) -> None:
        """These have just come."""
        batch = _AddedTargets(asyncio.get_running_loop().time(), dict.fromkeys(names))
        task = asyncio.create_task(self._wait(batch), name="begin")
        self._waiting[task] = batch
        task.add_done_callback(self._over)

    def forget(self, name: str) -> None:
        """A target has gone."""
        for batch in self._waiting.values():
            batch.names.pop(name, None)

    def scraped(self, since: float) -> None:
        """A scrape has been served, of the figures at a moment of the loop's clock."""
        for batch in self._waiting.values():
            if since >= batch.since:
                batch.scraped.set()

    async def close(self) -> None:
        """Nobody begins any more."""
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

    def _over(self, task: asyncio.Task[None]) -> None:
        del self._waiting[task]
        self._died(task)
