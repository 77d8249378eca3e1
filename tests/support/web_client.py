"""A server behind a web config, and a client that says how it was let in."""

import asyncio
import base64
import contextlib
import io
import re
import ssl
from dataclasses import dataclass

import bcrypt
import yaml

from exporter import log
from exporter.web.secure import access_control
from support import harness
from support.certificates import authority, client_context, load
from support.fake_site import Shown

SOON = 0.05
"""Seconds between two looks at the files, in place of one."""

PATIENCE = 20.0


def hashed(password, cost=4):
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(cost)).decode()


def pair(folder, *names, name="server", ca=None, kind="ec"):
    """Write a certificate and its key of their own files; the fields that name them."""
    key, certificate = _halves((ca or authority()).issue(*names or ("localhost",), kind=kind))
    (folder / f"{name}.crt").write_bytes(certificate)
    (folder / f"{name}.key").write_bytes(key)
    (folder / f"{name}.key").chmod(0o600)
    return {"cert_file": f"{name}.crt", "key_file": f"{name}.key"}


def _halves(pem):
    end = b"-----END PRIVATE KEY-----\n"
    key, _, certificate = pem.partition(end)
    return key + end, certificate


def trusting(folder, *, client=None, **settings):
    """A client's context; `client`: the PEM that it shows."""
    context = client_context(**settings)
    if client is not None:
        load(context, folder, client)
    return context


def written(folder, **web):
    """The web config as a file."""
    path = folder / "web.yml"
    path.write_text(yaml.safe_dump(web))
    return path


@dataclass(frozen=True)
class Answered:
    """What came back; `tls`: the connection's TLS object, None for plain."""

    status: int
    headers: dict
    body: str
    tls: ssl.SSLObject | None


class Client:
    """One connection; `ask` as often as it is kept."""

    def __init__(self, reader, writer):
        self._reader, self._writer = reader, writer

    @classmethod
    async def to(cls, port, tls=None):
        async with asyncio.timeout(PATIENCE):
            name = "localhost" if tls else None
            return cls(*await asyncio.open_connection("127.0.0.1", port, ssl=tls, server_hostname=name))

    async def ask(self, path="/-/ready", *, user=None, method="GET", **headers):
        lines = [f"{method} {path} HTTP/1.1", "Host: localhost"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        if user is not None:
            lines.append(f"Authorization: Basic {base64.b64encode(user.encode()).decode()}")
        self._writer.write("\r\n".join([*lines, "", ""]).encode())
        async with asyncio.timeout(PATIENCE):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            status, *lines = head.splitlines()
            said = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
            body = await self._reader.readexactly(int(said.get("content-length", 0))) if method != "HEAD" else b""
        return Answered(int(status.split()[1]), said, body.decode(), self._writer.get_extra_info("ssl_object"))

    async def close(self):
        self._writer.transport.abort()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


async def ask(port, path="/-/ready", *, tls=None, **request):
    """What one request on one connection gets."""
    client = await Client.to(port, tls)
    try:
        return await client.ask(path, **request)
    finally:
        await client.close()


async def turned_away(port, **request):
    """Whether the connection ends without an answer, in the handshake or after."""
    try:
        await ask(port, **request)
    except (OSError, asyncio.IncompleteReadError):
        return True
    return False


@contextlib.asynccontextmanager
async def behind(path, monkeypatch, **doorway):
    """A server behind this web config, whose files are looked at often."""
    monkeypatch.setattr(access_control, "FILE_CHECK_SECONDS", SOON)
    server = await Shown().serve(config_file=path, **doorway)
    try:
        yield server
    finally:
        await server.close()


async def until_asked(question):
    """Wait until `question()`, awaited, is true."""
    async with asyncio.timeout(PATIENCE):
        while not await question():
            await asyncio.sleep(0)


@contextlib.contextmanager
def lines():
    """What is logged meanwhile: `said(pattern)` gives the lines, once written, in which it is found."""
    stream = io.StringIO()
    logs = log.configure("debug", "logfmt", stream)

    async def said(pattern, times=1):
        await harness.until(lambda: len(re.findall(pattern, stream.getvalue())) >= times, PATIENCE)
        return [line for line in stream.getvalue().splitlines() if re.search(pattern, line)]

    said.all = stream.getvalue
    try:
        yield said
    finally:
        logs.close()
