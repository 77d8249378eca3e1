"""What may be a header of a request: its name and its value. Each sentence says what to do."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from exporter.config.scalars import HTTP_TOKEN

HTTP_VALUE = re.compile(r"[\t\x20-\x7e]*")
AUTHORIZATION_HEADERS: Final = frozenset({"authorization", "proxy-authorization"})
OUR_HEADERS: Final = frozenset({"host", "upgrade", "connection", "content-length", "transfer-encoding", "te"})
OUR_PREFIX: Final = "sec-websocket-"

GIVEN_TWICE: Final = "is given more than once: upper and lower case are the same"
HEADER_IN_VALUE = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):(\s|$)")


def header_in_value(value: str) -> str | None:
    """What to write instead of a value that begins with a header's name; None if it does not."""
    found = HEADER_IN_VALUE.match(value)
    if found is None:
        return None
    return f'is the value only, and begins with a header name: write {{header: {found[1]}, value: "…${{token}}…"}}'


def repeated_names(names: Iterable[str]) -> frozenset[str]:
    """Return, in lower case, the header names that differ in case alone (RFC 9110 section 5.1)."""
    return frozenset(name for name, times in Counter(map(str.lower, names)).items() if times > 1)


def header_name_faults(name: str) -> Iterator[str]:
    """Why a header of this name cannot be sent."""
    if not HTTP_TOKEN.fullmatch(name):
        yield "is no header name: letters, digits and !#$%&'*+-.^_`|~ are allowed"
    elif name.lower() in OUR_HEADERS or name.lower().startswith(OUR_PREFIX):
        yield "is set by the handshake itself: choose another header"
