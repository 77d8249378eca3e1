"""Under which paths all is served: `--web.external-url`, `--web.route-prefix`, `--web.telemetry-path`.

As in Prometheus and the blackbox exporter: the prefix is that of the external URL unless said otherwise (behind a proxy
that takes it away it is `/`), everything stands under it, and `/` leads there.

Rule 1: links of our pages are relative, so they hold under any prefix and behind any proxy.
Rule 2: no value is quoted: an external URL may hold a password.
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
"""Segments that need no escape (RFC 3986 section 3.3), and none that leads upward."""

PATH_CHARACTERS: Final = "letters, digits and ._~!$&'()*+,;=:@- between slashes"


@dataclass(frozen=True, slots=True)
class WebPaths:
    """`prefix`: without a slash at its end, "" for none. `external`: the URL that leads to us, "" if unknown."""

    prefix: str = ""
    telemetry: str = METRICS
    external: str = ""

    @property
    def top(self) -> str:
        """Where the page at the root stands, for who is told to go there."""
        return f"{self.external or self.prefix}/"

    @property
    def metrics(self) -> str:
        """The link from the page at the root to the metrics."""
        return self.telemetry.removeprefix("/")

    def under(self, routes: Iterable[web.RouteDef]) -> list[web.RouteDef]:
        """The routes where they stand with these settings; raises ListenProblem if two would stand in one place."""
        placed, taken = [], set()
        for route in routes:
            taken |= {route.path} - {METRICS}
            path = self.telemetry if route.path == METRICS else route.path
            placed.append(web.RouteDef(route.method, self.prefix + path, route.handler, route.kwargs))
        if self.telemetry in taken:
            raise ListenError(f"{TELEMETRY}: something else is served there: choose another path")
        return placed + self._ways_in()

    def _ways_in(self) -> list[web.RouteDef]:
        """Who comes to `/`, or to the prefix without its slash, is led to the page at the root."""

        async def lead(_: web.Request) -> web.Response:
            raise web.HTTPFound(self.top)

        return [web.get(path, lead) for path in ("/", self.prefix) if self.prefix]


def read_paths(external: str | None, prefix: str | None, telemetry: str | None) -> WebPaths:
    """The paths of the flags, None where one is not given; raises ListenProblem with every mistake."""
    wrong: list[str] = []
    url = None if external is None else _split(external)
    if external is not None and url is None:
        wrong.append(f"{EXTERNAL}: must be http:// or https://, a host and perhaps a path, without user and query")
    base = (prefix if prefix is not None else url.path if url else "").strip("/")
    base = f"/{base}" if base else ""
    if not PATH_TEXT.fullmatch(base):
        wrong.append(f"{PREFIX if prefix is not None else EXTERNAL}: must be a path: {PATH_CHARACTERS}")
    if telemetry is not None and (telemetry in ("", "/") or not PATH_TEXT.fullmatch(telemetry)):
        wrong.append(f"{TELEMETRY}: must be a path such as {METRICS}: {PATH_CHARACTERS}, and not / alone")
    if wrong:
        raise ListenError(*wrong)
    shown = "" if url is None else url.geturl().rstrip("/")
    return WebPaths(base, METRICS if telemetry is None else telemetry, shown)


def _split(external: str) -> SplitResult | None:
    """The parts of an URL that may be shown; None if it is none."""
    try:
        url = urlsplit(external)
        port = url.port
    except ValueError:
        return None
    good = url.scheme in ("http", "https") and url.hostname and port != 0
    plain = "@" not in url.netloc and not url.query and not url.fragment
    return url if good and plain and re.fullmatch(r"[\w.\-:\[\]]+", url.netloc, re.ASCII) else None
