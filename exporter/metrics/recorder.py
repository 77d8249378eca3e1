"""Counts what happened: the methods through which every other package records results.

Rule 1: all that is counted is a closed word or a name of the config. Rule 2: no clock: every time comes in.
Rule 3: a result of a target that is gone is dropped: a series never comes back after its removal.
"""

import platform
from collections.abc import Generator, Iterable, Mapping
from http import HTTPStatus
from typing import NamedTuple

from exporter.classify import OutageCause, OutageDetector, close_label
from exporter.metrics import families as f
from exporter.metrics.exposition import ExpositionFormat, ProcessMetrics, figures
from exporter.metrics.layout import labels_text
from exporter.metrics.series import (
    LEARNED,
    OTHER_WORD,
    Key,
    TargetSeries,
    http_code,
    legal,
    own,
    passed_over_kinds,
    watched,
)
from exporter.metrics.storage import MetricStorage, SampleStore
from exporter.profiles import has_factory, probes_of
from exporter.result import Phase, Probe, Result, Skip, Verdict


class ExporterFigures(NamedTuple):
    """What we said of ourselves: whether the last config loaded, when one last did (unix seconds), how late we are."""

    config_ok: bool
    config_at: float
    loop_lag: float
    distorted: int


class _RegisteredTarget:
    """A target that is there: its shelf, and what of its profile decides how a result is counted."""

    def __init__(self, shelf: SampleStore, target: TargetSeries) -> None:
        self.shelf = shelf
        self.outages = OutageDetector(watched(target))
        self.update(target)

    def update(self, target: TargetSeries) -> None:
        self.target = target
        self.profile = target.profile
        self.probes = probes_of(target.profile)
        self.tokenless = target.tokenless
        self.kinds = passed_over_kinds(target.profile)
        self.validates = has_factory(target.profile)
        self.shelf.arrange(legal(target), target.identities, labels_text(target.labels))
        if not self.outages.follow(watched(target)):
            self.forget_outages()

    def forget_outages(self) -> None:
        """Nothing is known of any outage: the backend, or what it can be asked, is another one."""
        self.outages = OutageDetector(watched(self.target))
        for cause in watched(self.target).causes:
            self.shelf.unset(f.OUTAGE, cause)


