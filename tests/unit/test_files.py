"""Package `files`."""

import datetime as dt
import os
import ssl
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from exporter import files
from exporter.config import Config, Jwt, Tls, parse
from exporter.files import (
    TLS_CONTEXTS,
    FileError,
    KeyRing,
    TlsContexts,
    WatchedFile,
    file_mode_problem,
    key_problems,
    mode_warnings,
)
from exporter.profiles import BUILT_IN
from exporter.tokens import mint

SECRET = b"a secret of thirty-two bytes, ok"
OTHER = b"another one of thirty-two bytes!"
LONG_AGO = 1_000_000_000_000_000_000


def settle(path, stamp=LONG_AGO):
    """Give a file a time stamp that is old enough to be trusted."""
    os.utime(path, ns=(stamp, stamp))


class Counted(WatchedFile):
    reads = 0

    def _load(self):
        self.reads += 1
        super()._load()


def test_a_file_is_read_again_only_when_it_has_changed(tmp_path):
    """A file whose time, size and inode are the same is not read a second time."""
    path = tmp_path / "key"
    path.write_bytes(b"one")
    settle(path)
    file = Counted(path)
    assert [file.read() for _ in range(5)] == [b"one"] * 5
    assert file.reads == 1


@pytest.mark.parametrize("change", ["time", "size", "inode"])
def test_each_sign_of_a_change_is_seen(tmp_path, change):
    """A new time, a new size or a new inode alone is enough for a file to be read again."""
    path, new = tmp_path / "key", tmp_path / "new"
    path.write_bytes(b"one")
    settle(path)
    file = WatchedFile(path)
    file.read()
    text = b"three" if change == "size" else b"two"
    if change == "inode":
        new.write_bytes(text)
        settle(new)
        new.replace(path)
    else:
        path.write_bytes(text)
        settle(path, LONG_AGO + (change == "time"))
    assert file.read() == text


def test_a_file_written_a_moment_ago_is_not_trusted(tmp_path):
    """Two writings within one tick of the file system's clock are told apart."""
    path = tmp_path / "key"
    path.write_bytes(b"one")
    stamp = path.stat().st_mtime_ns
    file = WatchedFile(path)
    assert file.read() == b"one"
    path.write_bytes(b"two")
    settle(path, stamp)
    assert file.read() == b"two"


def test_a_secret_behind_a_link_is_followed(tmp_path):
    """A link that is turned to another file, as mounted secrets are renewed, counts as a change."""
    for name in ("one", "two"):
        (tmp_path / name).write_text(name)
        settle(tmp_path / name)
    link = tmp_path / "key"
    link.symlink_to("one")
    file = WatchedFile(link)
    assert file.read() == b"one"
    (tmp_path / "next").symlink_to("two")
    (tmp_path / "next").replace(link)
    assert file.read() == b"two"


def test_a_file_that_goes_and_comes_back_is_read(tmp_path):
    """A file that is missing is a problem while it is missing, and none afterwards, even if it comes back the same."""
    path = tmp_path / "key"
    path.write_bytes(b"one")
    settle(path)
    file = WatchedFile(path)
    file.read()
    path.rename(tmp_path / "away")
    with pytest.raises(FileError):
        file.read()
    (tmp_path / "away").rename(path)
    assert file.read() == b"one"


def missing(folder):
    return folder / "nowhere", "does not exist: create it, or correct the path"


def below_a_file(folder):
    (folder / "file").touch()
    return folder / "file" / "key", "does not exist: a part of its path is no folder"


def a_folder(folder):
    return folder, "is not a file: correct the path"


def a_pipe(folder):
    os.mkfifo(folder / "pipe")
    return folder / "pipe", "is not a file: correct the path"


def a_circle(folder):
    (folder / "circle").symlink_to("circle")
    return folder / "circle", "is a link to itself: correct the path"


def a_long_name(folder):
    return folder / ("x" * 300), "has a name that is too long: correct the path"


def a_large_file(folder):
    (folder / "large").write_bytes(bytes(1_048_577))
    return folder / "large", "is larger than 1048576 bytes: is it the right file?"


