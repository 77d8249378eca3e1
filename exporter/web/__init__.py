"""HTTP: status page, metrics, health; the only package that knows the aiohttp server.

Rule 1: shows, changes nothing. Rule 2: what it shows comes in through `Site`.

`doorway` where it listens and under which paths · `secure` who may come in · `arrivals`, `connection` how many, and how
long each may take · `server` all of it together.
The status page: `page` renders values, `pages` puts the page together, `sheets` makes it once for all who ask, `live`
knows what has changed since, `status` has the doors.
"""

from exporter.web.connection_manager import MAX_CONNECTIONS
from exporter.web.filters import ResultSource
from exporter.web.listen import ListenAddress, ListenError, parse
from exporter.web.listen_options import ListenOptions, read_doorway
from exporter.web.runbook import runbook_pages
from exporter.web.secure import door_problems
from exporter.web.server import WebServer
from exporter.web.site import JSON_TYPE, HttpReply, ProbeQuery, Site

__all__ = [
    "JSON_TYPE",
    "MAX_CONNECTIONS",
    "HttpReply",
    "ListenAddress",
    "ListenError",
    "ListenOptions",
    "ProbeQuery",
    "ResultSource",
    "Site",
    "WebServer",
    "door_problems",
    "parse",
    "read_doorway",
    "runbook_pages",
]
