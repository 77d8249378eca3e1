"""The series that a target can have: every legal combination of label values, and its start value.

Rule 1: a counter that can increase starts at 0 before the first session, so that `increase()` sees its first step; a
series that cannot occur is not made. Rule 2: a gauge whose value is unknown is absent, never 0.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, product
from typing import Any, Final

from exporter.classify import LEGAL_FAILURES, OutagePolicy, failing_phases, legal_closes, possible_causes
from exporter.config import Profile, Target, connects_without_token, withholds_token
from exporter.metrics import families as f
from exporter.profiles import has_factory, kinds_of, phases_of, probes_of
from exporter.result import (
    FactoryReason,
    HoldEnd,
    Impairment,
    Layer,
    LineLevel,
    Probe,
    RefusalCase,
    RefusalOutcome,
    SentinelOutcome,
    SkipCause,
    StatsOutcome,
    SuspicionOutcome,
)

OTHER_WORD: Final = "other"
HTTP_CODES: Final = ("3xx", "400", "401", "403", "404", "429", "500", "502", "503", "504", OTHER_WORD)

OF_FACTORY: Final = (f.FACTORY_VALID, f.SLOT_LIMIT, f.CLOCK_SKEW, f.HEARTBEAT_INTERVAL, f.MAX_MESSAGE_SIZE)
OF_CANARY: Final = (f.SLOTS_LEAKED, f.SLOT_RELEASE)
OF_HOLD: Final = (f.HOLD_OPENED_AT, f.HOLD_DEAF, f.HOLD_IDLE_CUT, f.HOLD_AGE_CUT)
LEARNED: Final = (*OF_FACTORY, *OF_CANARY, *OF_HOLD, f.CERTIFICATE_EXPIRY, f.SENTINEL_SUCCESS)
"""Gauges learned from the backend: unknown at first, and again after the target's URL has changed."""

Key = tuple[Any, ...]
"""A family, and the label values after `target` in the family's order."""

Start = float | None
"""The first value of a series; None: absent until known."""


@dataclass(frozen=True, slots=True)
class TargetSeries:
    """The facts about a target that decide its series.

    `identities`: aliases.
    `interval`, `timeout`: seconds.
    `every`: the probe runs in every n-th cycle.
    `tokenless`: a session that only connects sends no token.
    `token_withheld`: as `tokenless`, while deeper sessions send the token in the upgrade request.
    `labels`: the labels that the config gives the target.
    `slow_over`: seconds above which a passed probe counts as slow.
    `has_token`: the deepest sessions send a token.
    `confirm_after`: seconds from a first failure to its confirm run.
    `has_canary`: a canary looks for leaked slots.
    `has_sentinel`: a sentinel connects between the cycles.
    `refusals`: credentials that are sent and must be refused.
    `has_hold`: a connection is held.
    `figures`, `limited`: names of the figures that are read from the backend, and of those with a limit.
    """

    name: str
    profile: Profile
    identities: tuple[str, ...]
    tls: bool
    interval: float
    timeout: float
    every: Mapping[Probe, int]
    tokenless: bool
    token_withheld: bool
    labels: Mapping[str, str] = field(default_factory=dict)
    slow_over: Mapping[Probe, float] = field(default_factory=dict)
    has_token: bool = False
    confirm_after: float = 0.0
    has_canary: bool = False
    has_sentinel: bool = False
    refusals: tuple[RefusalCase, ...] = ()
    has_hold: bool = False
    figures: tuple[str, ...] = ()
    limited: tuple[str, ...] = ()

    @property
    def may_be_suspected(self) -> bool:
        """Whether something between the cycles can start the confirm runs."""
        return self.has_sentinel or self.has_hold


def target_series(target: Target, profile: Profile) -> TargetSeries:
    """The facts about a configured target with this profile."""
    return TargetSeries(
        name=target.name,
        profile=profile,
        identities=tuple(target.identities),
        tls=target.url.lower().startswith("wss:"),
        interval=target.interval,
        timeout=target.timeout,
        every={Probe.CONNECT: 1, Probe.AUTH: target.probes.auth.every, Probe.SEND: target.probes.send.every},
        tokenless=connects_without_token(target.auth, profile),
        token_withheld=withholds_token(target.auth, profile),
        labels=target.labels,
        slow_over={probe: getattr(target.slow_over, probe) for probe in Probe},
        has_token=target.auth is not None,
        confirm_after=target.confirm.after,
        has_canary=target.canary is not None,
        has_sentinel=target.sentinel is not None,
        refusals=() if target.refusals is None else tuple(target.refusals.cases),
        has_hold=target.hold is not None,
        figures=() if target.stats is None else tuple(target.stats.fields),
        limited=() if target.stats is None else tuple(target.stats.limits),
    )


def _refusals(target: TargetSeries) -> Iterator[tuple[Key, Start]]:
    for case in target.refusals:
        yield from (((f.REFUSALS, case, outcome), 0) for outcome in RefusalOutcome)
        yield from (((family, case), None) for family in (f.REFUSAL_SUCCESS, f.REFUSAL_BYPASSED))


def _hold(target: TargetSeries) -> Iterator[tuple[Key, Start]]:
    if not target.has_hold:
        return
    yield (f.HOLD_UP,), 0
    yield from (((family,), None) for family in OF_HOLD)
    yield from (((f.HOLD_ENDS, end), 0) for end in HoldEnd)
    for level in LineLevel:
        yield from (((family, level), 0) for family in (f.HOLD_ROUND_TRIP, f.HEARTBEATS))
        yield from (((family, level), None) for family in (f.HEARTBEAT_LOST, f.HOLD_HEARTBEAT_INTERVAL))


