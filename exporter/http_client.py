"""The HTTP client for other servers: a running exporter that is asked, a receiver that is sent the metrics.

Rule 1: requests go to the named host and nowhere else: no proxy, no redirect.
Rule 2: user, password and certificates come from the files that a `config.HttpClient` names, and are never shown; no
text of the network is in an error.
"""

import base64
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from exporter.config import BasicAuth, HttpClient, Tls, YamlError, load_yaml, parse_http_client
from exporter.config.otlp import header_lines
from exporter.files import TLS_CONTEXTS, FileError, WatchedFile

CREDENTIALS_IN_URL: Final = (
    "no user and password in the URL, where everybody on this machine can read them: name them in a file, by %s"
)


class RemoteError(Exception):
    """Why there is no answer of another server, as a sentence."""


def read_http_client(path: Path) -> HttpClient:
    """The settings in a file of promtool's format; raises RemoteError with every mistake."""
    try:
        client = parse_http_client(load_yaml(WatchedFile(path).read()))
    except FileError as error:
        raise RemoteError(error.sentence) from None
    except YamlError as error:
        raise RemoteError(f"{path}: {error}") from None
    if not isinstance(client, HttpClient):
        raise RemoteError("; ".join(f"{path}: {problem}" for problem in client))
    return client.resolved(path.parent)


def read_headers(file: WatchedFile) -> dict[str, str]:
    """The headers in a file of `NAME: VALUE` lines; raises FileError, which quotes nothing of it."""
    try:
        return header_lines(file.read().decode())
    except UnicodeDecodeError:
        raise FileError(f"{file.path} is no UTF-8 text") from None
    except ValueError as error:
        raise FileError(f"{file.path}: {error}") from None


def refuse_credentials(url: str, flag: str) -> None:
    """Raise RemoteError if the URL holds a user or a password; `flag` names the file for them."""
    if "@" in urlsplit(url).netloc:
        raise RemoteError(CREDENTIALS_IN_URL % flag)


@contextmanager
def answer_to(request: urllib.request.Request, client: HttpClient, timeout: float) -> Iterator[HTTPResponse]:
    """Send the request, with the client's credentials, and yield the answer if its status is 2xx.

    `timeout`: seconds for each step. Raises urllib's HTTPError for another status, FileError, OSError, ValueError and
    HTTPException: see `error_text`.
    """
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), _NoRedirectHandler(), _HTTPSHandler(client.tls_config)
    )
    if client.basic_auth is not None:
        request.add_header("Authorization", _basic(client.basic_auth))
    with opener.open(request, timeout=timeout) as response:
        yield response


NETWORK_ERRORS: Final = (OSError, ValueError, HTTPException)
"""What `answer_to` raises if there is no answer."""


def error_text(error: Exception, flag: str) -> str:
    """The operating system's text for a failed connection, else the type: other texts may hold bytes of the network.

    `flag`: names the file of the client's settings.
    """
    cause = getattr(error, "reason", error)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not trusted ({cause.verify_message}): name its CA in a file, by {flag}, "
            "and a server_name there that it is made for"
        )
    return cause.strerror if isinstance(cause, OSError) and cause.strerror else type(cause).__name__


class _NoRedirectHandler(urllib.request.HTTPRedirectHandler):
    """A redirect is an error: it leads to another server than the one that the user named."""

    def redirect_request(self, *_: Any) -> None:
        """Follow no redirect."""


class _HTTPSConnection(HTTPSConnection):
    """HTTPS to a server whose certificate may name another host than its URL."""

    def __init__(self, host: str, *, trust: ssl.SSLContext, name: str | None, timeout: float) -> None:
        super().__init__(host, timeout=timeout, context=trust)
        self._trust = trust
        self._name = name

    def connect(self) -> None:
        """Connect by TCP, then do the TLS handshake."""
        HTTPConnection.connect(self)
        self.sock = self._trust.wrap_socket(self.sock, server_hostname=self._name or self.host)


class _HTTPSHandler(urllib.request.HTTPSHandler):
    """HTTPS with the `tls_config` of a client."""

    def __init__(self, tls: Tls) -> None:
        super().__init__()
        self._connection = partial(_HTTPSConnection, trust=TLS_CONTEXTS.context(tls), name=tls.server_name)

    def https_open(self, request: urllib.request.Request) -> HTTPResponse:
        """Send a request over HTTPS."""
        return self.do_open(self._connection, request)


def _basic(auth: BasicAuth) -> str:
    """RFC 7617."""
    password = WatchedFile(auth.password_file).read().strip()
    return f"Basic {base64.b64encode(auth.username.encode() + b':' + password).decode()}"
