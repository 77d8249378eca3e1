"""The history in an SQLite file: every statement that is ever made to it.

Why SQLite and not lines of JSON: what is old is taken out piece by piece, where a file of lines would be written anew
as a whole; and its work is done in C without Python's lock, so that no session is late for it. It writes ahead to a log
that is synced when it is moved into the file: a crash of the process loses nothing that was written, a power cut the
last seconds, neither of them the file.

A row is a result (`report.record`) with its checksum, since SQLite has none of its own. There is no index: all rows are
read at the start, and looked through when the old ones go. Every method is called by one thread and raises
`StorageError`, or `CorruptFileError` if the file is ours and broken.
"""

import json
import os
import sqlite3
import stat
import zlib
from collections import defaultdict
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from exporter.state.errors import unusable

DATABASE_MODE: Final = 0o600
APPLICATION_ID: Final = 0x77736678
"""Of the file's header: what makes it ours (`wsfx`)."""

SCHEMA_VERSION_NUMBER: Final = 1
SQLITE_HEADER_BYTES: Final = 100
MAGIC: Final = b"SQLite format 3\0"
"""The file's header (SQLite, "Database File Format", section 1.3): magic, version at 60, application at 68."""

SWEEPS_PER_CAPACITY: Final = 2
"""What is old is looked for when as much has been written as half of what may be kept."""

ABANDONED_SECONDS: Final = 7 * 86_400.0
"""Seconds after which what is kept of a target goes that no config names any more."""

PAGE_BYTES: Final = 4096
MAX_WAL_PAGES: Final = 256
"""Pages of the log at which it is moved into the file."""

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS results
  (id INTEGER PRIMARY KEY, at REAL, target TEXT, failed INTEGER, body BLOB, checksum INTEGER);
CREATE TABLE IF NOT EXISTS targets (target TEXT PRIMARY KEY, at REAL, body BLOB, checksum INTEGER) WITHOUT ROWID;
"""

SET_UP: Final = (
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {SCHEMA_VERSION_NUMBER}",
    *SCHEMA.strip().split(";\n"),
)

INSERT: Final = "INSERT INTO results (at, target, failed, body, checksum) VALUES (?, ?, ?, ?, ?)"
REPLACE: Final = "INSERT OR REPLACE INTO targets (at, target, body, checksum) VALUES (?, ?, ?, ?)"

DELETE_OLD_RESULTS: Final = """
WITH placed AS (
  SELECT id, failed, length(body) AS bytes,
         row_number() OVER (PARTITION BY target, failed ORDER BY id DESC) AS place
  FROM results),
summed AS (
  SELECT id, failed, place,
         sum(bytes) OVER (ORDER BY place > 1, failed = 0, place, id DESC ROWS UNBOUNDED PRECEDING) AS total
  FROM placed)
DELETE FROM results WHERE id IN (
  SELECT id FROM summed WHERE place > :last + failed * :failures OR total > :bytes)
