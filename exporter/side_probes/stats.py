"""Reads the figures that backends tell of themselves: one HTTP request to the target's own host.

Rule 1: the ledger admits each request by the rate of its host, and, if it sends a token, while the token does not rest.
Rule 2: no text of an answer leaves this module: numbers under names of the config, and words of a closed list.
Rule 3: a 401 is the stats endpoint's own verdict: it rests the reads, not the token of the sessions. A breaker of the
backend may count it all the same, and the ledger does.
"""

import asyncio
import logging
import secrets
import ssl
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Final, NamedTuple, Protocol
from urllib.parse import urlsplit

from exporter.budget import Grant, SessionCost, admit, settle_read, short_fingerprint
from exporter.classify import StatsReading, read_figures
from exporter.config import Carrier, Stats
from exporter.files import TLS_CONTEXTS, FileError, KeyRing
from exporter.host import Clock
from exporter.plan import DEFAULT_PORTS, Job, stats_cost
from exporter.probing import USER_AGENT
from exporter.resolver import Resolver
from exporter.result import ErrorKind, ProbeError, StatsOutcome
from exporter.session import HttpRequest, is_client_loaded, load_client
from exporter.side_probes.runner import RunSession, SideRun
from exporter.state import LedgerFile
from exporter.threads import run_in_daemon_thread
from exporter.tokens import SigningKeyError, carry, is_slow, mint

_logger = logging.getLogger("exporter.side_probes")

MAX_ANSWER_BYTES: Final = 262_144
"""Bytes of an answer: the factory's has a name for each user."""
BEARER: Final = Carrier("header", "Authorization", ("Bearer ${token}",))
OUTCOME_OF_ERROR: Final = {ErrorKind.STATUS: StatsOutcome.HTTP_STATUS, ErrorKind.TOO_BIG: StatsOutcome.UNREADABLE}
"""Every other error of a request is `FAILED`."""
COMPLAINTS: Final = {
    StatsOutcome.UNREADABLE: "stats.url answers, but not with a number for each of stats.fields: see them in its JSON",
    StatsOutcome.HTTP_STATUS: "stats.url answers with an error: compare its status with the rights of stats.identity",
    StatsOutcome.FAILED: "stats.url gives no whole answer within the timeout: ask it from this machine",
    StatsOutcome.IMPAIRED: "stats.url cannot be asked: see the key of the target's auth and the files of its tls",
}


class StatsSink(Protocol):
    """What the reader reports to."""

    def record_stats(self, target: str, reading: StatsReading) -> None:
        """Record what one read came to."""


class _Ending(NamedTuple):
    """What a read came to, and the status of an answer that is none of 2xx."""

    reading: StatsReading
    status: int | None = None
    retry_after: float | None = None


