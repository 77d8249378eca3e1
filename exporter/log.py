"""Lines on stderr, logfmt or JSON; and what must never stand in one.

Rule 1: any room logs by the standard library: `logging.getLogger(__name__).info("words", extra={"keys": {…}})`.
Rule 2: a line is one line: control characters are escaped, whoever wrote them.
Rule 3: nothing secret is given to a logger; `redacted` is the second line of defence, and sees every line whole.
Rule 4: the event loop never waits for stderr: lines go through a bounded queue to a thread; what does not fit is
counted and dropped.

Order: `time level source msg`, then the keys of the caller. A value that is not there is `-` in logfmt and null in
JSON; a mapping is flattened in logfmt (`phases` → `phase_reply=0.051`) and an object in JSON.
"""

import atexit
import logging
import queue
import re
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import Enum
from functools import lru_cache
from math import isfinite
from typing import Any, Final, Literal, TextIO

from structlog.processors import JSONRenderer, LogfmtRenderer

from exporter.result import Probe, Result, Verdict

LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}
NAMES: Final = {logging.DEBUG: "debug", logging.INFO: "info", logging.WARNING: "warn"}

QUIET: Final = {
    "websockets": logging.WARNING,
    "aiohttp": logging.WARNING,
    "aiohttp.server": logging.CRITICAL,
    "asyncio": logging.WARNING,
    "apscheduler": logging.ERROR,
}
"""Floors of foreign loggers, whatever the level: at debug `websockets` prints the Authorization header and every
frame in clear; `aiohttp.server` writes a traceback for whatever a port scanner sends, and `web` logs our own faults;
`apscheduler` warns of what we count ourselves."""

CAPACITY: Final = 10_000
TEXT_LIMIT: Final = 16_384
HEAD: Final = ("time", "level", "source", "msg")

SECRETS: Final = re.compile(
    r"(?P<name>token(?:_prefix|_suffix)?|secret|password|authorization|api[_-]?key)(?P<mid>\\?[\"']?\s*[=:]\s*\\?[\"']?)"
    r"(?:(?:bearer|basic)\s+)?[^\s&\"'\\,;#]{3,}"
    r"|(?:bearer|basic)(?:\s|%20|\+)+[\w.~+/=-]{6,}"  # RFC 6750 section 2.1, RFC 7617
    r"|\bjwt\.[a-z0-9_=-]{6,}"  # a token as a subprotocol
    # RFC 7519, or the head of one: base64 of `{"`, the same in base64 again, and a header with white space
    r"|(?-i:eyJ|ZXlK|(?<![A-Za-z0-9_-])(?:eyA|ewo))[a-z0-9_-]{6,}(?:\.[a-z0-9_-]*)*",
    re.IGNORECASE,
)
SIGNS: Final = (
    "token",
    "secret",
    "password",
    "authorization",
    "api",
    "bearer",
    "basic",
    "jwt.",
    "eyj",
    "eya",
    "ewo",
    "zxlk",
)
"""No match of `SECRETS` is without one of these: most lines have none, and are done in a microsecond."""
HIDDEN: Final = "<secret>"

_LOG: Final = logging.getLogger(__name__)


def redacted(line: str) -> str:
    """The line without what looks like a token, a password or an Authorization value."""
    lower = line.lower()
    return SECRETS.sub(_hidden, line) if any(sign in lower for sign in SIGNS) else line


def _hidden(found: re.Match[str]) -> str:
    return f"{found['name']}{found['mid']}{HIDDEN}" if found["name"] else HIDDEN


def printable(line: str) -> str:
    """The line with everything escaped that moves a terminal, breaks a line, turns text around or is no character."""
    if line.isprintable():
        return line
    return "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in line)


class Lines(logging.Formatter):
    """A record as one line, logfmt or JSON."""

    def __init__(self, form: Literal["logfmt", "json"]) -> None:
        super().__init__()
        self._json = form == "json"
        self._render: Any = JSONRenderer() if self._json else LogfmtRenderer(bool_as_flag=False)

    def format(self, record: logging.LogRecord) -> str:
        """The line: rendered, redacted, and free of control characters."""
        keys = getattr(record, "keys", None)
        event = self._head(record) | (_plain(keys) if isinstance(keys, dict) else {})
        if record.exc_info:
            event["exception"] = redacted(self.formatException(record.exc_info))[-TEXT_LIMIT:]
        line = self._render(None, "", event if self._json else dict(_flat(event)))
        return printable(redacted(line))

    @staticmethod
    def _head(record: logging.LogRecord) -> dict[str, Any]:
        moment = datetime.fromtimestamp(record.created, UTC)
        return {
            "time": f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z",
            "level": NAMES.get(record.levelno, "error" if record.levelno > logging.WARNING else "debug"),
            "source": record.name.removeprefix("exporter."),
            "msg": record.getMessage()[:TEXT_LIMIT],
        }


