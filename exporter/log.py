"""Lines on stderr, in logfmt or JSON, without secrets.

Rule 1: any package logs by the standard library: `logging.getLogger(__name__).info("words", extra={"keys": {…}})`.
Rule 2: an event is one line: control characters are escaped, wherever they come from.
Rule 3: callers pass no secret to a logger; `redact` is the second line of defence, and sees every whole line.
Rule 4: the event loop never waits for stderr: lines go through a bounded queue to a thread, which writes them in
batches; lines that do not fit are dropped and counted.
Rule 5: the line of a session is by far the most frequent, and made of our own words: it goes to the writer without a
record of `logging`.

Order: `time level source msg`, `origin` if the exporter has one, then the keys of the caller. A missing value is `-` in
logfmt and null in JSON; a mapping is flattened in logfmt (`phases` → `phase_reply=0.051`) and an object in JSON.
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
"""Lowest levels of foreign loggers, whatever level is set: at debug `websockets` prints the Authorization header and
every frame in clear; `aiohttp.server` writes a traceback for whatever a port scanner sends, and `web` logs our own
errors; `apscheduler` warns of missed runs, which we count."""

MAX_QUEUED_LINES: Final = 10_000
BATCH_SECONDS: Final = 0.05
"""Seconds between two batches: waking the writer for each line costs more than the line itself, because the two threads
then contend for Python's lock."""

UNUSED_RECORD_FIELDS: Final = ("_srcfile", "logThreads", "logProcesses", "logMultiprocessing")
"""Switches of `logging` for fields of a record that no line holds (Python, "Logging HOWTO", section Optimization)."""

MAX_VALUE_CHARACTERS: Final = 16_384
FIRST_KEYS: Final = ("time", "level", "source", "msg", "origin")
NEEDS_QUOTES: Final = re.compile(r'[ ="]')
LITERALS: Final = {None: "-", True: "true", False: "false"}
UNQUOTED_TYPES: Final = frozenset(
    {int, float, FactoryReason, Impairment, Initiator, Phase, Probe, Reason, TlsVerify, Verdict}
)
"""Types whose values need no quotes: numbers, and words of closed lists."""
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
"""Every match of `SECRETS` contains one of these; most lines contain none, which a microsecond shows."""
SECRET_PLACEHOLDER: Final = "<secret>"  # noqa: S105 - shown instead of one
URL: Final = re.compile(
    r"\b(?P<scheme>(?:wss?|https?)://)(?:[^\s/?#\"'\\<>@]*@)?(?P<host>[^\s/?#\"'\\<>@]*)(?P<path>/[^\s?#\"'\\<>]*)?",
    re.IGNORECASE,
)
"""The part of a URL before the query: it may hold a user, a password, and a key in the path."""

_logger: Final = logging.getLogger(__name__)


def redact(line: str) -> str:
    """Return the line without anything that looks like a token, a password or an Authorization value."""
    lower = line.lower()
    line = SECRETS.sub(_hide, line) if any(sign in lower for sign in SECRET_SIGNS) else line
    return URL.sub(_without_credentials, line) if "://" in line else line


def _hide(match: re.Match[str]) -> str:
    return f"{match['name']}{match['mid']}{SECRET_PLACEHOLDER}" if match["name"] else SECRET_PLACEHOLDER


def _without_credentials(match: re.Match[str]) -> str:
    return f"{match['scheme']}{match['host']}{public_path(match['path'] or '')}"


def escape_unprintable(line: str) -> str:
    """Return the line with control characters, line breaks, bidirectional marks and lone surrogates escaped."""
    if line.isprintable():
        return line
    return "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in line)


