"""Runs one session: has it admitted, mints a token, holds the conversation, classifies it, settles with the ledger.

Rule 1: every request is answered with a `Result` or a `Skip`; only cancellation is raised.
Rule 2: a failure of the exporter itself is an impairment: no verdict, no reason, no outage.
Rule 3: no text from the network leaves this module, only the exporter's own vocabulary.
"""

import asyncio
import logging
import secrets
import ssl
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from math import inf
from typing import Final, NamedTuple, Self
from urllib.parse import urlencode, urlsplit

from exporter import __version__
from exporter.budget import (
    MOMENTARY_HOLDUPS,
    Grant,
    Refusal,
    SessionCost,
    SettlementEffects,
    admit,
    effect_lines,
    settle,
    settle_login,
    short_fingerprint,
)
from exporter.classify import (
    Classification,
    ClassifyContext,
    classify,
    own_phases,
    reported_close,
)
from exporter.config import Tls, withholds_token
from exporter.files import TLS_CONTEXTS, FileError, KeyRing, source_name
from exporter.host import TICK_SECONDS, Clock, ClockStepDetector
from exporter.plan import Job, refusal_cost
from exporter.profiles import SessionMessages, announced_milliseconds
from exporter.resolver import Resolver
from exporter.result import (
    Impairment,
    Phase,
    Probe,
    Reason,
    RefusalCase,
    Result,
    SessionObservation,
    Skip,
    Trigger,
    Verdict,
)
from exporter.session import (
    HeldSession,
    HoldRequest,
    LineHold,
    MessageObserver,
    Overdue,
    RequestBefore,
    Session,
    SessionRequest,
    TargetMemory,
    WaitRule,
    bind_before,
    is_client_loaded,
    load_client,
    sends_credential,
    sends_credential_before,
    session_secrets,
)
from exporter.state import LedgerFile
from exporter.threads import run_in_daemon_thread
from exporter.tokens import SigningKeyError, TokenPlacement, carry, encoded_credentials, forge, is_dated, is_slow, mint

_logger = logging.getLogger("exporter.probing")
USER_AGENT: Final = f"wsfe/{__version__} (WebSocket monitoring)"
"""Names the exporter without a word that may switch a backend's behaviour (factory, test, e2e)."""
NO_VERDICT: Final = dict.fromkeys(Probe, Verdict.NONE)


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """Limits of one session in seconds, where its target permits more.

    verdict: from the start to the verdicts
    end: from the start to the end of the close
    """

    verdict: float = inf
    end: float = inf


RECHECK_SECONDS: Final = 0.25
"""Seconds between two attempts while another session holds up this one: it may be one of another process."""

NO_LIMITS: Final = TimeLimits()
"""The target's own timeouts apply."""


class ProbeRequest(NamedTuple):
    """A request for one session: a cycle of a job, perhaps with another identity or depth than the cycle's own.

    within: limits of this session
    shares_process_with_schedule: an unscheduled session in the process of the schedule that it must leave room for
    patience: seconds to wait for the identity's other connection to end, or for the verdict on another token
    forced: send the token although it rests after rejections
    due: when a side probe's session was due, unix seconds
    refusal: the credential that it sends instead of a good one, and that must be refused
    hold: keeps the connection open once the session has passed
    report_overdue: called once if the session waits longer than usual
    """

    job: Job
    cycle: int
    trigger: Trigger
    depth: Probe
    identity: str | None
    within: TimeLimits = NO_LIMITS
    shares_process_with_schedule: bool = False
    patience: float = 0.0
    forced: bool = False
    due: float | None = None
    refusal: RefusalCase | None = None
    hold: HoldRequest | None = None
    report_overdue: Callable[[Overdue], None] | None = None

    @property
    def timeout(self) -> float:
        """Seconds to a verdict; the ledger assumes the target's own timeout, which is never less."""
        return min(self.job.target.timeout, self.within.verdict)

    @property
    def heartbeat(self) -> int:
        """Milliseconds between two heartbeats that it announces; 0 unless it keeps its connection open."""
        return 0 if self.hold is None else announced_milliseconds(self.job.profile.heartbeat, self.timeout)

    def session_cost(self, run: str) -> SessionCost:
        """Return the cost of the session."""
        due = self.job.due(self.cycle) if self.trigger is Trigger.SCHEDULE else self.due
        cost = self.job.session_cost(run, self.depth, self.identity, self.trigger, due=due)
        if self.refusal is not None:
            return refusal_cost(self.job, cost, self.refusal, self.subject)
        return cost._replace(shares_process_with_schedule=self.shares_process_with_schedule, forced=self.forced)

    @property
    def subject(self) -> str:
        """The user as whom it speaks; empty: anonymous."""
        target = self.job.target
        if self.refusal is RefusalCase.DISABLED_USER and target.refusals is not None:
            return target.refusals.disabled or ""
        return target.identities.get(self.identity or "", "")

    def sends_token(self, cost: SessionCost) -> bool:
        """Whether a token is sent, a good one or one that must be refused."""
        return self.refusal is not RefusalCase.NO_TOKEN if self.refusal is not None else cost.key is not None

    def after(self, waited: float) -> Self:
        """What is left of its time."""
        return self._replace(within=TimeLimits(self.within.verdict - waited, self.within.end - waited))