class Metrics:
    """All metric families of the exporter: `figures` and `machine` are what a scrape is made of."""

    def __init__(self, version: str) -> None:
        self._storage = MetricStorage()
        self._machine = ProcessMetrics()
        self._targets: dict[str, _RegisteredTarget] = {}
        self._storage.own().arrange(own())
        self._storage.own().set(1, f.BUILD_INFO, version, platform.python_version())

    def figures(self, form: ExpositionFormat) -> Generator[str]:
        """Our series as text of one moment, in pieces; one reading at a time. See `exposition.figures`."""
        return figures(self._storage, form)

    def machine(self, form: ExpositionFormat) -> str:
        """The rest of a page: process, platform, garbage collection. Reads /proc; callable in any thread."""
        return self._machine.text(form)

    # Targets ---------------------------------------------------------------------------------------------------

    def add_target(self, target: TargetSeries) -> None:
        """Make the target's series, those that count at 0. Of a target that is there, the counts stay."""
        known = self._known(target.name)
        if known is None:
            self._targets[target.name] = _RegisteredTarget(self._storage.add(target.name), target)
        else:
            known.update(target)

    def remove_target(self, name: str) -> None:
        """Drop every series of the target."""
        if self._targets.pop(name, None) is not None:
            self._storage.remove(name)

    def recall(self, name: str, results: Iterable[Result]) -> None:
        """Go on with the outages that an earlier process saw: its last results of a target, oldest first.

        They count in no other series. A cause that they know nothing of stays absent.
        """
        known = self._known(name)
        if known is None:
            return
        stands: dict[OutageCause, bool] = {}
        for result in results:
            stands |= known.outages.observe(result)
        for cause, one in stands.items():
            known.shelf.set(one, f.OUTAGE, cause)

    def elsewhere(self, name: str) -> None:
        """Forget what the target's backend has told of itself: it is another one now."""
        known = self._known(name)
        if known is not None:
            for family in LEARNED:
                known.shelf.unset(family)
            known.forget_outages()

    def unprimed(self) -> list[tuple[str, Key]]:
        """Names and label values of series that exist although `series.legal` does not know them: for tests."""
        return [
            (key[0].name, (name, *key[1:]))
            for name, known in self._targets.items()
            for key in known.shelf.unexpected_series()
        ]

    def _known(self, name: str) -> _RegisteredTarget | None:
        """A target that is there, its shelf open to be written to."""
        known = self._targets.get(name)
        if known is not None:
            self._storage.open(known.shelf)
        return known

    # Sessions --------------------------------------------------------------------------------------------------

    def observe(self, result: Result) -> None:
        """Count one finished session of the scheduler, confirm runs included."""
        known = self._known(result.target)
        if known is None:
            return
        if result.impairment is not None:
            known.shelf.add(f.IMPAIRED, result.impairment)
            return
        if result.distorted:
            self._storage.own().add(f.DISTORTED_RUNS)
        if result.void:
            return
        for probe in known.probes:
            _verdict(known.shelf, result, probe)
        for cause, stands in known.outages.observe(result).items():
            known.shelf.set(stands, f.OUTAGE, cause)
        _identity(known, result)
        _ending(known, result)
        _evidence(known.shelf, result)
        if known.validates:
            _factory(known.shelf, result)
        if not result.distorted:
            _durations(known, result)

    def cycle(self, result: Result) -> None:
        """Count the verdicts that answer one scheduled cycle."""
        known = self._known(result.target)
        if known is None:
            return
        for probe in known.probes:
            verdict = result.verdicts.get(probe, Verdict.NONE)
            if verdict is not Verdict.NONE:
                known.shelf.add(f.CYCLES, probe)
            if verdict is Verdict.FAIL:
                known.shelf.add(f.CYCLE_FAILURES, probe)

    def skip(self, skip: Skip) -> None:
        """Count a cycle that was due and opened no session."""
        known = self._known(skip.target)
        if known is not None:
            known.shelf.add(f.SKIPS, skip.cause)

    # States ----------------------------------------------------------------------------------------------------

    def due(self, target: str, probe: Probe, at: float) -> None:
        """Say when (unix seconds) the probe runs next."""
        self._set(target, at, f.DUE, probe)

    def open_connections(self, target: str, count: int) -> None:
        """Say how many connections to the target are open."""
        self._set(target, count, f.OPEN_CONNECTIONS)

    def identity_state(self, target: str, identity: str, *, held: int, budget: int | None, resting: bool) -> None:
        """Say how many slots an identity holds and may hold (None: no limit), and whether it rests."""
        known = self._known(target)
        if known is None:
            return
        known.shelf.set(resting, f.IDENTITY_RESTING, identity)
        if known.validates:
            known.shelf.set(held, f.SLOTS_HELD, identity)
            if budget is not None:
                known.shelf.set(budget, f.SLOTS_BUDGET, identity)
            else:
                known.shelf.unset(f.SLOTS_BUDGET, identity)

    def token_resting(self, target: str, *, resting: bool, rejected: bool) -> None:
        """Say whether the target's token is kept back because of rejections; `rejected`: it is among them."""
        known = self._known(target)
        if known is None or not known.target.has_token:
            return
        known.shelf.set(resting, f.TOKEN_RESTING)
        for cause in known.outages.last_token() if resting and rejected else ():
            known.shelf.set(1, f.OUTAGE, cause)

    def auth_bypassed(self, target: str, *, bypassed: bool) -> None:
        """Say whether the target's headers switch off the backend's token check."""
        known = self._known(target)
        if known is not None and known.validates:
            known.shelf.set(bypassed, f.AUTH_BYPASSED)

    def loop_lag(self, seconds: float) -> None:
        """Say by how much the event loop was late."""
        self._storage.own().set(seconds, f.LOOP_LAG)

    def reloaded(self, at: float, *, successful: bool) -> None:
        """Say how the load of the config at `at` (unix seconds) went; the first load counts."""
        self._storage.own().set(successful, f.RELOAD_OK)
        if successful:
            self._storage.own().set(at, f.RELOADED_AT)

    def own(self) -> ExporterFigures:
        """What was said of ourselves."""
        shelf = self._storage.own()
        return ExporterFigures(
            config_ok=bool(shelf.get(f.RELOAD_OK)),
            config_at=shelf.get(f.RELOADED_AT),
            loop_lag=shelf.get(f.LOOP_LAG),
            distorted=int(shelf.get(f.DISTORTED_RUNS)),
        )

    def _set(self, target: str, value: float, *key: object) -> None:
        known = self._known(target)
        if known is not None:
            known.shelf.set(value, *key)