def _stats(target: TargetSeries) -> Iterator[tuple[Key, Start]]:
    yield from (((f.STATS_VALUE, name), None) for name in target.figures)
    yield from (((f.STATS_LIMIT, name), None) for name in target.limited)
    yield from (((f.STATS_READS, outcome), 0) for outcome in (StatsOutcome if target.figures else ()))


def legal_series(target: TargetSeries) -> dict[Key, Start]:
    """Every series that the target can have, unordered."""
    by_words = (_failures(target), _closes(target), _refusals(target), _hold(target), _stats(target))
    parts = (_by_target(target), _by_probe(target), *by_words, _by_identity(target))
    return dict(chain(*parts, _factory(target) if has_factory(target.profile) else ()))


def probe_intervals(target: TargetSeries) -> dict[Probe, float]:
    """Seconds between two scheduled runs of each probe."""
    return {probe: target.interval * target.every[probe] for probe in probes_of(target.profile)}


def outage_policy(target: TargetSeries) -> OutagePolicy:
    """When failures of the target's sessions count as an outage."""
    causes = possible_causes(target.profile, tls=target.tls, factory=has_factory(target.profile))
    return OutagePolicy(
        causes, probe_intervals(target), len(target.identities), target.token_withheld, target.confirm_after
    )


def exporter_series() -> dict[Key, Start]:
    """Every series of the exporter itself except the infos, which `Metrics` adds with their label values."""
    return {(f.LOOP_LAG,): 0, (f.DISTORTED_RUNS,): 0, (f.RELOAD_OK,): 0, (f.RELOADED_AT,): 0}


def http_code(status: int) -> str:
    """The label value for the HTTP status of a refused upgrade."""
    if 300 <= status < 400:  # noqa: PLR2004 - RFC 9110 section 15.4
        return "3xx"
    return str(status) if str(status) in HTTP_CODES else OTHER_WORD


def passed_over_kinds(profile: Profile) -> frozenset[str]:
    """The label values for kinds of passed-over messages; every other kind counts as `other`."""
    return frozenset({*kinds_of(profile), OTHER_WORD})


def _by_target(target: TargetSeries) -> Iterator[tuple[Key, Start]]:
    yield (f.TIMEOUT,), target.timeout
    yield (f.TARGET_INFO,), 1
    yield (f.OPEN_CONNECTIONS,), 0
    if target.tls:
        yield (f.CERTIFICATE_EXPIRY,), None
    if target.has_token:
        yield (f.TOKEN_RESTING,), 0
    if target.has_sentinel:
        yield (f.SENTINEL_SUCCESS,), None
        yield from (((f.SENTINEL_CONNECTS, outcome), 0) for outcome in SentinelOutcome)
    if target.may_be_suspected:
        yield from (((f.SUSPICIONS, outcome), 0) for outcome in SuspicionOutcome)
    yield from (((f.OUTAGE, cause), None) for cause in outage_policy(target).causes)
    counters: dict[f.Family, Iterable[str]] = {
        f.IMPAIRED: Impairment,
        f.SKIPS: SkipCause,
        f.LAYER_FAILURES: _layers(target),
        f.HTTP_REJECTIONS: HTTP_CODES,
        f.PASSED_OVER: passed_over_kinds(target.profile),
        f.PHASE_DURATION: phases_of(target.profile, tls=target.tls),
    }
    for family, values in counters.items():
        yield from (((family, value), 0) for value in values)


def _layers(target: TargetSeries) -> list[Layer]:
    """The layers that can be at fault: without TLS or a factory there is no such layer."""
    present = {Layer.TLS: target.tls, Layer.FACTORY: has_factory(target.profile)}
    return [layer for layer in Layer if present.get(layer, True)]


def _by_probe(target: TargetSeries) -> Iterator[tuple[Key, Start]]:
    starts = {
        f.ATTEMPTS: 0,
        f.CYCLES: 0,
        f.CYCLE_FAILURES: 0,
        f.SLOW: 0,
        f.DURATION: 0,
        f.SUCCESS: None,
        f.LAST_RUN: None,
        f.LAST_SUCCESS: None,
        f.DUE: None,
    }
    for probe, interval in probe_intervals(target).items():
        yield from (((family, probe), start) for family, start in starts.items())
        yield (f.INTERVAL, probe), interval
        yield (f.SLOW_OVER, probe), target.slow_over[probe]


def _failures(target: TargetSeries) -> Iterator[tuple[Key, Start]]:
    for probe in probes_of(target.profile):
        for phase in failing_phases(probe, target.profile, tls=target.tls):
            yield from (((f.FAILURES, probe, phase, reason), 0) for reason in LEGAL_FAILURES[phase])


def _closes(target: TargetSeries) -> Iterator[tuple[Key, Start]]:
    return (((f.CLOSES, *close), 0) for close in legal_closes(target.profile, tls=target.tls))


def _by_identity(target: TargetSeries) -> Iterator[tuple[Key, Start]]:
    starts = (f.IDENTITY_ATTEMPTS, f.IDENTITY_FAILURES, f.IDENTITY_RESTING)
    return (((family, identity), 0) for family, identity in product(starts, target.identities))


def _factory(target: TargetSeries) -> Iterator[tuple[Key, Start]]:
    yield from (((f.FACTORY_FAILURES, reason), 0) for reason in FactoryReason)
    yield (f.AUTH_BYPASSED,), 0
    yield from (((family,), None) for family in (*OF_FACTORY, *(OF_CANARY if target.has_canary else ())))
    for identity in target.identities:
        yield (f.SLOTS_HELD, identity), 0
        yield (f.SLOTS_BUDGET, identity), None
