"""Records results in the metrics.

Rule 1: a label value is a word of a closed list or a name of the config. Rule 2: no clock: times are arguments.
Rule 3: a result of a removed target is ignored, so that its series do not come back.
"""

import platform
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import NamedTuple

from exporter.classify import Cuts, LeakFindings, OutageCause, OutageDetector, StatsReading, close_label
from exporter.metrics import families as f
from exporter.metrics.exposition import ExpositionFormat, PlainFamily, ProcessMetrics, samples
from exporter.metrics.series import (
    LEARNED,
    OTHER_WORD,
    Key,
    TargetSeries,
    exporter_series,
    http_code,
    legal_series,
    outage_policy,
    passed_over_kinds,
)
from exporter.metrics.storage import MetricStorage, SampleStore, StoreView
from exporter.profiles import has_factory, probes_of
from exporter.result import (
    ExportOutcome,
    HoldEnd,
    Layer,
    LineLevel,
    Phase,
    Probe,
    RefusalCase,
    RefusalOutcome,
    Result,
    SentinelOutcome,
    Skip,
    StatsOutcome,
    SuspicionOutcome,
    Verdict,
)


class ExporterFigures(NamedTuple):
    """Metrics of the exporter itself, for the status page.

    `config_ok`: whether the last load of the config worked. `config_at`: unix seconds of the last load that did.
    `loop_lag`: seconds. `distorted`: sessions.
    """

    config_ok: bool
    config_at: float
    loop_lag: float
    distorted: int


class _RegisteredTarget:
    """A target with its series, and the facts of its profile that decide how a result is recorded."""

    def __init__(self, store: SampleStore, target: TargetSeries, at: float) -> None:
        self.store = store
        self.outages = OutageDetector(outage_policy(target))
        self.update(target, at)

    def update(self, target: TargetSeries, at: float) -> None:
        self.target = target
        self.profile = target.profile
        self.probes = probes_of(target.profile)
        self.tokenless = target.tokenless
        self.kinds = passed_over_kinds(target.profile)
        self.validates = has_factory(target.profile)
        self.store.set_series(legal_series(target), target.identities, target.labels, at=at)
        if not self.outages.update_policy(outage_policy(target)):
            self.clear_outages()

    def clear_outages(self) -> None:
        """Make every outage unknown: the backend, or what is probed of it, has changed."""
        self.outages = OutageDetector(outage_policy(self.target))
        for cause in outage_policy(self.target).causes:
            self.store.unset(f.OUTAGE, cause)


