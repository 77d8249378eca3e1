"""The file of `--web.config.file` and those it names: as they are now, and the terms they make.

Rule 1: all here is synchronous and for a thread. Rule 2: `FileSnapshot` is a value: two equal ones make the same terms.
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
    """Why nobody can be let in, a sentence for each mistake."""


@dataclass(frozen=True, slots=True)
class FileSnapshot:
    """What stood in the files at one moment: content, or a sentence saying why there is none.

    `files`: of each field that names one.
    """

    whole: bytes | str
    files: tuple[tuple[str, bytes | str], ...] = ()


@dataclass(frozen=True, slots=True)
class ActiveWebConfig:
    """What holds at present. `context`: None for plain HTTP. `warnings`: sentences for the log."""

    config: WebConfig = field(default_factory=WebConfig)
    context: ssl.SSLContext | None = None
    warnings: tuple[str, ...] = ()


class WebConfigFiles:
    """Looks at the files, reading only those that have changed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._watched: dict[Path, WatchedFile] = {}
        self._parsed: tuple[bytes, WebConfig | tuple[Problem, ...]] | None = None

    def look(self) -> FileSnapshot:
        """All files as they are now."""
        whole = self._read(self.path)
        tls = self._tls(self._config(whole)) if isinstance(whole, bytes) else None
        named = _named(tls) if tls is not None else ()
        return FileSnapshot(whole, tuple((name, self._read(path)) for name, path in named))

    def terms(self, look: FileSnapshot) -> ActiveWebConfig | tuple[str, ...]:
        """What a look means, or a sentence for every mistake."""
        if isinstance(look.whole, str):
            return (f"{look.whole}; --web.config.file names it",)
        config = self._config(look.whole)
        if not isinstance(config, WebConfig):
            return tuple(f"{self.path}: {problem}" for problem in config)
        tls = config.tls_server_config
        if tls is None:
            return ActiveWebConfig(config, None, tuple(_warnings(self.path, config)))
        contents = {name: content for name, content in look.files if isinstance(content, bytes)}
        wrong = [Problem(f"tls_server_config.{name}", text) for name, text in look.files if isinstance(text, str)]
        try:
            if not wrong:
                return ActiveWebConfig(config, server_context(tls, contents), tuple(_warnings(self.path, config)))
        except FileError as problem:
            wrong.append(Problem(f"tls_server_config.{problem.field}", problem.sentence))
        except ssl.SSLError:
            wrong.append(Problem("tls_server_config.cipher_suites", "OpenSSL has none of them: remove the list"))
        return tuple(f"{self.path}: {problem}" for problem in wrong)

    def _read(self, path: Path) -> bytes | str:
        try:
            return self._watched.setdefault(path, WatchedFile(path)).read()
        except FileError as problem:
            return problem.sentence

    def _config(self, whole: bytes) -> WebConfig | tuple[Problem, ...]:
        if self._parsed is None or self._parsed[0] != whole:
            self._parsed = whole, _parsed(whole, self.path.parent)
        return self._parsed[1]

    @staticmethod
    def _tls(config: WebConfig | tuple[Problem, ...]) -> TlsServer | None:
        return config.tls_server_config if isinstance(config, WebConfig) else None


def door_problems(path: Path | None) -> tuple[str, ...]:
    """A sentence for everything that is wrong with the files now."""
    if path is None:
        return ()
    files = WebConfigFiles(path)
    found = files.terms(files.look())
    return () if isinstance(found, ActiveWebConfig) else found


def _parsed(whole: bytes, folder: Path) -> WebConfig | tuple[Problem, ...]:
    try:
        config = parse_web(load_yaml(whole))
    except YamlError as problem:
        return (Problem("", str(problem)),)
    return config.resolved(folder) if isinstance(config, WebConfig) else config


def _named(tls: TlsServer) -> Iterator[tuple[str, Path]]:
    for name in FILES:
        path = getattr(tls, name)
        if path is not None:
            yield name, Path(path)


def _warnings(path: Path, config: WebConfig) -> Iterator[str]:
    """What works and should not be so."""
    tls = config.tls_server_config
    if tls is not None:
        sentence = file_mode_problem(tls.key_file or path)
        if sentence is not None:
            yield f"tls_server_config.{'key_file' if tls.key_file else 'key'}: {sentence}"
    if tls is not None and tls.min_version in OUTDATED_TLS_VERSIONS:
        yield f"tls_server_config.min_version: {tls.min_version} permits what has been broken (RFC 8996): use TLS12"
    if config.http_server_config.http2:
        yield "http_server_config.http2: has no effect, HTTP/1.1 is spoken here"
