"""Reads the file of `--web.config.file` and the files that it names, and makes a config of them.

Rule 1: everything here is synchronous, for a thread. Rule 2: equal `FileSnapshot`s make equal configs.
"""

import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from exporter.config import Problem, TlsServer, WebConfig, YamlError, load_yaml, parse_web
from exporter.files import FileError, WatchedFile, file_mode_problem
from exporter.web.listen import ListenError
from exporter.web.secure.tls import OUTDATED_TLS_VERSIONS, server_context

FILES: Final = ("cert_file", "key_file", "client_ca_file")


class WebConfigError(ListenError):
    """The web config is broken; a sentence for each mistake."""


@dataclass(frozen=True, slots=True)
class FileSnapshot:
    """The files at one moment, each as its content or as a sentence that says why it cannot be read.

    `config_file`: the file of `--web.config.file`. `files`: by the name of the field, those that it names.
    """

    config_file: bytes | str
    files: tuple[tuple[str, bytes | str], ...] = ()


@dataclass(frozen=True, slots=True)
class ActiveWebConfig:
    """A config in force. `context`: None for plain HTTP. `warnings`: sentences for the log."""

    config: WebConfig = field(default_factory=WebConfig)
    context: ssl.SSLContext | None = None
    warnings: tuple[str, ...] = ()


class WebConfigFiles:
    """Reads the files, but only those that have changed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._watched: dict[Path, WatchedFile] = {}
        self._parsed: tuple[bytes, WebConfig | tuple[Problem, ...]] | None = None

    def read(self) -> FileSnapshot:
        """All files as they are now."""
        content = self._read(self.path)
        tls = self._tls(self._config(content)) if isinstance(content, bytes) else None
        named = _named_files(tls) if tls is not None else ()
        return FileSnapshot(content, tuple((name, self._read(path)) for name, path in named))

    def parse(self, snapshot: FileSnapshot) -> ActiveWebConfig | tuple[str, ...]:
        """The config of these files, or a sentence for every mistake."""
        if isinstance(snapshot.config_file, str):
            return (f"{snapshot.config_file}; --web.config.file names it",)
        config = self._config(snapshot.config_file)
        if not isinstance(config, WebConfig):
            return tuple(f"{self.path}: {problem}" for problem in config)
        tls = config.tls_server_config
        if tls is None:
            return ActiveWebConfig(config, None, tuple(_warnings(self.path, config)))
        contents = {name: content for name, content in snapshot.files if isinstance(content, bytes)}
        problems = [
            Problem(f"tls_server_config.{name}", text) for name, text in snapshot.files if isinstance(text, str)
        ]
        try:
            if not problems:
                return ActiveWebConfig(config, server_context(tls, contents), tuple(_warnings(self.path, config)))
        except FileError as error:
            problems.append(Problem(f"tls_server_config.{error.field}", error.sentence))
        except ssl.SSLError:
            problems.append(Problem("tls_server_config.cipher_suites", "OpenSSL has none of them: remove the list"))
        return tuple(f"{self.path}: {problem}" for problem in problems)

    def _read(self, path: Path) -> bytes | str:
        try:
            return self._watched.setdefault(path, WatchedFile(path)).read()
        except FileError as problem:
            return problem.sentence

    def _config(self, content: bytes) -> WebConfig | tuple[Problem, ...]:
        if self._parsed is None or self._parsed[0] != content:
            self._parsed = content, _parse_config(content, self.path.parent)
        return self._parsed[1]

    @staticmethod
    def _tls(config: WebConfig | tuple[Problem, ...]) -> TlsServer | None:
        return config.tls_server_config if isinstance(config, WebConfig) else None


def web_config_problems(path: Path | None) -> tuple[str, ...]:
    """A sentence for every mistake of the files as they are now."""
    if path is None:
        return ()
    files = WebConfigFiles(path)
    config = files.parse(files.read())
    return () if isinstance(config, ActiveWebConfig) else config


def _parse_config(content: bytes, folder: Path) -> WebConfig | tuple[Problem, ...]:
    try:
        config = parse_web(load_yaml(content))
    except YamlError as problem:
        return (Problem("", str(problem)),)
    return config.resolved(folder) if isinstance(config, WebConfig) else config


def _named_files(tls: TlsServer) -> Iterator[tuple[str, Path]]:
    for name in FILES:
        path = getattr(tls, name)
        if path is not None:
            yield name, Path(path)


def _warnings(path: Path, config: WebConfig) -> Iterator[str]:
    """Settings that work and should be changed all the same."""
    tls = config.tls_server_config
    if tls is not None:
        sentence = file_mode_problem(tls.key_file or path)
        if sentence is not None:
            yield f"tls_server_config.{'key_file' if tls.key_file else 'key'}: {sentence}"
    if tls is not None and tls.min_version in OUTDATED_TLS_VERSIONS:
        yield f"tls_server_config.min_version: {tls.min_version} permits what has been broken (RFC 8996): use TLS12"
    if config.http_server_config.http2:
        yield "http_server_config.http2: has no effect, HTTP/1.1 is spoken here"
