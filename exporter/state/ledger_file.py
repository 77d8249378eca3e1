"""The ledger's file: a journal of its events that the daemon and every `check` share.

What it misses while it cannot be locked, read or written is kept, and written once that works again. The lock is asked
for, not waited for, and nothing is awaited inside a transaction.
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
from exporter.state.errors import unusable

LOCK_TIMEOUT_SECONDS: Final = 0.05
"""Seconds a lock is asked for again and again; once in vain, it is asked for only once until it is got."""
COMPACT_AT_BYTES: Final = 1 << 20
"""Bytes at which the journal is rewritten with what still matters (about 3,000 sessions)."""
MAX_JOURNAL_BYTES: Final = 64 << 20
"""Bytes; what is larger is no journal of ours."""
MAX_UNSAVED_EVENTS: Final = 10_000
"""Events kept for a file that cannot be written; beyond that, a snapshot stands for them."""
OPEN_RETRY_SECONDS: Final = 5.0
"""Seconds until a file that could not be opened or read is tried again."""
JOURNAL_MODE: Final = 0o600

Report = Callable[[str], None]
_logger: Final = logging.getLogger("exporter.state")


class LedgerFile:
    """A ledger, and the file it is shared through (none: `in_memory`).

    `report` (a warning in the log) is told when the file cannot be used, and when it can again. `skipped` counts lines
    that were not understood. `ledger` may be looked at any time; asking and telling belong into a transaction.
    """

    def __init__(
        self, path: Path | None, *, wall: Callable[[], float] = time.time, report: Report | None = None
    ) -> None:
        self.ledger = Ledger(since=wall())
        self.skipped = 0
        self._wall = wall
        self._report = report or _logger.warning
        self._journal = None if path is None else _Journal(Path(os.path.realpath(path)))
        self._unsaved: list[Event] = []
        self._trouble: str | None = None
        self._again = -math.inf
        self._inside = self._locked = False

    @classmethod
    def open(cls, path: Path, *, wall: Callable[[], float] = time.time, report: Report | None = None) -> "LedgerFile":
        """Share the ledger through this file (made if need be, mode 0600) and its lock, `<path>.lock`."""
        state = cls(path, wall=wall, report=report)
        with state.transaction():
            pass
        return state

    @classmethod
    def in_memory(cls, *, wall: Callable[[], float] = time.time) -> "LedgerFile":
        """Share it with nobody; a restart forgets it."""
        return cls(None, wall=wall)

    @property
    def is_shared(self) -> bool:
        """Whether other processes may know the ledger."""
        return self._journal is not None

    def transaction(self) -> "_LedgerTransaction":
        """Give the ledger as all processes know it, and keep what is decided inside. Never await inside."""
        return _LedgerTransaction(self)

    def shift_times(self, seconds: float) -> bool:
        """Follow a step of the wall clock; False if another process has done it for all of us."""
        with self.transaction() as ledger:
            return ledger.shift_times(seconds, self._wall(), str(os.getpid()))

    def close(self) -> None:
        """Let go of the file."""
        if self._journal is not None:
            self._journal.close()

    # --- The two ends of a transaction

    def enter(self) -> None:
        """Begin: lock the file, if there is one, and read what others wrote."""
        if self._inside:
            raise RuntimeError("a transaction within a transaction")
        self._inside, self._locked = True, self._begin()

    def leave(self) -> None:
        """End: write what was decided, and let others in."""
        try:
            self._end(locked=self._locked)
        finally:
            self._inside = False

    def _begin(self) -> bool:
        """Lock the file and read what others wrote; False if we are on our own."""
        if self._journal is None or time.monotonic() < self._again:
            return False
        try:
            if not self._journal.lock(0.0 if self._trouble else LOCK_TIMEOUT_SECONDS):
                self._in_trouble("is locked by another process that does not let go")
                return False
            self._read(self._journal)
        except OSError as error:
            self._journal.unlock()
            self._again = time.monotonic() + OPEN_RETRY_SECONDS
            self._in_trouble(_words(error))
            return False
        return True

    def _read(self, journal: "_Journal") -> None:
        now = self._wall()
        lines, whole = journal.read()
        if whole:
            self._load(journal, lines, now)
        elif sum(not self._apply(line) for line in lines):
            self.ledger.mark_incomplete(now)

    def _load(self, journal: "_Journal", lines: Sequence[bytes], now: float) -> None:
        """Take the whole file in place of what we knew, but for what we could not write yet."""
        known = self.ledger.snapshot(now)
        self.ledger.clear()
        understood = [self._apply(line) for line in lines]
        foreign = bool(lines) and not any(understood)
        for event in known if foreign or not lines else self._unsaved:
            self.ledger.apply(event)
        if foreign:
            journal.close()
            raise OSError(errno.EINVAL, "is no state file of ours: remove it or choose another")
        if not lines:
            self._unsaved = known
        if not all(understood):
            self.ledger.mark_incomplete(now)
        self.ledger.cut_to(now)

    def _apply(self, line: bytes) -> bool:
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            event = None
        understood = isinstance(event, dict) and self.ledger.apply(event)
        self.skipped += not understood
        return understood

    def _end(self, *, locked: bool) -> None:
        events = self.ledger.take_pending()
        if self._journal is None:
            return
        self._unsaved += events
        if locked:
            self._write(self._journal)
        if len(self._unsaved) > MAX_UNSAVED_EVENTS:
            self._unsaved = self.ledger.snapshot(self._wall())

    def _write(self, journal: "_Journal") -> None:
        try:
            if self._unsaved:
                journal.append(self._unsaved)
                self._unsaved = []
        except OSError as error:
            self._in_trouble(_words(error))
        else:
            self._out_of_trouble()
            if journal.overgrown:
                with suppress(OSError):  # the long file is as good as the short one
                    journal.rewrite(self.ledger.snapshot(self._wall()))
        finally:
            journal.unlock()

    def _in_trouble(self, words: str) -> None:
        if words != self._trouble and self._journal is not None:
            self._trouble = words
            self._report(
                f"state file {self._journal.path} {words}; until then a restart forgets which slots are held, "
                "and other processes do not know of ours"
            )

    def _out_of_trouble(self) -> None:
        if self._trouble is not None and self._journal is not None:
            self._trouble = None
            self._report(f"state file {self._journal.path} is in use again")


class _LedgerTransaction:
    """The two ends of a transaction as a block; two a session, so it is no generator."""

    __slots__ = ("_state",)

    def __init__(self, state: LedgerFile) -> None:
        self._state = state

    def __enter__(self) -> Ledger:
        self._state.enter()
        return self._state.ledger

    def __exit__(self, *_: object) -> None:
        self._state.leave()


def _words(error: OSError) -> str:
    """`EINVAL` is our own, with a sentence of its own: what is there is no file of ours."""
    return str(error.strerror) if error.errno == errno.EINVAL and error.strerror else unusable(error)


class _Journal:
    """The file and its lock. Every method but `lock` and `close` needs the lock, and raises OSError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock_path = Path(f"{path}.lock")
        self._lock: int | None = None
        self._file: int | None = None
        self._read_to = 0
        self._torn = False
        self._compact_at = COMPACT_AT_BYTES

    # --- The lock

    def lock(self, patience: float) -> bool:
        """Take the lock, trying for `patience` seconds; a frozen holder must not freeze us."""
        if self._lock is not None and not _same(self._lock, self._lock_path):
            self._close_lock()  # somebody removed it: others may hold a new one
        if self._lock is None:
            if self.path.is_dir():  # else a lock would be made beside it, and for `/` in the root folder
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            self._lock = os.open(self._lock_path, os.O_RDWR | os.O_CREAT, JOURNAL_MODE)
        until = time.monotonic() + patience
        while True:
            with suppress(BlockingIOError):
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            if time.monotonic() >= until:
                return False
            time.sleep(0.001)

    def unlock(self) -> None:
        """Let others in."""
        if self._lock is not None:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    # --- Reading

    def read(self) -> tuple[list[bytes], bool]:
        """Give the lines that came since the last call, and whether they are the whole file, new or replaced."""
        whole = self._file is None or not _same(self._file, self.path)
        if whole:
            self._open()
        size = os.fstat(self._descriptor).st_size
        if size < self._read_to:  # cut short by somebody: what it held is not to be had
            self._read_to, whole = 0, True
        if size - self._read_to > MAX_JOURNAL_BYTES:
            self._close_file()
            raise OSError(errno.EINVAL, f"is larger than {MAX_JOURNAL_BYTES >> 20} MiB: is it the right file?")
        return self._lines(size) if size > self._read_to else [], whole

    def _open(self) -> None:
        self._close_file()
        # Non-blocking for the case that it is no file at all but a pipe that nobody reads.
        self._file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK, JOURNAL_MODE)
        if not stat.S_ISREG(os.fstat(self._file).st_mode):
            self._close_file()
            raise OSError(errno.EINVAL, "is not a regular file")

    @property
    def _descriptor(self) -> int:
        if self._file is None:
            raise OSError(errno.EBADF, "not open")
        return self._file

    def _lines(self, size: int) -> list[bytes]:
        """Read on to `size`. A last line without its end is one that a crash cut off."""
        text = b""
        while len(text) < size - self._read_to:
            part = os.pread(self._descriptor, size - self._read_to - len(text), self._read_to + len(text))
            if not part:
                break
            text += part
        self._read_to += len(text)
        self._torn = not text.endswith(b"\n")
        # A file system may leave zeros where a crash interrupted it.
        return [line for part in text.split(b"\n") if (line := part.strip(b"\0 \r"))]

    # --- Writing

    def append(self, events: Sequence[Event]) -> None:
        """Write events behind all others; all of them, or none."""
        text = (b"\n" if self._torn else b"") + _text(events)
        try:
            _write_all(self._descriptor, text)
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._descriptor, self._read_to)
            raise
        self._read_to += len(text)
        self._torn = False

    @property
    def overgrown(self) -> bool:
        """Whether it is time to rewrite it."""
        return self._read_to > self._compact_at

    def rewrite(self, events: Sequence[Event]) -> None:
        """Put a new file with these events in place of the old one; a crash leaves the one or the other."""
        self._compact_at = 2 * self._read_to  # should it fail
        new = self.path.with_name(self.path.name + ".tmp")
        try:
            self._write_new(new, _text(events))
            new.replace(self.path)
        except OSError:
            with suppress(OSError):
                new.unlink()
            raise
        self._open()
        self._read_to = os.fstat(self._descriptor).st_size
        self._torn = False
        self._compact_at = max(COMPACT_AT_BYTES, 4 * self._read_to)

    def _write_new(self, new: Path, text: bytes) -> None:
        old = os.fstat(self._descriptor)
        with suppress(FileNotFoundError):
            new.unlink()
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, JOURNAL_MODE)
        try:
            own = os.fstat(descriptor)
            if (own.st_uid, own.st_gid) != (old.st_uid, old.st_gid):
                os.fchown(descriptor, old.st_uid, old.st_gid)  # root's `check` must not lock the daemon out
            os.fchmod(descriptor, stat.S_IMODE(old.st_mode))
            _write_all(descriptor, text)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    # --- Closing

    def close(self) -> None:
        """Let go of file and lock."""
        self._close_file()
        self._close_lock()

    def _close_file(self) -> None:
        descriptor, self._file, self._read_to, self._torn = self._file, None, 0, False
        if descriptor is not None:
            os.close(descriptor)

    def _close_lock(self) -> None:
        descriptor, self._lock = self._lock, None
        if descriptor is not None:
            os.close(descriptor)


def _same(descriptor: int, path: Path) -> bool:
    """Whether the path still leads to the open file."""
    try:
        there = os.stat(path)  # noqa: PTH116 - twice a transaction, and thrice as fast as the path's own
    except FileNotFoundError:
        return False
    here = os.fstat(descriptor)
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)


def _text(events: Sequence[Event]) -> bytes:
    return b"".join(json.dumps(event, separators=(",", ":"), allow_nan=False).encode() + b"\n" for event in events)


def _write_all(descriptor: int, text: bytes) -> None:
    rest = memoryview(text)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