@lru_cache(maxsize=1024)
def _key(name: str) -> str:
    """The key as it can stand in a line: breaking none, hiding none of ours."""
    safe = re.sub(r"[\s=\"\x00-\x1f]", "_", name)
    return f"{safe}_" if safe in HEAD else safe


def _plain(value: Any) -> Any:
    """The value as JSON knows it; what JSON does not know, as text."""
    if isinstance(value, str):
        return value.value if isinstance(value, Enum) else value[:TEXT_LIMIT]
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, float):
        return value if isfinite(value) else str(value)
    if isinstance(value, dict):
        return {_key(str(key)): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return str(value)[:TEXT_LIMIT]


def _flat(event: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in event.items():
        if isinstance(value, dict):
            yield from _flat({f"{key.removesuffix('s')}_{inner}": held for inner, held in value.items()})
        elif isinstance(value, list):
            yield key, ",".join(map(str, value))
        else:
            yield key, "-" if value is None else value


class Writer:
    """A thread that writes lines to a stream, from a bounded queue; `close` it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lines: queue.Queue[str | None] = queue.Queue(CAPACITY)
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()
        self.dropped = 0

    def put(self, line: str) -> None:
        """Have a line written, or count it as dropped; never waits."""
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self.dropped += 1

    def close(self, patience: float) -> None:
        """Write what is queued, for at most `patience` seconds."""
        try:
            self._lines.put(None, timeout=patience)
        except queue.Full:
            return
        self._thread.join(patience)

    def _run(self) -> None:
        while (line := self._lines.get()) is not None:
            dropped, self.dropped = self.dropped, 0
            try:
                self._stream.write(f"{line}\n")
                if dropped:
                    self._stream.write(f'level=warn source=log msg="lines dropped" count={dropped}\n')
                self._stream.flush()
            except (OSError, ValueError):
                continue  # a stream that is gone is no reason to stop probing


class _Outlet(logging.Handler):
    def __init__(self, writer: Writer) -> None:
        super().__init__()
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._writer.put(self.format(record))
        except Exception:  # noqa: BLE001 - a line that cannot be made must not end a session
            self._writer.put(f"level=error source=log msg=unprintable logger={record.name}")


class Logging:
    """Logging as it is set up; `close` writes what is queued and takes it down."""

    def __init__(self, level: str, form: Literal["logfmt", "json"], stream: TextIO) -> None:
        self._writer = Writer(stream)
        self._outlet = _Outlet(self._writer)
        self._outlet.setFormatter(Lines(form))
        self._levels = {name: logging.getLogger(name).level for name in ("", "exporter", *QUIET)}
        for name, floor in {**QUIET, "": logging.WARNING, "exporter": LEVELS[level]}.items():
            logging.getLogger(name).setLevel(floor)
        logging.getLogger().addHandler(self._outlet)
        atexit.register(self.close)

    def close(self, patience: float = 1.0) -> None:
        """Write what is queued, for at most `patience` seconds. A second call does nothing."""
        atexit.unregister(self.close)
        if self._outlet in logging.getLogger().handlers:
            logging.getLogger().removeHandler(self._outlet)
            for name, level in self._levels.items():
                logging.getLogger(name).setLevel(level)
            self._writer.close(patience)


def configure(
    level: Literal["debug", "info", "warn", "error"] = "info",
    form: Literal["logfmt", "json"] = "logfmt",
    stream: TextIO | None = None,
) -> Logging:
    """Set up logging: ours from `level` on, everybody else's from warning on. To `stream`, or stderr."""
    return Logging(level, form, stream or sys.stderr)


def session_line(result: Result) -> dict[str, object]:
    """The keys of a session's line, in the order that is promised; durations in seconds.

    After the promised ones, when there is something to say: `failed_phase`, `http_status`, `impairment`.
    """
    close = result.close
    line: dict[str, object] = {
        "target": result.target,
        "identity": result.identity,
        "run": result.run,
        "probe_depth": result.depth,
        **{probe.value: result.verdicts.get(probe, Verdict.NONE) for probe in Probe},
        "phases": {phase.value: round(seconds, 6) for phase, seconds in result.phases.items()},
        "close_code": close and close.code,
        "close_initiator": close and close.initiator,
        "close_phase": close and close.phase,
        "reason": result.reason,
        "factory_reason": result.factory_reason,
        "distorted": result.distorted,
    }
    extras = {"failed_phase": result.phase, "http_status": result.http_status, "impairment": result.impairment}
    return line | {key: value for key, value in extras.items() if value is not None}


def session(result: Result) -> None:
    """Log one finished session: info if nothing failed, else a warning."""
    wrong = result.failed or result.impairment is not None
    _LOG.log(logging.WARNING if wrong else logging.INFO, "session", extra={"keys": session_line(result)})
