"""One check: its results, their status, and the exit code."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Final, Literal

from exporter.report.explain import Explanation, explain_refusal
from exporter.report.situation import UNKNOWN_CONTEXT, TargetContext
from exporter.result import FactoryReason, HeldConnection, Probe, Result, Verdict

FailOn = Literal["warning", "critical"]


class CheckStatus(IntEnum):
    """The status of a check; the numbers are the exit codes of the Nagios plugin guidelines."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


STATUS_SEVERITY_ORDER: Final = (CheckStatus.OK, CheckStatus.UNKNOWN, CheckStatus.WARNING, CheckStatus.CRITICAL)
"""From good to bad: the status of several results is the last of theirs in this order."""

WARNING_REASONS: Final = frozenset(
    {FactoryReason.DEGRADED, FactoryReason.ENVIRONMENT_MISMATCH, FactoryReason.NOT_READY}
)
"""Findings that are a warning, as their alert is, once the session was let in."""


@dataclass(frozen=True, slots=True)
class CheckReport:
    """One check of a target.

    `url`: as `public_url` writes it. `started_at`: unix seconds. `timeout`: seconds of a session.
    `refusal`: why the budget refused a session; None: it refused none.
    `context`: how the target is configured. `origin`: the name of the place that was probed from; None: it has none.
    `held`: what the running exporter's held connection of the target shows; None: it holds none, or none runs.
    """

    target: str
    url: str
    results: tuple[Result, ...]
    started_at: float
    version: str
    timeout: float | None = None
    refusal: str | None = None
    context: TargetContext = UNKNOWN_CONTEXT
    origin: str | None = None
    held: HeldConnection | None = None


@dataclass(frozen=True, slots=True)
class RenderContext:
    """What a report depends on beside its results.

    `now`: unix seconds. `fail_on`: the status from which on the exit code is not 0.
    `runbook`: the URL of a page or the command that opens it; `{name}` stands for the name of the alert.
    """

    now: float
    fail_on: FailOn = "warning"
    runbook: str = "ws-factory-exporter runbook {name}"

    def with_runbook_at(self, url: str | None) -> "RenderContext":
        """Return the same for a runbook whose pages are served at this URL (`runbook_url`); None: the command stays."""
        return self if url is None else replace(self, runbook=pages_at(url))

    def place(self, page: str) -> str:
        """The URL of a page of the runbook, or the command that shows it."""
        return self.runbook.replace("{name}", page)

    def page(self, page: str) -> str:
        """The name of a page, and how it is opened."""
        return f"{page} ({self.place(page)})"


def pages_at(url: str) -> str:
    """Return the URL of a page, with `{name}` where its name goes: what serves the files has it as NAME.md."""
    return url if "{name}" in url else f"{url.rstrip('/')}/{{name}}.md"


def passed(result: Result) -> bool:
    """True if the deepest probe of the session passed and nothing was wrong with the factory."""
    reached_depth = result.verdicts.get(result.depth) is Verdict.PASS
    return reached_depth and not result.failed and result.factory_reason is None and result.impairment is None


def status_of(result: Result) -> CheckStatus:
    """The status of one session."""
    if result.impairment is not None:
        return CheckStatus.UNKNOWN
    if result.factory_reason in WARNING_REASONS and _let_in(result):
        return CheckStatus.WARNING
    if result.failed or result.factory_reason is not None:
        return CheckStatus.CRITICAL
    return CheckStatus.OK if passed(result) else CheckStatus.UNKNOWN


def _let_in(result: Result) -> bool:
    return all(result.verdicts.get(probe) is Verdict.PASS for probe in (Probe.CONNECT, Probe.AUTH))


def refusal_explanation(report: CheckReport) -> Explanation | None:
    """Why no session was opened; None if the budget refused none."""
    return None if report.refusal is None else explain_refusal(report.refusal)


def worst(statuses: Iterable[CheckStatus]) -> CheckStatus:
    """The gravest status; UNKNOWN if there is none."""
    return max(statuses, key=STATUS_SEVERITY_ORDER.index, default=CheckStatus.UNKNOWN)


def status(report: CheckReport) -> CheckStatus:
    """The status of a whole check."""
    refused = () if report.refusal is None else (CheckStatus.UNKNOWN,)
    return worst([*map(status_of, report.results), *refused])


def exit_code(report: CheckReport, fail_on: FailOn = "warning") -> int:
    """0 OK, 1 warning, 2 critical, 3 unknown; with `fail_on="critical"` a warning is 0."""
    return int(apply_fail_on(status(report), fail_on))


def several_exit_code(reports: Iterable[CheckReport], view: RenderContext) -> int:
    """The exit code of the gravest check."""
    return int(apply_fail_on(worst(map(status, reports)), view.fail_on))


def apply_fail_on(status: CheckStatus, fail_on: FailOn) -> CheckStatus:
    """The status that the exit code shows: a warning is OK with `fail_on="critical"`."""
    return CheckStatus.OK if status is CheckStatus.WARNING and fail_on == "critical" else status
