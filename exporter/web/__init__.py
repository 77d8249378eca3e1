"""HTTP: landing page, metrics, health; the only room that knows the aiohttp server.

Rule 1: shows, changes nothing. Rule 2: what it shows comes in as values and callables.
"""

from exporter.web.landing import LandingData, LandingTarget
from exporter.web.listen import Address, ListenProblem, parse
from exporter.web.server import Server

__all__ = ["Address", "LandingData", "LandingTarget", "ListenProblem", "Server", "parse"]