@pytest.mark.parametrize(
    "make",
    [missing, below_a_file, a_folder, a_pipe, a_circle, a_long_name, a_large_file],
    ids=lambda make: make.__name__,
)
def test_what_cannot_be_read_is_said_with_its_path(tmp_path, make):
    """Each reason why a file cannot be read has its sentence, with the path and what to do, and nobody waits."""
    path, sentence = make(tmp_path)
    with pytest.raises(FileError) as problem:
        WatchedFile(path).read()
    assert problem.value.sentence == str(problem.value) == f"{path} {sentence}"


NOBODY = 65_534


@contextmanager
def not_root():
    """Root reads everything: for the block the process is somebody else."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_file_of_somebody_else_is_said():
    """A file without the right to read it says that its owner or mode is to be corrected."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        path = Path(folder, "key")
        path.touch(mode=0)
        with not_root(), pytest.raises(FileError, match="cannot be read by this user: correct its owner or mode"):
            WatchedFile(path).read()


def test_a_secret_that_everybody_can_read_is_worth_a_word(tmp_path):
    """A mode that lets everybody read is named; a private file and a missing one are not."""
    path = tmp_path / "key"
    path.touch()
    path.chmod(0o604)
    assert file_mode_problem(path) == f"{path} can be read by everybody (mode 0604): chmod o-rwx"
    path.chmod(0o640)
    assert file_mode_problem(path) is None
    assert file_mode_problem(tmp_path / "nowhere") is None


def spec(path, **more):
    return Jwt(key_file=str(path), **more)


def test_a_key_is_parsed_once_per_content(tmp_path):
    """The same content gives the same key object, even when the file was touched; another content another key."""
    path = tmp_path / "key"
    path.write_bytes(SECRET)
    ring = KeyRing({})
    first = ring.key(spec(path))
    settle(path)
    assert ring.key(spec(path)) is first
    path.write_bytes(OTHER)
    assert ring.key(spec(path)).fingerprint != first.fingerprint


def test_one_file_serves_two_algorithms(tmp_path):
    """One key file used with two algorithms is two keys, each by its own rule."""
    path = tmp_path / "key"
    path.write_bytes(SECRET)
    ring = KeyRing({})
    assert ring.key(spec(path)).weakness is None
    assert "HS512 asks for at least 64" in ring.key(spec(path, algorithm="HS512")).weakness
    assert ring.key(spec(path)).fingerprint == KeyRing({}).key(spec(path)).fingerprint


def test_a_key_comes_from_the_environment():
    """A key named by a variable is taken from it, and followed when it changes."""
    environment = {"KEY": SECRET.decode()}
    ring = KeyRing(environment)
    first = ring.key(Jwt(key_env="KEY"))
    environment["KEY"] = OTHER.decode()
    assert ring.key(Jwt(key_env="KEY")).fingerprint != first.fingerprint


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({}, "$KEY is not set: set it, or use key_file"),
        ({"KEY": ""}, "$KEY is empty: put the key into it"),
    ],
)
def test_a_variable_without_a_key_is_said_by_its_name(environment, sentence):
    """A key that is not in the environment, or not one, is refused by the variable's name and never by its value."""
    with pytest.raises(FileError) as problem:
        KeyRing(environment).key(Jwt(key_env="KEY"))
    assert str(problem.value) == sentence


def test_a_ready_token_is_read_again_when_it_is_renewed(tmp_path):
    """A token that others renew in its file is the one that is sent next."""
    path = tmp_path / "token"
    jwt = Jwt(token_file=str(path))
    ring = KeyRing({})
    for token in ("aaa.bbb.ccc", "ddd.eee.fff"):
        path.write_text(token + "\n")
        assert mint(jwt, ring.key(jwt), "user-one", 0, "id") == token


def test_a_bad_key_does_not_stay(tmp_path):
    """A key file that was caught half written heals by itself, and the last good key is not used meanwhile."""
    path = tmp_path / "key"
    path.write_bytes(SECRET)
    ring = KeyRing({})
    ring.key(spec(path))
    path.write_bytes(b"")
    with pytest.raises(FileError, match="is empty"):
        ring.key(spec(path))
    path.write_bytes(OTHER)
    assert ring.key(spec(path)).material == OTHER


