"""Keys, tokens and certificates: read, and read again when they change; TLS contexts that targets share.

Rule 1: what stands in a file or variable never reaches a sentence; its path or name does.
Rule 2: all here is synchronous: small files from a local disk. `TlsContexts.context` takes 25 ms when it builds:
callers run it off the event loop. Everything may be called from several threads.
"""

import errno
import io
import os
import re
import ssl
import stat
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from exporter.config import Config, Jwt, Problem, Secret, Target, Tls, carrier_of
from exporter.profiles import BUILT_IN
from exporter.tokens import KeyMaterial, SigningKeyError, expired, load_key, unfit

MAX_FILE_BYTES: Final = 1_048_576
SETTLED_SECONDS: Final = 2.0
"""Seconds after which a file's time stamp tells one writing from the next: until then it is read each time (the
stamps of some file systems step by 2 s, and git calls such an entry "racily clean")."""

MAX_UNCHECKED_SECONDS: Final = 1.0
"""Seconds for which a daemon believes a key or certificate without looking at its file: a thousand targets share a few,
and a look costs as much as the signature."""

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
    """A file or variable that cannot be used; the sentence names it and says what to do.

    `field`: which setting of several named it (`ca_file`, `cert_file`, `key_file`), if there are several.
    """

    def __init__(self, sentence: str, field: str = "") -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.field = field


class WatchedFile:
    """A file of at most so many bytes, read again only when its modification time, size or inode has changed."""

    def __init__(self, path: str | Path, most: int = MAX_FILE_BYTES) -> None:
        self.path = Path(path)
        self._most = most
        self._stamp: Stamp | None = None
        self._content = b""
        self._settled = False

    def read(self) -> bytes:
        """Its content now; raises FileProblem. A file that was replaced while it was read is read again next time."""
        try:
            if not self._settled or _stamp(self.path.stat()) != self._stamp:
                self._load()
        except OSError as error:
            self._settled = False
            raise FileError(f"{self.path} {_fault(error)}") from None
        return self._content

    def _load(self) -> None:
        with io.FileIO(self.path, "rb", opener=_without_waiting) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise FileError(f"{self.path} {NOT_A_FILE}")
            content = file.read(self._most + 1)
        if len(content) > self._most:
            raise FileError(f"{self.path} is larger than {self._most} bytes: is it the right file?")
        self._content, self._stamp = content, _stamp(found)
        self._settled = time.time() - found.st_mtime > SETTLED_SECONDS


def _without_waiting(path: str, flags: int) -> int:
    """Opens a pipe at once, where a plain `open` waits for its writer."""
    return os.open(path, flags | os.O_NONBLOCK)


def _stamp(found: os.stat_result) -> Stamp:
    return found.st_mtime_ns, found.st_size, found.st_ino


def _fault(error: OSError) -> str:
    name = errno.errorcode.get(error.errno or 0, "an unknown error")
    return READ_ERROR_TEXTS.get(error.errno or 0, f"cannot be read: {name}")


def file_mode_problem(path: str | Path) -> str | None:
    """A sentence if everybody on this machine may read the file; None if not, or if it is not there."""
    try:
        mode = stat.S_IMODE(Path(path).stat().st_mode)
    except OSError:
        return None
    return f"{path} can be read by everybody (mode {mode:04o}): chmod o-rwx" if mode & stat.S_IROTH else None


