"""Sends all metrics to a receiver of OTLP over HTTP, on an interval of its own.

Rule 1: nothing waits for the receiver: it is waited for in a daemon thread, one at a time, and each export has a
deadline. An export that fails is not repeated: the next one brings newer figures of all that was counted.
Rule 2: no text of the network, no header and no path of the URL is in a message.
Rule 3: imported where OTLP is used: its library is an extra.
"""

import asyncio
import logging
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import Final

from exporter import __version__
from exporter.config.otlp import OtlpSettings, public_endpoint
from exporter.files import FileError, WatchedFile
from exporter.host import Clock, cooperatively, run_in_thread
from exporter.http_client import NETWORK_ERRORS, answer_to, error_text, read_headers
from exporter.metrics import Metrics
from exporter.metrics.otlp import messages, refused_points
from exporter.metrics.storage import StoreView
from exporter.result import ExportOutcome
from exporter.threads import run_in_daemon_thread

_logger = logging.getLogger("exporter.otlp")

MAX_ANSWER_BYTES: Final = 65_536
GZIP_LEVEL: Final = 1
GZIP_WINDOW_BITS: Final = 31
CLIENT_FLAG: Final = "--otlp.http-config-file"
_CREDENTIALS: Final = f"; are the credentials right that --otlp.headers-file or {CLIENT_FLAG} names?"
STATUS_HINTS: Final[Mapping[int, str]] = {
    HTTPStatus.UNAUTHORIZED: _CREDENTIALS,
    HTTPStatus.FORBIDDEN: _CREDENTIALS,
    HTTPStatus.NOT_FOUND: "; is the path of --otlp.endpoint the receiver's, and is its OTLP receiver switched on?",
}
"""What to do about an error status."""

BUSY: Final = "it has not answered the export before"
DEFECT: Final = "an export broke by a defect of the exporter: please report this"


@dataclass(frozen=True, slots=True)
class Export:
    """What became of an export; `sentence`: why, if it was not accepted."""

    outcome: ExportOutcome
    sentence: str = ""


@dataclass(slots=True)
class OtlpExporter:
    """Exports until `run` is cancelled.

    `resource`: attributes of the exporter, which those of the settings replace.
    `on_accepted`: is called with the loop's time of the figures of each accepted export.
    """

    settings: OtlpSettings
    metrics: Metrics
    clock: Clock
    resource: Mapping[str, str]
    on_accepted: Callable[[float], None]
    _sending: "asyncio.Task[Export] | None" = None
    _last: ExportOutcome | None = None
    _headers: WatchedFile | None = field(init=False)

    def __post_init__(self) -> None:
        name = self.settings.headers_file
        self._headers = WatchedFile(name) if name is not None else None
        self.metrics.add_exports()

    async def run(self) -> None:
        """Export now and after each interval; an interval that is over when its turn comes is left out."""
        now, due = asyncio.get_running_loop().time, asyncio.get_running_loop().time()
        try:
            while True:
                await self._export()
                due = max(due + self.settings.interval, now())
                await asyncio.sleep(due - now())
        finally:
            if self._sending is not None:
                self._sending.cancel()

    async def _export(self) -> None:
        read_at = asyncio.get_running_loop().time()
        try:
            export = await self._attempt()
        except Exception:
            _logger.exception(DEFECT)
            export = Export(ExportOutcome.IMPAIRED, DEFECT)
        self.metrics.record_export(export.outcome)
        self._log_change(export)
        if export.outcome is ExportOutcome.ACCEPTED:
            self.on_accepted(read_at)

    async def _attempt(self) -> Export:
        if self._sending is not None and not self._sending.done():
            return Export(ExportOutcome.TIMEOUT, BUSY)
        at = self.clock.wall()
        with self.metrics.frozen() as stores:
            views = [view async for view in cooperatively(stores)]
        bodies = await run_in_thread(partial(self._encode, views, at))
        send = run_in_daemon_thread(partial(self._send, bodies), name="otlp")
        self._sending = asyncio.create_task(send, name="otlp")
        await asyncio.wait({self._sending}, timeout=self.settings.timeout)
        return self._sending.result() if self._sending.done() else self._timeout()

    def _encode(self, views: Sequence[StoreView], at: float) -> list[bytes]:
        """The compressed messages; in a thread."""
        resource = {**self.resource, **self.settings.resource}
        packed = []
        for message in messages(views, self.metrics.process_families(), resource, at):
            packer = zlib.compressobj(GZIP_LEVEL, wbits=GZIP_WINDOW_BITS)
            packed.append(packer.compress(message) + packer.flush())
        return packed

    def _timeout(self) -> Export:
        return Export(ExportOutcome.TIMEOUT, f"it has not answered within {self.settings.timeout:g} s")

    def _send(self, bodies: Sequence[bytes]) -> Export:
        """Post the messages one after the other, until one fails; in a thread."""
        refused = 0
        try:
            headers = self._request_headers()
            for body in bodies:
                request = urllib.request.Request(  # noqa: S310 - otlp_endpoint has seen the scheme
                    self.settings.endpoint, data=body, headers=headers, method="POST"
                )
                with answer_to(request, self.settings.client, self.settings.timeout) as answer:
                    refused += refused_points(answer.read(MAX_ANSWER_BYTES))
        except urllib.error.HTTPError as error:
            error.close()
            return Export(ExportOutcome.REFUSED, f"it answers {error.code}{STATUS_HINTS.get(error.code, '')}")
        except FileError as error:
            return Export(ExportOutcome.IMPAIRED, error.sentence)
        except NETWORK_ERRORS as error:
            if isinstance(getattr(error, "reason", error), TimeoutError):
                return self._timeout()
            return Export(ExportOutcome.UNREACHABLE, error_text(error, CLIENT_FLAG))
        if refused:
            return Export(ExportOutcome.PARTIAL, f"it refused {refused} of the points, see its log")
        return Export(ExportOutcome.ACCEPTED)

    def _request_headers(self) -> dict[str, str]:
        """Raises FileError if the file of the headers cannot be used."""
        headers = {"User-Agent": f"ws-factory-exporter/{__version__}", **self.settings.headers}
        if self._headers is not None:
            headers |= read_headers(self._headers)
        return headers | {"Content-Type": "application/x-protobuf", "Content-Encoding": "gzip"}

    def _log_change(self, export: Export) -> None:
        """One line for each change of the outcome."""
        if export.outcome is self._last:
            return
        self._last = export.outcome
        where = public_endpoint(self.settings.endpoint)
        if export.outcome is ExportOutcome.ACCEPTED:
            _logger.info("the OTLP receiver at %s accepts the metrics", where)
        else:
            _logger.warning("no export of the metrics to the OTLP receiver at %s: %s", where, export.sentence)