class _LocalSetupError(Exception):
    """Our own files do not let us open a session."""

    def __init__(self, impairment: Impairment, sentence: str) -> None:
        super().__init__(sentence)
        self.impairment = impairment


class Prober:
    """Runs sessions.

    opened: called with a target's name and +1 or -1 around every connection
    max_loop_stall: returns the longest delay of the event loop since a moment, seconds
    observer: is shown the content of every session's messages; only `check --show-frames` sets it
    """

    def __init__(
        self,
        state: LedgerFile,
        keys: KeyRing,
        resolver: Resolver,
        clock: Clock,
        opened: Callable[[str, int], None],
        *,
        max_loop_stall: Callable[[float], float] = lambda _: 0.0,
        observer: MessageObserver | None = None,
    ) -> None:
        self._state = state
        self._keys = keys
        self._resolver = resolver
        self._clock = clock
        self._report_open = opened
        self._max_loop_stall = max_loop_stall
        self._observer = observer
        self._targets: dict[tuple[str, str], TargetMemory] = {}
        self._session_ended = asyncio.Event()
        self._held_runs: set[str] = set()

    async def run(self, request: ProbeRequest) -> Result | Skip:
        """Run one session; return a `Skip` if the ledger refuses it."""
        cost = request.session_cost(secrets.token_hex(8))
        cost = cost._replace(key_fingerprint=self._key_fingerprint(request)) if cost.key is not None else cost
        started_monotonic = self._clock.monotonic()
        decision = await self._admit(cost, started_monotonic + request.patience)
        if isinstance(decision, Refusal):
            _logger.debug("skipped: %s", decision.reason_text, extra={"keys": {"target": request.job.name}})
            return Skip(request.job.name, decision.cause, decision.holdup, decision.until)
        return await self._run_granted(request.after(self._clock.monotonic() - started_monotonic), decision.request)

    async def _admit(self, cost: SessionCost, end: float) -> Grant | Refusal:
        """Return the ledger's decision; a momentary holdup is retried until `end` (monotonic seconds)."""
        while True:
            left = end - self._clock.monotonic()
            session_ended = self._session_ended
            with self._state.transaction() as ledger:
                decision = admit(ledger, cost, self._clock.wall(), patient=left > 0)
            if isinstance(decision, Grant) or decision.holdup not in MOMENTARY_HOLDUPS or left <= 0:
                return decision
            with suppress(TimeoutError):  # no event reports the end of another process's session
                await asyncio.wait_for(session_ended.wait(), min(left, RECHECK_SECONDS))

    def _key_fingerprint(self, request: ProbeRequest) -> str:
        """Return the fingerprint of the key now in its file; empty if it is unreadable, as the session will report."""
        auth = request.job.target.auth
        try:
            return "" if auth is None else short_fingerprint(self._keys.key(auth.source).fingerprint)
        except FileError:
            return ""

    def forget_all_but(self, jobs: Collection[Job]) -> None:
        """Forget targets that were removed or have another URL now."""
        if len(self._targets) > len(jobs):  # otherwise there is little to forget
            for key in self._targets.keys() - set(map(_memory_key, jobs)):
                del self._targets[key]

    async def _run_granted(self, request: ProbeRequest, cost: SessionCost) -> Result:
        started, clock_steps = self._clock.wall(), ClockStepDetector(self._clock)
        slot_taken = True
        try:
            observation, classification = await self._hold_conversation(request, cost)
            slot_taken = observation.slot_taken and cost.user is not None
            result = _result(request, cost, started, observation, classification)
            auth = request.job.target.auth
            rejected_by_date = result.reason is Reason.AUTH_REJECTED and auth is not None and is_dated(auth.source)
            if rejected_by_date and (step := clock_steps.detect_step_seconds()):
                result = _impaired(request, cost, started, Impairment.CLOCK)
                _logger.warning(CLOCK_SET_TEXT, step, extra=_keys(request))
        except _LocalSetupError as error:
            slot_taken = False
            result = _impaired(request, cost, started, error.impairment)
            _logger.warning("no session: %s", error, extra=_keys(request))
        except asyncio.CancelledError:
            self._settle(cost, _impaired(request, cost, started, Impairment.INTERNAL), slot_taken=True)
            raise
        except Exception:
            result = _impaired(request, cost, started, Impairment.INTERNAL)
            _logger.exception("a session broke on our side", extra={"keys": {"target": request.job.name}})
        effects = self._settle(cost, result, slot_taken=slot_taken)
        _log_effects(request, effects)
        return result

    def _keep_slot(self, cost: SessionCost) -> None:
        """Settle the login of a held session at its first call, and record each time that its slot is taken."""
        now = self._clock.wall()
        with self._state.transaction() as ledger:
            if cost.run in self._held_runs:
                ledger.keep_open(cost.after_login(), now)
            else:
                settle_login(ledger, cost, now)
        self._held_runs.add(cost.run)

    def _settle(self, cost: SessionCost, result: Result, *, slot_taken: bool) -> SettlementEffects:
        cost = cost.after_login() if cost.run in self._held_runs else cost
        self._held_runs.discard(cost.run)
        with self._state.transaction() as ledger:
            effects = settle(ledger, cost, result, self._clock.wall(), slot_taken=slot_taken)
        self._session_ended.set()
        self._session_ended = asyncio.Event()
        return effects

    async def _hold_conversation(
        self, request: ProbeRequest, cost: SessionCost
    ) -> tuple[SessionObservation, Classification]:
        target, job = request.job.target, request.job
        session_request = await self._session_request(request, cost)
        started = self._clock.wall()  # minting is over: the server's clock is compared with moments from here on
        started_monotonic = self._clock.monotonic()
        line = request.hold and LineHold(request.hold, self._clock.monotonic, partial(self._keep_slot, cost))
        session = (partial(HeldSession, line) if line else Session)(
            session_request,
            self._resolver,
            self._clock.monotonic,
            kernel_stamps=self._clock.kernel_stamps,
            max_loop_stall=lambda: self._max_loop_stall(started_monotonic) + TICK_SECONDS,
        )
        self._report_open(job.name, 1)
        try:
            observation = await session.run()
        finally:
            self._report_open(job.name, -1)
        context = ClassifyContext(
            profile=job.profile,
            depth=cost.depth,
            started_at=started,
            replay_detector=self._target_memory(job).replay_detector,
            subject=request.subject or None,
            environment=target.environment,
            timeout=request.timeout,
            max_loop_stall=self._max_loop_stall(started_monotonic),
            credential_sent=request.refusal is not None or sends_credential(job, cost),
            credential_sent_before=request.refusal is not None or sends_credential_before(job, cost),
            token_withheld=not cost.key and not request.refusal and withholds_token(target.auth, job.profile),
            server=target.server,
        )
        classification = classify(observation, context)
        if session_request.session_messages.is_kept(classification.evidence.connection_id):
            classification = classification._replace(evidence=replace(classification.evidence, connection_id=None))
        memory = self._target_memory(job)
        if observation.address is not None and not classification.void:
            memory.addresses.record_connect(observation.address, answered=observation.address_answered)
        if not classification.void and not classification.distorted:
            memory.usual_waits.record(observation.phases)
        return observation, classification

    def _target_memory(self, job: Job) -> TargetMemory:
        key = _memory_key(job)
        memory = self._targets.get(key)
        if memory is None or memory.reader.profile is not job.profile:
            memory = self._targets[key] = TargetMemory.of(job.profile, job.interval, memory)
        return memory

    async def _session_request(self, request: ProbeRequest, cost: SessionCost) -> SessionRequest:
        """Return everything a session needs; raises `_LocalSetupError` if a local file does not provide it."""
        job, target, subject = request.job, request.job.target, request.subject
        token, carried = "", TokenPlacement()
        if request.sends_token(cost):
            token, carried = await self._token(request, cost.run, subject)
        credentials = {"token": token, **encoded_credentials(subject, token)} if token else {}
        values = {"nonce": cost.run, **({"identity": subject} if subject else {}), **credentials}
        before = await self._before(request, values) if job.before is not None else None
        memory, report = self._target_memory(job), request.report_overdue
        url = urlsplit(target.url)
        query = "&".join(part for part in (url.query, urlencode(carried.query)) if part)
        return SessionRequest(
            host=job.host,
            port=job.port,
            connect_to=job.connect_to,
            resource=f"{url.path or '/'}?{query}" if query else url.path or "/",
            session_messages=SessionMessages(memory.reader, values, request.heartbeat),
            depth=cost.depth,
            timeout=request.timeout,
            close_timeout=target.close_timeout,
            total_timeout=request.within.end,
            tls=await self._context(target.tls) if job.tls else None,
            server_name=target.tls.server_name,
            headers={"User-Agent": USER_AGENT, **target.headers, **carried.headers},
            subprotocols=(*job.profile.subprotocols, *carried.subprotocols),
            secrets=(*session_secrets(target, carried, before), *credentials.values()),
            ip_protocol=target.ip_protocol,
            failed_addresses=memory.addresses.failed,
            before=before,
            observer=self._observer,
            wait_rule=None if report is None else WaitRule(memory.usual_waits.wait, report),
        )

    async def _before(self, request: ProbeRequest, values: Mapping[str, str]) -> RequestBefore | None:
        """Return the request before the upgrade; the HTTP client is loaded before the session's time begins."""
        if not is_client_loaded():
            await run_in_daemon_thread(load_client)
        job = request.job
        tls = await self._context(job.tls_before) if job.before is not None and job.before.tls else None
        try:
            return bind_before(job, values, tls, {"User-Agent": USER_AGENT})
        except SigningKeyError as error:
            raise _LocalSetupError(Impairment.TOKEN, f"the token {error}") from None

    async def _token(self, request: ProbeRequest, run: str, subject: str) -> tuple[str, TokenPlacement]:
        auth, carrier = request.job.target.auth, request.job.carrier
        if auth is None or carrier is None:
            return "", TokenPlacement()
        source, alias = auth.source, request.identity or ""
        try:
            key = self._keys.key(source)
            minting = source, key, subject, self._clock.wall(), run
            make = partial(mint, *minting, alias=alias)
            if request.refusal is not None:
                make = partial(forge, *minting, alias=alias, case=request.refusal)
            token = await asyncio.to_thread(make) if is_slow(source) else make()
            return token, carry(carrier, token, subject)
        except FileError as error:
            raise _LocalSetupError(Impairment.TOKEN, error.sentence) from None
        except SigningKeyError as error:
            raise _LocalSetupError(Impairment.TOKEN, f"{source_name(source)} {error}") from None

    async def _context(self, tls: Tls) -> ssl.SSLContext:
        try:
            cached = TLS_CONTEXTS.cached_context(tls)
            return await run_in_daemon_thread(lambda: TLS_CONTEXTS.context(tls)) if cached is None else cached
        except FileError as error:
            raise _LocalSetupError(Impairment.INTERNAL, str(error)) from None