class KeyRing:
    """The key, ready token or secret of each source, as it stands in its file or variable now; parsed once per content.

    `fresh`: seconds by `now` for which "now" may be past.
    """

    def __init__(
        self,
        environment: Mapping[str, str] = os.environ,
        *,
        fresh: float = 0.0,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._environment = environment
        self._fresh = fresh
        self._now = now
        self._files: dict[str, WatchedFile] = {}
        self._parsed: dict[tuple[str, str, str], tuple[bytes, KeyMaterial]] = {}
        self._looked: dict[tuple[str, str, str], tuple[float, KeyMaterial]] = {}
        self._lock = threading.Lock()

    def key(self, spec: Jwt | Secret) -> KeyMaterial:
        """What `tokens.mint` needs for `spec`; raises FileProblem: not there, empty, of the wrong kind."""
        source = _source(spec)
        looked = self._looked.get(source)
        if looked is None or self._now() - looked[0] >= self._fresh:
            looked = self._looked[source] = self._now(), self._read(spec)
        return looked[1]

    def forget_all_but(self, used: Iterable[Jwt | Secret]) -> None:
        """Let go of keys and files that none of these needs."""
        there = list(used)
        with self._lock:
            _keep(self._looked, map(_source, there))
            _keep(self._files, map(source_name, there))
            _keep(self._parsed, map(_source, there))

    def _read(self, spec: Jwt | Secret) -> KeyMaterial:
        with self._lock:
            source, content = _source(spec), self._content(spec)
            known = self._parsed.get(source)
            if known is None or known[0] != content:
                known = self._parsed[source] = content, _parse(spec, content)
            return known[1]

    def _content(self, spec: Jwt | Secret) -> bytes:
        field, name = secret_source(spec)
        if field.endswith("_env"):
            if name not in self._environment:
                raise FileError(f"${name} is not set: set it, or use {field.removesuffix('_env')}_file")
            return os.fsencode(self._environment[name])
        return self._files.setdefault(name, WatchedFile(name)).read()


SECRET_FIELDS: Final = ("key_env", "key_file", "token_file", "secret_env", "secret_file")


def secret_source(spec: Jwt | Secret) -> tuple[str, str]:
    """The setting that names a secret, and the path or variable that it names."""
    return next((field, name) for field in SECRET_FIELDS if (name := getattr(spec, field, None)) is not None)


def source_name(spec: Jwt | Secret) -> str:
    """Where the secret stands, for a sentence."""
    field, name = secret_source(spec)
    return f"${name}" if field.endswith("_env") else name


def _source(spec: Jwt | Secret) -> tuple[str, str, str]:
    """What one parsed key is known by: setting, path or variable, algorithm."""
    field, name = secret_source(spec)
    return field, name, spec.algorithm if isinstance(spec, Jwt) else ""


def _parse(spec: Jwt | Secret, content: bytes) -> KeyMaterial:
    try:
        return load_key(spec, content)
    except SigningKeyError as problem:
        raise FileError(f"{source_name(spec)} {problem}") from None


def _keep(kept: dict[K, Any], used: Iterable[K]) -> None:
    for key in kept.keys() - set(used):
        del kept[key]


class TlsContexts:
    """One client context for all targets of equal settings, built again when one of its files has another content."""

    def __init__(self) -> None:
        self._files: dict[str, WatchedFile] = {}
        self._built: dict[tuple[str | None, ...], tuple[dict[str, bytes], ssl.SSLContext]] = {}
        self._looked: dict[tuple[str | None, ...], float] = {}
        self._lock = threading.Lock()

    def fresh(self, tls: Tls) -> ssl.SSLContext | None:
        """The context, if it was made or checked within the last `MAX_UNCHECKED_SECONDS`; touches no file."""
        settings = _settings(tls)
        fresh = time.monotonic() - self._looked.get(settings, -MAX_UNCHECKED_SECONDS) < MAX_UNCHECKED_SECONDS
        known = self._built.get(settings)
        return known[1] if fresh and known is not None else None

    def context(self, tls: Tls) -> ssl.SSLContext:
        """A context that checks chain and host name, TLS 1.2 or later; raises FileProblem with its `field`.

        `tls.server_name` is not part of it: it goes into `wrap_bio`.
        """
        settings = _settings(tls)
        with self._lock:
            contents = {field: self._read(field, path) for field, path in _tls_files(tls)}
            known = self._built.get(settings)
            if known is None or known[0] != contents:
                known = self._built[settings] = contents, _build(tls, contents)
            self._looked[settings] = time.monotonic()
            return known[1]

    def forget_all_but(self, used: Iterable[Tls]) -> None:
        """Let go of contexts and files that none of these needs; as slow as `context`, which it waits for."""
        there = list(used)
        with self._lock:
            _keep(self._looked, map(_settings, there))
            _keep(self._built, map(_settings, there))
            _keep(self._files, (path for tls in there for _, path in _tls_files(tls)))

    def _read(self, field: str, path: str) -> bytes:
        try:
            return self._files.setdefault(path, WatchedFile(path)).read()
        except FileError as problem:
            raise FileError(problem.sentence, field) from None


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
    # Not ssl.create_default_context(): that one writes session keys to the file that $SSLKEYLOGFILE names.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if tls.ca_file is None:
        context.load_default_certs()
    else:
        trust(context, NamedContent("ca_file", tls.ca_file, contents["ca_file"]))
    if tls.cert_file is not None and tls.key_file is not None:
        certificate = NamedContent("cert_file", tls.cert_file, contents["cert_file"])
        identify(context, certificate, NamedContent("key_file", tls.key_file, contents["key_file"]))
    return context


@dataclass(frozen=True, slots=True)
class NamedContent:
    """What a setting brought: its field, how it is called in a sentence (the path of the file), and what it holds."""

    field: str
    name: str
    content: bytes


def trust(context: ssl.SSLContext, authority: NamedContent) -> None:
    """Make a context trust the certificates of a PEM; raises FileProblem."""
    # Only the blocks: bundles have comments in any encoding between them.
    blocks = b"\n".join(PEM_CERTIFICATE.findall(authority.content))
    try:
        context.load_verify_locations(cadata=blocks.decode("ascii"))
    except (ssl.SSLError, UnicodeError, ValueError):
        sentence = f"{authority.name} holds no certificates: a PEM with those of the CA is expected"
        raise FileError(sentence, authority.field) from None


def identify(context: ssl.SSLContext, certificate: NamedContent, key: NamedContent) -> None:
    """Make a context show a certificate (and its chain) by its key, both in PEM; raises FileProblem."""
    if b"-----BEGIN CERTIFICATE-----" not in certificate.content:
        raise FileError(f"{certificate.name} holds no certificate: a PEM is expected", certificate.field)
    if b"PRIVATE KEY-----" not in key.content:
        raise FileError(f"{key.name} holds no private key: a PEM is expected", key.field)
    try:
        with _as_file(certificate.content) as chain, _as_file(key.content) as private:
            context.load_cert_chain(chain, private, password=_no_passphrase)
    except _PassphraseRequiredError:
        raise FileError(f"{key.name} is protected by a passphrase: store the key without one", key.field) from None
    except (ssl.SSLError, OSError, ValueError):
        raise FileError(f"{key.name} is damaged, or not the key of {certificate.name}", key.field) from None


@contextmanager
def _as_file(content: bytes) -> Iterator[str]:
    """A path under which a content can be read, in memory only: Python takes a key by its path and no other way."""
    descriptor = os.memfd_create("pem", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, content)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


class _PassphraseRequiredError(Exception):
    """OpenSSL wants a passphrase; left to itself it would ask on the terminal and wait."""


def _no_passphrase() -> str:
    raise _PassphraseRequiredError


def key_problems(config: Config, keys: KeyRing | None = None) -> list[Problem]:
    """What is wrong with the keys, tokens and certificates that a (resolved) config names, each under its field."""
    ring = keys or KeyRing()
    return [
        problem
        for place, target in _places(config)
        for problem in (*_key_problems(place, target, config, ring), *_tls_problems(f"{place}.tls", target.tls))
    ]


def mode_warnings(config: Config) -> list[Problem]:
    """Secrets of a (resolved) config that everybody on this machine may read: worth a warning, no more."""
    found = ((f"{place}.{field}", file_mode_problem(path)) for place, field, path in _secrets(config))
    return [Problem(field, sentence) for field, sentence in found if sentence is not None]


def _places(config: Config) -> Iterator[tuple[str, Target]]:
    for index, target in enumerate(config.targets):
        yield f"targets[{index}] ({target.name})", target


def _key_problems(place: str, target: Target, config: Config, keys: KeyRing) -> Iterator[Problem]:
    """What keeps the target's secret from being read, or from travelling the way it should."""
    if target.auth is None:
        return
    spec = target.auth.source
    field = _secret_field(place, spec)
    try:
        key = keys.key(spec)
    except FileError as problem:
        yield Problem(field, problem.sentence)
        return
    profile = {**BUILT_IN, **config.profiles}.get(target.profile)
    refusal = (
        unfit(carrier_of(target.auth, profile), key.material) if profile and isinstance(key.material, str) else None
    )
    if refusal is not None:
        yield Problem(field, f"{source_name(spec)} {refusal}")


def _secret_field(place: str, spec: Jwt | Secret) -> str:
    return f"{place}.auth.{'jwt.' if isinstance(spec, Jwt) else ''}{secret_source(spec)[0]}"


def key_warnings(config: Config, now: float, keys: KeyRing | None = None) -> list[Problem]:
    """Keys of a (resolved) config that work, and of which something should be said: short ones, expired tokens.

    `now`: unix seconds.
    """
    ring, found = keys or KeyRing(), []
    for place, target in _places(config):
        if target.auth is not None:
            spec = target.auth.source
            key = ring.key(spec)
            words = filter(None, (key.weakness, expired(key, now)))
            found += [Problem(_secret_field(place, spec), f"{source_name(spec)} {word}") for word in words]
    return found


def _tls_problems(place: str, tls: Tls) -> Iterator[Problem]:
    """Every file that cannot be read, or, if all can be, what keeps them from making a context."""
    unreadable = False
    for field, path in _tls_files(tls):
        try:
            WatchedFile(path).read()
        except FileError as problem:
            unreadable = True
            yield Problem(f"{place}.{field}", problem.sentence)
    try:
        if any(_tls_files(tls)) and not unreadable:
            TLS_CONTEXTS.context(tls)
    except FileError as problem:
        yield Problem(f"{place}.{problem.field}", problem.sentence)


def _secrets(config: Config) -> Iterator[tuple[str, str, str]]:
    for place, target in _places(config):
        named = {"tls.key_file": target.tls.key_file}
        if target.auth is not None:
            spec = target.auth.source
            setting, path = secret_source(spec)
            if setting.endswith("_file"):
                named[_secret_field("", spec).removeprefix(".")] = path
        yield from ((place, field, path) for field, path in named.items() if path is not None)
