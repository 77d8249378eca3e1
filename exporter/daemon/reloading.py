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

from exporter.daemon.plan_applier import PlanApplier
from exporter.daemon.services import Services
from exporter.host import run_in_thread
from exporter.loading import ConfigLoadError, LoadedConfig
from exporter.plan import Job, PlanDiff, plan_diff

_logger = logging.getLogger("exporter.daemon")

MAX_NAMES_IN_LOG: Final = 10
"""Names of targets that are said in one line."""

RELOAD_TIMEOUT_SECONDS: Final = 120.0
"""Seconds in which the config and the files that it names are read and checked: 10,000 targets take 8 s."""

RELOAD_TOO_SLOW: Final = (
    f"the config and the files that it names were not read and checked within {RELOAD_TIMEOUT_SECONDS:g} s: "
    "is a disk stuck that holds one of them?"
)

RELOAD_BROKE: Final = "the reload broke on our side: please report this, with the traceback that the log shows"
RELOAD_STOPPED: Final = "the exporter is stopping"
GOES_ON: Final = "the config is not reloaded, the one before goes on"


Load = Callable[[], LoadedConfig]
"""Reads the config anew; raises Unloadable. Called in a thread."""


def nothing_to_load() -> LoadedConfig:
    """For an exporter whose plan stands in no file."""
    raise ConfigLoadError(["there is no config file to load"])


@dataclass(frozen=True, slots=True)
class ReloadOutcome:
    """How a reload went: what is answered."""

    successful: bool
    sentences: tuple[str, ...]


Tell = Callable[[ReloadOutcome], Awaitable[None]]


class Reloader:
    """Reloads the config when asked to; nothing before `open`. `forget`: lets go of files that no target names.

    `tell`: hears how each went. `reads`: true while a config is being read and checked.
    """

    def __init__(self, ground: Services, swap: PlanApplier, load: Load, forget: Callable[[], None], tell: Tell) -> None:
        self._ground = ground
        self._swap = swap
        self._load = load
        self._forget = forget
        self._tell = tell
        self.reads = False
        self._opened = asyncio.Event()
        self._current: asyncio.Task[ReloadOutcome] | None = None
        self._next: asyncio.Task[ReloadOutcome] | None = None

    def open(self) -> None:
        """From now on what was asked for is done."""
        self._opened.set()

    def ask(self) -> "asyncio.Task[ReloadOutcome]":
        """The reload that begins next; cancel it not: others may have asked for it too."""
        if self._next is None:
            self._next = asyncio.create_task(self._after(self._current), name="reload")
        return self._next

    async def reload(self) -> ReloadOutcome:
        """How the next reload went."""
        task = self.ask()
        await asyncio.wait({task})
        return ReloadOutcome(False, (RELOAD_STOPPED,)) if task.cancelled() else task.result()

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

    async def _after(self, before: "asyncio.Task[ReloadOutcome] | None") -> ReloadOutcome:
        await self._opened.wait()
        if before is not None:
            await asyncio.wait({before})
        self._current, self._next = self._next, None
        reloaded = await self._tried()
        await self._tell(reloaded)
        return reloaded

    async def _tried(self) -> ReloadOutcome:
        try:
            return await self._reloaded()
        except ConfigLoadError as problem:
            return self._refused(problem.sentences)
        except Exception:
            _logger.exception("a reload broke on our side: please report this")
            return self._refused((RELOAD_BROKE,))

    async def _reloaded(self) -> ReloadOutcome:
        self.reads = True
        try:
            async with asyncio.timeout(RELOAD_TIMEOUT_SECONDS):
                change, warnings = await run_in_thread(self._compared)
        except TimeoutError:
            raise ConfigLoadError([RELOAD_TOO_SLOW]) from None
        finally:
            self.reads = False
        await self._swap.make(change)
        await run_in_thread(self._forget)
        self._ground.metrics.record_reload(self._ground.clock.wall(), successful=True)
        for warning in warnings:
            _logger.warning("%s", warning)
        words = f"reloaded: {_in_words(change)}"
        _logger.info("%s", words, extra={"keys": {"targets": len(change.jobs)}})
        return ReloadOutcome(True, (words, *(f"warning: {warning}" for warning in warnings)))

    def _compared(self) -> tuple[PlanDiff, tuple[str, ...]]:
        """What is to be done; in a thread, where the plan's other parts are let go of too."""
        loaded = self._load()
        return plan_diff(self._swap.wanted, loaded.plan), loaded.warnings

    def _refused(self, sentences: Sequence[str]) -> ReloadOutcome:
        self._ground.metrics.record_reload(self._ground.clock.wall(), successful=False)
        _logger.error("%s", GOES_ON, extra={"keys": {"mistakes": len(sentences)}})
        for sentence in sentences:
            _logger.error("%s", sentence)
        return ReloadOutcome(False, (GOES_ON, *sentences))


def _in_words(change: PlanDiff) -> str:
    """`recomputed` may be all targets of a host, and is nobody's own change: without names."""
    came, changed = ([job.name for job in part] for part in (change.came, change.changed))
    named = {"came": came, "went": change.went, "changed": changed}
    parts = [f"{len(names)} {what} ({_some(names)})" for what, names in named.items() if names]
    if change.recomputed:
        parts.append(f"{len(change.recomputed)} adjusted")
    return ", ".join(parts) or "no target has changed"


def _some(names: Sequence[str]) -> str:
    more = len(names) - MAX_NAMES_IN_LOG
    return ", ".join(names[:MAX_NAMES_IN_LOG]) + (f" and {more} more" if more > 0 else "")
