"""When the history's file is read and written: once, before the first session; then every second, off the event loop.

The history in memory is the truth and the file follows it. A second exporter on the same file goes on without one, as
one does whose disk is full, read-only or broken: it says so once, and writes what it can when it can again.
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
from exporter.report import MAX_TIMESTAMP_SECONDS, InvalidReportError, packed, unpacked
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

MAX_SNAPSHOT_BYTES: Final = 4 << 20
"""Bytes of results in the file, some 4,000 healthy sessions: what is read in a fifth of a second."""

WRITE_INTERVAL_SECONDS: Final = 1.0
"""Seconds between two writes."""

SNAPSHOT_INTERVAL_WRITES: Final = 60
"""Writes from one snapshot of a target to the next: what is between is made up for from its results."""

WRITE_RETRY_SECONDS: Final = 5.0
"""Seconds until a file that cannot be used is tried again."""

MIN_RENEWAL_SECONDS: Final = 600.0
"""Seconds in which a file that was put aside for a new one is not put aside again."""

MAX_UNWRITTEN_RESULTS: Final = 2_000
"""Results that wait for a file that cannot be written; later ones push the earliest out."""

CLOSE_TIMEOUT_SECONDS: Final = 5.0
"""Seconds that the first session, or the stop, waits for a disk that does not answer."""

RESULTS_PER_SLICE: Final = 16
SNAPSHOTS_PER_SLICE: Final = 4
"""How many are made to text, or of it, between two turns of the event loop: a quarter of a millisecond."""

T = TypeVar("T")


@with_config(ConfigDict(allow_inf_nan=False))
@dataclass(frozen=True, slots=True)
class _SnapshotRecord:
    """A snapshot as it stands in the file."""

    snapshot: HistorySnapshot


_LINE: Final = TypeAdapter(_SnapshotRecord)


class HistoryFile:
    """Keeps a history in a file: `load` it before the first session, `add` each result, `run` it, `close` it.

    `report` (a warning in the log) is told when the file cannot be used, and when it can again.
    """

    def __init__(
        self,
        path: Path,
        history: History,
        *,
        wall: Callable[[], float] = time.time,
        max_bytes: int = MAX_SNAPSHOT_BYTES,
        report: Callable[[str], None] | None = None,
    ) -> None:
        self._path = path
        self._history = history
        self._wall = wall
        self._report = report or _logger.warning
        self._database = HistoryDatabase(path, StorageLimits(RETAINED_RESULTS, RETAINED_FAILURES, max_bytes))
        self._thread = DaemonThread("history")
        self._waiting: deque[Result] = deque()
        self._changed: set[str] = set()
        self._writes = 0
        self._saving: asyncio.Task[None] | None = None
        self._trouble: str | None = None
        self._again = 0.0
        self._renewed = -MIN_RENEWAL_SECONDS

    def add(self, result: Result) -> None:
        """Have a result written, soon."""
        if len(self._waiting) >= MAX_UNWRITTEN_RESULTS:
            self._waiting.popleft()
        self._waiting.append(result)
        self._changed.add(result.target)

    async def load(self, known: Sequence[str]) -> None:
        """Tell the history what the file keeps of these targets; it takes `CLOSE_TIMEOUT_SECONDS` seconds at most."""
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS):
                await self._attempt(self._load(known))
        except TimeoutError:
            self._in_trouble(f"was not read within {CLOSE_TIMEOUT_SECONDS:g} s: is its disk stuck?")

    async def run(self) -> None:
        """Write every `WRITE_INTERVAL_SECONDS` seconds, until cancelled."""
        while True:
            await asyncio.sleep(WRITE_INTERVAL_SECONDS)
            self._saving = asyncio.create_task(self._save())
            await asyncio.shield(self._saving)

    async def close(self) -> None:
        """Write what there is, if the disk takes it, and let go of the file."""
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS):
                if self._saving is not None:
                    await self._saving
                if self._waiting or self._database.is_open:
                    await self._attempt(self._write(at_last=True))
                await self._in_thread(self._database.close)
        self._thread.shutdown()

    async def _in_thread(self, work: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    # Reading --------------------------------------------------------------------------------------------------------

    async def _load(self, known: Sequence[str]) -> None:
        await self._in_thread(self._database.open)
        kept = await self._in_thread(self._database.read, known, self._wall())
        for target in known:
            results = [result async for result in _believed(kept, target)]
            self._history.restore(target, _snapshot(kept, target), results)
        if not kept.whole:
            await self._renew()
        elif kept.damaged:
            self._report(f"history file {self._path}: damaged rows are left out, {kept.damaged} of them")

    # Writing --------------------------------------------------------------------------------------------------------

    async def _save(self) -> None:
        if self._trouble is None or time.monotonic() >= self._again:
            await self._attempt(self._write())

    async def _write(self, *, at_last: bool = False) -> None:
        """Write what waits; of what has changed a snapshot, now and then and at last."""
        if not self._database.is_open and await self._in_thread(self._database.open):
            self._want_all()
        self._writes += 1
        waiting, self._waiting = self._waiting, deque()
        changed: set[str] = set()
        if at_last or self._writes % SNAPSHOT_INTERVAL_WRITES == 0:
            changed, self._changed = self._changed, changed
        try:
            rows = [row async for row in _in_slices(map(_row, waiting), RESULTS_PER_SLICE)]
            snapshots = [row async for row in _in_slices(self._snapshots(changed), SNAPSHOTS_PER_SLICE)]
            if rows or snapshots:
                await self._in_thread(partial(self._database.write, rows, snapshots, tidy=at_last))
        except BaseException:
            self._changed |= changed
            self._waiting = deque([*waiting, *self._waiting][-MAX_UNWRITTEN_RESULTS:])
            raise

    def _want_all(self) -> None:
        """All that is known stands in a new file, be it the first or in place of one that is gone."""
        targets = self._history.targets()
        self._waiting = deque(result for name in targets for result in reversed(self._history.results(name)))
        self._changed.update(targets)

    def _snapshots(self, targets: Iterable[str]) -> Iterator[StoredRow]:
        for target in targets:
            snapshot = self._history.snapshot(target)
            if snapshot is not None:
                yield StoredRow(snapshot.at, target, _LINE.dump_json(_SnapshotRecord(snapshot)))

    # Trouble --------------------------------------------------------------------------------------------------------

    async def _attempt(self, work: Awaitable[None]) -> None:
        """Do it. What goes wrong costs the file, never a session, and is said once."""
        try:
            try:
                await work
            except CorruptFileError:
                await self._renew()
        except StorageError as trouble:
            self._in_trouble(str(trouble))
        except Exception:
            _logger.exception("the history file broke on our side: please report this")
            self._in_trouble("cannot be used, by a defect of ours")
        else:
            self._out_of_trouble()

    async def _renew(self) -> None:
        """A new file in place of one that is broken: what could be read of it is in memory."""
        if time.monotonic() < self._renewed + MIN_RENEWAL_SECONDS:
            raise StorageError("is damaged again: is the disk sound?")
        self._renewed = time.monotonic()
        aside = await self._in_thread(self._database.quarantine)
        self._report(
            f"history file {self._path} is damaged: it was moved to {aside.name}, where you may look at it or remove "
            "it; what could be read of it stands in a new one"
        )
        await self._write(at_last=True)

    def _in_trouble(self, words: str) -> None:
        self._again = time.monotonic() + WRITE_RETRY_SECONDS
        if words != self._trouble:
            self._trouble = words
            self._report(f"history file {self._path} {words}; until then a restart forgets what happens now")

    def _out_of_trouble(self) -> None:
        if self._trouble is not None:
            self._trouble = None
            self._report(f"history file {self._path} is in use again")


async def _in_slices(items: Iterable[T], number: int) -> AsyncIterator[T]:
    """The items, with a turn for everybody else after so many."""
    for place, item in enumerate(items, 1):
        yield item
        if place % number == 0:
            await asyncio.sleep(0)


def _row(result: Result) -> StoredRow:
    return StoredRow(result.started_at, result.target, packed(result), result.failed)


async def _believed(kept: LoadedHistory, target: str) -> AsyncIterator[Result]:
    """The results of a target; those that make no sense are counted as damaged."""
    seen: set[str] = set()
    async for body in _in_slices(kept.results.get(target, ()), RESULTS_PER_SLICE):
        try:
            result = unpacked(body)
        except InvalidReportError:
            kept.damaged += 1
            continue
        if result.target == target and result.run not in seen:  # a write whose end we did not see was made again
            seen.add(result.run)
            yield result


def _snapshot(kept: LoadedHistory, target: str) -> HistorySnapshot | None:
    body = kept.snapshots.get(target)
    try:
        snapshot = None if body is None else _LINE.validate_json(body).snapshot
    except ValidationError:
        snapshot = None
    sound = snapshot is not None and all(0 <= moment <= MAX_TIMESTAMP_SECONDS for moment in _moments(snapshot))
    kept.damaged += body is not None and not sound
    return snapshot if sound else None


def _moments(snapshot: HistorySnapshot) -> Iterator[float]:
    """Those that a page shows."""
    yield from (snapshot.at, snapshot.since, snapshot.impaired_since or 0.0)
    yield from (mark.at for mark in snapshot.marks)
