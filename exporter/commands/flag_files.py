"""Opens or reads the files and addresses that flags name: config, ledger, history, web config, reports."""

import argparse
import os
from pathlib import Path

from exporter import arguments, web
from exporter.commands.terminal import UsageError
from exporter.config import Config, HttpClient
from exporter.http_client import read_http_client
from exporter.loading import ConfigLoadError, LoadedConfig, load
from exporter.plan import Shard
from exporter.report import BaselineReport, InvalidReportError, read_document
from exporter.state import LedgerFile
from exporter.web import ListenError, ListenOptions


def load_config(options: argparse.Namespace, shard: Shard | None = None) -> LoadedConfig:
    """The checked config and its plan; raises UsageError with every mistake at once."""
    try:
        return load(Path(options.config_file), shard)
    except ConfigLoadError as error:
        raise UsageError(*error.sentences) from None


def load_again(options: argparse.Namespace, first: Config) -> LoadedConfig:
    """The config as its file is now; raises ConfigLoadError. `first`: the config at the start, whose state is kept."""
    return load(Path(options.config_file), options.shard).keeping_state_of(first, vars(options))


def open_state(options: argparse.Namespace, config: Config) -> LedgerFile:
    """The ledger of this machine: the flag names its file, else the config does."""
    path = options.state_file or config.state_file
    return LedgerFile.open(Path(path)) if path else LedgerFile.in_memory()


def history_path(options: argparse.Namespace, config: Config) -> Path | None:
    """The file of the history; None: none is kept. Raises UsageError if it is the file of the ledger."""
    path = options.history_file or config.history_file
    ledger = options.state_file or config.state_file
    if path and ledger and os.path.realpath(path) == os.path.realpath(ledger):
        raise UsageError(f"--history.file: {path} is the state file: name another for the history")
    return Path(path) if path else None


def listen_options(options: argparse.Namespace) -> ListenOptions:
    """Where and how the HTTP server listens; raises UsageError for wrong flags and for problems of the web config."""
    try:
        listen = web.read_listen_options(
            options.listen or ([] if options.from_systemd else [arguments.DEFAULT_LISTEN_ADDRESS]),
            from_systemd=options.from_systemd,
            config_file=options.web_config,
            external=options.external,
            prefix=options.prefix,
            telemetry=options.telemetry,
            allowed=options.allowed,
        )
    except ListenError as error:
        raise UsageError(*error.sentences) from None
    problems = web.web_config_problems(listen.config_file)
    if problems:
        raise UsageError(*problems)
    return listen


def http_client(options: argparse.Namespace) -> HttpClient | None:
    """The settings of `--http.config.file`, if it is given; raises RemoteError with every mistake in the file."""
    return read_http_client(Path(options.http_config)) if options.http_config else None


def read_baseline(path: str) -> BaselineReport:
    """The report that `--compare` names; raises UsageError if the file holds none."""
    try:
        return read_document(Path(path).read_bytes())
    except OSError as error:
        raise UsageError(f"--compare: {path}: {error.strerror}") from None
    except InvalidReportError as error:
        raise UsageError(f"--compare: {path}: {error}") from None


def write_private(path: Path, text: str, *, flag: str) -> None:
    """Write a file that only its owner may read; raises UsageError. One that is there is replaced."""
    temporary = path.with_name(f".{path.name}.new")
    try:
        temporary.unlink(missing_ok=True)
        temporary.touch(mode=0o600, exist_ok=False)
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise UsageError(f"{flag}: {path}: {error.strerror}") from None


def write(path: Path, text: str, *, mode: str = "w", flag: str = "--report") -> None:
    """Write a file that `flag` names; raises UsageError with the message of the operating system."""
    try:
        with path.open(mode, encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise UsageError(f"{flag}: {path}: {error.strerror}") from None
