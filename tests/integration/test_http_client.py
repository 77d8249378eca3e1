"""Package `http_client`: the named host and nobody else; files are named and not quoted."""

import urllib.error
import urllib.request

import pytest
from support.certificates import authority
from support.otlp_receiver import receiving

from exporter.config import HttpClient, Tls
from exporter.files import FileError, WatchedFile
from exporter.http_client import (
    NETWORK_ERRORS,
    RemoteError,
    answer_to,
    error_text,
    read_headers,
    read_http_client,
    refuse_credentials,
)
from exporter.threads import run_in_daemon_thread

SECRET = "s3cret"


def ask(url, **client):
    """The status of an answer; raises what `answer_to` raises."""
    with answer_to(urllib.request.Request(url, data=b""), HttpClient(**client), 5.0) as answer:
        return answer.status


async def test_a_redirect_is_an_error_and_not_followed(monkeypatch):
    """Nor is a proxy of the environment used."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    async with receiving() as receiver:
        receiver.status(307, Location=f"{receiver.url}/elsewhere")
        with pytest.raises(urllib.error.HTTPError) as raised:
            await run_in_daemon_thread(lambda: ask(receiver.url))
        raised.value.close()
        assert raised.value.code == 307
        assert len(receiver.headers) == 1


async def test_what_is_wrong_is_said_without_a_word_of_the_network(tmp_path):
    """A server without TLS, a file of headers that is none, a client's file that is none."""
    (tmp_path / "ca.crt").write_bytes(authority().pem)
    async with receiving() as receiver:
        https = receiver.url.replace("http:", "https:")
        with pytest.raises(NETWORK_ERRORS) as raised:
            await run_in_daemon_thread(lambda: ask(https, tls_config=Tls(ca_file=str(tmp_path / "ca.crt"))))
    assert "WRONG_VERSION_NUMBER" in error_text(raised.value, "--flag")
    (tmp_path / "headers").write_bytes(b"\xff" + SECRET.encode())
    with pytest.raises(FileError, match="is no UTF-8 text") as raised:
        read_headers(WatchedFile(tmp_path / "headers"))
    assert SECRET not in str(raised.value)
    with pytest.raises(RemoteError, match="does not exist"):
        read_http_client(tmp_path / "gone.yml")
    with pytest.raises(RemoteError, match=r"no user and password in the URL.*by --flag"):
        refuse_credentials(f"http://{SECRET}@localhost/", "--flag")