class Metrics:
    """All metrics of the exporter; a scrape consists of `samples` and `process_metrics`."""

    def __init__(self, version: str, origin: str | None = None, *, at: float = 0.0) -> None:
        """`origin`: the name of the place that the exporter probes from; None: it has none.

        `at`, here and where a target is added: unix seconds of now, since when counters count; 0: unknown.
        """
        self._storage = MetricStorage(at)
        self._process = ProcessMetrics()
        self._targets: dict[str, _RegisteredTarget] = {}
        self._storage.own().set_series(exporter_series())
        self._storage.own().set(1, f.BUILD_INFO, version, platform.python_version())
        if origin is not None:
            self._storage.own().set(1, f.ORIGIN_INFO, origin)

    def samples(self, form: ExpositionFormat) -> Generator[str]:
        """All series but those of the process, as text of one moment, in pieces; see `exposition.samples`."""
        return samples(self._storage, form)

    def process_metrics(self, form: ExpositionFormat) -> str:
        """The rest of a scrape: process, platform, garbage collection. Reads /proc; callable in any thread."""
        return self._process.text(form)

    @contextmanager
    def frozen(self) -> Iterator[Iterator[StoreView]]:
        """All series but those of the process, of one moment, target by target: to be taken in slices."""
        with self._storage.read() as (reading, stores):
            yield (store.frozen(reading) for store in stores)

    def process_families(self) -> list[PlainFamily]:
        """The metrics of the process as values; as `process_metrics` callable in any thread."""
        return self._process.families()

    # Targets ---------------------------------------------------------------------------------------------------

    def add_target(self, target: TargetSeries, at: float = 0.0) -> None:
        """Make the target's series, counters at 0; an existing target keeps its counts."""
        registered = self._writable(target.name)
        if registered is None:
            self._targets[target.name] = _RegisteredTarget(self._storage.add(target.name, at), target, at)
        else:
            registered.update(target, at)

    def remove_target(self, name: str) -> None:
        """Drop every series of the target."""
        if self._targets.pop(name, None) is not None:
            self._storage.remove(name)

    def restore_outages(self, name: str, results: Iterable[Result]) -> None:
        """Continue the outages of an earlier process from its last results of a target, oldest first.

        No other series counts these results. A cause on which they have no bearing stays absent.
        """
        target = self._writable(name)
        if target is None:
            return
        outages: dict[OutageCause, bool] = {}
        for result in results:
            outages |= target.outages.record_result(result)
        for cause, is_outage in outages.items():
            target.store.set(is_outage, f.OUTAGE, cause)

    def clear_learned(self, name: str) -> None:
        """Make unknown what was learned from the target's backend: its URL names another one now."""
        target = self._writable(name)
        if target is not None:
            for family in LEARNED:
                target.store.unset(family)
            target.clear_outages()

    def unexpected_series(self) -> list[tuple[str, Key]]:
        """Names and label values of series that exist although they are not legal: for tests."""
        return [
            (key[0].name, (name, *key[1:]))
            for name, target in self._targets.items()
            for key in target.store.unexpected_series()
        ]

    def _writable(self, name: str) -> _RegisteredTarget | None:
        """The target, ready to be written to; None if it has been removed."""
        target = self._targets.get(name)
        if target is not None:
            self._storage.writable(target.store)
        return target

    # Sessions --------------------------------------------------------------------------------------------------

    def record_result(self, result: Result, layer: Layer | None = None) -> None:
        """Record a finished session of the scheduler, confirm runs included; `layer`: the one at fault."""
        target = self._writable(result.target)
        if target is None:
            return
        if result.impairment is not None:
            target.store.add(f.IMPAIRED, result.impairment)
            return
        if result.distorted:
            self._storage.own().add(f.DISTORTED_RUNS)
        if result.void:
            return
        for probe in target.probes:
            _record_verdict(target.store, result, probe)
        for cause, is_outage in target.outages.record_result(result).items():
            target.store.set(is_outage, f.OUTAGE, cause)
        if result.failed and layer is not None:
            target.store.add(f.LAYER_FAILURES, layer)
        _record_identity(target, result)
        _record_end(target, result)
        _set_known(target.store, {f.CERTIFICATE_EXPIRY: result.evidence.certificate_expiry})
        if target.validates:
            _record_factory(target.store, result)
        if not result.distorted:
            _record_durations(target, result)

    def record_cycle(self, result: Result) -> None:
        """Record the verdicts that answer one scheduled cycle."""
        target = self._writable(result.target)
        if target is None:
            return
        for probe in target.probes:
            verdict = result.verdicts.get(probe, Verdict.NONE)
            if verdict is not Verdict.NONE:
                target.store.add(f.CYCLES, probe)
            if verdict is Verdict.FAIL:
                target.store.add(f.CYCLE_FAILURES, probe)

    def record_skip(self, skip: Skip) -> None:
        """Record a cycle that was due and opened no session."""
        target = self._writable(skip.target)
        if target is not None:
            target.store.add(f.SKIPS, skip.cause)

    def record_sentinel(self, name: str, outcome: SentinelOutcome) -> None:
        """Record what a connect of the sentinel came to."""
        target = self._writable(name)
        if target is None or not target.target.has_sentinel:
            return
        target.store.add(f.SENTINEL_CONNECTS, outcome)
        if outcome in (SentinelOutcome.PASSED, SentinelOutcome.FAILED):
            target.store.set(outcome is SentinelOutcome.PASSED, f.SENTINEL_SUCCESS)

    def record_suspicion(self, name: str, outcome: SuspicionOutcome) -> None:
        """Record what became of a suspicion."""
        target = self._writable(name)
        if target is not None and target.target.may_be_suspected:
            target.store.add(f.SUSPICIONS, outcome)

    def _held(self, name: str) -> SampleStore | None:
        """The series of a target that holds a connection."""
        target = self._writable(name)
        return target.store if target is not None and target.target.has_hold else None

    def set_hold_open(self, name: str, at: float | None) -> None:
        """Set when the held connection was opened (unix seconds), which makes unknown what it shows; None: ended."""
        store = self._held(name)
        if store is None:
            return
        store.set(at is not None, f.HOLD_UP)
        if at is not None:
            store.set(at, f.HOLD_OPENED_AT)
            store.unset(f.HOLD_DEAF)
            for level in LineLevel:
                store.unset(f.HEARTBEAT_LOST, level)

    def record_round_trip(self, name: str, level: LineLevel, seconds: float) -> None:
        """Record the answer to a ping or a request on a held connection."""
        store = self._held(name)
        if store is not None:
            store.observe(seconds, f.HOLD_ROUND_TRIP, level)

    def set_hold_deaf(self, name: str, *, deaf: bool) -> None:
        """Set whether the last request on the held connection was not answered."""
        store = self._held(name)
        if store is not None:
            store.set(deaf, f.HOLD_DEAF)

    def record_heartbeat(self, name: str, level: LineLevel) -> None:
        """Record a heartbeat of the server."""
        store = self._held(name)
        if store is not None:
            store.add(f.HEARTBEATS, level)

    def set_heartbeats(self, name: str, level: LineLevel, interval: float, *, lost: bool) -> None:
        """Set how often (seconds) the server's heartbeat is due, and whether it stays out."""
        store = self._held(name)
        if store is not None:
            store.set(interval, f.HOLD_HEARTBEAT_INTERVAL, level)
            store.set(lost, f.HEARTBEAT_LOST, level)

    def record_hold_end(self, name: str, end: HoldEnd, cuts: Cuts) -> None:
        """Record the end of a held connection, and at which ages the path cuts connections."""
        store = self._held(name)
        if store is not None:
            store.add(f.HOLD_ENDS, end)
            for family, age in ((f.HOLD_IDLE_CUT, cuts.idle), (f.HOLD_AGE_CUT, cuts.age)):
                if age is None:
                    store.unset(family)
                else:
                    store.set(age, family)

    def record_refusal(self, name: str, case: RefusalCase, outcome: RefusalOutcome) -> None:
        """Record what became of a credential that must be refused; without a decision the one before stands."""
        target = self._writable(name)
        if target is None or case not in target.target.refusals:
            return
        target.store.add(f.REFUSALS, case, outcome)
        if outcome.is_decided:
            self.set_refusal(name, case, outcome)

    def set_refusal(self, name: str, case: RefusalCase, outcome: RefusalOutcome | None) -> None:
        """Set what was decided last about a credential that must be refused, an earlier process's; None: unknown."""
        target = self._writable(name)
        if target is None or case not in target.target.refusals:
            return
        for family, word in (
            (f.REFUSAL_SUCCESS, RefusalOutcome.REFUSED),
            (f.REFUSAL_BYPASSED, RefusalOutcome.BYPASSED),
        ):
            if outcome is None:
                target.store.unset(family, case)
            else:
                target.store.set(outcome is word, family, case)

    def record_stats(self, name: str, reading: StatsReading) -> None:
        """Record a read of the backend's own figures; what was not read is unknown, unless nothing was asked."""
        target = self._writable(name)
        if target is None or not target.target.figures:
            return
        target.store.add(f.STATS_READS, reading.outcome)
        if reading.outcome is StatsOutcome.SKIPPED:
            return
        for family, names, read in (
            (f.STATS_VALUE, target.target.figures, reading.values),
            (f.STATS_LIMIT, target.target.limited, reading.limits),
        ):
            for figure in names:
                target.store.set(read[figure], family, figure) if figure in read else target.store.unset(family, figure)

    def passes(self, name: str) -> bool:
        """Whether each probe of the target passed when it last had a verdict; False before its first one."""
        target = self._targets.get(name)
        return target is not None and all(target.store.get(f.SUCCESS, probe) for probe in target.probes)

    # States ----------------------------------------------------------------------------------------------------

    def set_due(self, target: str, probe: Probe, at: float) -> None:
        """Set when (unix seconds) the probe runs next."""
        self._set(target, at, f.DUE, probe)

    def set_open_connections(self, target: str, count: int) -> None:
        """Set the number of open connections to the target."""
        self._set(target, count, f.OPEN_CONNECTIONS)

    def set_identity(self, name: str, identity: str, *, held: int, budget: int | None, resting: bool) -> None:
        """Set the slots that an identity holds and may hold (None: no limit), and whether it rests."""
        target = self._writable(name)
        if target is None:
            return
        target.store.set(resting, f.IDENTITY_RESTING, identity)
        if target.validates:
            target.store.set(held, f.SLOTS_HELD, identity)
            if budget is not None:
                target.store.set(budget, f.SLOTS_BUDGET, identity)
            else:
                target.store.unset(f.SLOTS_BUDGET, identity)

    def set_token_resting(self, name: str, *, resting: bool, rejected: bool) -> None:
        """Set whether the target's token rests after rejections; `rejected`: this token was rejected itself."""
        target = self._writable(name)
        if target is None or not target.target.has_token:
            return
        target.store.set(resting, f.TOKEN_RESTING)
        for cause in target.outages.record_token_cooldown() if resting and rejected else ():
            target.store.set(1, f.OUTAGE, cause)

    def set_auth_bypassed(self, name: str, *, bypassed: bool) -> None:
        """Set whether the target's headers switch off the backend's token check."""
        target = self._writable(name)
        if target is not None and target.validates:
            target.store.set(bypassed, f.AUTH_BYPASSED)

    def set_leak_findings(self, name: str, findings: LeakFindings) -> None:
        """Set what the target's canary knows of leaked slots."""
        target = self._writable(name)
        if target is not None and target.target.has_canary:
            _set_known(target.store, {f.SLOTS_LEAKED: findings.leaked, f.SLOT_RELEASE: findings.release})

    def add_exports(self) -> None:
        """Make the series of the exports by OTLP: they are there only where there is one."""
        for outcome in ExportOutcome:
            self._storage.own().add(f.OTLP_EXPORTS, outcome, amount=0)

    def record_export(self, outcome: ExportOutcome) -> None:
        """Record what became of an export by OTLP."""
        self._storage.own().add(f.OTLP_EXPORTS, outcome)

    def set_loop_lag(self, seconds: float) -> None:
        """Set by how much the event loop was late."""
        self._storage.own().set(seconds, f.LOOP_LAG)

    def record_reload(self, at: float, *, successful: bool) -> None:
        """Record a load of the config at `at` (unix seconds), the first one included."""
        self._storage.own().set(successful, f.RELOAD_OK)
        if successful:
            self._storage.own().set(at, f.RELOADED_AT)

    def exporter_figures(self) -> ExporterFigures:
        """The metrics of the exporter itself."""
        store = self._storage.own()
        return ExporterFigures(
            config_ok=bool(store.get(f.RELOAD_OK)),
            config_at=store.get(f.RELOADED_AT),
            loop_lag=store.get(f.LOOP_LAG),
            distorted=int(store.get(f.DISTORTED_RUNS)),
        )

    def _set(self, name: str, value: float, *key: object) -> None:
        target = self._writable(name)
        if target is not None:
            target.store.set(value, *key)


