"""The figures of many results: how many passed and how fast, why others failed, and whether the sessions were real.

`compare` sets the figures of a series beside those of an earlier one.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from math import ceil
from typing import Any, Final

from exporter.report.check_report import passed
from exporter.report.formatting import closed, moment, seconds
from exporter.report.series import CheckSeries, outcome_text
from exporter.report.situation import UNKNOWN_CONTEXT, TargetContext
from exporter.result import HeldConnection, Phase, Probe, Result, Verdict

CLOCK_MOVED_SECONDS: Final = 2.0
"""After this time the clock of a live server has moved on (docs/design.md#evidence)."""


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
    """Sessions of an identity by outcome."""

    passed: int
    failed: int
    unproved: int


@dataclass(frozen=True, slots=True)
class LivenessEvidence:
    """What only a live server can have sent.

    `welcomes`, `distinct`: sessions with a connection id; distinct ids among them.
    `clock_pairs`, `clock_moved`: neighbours 2 s apart or more, both with a server time; those where it differs.
    `sent`, `echoed`: sessions that sent a message; those whose nonce came back.
    """

    welcomes: int
    distinct: int
    clock_pairs: int
    clock_moved: int
    sent: int
    echoed: int


@dataclass(frozen=True, slots=True)
class SeriesSummary:
    """Many results in figures; `passed + failed + unproved` is `runs`."""

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
    outcomes = _count_outcomes(results)
    return SeriesSummary(
        runs=len(results),
        passed=outcomes.passed,
        failed=outcomes.failed,
        unproved=outcomes.unproved,
        probes=_spreads(Probe, [result.durations for result in results]),
        phases=_spreads(Phase, [result.phases for result in results]),
        causes=_counted(outcome_text(result) for result in results if not passed(result)),
        closes=_counted(closed(result.close) for result in results if result.close is not None),
        identities=_identities(results),
        reality=_liveness(results),
    )


def spread(figures: Iterable[float]) -> DurationSpread | None:
    """The spread of these durations; None if there are none."""
    ordered = sorted(figures)
    if not ordered:
        return None
    return DurationSpread(len(ordered), ordered[0], _rank(ordered, 0.5), _rank(ordered, 0.95), ordered[-1])


def _rank(ordered: Sequence[float], share: float) -> float:
    """The figure of the nearest rank: always one that was measured."""
    return ordered[max(ceil(share * len(ordered)), 1) - 1]


def _spreads(names: Iterable[Any], figures: Sequence[Mapping[Any, float]]) -> dict[Any, DurationSpread]:
    spreads = {name: spread(each[name] for each in figures if name in each) for name in names}
    return {name: figure for name, figure in spreads.items() if figure is not None}


def _counted(texts: Iterable[str]) -> dict[str, int]:
    """How often each text occurs, the most frequent first, then alphabetically."""
    return dict(sorted(Counter(texts).items(), key=lambda item: (-item[1], item[0])))


def _count_outcomes(results: Sequence[Result]) -> IdentityCounts:
    passes = sum(map(passed, results))
    failures = sum(result.failed or result.factory_reason is not None for result in results)
    return IdentityCounts(passes, failures, len(results) - passes - failures)


def _identities(results: Sequence[Result]) -> dict[str, IdentityCounts]:
    names = sorted({result.identity for result in results if result.identity is not None})
    return {name: _count_outcomes([result for result in results if result.identity == name]) for name in names}


def _liveness(results: Sequence[Result]) -> LivenessEvidence:
    ids = [result.evidence.connection_id for result in results if result.evidence.connection_id is not None]
    times = [
        (result.started_at, result.evidence.server_time)
        for result in sorted(results, key=lambda each: each.started_at)
        if result.evidence.server_time is not None
    ]
    pairs = [(one, other) for one, other in pairwise(times) if other[0] - one[0] >= CLOCK_MOVED_SECONDS]
    sent = [result for result in results if Phase.REPLY in result.phases or result.phase is Phase.REPLY]
    return LivenessEvidence(
        welcomes=len(ids),
        distinct=len(set(ids)),
        clock_pairs=len(pairs),
        clock_moved=sum(one[1] != other[1] for one, other in pairs),
        sent=len(sent),
        echoed=sum(result.verdicts.get(Probe.SEND) is Verdict.PASS or Phase.REPLY in result.phases for result in sent),
    )


# Before and after -----------------------------------------------------------------------------------------------------

NOTABLE_FRACTION: Final = 0.25
NOTICEABLE_SECONDS: Final = 0.05
"""A duration that changed by less than a quarter, or by less than 50 ms, counts as the same."""


class Trend(StrEnum):
    """How a figure changed."""

    BETTER = "better"
    SAME = "same"
    WORSE = "worse"


@dataclass(frozen=True, slots=True)
class FigureChange:
    """One figure, before and after, as text; `what` names it."""

    what: str
    before: str
    after: str
    trend: Trend


@dataclass(frozen=True, slots=True)
class BaselineReport:
    """An earlier check or series.

    `started_at`: unix seconds. `context`: the target as it was configured then. `origin`: where it was probed from.
    `held`: what the exporter's held connection of the target showed then; None: it held none.
    """

    target: str
    started_at: float
    results: tuple[Result, ...]
    context: TargetContext = UNKNOWN_CONTEXT
    origin: str | None = None
    held: HeldConnection | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two series side by side. `sentence`: the verdict. `gone`, `new`: causes of only the one or the other, as text."""

    sentence: str
    trend: Trend
    changes: tuple[FigureChange, ...]
    gone: tuple[str, ...]
    new: tuple[str, ...]


VERDICT_TEXTS: Final = {
    (Trend.BETTER, Trend.SAME): "BETTER: more runs pass than at",
    (Trend.WORSE, Trend.SAME): "WORSE: fewer runs pass than at",
    (Trend.SAME, Trend.SAME): "SAME: as many runs pass, as fast as at",
    (Trend.SAME, Trend.BETTER): "BETTER: as many runs pass, faster than at",
    (Trend.SAME, Trend.WORSE): "WORSE: as many runs pass, but slower than at",
}
"""By the trend of passed runs and, where that is the same, of speed."""


def compare(before: BaselineReport, series: CheckSeries) -> Comparison:
    """What changed since an earlier check or series. The share of passed runs decides, then the medians."""
    old, new = summarise(before.results), summarise(series.results)
    share = _trend(_share(new), _share(old))
    changes = [FigureChange("runs passed", _share_text(old), _share_text(new), share)]
    medians = []
    for probe in [probe for probe in old.probes if probe in new.probes]:
        old_spread, new_spread = old.probes[probe], new.probes[probe]
        medians.append(_speed_trend(old_spread.median, new_spread.median))
        changes.append(_speed_change(f"{probe}, median", old_spread.median, new_spread.median))
        changes.append(_speed_change(f"{probe}, p95", old_spread.p95, new_spread.p95))
    speed = next((trend for trend in (Trend.WORSE, Trend.BETTER) if trend in medians), Trend.SAME)
    old_causes, new_causes = _causes(before.results), _causes(series.results)
    other = "" if before.target == series.report.target else f" (which was of another target, {before.target})"
    return Comparison(
        sentence=f"{VERDICT_TEXTS[share, speed if share is Trend.SAME else Trend.SAME]} "
        f"{moment(before.started_at)}{other}.",
        trend=speed if share is Trend.SAME else share,
        changes=tuple(changes),
        gone=tuple(cause for cause in old_causes if cause not in new_causes),
        new=tuple(cause for cause in new_causes if cause not in old_causes),
    )


def _share(summary: SeriesSummary) -> float:
    return summary.passed / summary.runs if summary.runs else 0.0


def _share_text(summary: SeriesSummary) -> str:
    return f"{summary.passed} of {summary.runs} ({_share(summary):.0%})"


def _trend(good: float, bad: float) -> Trend:
    if good == bad:
        return Trend.SAME
    return Trend.BETTER if good > bad else Trend.WORSE


def _speed_trend(old_seconds: float, new_seconds: float) -> Trend:
    similar = abs(new_seconds - old_seconds) < max(NOTABLE_FRACTION * old_seconds, NOTICEABLE_SECONDS)
    return Trend.SAME if similar else _trend(old_seconds, new_seconds)


def _speed_change(figure: str, old_seconds: float, new_seconds: float) -> FigureChange:
    return FigureChange(figure, seconds(old_seconds), seconds(new_seconds), _speed_trend(old_seconds, new_seconds))


def _causes(results: Sequence[Result]) -> dict[str, None]:
    return dict.fromkeys(outcome_text(result) for result in results if not passed(result))
