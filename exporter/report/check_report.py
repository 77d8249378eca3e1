"""One check: what was asked, what came of it, and the exit code that says so."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, Literal

from exporter.report.context import UNKNOWN_CONTEXT, TargetContext
from exporter.report.explain import Explanation, explain, refused, too_slow
from exporter.result import FactoryReason, Probe, Result, Verdict

FailOn = Literal["warning", "critical"]


class CheckStatus(IntEnum):
    """What a check says, by the numbers of the Nagios plugin guidelines: they are the exit codes."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


STATUS_SEVERITY_ORDER: Final = (CheckStatus.OK, CheckStatus.UNKNOWN, CheckStatus.WARNING, CheckStatus.CRITICAL)
"""From good to bad: where several results meet, the gravest speaks."""

WARNING_REASONS: Final = frozenset(
    {FactoryReason.DEGRADED, FactoryReason.ENVIRONMENT_MISMATCH, FactoryReason.NOT_READY}
)
"""Findings that warn, as the alert on them does, if we were let in."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """Seconds from which a passed probe is too slow; None: never."""

    warning: float | None = None
    critical: float | None = None

    def status(self, seconds: float) -> CheckStatus:
        """How grave so many seconds are."""
        if self.critical is not None and seconds >= self.critical:
            return CheckStatus.CRITICAL
        return CheckStatus.WARNING if self.warning is not None and seconds >= self.warning else CheckStatus.OK


@dataclass(frozen=True, slots=True)
class CheckReport:
    """One check of a target. `url` as `public_url` makes it; `started_at` in unix seconds; `timeout` in seconds.

    `refusal`: the sentence with which the budget refused a session; `thresholds`: what is too slow, by probe.
    `context`: what is known of the target beside its results.
    """

    target: str
    url: str
    results: tuple[Result, ...]
    started_at: float
    version: str
    timeout: float | None = None
    refusal: str | None = None
    thresholds: Mapping[Probe, Threshold] = field(default_factory=dict)
    context: TargetContext = UNKNOWN_CONTEXT


@dataclass(frozen=True, slots=True)
class RenderContext:
    """What a report depends on beside its results.

    `now`: unix seconds. `fail_on`: from what on the exit code complains. `runbook`: how a page is opened: a URL or a
    command, with `{name}` where the name of the alert goes.
    """

    now: float
    fail_on: FailOn = "warning"
    runbook: str = "ws-factory-exporter runbook {name}"

    def place(self, page: str) -> str:
        """The URL of a page of the runbook, or the command that shows it."""
        return self.runbook.replace("{name}", page)

    def page(self, page: str) -> str:
        """The name of a page, and how it is opened."""
        return f"{page} ({self.place(page)})"


def passed(result: Result) -> bool:
    """True if the session got all it came for and nothing was wrong with the factory."""
    got_there = result.verdicts.get(result.depth) is Verdict.PASS
    return got_there and not result.failed and result.factory_reason is None and result.impairment is None


def status_of(result: Result) -> CheckStatus:
    """What one session says, speed left aside."""
    if result.impairment is not None:
        return CheckStatus.UNKNOWN
    if result.factory_reason in WARNING_REASONS and _let_in(result):
        return CheckStatus.WARNING
    if result.failed or result.factory_reason is not None:
        return CheckStatus.CRITICAL
    return CheckStatus.OK if passed(result) else CheckStatus.UNKNOWN


def _let_in(result: Result) -> bool:
    return all(result.verdicts.get(probe) is Verdict.PASS for probe in (Probe.CONNECT, Probe.AUTH))


def slow(result: Result, thresholds: Mapping[Probe, Threshold]) -> Mapping[Probe, CheckStatus]:
    """The passed probes that took too long, and how grave that is."""
    graded = {probe: thresholds[probe].status(took) for probe, took in result.durations.items() if probe in thresholds}
    return {probe: status for probe, status in graded.items() if status is not CheckStatus.OK}


def explanations(result: Result, checked: CheckReport) -> Iterator[Explanation]:
    """What a session of a check was, and of each probe that passed too slowly, that it did."""
    yield explain(result, checked.context)
    for probe, grave in slow(result, checked.thresholds).items():
        yield too_slow(probe, result.durations[probe], grave.name)


def refusal_of(checked: CheckReport) -> Explanation | None:
    """Why no session was opened; None if none was refused."""
    return None if checked.refusal is None else refused(checked.refusal)


def worst(statuses: Iterable[CheckStatus]) -> CheckStatus:
    """The gravest; UNKNOWN if there is none: nothing was found out."""
    return max(statuses, key=STATUS_SEVERITY_ORDER.index, default=CheckStatus.UNKNOWN)


def status(checked: CheckReport) -> CheckStatus:
    """What the whole check says."""
    found = [session_status(result, checked.thresholds) for result in checked.results]
    return worst([*found, CheckStatus.UNKNOWN] if checked.refusal is not None else found)


def session_status(result: Result, thresholds: Mapping[Probe, Threshold]) -> CheckStatus:
    """What one session says, speed included."""
    return worst([status_of(result), *slow(result, thresholds).values()])


def exit_code(checked: CheckReport, fail_on: FailOn = "warning") -> int:
    """0 OK, 1 warning, 2 critical, 3 unknown; with `fail_on="critical"` a warning is 0."""
    return int(tolerated(status(checked), fail_on))


def tolerated(found: CheckStatus, fail_on: FailOn) -> CheckStatus:
    """The status that the exit code tells, by what the caller wants to hear of."""
    return CheckStatus.OK if found is CheckStatus.WARNING and fail_on == "critical" else found
