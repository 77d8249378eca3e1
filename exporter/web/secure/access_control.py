"""Decides on each connection (TLS context, client certificate) and on each request (rate, site, password).

The files are read once a second, independently of requests: a change takes effect within two seconds, and no request
waits for a disk. A change takes effect when two readings agree, because a file may be read while it is written.

Rule 1: closed is a state of its own, without a config: every request is refused. Rule 2: TLS cannot be switched on or
off while the process runs; a file that tries closes access.
"""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from ssl import SSLContext
from typing import Final, Self, TypeVar

from aiohttp import web

from exporter.threads import DaemonThread
from exporter.web.connection import HttpConnection
from exporter.web.secure.active_config import ActiveWebConfig, FileSnapshot, WebConfigError, WebConfigFiles
from exporter.web.secure.passwords import PasswordChecker, TooManyPendingError, parse_credentials
from exporter.web.secure.rate_limit import RequestRateLimit
from exporter.web.secure.tls import is_allowed
from exporter.web.secure.trusted_sites import TrustedSites

FILE_CHECK_SECONDS: Final = 1.0
"""Seconds between two readings of the files."""

TLS_SWITCHED: Final = "tls_server_config: TLS begins and ends with the process: restart, or put the file back as it was"
AUTHENTICATE_HEADER: Final = {"WWW-Authenticate": 'Basic realm="ws-factory-exporter", charset="UTF-8"'}
SAFE_METHODS: Final = ("GET", "HEAD", "OPTIONS")
CROSS_SITE: Final = (
    "the page of another site may change nothing here; if this page is the exporter's, name the host of its address "
    "with --web.external-url or --web.allowed-host\n"
)

ACCESS_CLOSED: Final = (
    "the web configuration of this exporter is broken, see its log; every request is refused until it is corrected\n"
)

USER: Final = web.RequestKey("user", tuple[str, str])
"""Key of a request: the user's name and hash."""

T = TypeVar("T")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_logger: Final = logging.getLogger(__name__)


class AccessClosedError(Exception):
    """Access is closed, because the files are broken."""


