"""Lines on stderr, logfmt or JSON; and what must never stand in one.

Rule 1: any package logs by the standard library: `logging.getLogger(__name__).info("words", extra={"keys": {…}})`.
Rule 2: a line is one line: control characters are escaped, whoever wrote them.
Rule 3: nothing secret is given to a logger; `redacted` is the second line of defence, and sees every line whole.
Rule 4: the event loop never waits for stderr: lines go through a bounded queue to a thread, which takes them in
batches; what does not fit is counted and dropped.
Rule 5: the line of a session is the one that comes all the time: it is of words of ours, and goes to the writer without
a record of `logging`.

Order: `time level source msg`, then the keys of the caller. A value that is not there is `-` in logfmt and null in
JSON; a mapping is flattened in logfmt (`phases` → `phase_reply=0.051`) and an object in JSON.
"""

import atexit
import json
import logging
import re
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from enum import Enum
from functools import lru_cache
from math import isfinite
from typing import Any, Final, Literal, TextIO

from exporter.report.redaction import public_path
from exporter.result import FactoryReason, Impairment, Initiator, Phase, Probe, Reason, Result, TlsVerify, Verdict

LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}
LEVEL_NAMES: Final = {logging.DEBUG: "debug", logging.INFO: "info", logging.WARNING: "warn"}

LIBRARY_LEVELS: Final = {
    "websockets": logging.WARNING,
    "aiohttp": logging.WARNING,
    "aiohttp.server": logging.CRITICAL,
    "asyncio": logging.WARNING,
    "apscheduler": logging.ERROR,
}
"""Lowest levels of foreign loggers, whatever the level: at debug `websockets` prints the Authorization header and every
frame in clear; `aiohttp.server` writes a traceback for whatever a port scanner sends, and `web` logs our own faults;
`apscheduler` warns of what we count ourselves."""

MAX_QUEUED_LINES: Final = 10_000
BATCH_SECONDS: Final = 0.05
"""Seconds that lines gather before the next batch: waking the writer for each costs more than the line itself, most of
it by the two threads' taking Python's lock from each other."""

UNUSED_RECORD_FIELDS: Final = ("_srcfile", "logThreads", "logProcesses", "logMultiprocessing")
"""Switches of `logging` for what a record tells of its caller, and no line of ours holds (Python, "Logging HOWTO",
section Optimization)."""

MAX_VALUE_CHARACTERS: Final = 16_384
FIRST_KEYS: Final = ("time", "level", "source", "msg")
NEEDS_QUOTES: Final = re.compile(r'[ ="]')
LITERALS: Final = {None: "-", True: "true", False: "false"}
UNQUOTED_TYPES: Final = frozenset(
    {int, float, FactoryReason, Impairment, Initiator, Phase, Probe, Reason, TlsVerify, Verdict}
)
"""Types whose values are written as they are: figures and closed words hold nothing that could end a value."""
PROBES: Final = tuple(Probe)

