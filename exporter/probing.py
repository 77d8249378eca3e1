"""One turn becomes one result: takes a slot, mints a token, drives a session, judges it, settles with the ledger.

Rule 1: always answers, with a `Result` or a `Skip`; only cancellation escapes.
Rule 2: our own failures are impairments: no verdict, no reason, nobody's outage.
Rule 3: texts of the network end here: what leaves is words of ours.
"""

import asyncio
import logging
import secrets
import ssl
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from math import inf
from typing import Final, NamedTuple, Self
from urllib.parse import parse_qsl, urlencode, urlsplit

from exporter import __version__
from exporter.budget import (
    MOMENTARY_HOLDUPS,
    Grant,
    Refusal,
    SessionCost,
    SettlementEffects,
    admit,
    settle,
    short_fingerprint,
)
from exporter.classify import (
    REPLAY_WINDOW_SECONDS,
    Classification,
    ClassifyContext,
    WelcomeReplayDetector,
    classify,
    own_phases,
    told,
)
from exporter.config import Target, withholds_token
from exporter.files import TLS_CONTEXTS, FileError, KeyRing, source_name
from exporter.host import TICK_SECONDS, Clock
from exporter.plan import Job
from exporter.profiles import MessageMatcher, SessionMessages
from exporter.resolver import AddressHealth, Resolver
from exporter.result import (
    ErrorKind,
    Handshake,
    Impairment,
    Phase,
    Probe,
    Reason,
    Result,
    SessionObservation,
    Skip,
    Trigger,
    Verdict,
)
from exporter.session import Session, SessionRequest
from exporter.state import LedgerFile
from exporter.threads import run_in_daemon_thread
from exporter.tokens import SigningKeyError, TokenPlacement, carry, is_slow, mint

_logger = logging.getLogger("exporter.probing")
USER_AGENT: Final = f"wsfe/{__version__} (WebSocket monitoring)"
"""Says what we are, without a word on which a backend may switch its behaviour (factory, test, e2e)."""
CREDENTIAL_HEADERS: Final = frozenset({"authorization", "cookie", "proxy-authorization", "x-api-key"})
"""Headers that a target may set itself and that a 401 judges."""
MIN_SECRET_CHARACTERS: Final = 8
"""Characters from which a value of the url or of a header may be a secret."""
MIN_REMEMBERED_SESSIONS: Final = 3
"""How many sessions are remembered at least, where they are far apart."""
NO_VERDICT: Final = dict.fromkeys(Probe, Verdict.NONE)


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """Seconds that a session may take at most, where its target would give it more.

    `verdict`: until it has got what it came for. `end`: until it is over, the close included.
    """

    verdict: float = inf
    end: float = inf


RECHECK_SECONDS: Final = 0.25
"""Seconds after which who waits for another session asks again: it may be one of another process."""

NO_LIMITS: Final = TimeLimits()
"""As long as the target's own settings let it take."""


class ProbeRequest(NamedTuple):
    """A request for one session: a cycle of a job, perhaps with another identity or depth than the cycle's own.

    within: limits of this session
    shares_process_with_schedule: an unscheduled session in the process of the schedule that it must leave room for
    patience: seconds to wait for the identity's other connection to end, or for the verdict on another token
    forced: send the token although it rests after rejections
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

    @property
    def timeout(self) -> float:
        """Seconds to a verdict; the ledger assumes the target's own timeout, which is never less."""
        return min(self.job.target.timeout, self.within.verdict)

    def request(self, run: str) -> SessionCost:
        """Return the cost of the session."""
        due = self.job.due(self.cycle) if self.trigger is Trigger.SCHEDULE else None
        request = self.job.request(run, self.depth, self.identity, self.trigger, due=due)
        return request._replace(shares_process_with_schedule=self.shares_process_with_schedule, forced=self.forced)

    def after(self, waited: float) -> Self:
        """What is left of its time."""
        return self._replace(within=TimeLimits(self.within.verdict - waited, self.within.end - waited))


class _LocalSetupError(Exception):
    """Our own files do not let us open a session."""

    def __init__(self, impairment: Impairment, sentence: str) -> None:
        super().__init__(sentence)
        self.impairment = impairment


class _TargetMemory(NamedTuple):
    """What a target keeps from one session to the next."""

    reader: MessageMatcher
    memory: WelcomeReplayDetector
    addresses: AddressHealth


