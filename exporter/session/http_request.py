"""One HTTP request and its answer, by aiohttp's client.

Rule 1: this module is imported when a profile first needs it (`before.load_client`): aiohttp takes 0.1 s to load.
Rule 2: one request, to one address: no redirect, no proxy, no cookie, no second try, no decompression.
Rule 3: whatever aiohttp or the network does becomes a `ProbeError` that holds none of their text; only cancellation
escapes, and an OSError of this machine.
"""

import socket
import ssl
from collections.abc import Callable
from http import HTTPStatus
from types import SimpleNamespace
from typing import Any, Final

import aiohttp
from yarl import URL

from exporter.result import Address, ErrorKind, ProbeError
from exporter.session.before import HttpAnswer
from exporter.session.request import HttpRequest
from exporter.session.upgrade import retry_after_of
from exporter.transport import READ_BYTES, certificate_verdict, error_from_connect

MAX_HEAD_LINE_BYTES: Final = 16_384
SUCCESS: Final = range(HTTPStatus.OK, HTTPStatus.MULTIPLE_CHOICES)
NO_TIMEOUTS: Final = aiohttp.ClientTimeout(total=None, sock_connect=None)
"""The session's own deadline bounds the request."""


async def exchange(request: HttpRequest, address: Address, connected: Callable[[], None]) -> HttpAnswer:
    """Send the request to the address and return the answer, if its status is 2xx and it is not too large.

    `connected` is called once the connection, with its TLS, is there. Raises ProbeError: refused, unreachable, reset,
    eof, certificate, tls, status, protocol, too_big.
    """
    try:
        async with _client(connected) as client, _send(client, request, address) as response:
            if response.status not in SUCCESS:
                raise ProbeError(ErrorKind.STATUS, status=response.status, retry_after=_retry_after(response))
            return HttpAnswer(response.status, await _read_body(response, request.max_answer_bytes))
    except (aiohttp.ClientError, OSError, ValueError) as error:
        # Without the cause, whose text may quote the answer.
        raise _probe_error(error) from None


def _client(connected: Callable[[], None]) -> aiohttp.ClientSession:
    async def on_connected(_client: Any, _context: SimpleNamespace, _parameters: Any) -> None:
        connected()

    trace = aiohttp.TraceConfig()
    trace.on_connection_create_end.append(on_connected)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(force_close=True, happy_eyeballs_delay=None, socket_factory=_open_socket),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        timeout=NO_TIMEOUTS,
        trust_env=False,
        max_line_size=MAX_HEAD_LINE_BYTES,
        max_field_size=MAX_HEAD_LINE_BYTES,
        trace_configs=[trace],
    )


def _open_socket(address: Any) -> socket.socket:
    """Return a socket that takes `READ_BYTES` at once: 256 KiB of interim heads would block the loop for 0.3 s."""
    family, kind, protocol, *_ = address
    opened = socket.socket(family, kind, protocol)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, READ_BYTES)
    return opened


def _send(client: aiohttp.ClientSession, request: HttpRequest, address: Address) -> Any:
    host = str(address[1][0])
    scheme, authority = "http" if request.tls is None else "https", f"[{host}]" if ":" in host else host
    return client.request(
        request.method,
        URL(f"{scheme}://{authority}:{request.port}{request.resource}", encoded=True),
        headers={"Host": request.authority, **request.headers},
        data=request.body,
        skip_auto_headers=("User-Agent", "Accept", "Content-Type"),
        allow_redirects=False,
        ssl=request.tls or True,
        server_hostname=None if request.tls is None else request.server_name or request.host,
    )


def _retry_after(response: aiohttp.ClientResponse) -> float | None:
    return retry_after_of({name: response.headers.getall(name, []) for name in ("retry-after", "date")})


async def _read_body(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    """Return the whole body; raises ProbeError (too_big) as soon as it is known to be larger than permitted."""
    body = bytearray()
    if (response.content_length or 0) > max_bytes:
        raise ProbeError(ErrorKind.TOO_BIG, "content-length", status=response.status)
    async for part in response.content.iter_any():
        body += part
        if len(body) > max_bytes:
            raise ProbeError(ErrorKind.TOO_BIG, "body", status=response.status)
    return bytes(body)


def _probe_error(error: Exception) -> ProbeError:
    """Return the error of an exception; raises OSError if this machine is the cause."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        refusal = error.certificate_error
        verdict = certificate_verdict(refusal) if isinstance(refusal, ssl.SSLCertVerificationError) else None
        return ProbeError(ErrorKind.CERTIFICATE, type(refusal).__name__, tls_verify=verdict)
    if isinstance(error, aiohttp.ClientConnectorError) and not isinstance(error.os_error, ssl.SSLError):
        return error_from_connect(error.os_error)
    if isinstance(error.__cause__, ssl.SSLError):  # an alert after the handshake, as TLS 1.3 refuses a client
        return ProbeError(ErrorKind.TLS, type(error.__cause__).__name__)
    for classes, kind in ERROR_KINDS:
        if isinstance(error, classes):
            return ProbeError(kind, type(error).__name__)
    raise error


ERROR_KINDS: Final[tuple[tuple[type[Exception] | tuple[type[Exception], ...], ErrorKind], ...]] = (
    ((aiohttp.ClientConnectorError, ssl.SSLError), ErrorKind.TLS),
    (aiohttp.ServerDisconnectedError, ErrorKind.EOF),
    (aiohttp.ClientPayloadError, ErrorKind.EOF),
    ((aiohttp.ClientConnectionError, ConnectionError), ErrorKind.RESET),
    ((aiohttp.ClientError, ValueError), ErrorKind.PROTOCOL),
)
"""The kind of each exception of aiohttp's client, the first row that fits; the connection's own errors come before."""