SECRETS: Final = re.compile(
    r"(?P<name>token(?:_prefix|_suffix)?|secret|password|authorization|api[_-]?key)(?P<mid>\\?[\"']?\s*[=:]\s*\\?[\"']?)"
    r"(?:(?:bearer|basic)\s+)?[^\s&\"'\\,;#]{3,}"
    r"|(?<!target=)(?:bearer|basic)(?:\s|%20|\+)+[\w.~+/=-]{6,}"  # RFC 6750 section 2.1, RFC 7617
    # a token as a subprotocol; no setting of `auth.jwt`
    r"|\bjwt\.(?!(?:key_file|key_env|token_file|algorithm|lifetime|claims|headers)(?![a-z0-9_=-]))[a-z0-9_=-]{6,}"
    # RFC 7519, or the head of one: base64 of `{"`, the same in base64 again, and a header with white space
    r"|(?-i:eyJ|ZXlK|(?<![A-Za-z0-9_-])(?:eyA|ewo))[a-z0-9_-]{6,}(?:\.[a-z0-9_-]*)*",
    re.IGNORECASE,
)
SECRET_SIGNS: Final = (
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
SECRET_PLACEHOLDER: Final = "<secret>"  # noqa: S105 - shown instead of one
URL: Final = re.compile(
    r"\b(?P<scheme>(?:wss?|https?)://)(?:[^\s/?#\"'\\<>@]*@)?(?P<host>[^\s/?#\"'\\<>@]*)(?P<path>/[^\s?#\"'\\<>]*)?",
    re.IGNORECASE,
)
"""What may stand in front of a query: user and password, and a path with a key in it."""

_logger: Final = logging.getLogger(__name__)


def redacted(line: str) -> str:
    """The line without what looks like a token, a password or an Authorization value."""
    lower = line.lower()
    line = SECRETS.sub(_hidden, line) if any(sign in lower for sign in SECRET_SIGNS) else line
    return URL.sub(_public, line) if "://" in line else line


def _hidden(found: re.Match[str]) -> str:
    return f"{found['name']}{found['mid']}{SECRET_PLACEHOLDER}" if found["name"] else SECRET_PLACEHOLDER


def _public(found: re.Match[str]) -> str:
    return f"{found['scheme']}{found['host']}{public_path(found['path'] or '')}"


def printable(line: str) -> str:
    """The line with everything escaped that moves a terminal, breaks a line, turns text around or is no character."""
    if line.isprintable():
        return line
    return "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in line)


class LineFormatter(logging.Formatter):
    """A record as one line, logfmt or JSON."""

    def __init__(self, form: Literal["logfmt", "json"]) -> None:
        super().__init__()
        self._render: Callable[[dict[str, Any]], str] = _json if form == "json" else _logfmt

    def format(self, record: logging.LogRecord) -> str:
        """The line: rendered, redacted, and free of control characters."""
        keys = getattr(record, "keys", None)
        event = {_key(str(key)): value for key, value in keys.items()} if keys else {}
        if record.exc_info:
            event["exception"] = redacted(self.formatException(record.exc_info))[-MAX_VALUE_CHARACTERS:]
        return self.line(record.created, record.levelno, record.name, record.getMessage(), event)

    def line(self, at: float, level: int, logger: str, msg: str, event: dict[str, Any]) -> str:
        """The line of an event whose keys can stand in one; `at`: unix seconds."""
        whole = int(at)
        head = {
            "time": f"{_second(whole)}.{int(at * 1000) - whole * 1000:03d}Z",
            "level": LEVEL_NAMES.get(level, "error" if level > logging.WARNING else "debug"),
            "source": logger.removeprefix("exporter."),
            "msg": msg[:MAX_VALUE_CHARACTERS],
        }
        return printable(redacted(self._render(head | event)))


@lru_cache(maxsize=2)
def _second(moment: int) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%dT%H:%M:%S}"


@lru_cache(maxsize=1024)
def _key(name: str) -> str:
    """The key as it can stand in a line: breaking none, hiding none of ours."""
    safe = re.sub(r"[\s=\"\x00-\x1f]", "_", name)
    return f"{safe}_" if safe in FIRST_KEYS else safe


def _json(event: dict[str, Any]) -> str:
    return json.dumps({key: _plain(value) for key, value in event.items()})


