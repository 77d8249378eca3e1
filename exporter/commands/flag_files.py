"""The files and addresses that flags name, opened or read: config, ledger, history, web config, reports."""

import argparse
import os
from pathlib import Path

from exporter import arguments, web
from exporter.commands.terminal import UsageError
from exporter.config import Config, HttpClient
from exporter.loading import ConfigLoadError, LoadedConfig, load
from exporter.oncall import read_http_client
from exporter.plan import Shard
from exporter.report import BaselineReport, InvalidReportError, read_document
from exporter.state import LedgerFile
from exporter.web import ListenError, ListenOptions


def load_config(options: argparse.Namespace, shard: Shard | None = None) -> LoadedConfig:
    """The checked config and its plan; raises UsageError with every mistake at once."""
    try:
        return load(Path(options.config_file), shard)
    except ConfigLoadError as problem:
        raise UsageError(*problem.sentences) from None


def load_again(options: argparse.Namespace, first: Config) -> LoadedConfig:
    """As its file says now; raises Unloadable. `first`: what we started with."""
    return load(Path(options.config_file), options.shard).keeping_state_of(first, vars(options))


def open_state(options: argparse.Namespace, config: Config) -> LedgerFile:
    """The ledger of this machine: the flag names its file, else the config does."""
    path = options.state_file or config.state_file
    return LedgerFile.open(Path(path)) if path else LedgerFile.in_memory()


def history_path(options: argparse.Namespace, config: Config) -> Path | None:
    """Where the history is kept, if it is; raises UsageError if that is the ledger's file."""
    path = options.history_file or config.history_file
    ledger = options.state_file or config.state_file
    if path and ledger and os.path.realpath(path) == os.path.realpath(ledger):
        raise UsageError(f"--history.file: {path} is the state file: name another for the history")
    return Path(path) if path else None


def listen_options(options: argparse.Namespace) -> ListenOptions:
    """Where the HTTP side is reached; raises UsageError for wrong flags, and for what is wrong with the web config."""
    try:
        doorway = web.read_listen_options(
            options.listen or ([] if options.from_systemd else [arguments.DEFAULT_LISTEN_ADDRESS]),
            from_systemd=options.from_systemd,
            config_file=options.web_config,
            external=options.external,
            prefix=options.prefix,
            telemetry=options.telemetry,
            allowed=options.allowed,
        )
    except ListenError as problem:
        raise UsageError(*problem.sentences) from None
    problems = web.web_config_problems(doorway.config_file)
    if problems:
        raise UsageError(*problems)
    return doorway


def http_client(options: argparse.Namespace) -> HttpClient | None:
    """How another exporter is asked, if a flag says so; raises RemoteError with every mistake in its file."""
    return read_http_client(Path(options.http_config)) if options.http_config else None


def read_baseline(path: str) -> BaselineReport:
    """The report that `--compare` names; raises UsageError if it is none."""
    try:
        return read_document(Path(path).read_bytes())
    except OSError as error:
        raise UsageError(f"--compare: {path}: {error.strerror}") from None
    except InvalidReportError as problem:
        raise UsageError(f"--compare: {path}: {problem}") from None


def write(path: Path, text: str, *, mode: str = "w", flag: str = "--report") -> None:
    """Write a file that `flag` names; raises UsageError with the system's words."""
    try:
        with path.open(mode, encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise UsageError(f"{flag}: {path}: {error.strerror}") from None
