"""A running exporter is asked over HTTP: for a check now, and whether it is well.

Rule 1: no proxy, no redirect: whoever is asked is the one that was named. Rule 2: what it says is shown only if it says
that it is an exporter, as one printable line. Rule 3: user, password and certificates come from the files that a
`config.HttpClient` names, and are never shown.
"""

import base64
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import replace
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
from exporter.log import printable
from exporter.report import CheckReport, InvalidReportError, public_url, read_document

CHECK_TIMEOUT_SECONDS: Final = 90.0
"""Seconds to wait for a running exporter: a check there may take a session's timeout, 60 s and more."""

HEALTH_TIMEOUT_SECONDS: Final = 5.0
"""Seconds: an exporter whose loop turns answers in a few milliseconds."""

MAX_ANSWER_BYTES: Final = 1_048_576
MAX_ERROR_CHARACTERS: Final = 500
IN_THE_OPEN: Final = (
    "no user and password in the URL, where everybody on this machine can read them: name them in a file, by "
    "--http.config.file"
)
HINTS: Final[Mapping[int, str]] = {
    HTTPStatus.UNAUTHORIZED: "; name user and password in a file, by --http.config.file",
    HTTPStatus.FORBIDDEN: "; name a certificate that it allows in a file, by --http.config.file",
    HTTPStatus.NOT_FOUND: "; does the URL lack its --web.route-prefix?",
}
"""What to do about an answer that is none."""


class RemoteError(Exception):
    """A sentence: why a running exporter cannot be asked."""


def client_of(path: Path) -> HttpClient:
    """What stands in the file of `--http.config.file`; raises NoAnswer with every mistake."""
    try:
        client = parse_http_client(load_yaml(WatchedFile(path).read()))
    except FileError as problem:
        raise RemoteError(problem.sentence) from None
    except YamlError as problem:
        raise RemoteError(f"{path}: {problem}") from None
    if not isinstance(client, HttpClient):
        raise RemoteError("; ".join(f"{path}: {problem}" for problem in client))
    return client.resolved(path.parent)


def asked_of(source: str, target: str, probe: str | None, client: HttpClient | None = None) -> CheckReport:
    """The check of a running exporter; raises NoAnswer if there is none or it cannot say."""
    shown, started = public_url(source), Clock().wall()
    query = urlencode({"target": target, **({"probe": probe} if probe else {})})
    nothing = CheckReport(target, shown, (), started, __version__)
    try:
        earlier = read_document(_answer(source, f"/api/check?{query}", client, CHECK_TIMEOUT_SECONDS, method="POST"))
    except _RemoteRefusedError as refused:
        if refused.status == HTTPStatus.SERVICE_UNAVAILABLE:
            return replace(nothing, refusal=refused.said)
        raise RemoteError(str(refused)) from None
    except InvalidReportError as problem:
        raise RemoteError(f"{shown} does not answer as an exporter does: {problem}") from None
    return CheckReport(earlier.target, shown, earlier.results, earlier.started_at, __version__, context=earlier.context)


def healthy_at(source: str, client: HttpClient | None = None) -> str:
    """What the exporter there says of its health, as a sentence; raises NoAnswer if it is not well, or is none."""
    try:
        said = _line(_answer(source, "/-/healthy", client, HEALTH_TIMEOUT_SECONDS, ours=True))
    except _RemoteRefusedError as refused:
        raise RemoteError(str(refused)) from None
    return f"{public_url(source)} says {said}"


# HTTP -----------------------------------------------------------------------------------------------------------------


class _RemoteRefusedError(Exception):
    """An exporter's answer that is no 200."""

    def __init__(self, shown: str, status: int, said: str) -> None:
        super().__init__(f"{shown} answers {status}: {said}{HINTS.get(status, '')}")
        self.status = status
        self.said = said


class _NoRedirectHandler(urllib.request.HTTPRedirectHandler):
    """A redirect is a finding: whoever it leads to is not the one we were told to ask."""

    def redirect_request(self, *_: Any) -> None:
        """Follow none."""


class _HTTPSConnection(HTTPSConnection):
    """HTTPS to a server that may be called otherwise than its address."""

    def __init__(self, host: str, *, trust: ssl.SSLContext, name: str | None, timeout: float) -> None:
        super().__init__(host, timeout=timeout, context=trust)
        self._trust = trust
        self._name = name

    def connect(self) -> None:
        """Connect, and shake hands."""
        HTTPConnection.connect(self)
        self.sock = self._trust.wrap_socket(self.sock, server_hostname=self._name or self.host)


class _HTTPSHandler(urllib.request.HTTPSHandler):
    """HTTPS by settings of ours."""

    def __init__(self, tls: Tls) -> None:
        super().__init__()
        self._connection = partial(_HTTPSConnection, trust=TLS_CONTEXTS.context(tls), name=tls.server_name)

    def https_open(self, request: urllib.request.Request) -> HTTPResponse:
        """Open a request."""
        return self.do_open(self._connection, request)


def _answer(
    source: str, path: str, client: HttpClient | None, timeout: float, *, method: str = "GET", ours: bool = False
) -> bytes:
    """The body of a 200, which an exporter must have signed if it is to be `ours`; raises NoAnswer and _Refused."""
    if not source.startswith(("http://", "https://")):
        raise RemoteError("must be the URL of an exporter, such as http://exporter:11011")
    if "@" in urlsplit(source).netloc:
        raise RemoteError(IN_THE_OPEN)
    shown, client = public_url(source), client or HttpClient()
    try:
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), _NoRedirectHandler(), _HTTPSHandler(client.tls_config)
        )
        request = urllib.request.Request(f"{source.rstrip('/')}{path}", method=method)  # noqa: S310
        if client.basic_auth is not None:
            request.add_header("Authorization", _basic(client.basic_auth))
        with opener.open(request, timeout=timeout) as answer:
            if ours:
                _is_ours(answer, shown)
            return bytes(answer.read(MAX_ANSWER_BYTES))
    except urllib.error.HTTPError as error:
        with error:
            _is_ours(error, shown)
            raise _RemoteRefusedError(shown, error.code, _line(error.read(MAX_ERROR_CHARACTERS))) from None
    except FileError as problem:
        raise RemoteError(problem.sentence) from None
    except (OSError, ValueError, HTTPException) as problem:
        raise RemoteError(f"no answer of an exporter at {shown}: {_network_words(problem)}") from None


def _basic(auth: BasicAuth) -> str:
    """RFC 7617."""
    password = WatchedFile(auth.password_file).read().strip()
    return f"Basic {base64.b64encode(auth.username.encode() + b':' + password).decode()}"


def _is_ours(answer: HTTPResponse | urllib.error.HTTPError, shown: str) -> None:
    if answer.headers.get("Server") != "ws-factory-exporter":
        raise RemoteError(f"{shown} answers {answer.status} and is no exporter") from None


def _line(body: bytes) -> str:
    return printable(body[:MAX_ERROR_CHARACTERS].decode("utf-8", "replace").strip())


def _network_words(problem: Exception) -> str:
    """What the machine says of a connection; else the type: other texts may hold the network's."""
    cause = getattr(problem, "reason", problem)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not trusted ({cause.verify_message}): name its CA in a file, by --http.config.file, "
            "and a server_name there that it is made for"
        )
    return cause.strerror if isinstance(cause, OSError) and cause.strerror else type(cause).__name__
