"""Loads another config while sessions run.

Rule 1: the new file is read and checked completely, in a thread, before anything changes; if it cannot be used, nothing
changes. Rule 2: sessions of unchanged targets are not disturbed. Rule 3: one reload runs at a time. Requests during a
reload share the next one, which reads the file after all of them were made.
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
"""Targets that a log line names."""

RELOAD_TIMEOUT_SECONDS: Final = 120.0
"""Seconds in which the config and the files that it names are read and checked: 10,000 targets take 8 s."""

RELOAD_TOO_SLOW: Final = (
    f"the config and the files that it names were not read and checked within {RELOAD_TIMEOUT_SECONDS:g} s: "
    "is a disk stuck that holds one of them?"
)

RELOAD_BROKE: Final = "the reload failed by a defect of the exporter: please report this, with the traceback in the log"
RELOAD_STOPPED: Final = "the exporter is stopping"
OLD_CONFIG_STAYS: Final = "the config is not reloaded, the one before stays in force"


Load = Callable[[], LoadedConfig]
"""Reads the config again, in a thread; raises ConfigLoadError."""


def nothing_to_load() -> LoadedConfig:
    """For an exporter whose plan comes from no file."""
    raise ConfigLoadError(["there is no config file to load"])


@dataclass(frozen=True, slots=True)
class ReloadOutcome:
    """How a reload ended; `sentences` are the answer to its request."""

    successful: bool
    sentences: tuple[str, ...]


Report = Callable[[ReloadOutcome], Awaitable[None]]


class Reloader:
    """Reloads the config on request, and not before `open`.

    `forget`: drops the contents of files that no target names any more. `report`: is called with each outcome.
    `is_reading`: True while a config is being read and checked.
    """

    def __init__(
        self, services: Services, applier: PlanApplier, load: Load, forget: Callable[[], None], report: Report
    ) -> None:
        self._services = services
        self._applier = applier
        self._load = load
        self._forget = forget
        self._report = report
        self.is_reading = False
        self._opened = asyncio.Event()
        self._current: asyncio.Task[ReloadOutcome] | None = None
        self._next: asyncio.Task[ReloadOutcome] | None = None

    def open(self) -> None:
        """Carry out requests from now on, including those made before."""
        self._opened.set()

    def request_reload(self) -> "asyncio.Task[ReloadOutcome]":
        """The reload that begins next. Do not cancel it: other requests may share it."""
        if self._next is None:
            self._next = asyncio.create_task(self._run_after(self._current), name="reload")
        return self._next

    async def reload(self) -> ReloadOutcome:
        """Wait for the next reload and return its outcome."""
        task = self.request_reload()
        await asyncio.wait({task})
        return ReloadOutcome(False, (RELOAD_STOPPED,)) if task.cancelled() else task.result()

    @property
    def wanted(self) -> Mapping[str, Job]:
        """The jobs of the last usable config, by name."""
        return self._applier.wanted

    async def close(self) -> None:
        """Cancel the running and the requested reload."""
        tasks = [task for task in (self._current, self._next) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run_after(self, previous: "asyncio.Task[ReloadOutcome] | None") -> ReloadOutcome:
        await self._opened.wait()
        if previous is not None:
            await asyncio.wait({previous})
        self._current, self._next = self._next, None
        outcome = await self._try_reload()
        await self._report(outcome)
        return outcome

    async def _try_reload(self) -> ReloadOutcome:
        try:
            return await self._load_and_apply()
        except ConfigLoadError as problem:
            return self._record_failure(problem.sentences)
        except Exception:
            _logger.exception("a reload failed because of a defect of the exporter: please report this")
            return self._record_failure((RELOAD_BROKE,))

    async def _load_and_apply(self) -> ReloadOutcome:
        self.is_reading = True
        try:
            async with asyncio.timeout(RELOAD_TIMEOUT_SECONDS):
                diff, warnings = await run_in_thread(self._load_diff)
        except TimeoutError:
            raise ConfigLoadError([RELOAD_TOO_SLOW]) from None
        finally:
            self.is_reading = False
        await self._applier.apply(diff)
        await run_in_thread(self._forget)
        self._services.metrics.record_reload(self._services.clock.wall(), successful=True)
        for warning in warnings:
            _logger.warning("%s", warning)
        sentence = f"reloaded: {_diff_text(diff)}"
        _logger.info("%s", sentence, extra={"keys": {"targets": len(diff.jobs)}})
        return ReloadOutcome(True, (sentence, *(f"warning: {warning}" for warning in warnings)))

    def _load_diff(self) -> tuple[PlanDiff, tuple[str, ...]]:
        """The difference and the config's warnings; in a thread, which also frees the rest of the loaded config."""
        loaded = self._load()
        return plan_diff(self._applier.wanted, loaded.plan), loaded.warnings

    def _record_failure(self, sentences: Sequence[str]) -> ReloadOutcome:
        self._services.metrics.record_reload(self._services.clock.wall(), successful=False)
        _logger.error("%s", OLD_CONFIG_STAYS, extra={"keys": {"mistakes": len(sentences)}})
        for sentence in sentences:
            _logger.error("%s", sentence)
        return ReloadOutcome(False, (OLD_CONFIG_STAYS, *sentences))


def _diff_text(diff: PlanDiff) -> str:
    """Numbers and names; recomputed targets, which may be all of a host, without names."""
    added, changed = ([job.name for job in jobs] for jobs in (diff.added, diff.changed))
    named = {"added": added, "removed": diff.removed, "changed": changed}
    parts = [f"{len(names)} {what} ({_some(names)})" for what, names in named.items() if names]
    if diff.recomputed:
        parts.append(f"{len(diff.recomputed)} adjusted")
    return ", ".join(parts) or "no target has changed"


def _some(names: Sequence[str]) -> str:
    more = len(names) - MAX_NAMES_IN_LOG
    return ", ".join(names[:MAX_NAMES_IN_LOG]) + (f" and {more} more" if more > 0 else "")
