"""The history in an SQLite file: all statements that are executed on it.

Why SQLite and not lines of JSON: old rows are deleted piece by piece, where a file of lines would be rewritten whole,
and SQLite works without Python's lock, so that it delays no session. It writes ahead to a log that is synced at each
checkpoint: a crash of the process loses no written row, a power cut loses those of the last seconds, and neither loses
the file.

A row is a result (`report.record`) with a checksum, since SQLite keeps none. There is no index: all rows are read at
the start, and scanned when old ones are deleted. One thread calls all methods; each raises `StorageError`, or
`CorruptFileError` if the file is a damaged history.
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

from exporter.state.errors import file_error_text
from exporter.state.write_ahead_log import last_frames_of_writes

DATABASE_MODE: Final = 0o600
APPLICATION_ID: Final = 0x77736678
"""The application id in the header of a history file (`wsfx`)."""

SCHEMA_VERSION_NUMBER: Final = 1
SQLITE_HEADER_BYTES: Final = 100
MAGIC: Final = b"SQLite format 3\0"
"""The file's header (SQLite, "Database File Format", section 1.3): magic, version at 60, application at 68."""

CLEANUPS_PER_CAPACITY: Final = 2
"""Old rows are deleted each time that half the capacity has been written."""

ABANDONED_SECONDS: Final = 7 * 86_400.0
"""Seconds after which the rows of a target that no config names any more are deleted."""

PAGE_BYTES: Final = 4096
MAX_WAL_PAGES: Final = 256
"""Pages of the log at which SQLite checkpoints it."""

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
"""Keeps the rows that `history.result_buffer` keeps, unless they exceed `:bytes` together. Then the newest pass and the
newest failure of each target stay, then failures, then passes, the newest of each target first: large rows of one
target take no space from the others."""

INTEGRITY_CHECK: Final = "PRAGMA integrity_check(1)"
"""Finds what no checksum of a row can: a page with lost rows, or a misplaced page (SQLite, "Pragma statements")."""

DELETE_ABANDONED: Final = """
DELETE FROM {table} WHERE at < :before AND target NOT IN (SELECT value FROM json_each(:known))
"""


class StorageError(Exception):
    """The file cannot be used now; the text follows the file's name in a sentence."""


class CorruptFileError(StorageError):
    """The file is a history, and damaged."""


class StoredRow(NamedTuple):
    """A result, or the snapshot of a target, as text. `at`: unix seconds."""

    at: float
    target: str
    body: bytes
    failed: bool = False


@dataclass(frozen=True, slots=True)
class StorageLimits:
    """How much the file keeps.

    `last`: results of each target. `failures`: older failures of each. `max_bytes`: of all results together.
    """

    last: int
    failures: int
    max_bytes: int