"""
"""At least what `history.result_buffer` keeps. When that is too long, the newest pass and the newest failure of each
target stay, then failures, then passes, the newest of each target first: a chatty one takes nothing from the others."""

INTEGRITY_CHECK: Final = "PRAGMA integrity_check(1)"
"""Finds what no checksum of a row can: a page that has lost rows, or is another one (SQLite, "Pragma statements")."""

DELETE_ABANDONED: Final = """
DELETE FROM {table} WHERE at < :before AND target NOT IN (SELECT value FROM json_each(:known))
"""


class StorageError(Exception):
    """Why the file cannot be used now, in words that follow its name."""


class CorruptFileError(StorageError):
    """The file is ours, and broken."""


class StoredRow(NamedTuple):
    """A result, or the rest of what is known of a target, as text. `at` in unix seconds."""

    at: float
    target: str
    body: bytes
    failed: bool = False


@dataclass(frozen=True, slots=True)
class StorageLimits:
    """What is kept: results of each target, older failures of each, bytes of all results."""

    last: int
    failures: int
    max_bytes: int


@dataclass(slots=True)
class LoadedHistory:
    """What the file held, by target, results oldest first. `damaged`: rows that were not believed."""

    results: dict[str, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    snapshots: dict[str, bytes] = field(default_factory=dict)
    damaged: int = 0
    whole: bool = True


class HistoryDatabase:
    """The file. `open` it, `close` it; after `StorageError` it is closed, and may be opened again."""

    def __init__(self, path: Path, limits: StorageLimits) -> None:
        self._path = Path(os.path.realpath(path))
        self._limits = limits
        self._db: sqlite3.Connection | None = None
        self._inode = 0
        self._unswept = 0

    @property
    def is_open(self) -> bool:
        """Whether it is ours at the moment."""
        return self._db is not None

    def open(self) -> bool:
        """Make or open the file, and keep every other process out of it; True if it is new."""
        if self._db is not None:
            return False
        try:
            is_new = self._look()
            self._db = _connected(self._path)
            self._inode = self._path.stat().st_ino
        except OSError as error:
            raise StorageError(unusable(error)) from None
        except SQLITE_EXCEPTIONS as error:
            raise _trouble(error, UNREADABLE_CODES) from None
        return is_new

    def read(self, known: Sequence[str], now: float) -> LoadedHistory:
        """All that is kept of these targets; what was abandoned long ago goes. A broken file gives what it can."""
        kept = LoadedHistory()
        try:
            with _WriteTransaction(self, UNREADABLE_CODES) as db:
                for *row, checksum in db.execute("SELECT at, target, 0, body, checksum FROM targets"):
                    if _is_sound(kept, row, checksum):
                        kept.snapshots[row[1]] = row[3]
                for *row, checksum in db.execute("SELECT at, target, failed, body, checksum FROM results ORDER BY id"):
                    if _is_sound(kept, row, checksum):
                        kept.results[row[1]].append(row[3])
                names = {"known": json.dumps(known), "before": now - ABANDONED_SECONDS}
                for table in ("results", "targets"):
                    db.execute(DELETE_ABANDONED.format(table=table), names)
                kept.whole = db.execute(INTEGRITY_CHECK).fetchone() == ("ok",)
        except CorruptFileError:
            kept.whole = False
        return kept

    def write(self, results: Sequence[StoredRow], snapshots: Sequence[StoredRow], *, tidy: bool = False) -> None:
        """Add results and put snapshots in place of older ones, all or nothing. What is old goes now and then.

        `tidy`: it goes now.
        """
        self._raise_if_gone()
        with _WriteTransaction(self, CORRUPTION_CODES) as db:
            rows = [(at, target, int(failed), body) for at, target, body, failed in results]
            db.executemany(INSERT, [(*row, _checksum(*row)) for row in rows])
            db.executemany(REPLACE, [(at, name, body, _checksum(at, name, 0, body)) for at, name, body, _ in snapshots])
            self._unswept += sum(len(row.body) for row in results)
            if tidy or self._unswept * SWEEPS_PER_CAPACITY > self._limits.max_bytes:
                last, failures, most = self._limits.last, self._limits.failures, self._limits.max_bytes
                db.execute(DELETE_OLD_RESULTS, {"last": last, "failures": failures, "bytes": most})
                self._unswept = 0

    def quarantine(self) -> Path:
        """Move a broken file out of the way, and its log with it; where it is now."""
        self.close()
        aside = self._path.with_name(self._path.name + ".damaged")
        try:
            for ending in ("-wal", "-journal", "-shm"):
                with suppress(FileNotFoundError):
                    self._path.with_name(self._path.name + ending).replace(aside.with_name(aside.name + ending))
            self._path.replace(aside)
        except OSError as error:
            raise StorageError(unusable(error)) from None
        return aside

    def close(self) -> None:
        """Let go of the file. Never raises."""
        db, self._db = self._db, None
        if db is not None:
            with suppress(sqlite3.Error):
                db.close()

    def use(self) -> sqlite3.Connection:
        """The connection; raises Trouble if there is none."""
        if self._db is None:
            raise StorageError("is not open")
        return self._db

    def _raise_if_gone(self) -> None:
        """A file that somebody removed would take our rows for ever."""
        try:
            gone = self._path.stat().st_ino != self._inode
        except FileNotFoundError:
            gone = True
        except OSError as error:
            raise StorageError(unusable(error)) from None
        if gone and self._db is not None:
            self.close()
            raise StorageError("was removed while it was in use")

    def _look(self) -> bool:
        """Raise Trouble for what is not ours to write to; make the file if there is none, for us alone."""
        # Non-blocking for the case that it is no file at all but a pipe that nobody reads.
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK, DATABASE_MODE)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise StorageError("is not a regular file: name another with --history.file")
            head = os.read(descriptor, SQLITE_HEADER_BYTES)
        finally:
            os.close(descriptor)
        if not head:
            return True
        if head[: len(MAGIC)] != MAGIC or int.from_bytes(head[68:72], "big") != APPLICATION_ID:
            raise StorageError("is no history file of ours, or one that is damaged: move it away, or name another")
        if int.from_bytes(head[60:64], "big") > SCHEMA_VERSION_NUMBER:
            raise StorageError("was written by a later version: name another with --history.file")
        return False


class _WriteTransaction:
    """All or nothing; any failure closes the file and raises `StorageError`. `damage`: codes of a corrupt file."""

    def __init__(self, database: HistoryDatabase, damage: frozenset[int]) -> None:
        self._database = database
        self._damage = damage

    def __enter__(self) -> sqlite3.Connection:
        db = self._database.use()
        self._attempt(db, "BEGIN IMMEDIATE")
        return db

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        if error is None:
            self._attempt(self._database.use(), "COMMIT")
            return
        self._database.close()  # SQLite takes back what was not committed
        if isinstance(error, SQLITE_EXCEPTIONS):
            raise _trouble(error, self._damage) from None

    def _attempt(self, db: sqlite3.Connection, statement: str) -> None:
        try:
            db.execute(statement)
        except SQLITE_EXCEPTIONS as error:
            self._database.close()
            raise _trouble(error, self._damage) from None


def _connected(path: Path) -> sqlite3.Connection:
    """A connection that holds the file's lock until it is closed; raises sqlite3.Error."""
    db = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False, cached_statements=16)
    db.text_factory = _text
    try:
        db.execute("PRAGMA locking_mode = EXCLUSIVE")  # no shared memory then, and no second exporter
        db.execute("PRAGMA trusted_schema = OFF")
        db.execute("PRAGMA cell_size_check = ON")
        db.execute("BEGIN IMMEDIATE")
        for statement in SET_UP:
            db.execute(statement)
        db.execute("COMMIT")
        with closing(db.execute("PRAGMA journal_mode = WAL")) as answer:
            answer.fetchall()
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute(f"PRAGMA wal_autocheckpoint = {MAX_WAL_PAGES}")
        db.execute(f"PRAGMA journal_size_limit = {MAX_WAL_PAGES * PAGE_BYTES}")
        db.execute("PRAGMA cache_size = -512")
    except BaseException:
        db.close()
        raise
    return db


