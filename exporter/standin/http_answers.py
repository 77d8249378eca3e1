"""HTTP answers to an upgrade, well-formed and not (docs/backend-protocol.md#http-answers).

Rule 1: pure: values in, bytes out.
"""

import json
from collections.abc import Mapping
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Final

EARLY_HINTS: Final = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
HTML_PAGE: Final = "<!doctype html><html><head><title>{0}</title></head><body><h1>{0}</h1><hr>edge</body></html>\n"
MISSING_BYTES: Final = 4096
"""Bytes that an unfinished answer announces and does not send."""


def date(wall: float) -> str:
    """The value of a Date header."""
    return formatdate(wall, usegmt=True)


def phrase(status: int) -> str:
    """The reason phrase."""
    return HTTPStatus(status).phrase if status in HTTPStatus.__members__.values() else "Unassigned"


def answer(status: int, body: bytes, content_type: str, wall: float, extra: Mapping[str, str]) -> bytes:
    """A complete answer, with `Connection: close`."""
    return head(f"HTTP/1.1 {status} {phrase(status)}", len(body), content_type, wall, extra) + body


def head(line: str, length: int, content_type: str, wall: float, extra: Mapping[str, str]) -> bytes:
    """Status line and headers."""
    headers = {
        "Date": date(wall),
        "Server": "standin",
        "Content-Type": content_type,
        "Content-Length": str(length),
        "Connection": "close",
        **extra,
    }
    fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{line}\r\n{fields}\r\n".encode("latin-1", "replace")


def json_answer(status: int, value: Any, wall: float) -> bytes:
    """An answer of JSON."""
    return answer(status, json.dumps(value).encode(), "application/json", wall, {})


def refusal(values: Mapping[str, Any], status: int, wall: float) -> bytes:
    """The answer of the fault `http`, by its `kind`."""
    kind = values["kind"]
    title = f"{status} {phrase(status)}"
    body = (HTML_PAGE.format(title) if kind == "html" else f"{title}\n").encode()
    content_type = "text/html; charset=utf-8" if kind == "html" else "text/plain; charset=utf-8"
    extra: dict[str, str] = {}
    if kind == "redirect":
        extra["Location"] = values["location"]
    if values["retry_after"] is not None:
        extra["Retry-After"] = str(values["retry_after"])
    line = {"http10": f"HTTP/1.0 {title}", "noreason": f"HTTP/1.1 {status}"}.get(kind, f"HTTP/1.1 {title}")
    missing = MISSING_BYTES if kind == "unfinished" else 0
    hints = EARLY_HINTS if kind == "early_hints" else b""
    return hints + head(line, len(body) + missing, content_type, wall, extra) + body


NOT_TLS: Final = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n"
    b"The plain HTTP request was expected on this port.\n"
)