@dataclass(slots=True)
class LoadedHistory:
    """The content of the file.

    `results`: by target, oldest first. `snapshots`: by target. `damaged_rows`: rows that were skipped.
    `is_intact`: False if SQLite found the file itself damaged.
    """

    results: dict[str, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    snapshots: dict[str, bytes] = field(default_factory=dict)
    damaged_rows: int = 0
    is_intact: bool = True


class HistoryDatabase:
    """The file; call `open` before other methods. A `StorageError` closes it, and it may be opened again.

    `lost_writes`: the writes in the log that SQLite left out when the file was last opened.
    """

    def __init__(self, path: Path, limits: StorageLimits) -> None:
        self._path = Path(os.path.realpath(path))
        self._limits = limits
        self._connection: sqlite3.Connection | None = None
        self._inode = 0
        self._bytes_since_cleanup = 0
        self.lost_writes = 0

    @property
    def is_open(self) -> bool:
        """Whether the file is open and locked."""
        return self._connection is not None

    def open(self) -> bool:
        """Create or open the file and lock it against other processes; return True if it is new."""
        if self._connection is not None:
            return False
        try:
            is_new = self._check_file()
            log = self._path.with_name(self._path.name + "-wal")
            writes = () if is_new else last_frames_of_writes(log, PAGE_BYTES)
            self._connection, read_frames = _connect(self._path)
            self.lost_writes = sum(frame > read_frames for frame in writes)
            self._inode = self._path.stat().st_ino
        except OSError as error:
            raise StorageError(file_error_text(error)) from None
        except SQLITE_EXCEPTIONS as error:
            raise _storage_error(error, UNREADABLE_CODES) from None
        return is_new

    def read(self, targets: Sequence[str], now: float) -> LoadedHistory:
        """Return the readable rows of these targets, and delete the rows of targets abandoned long ago."""
        history = LoadedHistory()
        try:
            with _WriteTransaction(self, UNREADABLE_CODES) as db:
                for *row, checksum in db.execute("SELECT at, target, 0, body, checksum FROM targets"):
                    if _is_sound(history, row, checksum):
                        history.snapshots[row[1]] = row[3]
                for *row, checksum in db.execute("SELECT at, target, failed, body, checksum FROM results ORDER BY id"):
                    if _is_sound(history, row, checksum):
                        history.results[row[1]].append(row[3])
                names = {"known": json.dumps(targets), "before": now - ABANDONED_SECONDS}
                for table in ("results", "targets"):
                    db.execute(DELETE_ABANDONED.format(table=table), names)
                history.is_intact = db.execute(INTEGRITY_CHECK).fetchone() == ("ok",)
        except CorruptFileError:
            history.is_intact = False
        return history

    def write(self, results: Sequence[StoredRow], snapshots: Sequence[StoredRow], *, clean_up: bool = False) -> None:
        """Add results and replace snapshots, all or nothing.

        `clean_up`: delete old rows now, and not only after many written bytes.
        """
        self._raise_if_removed()
        with _WriteTransaction(self, CORRUPTION_CODES) as db:
            rows = [(at, target, int(failed), body) for at, target, body, failed in results]
            db.executemany(INSERT, [(*row, _checksum(*row)) for row in rows])
            db.executemany(REPLACE, [(at, name, body, _checksum(at, name, 0, body)) for at, name, body, _ in snapshots])
            self._bytes_since_cleanup += sum(len(row.body) for row in results)
            if clean_up or self._bytes_since_cleanup * CLEANUPS_PER_CAPACITY > self._limits.max_bytes:
                limits = self._limits
                db.execute(
                    DELETE_OLD_RESULTS,
                    {"last": limits.last, "failures": limits.failures, "bytes": limits.max_bytes},
                )
                self._bytes_since_cleanup = 0

    def quarantine(self) -> Path:
        """Rename a damaged file and its log; return the new path."""
        self.close()
        quarantined = self._path.with_name(self._path.name + ".damaged")
        try:
            for suffix in ("-wal", "-journal", "-shm"):
                with suppress(FileNotFoundError):
                    self._path.with_name(self._path.name + suffix).replace(
                        quarantined.with_name(quarantined.name + suffix)
                    )
            self._path.replace(quarantined)
        except OSError as error:
            raise StorageError(file_error_text(error)) from None
        return quarantined

    def close(self) -> None:
        """Close the file. Never raises."""
        db, self._connection = self._connection, None
        if db is not None:
            with suppress(sqlite3.Error):
                db.close()

    def connection(self) -> sqlite3.Connection:
        """Return the connection; raises StorageError if the file is not open."""
        if self._connection is None:
            raise StorageError("is not open")
        return self._connection

    def _raise_if_removed(self) -> None:
        """Raise StorageError if the path no longer leads to the open file: its rows would be lost."""
        try:
            is_removed = self._path.stat().st_ino != self._inode
        except FileNotFoundError:
            is_removed = True
        except OSError as error:
            raise StorageError(file_error_text(error)) from None
        if is_removed and self._connection is not None:
            self.close()
            raise StorageError("was removed while it was in use")

    def _check_file(self) -> bool:
        """Create a missing file with mode 0600; return whether it is empty. Raises StorageError for a foreign file."""
        # Non-blocking, because the path may lead to a pipe without a reader.
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
            raise StorageError("is no history file of this exporter, or a damaged one: move it away, or name another")
        if int.from_bytes(head[60:64], "big") > SCHEMA_VERSION_NUMBER:
            raise StorageError("was written by a later version: name another with --history.file")
        return False


class _WriteTransaction:
    """A transaction; any failure closes the file and raises StorageError.

    `corruption_codes`: SQLite's codes that mean a damaged file.
    """

    def __init__(self, database: HistoryDatabase, corruption_codes: frozenset[int]) -> None:
        self._database = database
        self._corruption_codes = corruption_codes

    def __enter__(self) -> sqlite3.Connection:
        db = self._database.connection()
        self._execute(db, "BEGIN IMMEDIATE")
        return db

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        if error is None:
            self._execute(self._database.connection(), "COMMIT")
            return
        self._database.close()  # SQLite rolls back
        if isinstance(error, SQLITE_EXCEPTIONS):
            raise _storage_error(error, self._corruption_codes) from None

    def _execute(self, db: sqlite3.Connection, statement: str) -> None:
        try:
            db.execute(statement)
        except SQLITE_EXCEPTIONS as error:
            self._database.close()
            raise _storage_error(error, self._corruption_codes) from None


def _connect(path: Path) -> tuple[sqlite3.Connection, int]:
    """Return a connection that holds the file's lock until it is closed, and the frames of the log that SQLite read.

    Raises sqlite3.Error.
    """
    db = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False, cached_statements=16)
    db.text_factory = _text
    try:
        db.execute("PRAGMA locking_mode = EXCLUSIVE")  # avoids shared memory, and locks a second exporter out
        db.execute("PRAGMA trusted_schema = OFF")
        db.execute("PRAGMA cell_size_check = ON")
        db.execute("SELECT count(*) FROM sqlite_schema").fetchone()  # opens the log
        _, read_frames, _ = db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        db.execute("BEGIN IMMEDIATE")
        for statement in SET_UP:
            db.execute(statement)
        db.execute("COMMIT")
        with closing(db.execute("PRAGMA journal_mode = WAL")) as cursor:
            cursor.fetchall()
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute(f"PRAGMA wal_autocheckpoint = {MAX_WAL_PAGES}")
        db.execute(f"PRAGMA journal_size_limit = {MAX_WAL_PAGES * PAGE_BYTES}")
        db.execute("PRAGMA cache_size = -512")
    except BaseException:
        db.close()
        raise
    return db, read_frames