class Prober:
    """Runs turns.

    `opened` is told +1 and -1 around every connection of a target; `late` tells by how many seconds the event loop was
    late at worst since a moment.
    """

    def __init__(
        self,
        state: LedgerFile,
        keys: KeyRing,
        resolver: Resolver,
        clock: Clock,
        opened: Callable[[str, int], None],
        *,
        late: Callable[[float], float] = lambda _: 0.0,
    ) -> None:
        self._state = state
        self._keys = keys
        self._resolver = resolver
        self._clock = clock
        self._opened = opened
        self._late = late
        self._targets: dict[tuple[str, str], _TargetMemory] = {}
        self._settlings = asyncio.Event()

    async def run(self, turn: ProbeRequest) -> Result | Skip:
        """Run one turn; a `Skip` if the ledger has no room for it."""
        request = turn.request(secrets.token_hex(8))
        request = request._replace(key_fingerprint=self._key_fingerprint(turn)) if request.key is not None else request
        began = self._clock.monotonic()
        answer = await self._admitted(request, began + turn.patience)
        if isinstance(answer, Refusal):
            _logger.debug("skipped: %s", answer.reason_text, extra={"keys": {"target": turn.job.name}})
            return Skip(turn.job.name, answer.cause, answer.holdup, answer.until)
        return await self._granted(turn.after(self._clock.monotonic() - began), answer.request)

    async def _admitted(self, request: SessionCost, end: float) -> Grant | Refusal:
        """The ledger's answer; what another session alone holds up is asked again until `end`."""
        while True:
            left = end - self._clock.monotonic()
            settled = self._settlings
            with self._state.transaction() as ledger:
                answer = admit(ledger, request, self._clock.wall(), patient=left > 0)
            if isinstance(answer, Grant) or answer.holdup not in MOMENTARY_HOLDUPS or left <= 0:
                return answer
            with suppress(TimeoutError):  # sessions of other processes end without a word to us
                await asyncio.wait_for(settled.wait(), min(left, RECHECK_SECONDS))

    def _key_fingerprint(self, turn: ProbeRequest) -> str:
        """Tells the key that stands in its file now; empty if none can be had: the session will say why."""
        auth = turn.job.target.auth
        try:
            return "" if auth is None else short_fingerprint(self._keys.key(auth.source).fingerprint)
        except FileError:
            return ""

    def forget_all_but(self, jobs: Collection[Job]) -> None:
        """Forget what targets have shown that are gone, or have another URL now."""
        if len(self._targets) > len(jobs):  # else there is little that could be in vain
            for place in self._targets.keys() - set(map(_place, jobs)):
                del self._targets[place]

    async def _granted(self, turn: ProbeRequest, request: SessionCost) -> Result:
        started = self._clock.wall()
        slot_taken = True
        try:
            facts, judgement = await self._converse(turn, request)
            slot_taken = facts.slot_taken and request.user is not None
            result = _result(turn, request, started, facts, judgement)
        except _LocalSetupError as problem:
            slot_taken = False
            result = _impaired(turn, request, started, problem.impairment)
            _logger.warning(
                "no session: %s", problem, extra={"keys": {"target": turn.job.name, "identity": turn.identity}}
            )
        except asyncio.CancelledError:
            self._settle(request, _impaired(turn, request, started, Impairment.INTERNAL), slot_taken=True)
            raise
        except Exception:
            result = _impaired(turn, request, started, Impairment.INTERNAL)
            _logger.exception("a session broke on our side", extra={"keys": {"target": turn.job.name}})
        settled = self._settle(request, result, slot_taken=slot_taken)
        _tell(turn, settled)
        return result

    def _settle(self, request: SessionCost, result: Result, *, slot_taken: bool) -> SettlementEffects:
        with self._state.transaction() as ledger:
            settled = settle(ledger, request, result, self._clock.wall(), slot_taken=slot_taken)
        self._settlings.set()
        self._settlings = asyncio.Event()
        return settled

    async def _converse(self, turn: ProbeRequest, request: SessionCost) -> tuple[SessionObservation, Classification]:
        target, job = turn.job.target, turn.job
        order = await self._order(turn, request)
        started = self._clock.wall()  # minting is over: the server's clock is compared with moments from here on
        began = self._clock.monotonic()
        session = Session(
            order,
            self._resolver,
            self._clock.monotonic,
            kernel_stamps=self._clock.kernel_stamps,
            max_loop_stall=lambda: self._late(began) + TICK_SECONDS,
        )
        self._opened(job.name, 1)
        try:
            facts = await session.run()
        finally:
            self._opened(job.name, -1)
        case = ClassifyContext(
            profile=job.profile,
            depth=request.depth,
            started_at=started,
            memory=self._target(job).memory,
            subject=target.identities.get(turn.identity or ""),
            environment=target.environment,
            timeout=turn.timeout,
            late=self._late(began),
            credential=_sends_credential(job, request),
            withheld=request.key is None and withholds_token(target.auth, job.profile),
        )
        judgement = classify(facts, case)
        if facts.address is not None and not judgement.void:
            self._target(job).addresses.record_connect(facts.address, answered=Phase.TCP in facts.phases)
        return facts, judgement

    def _target(self, job: Job) -> "_TargetMemory":
        place = _place(job)
        known = self._targets.get(place)
        if known is None or known.reader.profile is not job.profile:
            if known is None:
                kept = (
                    WelcomeReplayDetector(max(REPLAY_WINDOW_SECONDS, MIN_REMEMBERED_SESSIONS * job.interval)),
                    AddressHealth(),
                )
            else:
                kept = (known.memory, known.addresses)
            known = self._targets[place] = _TargetMemory(MessageMatcher(job.profile), *kept)
        return known

    async def _order(self, turn: ProbeRequest, request: SessionCost) -> SessionRequest:
        """Everything a session needs; raises _Unable when our own files do not give it."""
        job, target = turn.job, turn.job.target
        subject = target.identities.get(turn.identity or "", "")
        token, carried = (
            await self._token(turn, request.run, subject) if request.key is not None else ("", TokenPlacement())
        )
        url = urlsplit(target.url)
        query = "&".join(part for part in (url.query, urlencode(carried.query)) if part)
        return SessionRequest(
            host=job.host,
            port=job.port,
            connect_to=job.connect_to,
            resource=f"{url.path or '/'}?{query}" if query else url.path or "/",
            session_messages=SessionMessages(
                self._target(job).reader, {"nonce": request.run, "identity": subject, "token": token}
            ),
            depth=request.depth,
            timeout=turn.timeout,
            close_timeout=target.close_timeout,
            total_timeout=turn.within.end,
            tls=await self._context(target) if job.tls else None,
            server_name=target.tls.server_name,
            headers={"User-Agent": USER_AGENT, **target.headers, **carried.headers},
            subprotocols=(*job.profile.subprotocols, *carried.subprotocols),
            secrets=_secrets(target, token, carried),
            ip_protocol=target.ip_protocol,
            failed_addresses=self._target(job).addresses.failed,
        )

    async def _token(self, turn: ProbeRequest, run: str, subject: str) -> tuple[str, TokenPlacement]:
        auth, carrier = turn.job.target.auth, turn.job.carrier
        if auth is None or carrier is None:
            return "", TokenPlacement()
        source, alias = auth.source, turn.identity or ""
        try:
            key = self._keys.key(source)
            made = source, key, subject, self._clock.wall(), run
            slow = is_slow(source)
            token = await asyncio.to_thread(mint, *made, alias=alias) if slow else mint(*made, alias=alias)
            return token, carry(carrier, token)
        except FileError as problem:
            raise _LocalSetupError(Impairment.TOKEN, problem.sentence) from None
        except SigningKeyError as problem:
            raise _LocalSetupError(Impairment.TOKEN, f"{source_name(source)} {problem}") from None

    async def _context(self, target: Target) -> ssl.SSLContext:
        try:
            cached = TLS_CONTEXTS.cached_context(target.tls)
            return await run_in_daemon_thread(lambda: TLS_CONTEXTS.context(target.tls)) if cached is None else cached
        except FileError as problem:
            raise _LocalSetupError(Impairment.INTERNAL, str(problem)) from None


