"""HTTP: status page, metrics, health; the only room that knows the aiohttp server.

Rule 1: shows, changes nothing. Rule 2: what it shows comes in through `Site`.

The status page: `page` renders values, `pages` puts the page together, `sheets` makes it once for all who ask, `live`
knows what has changed since, `status` has the doors.
"""

from exporter.web.filters import Recent
from exporter.web.listen import Address, ListenProblem, parse
from exporter.web.server import Server
from exporter.web.site import JSON, Answer, Question, Site

__all__ = ["JSON", "Address", "Answer", "ListenProblem", "Question", "Recent", "Server", "Site", "parse"]
