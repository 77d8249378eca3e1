"""Many sessions in a row: the deployment gate `check --runs N --every 20s --until-healthy 10m`."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from exporter.report.check_report import (
    STATUS_SEVERITY_ORDER,
    CheckReport,
    CheckStatus,
    FailOn,
    passed,
    session_status,
    tolerated,
    worst,
)
from exporter.report.escape import fit
from exporter.report.formatting import cause, count, seconds, span
from exporter.result import Probe, Result, Skip, Trigger

REQUIRED_PASSES: Final = 3
PROGRESS_COLUMNS: Final = 100
MAX_PROGRESS_LINES: Final = 20
"""Lines of progress in a log, if the outcome never turns."""
MAX_CAUSES_IN_VERDICT: Final = 3
"""Causes that the verdict names."""


@dataclass(frozen=True, slots=True)
class CheckSeries:
    """A series of checks of one target. Moments in unix seconds, stretches in seconds.

    `checked`: all its results, in their order, with what a check knows. `planned`: runs that were to be.
    `until_healthy`: how long the series was to wait for health; None if each run had to pass. `shapes`: the name shape
    (`name_shape`) of the subject behind each identity of the pool. `skips`: runs that the budget refused.
    """

    checked: CheckReport
    planned: int
    every: float
    finished_at: float
    until_healthy: float | None = None
    needed: int = REQUIRED_PASSES
    shapes: Mapping[str, str] = field(default_factory=dict)
    skips: tuple[Skip, ...] = ()

    @property
    def results(self) -> tuple[Result, ...]:
        """All sessions, confirm runs too."""
        return self.checked.results

    @property
    def healthy(self) -> bool:
        """True if its last runs say that the backend is healthy (`until_healthy`)."""
        return until_healthy(self.results, self.needed, self.shapes)


def until_healthy(
    results: Sequence[Result], needed: int = REQUIRED_PASSES, identities: Collection[str] | None = None
) -> bool:
    """True if the last runs all passed: at least `needed`, and each identity among them.

    `identities`: those of the pool; those of the results if None or empty. Confirm runs do not count. Nor do runs that
    went less deep than the series: a resting identity's connect-deep turn neither proves health nor breaks it.
    """
    asked = max((result.depth for result in results), key=lambda depth: depth.rank, default=Probe.CONNECT)
    whole = [result for result in results if result.trigger is not Trigger.CONFIRM and result.depth is asked]
    wanted = set(identities or ()) or {result.identity for result in whole if result.identity is not None}
    streak = []
    for result in reversed(whole):
        if not passed(result):
            break
        streak.append(result.identity)
    return len(streak) >= max(needed, 1) and wanted <= set(streak)


def series_status(series: CheckSeries) -> CheckStatus:
    """OK if healthy in the end, where that was asked, else if every run passed; what nothing proves is UNKNOWN."""
    found = [session_status(result, series.checked.thresholds) for result in series.results]
    refused = bool(series.skips) or series.checked.refusal is not None
    if series.until_healthy is None:
        return worst([*found, *([CheckStatus.UNKNOWN] if refused or len(found) < series.planned else [])])
    if series.healthy:
        return CheckStatus.OK
    # Not healthy in time: that some runs passed, or were merely slow, makes it no better.
    return (
        max(worst(found), CheckStatus.CRITICAL, key=STATUS_SEVERITY_ORDER.index)
        if _any_failed(found)
        else CheckStatus.UNKNOWN
    )


def _any_failed(found: Sequence[CheckStatus]) -> bool:
    return any(each in (CheckStatus.WARNING, CheckStatus.CRITICAL) for each in found)


def series_exit_code(series: CheckSeries, fail_on: FailOn = "warning") -> int:
    """As `exit_code`, for a series."""
    return int(tolerated(series_status(series), fail_on))


def verdict_line(series: CheckSeries) -> str:
    """The whole series in a line: `FAILED: 12 of 30 runs passed, 18 ended in admission: timeout`."""
    good = sum(map(passed, series.results))
    causes = Counter(in_words(result) for result in series.results if not passed(result)).most_common()
    missing = series.planned - len(series.results) if series.until_healthy is None else 0
    said = (
        f"{good} of {count(len(series.results), 'run')} passed",
        *(f"{times} ended in {words}" for words, times in causes[:MAX_CAUSES_IN_VERDICT]),
        f"{sum(times for _, times in causes[MAX_CAUSES_IN_VERDICT:])} in other ways"
        if causes[MAX_CAUSES_IN_VERDICT:]
        else "",
        f"{missing} of {series.planned} did not take place" if missing > 0 else "",
    )
    return f"{_word(series)}: {', '.join(part for part in said if part)}."


def _word(series: CheckSeries) -> str:
    found = series_status(series)
    if series.until_healthy is not None and series.results:
        took = span(series.finished_at - series.checked.started_at)
        return f"HEALTHY after {took}" if series.healthy else f"NOT HEALTHY within {took}"
    return {CheckStatus.OK: "PASSED", CheckStatus.CRITICAL: "FAILED"}.get(found, found.name)


def in_words(result: Result) -> str:
    """Why a session did not pass, in the words of the closed lists."""
    if result.impairment is not None:
        return f"our own failure: {result.impairment}"
    return cause(result) or (f"factory ({result.factory_reason})" if result.factory_reason else "nothing was proved")


def worth_a_line(results: Sequence[Result], total: int) -> bool:
    """True after the first run, where the outcome has turned, and some twenty times in between: for a log."""
    number = len(results)
    turned = number > 1 and passed(results[-1]) is not passed(results[-2])
    return number == 1 or turned or (number > 0 and number % max(1, total // MAX_PROGRESS_LINES) == 0)


def progress(results: Sequence[Result], total: int, eta: float) -> str:
    """A line for a terminal while a series runs; `eta`: seconds until its end."""
    good = sum(map(passed, results))
    parts = [f"{len(results)}/{total}", f"{good} passed"]
    if good < len(results):
        parts.append(f"{len(results) - good} not")
    if results:
        last = results[-1]
        took = last.durations.get(last.depth)
        said = f"pass {seconds(took)}" if passed(last) else in_words(last)
        parts.append(f"last {last.identity or 'no identity'}: {said}")
    parts.append(f"{span(eta)} left" if eta > 0 else "done")
    return fit(" · ".join(parts), PROGRESS_COLUMNS)
