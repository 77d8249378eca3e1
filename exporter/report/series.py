"""A series of sessions: the deployment gate `check --runs N --every 20s --until-healthy 10m`."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Final

from exporter.report.check_report import CheckReport, CheckStatus, FailOn, apply_fail_on, passed, status_of, worst
from exporter.report.escape import fit
from exporter.report.formatting import cause, count, seconds, span
from exporter.result import EXTRA_RUNS, Probe, Result, Skip

REQUIRED_PASSES: Final = 3
PROGRESS_COLUMNS: Final = 100
MAX_PROGRESS_LINES: Final = 20
"""Lines of progress in a log, if the outcome never changes."""
MAX_CAUSES_IN_VERDICT: Final = 3


@dataclass(frozen=True, slots=True)
class CheckSeries:
    """A series of sessions of one target.

    `report`: all results, in their order, as one check. `planned`: runs at most.
    `every`: seconds between two starts. `finished_at`: unix seconds.
    `until_healthy`: seconds after which the series gives up waiting for health; None: each run has to pass.
    `needed`: passes in a row that mean health.
    `shapes`: by identity of the pool, the shape (`name_shape`) of its subject.
    `skips`: runs that the budget refused.
    """

    report: CheckReport
    planned: int
    every: float
    finished_at: float
    until_healthy: float | None = None
    needed: int = REQUIRED_PASSES
    shapes: Mapping[str, str] = field(default_factory=dict)
    skips: tuple[Skip, ...] = ()

    @property
    def results(self) -> tuple[Result, ...]:
        """All sessions, also confirm runs."""
        return self.report.results

    @property
    def healthy(self) -> bool:
        """True if the last runs show health (`is_healthy`)."""
        return is_healthy(self.results, self.needed, self.shapes)


def is_healthy(
    results: Sequence[Result], needed: int = REQUIRED_PASSES, identities: Collection[str] | None = None
) -> bool:
    """True if the last runs all passed: at least `needed`, and each identity among them.

    `identities`: those of the pool; None or empty: those of the results. Confirm runs do not count, nor do runs less
    deep than the deepest: a session without a token, of a resting identity, neither proves health nor disproves it.
    """
    depth = max((result.depth for result in results), key=lambda depth: depth.rank, default=Probe.CONNECT)
    counted = [result for result in results if result.trigger not in EXTRA_RUNS and result.depth is depth]
    required = set(identities or ()) or {result.identity for result in counted if result.identity is not None}
    streak = [result.identity for result in takewhile(passed, reversed(counted))]
    return len(streak) >= max(needed, 1) and required <= set(streak)


def series_status(series: CheckSeries) -> CheckStatus:
    """OK if healthy in the end, where the series waits for health, else if every run passed."""
    statuses = [status_of(result) for result in series.results]
    refused = bool(series.skips) or series.report.refusal is not None
    if series.until_healthy is None:
        return worst([*statuses, *([CheckStatus.UNKNOWN] if refused or len(statuses) < series.planned else [])])
    if series.healthy:
        return CheckStatus.OK
    # A series that did not become healthy in time is critical, even if some runs passed or only warned.
    return CheckStatus.CRITICAL if {CheckStatus.WARNING, CheckStatus.CRITICAL} & set(statuses) else CheckStatus.UNKNOWN


def series_exit_code(series: CheckSeries, fail_on: FailOn = "warning") -> int:
    """The exit code of a series, as `exit_code` of a check."""
    return int(apply_fail_on(series_status(series), fail_on))


def verdict_line(series: CheckSeries) -> str:
    """The series in a line: `FAILED: 12 of 30 runs passed, 18 ended in admission: timeout`."""
    passes = sum(map(passed, series.results))
    causes = Counter(outcome_text(result) for result in series.results if not passed(result)).most_common()
    others = sum(times for _, times in causes[MAX_CAUSES_IN_VERDICT:])
    missing = series.planned - len(series.results) if series.until_healthy is None else 0
    parts = [
        f"{passes} of {count(len(series.results), 'run')} passed",
        *(f"{times} ended in {cause}" for cause, times in causes[:MAX_CAUSES_IN_VERDICT]),
        *([f"{others} in other ways"] if others else []),
        *([f"{missing} of {series.planned} did not take place"] if missing > 0 else []),
    ]
    return f"{_verdict_word(series)}: {', '.join(parts)}."


def _verdict_word(series: CheckSeries) -> str:
    if series.until_healthy is not None and series.results:
        duration = span(series.finished_at - series.report.started_at)
        return f"HEALTHY after {duration}" if series.healthy else f"NOT HEALTHY within {duration}"
    status = series_status(series)
    return {CheckStatus.OK: "PASSED", CheckStatus.CRITICAL: "FAILED"}.get(status, status.name)


def outcome_text(result: Result) -> str:
    """Why a session did not pass: phase and reason, or what else there is."""
    if result.impairment is not None:
        return f"our own failure: {result.impairment}"
    return cause(result) or (f"factory ({result.factory_reason})" if result.factory_reason else "nothing was proved")


def is_progress_due(results: Sequence[Result], total: int) -> bool:
    """True after the first run, when the outcome changes, and some twenty times in between: for a log."""
    number = len(results)
    changed = number > 1 and passed(results[-1]) is not passed(results[-2])
    return number == 1 or changed or (number > 0 and number % max(1, total // MAX_PROGRESS_LINES) == 0)


def progress_line(results: Sequence[Result], total: int, seconds_left: float) -> str:
    """The progress of a series in a line for a terminal."""
    passes = sum(map(passed, results))
    parts = [f"{len(results)}/{total}", f"{passes} passed"]
    if passes < len(results):
        parts.append(f"{len(results) - passes} not")
    if results:
        last = results[-1]
        outcome = f"pass {seconds(last.durations.get(last.depth))}" if passed(last) else outcome_text(last)
        parts.append(f"last {last.identity or 'no identity'}: {outcome}")
    parts.append(f"{span(seconds_left)} left" if seconds_left > 0 else "done")
    return fit(" · ".join(parts), PROGRESS_COLUMNS)
