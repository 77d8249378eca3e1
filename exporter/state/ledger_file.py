"""The ledger's file: a journal of its events that the daemon and every `check` share.

While the file cannot be locked, read or written, events are kept in memory, and written once that works again. Nothing
is awaited inside a transaction.
"""

import errno
import fcntl
import json
import logging
import math
import os
import stat
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from exporter.budget import Event, Ledger
from exporter.state.errors import file_error_text

LOCK_TIMEOUT_SECONDS: Final = 0.05
"""Seconds for which the lock is tried; after a failure, each transaction tries once only until the lock is taken."""
COMPACT_AT_BYTES: Final = 1 << 20
"""Bytes at which the journal is rewritten without outdated events (about 3,000 sessions)."""
MAX_JOURNAL_BYTES: Final = 64 << 20
"""Bytes; a larger file cannot be a journal."""
MAX_UNSAVED_EVENTS: Final = 10_000
"""Events kept for a file that cannot be written; beyond that, a snapshot replaces them."""
OPEN_RETRY_SECONDS: Final = 5.0
"""Seconds until a file that could not be opened or read is tried again."""
JOURNAL_MODE: Final = 0o600

ReportFunction = Callable[[str], None]
_logger: Final = logging.getLogger("exporter.state")


class LedgerFile:
    """A ledger, and the file through which processes share it (none: `in_memory`).

    `report`: called with a sentence when the file cannot be used, and when it can again; default: a warning in the log.
    `ledger`: may be read at any time; decisions and events belong inside a `transaction`.
    `skipped`: lines that were not understood.
    """

    def __init__(
        self, path: Path | None, *, wall: Callable[[], float] = time.time, report: ReportFunction | None = None
    ) -> None:
        self.ledger = Ledger(since=wall())
        self.skipped = 0
        self._wall = wall
        self._report = report or _logger.warning
        self._journal = None if path is None else _Journal(Path(os.path.realpath(path)))
        self._unsaved: list[Event] = []
        self._problem: str | None = None
        self._retry_at = -math.inf
        self._in_transaction = self._has_lock = False

    @classmethod
    def open(
        cls, path: Path, *, wall: Callable[[], float] = time.time, report: ReportFunction | None = None
    ) -> "LedgerFile":
        """Share the ledger through this file (created with mode 0600 if missing) and its lock, `<path>.lock`."""
        state = cls(path, wall=wall, report=report)
        with state.transaction():
            pass
        return state

    @classmethod
    def in_memory(cls, *, wall: Callable[[], float] = time.time) -> "LedgerFile":
        """Return a ledger without a file; a restart forgets it."""
        return cls(None, wall=wall)

    @property
    def is_shared(self) -> bool:
        """Whether other processes may share the ledger."""
        return self._journal is not None

    def transaction(self) -> "_LedgerTransaction":
        """Return a block that reads the shared ledger first and writes its events at the end. Never await inside."""
        return _LedgerTransaction(self)

    def shift_times(self, seconds: float) -> bool:
        """Follow a step of the wall clock; return False if another process has already shifted the shared ledger."""
        with self.transaction() as ledger:
            return ledger.shift_times(seconds, self._wall(), str(os.getpid()))

    def close(self) -> None:
        """Close the file."""
        if self._journal is not None:
            self._journal.close()

    # --- The two ends of a transaction

    def begin_transaction(self) -> None:
        """Lock the file, if there is one, and read what other processes wrote."""
        if self._in_transaction:
            raise RuntimeError("a transaction within a transaction")
        self._in_transaction, self._has_lock = True, self._lock_and_read()

    def end_transaction(self) -> None:
        """Write the events of the transaction, and unlock the file."""
        try:
            self._write_pending(has_lock=self._has_lock)
        finally:
            self._in_transaction = False

    def _lock_and_read(self) -> bool:
        """Lock the file and read what other processes wrote; return False without a usable file."""
        if self._journal is None or time.monotonic() < self._retry_at:
            return False
        try:
            if not self._journal.lock(0.0 if self._problem else LOCK_TIMEOUT_SECONDS):
                self._report_problem("is locked by another process, which may be stopped")
                return False
            self._read_journal(self._journal)
        except OSError as error:
            self._journal.unlock()
            self._retry_at = time.monotonic() + OPEN_RETRY_SECONDS
            self._report_problem(_problem_text(error))
            return False
        return True

    def _read_journal(self, journal: "_Journal") -> None:
        now = self._wall()
        lines, is_whole_file = journal.read()
        if is_whole_file:
            self._replace_ledger(journal, lines, now)
        elif sum(not self._apply_line(line) for line in lines):
            self.ledger.mark_incomplete(now)

    def _replace_ledger(self, journal: "_Journal", lines: Sequence[bytes], now: float) -> None:
        """Rebuild the ledger from the whole file and from our events that are not written yet."""
        snapshot = self.ledger.snapshot(now)
        self.ledger.clear()
        is_understood = [self._apply_line(line) for line in lines]
        is_foreign = bool(lines) and not any(is_understood)
        for event in snapshot if is_foreign or not lines else self._unsaved:
            self.ledger.apply(event)
        if is_foreign:
            journal.close()
            raise OSError(errno.EINVAL, "is no state file of this exporter: remove it or choose another")
        if not lines:
            self._unsaved = snapshot
        if not all(is_understood):
            self.ledger.mark_incomplete(now)
        self.ledger.cut_to(now)

    def _apply_line(self, line: bytes) -> bool:
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            event = None
        is_understood = isinstance(event, dict) and self.ledger.apply(event)
        self.skipped += not is_understood
        return is_understood

    def _write_pending(self, *, has_lock: bool) -> None:
        events = self.ledger.take_pending()
        if self._journal is None:
            return
        self._unsaved += events
        if has_lock:
            self._write_journal(self._journal)
        if len(self._unsaved) > MAX_UNSAVED_EVENTS:
            self._unsaved = self.ledger.snapshot(self._wall())

    def _write_journal(self, journal: "_Journal") -> None:
        try:
            if self._unsaved:
                journal.append(self._unsaved)
                self._unsaved = []
        except OSError as error:
            self._report_problem(_problem_text(error))
        else:
            self._report_recovery()
            if journal.needs_rewrite:
                with suppress(OSError):  # the long file is as valid as the short one
                    journal.rewrite(self.ledger.snapshot(self._wall()))
        finally:
            journal.unlock()

    def _report_problem(self, problem: str) -> None:
        if problem != self._problem and self._journal is not None:
            self._problem = problem
            self._report(
                f"state file {self._journal.path} {problem}; until then a restart forgets which slots are held, "
                "and other processes do not see them"
            )

    def _report_recovery(self) -> None:
        if self._problem is not None and self._journal is not None:
            self._problem = None
            self._report(f"state file {self._journal.path} is in use again")


