"""`check --from`: an exporter behind a web config is asked by --http.config.file, and nothing secret is shown."""

import contextlib
import json

import pytest
import yaml
from support import harness
from support.certificates import Authority, authority
from support.commands import command
from support.web_client import hashed, pair, written

from exporter.config import HttpClient, load_yaml, parse_http_client
from exporter.daemon import Daemon, DaemonOptions
from exporter.standin import StandIn, Timings
from exporter.web import ListenAddress, ListenOptions

SECRET = "correct-horse-battery"
USERS = {"oncall": hashed(SECRET)}


@contextlib.asynccontextmanager
async def exporting(folder, host="localhost", **web):
    """A daemon behind this web config; its URL."""
    async with StandIn.start(timings=Timings.quick(), tls_port=None) as standin:
        doorway = ListenOptions((ListenAddress("127.0.0.1", 0),), config_file=written(folder, **web))
        running = Daemon(harness.planned(harness.target(standin)), DaemonOptions(doorway, startup_delay=600.0))
        await running.start()
        try:
            yield running.url.replace("127.0.0.1", host)
        finally:
            await running.stop()


def client(folder, **settings):
    """The file of --http.config.file."""
    path = folder / "client.yml"
    path.write_text(yaml.safe_dump(settings))
    return f"--http.config.file={path}"


def password(folder, text=SECRET):
    (folder / "password").write_text(f"{text}\n")
    return {"basic_auth": {"username": "oncall", "password_file": "password"}}


async def check(*words):
    """Exit code, what stdout says, what stderr says."""
    async with command("check", "--target=staging", "--output=json", *words) as process:
        code = await process.ended()
    assert SECRET not in "".join([*process.out, *process.err])
    return code, "\n".join(process.out), "\n".join(process.err)


async def refused(*words):
    code, out, err = await check(*words)
    assert (code, out) == (3, "")
    return err


async def test_user_certificate_and_ca_are_those_of_the_file(tmp_path):
    """All that the exporter asks for is shown to it, and its answer is the check's."""
    (tmp_path / "ca.crt").write_bytes(authority().pem)
    tls = pair(tmp_path) | {"client_auth_type": "RequireAndVerifyClientCert", "client_ca_file": "ca.crt"}
    mine = pair(tmp_path, "oncall", name="mine") | {"ca_file": "ca.crt"}
    async with exporting(tmp_path, tls_server_config=tls, basic_auth_users=USERS) as url:
        good = client(tmp_path, **password(tmp_path), tls_config=mine)
        code, out, _ = await check(f"--from={url}", good)
        assert code == 0
        assert json.loads(out)["results"][0]["depth"] == "send"
        assert "certificate" in await refused(f"--from={url}"), "the CA is none that this machine trusts"
        without = client(tmp_path, tls_config={"ca_file": "ca.crt"})
        assert "no answer of an exporter" in await refused(f"--from={url}", without)
        wrong = client(tmp_path, **password(tmp_path, "wrong"), tls_config=mine)
        assert "answers 401: this needs a user and a password; name user and password in a file" in await refused(
            f"--from={url}", wrong
        )


async def test_an_exporter_that_is_called_otherwise_is_asked_by_its_name(tmp_path):
    """Through a forwarded port the address is none of its certificate: `server_name` says whom we expect."""
    (tmp_path / "ca.crt").write_bytes(authority().pem)
    tls = pair(tmp_path, "exporter.example.com")
    async with exporting(tmp_path, tls_server_config=tls) as url:
        named = client(tmp_path, tls_config={"ca_file": "ca.crt", "server_name": "exporter.example.com"})
        assert (await check(f"--from={url}", named))[0] == 0
        unnamed = client(tmp_path, tls_config={"ca_file": "ca.crt"})
        assert "no answer of an exporter" in await refused(f"--from={url}", unnamed)
        (tmp_path / "ca.crt").write_bytes(Authority("Somebody Else").pem)
        assert "no answer of an exporter" in await refused(f"--from={url}", named)


async def test_a_user_in_the_url_is_refused(tmp_path):
    """The command line is seen by everybody on the machine: nobody is asked, and nothing of it is shown."""
    async with exporting(tmp_path, basic_auth_users=USERS) as url:
        for user in (f"oncall:{SECRET}", SECRET):
            said = await refused(f"--from={url.replace('http://', f'http://{user}@')}")
            assert "no user and password in the URL" in said
            assert "--http.config.file" in said


async def test_what_is_wrong_with_the_files_is_said(tmp_path):
    """The file, what stands in it, the files that it names, and a flag that has no effect."""
    url = "--from=http://localhost:1"
    assert "does not exist" in await refused(url, f"--http.config.file={tmp_path / 'gone.yml'}")
    assert "basic_auth.password: unknown field, did you mean `password_file`?" in await refused(
        url, client(tmp_path, basic_auth={"username": "a", "password_file": "b", "password": SECRET})
    )
    gone = client(tmp_path, basic_auth={"username": "a", "password_file": "gone"})
    assert f"{tmp_path / 'gone'} does not exist" in await refused(url, gone)
    gone = client(tmp_path, tls_config={"ca_file": "gone.crt"})
    assert f"{tmp_path / 'gone.crt'} does not exist" in await refused(url, gone)
    (tmp_path / "client.yml").write_text("a: b: c")
    assert "client.yml: line 1" in await refused(url, f"--http.config.file={tmp_path / 'client.yml'}")
    assert "--http.config.file: needs --from" in await refused(f"--http.config.file={tmp_path / 'client.yml'}")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "the file must be a mapping: basic_auth, tls_config"),
        ("authorization: {}", "authorization: unknown field, known here: basic_auth, tls_config"),
        ("basic_auth: {username: a}", "basic_auth.password_file: is required"),
        ("tls_config: {cert_file: a}", "tls_config: cert_file and key_file go together: name both, or neither"),
        ("tls_config: {insecure_skip_verify: true}", "tls_config.insecure_skip_verify: unknown field, known here: "),
    ],
)
def test_the_format_is_a_part_of_promtools(text, sentence):
    """What is not understood is refused; nothing switches checks off."""
    (problem,) = parse_http_client(load_yaml(text))
    assert str(problem).startswith(sentence)
    assert isinstance(parse_http_client({}), HttpClient)
