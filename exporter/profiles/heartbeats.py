"""Heartbeats: what a held connection announces of its own, and what the server says of those that it sends.

Rule 1: what is announced is kept: the longest silence of a connection is shorter than what it has announced.
"""

import re
from math import ceil
from typing import Any, Final

from exporter.config import ClientHeartbeat
from exporter.profiles.patterns import lookup

MAX_ANNOUNCED_SECONDS: Final = 86_400.0

NUMBER: Final = re.compile(r"[0-9]{1,9}", re.ASCII)


def announced_milliseconds(heartbeat: ClientHeartbeat | None, timeout: float) -> int:
    """Return what a held connection announces as the longest time between two of its messages; 0: it sends none.

    Its heartbeats are `every` apart, the first of them as long after the login and the replies, which take `timeout`
    seconds at most: another `every` is the margin.
    """
    return 0 if heartbeat is None else ceil(1000 * (timeout + 2 * heartbeat.every))


def agreed_seconds(heartbeat: ClientHeartbeat | None, reply: Any, announced: int) -> float | None:
    """Return the time between two heartbeats of the server, as its reply says; None: it says nothing, or sends none.

    `announced`: milliseconds, what we have asked for: the longer of both times is agreed (STOMP 1.2, heart-beating).
    """
    if heartbeat is None or heartbeat.server_milliseconds is None:
        return None
    seconds = read_interval(lookup(reply, heartbeat.server_milliseconds), 1000)
    return None if seconds is None else max(seconds, announced / 1000)


def read_interval(value: Any, units_per_second: int) -> float | None:
    """Return the seconds that a server's field holds: a number, or a text that begins with one; None: it holds none."""
    number = NUMBER.match(value) if isinstance(value, str) else None
    if number is not None:
        value = int(number[0])
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= MAX_ANNOUNCED_SECONDS * 1000:
        return min(value / units_per_second, MAX_ANNOUNCED_SECONDS)
    return None