class _LedgerTransaction:
    """The two ends of a transaction as a block; a generator would cost more, and there are two a session."""

    __slots__ = ("_state",)

    def __init__(self, state: LedgerFile) -> None:
        self._state = state

    def __enter__(self) -> Ledger:
        self._state.begin_transaction()
        return self._state.ledger

    def __exit__(self, *_: object) -> None:
        self._state.end_transaction()


def _problem_text(error: OSError) -> str:
    """Return the text of an error; `EINVAL` is raised by this module, with a text of its own."""
    return str(error.strerror) if error.errno == errno.EINVAL and error.strerror else file_error_text(error)


class _Journal:
    """The file and its lock. All methods but `lock` and `close` require the lock; they raise OSError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock_path = Path(f"{path}.lock")
        self._lock_descriptor: int | None = None
        self._file_descriptor: int | None = None
        self._read_offset = 0
        self._is_torn = False
        self._compact_at = COMPACT_AT_BYTES

    # --- The lock

    def lock(self, timeout_seconds: float) -> bool:
        """Try to take the lock for `timeout_seconds`; return whether it is taken. A stopped holder cannot block us."""
        if self._lock_descriptor is not None and not _is_same_file(self._lock_descriptor, self._lock_path):
            self._close_lock()  # it was removed: others may hold a new one
        if self._lock_descriptor is None:
            if self.path.is_dir():  # else the lock would be created beside the folder
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            self._lock_descriptor = os.open(self._lock_path, os.O_RDWR | os.O_CREAT, JOURNAL_MODE)
        until = time.monotonic() + timeout_seconds
        while True:
            with suppress(BlockingIOError):
                fcntl.flock(self._lock_descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            if time.monotonic() >= until:
                return False
            time.sleep(0.001)

    def unlock(self) -> None:
        """Release the lock."""
        if self._lock_descriptor is not None:
            fcntl.flock(self._lock_descriptor, fcntl.LOCK_UN)

    # --- Reading

    def read(self) -> tuple[list[bytes], bool]:
        """Return the lines since the last call, and whether they are a whole file, new or replaced."""
        is_whole_file = self._file_descriptor is None or not _is_same_file(self._file_descriptor, self.path)
        if is_whole_file:
            self._open()
        size = os.fstat(self._descriptor).st_size
        if size < self._read_offset:  # somebody truncated it
            self._read_offset, is_whole_file = 0, True
        if size - self._read_offset > MAX_JOURNAL_BYTES:
            self._close_file()
            raise OSError(errno.EINVAL, f"is larger than {MAX_JOURNAL_BYTES >> 20} MiB: is it the right file?")
        return self._read_lines(size) if size > self._read_offset else [], is_whole_file

    def _open(self) -> None:
        self._close_file()
        # Non-blocking, because the path may lead to a pipe without a reader.
        self._file_descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK, JOURNAL_MODE)
        if not stat.S_ISREG(os.fstat(self._file_descriptor).st_mode):
            self._close_file()
            raise OSError(errno.EINVAL, "is not a regular file")

    @property
    def _descriptor(self) -> int:
        if self._file_descriptor is None:
            raise OSError(errno.EBADF, "not open")
        return self._file_descriptor

    def _read_lines(self, size: int) -> list[bytes]:
        """Read up to `size`. A last line without a line feed was cut off by a crash."""
        text = b""
        while len(text) < size - self._read_offset:
            part = os.pread(self._descriptor, size - self._read_offset - len(text), self._read_offset + len(text))
            if not part:
                break
            text += part
        self._read_offset += len(text)
        self._is_torn = not text.endswith(b"\n")
        # After a crash, a file system may leave zeros.
        return [line for part in text.split(b"\n") if (line := part.strip(b"\0 \r"))]

    # --- Writing

    def append(self, events: Sequence[Event]) -> None:
        """Append events, all or none."""
        text = (b"\n" if self._is_torn else b"") + _encode(events)
        try:
            _write_all(self._descriptor, text)
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._descriptor, self._read_offset)
            raise
        self._read_offset += len(text)
        self._is_torn = False

    @property
    def needs_rewrite(self) -> bool:
        """Whether the file is long enough to be rewritten."""
        return self._read_offset > self._compact_at

    def rewrite(self, events: Sequence[Event]) -> None:
        """Replace the file by one with these events; a crash leaves the old one or the new one."""
        self._compact_at = 2 * self._read_offset  # if the rewrite fails
        new = self.path.with_name(self.path.name + ".tmp")
        try:
            self._write_new(new, _encode(events))
            new.replace(self.path)
        except OSError:
            with suppress(OSError):
                new.unlink()
            raise
        self._open()
        self._read_offset = os.fstat(self._descriptor).st_size
        self._is_torn = False
        self._compact_at = max(COMPACT_AT_BYTES, 4 * self._read_offset)

    def _write_new(self, new: Path, text: bytes) -> None:
        old = os.fstat(self._descriptor)
        with suppress(FileNotFoundError):
            new.unlink()
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, JOURNAL_MODE)
        try:
            own = os.fstat(descriptor)
            if (own.st_uid, own.st_gid) != (old.st_uid, old.st_gid):
                os.fchown(descriptor, old.st_uid, old.st_gid)  # a `check` by root must not lock the daemon out
            os.fchmod(descriptor, stat.S_IMODE(old.st_mode))
            _write_all(descriptor, text)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    # --- Closing

    def close(self) -> None:
        """Close file and lock."""
        self._close_file()
        self._close_lock()

    def _close_file(self) -> None:
        descriptor, self._file_descriptor, self._read_offset, self._is_torn = self._file_descriptor, None, 0, False
        if descriptor is not None:
            os.close(descriptor)

    def _close_lock(self) -> None:
        descriptor, self._lock_descriptor = self._lock_descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def _is_same_file(descriptor: int, path: Path) -> bool:
    """Return whether the path still leads to the open file."""
    try:
        path_status = os.stat(path)  # noqa: PTH116 - three times as fast as Path.stat(), twice a transaction
    except FileNotFoundError:
        return False
    open_status = os.fstat(descriptor)
    return (open_status.st_dev, open_status.st_ino) == (path_status.st_dev, path_status.st_ino)


def _encode(events: Sequence[Event]) -> bytes:
    return b"".join(json.dumps(event, separators=(",", ":"), allow_nan=False).encode() + b"\n" for event in events)


def _write_all(descriptor: int, text: bytes) -> None:
    rest = memoryview(text)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
