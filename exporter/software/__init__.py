"""Proxies and servers: how to tell their answers apart, and how each of them ends a connection.

Rule 1: tables and pure functions; nothing here is remembered, each row was seen with the version that it names
(`make layers` runs them again). Rule 2: what comes from the network goes in, words of `Software` come out.

`fingerprints` who made an answer · `servers` how servers end a connection, with the tables `python_servers` and
`other_servers` in the words of `outcomes` · `proxies` what proxies answer by themselves
"""

from exporter.software.fingerprints import (
    GATEWAY_STATUSES,
    MARKING_HEADERS,
    MAX_BODY_BYTES,
    SIGNED_REFUSALS,
    Answer,
    Author,
    find_author,
)
from exporter.software.outcomes import ServerEvent
from exporter.software.proxies import PROXY_BEHAVIOURS, ProxyBehaviour, ProxyEvent
from exporter.software.servers import (
    EARLIEST_FRACTION,
    LATEST_FRACTION,
    SERVER_BEHAVIOURS,
    ServerBehaviour,
    is_stop,
)

__all__ = [
    "EARLIEST_FRACTION",
    "GATEWAY_STATUSES",
    "LATEST_FRACTION",
    "MARKING_HEADERS",
    "MAX_BODY_BYTES",
    "PROXY_BEHAVIOURS",
    "SERVER_BEHAVIOURS",
    "SIGNED_REFUSALS",
    "Answer",
    "Author",
    "ProxyBehaviour",
    "ProxyEvent",
    "ServerBehaviour",
    "ServerEvent",
    "find_author",
    "is_stop",
]