def _record_verdict(store: SampleStore, result: Result, probe: Probe) -> None:
    """Attempts, failures, success and the two timestamps; a probe without a verdict did run all the same."""
    if probe.rank <= result.depth.rank:
        store.set(result.started_at, f.LAST_RUN, probe)
    verdict = result.verdicts.get(probe, Verdict.NONE)
    if verdict is Verdict.NONE:
        return
    passed = verdict is Verdict.PASS
    store.add(f.ATTEMPTS, probe)
    store.set(passed, f.SUCCESS, probe)
    if passed:
        store.set(result.started_at, f.LAST_SUCCESS, probe)
    else:
        store.add(f.FAILURES, probe, result.phase, result.reason)


def _record_durations(target: _RegisteredTarget, result: Result) -> None:
    for probe, seconds in result.durations.items():
        if probe in target.probes and result.verdicts.get(probe) is Verdict.PASS:
            target.store.observe(seconds, f.DURATION, probe)
            if seconds > target.target.slow_over[probe]:
                target.store.add(f.SLOW, probe)
    for phase, seconds in result.phases.items():
        if phase is not Phase.PREPARE:
            target.store.observe(seconds, f.PHASE_DURATION, phase)


def _record_identity(target: _RegisteredTarget, result: Result) -> None:
    """A connect-deep session that sends no token says nothing about the identity and is not recorded for it."""
    tokenless = result.depth is Probe.CONNECT and target.tokenless
    undecided = all(verdict is Verdict.NONE for verdict in result.verdicts.values())
    if result.identity is None or tokenless or undecided:
        return
    target.store.add(f.IDENTITY_ATTEMPTS, result.identity)
    if result.failed:
        target.store.add(f.IDENTITY_FAILURES, result.identity)


