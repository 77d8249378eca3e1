"""Keys, tokens and certificates, read again when they change; TLS contexts that targets share.

Rule 1: an error names the path or the variable, and never quotes the content.
Rule 2: all functions are synchronous, for small files of a local disk. `TlsContexts.context` takes 25 ms to build one:
callers run it off the event loop. All of it is thread-safe.
"""

import errno
import io
import os
import re
import ssl
import stat
import threading
import time
from collections import ChainMap
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from exporter.config import Config, Jwt, Problem, Profile, Secret, Target, Tls, carrier_of
from exporter.profiles import BUILT_IN
from exporter.tokens import KeyMaterial, SigningKeyError, carrier_problem, expiry_problem, load_key

MAX_FILE_BYTES: Final = 1_048_576
SETTLED_SECONDS: Final = 2.0
"""Age in seconds from which a file's modification time identifies its content; a younger file is read each time (some
file systems have stamps of 2 s, and git calls such an entry "racily clean")."""

MAX_UNCHECKED_SECONDS: Final = 1.0
"""Seconds for which a daemon uses a key or certificate without a check of its file: a check costs as much as a
signature, and a thousand targets share a few files."""

NOT_A_FILE: Final = "is not a file: correct the path"
READ_ERROR_TEXTS: Final = {
    errno.ENOENT: "does not exist: create it, or correct the path",
    errno.ENOTDIR: "does not exist: a part of its path is no folder",
    errno.EISDIR: NOT_A_FILE,
    errno.ENXIO: NOT_A_FILE,
    errno.EACCES: "cannot be read by this user: correct its owner or mode",
    errno.EPERM: "cannot be read by this user: correct its owner or mode",
    errno.ELOOP: "is a link to itself: correct the path",
    errno.ENAMETOOLONG: "has a name that is too long: correct the path",
}

PEM_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)

K = TypeVar("K")
Stamp = tuple[int, int, int]
"""Modification time in ns, size in bytes, inode."""


class FileError(Exception):
    """A file or variable that cannot be used.

    `sentence`: names it and says what to do.
    `field`: the setting that names it (`ca_file`, `cert_file`, `key_file`), where there are several.
    """

    def __init__(self, sentence: str, field: str = "") -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.field = field


class WatchedFile:
    """A file of at most `max_bytes`, read again only when its modification time, size or inode has changed."""

    def __init__(self, path: str | Path, max_bytes: int = MAX_FILE_BYTES) -> None:
        self.path = Path(path)
        self._max_bytes = max_bytes
        self._stamp: Stamp | None = None
        self._content = b""
        self._settled = False

    def read(self) -> bytes:
        """Return the current content; raises FileError. A file replaced during the read is read again next time."""
        try:
            if not self._settled or _stamp(self.path.stat()) != self._stamp:
                self._load()
        except OSError as error:
            self._settled = False
            raise FileError(f"{self.path} {_read_error_text(error)}") from None
        return self._content

    def _load(self) -> None:
        with io.FileIO(self.path, "rb", opener=_open_nonblocking) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise FileError(f"{self.path} {NOT_A_FILE}")
            content = file.read(self._max_bytes + 1)
        if len(content) > self._max_bytes:
            raise FileError(f"{self.path} is larger than {self._max_bytes} bytes: is it the right file?")
        self._content, self._stamp = content, _stamp(status)
        self._settled = time.time() - status.st_mtime > SETTLED_SECONDS


def _open_nonblocking(path: str, flags: int) -> int:
    """Open a file; a pipe opens at once, where a plain `open` waits for its writer."""
    return os.open(path, flags | os.O_NONBLOCK)


def _stamp(status: os.stat_result) -> Stamp:
    return status.st_mtime_ns, status.st_size, status.st_ino


def _read_error_text(error: OSError) -> str:
    name = errno.errorcode.get(error.errno or 0, "an unknown error")
    return READ_ERROR_TEXTS.get(error.errno or 0, f"cannot be read: {name}")


