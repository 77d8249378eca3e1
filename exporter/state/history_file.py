"""Reads the history's file once, before the first session, and writes it every second, off the event loop.

The history in memory is authoritative, and the file follows it. If the file is in use by another exporter, or the disk
is full, read-only or broken, the exporter reports that once, continues without the file, and retries.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from exporter.history import RETAINED_FAILURES, RETAINED_RESULTS, History, HistorySnapshot
from exporter.report import MAX_TIMESTAMP_SECONDS, InvalidReportError, pack_result, unpack_result
from exporter.result import Result
from exporter.state.database import (
    CorruptFileError,
    HistoryDatabase,
    LoadedHistory,
    StorageError,
    StorageLimits,
    StoredRow,
)
from exporter.threads import DaemonThread

_logger: Final = logging.getLogger("exporter.state")

MAX_RESULTS_BYTES: Final = 4 << 20
"""Bytes of results in the file: some 4,000 passed sessions, which are read in a fifth of a second."""

WRITE_INTERVAL_SECONDS: Final = 1.0
"""Seconds between two writes."""

SNAPSHOT_INTERVAL_WRITES: Final = 60
"""Writes from one snapshot of a target to the next; the results since the last snapshot complete it."""

WRITE_RETRY_SECONDS: Final = 5.0
"""Seconds until a file that cannot be used is tried again."""

MIN_RENEWAL_SECONDS: Final = 600.0
"""Seconds from one quarantine of a damaged file to the next."""

MAX_UNWRITTEN_RESULTS: Final = 2_000
"""Results kept for a file that cannot be written; beyond that, the earliest are dropped."""

DISK_TIMEOUT_SECONDS: Final = 5.0
"""Seconds that the start, or the stop, waits for a disk that does not answer."""

RESULTS_PER_SLICE: Final = 16
SNAPSHOTS_PER_SLICE: Final = 4
"""Conversions to or from text between two iterations of the event loop: a quarter of a millisecond of work."""

T = TypeVar("T")


@with_config(ConfigDict(allow_inf_nan=False))
@dataclass(frozen=True, slots=True)
class _SnapshotRecord:
    """A snapshot in the form that the file holds."""

    snapshot: HistorySnapshot


_LINE: Final = TypeAdapter(_SnapshotRecord)


class HistoryFile:
    """Keeps a history in a file: call `load` before the first session, `add` for each result, `run`, then `close`.

    `report`: called with a sentence when the file cannot be used, and when it can again; default: a warning in the log.
    """

    def __init__(
        self,
        path: Path,
        history: History,
        *,
        wall: Callable[[], float] = time.time,
        max_bytes: int = MAX_RESULTS_BYTES,
        report: Callable[[str], None] | None = None,
    ) -> None:
        self._path = path
        self._history = history
        self._wall = wall
        self._report = report or _logger.warning
        self._database = HistoryDatabase(path, StorageLimits(RETAINED_RESULTS, RETAINED_FAILURES, max_bytes))
        self._thread = DaemonThread("history")
        self._unwritten: deque[Result] = deque()
        self._changed: set[str] = set()
        self._writes = 0
        self._save_task: asyncio.Task[None] | None = None
        self._problem: str | None = None
        self._retry_at = 0.0
        self._renewed_at = -MIN_RENEWAL_SECONDS

    def add(self, result: Result) -> None:
        """Queue a result for the next write."""
        if len(self._unwritten) >= MAX_UNWRITTEN_RESULTS:
            self._unwritten.popleft()
        self._unwritten.append(result)
        self._changed.add(result.target)

    async def load(self, targets: Sequence[str]) -> None:
        """Restore the history of these targets from the file, within `DISK_TIMEOUT_SECONDS`."""
        try:
            async with asyncio.timeout(DISK_TIMEOUT_SECONDS):
                await self._run_guarded(self._load(targets))
        except TimeoutError:
            self._report_problem(f"was not read within {DISK_TIMEOUT_SECONDS:g} s: is its disk stuck?")

    async def run(self) -> None:
        """Write every `WRITE_INTERVAL_SECONDS`, until cancelled."""
        while True:
            await asyncio.sleep(WRITE_INTERVAL_SECONDS)
            self._save_task = asyncio.create_task(self._save())
            await asyncio.shield(self._save_task)

    async def close(self) -> None:
        """Write all that is queued, within `DISK_TIMEOUT_SECONDS`, and close the file."""
        with suppress(TimeoutError):
            async with asyncio.timeout(DISK_TIMEOUT_SECONDS):
                if self._save_task is not None:
                    await self._save_task
                if self._unwritten or self._database.is_open:
                    await self._run_guarded(self._write(is_final=True))
                await self._in_thread(self._database.close)
        self._thread.shutdown()

    async def _open(self) -> bool:
        """Open the file; return True if it is new."""
        is_new = await self._in_thread(self._database.open)
        if lost := self._database.lost_writes:
            self._report(
                f"history file {self._path}: its log {self._path.name}-wal is damaged or cut short: "
                f"results of its last {lost} writes are lost"
            )
        return is_new

    async def _in_thread(self, work: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    # Reading --------------------------------------------------------------------------------------------------------

    async def _load(self, targets: Sequence[str]) -> None:
        await self._open()
        loaded = await self._in_thread(self._database.read, targets, self._wall())
        for target in targets:
            results = [result async for result in _valid_results(loaded, target)]
            self._history.restore(target, _valid_snapshot(loaded, target), results)
        if not loaded.is_intact:
            await self._renew()
        elif loaded.damaged_rows:
            self._report(f"history file {self._path}: damaged rows are left out, {loaded.damaged_rows} of them")

    # Writing --------------------------------------------------------------------------------------------------------

    async def _save(self) -> None:
        if self._problem is None or time.monotonic() >= self._retry_at:
            await self._run_guarded(self._write())

    async def _write(self, *, is_final: bool = False) -> None:
        """Write the queued results; at every 60th write, and if `is_final`, also snapshots of changed targets."""
        if not self._database.is_open and await self._open():
            self._queue_everything()
        self._writes += 1
        unwritten, self._unwritten = self._unwritten, deque()
        changed: set[str] = set()
        if is_final or self._writes % SNAPSHOT_INTERVAL_WRITES == 0:
            changed, self._changed = self._changed, changed
        try:
            rows = [row async for row in _in_slices(map(_stored_row, unwritten), RESULTS_PER_SLICE)]
            snapshots = [row async for row in _in_slices(self._snapshots(changed), SNAPSHOTS_PER_SLICE)]
            if rows or snapshots:
                await self._in_thread(partial(self._database.write, rows, snapshots, clean_up=is_final))
        except BaseException:
            self._changed |= changed
            self._unwritten = deque([*unwritten, *self._unwritten][-MAX_UNWRITTEN_RESULTS:])
            raise

    def _queue_everything(self) -> None:
        """Queue the whole history for a new file."""
        targets = self._history.targets()
        self._unwritten = deque(result for name in targets for result in reversed(self._history.results(name)))
        self._changed.update(targets)

    def _snapshots(self, targets: Iterable[str]) -> Iterator[StoredRow]:
        for target in targets:
            snapshot = self._history.snapshot(target)
            if snapshot is not None:
                yield StoredRow(snapshot.at, target, _LINE.dump_json(_SnapshotRecord(snapshot)))

    # Trouble --------------------------------------------------------------------------------------------------------

    async def _run_guarded(self, work: Awaitable[None]) -> None:
        """Await `work`; a failure is reported once and never reaches a session."""
        try:
            try:
                await work
            except CorruptFileError:
                await self._renew()
        except StorageError as error:
            self._report_problem(str(error))
        except Exception:
            _logger.exception("the history file broke on our side: please report this")
            self._report_problem("cannot be used because of a defect in the exporter")
        else:
            self._report_recovery()

    async def _renew(self) -> None:
        """Replace a damaged file by one with all that could be read. Raises StorageError soon after the last time."""
        if time.monotonic() < self._renewed_at + MIN_RENEWAL_SECONDS:
            raise StorageError("is damaged again: is the disk sound?")
        self._renewed_at = time.monotonic()
        quarantined = await self._in_thread(self._database.quarantine)
        self._report(
            f"history file {self._path} is damaged: it was moved to {quarantined.name}, where you may look at it or "
            "remove it; what could be read of it stands in a new one"
        )
        await self._write(is_final=True)

    def _report_problem(self, problem: str) -> None:
        self._retry_at = time.monotonic() + WRITE_RETRY_SECONDS
        if problem != self._problem:
            self._problem = problem
            self._report(f"history file {self._path} {problem}; until then a restart forgets what happens now")

    def _report_recovery(self) -> None:
        if self._problem is not None:
            self._problem = None
            self._report(f"history file {self._path} is in use again")


async def _in_slices(items: Iterable[T], slice_size: int) -> AsyncIterator[T]:
    """Yield the items, and let other tasks run after every `slice_size` of them."""
    for place, item in enumerate(items, 1):
        yield item
        if place % slice_size == 0:
            await asyncio.sleep(0)


def _stored_row(result: Result) -> StoredRow:
    return StoredRow(result.started_at, result.target, pack_result(result), result.failed)


async def _valid_results(loaded: LoadedHistory, target: str) -> AsyncIterator[Result]:
    """Yield the valid results of a target; invalid ones are counted as damaged."""
    seen_runs: set[str] = set()
    async for body in _in_slices(loaded.results.get(target, ()), RESULTS_PER_SLICE):
        try:
            result = unpack_result(body)
        except InvalidReportError:
            loaded.damaged_rows += 1
            continue
        if result.target == target and result.run not in seen_runs:  # a write that timed out was repeated
            seen_runs.add(result.run)
            yield result


def _valid_snapshot(loaded: LoadedHistory, target: str) -> HistorySnapshot | None:
    body = loaded.snapshots.get(target)
    try:
        snapshot = None if body is None else _LINE.validate_json(body).snapshot
    except ValidationError:
        snapshot = None
    is_sound = snapshot is not None and all(0 <= moment <= MAX_TIMESTAMP_SECONDS for moment in _shown_moments(snapshot))
    loaded.damaged_rows += body is not None and not is_sound
    return snapshot if is_sound else None


def _shown_moments(snapshot: HistorySnapshot) -> Iterator[float]:
    """Yield the moments of a snapshot that a page shows."""
    yield from (snapshot.at, snapshot.since, snapshot.impaired_since or 0.0)
    yield from (mark.at for mark in snapshot.marks)