def _text(data: bytes) -> str:
    """Decode a column; a damaged name becomes one that no target has."""
    return data.decode("utf-8", "replace")


CORRUPTION_CODES: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
UNREADABLE_CODES: Final = CORRUPTION_CODES | {sqlite3.SQLITE_ERROR}
"""Codes of a damaged file. On reading, an invalid statement means a damaged schema."""


SQLITE_EXCEPTIONS: Final = (sqlite3.Error, UnicodeDecodeError)
"""Errors of a damaged file: Python decodes SQLite's messages, and those may quote a schema that is no longer UTF-8."""


def _storage_error(error: Exception, corruption_codes: frozenset[int]) -> StorageError:
    """Return the error with our own text: SQLite's own may quote the file."""
    if isinstance(error, UnicodeDecodeError):
        return CorruptFileError("is damaged")
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    return (
        CorruptFileError("is damaged")
        if code in corruption_codes
        else StorageError(SQLITE_ERROR_TEXTS.get(code, f"cannot be used: SQLite says {code}"))
    )


SQLITE_ERROR_TEXTS: Final = {
    sqlite3.SQLITE_BUSY: "is in use by another process: give each exporter a history file of its own",
    sqlite3.SQLITE_LOCKED: "is in use by another process: give each exporter a history file of its own",
    sqlite3.SQLITE_READONLY: "cannot be written: it, its folder or the disk is read-only",
    sqlite3.SQLITE_FULL: "cannot be written: the disk is full",
    sqlite3.SQLITE_IOERR: "cannot be written or read: the disk reports an error: is it full or damaged?",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened: allow this user to write to it and to its folder",
    sqlite3.SQLITE_PERM: "cannot be opened: allow this user to write to it and to its folder",
    sqlite3.SQLITE_NOMEM: "cannot be used: no memory left",
}
"""The text of each of SQLite's codes for the log (SQLite, "Result and Error Codes")."""


def _checksum(at: float, target: str, failed: int, body: bytes) -> int:
    """Return the checksum of a row: that of the body, continued over the other columns."""
    return zlib.crc32(f"{at!r} {target} {failed}".encode(), zlib.crc32(body))


def _is_sound(history: LoadedHistory, row: Sequence[Any], checksum: object) -> bool:
    """Return whether a row is as it was written; earlier versions wrote a checksum of the body alone."""
    at, target, failed, body = row
    has_types = isinstance(body, bytes) and isinstance(target, str)
    is_sound = has_types and checksum in (_checksum(at, target, failed, body), zlib.crc32(body))
    history.damaged_rows += not is_sound
    return is_sound