def _sends_credential(job: Job, request: SessionCost) -> bool:
    """True if the upgrade request holds a credential: our token, or one that stands in the target's headers."""
    carried = request.key is not None and job.carrier is not None and job.carrier.in_upgrade
    return carried or not CREDENTIAL_HEADERS.isdisjoint(name.lower() for name in job.target.headers)


def _secrets(target: Target, token: str, carried: TokenPlacement) -> tuple[str, ...]:
    """Texts of this session that may be secrets: of what comes back, none of them is shown."""
    url = urlsplit(target.url)
    foreign = (*target.headers.values(), *(value for _, value in parse_qsl(url.query)), *url.path.split("/"))
    telling = [
        *carried.headers.values(),
        *carried.subprotocols,
        *(text for text in foreign if len(text) >= MIN_SECRET_CHARACTERS),
    ]
    return tuple(filter(None, (token, *telling)))


SETTLEMENT_TEXTS: Final = {
    "slot_limit": "the backend keeps fewer slots per user than configured: the lower number binds from now on",
    "identity_rests": "the identity rests: its turns go connect-deep until the backend's slots are released",
    "token_cooldown": "the token was rejected and rests: none is sent until then; another key in its file is "
    "tried sooner",
    "endpoint_rests_until": "the endpoint limits the rate of connects: none is made until then",
}
"""What a session can change for the sessions after it: fields of `SettlementEffects`, in words."""
TO_EVIDENCE: Final = (
    "the token was rejected and rests: one more in a row may open the backend's login breaker; none is sent until the "
    "backend restarts or another key is let in there"
)


