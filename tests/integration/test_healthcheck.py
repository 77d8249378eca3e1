"""`healthcheck`, the command of containers: a real exporter is asked, straight and behind a door of TLS and users."""

import asyncio
import contextlib
from http import HTTPStatus

import pytest
import yaml
from support import certificates
from support.fake_site import Shown
from support.realservers import nginx

from exporter.__main__ import main
from exporter.web import HttpReply

PASSWORD = "pass-word of the scraper"
DOOR = """
  proxy_pass_header Server;
  server {{
    listen 127.0.0.1:{users} ssl;
    ssl_certificate {folder}/door.pem;
    ssl_certificate_key {folder}/door.pem;
    location / {{
      auth_basic exporter;
      auth_basic_user_file {folder}/users;
      proxy_pass {exporter};
    }}
  }}
  server {{
    listen 127.0.0.1:{strict} ssl;
    ssl_certificate {folder}/door.pem;
    ssl_certificate_key {folder}/door.pem;
    ssl_client_certificate {folder}/ca.pem;
    ssl_verify_client on;
    location / {{ proxy_pass {exporter}; }}
  }}
"""


@pytest.fixture
async def exporter():
    """A running HTTP side, and what it says of its health."""
    shown = Shown()
    server = await shown.serve()
    yield server, shown
    await server.close()


@pytest.fixture
def asked(capsys):
    """Runs the command beside the loop that answers it: exit code, and what it says."""

    async def ask(*words):
        code = await asyncio.to_thread(main, ["healthcheck", *words])
        told = capsys.readouterr()
        return code, (told.out + told.err).strip()

    return ask


async def test_a_healthy_exporter_is_0_and_an_ill_one_1(exporter, asked):
    """The exit code is the health; the sentence names the exporter, and the status of one that is not well."""
    server, shown = exporter
    well = await asked(f"--url={server.url}")
    shown.is_healthy = HttpReply(HTTPStatus.SERVICE_UNAVAILABLE, "the scheduler does not turn\n")
    ill = await asked(f"--url={server.url}/")

    assert well == (0, f"{server.url} says healthy")
    assert ill == (1, f"ws-factory-exporter: --url: {server.url}/ answers 503: the scheduler does not turn")


async def test_nobody_there_is_1(asked):
    """A refused connection has its sentence, and no traceback."""
    code, said = await asked("--url=http://127.0.0.1:1")

    assert code == 1
    assert said.endswith("no answer of an exporter at http://127.0.0.1:1: Connection refused")


async def test_another_program_on_the_port_is_1(asked):
    """What answers 200 and is no exporter does not make a container healthy."""

    async def greet(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as other:
        url = f"http://127.0.0.1:{other.sockets[0].getsockname()[1]}"
        assert await asked(f"--url={url}") == (1, f"ws-factory-exporter: --url: {url} answers 200 and is no exporter")


async def test_a_wrong_prefix_has_its_sentence(exporter, asked):
    """404 says which flag to add."""
    code, said = await asked(f"--url={exporter[0].url}/elsewhere")

    assert (code, "lack its --web.route-prefix" in said) == (1, True)


@pytest.mark.parametrize("url", ["localhost:11011", "file:///etc/passwd", "http://a:b@localhost:1"])
async def test_what_is_no_url_to_ask_is_refused(asked, url):
    """The sentence names the flag, and no password."""
    code, said = await asked(f"--url={url}")

    assert (code, said.startswith("ws-factory-exporter: --url: ")) == (1, True)
    assert "a:b" not in said


@contextlib.asynccontextmanager
async def door(exporter, folder):
    """A real nginx before the exporter, as strict as a web config can be: one port wants a user, one a certificate."""
    authority = certificates.authority()
    (folder / "ca.pem").write_bytes(authority.pem)
    for name, names in {"door": ["exporter.example.com", "localhost"], "ours": ["prober"]}.items():
        (folder / f"{name}.pem").write_bytes(authority.issue(*names))
    (folder / "users").write_text(f"prometheus:{{PLAIN}}{PASSWORD}\n")
    (folder / "password").write_text(f"{PASSWORD}\n")

    def servers(users, strict):
        return DOOR.format(folder=folder, users=users, strict=strict, exporter=exporter.url)

    async with nginx(servers, folder, ports=2) as proxy:
        yield [f"https://localhost:{port}" for port in proxy.ports]


async def test_tls_and_users_are_asked_of_us_as_of_all(exporter, asked, tmp_path):
    """Trust, a user, a certificate come from files; each that is missing has its sentence."""
    server, _ = exporter
    trust = {"ca_file": "ca.pem"}
    user = {"username": "prometheus", "password_file": "password"}
    ours = {"cert_file": "ours.pem", "key_file": "ours.pem"}

    def client(**parts):
        file = tmp_path / f"client-{len(list(tmp_path.iterdir()))}.yml"
        file.write_text(yaml.safe_dump(parts))
        return f"--http.config.file={file}"

    async with door(server, tmp_path) as (users, strict):
        assert await asked(f"--url={users}", client(tls_config=trust, basic_auth=user)) == (0, f"{users} says healthy")
        assert await asked(f"--url={strict}", client(tls_config=trust | ours)) == (0, f"{strict} says healthy")
        elsewhere = users.replace("localhost", "127.0.0.1")
        named = client(tls_config=trust | {"server_name": "localhost"}, basic_auth=user)
        assert (await asked(f"--url={elsewhere}", named))[0] == 0
        untrusted = await asked(f"--url={users}", client(basic_auth=user))
        misnamed = await asked(f"--url={elsewhere}", client(tls_config=trust, basic_auth=user))
        unnamed = await asked(f"--url={users}", client(tls_config=trust))
        uncertified = await asked(f"--url={strict}", client(tls_config=trust))

    assert [code for code, _ in (untrusted, misnamed, unnamed, uncertified)] == [1] * 4
    assert "name its CA in a file, by --http.config.file" in untrusted[1]
    assert "a server_name there that it is made for" in misnamed[1]
    assert not any(PASSWORD in said for _, said in (untrusted, misnamed, unnamed, uncertified))
