"""The HTTP client for a running exporter: asks it for a check, and for its health.

Rule 1: requests go to the named host and nowhere else: no proxy, no redirect.
Rule 2: the text of a response is shown only if its `Server` header is an exporter's, and as one printable line.
Rule 3: user, password and certificates come from the files that a `config.HttpClient` names, and are never shown.
"""

import base64
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from functools import partial
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from exporter import __version__
from exporter.config import BasicAuth, HttpClient, Tls, YamlError, load_yaml, parse_http_client
from exporter.files import TLS_CONTEXTS, FileError, WatchedFile
from exporter.host import Clock
from exporter.log import escape_unprintable
from exporter.report import CheckReport, InvalidReportError, public_url, read_document

CHECK_TIMEOUT_SECONDS: Final = 90.0
"""A check may take as long as the timeout of its session, 60 s and more."""

HEALTH_TIMEOUT_SECONDS: Final = 5.0
"""An exporter whose event loop runs answers in a few milliseconds."""

MAX_RESPONSE_BYTES: Final = 1_048_576
MAX_ERROR_CHARACTERS: Final = 500
CREDENTIALS_IN_URL: Final = (
    "no user and password in the URL, where everybody on this machine can read them: name them in a file, by "
    "--http.config.file"
)
STATUS_HINTS: Final[Mapping[int, str]] = {
    HTTPStatus.UNAUTHORIZED: "; name user and password in a file, by --http.config.file",
    HTTPStatus.FORBIDDEN: "; name a certificate that it allows in a file, by --http.config.file",
    HTTPStatus.NOT_FOUND: "; does the URL lack its --web.route-prefix?",
}
"""What to do about an error status."""


class RemoteError(Exception):
    """Why there is no answer of a running exporter, as a sentence."""


def read_http_client(path: Path) -> HttpClient:
    """The settings in the file of `--http.config.file`; raises RemoteError with every mistake."""
    try:
        client = parse_http_client(load_yaml(WatchedFile(path).read()))
    except FileError as error:
        raise RemoteError(error.sentence) from None
    except YamlError as error:
        raise RemoteError(f"{path}: {error}") from None
    if not isinstance(client, HttpClient):
        raise RemoteError("; ".join(f"{path}: {problem}" for problem in client))
    return client.resolved(path.parent)


def fetch_check(source: str, target: str, probe: str | None, client: HttpClient | None = None) -> CheckReport:
    """A check that the exporter at `source` runs now; raises RemoteError if it cannot be reached or is none."""
    shown, started_at = public_url(source), Clock().wall()
    query = urlencode({"target": target, **({"probe": probe} if probe else {})})
    try:
        body = _fetch(source, f"/api/check?{query}", client, CHECK_TIMEOUT_SECONDS, method="POST")
        report = read_document(body)
    except _RemoteRefusedError as error:
        if error.status == HTTPStatus.SERVICE_UNAVAILABLE:
            return CheckReport(target, shown, (), started_at, __version__, refusal=error.text)
        raise RemoteError(str(error)) from None
    except InvalidReportError as error:
        raise RemoteError(f"{shown} does not answer as an exporter does: {error}") from None
    return CheckReport(
        report.target,
        shown,
        report.results,
        report.started_at,
        __version__,
        context=report.context,
        origin=report.origin,
    )


def fetch_health(source: str, client: HttpClient | None = None) -> str:
    """The health of the exporter at `source`, as a sentence; raises RemoteError if it is unhealthy or cannot answer."""
    try:
        text = _one_line(_fetch(source, "/-/healthy", client, HEALTH_TIMEOUT_SECONDS, needs_exporter=True))
    except _RemoteRefusedError as error:
        raise RemoteError(str(error)) from None
    return f"{public_url(source)} says {text}"


# HTTP -----------------------------------------------------------------------------------------------------------------


class _RemoteRefusedError(Exception):
    """An exporter answered with an error status. `text`: its body, as one line."""

    def __init__(self, shown: str, status: int, text: str) -> None:
        super().__init__(f"{shown} answers {status}: {text}{STATUS_HINTS.get(status, '')}")
        self.status = status
        self.text = text


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
    """HTTPS with the `tls_config` of `--http.config.file`."""

    def __init__(self, tls: Tls) -> None:
        super().__init__()
        self._connection = partial(_HTTPSConnection, trust=TLS_CONTEXTS.context(tls), name=tls.server_name)

    def https_open(self, request: urllib.request.Request) -> HTTPResponse:
        """Send a request over HTTPS."""
        return self.do_open(self._connection, request)


def _fetch(
    source: str,
    path: str,
    client: HttpClient | None,
    timeout: float,
    *,
    method: str = "GET",
    needs_exporter: bool = False,
) -> bytes:
    """The body of a 200; raises RemoteError and _RemoteRefusedError.

    `needs_exporter`: refuse a 200 of another server too.
    """
    if not source.startswith(("http://", "https://")):
        raise RemoteError("must be the URL of an exporter, such as http://exporter:11011")
    if "@" in urlsplit(source).netloc:
        raise RemoteError(CREDENTIALS_IN_URL)
    shown, client = public_url(source), client or HttpClient()
    try:
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), _NoRedirectHandler(), _HTTPSHandler(client.tls_config)
        )
        request = urllib.request.Request(f"{source.rstrip('/')}{path}", method=method)  # noqa: S310
        if client.basic_auth is not None:
            request.add_header("Authorization", _basic(client.basic_auth))
        with opener.open(request, timeout=timeout) as response:
            if needs_exporter:
                _check_server(response, shown)
            return bytes(response.read(MAX_RESPONSE_BYTES))
    except urllib.error.HTTPError as error:
        with error:
            _check_server(error, shown)
            raise _RemoteRefusedError(shown, error.code, _one_line(error.read(MAX_ERROR_CHARACTERS))) from None
    except FileError as error:
        raise RemoteError(error.sentence) from None
    except (OSError, ValueError, HTTPException) as error:
        raise RemoteError(f"no answer of an exporter at {shown}: {_error_text(error)}") from None


def _basic(auth: BasicAuth) -> str:
    """RFC 7617."""
    password = WatchedFile(auth.password_file).read().strip()
    return f"Basic {base64.b64encode(auth.username.encode() + b':' + password).decode()}"


def _check_server(response: HTTPResponse | urllib.error.HTTPError, shown: str) -> None:
    if response.headers.get("Server") != "ws-factory-exporter":
        raise RemoteError(f"{shown} answers {response.status} and is no exporter") from None


def _one_line(body: bytes) -> str:
    return escape_unprintable(body[:MAX_ERROR_CHARACTERS].decode("utf-8", "replace").strip())


def _error_text(error: Exception) -> str:
    """The operating system's text for a failed connection, else the type: other texts may hold bytes of the network."""
    cause = getattr(error, "reason", error)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not trusted ({cause.verify_message}): name its CA in a file, by --http.config.file, "
            "and a server_name there that it is made for"
        )
    return cause.strerror if isinstance(cause, OSError) and cause.strerror else type(cause).__name__
