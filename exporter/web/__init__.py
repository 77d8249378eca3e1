"""HTTP: status page, metrics, health; the only room that knows the aiohttp server.

Rule 1: shows, changes nothing. Rule 2: what it shows comes in through `Site`.

`doorway` where it listens and under which paths · `secure` who may come in · `arrivals`, `connection` how many, and how
long each may take · `server` all of it together.
The status page: `page` renders values, `pages` puts the page together, `sheets` makes it once for all who ask, `live`
knows what has changed since, `status` has the doors.
"""

from exporter.web.arrivals import MOST
from exporter.web.doorway import Doorway, read_doorway
from exporter.web.filters import Recent
from exporter.web.listen import Address, ListenProblem, parse
from exporter.web.runbook import runbook_pages
from exporter.web.secure import door_problems
from exporter.web.server import Server
from exporter.web.site import JSON, Answer, Question, Site

__all__ = [
    "JSON",
    "MOST",
    "Address",
    "Answer",
    "Doorway",
    "ListenProblem",
    "Question",
    "Recent",
    "Server",
    "Site",
    "door_problems",
    "parse",
    "read_doorway",
    "runbook_pages",
]
