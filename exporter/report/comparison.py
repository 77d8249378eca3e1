"""Before and after: a series beside an earlier one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from exporter.report.check_report import passed
from exporter.report.formatting import moment, seconds
from exporter.report.reading import BaselineReport
from exporter.report.series import CheckSeries, in_words
from exporter.report.summary import SeriesSummary, summarise
from exporter.result import Result

NOTABLE_FRACTION: Final = 0.25
NOTICEABLE_SECONDS: Final = 0.05
"""A figure that changed by less than a quarter, or by less than 50 ms, is the same."""


class Trend(StrEnum):
    """What became of it."""

    BETTER = "better"
    SAME = "same"
    WORSE = "worse"


@dataclass(frozen=True, slots=True)
class FigureChange:
    """One figure, before and after, as text."""

    what: str
    before: str
    after: str
    trend: Trend


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two series side by side; `sentence` is the whole of it. Causes by their words."""

    sentence: str
    trend: Trend
    changes: tuple[FigureChange, ...]
    gone: tuple[str, ...]
    new: tuple[str, ...]


def compare(before: BaselineReport, series: CheckSeries) -> Comparison:
    """What changed since an earlier check or series. More passed runs count for more than speed."""
    old, new = summarise(before.results), summarise(series.results)
    rate = FigureChange("runs passed", _share(old), _share(new), _trend(_rate(new), _rate(old)))
    speeds = list(_speeds(old, new))
    trend = (
        rate.trend
        if rate.trend is not Trend.SAME
        else _gravest([change.trend for change in speeds if change.what.endswith("median")])
    )
    then, now = _causes(before.results), _causes(series.results)
    other = "" if before.target == series.checked.target else f" (which was of another target, {before.target})"
    return Comparison(
        sentence=f"{_words(rate.trend, trend)} {moment(before.started_at)}{other}.",
        trend=trend,
        changes=(rate, *speeds),
        gone=tuple(cause for cause in then if cause not in now),
        new=tuple(cause for cause in now if cause not in then),
    )


def _words(rate: Trend, trend: Trend) -> str:
    if rate is not Trend.SAME:
        return f"{rate.upper()}: {'more' if rate is Trend.BETTER else 'fewer'} runs pass than at"
    speed = {
        Trend.SAME: "SAME: as many runs pass, as fast as at",
        Trend.BETTER: "BETTER: as many runs pass, faster than at",
    }
    return speed.get(trend, "WORSE: as many runs pass, but slower than at")


def _share(summary: SeriesSummary) -> str:
    return f"{summary.passed} of {summary.runs} ({_rate(summary):.0%})"


def _rate(summary: SeriesSummary) -> float:
    return summary.passed / summary.runs if summary.runs else 0.0


def _trend(good: float, bad: float) -> Trend:
    if good == bad:
        return Trend.SAME
    return Trend.BETTER if good > bad else Trend.WORSE


def _speeds(old: SeriesSummary, new: SeriesSummary) -> Iterator[FigureChange]:
    """The median and p95 of each probe that passed in both; the median decides."""
    for probe in old.probes:
        if probe in new.probes:
            then, now = old.probes[probe], new.probes[probe]
            yield _speed(f"{probe}, median", then.median, now.median)
            yield _speed(f"{probe}, p95", then.p95, now.p95)


def _speed(what: str, then: float, now: float) -> FigureChange:
    alike = abs(now - then) < max(NOTABLE_FRACTION * then, NOTICEABLE_SECONDS)
    return FigureChange(what, seconds(then), seconds(now), Trend.SAME if alike else _trend(then, now))


def _gravest(trends: Sequence[Trend]) -> Trend:
    return next((trend for trend in (Trend.WORSE, Trend.BETTER) if trend in trends), Trend.SAME)


def _causes(results: Sequence[Result]) -> dict[str, None]:
    return dict.fromkeys(in_words(result) for result in results if not passed(result))
