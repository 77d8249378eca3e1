"""The HTTP server: status page, metrics, health; the only package that uses the aiohttp server.

Rule 1: this package shows things and changes nothing. Rule 2: everything that it shows comes through `Site`.

`listen_options`, `listen`, `paths` addresses and paths · `secure` TLS, passwords, rate limit · `connection_manager`,
`connection` the number of connections and their deadlines · `server` the server itself.
Status page: `page` renders values, `pages` assembles them, `page_cache` renders a page once for all requests of a
moment, `live` sends what has changed, `status` has the routes.
"""

from exporter.web.connection_manager import MAX_CONNECTIONS
from exporter.web.filters import ResultSource
from exporter.web.listen import ListenAddress, ListenError, parse_listen_address
from exporter.web.listen_options import ListenOptions, read_listen_options
from exporter.web.runbook import runbook_pages
from exporter.web.secure import web_config_problems
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
    "parse_listen_address",
    "read_listen_options",
    "runbook_pages",
    "web_config_problems",
]
