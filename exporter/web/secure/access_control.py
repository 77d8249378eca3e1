"""Asked for each connection (which TLS context, whose certificate) and for each request (limit, password).

The files are looked at once a second, whoever comes: a change holds within two seconds even if nobody asks, and no
request waits for a disk. Two looks must agree before a change holds: a file that is being written is half a file.

Rule 1: shut is a state of its own, beside any terms: there is nothing to be asked then. Rule 2: TLS begins and ends
with the process: a file that turns it on or off shuts the door, for there is no safe moment to change it.
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
from exporter.web.secure.passwords import PasswordChecker, TooManyPendingError, credentials
from exporter.web.secure.rate_limit import RequestRateLimit
from exporter.web.secure.tls import is_allowed
from exporter.web.secure.trusted_sites import TrustedSites

FILE_CHECK_SECONDS: Final = 1.0
"""Seconds between two looks at the files."""

TLS_SWITCHED: Final = "tls_server_config: TLS begins and ends with the process: restart, or put the file back as it was"
AUTHENTICATE_HEADER: Final = {"WWW-Authenticate": 'Basic realm="ws-factory-exporter", charset="UTF-8"'}
SAFE_METHODS: Final = ("GET", "HEAD", "OPTIONS")
CROSS_SITE: Final = (
    "the page of another site has no say here; if this page is ours, name the host of its address with "
    "--web.external-url or --web.allowed-host\n"
)

ACCESS_CLOSED: Final = (
    "the web configuration of this exporter is broken, its log says how; until it is mended, nobody is let in\n"
)

USER: Final = web.RequestKey("user", tuple[str, str])
"""Where a request says whose it is: name and hash."""

T = TypeVar("T")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_logger: Final = logging.getLogger(__name__)


class AccessClosedError(Exception):
    """Nobody is let in: the files are broken."""


class AccessControl:
    """Made by `open`, ended by `close`. `watch` follows the files until it is cancelled."""

    def __init__(self, path: Path | None, sites: TrustedSites) -> None:
        self._sites = sites
        self._files = WebConfigFiles(path) if path is not None else None
        self._thread = DaemonThread("web-config")
        self._passwords = PasswordChecker()
        self._limit: RequestRateLimit | None = None
        self._terms: ActiveWebConfig | None = ActiveWebConfig()
        self._tls = False
        self._seen = self._adopted = FileSnapshot("")

    @classmethod
    async def open(cls, path: Path | None, sites: TrustedSites) -> Self:
        """A door by the files as they are; raises DoorProblem with every mistake. `sites`: whose pages are ours."""
        self = cls(path, sites)
        if self._files is not None:
            self._adopted = self._seen = await self._in_thread(self._files.look)
            found = await self._in_thread(self._files.terms, self._adopted)
            if not isinstance(found, ActiveWebConfig):
                await self.close()
                raise WebConfigError(*found)
            self._tls = found.context is not None
            self._take(found)
        return self

    async def close(self) -> None:
        """Let go of the threads."""
        self._thread.shutdown()
        await self._passwords.close()

    # Connections ----------------------------------------------------------------------------------------------------

    @property
    def speaks_tls(self) -> bool:
        """Whether connections begin with a handshake."""
        return self._tls

    def context(self) -> SSLContext | None:
        """What a connection begins with now; None: nothing but HTTP. Raises Shut."""
        if self._terms is None and self._tls:
            raise AccessClosedError
        return None if self._terms is None else self._terms.context

    def admits(self, transport: asyncio.BaseTransport) -> bool:
        """Whether the client's certificate bears a name that is let in, if names are asked for."""
        tls = self._terms and self._terms.config.tls_server_config
        if not tls or tls.client_allowed_sans is None:
            return True
        return is_allowed(transport.get_extra_info("peercert"), tls.client_allowed_sans)

    # Requests -------------------------------------------------------------------------------------------------------

    @property
    def headers(self) -> Mapping[str, str]:
        """What every answer bears in addition."""
        headers = self._terms.config.http_server_config.headers if self._terms is not None else {}
        return {str(name): value for name, value in headers.items()}

    @web.middleware
    async def authenticate(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer, or have it answered."""
        if self._terms is None:
            return _no(HTTPStatus.INTERNAL_SERVER_ERROR, ACCESS_CLOSED)
        connection = request.protocol
        if isinstance(connection, HttpConnection) and self._has_to_come_again(connection):
            connection.abort()
            raise ConnectionResetError
        wait = self._limit.wait(asyncio.get_running_loop().time()) if self._limit is not None else 0.0
        if wait > 0:
            return _no(HTTPStatus.TOO_MANY_REQUESTS, "too many requests\n", {"Retry-After": str(math.ceil(wait))})
        if request.method not in SAFE_METHODS and not self._sites.may_change(request.headers, tls=request.secure):
            return _no(HTTPStatus.FORBIDDEN, CROSS_SITE)
        return await self._known(request) or await handler(request)

    def _has_to_come_again(self, connection: HttpConnection) -> bool:
        """Whether it is of earlier TLS terms.

        The first request of one is answered: it began in good faith a moment before the change, and its client would
        not try again, as it does when a connection that has served before is closed.
        """
        return self._terms is not None and connection.context is not self._terms.context and connection.requests > 1

    def still_lets_in(self, request: web.Request) -> bool:
        """Whether a request that was let in, and is still being answered, would be let in now: TLS, user, password.

        False too for a client that may have gone.
        """
        terms, connection = self._terms, request.protocol
        if terms is None or not isinstance(connection, HttpConnection) or connection.has_said_all:
            return False
        if connection.context is not terms.context:
            return False
        users = terms.config.basic_auth_users
        name, hashed = request.get(USER, ("", ""))
        return not users or users.get(name) == hashed

    async def _known(self, request: web.Request) -> web.Response | None:
        """The refusal of a request whose sender is no user; None if it is one, or if there are none."""
        users = self._terms.config.basic_auth_users if self._terms is not None else {}
        if not users:
            return None
        said = credentials(request.headers.get("Authorization", ""))
        try:
            if said is not None and await self._passwords.right(users, said):
                request[USER] = said.user, users[said.user]
                return None
        except TooManyPendingError:
            return _no(HTTPStatus.SERVICE_UNAVAILABLE, "too many passwords to check\n", {"Retry-After": "5"})
        return _no(HTTPStatus.UNAUTHORIZED, "this needs a user and a password\n", AUTHENTICATE_HEADER)

    # Files ----------------------------------------------------------------------------------------------------------

    async def watch(self) -> None:
        """Look at the files again and again."""
        while self._files is not None:
            await asyncio.sleep(FILE_CHECK_SECONDS)
            try:
                await self._look(self._files)
            except Exception as defect:  # noqa: BLE001 - whatever it is, it must not leave the door as it was
                self._adopted = self._seen = FileSnapshot("")
                self._change((f"a defect of ours, please report this: {type(defect).__name__}",))

    async def _look(self, files: WebConfigFiles) -> None:
        """Two looks that agree, and not with what holds, are what holds then."""
        before, self._seen = self._seen, await self._in_thread(files.look)
        if self._seen == before != self._adopted:
            found = await self._in_thread(files.terms, self._seen)
            self._adopted = self._seen
            self._change(found)

    def _change(self, found: ActiveWebConfig | tuple[str, ...]) -> None:
        if isinstance(found, ActiveWebConfig) and (found.context is not None) is not self._tls:
            found = (f"{self._files and self._files.path}: {TLS_SWITCHED}",)
        if isinstance(found, ActiveWebConfig):
            _logger.info("the web config has changed and holds")
            self._take(found)
        else:
            self._terms = None
            _logger.error("the web config is broken, nobody is let in until it is mended: %s", "; ".join(found))

    def _take(self, terms: ActiveWebConfig) -> None:
        for warning in terms.warnings:
            _logger.warning("%s", warning)
        limit = terms.config.rate_limit
        if limit is None or self._limit is None or self._limit.settings != limit:
            self._limit = RequestRateLimit(limit) if limit is not None else None
        self._terms = terms

    async def _in_thread(self, work: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)


def _no(status: HTTPStatus, sentence: str, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(text=sentence, status=status, headers=headers)
