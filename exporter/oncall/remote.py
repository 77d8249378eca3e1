"""The HTTP client for a running exporter: asks it for a check, and for its health.

Rule 1: the text of a response is shown only if its `Server` header is an exporter's, and as one printable line.
"""

import urllib.error
import urllib.request
from collections.abc import Mapping
from http import HTTPStatus
from http.client import HTTPResponse
from typing import Final
from urllib.parse import urlencode

from exporter import __version__
from exporter.config import HttpClient
from exporter.files import FileError
from exporter.host import Clock
from exporter.http_client import NETWORK_ERRORS, RemoteError, answer_to, error_text, refuse_credentials
from exporter.log import escape_unprintable
from exporter.report import CheckReport, InvalidReportError, public_url, read_document

CHECK_TIMEOUT_SECONDS: Final = 90.0
"""A check may take as long as the timeout of its session, 60 s and more."""

HEALTH_TIMEOUT_SECONDS: Final = 5.0
"""An exporter whose event loop runs answers in a few milliseconds."""

MAX_RESPONSE_BYTES: Final = 1_048_576
MAX_ERROR_CHARACTERS: Final = 500
CLIENT_FLAG: Final = "--http.config.file"
STATUS_HINTS: Final[Mapping[int, str]] = {
    HTTPStatus.UNAUTHORIZED: f"; name user and password in a file, by {CLIENT_FLAG}",
    HTTPStatus.FORBIDDEN: f"; name a certificate that it allows in a file, by {CLIENT_FLAG}",
    HTTPStatus.NOT_FOUND: "; does the URL lack its --web.route-prefix?",
}
"""What to do about an error status."""


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
        held=report.held,
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
    refuse_credentials(source, CLIENT_FLAG)
    shown = public_url(source)
    try:
        request = urllib.request.Request(f"{source.rstrip('/')}{path}", method=method)  # noqa: S310
        with answer_to(request, client or HttpClient(), timeout) as response:
            if needs_exporter:
                _check_server(response, shown)
            return bytes(response.read(MAX_RESPONSE_BYTES))
    except urllib.error.HTTPError as error:
        with error:
            _check_server(error, shown)
            raise _RemoteRefusedError(shown, error.code, _one_line(error.read(MAX_ERROR_CHARACTERS))) from None
    except FileError as error:
        raise RemoteError(error.sentence) from None
    except NETWORK_ERRORS as error:
        raise RemoteError(f"no answer of an exporter at {shown}: {error_text(error, CLIENT_FLAG)}") from None


def _check_server(response: HTTPResponse | urllib.error.HTTPError, shown: str) -> None:
    if response.headers.get("Server") != "ws-factory-exporter":
        raise RemoteError(f"{shown} answers {response.status} and is no exporter") from None


def _one_line(body: bytes) -> str:
    return escape_unprintable(body[:MAX_ERROR_CHARACTERS].decode("utf-8", "replace").strip())