def _plain(value: Any) -> Any:
    """The value as JSON knows it; what JSON does not know, as text."""
    if isinstance(value, str):
        return value.value if isinstance(value, Enum) else value[:MAX_VALUE_CHARACTERS]
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, float):
        return value if isfinite(value) else str(value)
    if isinstance(value, dict):
        return {_key(str(key)): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return str(value)[:MAX_VALUE_CHARACTERS]


def _logfmt(event: dict[str, Any]) -> str:
    flat: dict[str, Any] = {}
    for key, value in event.items():
        _put(flat, key, value)
    return " ".join([f"{key}={value}" for key, value in flat.items()])


def _put(flat: dict[str, Any], key: str, value: Any) -> None:
    """Put a value into a flat line: a dash if there is none; of a mapping, each by a key of its own."""
    if type(value) in UNQUOTED_TYPES:
        flat[key] = value
    elif isinstance(value, str):
        flat[key] = _quoted(value)
    elif value is None or isinstance(value, bool):
        flat[key] = LITERALS[value]
    elif isinstance(value, dict):
        group = key.removesuffix("s")
        for inner, held in value.items():
            _put(flat, _key(f"{group}_{inner}"), held)
    elif isinstance(value, list | tuple):
        flat[key] = _quoted(",".join([str(_plain(inner)) for inner in value]))
    else:
        flat[key] = _quoted(str(value))


def _quoted(text: str) -> str:
    """A value of logfmt: between quotes if it holds what could end it."""
    text = text[:MAX_VALUE_CHARACTERS]
    if text.isalnum():
        return text
    if not NEEDS_QUOTES.search(text):
        return text.replace("\n", "\\n")
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


class LineWriter:
    """A thread that writes lines to a stream, from a bounded queue; `close` it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lines: deque[str] = deque()
        self._some, self._closing = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()
        self.dropped = 0

    def put(self, line: str) -> None:
        """Have a line written, or count it as dropped; never waits."""
        if len(self._lines) >= MAX_QUEUED_LINES:
            self.dropped += 1
            return
        self._lines.append(line)
        if not self._some.is_set():
            self._some.set()

    def close(self, patience: float) -> None:
        """Write what is queued, for at most `patience` seconds."""
        self._closing.set()
        self._some.set()
        self._thread.join(patience)

    def _run(self) -> None:
        while not self._closing.is_set() or self._lines:
            self._some.wait()
            self._some.clear()
            self._write([self._lines.popleft() for _ in range(len(self._lines))])
            self._closing.wait(BATCH_SECONDS)

    def _write(self, lines: list[str]) -> None:
        dropped, self.dropped = self.dropped, 0
        if dropped:
            lines.append(f'level=warn source=log msg="lines dropped" count={dropped}')
        try:
            self._stream.write("".join([f"{line}\n" for line in lines]))
            self._stream.flush()
        except (OSError, ValueError):
            return  # a stream that is gone is no reason to stop probing


class _QueueingHandler(logging.Handler):
    def __init__(self, writer: LineWriter, lines: LineFormatter) -> None:
        super().__init__()
        self._writer = writer
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._writer.put(self._lines.format(record))
        except Exception:  # noqa: BLE001 - a line that cannot be made must not end a session
            self._writer.put(f"level=error source=log msg=unprintable logger={record.name}")

    def session(self, level: int, event: dict[str, Any]) -> None:
        self._writer.put(self._lines.line(time.time(), level, _logger.name, "session", event))


class LogSetup:
    """Logging as it is set up; `close` writes what is queued and takes it down."""

    def __init__(self, level: str, form: Literal["logfmt", "json"], stream: TextIO) -> None:
        self._writer = LineWriter(stream)
        self._outlet = _QueueingHandler(self._writer, LineFormatter(form))
        self._switches = {name: getattr(logging, name) for name in UNUSED_RECORD_FIELDS}
        for name in UNUSED_RECORD_FIELDS:
            setattr(logging, name, None)
        self._levels = {name: logging.getLogger(name).level for name in ("", "exporter", *LIBRARY_LEVELS)}
        for name, lowest in {**LIBRARY_LEVELS, "": logging.WARNING, "exporter": LEVELS[level]}.items():
            logging.getLogger(name).setLevel(lowest)
        logging.getLogger().addHandler(self._outlet)
        atexit.register(self.close)

    def close(self, patience: float = 1.0) -> None:
        """Write what is queued, for at most `patience` seconds. A second call does nothing."""
        atexit.unregister(self.close)
        if self._outlet in logging.getLogger().handlers:
            logging.getLogger().removeHandler(self._outlet)
            for name, switch in self._switches.items():
                setattr(logging, name, switch)
            for name, level in self._levels.items():
                logging.getLogger(name).setLevel(level)
            self._writer.close(patience)


def configure(
    level: Literal["debug", "info", "warn", "error"] = "info",
    form: Literal["logfmt", "json"] = "logfmt",
    stream: TextIO | None = None,
) -> LogSetup:
    """Set up logging: ours from `level` on, everybody else's from warning on. To `stream`, or stderr."""
    return LogSetup(level, form, stream or sys.stderr)


def session_line(result: Result) -> dict[str, object]:
    """The keys of a session's line, in the order that is promised; durations in seconds.

    After the promised ones, when there is something to say: `failed_phase`, `http_status`, `tls_verify`, `impairment`,
    `void`, and for a name with several addresses the `address` that was tried.
    """
    close = result.close
    line: dict[str, object] = {
        "target": result.target,
        "identity": result.identity,
        "run": result.run,
        "probe_depth": result.depth,
        **{probe: result.verdicts.get(probe, Verdict.NONE) for probe in PROBES},
        "phases": {phase: round(seconds, 6) for phase, seconds in result.phases.items()},
        "close_code": close and close.code,
        "close_initiator": close and close.initiator,
        "close_phase": close and close.phase,
        "reason": result.reason,
        "factory_reason": result.factory_reason,
        "distorted": result.distorted,
    }
    extras = {
        "failed_phase": result.phase,
        "http_status": result.http_status,
        "tls_verify": result.tls_verify,
        "impairment": result.impairment,
        "void": result.void or None,
        "address": result.evidence.address if (result.evidence.addresses or 1) > 1 else None,
    }
    return line | {key: value for key, value in extras.items() if value is not None}


def session(result: Result) -> None:
    """Log one finished session: info if nothing failed, else a warning."""
    wrong = result.failed or result.void or result.impairment is not None
    level = logging.WARNING if wrong else logging.INFO
    if not _logger.isEnabledFor(level):
        return
    for outlet in logging.getLogger().handlers:
        if isinstance(outlet, _QueueingHandler):
            outlet.session(level, session_line(result))