class LineFormatter(logging.Formatter):
    """Renders a record as one line of logfmt or JSON."""

    def __init__(self, form: Literal["logfmt", "json"], origin: str | None = None) -> None:
        super().__init__()
        self._constants = {} if origin is None else {"origin": origin}
        self._render: Callable[[dict[str, Any]], str] = _json if form == "json" else _logfmt

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, redacted and free of control characters."""
        keys = getattr(record, "keys", None)
        event = {_safe_key(str(key)): value for key, value in keys.items()} if keys else {}
        if record.exc_info:
            event["exception"] = redact(self.formatException(record.exc_info))[-MAX_VALUE_CHARACTERS:]
        return self.render(record.created, record.levelno, record.name, record.getMessage(), event)

    def render(self, at: float, level: int, logger: str, msg: str, event: dict[str, Any]) -> str:
        """Return the line of an event whose keys are safe; `at`: unix seconds."""
        second = int(at)
        head = {
            "time": f"{_format_second(second)}.{int(at * 1000) - second * 1000:03d}Z",
            "level": LEVEL_NAMES.get(level, "error" if level > logging.WARNING else "debug"),
            "source": logger.removeprefix("exporter."),
            "msg": msg[:MAX_VALUE_CHARACTERS],
            **self._constants,
        }
        return escape_unprintable(redact(self._render(head | event)))


@lru_cache(maxsize=2)
def _format_second(moment: int) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%dT%H:%M:%S}"


@lru_cache(maxsize=1024)
def _safe_key(name: str) -> str:
    """Return a key that neither breaks a line nor hides one of `FIRST_KEYS`."""
    safe = re.sub(r"[\s=\"\x00-\x1f]", "_", name)
    return f"{safe}_" if safe in FIRST_KEYS else safe


def _json(event: dict[str, Any]) -> str:
    return json.dumps({key: _json_value(value) for key, value in event.items()})


def _json_value(value: Any) -> Any:
    """Return the value as JSON can hold it, else as text."""
    if isinstance(value, str):
        return value.value if isinstance(value, Enum) else value[:MAX_VALUE_CHARACTERS]
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, float):
        return value if isfinite(value) else str(value)
    if isinstance(value, dict):
        return {_safe_key(str(key)): _json_value(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_json_value(inner) for inner in value]
    return str(value)[:MAX_VALUE_CHARACTERS]


def _logfmt(event: dict[str, Any]) -> str:
    flat: dict[str, Any] = {}
    for key, value in event.items():
        _flatten(flat, key, value)
    return " ".join([f"{key}={value}" for key, value in flat.items()])


def _flatten(flat: dict[str, Any], key: str, value: Any) -> None:
    """Add a value to a flat line: a dash for None, and one key for each value of a mapping."""
    if type(value) in UNQUOTED_TYPES:
        flat[key] = value
    elif isinstance(value, str):
        flat[key] = _quote(value)
    elif value is None or isinstance(value, bool):
        flat[key] = LITERALS[value]
    elif isinstance(value, dict):
        group = key.removesuffix("s")
        for inner_key, inner in value.items():
            _flatten(flat, _safe_key(f"{group}_{inner_key}"), inner)
    elif isinstance(value, list | tuple):
        flat[key] = _quote(",".join([str(_json_value(inner)) for inner in value]))
    else:
        flat[key] = _quote(str(value))


def _quote(text: str) -> str:
    """Return a value of logfmt, in quotes if it holds a character that could end it."""
    text = text[:MAX_VALUE_CHARACTERS]
    if text.isalnum():
        return text
    if not NEEDS_QUOTES.search(text):
        return text.replace("\n", "\\n")
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


class LineWriter:
    """A thread that writes lines from a bounded queue to a stream, until `close`."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lines: deque[str] = deque()
        self._lines_ready, self._closing = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()
        self.dropped = 0

    def put(self, line: str) -> None:
        """Queue a line, or count it as dropped; never waits."""
        if len(self._lines) >= MAX_QUEUED_LINES:
            self.dropped += 1
            return
        self._lines.append(line)
        if not self._lines_ready.is_set():
            self._lines_ready.set()

    def close(self, timeout_seconds: float) -> None:
        """Write the queued lines, within `timeout_seconds`."""
        self._closing.set()
        self._lines_ready.set()
        self._thread.join(timeout_seconds)

    def _run(self) -> None:
        while not self._closing.is_set() or self._lines:
            self._lines_ready.wait()
            self._lines_ready.clear()
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
            return  # a closed stream is no reason to stop probing