def _verdict(shelf: SampleStore, result: Result, probe: Probe) -> None:
    """Attempts, failures, success and the two timestamps. A probe that was asked and proved nothing did run."""
    if probe.rank <= result.depth.rank:
        shelf.set(result.started_at, f.LAST_RUN, probe)
    verdict = result.verdicts.get(probe, Verdict.NONE)
    if verdict is Verdict.NONE:
        return
    passed = verdict is Verdict.PASS
    shelf.add(f.ATTEMPTS, probe)
    shelf.set(passed, f.SUCCESS, probe)
    if passed:
        shelf.set(result.started_at, f.LAST_SUCCESS, probe)
    else:
        shelf.add(f.FAILURES, probe, result.phase, result.reason)


def _durations(known: _RegisteredTarget, result: Result) -> None:
    for probe, seconds in result.durations.items():
        if probe in known.probes and result.verdicts.get(probe) is Verdict.PASS:
            known.shelf.observe(seconds, f.DURATION, probe)
            if seconds > known.target.slow_over[probe]:
                known.shelf.add(f.SLOW, probe)
    for phase, seconds in result.phases.items():
        if phase is not Phase.PREPARE:
            known.shelf.observe(seconds, f.PHASE_DURATION, phase)


def _identity(known: _RegisteredTarget, result: Result) -> None:
    """A connect-deep session that sends no token says nothing of the identity."""
    tokenless = result.depth is Probe.CONNECT and known.tokenless
    undecided = all(verdict is Verdict.NONE for verdict in result.verdicts.values())
    if result.identity is None or tokenless or undecided:
        return
    known.shelf.add(f.IDENTITY_ATTEMPTS, result.identity)
    if result.failed:
        known.shelf.add(f.IDENTITY_FAILURES, result.identity)


def _ending(known: _RegisteredTarget, result: Result) -> None:
    """The close, the HTTP status of a refused upgrade, and the messages that were passed over."""
    close = result.close
    if close is not None:
        known.shelf.add(f.CLOSES, close.phase, close_label(close.code, known.profile), close.initiator)
    if result.http_status not in (None, HTTPStatus.SWITCHING_PROTOCOLS):
        known.shelf.add(f.HTTP_REJECTIONS, http_code(result.http_status))
    for kind, count in result.passed_over.items():
        known.shelf.add(f.PASSED_OVER, kind if kind in known.kinds else OTHER_WORD, amount=count)


def _evidence(shelf: SampleStore, result: Result) -> None:
    _known_figures(shelf, {f.CERTIFICATE_EXPIRY: result.evidence.certificate_expiry})


def _factory(shelf: SampleStore, result: Result) -> None:
    """Whether the factory gave a valid context: a welcome that nothing is wrong with, or a reason why not."""
    if result.factory_reason is not None:
        shelf.add(f.FACTORY_FAILURES, result.factory_reason)
        shelf.set(0, f.FACTORY_VALID)
    elif Phase.ADMISSION in result.phases:
        shelf.set(1, f.FACTORY_VALID)
    evidence = result.evidence
    _known_figures(
        shelf,
        {
            f.SLOT_LIMIT: result.slot_limit,
            f.CLOCK_SKEW: evidence.clock_skew,
            f.HEARTBEAT_INTERVAL: evidence.heartbeat_interval,
            f.MAX_MESSAGE_SIZE: evidence.max_message_size,
        },
    )


def _known_figures(shelf: SampleStore, figures: Mapping[f.Family, float | None]) -> None:
    for family, value in figures.items():
        if value is not None:
            shelf.set(value, family)