class StatsReader:
    """Reads the figures of all targets; `in_flight`: its open connections.

    `has_capacity`, `check_clock_step`: as of `SideProbes`.
    """

    def __init__(
        self,
        sink: StatsSink,
        state: LedgerFile,
        keys: KeyRing,
        resolver: Resolver,
        clock: Clock,
        *,
        has_capacity: Callable[[], bool] = lambda: True,
        check_clock_step: Callable[[], None] = lambda: None,
    ) -> None:
        self._sink = sink
        self._state = state
        self._keys = keys
        self._resolver = resolver
        self._clock = clock
        self._has_capacity = has_capacity
        self._check_clock_step = check_clock_step
        self._rests_until: dict[str, float] = {}  # target → monotonic seconds
        self._outcomes: dict[str, StatsOutcome] = {}
        self.in_flight = 0

    async def run(self, run: SideRun, _open_session: RunSession) -> None:
        """Read the figures once."""
        stats = run.job.target.stats
        if stats is None:
            return
        self._check_clock_step()
        ending = await self._read_if_admitted(run, stats)
        self._sink.record_stats(run.job.name, ending.reading)
        self._log_change(run.job.name, ending)

    async def _read_if_admitted(self, run: SideRun, stats: Stats) -> _Ending:
        job, now = run.job, self._clock.monotonic()
        if not self._has_capacity() or now < self._rests_until.get(job.name, now):
            return _Ending(StatsReading(StatsOutcome.SKIPPED))
        cost = stats_cost(job, secrets.token_hex(8), run.due, self._key_fingerprint(job))
        with self._state.transaction() as ledger:
            decision = admit(ledger, cost, self._clock.wall())
        if not isinstance(decision, Grant):
            return _Ending(StatsReading(StatsOutcome.SKIPPED))
        ending = _Ending(StatsReading(StatsOutcome.FAILED))
        self.in_flight += 1
        try:
            ending = await self._read(job, stats, decision.request.run)
        finally:
            self.in_flight -= 1
            self._settle(job, decision.request, ending)
        return ending

    def _settle(self, job: Job, cost: SessionCost, ending: _Ending) -> None:
        with self._state.transaction() as ledger:
            settle_read(ledger, cost, self._clock.wall(), status=ending.status, retry_after=ending.retry_after)
        if ending.status == HTTPStatus.UNAUTHORIZED:
            self._rests_until[job.name] = self._clock.monotonic() + job.target.auth_retry

    def _key_fingerprint(self, job: Job) -> str:
        auth = job.target.auth
        try:
            return "" if auth is None else short_fingerprint(self._keys.key(auth.source).fingerprint)
        except FileError:
            return ""

    async def _read(self, job: Job, stats: Stats, run: str) -> _Ending:
        try:
            if not is_client_loaded():
                await run_in_daemon_thread(load_client)
            request = await self._request(job, stats, run)
            async with asyncio.timeout(job.target.timeout):
                host = request.connect_to or request.host
                address = (await self._resolver.resolve(host, request.port, job.target.ip_protocol))[0]
                answer = await load_client()(request, address, lambda: None)
        except ProbeError as error:
            outcome = OUTCOME_OF_ERROR.get(error.kind, StatsOutcome.FAILED)
            status = error.status if error.kind is ErrorKind.STATUS else None
            return _Ending(StatsReading(outcome), status, error.retry_after)
        except TimeoutError:
            return _Ending(StatsReading(StatsOutcome.FAILED))
        except (FileError, SigningKeyError, OSError):
            return _Ending(StatsReading(StatsOutcome.IMPAIRED))
        return _Ending(read_figures(stats, answer.body))

    async def _request(self, job: Job, stats: Stats, run: str) -> HttpRequest:
        """Return the request; raises FileError or SigningKeyError if a local file does not provide for it."""
        parts = urlsplit(stats.url)
        path = parts.path or "/"
        return HttpRequest(
            method="GET",
            resource=f"{path}?{parts.query}" if parts.query else path,
            host=job.host,
            port=parts.port or DEFAULT_PORTS[parts.scheme],
            tls=await self._context(job) if parts.scheme == "https" else None,
            server_name=job.target.tls.server_name,
            connect_to=job.connect_to,
            headers={
                "User-Agent": USER_AGENT,
                "Accept": "application/json",
                "Accept-Encoding": "identity",
                **await self._authorization(job, stats, run),
            },
            max_answer_bytes=MAX_ANSWER_BYTES,
        )

    async def _context(self, job: Job) -> ssl.SSLContext:
        tls = job.target.tls
        cached = TLS_CONTEXTS.cached_context(tls)
        return await run_in_daemon_thread(lambda: TLS_CONTEXTS.context(tls)) if cached is None else cached

    async def _authorization(self, job: Job, stats: Stats, run: str) -> dict[str, str]:
        auth = job.target.auth
        if stats.identity is None or auth is None:
            return {}
        source, subject = auth.source, job.target.identities[stats.identity]
        make = partial(mint, source, self._keys.key(source), subject, self._clock.wall(), run, alias=stats.identity)
        token = await asyncio.to_thread(make) if is_slow(source) else make()
        return dict(carry(BEARER, token, subject).headers)

    def _log_change(self, target: str, ending: _Ending) -> None:
        outcome = ending.reading.outcome
        if outcome is StatsOutcome.SKIPPED or outcome is self._outcomes.get(target):
            return
        before, self._outcomes[target] = self._outcomes.get(target), outcome
        keys = {"target": target, "outcome": outcome, "http_status": ending.status}
        extra = {"keys": {name: value for name, value in keys.items() if value is not None}}
        if outcome is not StatsOutcome.READ:
            _logger.warning(COMPLAINTS[outcome], extra=extra)
        elif before is not None:
            _logger.info("the figures of stats.url can be read again", extra=extra)
