"""The paths of all routes, from `--web.external-url`, `--web.route-prefix` and `--web.telemetry-path`.

As in Prometheus and the blackbox exporter: the prefix is the path of the external URL unless another is given (`/`
behind a proxy that strips the prefix), every route is under the prefix, and `/` redirects there.

Rule 1: links on the pages are relative, so that they work under any prefix and behind any proxy.
Rule 2: an error quotes no value, since an external URL may contain a password.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, urlsplit

from aiohttp import web

from exporter.web.listen import ListenError

EXTERNAL: Final = "--web.external-url"
PREFIX: Final = "--web.route-prefix"
TELEMETRY: Final = "--web.telemetry-path"

METRICS: Final = "/metrics"
PATH_TEXT = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~!$&'()*+,;=:@-]+)*")
"""Segments that need no escape (RFC 3986 section 3.3), without `.` and `..`."""

PATH_CHARACTERS: Final = "letters, digits and ._~!$&'()*+,;=:@- between slashes"


@dataclass(frozen=True, slots=True)
class WebPaths:
    """`prefix`: without a slash at its end, "" for none. `external`: the URL of the root page, "" if unknown."""

    prefix: str = ""
    telemetry: str = METRICS
    external: str = ""

    @property
    def top(self) -> str:
        """The URL or path of the root page, for redirects."""
        return f"{self.external or self.prefix}/"

    @property
    def metrics(self) -> str:
        """The link from the root page to the metrics."""
        return self.telemetry.removeprefix("/")

    def under(self, routes: Iterable[web.RouteDef]) -> list[web.RouteDef]:
        """The routes under their final paths; raises ListenError if two have the same path."""
        placed, taken = [], set()
        for route in routes:
            taken |= {route.path} - {METRICS}
            path = self.telemetry if route.path == METRICS else route.path
            placed.append(web.RouteDef(route.method, self.prefix + path, route.handler, route.kwargs))
        if self.telemetry in taken:
            raise ListenError(f"{TELEMETRY}: something else is served there: choose another path")
        return placed + self._redirects()

    def _redirects(self) -> list[web.RouteDef]:
        """Redirects to the root page from `/` and from the prefix without its slash."""

        async def redirect(_: web.Request) -> web.Response:
            raise web.HTTPFound(self.top)

        return [web.get(path, redirect) for path in ("/", self.prefix) if self.prefix]


def read_paths(external: str | None, prefix: str | None, telemetry: str | None) -> WebPaths:
    """The paths of the flags, None where one is not given; raises ListenError with every mistake."""
    problems: list[str] = []
    url = None if external is None else _split(external)
    if external is not None and url is None:
        problems.append(f"{EXTERNAL}: must be http:// or https://, a host and perhaps a path, without user and query")
    base = (prefix if prefix is not None else url.path if url else "").strip("/")
    base = f"/{base}" if base else ""
    if not PATH_TEXT.fullmatch(base):
        problems.append(f"{PREFIX if prefix is not None else EXTERNAL}: must be a path: {PATH_CHARACTERS}")
    if telemetry is not None and (telemetry in ("", "/") or not PATH_TEXT.fullmatch(telemetry)):
        problems.append(f"{TELEMETRY}: must be a path such as {METRICS}: {PATH_CHARACTERS}, and not / alone")
    if problems:
        raise ListenError(*problems)
    shown = "" if url is None else url.geturl().rstrip("/")
    return WebPaths(base, METRICS if telemetry is None else telemetry, shown)


def _split(external: str) -> SplitResult | None:
    """The parts of the external URL; None if it is not a URL or has a part that must not be shown."""
    try:
        url = urlsplit(external)
        port = url.port
    except ValueError:
        return None
    is_http = url.scheme in ("http", "https") and url.hostname and port != 0
    is_public = "@" not in url.netloc and not url.query and not url.fragment
    return url if is_http and is_public and re.fullmatch(r"[\w.\-:\[\]]+", url.netloc, re.ASCII) else None
