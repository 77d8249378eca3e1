"""The export by OTLP, as flags and the variables of OpenTelemetry name it."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from exporter.commands.terminal import UsageError
from exporter.config import HttpClient
from exporter.config.otlp import OtlpSettings, attribute_pairs, header_pairs
from exporter.files import FileError, WatchedFile
from exporter.http_client import CREDENTIALS_IN_URL, RemoteError, read_headers, read_http_client

SERVICE_VARIABLE: Final = "OTEL_SERVICE_NAME"
RESOURCE_VARIABLE: Final = "OTEL_RESOURCE_ATTRIBUTES"
HEADERS_VARIABLE: Final = "OTEL_EXPORTER_OTLP_HEADERS"
NO_LIBRARY: Final = (
    "--otlp.endpoint: needs the package opentelemetry-proto, which is not installed: "
    "pip install 'ws-factory-exporter[otlp]', by the pip of the exporter's own environment"
)


def otlp_settings(options: argparse.Namespace) -> OtlpSettings | None:
    """Where and how the metrics are exported; None: nowhere. Raises UsageError."""
    if options.otlp_endpoint is None:
        _refuse_useless(options)
        return None
    try:
        import exporter.metrics.otlp  # noqa: F401, PLC0415 - an extra, loaded only where it is used
    except ImportError:
        raise UsageError(NO_LIBRARY) from None
    if "@" in options.otlp_endpoint:
        raise UsageError(f"--otlp.endpoint: {CREDENTIALS_IN_URL % '--otlp.http-config-file'}")
    name = os.environ.get(SERVICE_VARIABLE)
    return OtlpSettings(
        options.otlp_endpoint,
        resource=_of_variable(RESOURCE_VARIABLE, attribute_pairs) | ({"service.name": name} if name else {}),
        headers=_of_variable(HEADERS_VARIABLE, header_pairs),
        headers_file=_checked_headers(options.otlp_headers),
        client=_client(options.otlp_client),
        **({} if options.otlp_interval is None else {"interval": options.otlp_interval}),
    )


def _refuse_useless(options: argparse.Namespace) -> None:
    flags = {
        "--otlp.interval": options.otlp_interval,
        "--otlp.headers-file": options.otlp_headers,
        "--otlp.http-config-file": options.otlp_client,
    }
    for flag, value in flags.items():
        if value is not None:
            raise UsageError(f"{flag}: needs --otlp.endpoint: without it nothing is exported")


def _of_variable(name: str, parse: Callable[[str], dict[str, str]]) -> dict[str, str]:
    try:
        return parse(os.environ.get(name, ""))
    except ValueError as error:
        raise UsageError(f"{name}: {error}") from None


def _checked_headers(path: str | None) -> str | None:
    """The path of a file whose headers can be sent as they are now; each export reads it again if it has changed."""
    try:
        if path is not None:
            read_headers(WatchedFile(path))
    except FileError as error:
        raise UsageError(f"--otlp.headers-file: {error.sentence}") from None
    return path


def _client(path: str | None) -> HttpClient:
    try:
        return HttpClient() if path is None else read_http_client(Path(path))
    except RemoteError as error:
        raise UsageError(f"--otlp.http-config-file: {error}") from None