def _text(data: bytes) -> str:
    """A name that was damaged is nobody's."""
    return data.decode("utf-8", "replace")


CORRUPTION_CODES: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
UNREADABLE_CODES: Final = CORRUPTION_CODES | {sqlite3.SQLITE_ERROR}
"""Codes of a file that is broken; when it is read, a statement of ours that makes no sense shows a broken schema."""


SQLITE_EXCEPTIONS: Final = (sqlite3.Error, UnicodeDecodeError)
"""What comes of a file: Python decodes SQLite's messages, and those may quote a schema that is no text any more."""


def _trouble(error: Exception, damage: frozenset[int]) -> StorageError:
    """What went wrong, in words; the library's own may quote the file."""
    if isinstance(error, UnicodeDecodeError):
        return CorruptFileError("is damaged")
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    return (
        CorruptFileError("is damaged")
        if code in damage
        else StorageError(SQLITE_ERROR_TEXTS.get(code, f"cannot be used: SQLite says {code}"))
    )


SQLITE_ERROR_TEXTS: Final = {
    sqlite3.SQLITE_BUSY: "is in use by another process: give each exporter a history file of its own",
    sqlite3.SQLITE_LOCKED: "is in use by another process: give each exporter a history file of its own",
    sqlite3.SQLITE_READONLY: "cannot be written: it, its folder or the disk is read-only",
    sqlite3.SQLITE_FULL: "cannot be written: the disk is full",
    sqlite3.SQLITE_IOERR: "cannot be written or read: the disk says no; is it full?",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened: may we write to it and to its folder?",
    sqlite3.SQLITE_PERM: "cannot be opened: may we write to it and to its folder?",
    sqlite3.SQLITE_NOMEM: "cannot be used: no memory left",
}
"""What SQLite's codes mean for who reads the log (SQLite, "Result and Error Codes")."""


def _checksum(at: float, target: str, failed: int, body: bytes) -> int:
    """Of a whole row: the body's own goes on over the rest."""
    return zlib.crc32(f"{at!r} {target} {failed}".encode(), zlib.crc32(body))


def _is_sound(kept: LoadedHistory, row: Sequence[Any], checksum: object) -> bool:
    """Whether a row is as it was written; files of before have a checksum of the body alone."""
    at, target, failed, body = row
    whole = isinstance(body, bytes) and isinstance(target, str)
    sound = whole and checksum in (_checksum(at, target, failed, body), zlib.crc32(body))
    kept.damaged += not sound
    return sound