class _QueueingHandler(logging.Handler):
    def __init__(self, writer: LineWriter, formatter: LineFormatter) -> None:
        super().__init__()
        self._writer = writer
        self._formatter = formatter

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._writer.put(self._formatter.format(record))
        except Exception:  # noqa: BLE001 - a line that cannot be made must not end a session
            self._writer.put(f"level=error source=log msg=unprintable logger={record.name}")

    def log_session(self, level: int, event: dict[str, Any]) -> None:
        self._writer.put(self._formatter.render(time.time(), level, _logger.name, "session", event))


class LogSetup:
    """The installed logging; `close` restores what was before."""

    def __init__(self, level: str, form: Literal["logfmt", "json"], stream: TextIO, origin: str | None) -> None:
        self._writer = LineWriter(stream)
        self._handler = _QueueingHandler(self._writer, LineFormatter(form, origin))
        self._switches = {name: getattr(logging, name) for name in UNUSED_RECORD_FIELDS}
        for name in UNUSED_RECORD_FIELDS:
            setattr(logging, name, None)
        self._levels = {name: logging.getLogger(name).level for name in ("", "exporter", *LIBRARY_LEVELS)}
        for name, lowest in {**LIBRARY_LEVELS, "": logging.WARNING, "exporter": LEVELS[level]}.items():
            logging.getLogger(name).setLevel(lowest)
        logging.getLogger().addHandler(self._handler)
        atexit.register(self.close)

    def close(self, timeout_seconds: float = 1.0) -> None:
        """Write the queued lines, within `timeout_seconds`. A second call does nothing."""
        atexit.unregister(self.close)
        if self._handler in logging.getLogger().handlers:
            logging.getLogger().removeHandler(self._handler)
            for name, switch in self._switches.items():
                setattr(logging, name, switch)
            for name, level in self._levels.items():
                logging.getLogger(name).setLevel(level)
            self._writer.close(timeout_seconds)


def configure(
    level: Literal["debug", "info", "warn", "error"] = "info",
    form: Literal["logfmt", "json"] = "logfmt",
    stream: TextIO | None = None,
    *,
    origin: str | None = None,
) -> LogSetup:
    """Install logging to `stream`, or stderr: our lines from `level` on, those of libraries from warning on.

    `origin`: the name of the place that is probed from, in every line; None: in none.
    """
    return LogSetup(level, form, stream or sys.stderr, origin)


def session_fields(result: Result) -> dict[str, object]:
    """Return the keys of a session's line, in a fixed order; durations are in seconds.

    Keys that are present only with a value: `failed_phase`, `http_status`, `tls_verify`, `impairment`,
    `void`; of a failed session `answered_by`, `via`, `ending`; for a name with several addresses the `address` that was
    tried.
    """
    close = result.close
    fields: dict[str, object] = {
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
        "answered_by": result.answered_by if result.failed else None,
        "via": ",".join(result.via) or None if result.failed else None,
        "ending": result.ending,
        "address": result.evidence.address if (result.evidence.addresses or 1) > 1 else None,
    }
    return fields | {key: value for key, value in extras.items() if value is not None}


def log_session(result: Result) -> None:
    """Log a finished session: at info if nothing failed, else as a warning."""
    is_noteworthy = result.failed or result.void or result.impairment is not None
    level = logging.WARNING if is_noteworthy else logging.INFO
    if not _logger.isEnabledFor(level):
        return
    for handler in logging.getLogger().handlers:
        if isinstance(handler, _QueueingHandler):
            handler.log_session(level, session_fields(result))
