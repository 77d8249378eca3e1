"""Another config while sessions run.

Rule 1: the new file is read and checked whole, in a thread, before anything changes; if it cannot be used, nothing
does. Rule 2: what has not changed does not notice. Rule 3: one at a time, and who asks while one runs gets the next
one, whoever else has asked for it: that one reads the file after both had asked.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from exporter.daemon.ground import Ground
from exporter.daemon.swapping import Swap
from exporter.host import aside
from exporter.loading import Loaded, Unloadable
from exporter.plan import Difference, Job, difference

LOG = logging.getLogger("exporter.daemon")

NAMES: Final = 10
"""Names of targets that are said in one line."""

PATIENCE: Final = 120.0
"""Seconds in which the config and the files that it names are read and checked: 10,000 targets take 8 s."""

SLOW: Final = (
    f"the config and the files that it names were not read and checked within {PATIENCE:g} s: "
    "is a disk stuck that holds one of them?"
)

BROKEN: Final = "the reload broke on our side: please report this, with the traceback that the log shows"
STOPPED: Final = "the exporter is stopping"
GOES_ON: Final = "the config is not reloaded, the one before goes on"


Load = Callable[[], Loaded]
"""Reads the config anew; raises Unloadable. Called in a thread."""


def nothing_to_load() -> Loaded:
    """For an exporter whose plan stands in no file."""
    raise Unloadable(["there is no config file to load"])


@dataclass(frozen=True, slots=True)
class Reloaded:
    """How a reload went: what is answered."""

    successful: bool
    sentences: tuple[str, ...]


Tell = Callable[[Reloaded], Awaitable[None]]


class Reloading:
    """Reloads the config when asked to; nothing before `open`. `forget`: lets go of files that no target names.

    `tell`: hears how each went. `reads`: true while a config is being read and checked.
    """

    def __init__(self, ground: Ground, swap: Swap, load: Load, forget: Callable[[], None], tell: Tell) -> None:
        self._ground = ground
        self._swap = swap
        self._load = load
        self._forget = forget
        self._tell = tell
        self.reads = False
        self._opened = asyncio.Event()
        self._current: asyncio.Task[Reloaded] | None = None
        self._next: asyncio.Task[Reloaded] | None = None

    def open(self) -> None:
        """From now on what was asked for is done."""
        self._opened.set()

    def ask(self) -> "asyncio.Task[Reloaded]":
        """The reload that begins next; cancel it not: others may have asked for it too."""
        if self._next is None:
            self._next = asyncio.create_task(self._after(self._current), name="reload")
        return self._next

    async def reload(self) -> Reloaded:
        """How the next reload went."""
        task = self.ask()
        await asyncio.wait({task})
        return Reloaded(False, (STOPPED,)) if task.cancelled() else task.result()

    @property
    def wanted(self) -> Mapping[str, Job]:
        """The jobs of the last config that could be used, by name."""
        return self._swap.wanted

    async def close(self) -> None:
        """Give up what runs and what was asked for."""
        tasks = [task for task in (self._current, self._next) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _after(self, before: "asyncio.Task[Reloaded] | None") -> Reloaded:
        await self._opened.wait()
        if before is not None:
            await asyncio.wait({before})
        self._current, self._next = self._next, None
        reloaded = await self._tried()
        await self._tell(reloaded)
        return reloaded

    async def _tried(self) -> Reloaded:
        try:
            return await self._reloaded()
        except Unloadable as problem:
            return self._refused(problem.sentences)
        except Exception:
            LOG.exception("a reload broke on our side: please report this")
            return self._refused((BROKEN,))

    async def _reloaded(self) -> Reloaded:
        self.reads = True
        try:
            async with asyncio.timeout(PATIENCE):
                change, warnings = await aside(self._compared)
        except TimeoutError:
            raise Unloadable([SLOW]) from None
        finally:
            self.reads = False
        await self._swap.make(change)
        await aside(self._forget)
        self._ground.metrics.reloaded(self._ground.clock.wall(), successful=True)
        for warning in warnings:
            LOG.warning("%s", warning)
        words = f"reloaded: {_in_words(change)}"
        LOG.info("%s", words, extra={"keys": {"targets": len(change.jobs)}})
        return Reloaded(True, (words, *(f"warning: {warning}" for warning in warnings)))

    def _compared(self) -> tuple[Difference, tuple[str, ...]]:
        """What is to be done; in a thread, where the plan's other parts are let go of too."""
        loaded = self._load()
        return difference(self._swap.wanted, loaded.plan), loaded.warnings

    def _refused(self, sentences: Sequence[str]) -> Reloaded:
        self._ground.metrics.reloaded(self._ground.clock.wall(), successful=False)
        LOG.error("%s", GOES_ON, extra={"keys": {"mistakes": len(sentences)}})
        for sentence in sentences:
            LOG.error("%s", sentence)
        return Reloaded(False, (GOES_ON, *sentences))


def _in_words(change: Difference) -> str:
    """`adjusted` may be all targets of a host, and is nobody's own change: without names."""
    came, changed = ([job.name for job in part] for part in (change.came, change.changed))
    named = {"came": came, "went": change.went, "changed": changed}
    parts = [f"{len(names)} {what} ({_some(names)})" for what, names in named.items() if names]
    if change.adjusted:
        parts.append(f"{len(change.adjusted)} adjusted")
    return ", ".join(parts) or "no target has changed"


def _some(names: Sequence[str]) -> str:
    more = len(names) - NAMES
    return ", ".join(names[:NAMES]) + (f" and {more} more" if more > 0 else "")