CLOCK_SET_TEXT: Final = (
    "no verdict: the wall clock stepped by %.1f s between the signature of the token and its rejection"
)


def _memory_key(job: Job) -> tuple[str, str]:
    return job.name, job.target.url


def _log_effects(request: ProbeRequest, effects: SettlementEffects) -> None:
    for text, keys in effect_lines(effects):
        _logger.warning(text, extra=_keys(request, **keys))


def _keys(request: ProbeRequest, **more: str | int | None) -> dict[str, dict[str, str | int | None]]:
    return {"keys": {"target": request.job.name, "identity": request.identity, **more}}


def _impaired(request: ProbeRequest, cost: SessionCost, started: float, impairment: Impairment) -> Result:
    return Result(
        target=request.job.name,
        identity=request.identity,
        run=cost.run,
        depth=cost.depth,
        trigger=request.trigger,
        started_at=started,
        verdicts=NO_VERDICT,
        phase=Phase.PREPARE,
        impairment=impairment,
    )


def _result(
    request: ProbeRequest,
    cost: SessionCost,
    started: float,
    observation: SessionObservation,
    classification: Classification,
) -> Result:
    profile, verdicts = request.job.profile, classification.verdicts
    durations = {
        probe: observation.seconds_until(own_phases(probe, profile))
        for probe, verdict in verdicts.items()
        if verdict is Verdict.PASS
    }
    return Result(
        target=request.job.name,
        identity=request.identity,
        run=cost.run,
        depth=cost.depth,
        trigger=request.trigger,
        started_at=started,
        verdicts=verdicts,
        durations={probe: mark for probe, mark in durations.items() if mark is not None},
        phases=observation.phases,
        phase=classification.phase,
        reason=classification.reason,
        factory_reason=classification.factory_reason,
        close=reported_close(observation, cost.depth, profile),
        http_status=observation.fault.status if observation.fault else None,
        tls_verify=observation.fault.tls_verify
        if observation.fault and classification.reason is Reason.TLS_CERTIFICATE
        else None,
        passed_over=observation.passed_over,
        evidence=classification.evidence,
        slot_limit=classification.slot_limit,
        retry_after=classification.retry_after,
        distorted=classification.distorted,
        void=classification.void,
        transcript=observation.transcript,
        frames_left_out=observation.frames_left_out,
        handshake=observation.handshake,
        error_word=observation.error_word,
        rule=classification.rule,
        no_token=classification.no_token,
        refused_after=observation.refused_after,
        credential_sent=(sends_credential_before if classification.phase is Phase.BEFORE else sends_credential)(
            request.job, cost
        ),
        origin_sent="origin" in map(str.lower, request.job.target.headers),
        unknown_keys=observation.unknown_keys,
        answered_by=observation.answered_by,
        via=observation.via,
        interim_status=observation.interim_status,
        stream_status=observation.stream_status,
        ending=observation.ending,
    )
