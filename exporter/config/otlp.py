"""The export of the metrics by OTLP: where to, how often, as what. Flags and environment, no part of the config file.

Rule 1: an error quotes no value: the URL and the headers may hold secrets.
Source of the variables' format: OpenTelemetry specification, "Resource SDK" and "OTLP exporter configuration".
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote, urlsplit

from exporter.config.header_rules import HTTP_VALUE, header_name_faults
from exporter.config.http_client import HttpClient

DEFAULT_PATH: Final = "/v1/metrics"
"""OTLP/HTTP: the path of a receiver that is given without one."""

ENDPOINT = re.compile(r"https?://[\x21-\x22\x24-\x7e]+")
"""In ASCII, without space and `#`."""


@dataclass(frozen=True, slots=True)
class OtlpSettings:
    """How to export.

    `endpoint`: the whole URL. `interval`: seconds. `timeout`: seconds that one export may take; 10 is the default of
    OTLP exporters. `resource`: attributes that replace or join those of the exporter.
    `headers`: of each request; those in `headers_file`, which is read again when it changes, replace them.
    """

    endpoint: str
    interval: float = 15.0
    timeout: float = 10.0
    resource: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    headers_file: str | None = None
    client: HttpClient = field(default_factory=HttpClient)


def otlp_endpoint(text: str) -> str:
    """The URL that metrics are sent to; raises ValueError with the sentence for the user."""
    try:
        parts = urlsplit(text)
        fits = bool(ENDPOINT.fullmatch(text) and parts.hostname and parts.port != 0)
    except ValueError:
        fits = False
    if not fits:
        raise ValueError("must be an http or https URL in ASCII without #, such as http://collector:4318/v1/metrics")
    return parts._replace(path=DEFAULT_PATH).geturl() if parts.path in ("", "/") else text


def public_endpoint(url: str) -> str:
    """Scheme, host and port: path and query may hold a key."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def header_lines(text: str) -> dict[str, str]:
    """The headers in `NAME: VALUE` lines, without blank ones and those that begin with `#`.

    Raises ValueError with the sentence for the user.
    """
    headers = {}
    for number, line in enumerate(text.splitlines(), 1):
        name, _, value = (part.strip() for part in line.partition(":"))
        if not line.strip() or name.startswith("#"):
            continue
        if not _is_header(name, value):
            raise ValueError(f"line {number} is no header: write NAME: VALUE, in ASCII")
        headers[name] = value
    return headers


def header_pairs(text: str) -> dict[str, str]:
    """The headers in `name=value,name=value`; raises ValueError with the sentence for the user."""
    headers = attribute_pairs(text)
    for number, (name, value) in enumerate(headers.items(), 1):
        if not _is_header(name, value):
            raise ValueError(f"entry {number} is no header: write name=value, in ASCII")
    return headers


def attribute_pairs(text: str) -> dict[str, str]:
    """The pairs of `key=value,key=value`, whose values are percent-encoded; raises ValueError with the sentence."""
    pairs = {}
    for number, part in enumerate(text.split(",") if text.strip() else (), 1):
        name, _, value = (unquote(word.strip()) for word in part.partition("="))
        if not name or not value or not (name + value).isprintable():
            raise ValueError(f"entry {number} is no key=value: separate entries by commas, and write a comma as %2C")
        pairs[name] = value
    return pairs


def _is_header(name: str, value: str) -> bool:
    return bool(value and HTTP_VALUE.fullmatch(value)) and not any(header_name_faults(name))