def file_mode_problem(path: str | Path) -> str | None:
    """Return a sentence if every user of this machine may read the file; None if not, or if it does not exist."""
    try:
        mode = stat.S_IMODE(Path(path).stat().st_mode)
    except OSError:
        return None
    return f"{path} can be read by everybody (mode {mode:04o}): chmod o-rwx" if mode & stat.S_IROTH else None


class KeyRing:
    """The current key, ready token or secret of each file or variable; each content is parsed once.

    `max_age_seconds`: how long, by `now`, a file is not checked again.
    """

    def __init__(
        self,
        environment: Mapping[str, str] = os.environ,
        *,
        max_age_seconds: float = 0.0,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._environment = environment
        self._max_age_seconds = max_age_seconds
        self._now = now
        self._files: dict[str, WatchedFile] = {}
        self._parsed: dict[tuple[str, str, str], tuple[bytes, KeyMaterial]] = {}
        self._checked: dict[tuple[str, str, str], tuple[float, KeyMaterial]] = {}
        self._lock = threading.Lock()

    def key(self, spec: Jwt | Secret) -> KeyMaterial:
        """Return what `tokens.mint` needs for `spec`; raises FileError if it is missing, empty or of the wrong kind."""
        source = _source(spec)
        checked = self._checked.get(source)
        if checked is None or self._now() - checked[0] >= self._max_age_seconds:
            checked = self._checked[source] = self._now(), self._read(spec)
        return checked[1]

    def forget_all_but(self, used: Iterable[Jwt | Secret]) -> None:
        """Remove keys and files that none of these uses."""
        specs = list(used)
        with self._lock:
            _retain(self._checked, map(_source, specs))
            _retain(self._files, map(source_name, specs))
            _retain(self._parsed, map(_source, specs))

    def _read(self, spec: Jwt | Secret) -> KeyMaterial:
        with self._lock:
            source, content = _source(spec), self._content(spec)
            cached = self._parsed.get(source)
            if cached is None or cached[0] != content:
                cached = self._parsed[source] = content, _parse(spec, content)
            return cached[1]

    def _content(self, spec: Jwt | Secret) -> bytes:
        field, name = secret_source(spec)
        if field.endswith("_env"):
            if name not in self._environment:
                raise FileError(f"${name} is not set: set it, or use {field.removesuffix('_env')}_file")
            return os.fsencode(self._environment[name])
        return self._files.setdefault(name, WatchedFile(name)).read()


SECRET_FIELDS: Final = ("key_env", "key_file", "token_file", "secret_env", "secret_file")


def secret_source(spec: Jwt | Secret) -> tuple[str, str]:
    """Return the setting that names a secret, and the path or variable that it names."""
    return next((field, name) for field in SECRET_FIELDS if (name := getattr(spec, field, None)) is not None)


def source_name(spec: Jwt | Secret) -> str:
    """Return the path or `$VARIABLE` of the secret, for a sentence."""
    field, name = secret_source(spec)
    return f"${name}" if field.endswith("_env") else name


def _source(spec: Jwt | Secret) -> tuple[str, str, str]:
    """Return the cache key of a parsed key: setting, path or variable, algorithm."""
    field, name = secret_source(spec)
    return field, name, spec.algorithm if isinstance(spec, Jwt) else ""


def _parse(spec: Jwt | Secret, content: bytes) -> KeyMaterial:
    try:
        return load_key(spec, content)
    except SigningKeyError as error:
        raise FileError(f"{source_name(spec)} {error}") from None


def _retain(cache: dict[K, Any], used: Iterable[K]) -> None:
    for key in cache.keys() - set(used):
        del cache[key]


class TlsContexts:
    """One client context for all targets with equal settings, built again when one of its files changes."""

    def __init__(self) -> None:
        self._files: dict[str, WatchedFile] = {}
        self._built: dict[tuple[str | None, ...], tuple[dict[str, bytes], ssl.SSLContext]] = {}
        self._checked: dict[tuple[str | None, ...], float] = {}
        self._lock = threading.Lock()

    def cached_context(self, tls: Tls) -> ssl.SSLContext | None:
        """Return the context if it was checked within the last `MAX_UNCHECKED_SECONDS`, else None; touches no file."""
        settings = _settings(tls)
        is_fresh = time.monotonic() - self._checked.get(settings, -MAX_UNCHECKED_SECONDS) < MAX_UNCHECKED_SECONDS
        built = self._built.get(settings)
        return built[1] if is_fresh and built is not None else None

    def context(self, tls: Tls) -> ssl.SSLContext:
        """Return a context that verifies chain and host name, TLS 1.2 or later; raises FileError with its `field`.

        `tls.server_name` is no part of the context: `wrap_bio` takes it.
        """
        settings = _settings(tls)
        with self._lock:
            contents = {field: self._read(field, path) for field, path in _tls_files(tls)}
            built = self._built.get(settings)
            if built is None or built[0] != contents:
                built = self._built[settings] = contents, _build(tls, contents)
            self._checked[settings] = time.monotonic()
            return built[1]

    def forget_all_but(self, used: Iterable[Tls]) -> None:
        """Remove contexts and files that none of these uses; it waits for a `context` in progress."""
        settings = list(used)
        with self._lock:
            _retain(self._checked, map(_settings, settings))
            _retain(self._built, map(_settings, settings))
            _retain(self._files, (path for tls in settings for _, path in _tls_files(tls)))

    def _read(self, field: str, path: str) -> bytes:
        try:
            return self._files.setdefault(path, WatchedFile(path)).read()
        except FileError as error:
            raise FileError(error.sentence, field) from None


TLS_CONTEXTS: Final = TlsContexts()
"""The process's shared contexts."""


def _settings(tls: Tls) -> tuple[str | None, ...]:
    return tls.ca_file, tls.cert_file, tls.key_file


def _tls_files(tls: Tls) -> Iterator[tuple[str, str]]:
    for field in ("ca_file", "cert_file", "key_file"):
        path = getattr(tls, field)
        if path is not None:
            yield field, path


def _build(tls: Tls, contents: Mapping[str, bytes]) -> ssl.SSLContext:
    # Not ssl.create_default_context(), which writes session keys to the file that $SSLKEYLOGFILE names.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if tls.ca_file is None:
        context.load_default_certs()
    else:
        load_authorities(context, NamedContent("ca_file", tls.ca_file, contents["ca_file"]))
    if tls.cert_file is not None and tls.key_file is not None:
        certificate = NamedContent("cert_file", tls.cert_file, contents["cert_file"])
        load_certificate(context, certificate, NamedContent("key_file", tls.key_file, contents["key_file"]))
    return context


@dataclass(frozen=True, slots=True)
class NamedContent:
    """The content that a setting names: its field, its name in a sentence (the path of the file), and its bytes."""

    field: str
    name: str
    content: bytes


def load_authorities(context: ssl.SSLContext, authority: NamedContent) -> None:
    """Make a context trust the certificates of a PEM; raises FileError."""
    # Only the blocks: bundles hold comments in any encoding between them.
    blocks = b"\n".join(PEM_CERTIFICATE.findall(authority.content))
    try:
        context.load_verify_locations(cadata=blocks.decode("ascii"))
    except (ssl.SSLError, UnicodeError, ValueError):
        sentence = f"{authority.name} holds no certificates: a PEM with those of the CA is expected"
        raise FileError(sentence, authority.field) from None


def load_certificate(context: ssl.SSLContext, certificate: NamedContent, key: NamedContent) -> None:
    """Make a context present a certificate with its chain and key, both in PEM; raises FileError."""
    if b"-----BEGIN CERTIFICATE-----" not in certificate.content:
        raise FileError(f"{certificate.name} holds no certificate: a PEM is expected", certificate.field)
    if b"PRIVATE KEY-----" not in key.content:
        raise FileError(f"{key.name} holds no private key: a PEM is expected", key.field)
    try:
        with _memory_file(certificate.content) as chain_path, _memory_file(key.content) as key_path:
            context.load_cert_chain(chain_path, key_path, password=_refuse_passphrase)
    except _PassphraseRequiredError:
        raise FileError(f"{key.name} is protected by a passphrase: store the key without one", key.field) from None
    except (ssl.SSLError, OSError, ValueError):
        raise FileError(f"{key.name} is damaged, or not the key of {certificate.name}", key.field) from None


@contextmanager
def _memory_file(content: bytes) -> Iterator[str]:
    """Yield a path to the content, in memory only, because Python loads a key by its path alone."""
    descriptor = os.memfd_create("pem", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, content)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


class _PassphraseRequiredError(Exception):
    """OpenSSL wants a passphrase; without a callback it would ask on the terminal and wait."""


def _refuse_passphrase() -> str:
    raise _PassphraseRequiredError


def key_problems(
    config: Config, keys: KeyRing | None = None, built_in: Mapping[str, Profile] = BUILT_IN
) -> list[Problem]:
    """Return the problems of the keys, tokens and certificates that a (resolved) config names, each under its field."""
    profiles = ChainMap(config.profiles, built_in)  # type: ignore[arg-type]  # neither is written to
    ring = keys or KeyRing()
    return [
        problem
        for place, target in _placed_targets(config)
        for problem in (
            *_key_problems(place, target, profiles.get(target.profile), ring),
            *_tls_problems(f"{place}.tls", target.tls),
        )
    ]


def mode_warnings(config: Config) -> list[Problem]:
    """Return a warning for each secret of a (resolved) config that every user of this machine may read."""
    checks = ((f"{place}.{field}", file_mode_problem(path)) for place, field, path in _secrets(config))
    return [Problem(field, sentence) for field, sentence in checks if sentence is not None]


def _placed_targets(config: Config) -> Iterator[tuple[str, Target]]:
    for index, target in enumerate(config.targets):
        yield f"targets[{index}] ({target.name})", target


def _key_problems(place: str, target: Target, profile: Profile | None, keys: KeyRing) -> Iterator[Problem]:
    """Yield why the target's secret cannot be read, or cannot be carried as configured."""
    if target.auth is None:
        return
    spec = target.auth.source
    field = _secret_field(place, spec)
    try:
        key = keys.key(spec)
    except FileError as error:
        yield Problem(field, error.sentence)
        return
    if profile is None or not isinstance(key.material, str):
        return
    problem = carrier_problem(carrier_of(target.auth, profile), key.material)
    if problem is not None:
        yield Problem(field, f"{source_name(spec)} {problem}")


def _secret_field(place: str, spec: Jwt | Secret) -> str:
    return f"{place}.auth.{'jwt.' if isinstance(spec, Jwt) else ''}{secret_source(spec)[0]}"


def key_warnings(config: Config, now: float, keys: KeyRing | None = None) -> list[Problem]:
    """Return a warning for each usable key of a (resolved) config that is short, and for each expired token.

    `now`: unix seconds.
    """
    ring, problems = keys or KeyRing(), []
    for place, target in _placed_targets(config):
        if target.auth is not None:
            spec = target.auth.source
            key = ring.key(spec)
            sentences = filter(None, (key.weakness, expiry_problem(key, now)))
            problems += [
                Problem(_secret_field(place, spec), f"{source_name(spec)} {sentence}") for sentence in sentences
            ]
    return problems


def _tls_problems(place: str, tls: Tls) -> Iterator[Problem]:
    """Yield each file that cannot be read or, if all can, why they make no context."""
    unreadable = False
    for field, path in _tls_files(tls):
        try:
            WatchedFile(path).read()
        except FileError as error:
            unreadable = True
            yield Problem(f"{place}.{field}", error.sentence)
    try:
        if any(_tls_files(tls)) and not unreadable:
            TLS_CONTEXTS.context(tls)
    except FileError as error:
        yield Problem(f"{place}.{error.field}", error.sentence)


def _secrets(config: Config) -> Iterator[tuple[str, str, str]]:
    for place, target in _placed_targets(config):
        paths = {"tls.key_file": target.tls.key_file}
        if target.auth is not None:
            spec = target.auth.source
            setting, path = secret_source(spec)
            if setting.endswith("_file"):
                paths[_secret_field("", spec).removeprefix(".")] = path
        yield from ((place, field, path) for field, path in paths.items() if path is not None)