def certificate(folder, name, *, issuer=None, passphrase=None):
    """A certificate for `localhost` and its key, as the two files `name.pem` and `name.key`; returns both."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(issuer[1] if issuer else key, hashes.SHA256())
    )
    lock = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    (folder / f"{name}.pem").write_bytes(made.public_bytes(Encoding.PEM))
    (folder / f"{name}.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock))
    return made, key


@pytest.fixture
def pki(tmp_path):
    authority = certificate(tmp_path, "ca")
    certificate(tmp_path, "server", issuer=authority)
    certificate(tmp_path, "client", issuer=authority)
    certificate(tmp_path, "locked", issuer=authority, passphrase=b"pass")
    (tmp_path / "text").write_text("no pem")
    (tmp_path / "broken.pem").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    return tmp_path


def tls(folder, **names):
    return Tls(**{field: str(folder / name) for field, name in names.items()})


def shake(client, server, name="localhost"):
    """A TLS handshake in memory; returns both sides' objects, or raises what one of them raises."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    here = client.wrap_bio(to_client, to_server, server_hostname=name)
    there = server.wrap_bio(to_server, to_client, server_side=True)
    for side in (here, there) * 3:
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    return here, there


def server_context(folder, *, client=False):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    if client:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(folder / "ca.pem")
    return context


def test_a_server_of_our_ca_is_trusted(pki):
    """With the CA's file its servers are trusted, under their own name only."""
    context = TlsContexts().context(tls(pki, ca_file="ca.pem"))
    assert shake(context, server_context(pki))[0].version() == "TLSv1.3"
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        shake(context, server_context(pki), "other.example.com")


def test_a_server_of_another_ca_is_not_trusted(pki):
    """Without a file the machine's own CAs count, and with one only that."""
    certificate(pki, "other")
    for settings in (Tls(), tls(pki, ca_file="other.pem")):
        with pytest.raises(ssl.SSLCertVerificationError):
            shake(TlsContexts().context(settings), server_context(pki))


def test_old_tls_is_not_spoken(pki):
    """TLS 1.2 is spoken with a server that has no better; one that speaks TLS 1.1 at most is refused."""
    server = server_context(pki)
    context = TlsContexts().context(tls(pki, ca_file="ca.pem"))
    server.maximum_version = ssl.TLSVersion.TLSv1_2
    assert shake(context, server)[0].version() == "TLSv1.2"
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        server.minimum_version = server.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError):
        shake(context, server)


def test_the_client_shows_its_certificate(pki):
    """With cert_file and key_file a server that asks for a certificate gets ours."""
    context = TlsContexts().context(tls(pki, ca_file="ca.pem", cert_file="client.pem", key_file="client.key"))
    _, there = shake(context, server_context(pki, client=True))
    assert dict(pair[0] for pair in there.getpeercert()["subject"])["commonName"] == "client"


def test_session_keys_are_never_written(pki, monkeypatch):
    """The variable that makes other programs write their session keys to a file has no power here."""
    monkeypatch.setenv("SSLKEYLOGFILE", str(pki / "log"))
    shake(TlsContexts().context(tls(pki, ca_file="ca.pem")), server_context(pki))
    assert not (pki / "log").exists()


def test_equal_settings_share_a_context(pki):
    """Targets of equal files share one context, whatever the server's name; others have their own."""
    contexts = TlsContexts()
    first = contexts.context(tls(pki, ca_file="ca.pem"))
    settle(pki / "ca.pem")
    assert contexts.context(tls(pki, ca_file="ca.pem").model_copy(update={"server_name": "x"})) is first
    assert contexts.context(Tls()) is contexts.context(Tls()) is not first


def test_a_renewed_certificate_makes_a_new_context(pki):
    """A file with another content is used from the next session on."""
    settings = tls(pki, ca_file="ca.pem", cert_file="client.pem", key_file="client.key")
    contexts = TlsContexts()
    first = contexts.context(settings)
    certificate(pki, "ca")
    second = contexts.context(settings)
    assert second is not first
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(second, server_context(pki))