def _record_end(target: _RegisteredTarget, result: Result) -> None:
    """The close, the HTTP status of a refused upgrade, and the passed-over messages."""
    close = result.close
    if close is not None:
        target.store.add(f.CLOSES, close.phase, close_label(close.code, target.profile), close.initiator)
    if result.http_status not in (None, HTTPStatus.SWITCHING_PROTOCOLS):
        target.store.add(f.HTTP_REJECTIONS, http_code(result.http_status))
    for kind, count in result.passed_over.items():
        target.store.add(f.PASSED_OVER, kind if kind in target.kinds else OTHER_WORD, amount=count)


def _record_factory(store: SampleStore, result: Result) -> None:
    """The factory's context is valid after a faultless welcome, and invalid if the result has a factory reason."""
    if result.factory_reason is not None:
        store.add(f.FACTORY_FAILURES, result.factory_reason)
        store.set(0, f.FACTORY_VALID)
    elif Phase.ADMISSION in result.phases:
        store.set(1, f.FACTORY_VALID)
    evidence = result.evidence
    _set_known(
        store,
        {
            f.SLOT_LIMIT: result.slot_limit,
            f.CLOCK_SKEW: evidence.clock_skew,
            f.HEARTBEAT_INTERVAL: evidence.heartbeat_interval,
            f.MAX_MESSAGE_SIZE: evidence.max_message_size,
        },
    )


def _set_known(store: SampleStore, values: Mapping[f.Family, float | None]) -> None:
    for family, value in values.items():
        if value is not None:
            store.set(value, family)