class AccessControl:
    """Made by `open`, ended by `close`. `watch` follows changes of the files until it is cancelled."""

    def __init__(self, path: Path | None, sites: TrustedSites) -> None:
        self._sites = sites
        self._files = WebConfigFiles(path) if path is not None else None
        self._thread = DaemonThread("web-config")
        self._passwords = PasswordChecker()
        self._limit: RequestRateLimit | None = None
        self._active: ActiveWebConfig | None = ActiveWebConfig()
        self._tls = False
        self._last_read = self._applied = FileSnapshot("")

    @classmethod
    async def open(cls, path: Path | None, sites: TrustedSites) -> Self:
        """Access control by the files as they are now; raises WebConfigError with every mistake."""
        self = cls(path, sites)
        if self._files is not None:
            self._applied = self._last_read = await self._in_thread(self._files.read)
            config = await self._in_thread(self._files.parse, self._applied)
            if not isinstance(config, ActiveWebConfig):
                await self.close()
                raise WebConfigError(*config)
            self._tls = config.context is not None
            self._activate(config)
        return self

    async def close(self) -> None:
        """End the threads."""
        self._thread.shutdown()
        await self._passwords.close()

    # Connections ----------------------------------------------------------------------------------------------------

    @property
    def uses_tls(self) -> bool:
        """Whether connections begin with a TLS handshake."""
        return self._tls

    def context(self) -> SSLContext | None:
        """The TLS context for a new connection, None without TLS; raises AccessClosedError."""
        if self._active is None and self._tls:
            raise AccessClosedError
        return None if self._active is None else self._active.context

    def admits(self, transport: asyncio.BaseTransport) -> bool:
        """Whether the client's certificate has an allowed name; True if the config lists no names."""
        tls = self._active and self._active.config.tls_server_config
        if not tls or tls.client_allowed_sans is None:
            return True
        return is_allowed(transport.get_extra_info("peercert"), tls.client_allowed_sans)

    # Requests -------------------------------------------------------------------------------------------------------

    @property
    def headers(self) -> Mapping[str, str]:
        """Additional headers of every response."""
        headers = self._active.config.http_server_config.headers if self._active is not None else {}
        return {str(name): value for name, value in headers.items()}

    @web.middleware
    async def authenticate(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse the request, or pass it to its handler."""
        if self._active is None:
            return _refusal(HTTPStatus.INTERNAL_SERVER_ERROR, ACCESS_CLOSED)
        connection = request.protocol
        if isinstance(connection, HttpConnection) and self._must_reconnect(connection):
            connection.abort()
            raise ConnectionResetError
        wait = self._limit.wait(asyncio.get_running_loop().time()) if self._limit is not None else 0.0
        if wait > 0:
            return _refusal(HTTPStatus.TOO_MANY_REQUESTS, "too many requests\n", {"Retry-After": str(math.ceil(wait))})
        if request.method not in SAFE_METHODS and not self._sites.may_change(request.headers, tls=request.secure):
            return _refusal(HTTPStatus.FORBIDDEN, CROSS_SITE)
        return await self._check_user(request) or await handler(request)

    def _must_reconnect(self, connection: HttpConnection) -> bool:
        """Whether the connection was made with an earlier TLS context and has served a request before.

        The first request is answered: its client connected just before the change, and would not try again as it does
        when a connection that has served it is closed.
        """
        return self._active is not None and connection.context is not self._active.context and connection.requests > 1

    def still_allowed(self, request: web.Request) -> bool:
        """Whether a request that is being answered would be allowed now, by TLS context, user and password.

        False also for a half-closed connection, whose client may have gone.
        """
        active, connection = self._active, request.protocol
        if active is None or not isinstance(connection, HttpConnection) or connection.half_closed:
            return False
        if connection.context is not active.context:
            return False
        users = active.config.basic_auth_users
        name, hashed = request.get(USER, ("", ""))
        return not users or users.get(name) == hashed

    async def _check_user(self, request: web.Request) -> web.Response | None:
        """The refusal of a request without a right password; None for a user's, and if there are no users."""
        users = self._active.config.basic_auth_users if self._active is not None else {}
        if not users:
            return None
        credentials = parse_credentials(request.headers.get("Authorization", ""))
        try:
            if credentials is not None and await self._passwords.is_right(users, credentials):
                request[USER] = credentials.user, users[credentials.user]
                return None
        except TooManyPendingError:
            return _refusal(HTTPStatus.SERVICE_UNAVAILABLE, "too many passwords to check\n", {"Retry-After": "5"})
        return _refusal(HTTPStatus.UNAUTHORIZED, "this needs a user and a password\n", AUTHENTICATE_HEADER)

    # Files ----------------------------------------------------------------------------------------------------------

    async def watch(self) -> None:
        """Read the files every `FILE_CHECK_SECONDS` and apply their changes."""
        while self._files is not None:
            await asyncio.sleep(FILE_CHECK_SECONDS)
            try:
                await self._check_files(self._files)
            except Exception as defect:  # noqa: BLE001 - no error may leave the old config in force
                self._applied = self._last_read = FileSnapshot("")
                self._apply((f"a defect of the exporter, please report this: {type(defect).__name__}",))

    async def _check_files(self, files: WebConfigFiles) -> None:
        """Apply the files if two readings in a row agree and differ from what is applied."""
        previous, self._last_read = self._last_read, await self._in_thread(files.read)
        if self._last_read == previous != self._applied:
            config = await self._in_thread(files.parse, self._last_read)
            self._applied = self._last_read
            self._apply(config)

    def _apply(self, config: ActiveWebConfig | tuple[str, ...]) -> None:
        """Put a config in force, or close access because of these problems."""
        if isinstance(config, ActiveWebConfig) and (config.context is not None) is not self._tls:
            config = (f"{self._files and self._files.path}: {TLS_SWITCHED}",)
        if isinstance(config, ActiveWebConfig):
            _logger.info("the web config has changed and is in force")
            self._activate(config)
        else:
            self._active = None
            _logger.error(
                "the web config is broken, every request is refused until it is corrected: %s", "; ".join(config)
            )

    def _activate(self, config: ActiveWebConfig) -> None:
        for warning in config.warnings:
            _logger.warning("%s", warning)
        limit = config.config.rate_limit
        if limit is None or self._limit is None or self._limit.settings != limit:
            self._limit = RequestRateLimit(limit) if limit is not None else None
        self._active = config

    async def _in_thread(self, work: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)


def _refusal(status: HTTPStatus, sentence: str, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(text=sentence, status=status, headers=headers)