def _place(job: Job) -> tuple[str, str]:
    return job.name, job.target.url


def _tell(turn: ProbeRequest, settled: SettlementEffects) -> None:
    cooldown, endpoint_rests_until = settled.token_cooldown, settled.endpoint_rests_until
    more: dict[str, dict[str, str | int | None]] = {
        "slot_limit": {"slot_limit": settled.slot_limit},
        "token_cooldown": {"until": _moment(cooldown.until)} if cooldown and cooldown.until is not None else {},
        "endpoint_rests_until": {"until": _moment(endpoint_rests_until)} if endpoint_rests_until is not None else {},
    }
    for change, words in SETTLEMENT_TEXTS.items():
        if getattr(settled, change):
            sentence = TO_EVIDENCE if change == "token_cooldown" and not more[change] else words
            keys: dict[str, str | int | None] = {"target": turn.job.name, "identity": turn.identity}
            keys |= more.get(change, {})
            _logger.warning(sentence, extra={"keys": keys})


def _moment(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _impaired(turn: ProbeRequest, request: SessionCost, started: float, impairment: Impairment) -> Result:
    return Result(
        target=turn.job.name,
        identity=turn.identity,
        run=request.run,
        depth=request.depth,
        trigger=turn.trigger,
        started_at=started,
        verdicts=NO_VERDICT,
        phase=Phase.PREPARE,
        impairment=impairment,
    )


def _result(
    turn: ProbeRequest, request: SessionCost, started: float, facts: SessionObservation, judgement: Classification
) -> Result:
    profile, verdicts = turn.job.profile, judgement.verdicts
    decided = {
        probe: _decided(facts, own_phases(probe, profile))
        for probe, verdict in verdicts.items()
        if verdict is Verdict.PASS
    }
    return Result(
        target=turn.job.name,
        identity=turn.identity,
        run=request.run,
        depth=request.depth,
        trigger=turn.trigger,
        started_at=started,
        verdicts=verdicts,
        durations={probe: mark for probe, mark in decided.items() if mark is not None},
        phases=facts.phases,
        phase=judgement.phase,
        reason=judgement.reason,
        factory_reason=judgement.factory_reason,
        close=told(facts, request.depth, profile),
        http_status=facts.fault.status if facts.fault else None,
        tls_verify=facts.fault.tls_verify if facts.fault and judgement.reason is Reason.TLS_CERTIFICATE else None,
        passed_over=facts.passed_over,
        evidence=judgement.evidence,
        slot_limit=judgement.slot_limit,
        retry_after=judgement.retry_after,
        distorted=judgement.distorted,
        void=judgement.void,
        transcript=facts.transcript,
        frames_left_out=facts.frames_left_out,
        handshake=_handshake(facts),
        error_word=facts.error_word,
        no_token=judgement.no_token,
        refused_after=facts.refused_after,
        credential_sent=_sends_credential(turn.job, request),
        origin_sent="origin" in map(str.lower, turn.job.target.headers),
        unknown_keys=facts.unknown_keys,
    )


def _handshake(facts: SessionObservation) -> Handshake | None:
    fault = facts.fault
    return Handshake(fault.detail) if fault is not None and fault.kind is ErrorKind.UPGRADE else None


def _decided(facts: SessionObservation, phases: Collection[Phase]) -> float | None:
    """Seconds from the start to the end of the last of the probe's own phases; None if none was completed."""
    return max((facts.marks[phase] for phase in phases if phase in facts.marks), default=None)
