"""The figures of many results: what passed and how fast, what failed and why, and that each session was real."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from typing import Any, Final

from exporter.report.check_report import passed
from exporter.report.formatting import closed
from exporter.report.series import in_words
from exporter.result import Phase, Probe, Result, Verdict

CLOCK_MOVED_SECONDS: Final = 2.0
"""Seconds after which a live server's clock has moved on (docs/design.md#evidence)."""


@dataclass(frozen=True, slots=True)
class DurationSpread:
    """Seconds of one probe or phase over many sessions; `p95` by nearest rank."""

    count: int
    least: float
    median: float
    p95: float
    most: float


@dataclass(frozen=True, slots=True)
class IdentityCounts:
    """How an identity fared."""

    passed: int
    failed: int
    unproved: int


@dataclass(frozen=True, slots=True)
class LivenessEvidence:
    """What only a live server can have given.

    `welcomes`: sessions with a connection id, `distinct` the ids among them. `clock_pairs`: neighbours 2 s apart or
    more that both told a server time, `clock_moved` those where it was another. `sent`: sessions that went as deep as
    send and were let in, `echoed` those whose nonce came back.
    """

    welcomes: int
    distinct: int
    clock_pairs: int
    clock_moved: int
    sent: int
    echoed: int


@dataclass(frozen=True, slots=True)
class SeriesSummary:
    """Many results in figures. `passed + failed + unproved` is `runs`; causes and closes with their counts."""

    runs: int
    passed: int
    failed: int
    unproved: int
    probes: Mapping[Probe, DurationSpread]
    phases: Mapping[Phase, DurationSpread]
    causes: Mapping[str, int]
    closes: Mapping[str, int]
    identities: Mapping[str, IdentityCounts]
    reality: LivenessEvidence


def summarise(results: Sequence[Result]) -> SeriesSummary:
    """The figures of these results."""
    whole = _tally(results)
    return SeriesSummary(
        runs=len(results),
        passed=whole.passed,
        failed=whole.failed,
        unproved=whole.unproved,
        probes=_spreads(Probe, [result.durations for result in results]),
        phases=_spreads(Phase, [result.phases for result in results]),
        causes=_counted(in_words(result) for result in results if not passed(result)),
        closes=_counted(closed(result.close) for result in results if result.close is not None),
        identities=_identities(results),
        reality=_reality(results),
    )


def spread(figures: Iterable[float]) -> DurationSpread | None:
    """The spread of some seconds; None of none."""
    ordered = sorted(figures)
    if not ordered:
        return None
    return DurationSpread(len(ordered), ordered[0], _rank(ordered, 0.5), _rank(ordered, 0.95), ordered[-1])


def _rank(ordered: Sequence[float], share: float) -> float:
    """The figure of the nearest rank: one that was measured, not one between two."""
    return ordered[max(ceil(share * len(ordered)), 1) - 1]


def _spreads(names: Iterable[Any], figures: Sequence[Mapping[Any, float]]) -> dict[Any, DurationSpread]:
    found = {name: spread(each[name] for each in figures if name in each) for name in names}
    return {name: figure for name, figure in found.items() if figure is not None}


def _counted(words: Iterable[str]) -> dict[str, int]:
    """Most frequent first, then by the alphabet."""
    return dict(sorted(Counter(words).items(), key=lambda item: (-item[1], item[0])))


def _tally(results: Sequence[Result]) -> IdentityCounts:
    good = sum(map(passed, results))
    bad = sum(result.failed or result.factory_reason is not None for result in results)
    return IdentityCounts(good, bad, len(results) - good - bad)


def _identities(results: Sequence[Result]) -> dict[str, IdentityCounts]:
    names = sorted({result.identity for result in results if result.identity is not None})
    return {name: _tally([result for result in results if result.identity == name]) for name in names}


def _reality(results: Sequence[Result]) -> LivenessEvidence:
    ids = [result.evidence.connection_id for result in results if result.evidence.connection_id is not None]
    told = [
        (result.started_at, result.evidence.server_time)
        for result in sorted(results, key=lambda each: each.started_at)
        if result.evidence.server_time is not None
    ]
    pairs = [(one, other) for one, other in pairwise(told) if other[0] - one[0] >= CLOCK_MOVED_SECONDS]
    sent = [result for result in results if Phase.REPLY in result.phases or result.phase is Phase.REPLY]
    return LivenessEvidence(
        welcomes=len(ids),
        distinct=len(set(ids)),
        clock_pairs=len(pairs),
        clock_moved=sum(one[1] != other[1] for one, other in pairs),
        sent=len(sent),
        echoed=sum(result.verdicts.get(Probe.SEND) is Verdict.PASS or Phase.REPLY in result.phases for result in sent),
    )
