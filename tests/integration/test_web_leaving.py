"""What lasts ends when its leave does; and what is answered before the door, or to who has said all."""

import asyncio
import contextlib
import socket

import pytest
from support.certificates import authority
from support.web_client import behind, hashed, pair, trusting, written

from exporter.web.page.document import BUILD

SOON = 10.0
"""Seconds in which a stream must have ended: two looks at the files and two of the stream, on a busy machine."""

STREAM = (
    f"GET /api/events?since={BUILD}.another.0 HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n"
    "Authorization: Basic YWxpY2U6Y29ycmVjdC1ob3JzZQ==\r\n\r\n"
)


def alice(**more):
    return {"basic_auth_users": {"alice": hashed("correct-horse"), **more}}


@contextlib.asynccontextmanager
async def streaming(port, tls=None):
    """A stream of events that has begun, as what reads it."""
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=tls, server_hostname="localhost" if tls else None
    )
    try:
        writer.write(STREAM.encode())
        async with asyncio.timeout(SOON):
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            await reader.readuntil(b"retry: ")
        yield reader
    finally:
        writer.transport.abort()


async def ended(reader):
    """It ends soon: with the last chunk, or with its connection."""
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        async with asyncio.timeout(SOON):
            await reader.readuntil(b"\r\n0\r\n\r\n")


def later(folder, **web):
    """The file as it is now, replaced at once, so that no half of it is seen."""
    path = folder / "web.yml"
    (folder / "new").mkdir(exist_ok=True)
    made = written(folder / "new", **web)
    made.replace(path)


@pytest.mark.parametrize(
    "change",
    [
        {"basic_auth_users": {"bob": hashed("another-horse")}},
        {"basic_auth_users": {"alice": hashed("new-password")}},
        {"nothing": "of ours"},
    ],
    ids=["removed", "another password", "broken file"],
)
async def test_a_stream_ends_when_its_user_is_removed(change, tmp_path, monkeypatch):
    """Whoever would get 401 or 500 now is sent no more."""
    async with behind(written(tmp_path, **alice()), monkeypatch) as server, streaming(server.port) as reader:
        later(tmp_path, **change)
        await ended(reader)


async def test_a_stream_without_user_ends_when_users_are_configured(tmp_path, monkeypatch):
    """It was begun while the door was open."""
    async with behind(written(tmp_path), monkeypatch) as server, streaming(server.port) as reader:
        later(tmp_path, **alice())
        await ended(reader)


@pytest.mark.parametrize("what", ["ca", "name"])
async def test_a_stream_ends_when_its_certificate_is_no_longer_accepted(what, tmp_path, monkeypatch):
    """Another CA, or another list of names."""
    (tmp_path / "ca.crt").write_bytes(authority().pem)
    wanted = {"client_auth_type": "RequireAndVerifyClientCert", "client_ca_file": "ca.crt"}
    tls = {**pair(tmp_path), **wanted, "client_allowed_sans": ["me"]}
    client = trusting(tmp_path, client=authority().issue("me"))
    async with (
        behind(written(tmp_path, tls_server_config=tls), monkeypatch) as server,
        streaming(server.port, client) as reader,
    ):
        if what == "name":
            later(tmp_path, tls_server_config=tls | {"client_allowed_sans": ["another"]})
        else:
            (tmp_path / "ca.crt").write_bytes(type(authority())("Another").pem)
        await ended(reader)


async def test_a_stream_continues_for_an_allowed_user(tmp_path, monkeypatch):
    """A change that is not about its user does not end it."""
    async with behind(written(tmp_path, **alice()), monkeypatch) as server, streaming(server.port) as reader:
        known = server._access._active
        users = known.config.basic_auth_users
        later(tmp_path, basic_auth_users={**users, "bob": hashed("another-horse")})
        async with asyncio.timeout(SOON):
            while server._access._active is known:
                await asyncio.sleep(0)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2.5):
                await reader.readuntil(b"\r\n0\r\n\r\n")
        assert not reader.at_eof()


# Before the door -------------------------------------------------------------------------------------------------


def exchanged(port, request, *, half_close=False):
    """All that comes for a request, until the end of the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=SOON) as sock:
        sock.sendall(request.encode())
        if half_close:
            sock.shutdown(socket.SHUT_WR)
        got = b""
        while data := sock.recv(65_536):
            got += data
    return got.decode("latin-1")


@pytest.mark.parametrize("said", ["something", "100-continue", "100-Continue, x", ""])
@pytest.mark.parametrize("path", ["/-/ready", "/nowhere"])
async def test_an_expect_header_changes_no_response(path, said, tmp_path, monkeypatch):
    """Who is nobody gets 401 and no other word; what was expected is not said back."""
    async with behind(written(tmp_path, **alice()), monkeypatch) as server:
        request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nExpect: {said}\r\nConnection: close\r\n\r\n"
        answer = await asyncio.to_thread(exchanged, server.port, request)
        assert answer.startswith("HTTP/1.1 401 ")
        assert answer.count("HTTP/1.1") == 1
        assert "something" not in answer


@pytest.mark.parametrize("path", ["/-/ready", "/metrics"])
async def test_a_half_closed_client_is_answered(path, tmp_path, monkeypatch):
    """A client that closes its half (`nc -N`) has asked all the same; then the connection ends."""
    async with behind(written(tmp_path), monkeypatch) as server:
        request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"
        answer = await asyncio.to_thread(exchanged, server.port, request, half_close=True)
        assert answer.startswith("HTTP/1.1 200 OK")
        head, _, body = answer.partition("\r\n\r\n")
        assert f"Content-Length: {len(body)}\r\n" in head


async def test_a_client_that_half_closes_without_a_request_is_disconnected(tmp_path, monkeypatch):
    """Nothing was asked, so nothing is held for it."""
    async with behind(written(tmp_path), monkeypatch) as server:
        assert await asyncio.to_thread(exchanged, server.port, "", half_close=True) == ""


@pytest.mark.parametrize("line", ["GET / HTTP/1.1 x", "GET\x01 / HTTP/1.1", "x", "GET /\x00 HTTP/1.1"])
async def test_a_malformed_request_gets_the_security_headers(line, tmp_path, monkeypatch):
    """The 400 of a broken request is dressed like every answer."""
    async with behind(written(tmp_path), monkeypatch) as server:
        answer = await asyncio.to_thread(exchanged, server.port, f"{line}\r\nHost: localhost\r\n\r\n")
        assert answer.split(" ")[1] == "400"
        for header in "X-Content-Type-Options: nosniff", "X-Frame-Options: DENY", "Content-Security-Policy: ":
            assert f"\r\n{header}" in answer


@pytest.mark.parametrize("version", ["0.9", "2.0", "3.7", "1.9"])
async def test_another_http_version_gets_505(version, tmp_path, monkeypatch):
    """A status line of HTTP/2.0 would be a lie."""
    async with behind(written(tmp_path), monkeypatch) as server:
        request = f"GET /-/ready HTTP/{version}\r\nHost: localhost\r\n\r\n"
        answer = await asyncio.to_thread(exchanged, server.port, request)
        assert answer.startswith(("HTTP/1.1 505 ", "HTTP/1.0 400 ")), answer