def test_nothing_stays_open(tmp_path):
    """Whatever is met in place of a file, no descriptor is left behind."""
    open_before = len(list(Path("/proc/self/fd").iterdir()))
    for make in (missing, a_folder, a_pipe, a_circle, a_large_file):
        path, _ = make(tmp_path)
        with pytest.raises(FileError):
            WatchedFile(path).read()
    assert len(list(Path("/proc/self/fd").iterdir())) == open_before


def test_threads_share_what_one_builds(pki):
    """Several threads that ask at once get the same context."""
    contexts, found = TlsContexts(), []
    threads = [
        threading.Thread(target=lambda: found.append(contexts.context(tls(pki, ca_file="ca.pem")))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(found) == 8
    assert len(set(map(id, found))) == 1


def test_a_bundle_may_hold_comments(pki):
    """Words of any encoding between the certificates of a bundle do no harm."""
    content = (pki / "ca.pem").read_bytes()
    (pki / "bundle.pem").write_bytes(b"# F\xc5\x91tan\xfas\n" + content + b"# more\n" + content)
    shake(TlsContexts().context(tls(pki, ca_file="bundle.pem")), server_context(pki))


BAD_TLS = [
    ({"ca_file": "nowhere"}, "ca_file", "{0}/nowhere does not exist: create it, or correct the path"),
    ({"ca_file": "text"}, "ca_file", "{0}/text holds no certificates: a PEM with those of the CA is expected"),
    (
        {"ca_file": "broken.pem"},
        "ca_file",
        "{0}/broken.pem holds no certificates: a PEM with those of the CA is expected",
    ),
    (
        {"cert_file": "text", "key_file": "client.key"},
        "cert_file",
        "{0}/text holds no certificate: a PEM is expected",
    ),
    (
        {"cert_file": "client.pem", "key_file": "client.pem"},
        "key_file",
        "{0}/client.pem holds no private key: a PEM is expected",
    ),
    (
        {"cert_file": "client.pem", "key_file": "server.key"},
        "key_file",
        "{0}/server.key is damaged, or not the key of {0}/client.pem",
    ),
    (
        {"cert_file": "locked.pem", "key_file": "locked.key"},
        "key_file",
        "{0}/locked.key is protected by a passphrase: store the key without one",
    ),
]


@pytest.mark.parametrize(("names", "field", "sentence"), BAD_TLS)
def test_wrong_certificates_are_refused(pki, names, field, sentence):
    """The error names the file and its setting, and OpenSSL asks for no passphrase."""
    with pytest.raises(FileError) as problem:
        TlsContexts().context(tls(pki, **names))
    assert (problem.value.field, problem.value.sentence) == (field, sentence.format(pki))


def test_the_shared_contexts_are_one_for_the_process():
    """The function that packages call shares over all of them."""
    assert TLS_CONTEXTS.context(Tls()) is TLS_CONTEXTS.context(Tls())


def config(folder, jwt, **target):
    raw = {
        "targets": [
            {
                "name": "staging",
                "url": "wss://staging.example.com",
                "identities": {"pool-001": "user-one"},
                "auth": {"jwt": jwt},
                **target,
            }
        ]
    }
    parsed = parse(raw, BUILT_IN)
    assert isinstance(parsed, Config), parsed
    return parsed.resolved(folder)


def test_key_problems_have_the_path_of_their_setting(tmp_path):
    """Every missing file is a problem under the setting that names it."""
    paths = {"ca_file": "a", "cert_file": "b", "key_file": "c"}
    found = key_problems(config(tmp_path, {"key_file": "key"}, tls=paths))
    assert {problem.path: problem.sentence.split(" ")[0] for problem in found} == {
        "targets[0] (staging).auth.jwt.key_file": str(tmp_path / "key"),
        "targets[0] (staging).tls.ca_file": str(tmp_path / "a"),
        "targets[0] (staging).tls.cert_file": str(tmp_path / "b"),
        "targets[0] (staging).tls.key_file": str(tmp_path / "c"),
    }


@pytest.mark.parametrize("source", [{"key_env": "KEY"}, {"token_file": "token"}])
def test_each_source_of_a_key_has_its_setting(tmp_path, source):
    """An unset variable and a missing token are problems under their own settings."""
    (problem,) = key_problems(config(tmp_path, source), KeyRing({}))
    assert problem.path == f"targets[0] (staging).auth.jwt.{next(iter(source))}"


def test_files_that_can_be_read_but_not_used_are_problems(pki):
    """Certificates that make no context are found before the first session."""
    (pki / "key").write_bytes(SECRET)
    found = key_problems(config(pki, {"key_file": "key"}, tls={"ca_file": "text"}))
    assert [problem.path for problem in found] == ["targets[0] (staging).tls.ca_file"]


def test_good_files_are_no_problem(pki):
    """A usable key and usable certificates are no problem."""
    (pki / "key").write_bytes(SECRET)
    paths = {"ca_file": "ca.pem", "cert_file": "client.pem", "key_file": "client.key"}
    assert key_problems(config(pki, {"key_file": "key"}, tls=paths)) == []


def test_world_readable_secrets_are_warnings(pki):
    """Each world-readable secret is a warning under its setting; certificates are no secrets."""
    for name in ("key", "client.key"):
        Path(pki / name).touch()
        Path(pki / name).chmod(0o644)
    paths = {"ca_file": "ca.pem", "cert_file": "client.pem", "key_file": "client.key"}
    found = mode_warnings(config(pki, {"key_file": "key"}, tls=paths))
    assert [problem.path for problem in found] == [
        "targets[0] (staging).tls.key_file",
        "targets[0] (staging).auth.jwt.key_file",
    ]


def test_a_key_is_cached_for_max_age_seconds(tmp_path):
    """Within `max_age_seconds` the file is not checked; then a missing file is an error until it is back."""
    path, now = tmp_path / "key", [100.0]
    path.write_bytes(SECRET)
    ring = KeyRing({}, max_age_seconds=1.0, now=lambda: now[0])
    first = ring.key(spec(path)).fingerprint
    path.unlink()
    now[0] += 0.9
    assert ring.key(spec(path)).fingerprint == first
    now[0] += 0.1
    for _ in range(2):
        with pytest.raises(FileError, match="does not exist"):
            ring.key(spec(path))
    path.write_bytes(OTHER)
    assert ring.key(spec(path)).fingerprint != first


def test_a_tls_context_is_cached_for_max_unchecked_seconds(monkeypatch):
    """A context that was checked lately is returned without a check of its files."""
    contexts = TlsContexts()
    assert contexts.cached_context(Tls()) is None
    made = contexts.context(Tls())
    assert contexts.cached_context(Tls(server_name="elsewhere")) is made
    monkeypatch.setattr(files, "MAX_UNCHECKED_SECONDS", 0.0)
    assert contexts.cached_context(Tls()) is None


def test_unused_keys_are_removed(tmp_path):
    """Keys that are still used are neither read nor parsed again."""
    for name in ("one", "two"):
        (tmp_path / name).write_bytes(SECRET)
    one, two = (Jwt(key_file=str(tmp_path / name)) for name in ("one", "two"))
    ring = KeyRing({"KEY": SECRET.decode()}, max_age_seconds=60.0)
    known = [ring.key(spec) for spec in (one, two, Jwt(key_env="KEY"))]

    ring.forget_all_but([two])

    assert [len(kept) for kept in (ring._files, ring._parsed, ring._checked)] == [1, 1, 1]
    assert ring.key(two) is known[1]


def test_unused_tls_contexts_are_removed(pki):
    """Contexts that are still used stay the same objects."""
    one, two = tls(pki, ca_file="ca.pem"), tls(pki, ca_file="ca.pem", cert_file="client.pem", key_file="client.key")
    contexts = TlsContexts()
    kept, _ = contexts.context(two), contexts.context(one)

    contexts.forget_all_but([two])

    assert list(contexts._built) == list(contexts._checked)
    assert len(contexts._built) == 1
    assert len(contexts._files) == 3
    assert contexts.cached_context(one) is None
    assert contexts.cached_context(two) is contexts.context(two) is kept
