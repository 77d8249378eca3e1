"""The format `nagios`: status, sentence and performance data in a line (Nagios plugin guidelines, 2 and 2.6).

What concerns no session stands in lines behind it, the long output: it changes no status.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from exporter.report.check_report import (
    STATUS_SEVERITY_ORDER,
    CheckReport,
    CheckStatus,
    RenderContext,
    apply_fail_on,
    refusal_explanation,
    status,
    status_of,
    worst,
)
from exporter.report.escape import fit, perf
from exporter.report.explain import explain
from exporter.report.formatting import cause, count
from exporter.report.held_line import held_rows
from exporter.report.series import CheckSeries, series_status, verdict_line
from exporter.report.summary import Comparison, summarise
from exporter.result import HeldConnection, Phase, Probe, Result

MAX_LINE_CHARACTERS: Final = 1_000
MAX_NAME_COLUMNS: Final = 80


def nagios(report: CheckReport, view: RenderContext) -> str:
    """A check: `WEBSOCKET CRITICAL - staging: … | 'connect'=0.003s;;;0;10`; the status is the one of the exit code.

    A held connection is a line behind it, `hold: open for 35 min 32 s`.
    """
    figures = " ".join((*_figures(report), *_held_figures(report.held, view.now)))
    first = f"{_check_text(report, view)}{' | ' if figures else ''}{figures}\n"
    return first + "".join(f"{line}\n" for line in _held_lines(report, view))


def _held_lines(report: CheckReport, view: RenderContext) -> Iterator[str]:
    for name, sentence in held_rows(report.held, view.now):
        yield perf(fit(f"{name}: {sentence}", MAX_LINE_CHARACTERS))


def series_nagios(series: CheckSeries, view: RenderContext, comparison: Comparison | None = None) -> str:
    """A series: `WEBSOCKET CRITICAL - staging: FAILED: … | 'runs'=30;;;0;30 'passed'=12;;;0;30 …`."""
    sentences = [verdict_line(series), *([] if comparison is None else [comparison.sentence])]
    text = _status_text(series_status(series), view, f"{_name(series.report)}: {' '.join(sentences)}")
    return f"{text} | {' '.join(_series_figures(series))}\n"


def several_nagios(reports: Sequence[CheckReport], view: RenderContext) -> str:
    """Several checks: the gravest status and the failing targets, then a line without figures for each target."""
    failing = [report for report in reports if status(report) is not CheckStatus.OK]
    passing = len(reports) - len(failing)
    causes = ", ".join(f"{_name(report)} ({_cause_of(report)})" for report in failing)
    sentence = f"{passing} of {count(len(reports), 'target')} OK{f': {causes}' if causes else ''}"
    first = _status_text(worst(map(status, reports)), view, sentence)
    rest = "".join(f"{_check_text(report, view)}\n" for report in reports)
    return f"{first} | 'ok'={passing};;;0;{len(reports)}\n{rest}"


def _status_text(check_status: CheckStatus, view: RenderContext, sentence: str) -> str:
    return f"WEBSOCKET {apply_fail_on(check_status, view.fail_on).name} - {perf(fit(sentence, MAX_LINE_CHARACTERS))}"


def _check_text(report: CheckReport, view: RenderContext) -> str:
    return _status_text(status(report), view, f"{_name(report)}: {_sentence(report)}")


def _name(report: CheckReport) -> str:
    return fit(report.target, MAX_NAME_COLUMNS)


def _sentence(report: CheckReport) -> str:
    parts = []
    if report.results:
        gravest = max(report.results, key=lambda result: STATUS_SEVERITY_ORDER.index(status_of(result)))
        explanation = explain(gravest, report.context)
        layer = "" if explanation.fault is None else f"layer: {explanation.fault}"
        parts += [cause(gravest), layer, explanation.sentence]
    if len(report.results) > 1:
        parts.append(f"({count(len(report.results), 'session')}, the gravest shown)")
    refusal = refusal_explanation(report)
    if refusal is not None:
        parts.append(refusal.sentence)
    return " - ".join(part for part in parts if part)


def _cause_of(report: CheckReport) -> str:
    causes = (cause(result) or str(result.factory_reason or result.impairment or "") for result in report.results)
    return next(filter(None, causes), "nothing was proved" if report.refusal is None else "not checked")


def _figures(report: CheckReport) -> Iterator[str]:
    for number, result in enumerate(report.results, 1):
        prefix = f"{number}_" if len(report.results) > 1 else ""
        yield from _session_figures(result, _max_figure(report), prefix)


def _session_figures(result: Result, max_figure: str, prefix: str) -> Iterator[str]:
    """Seconds of each probe, `U` where there are none; then of each phase."""
    for probe in Probe:
        if probe.rank <= result.depth.rank:
            duration = result.durations.get(probe)
            value = "U" if duration is None else f"{duration:.3f}s"
            yield f"'{prefix}{probe}'={value};;;0;{max_figure}"
    for phase in Phase:
        if phase in result.phases:
            yield f"'{prefix}phase_{phase}'={result.phases[phase]:.3f}s;;;0;{max_figure}"


def _held_figures(held: HeldConnection | None, now: float) -> Iterator[str]:
    """Whether a connection is held, and its age in seconds, `U` while there is none."""
    if held is not None:
        opened_at = held.opened_at
        yield f"'hold_up'={int(opened_at is not None)};;;0;1"
        yield f"'hold_age'={'U' if opened_at is None else f'{max(0.0, now - opened_at):.0f}s'};;;0;"


def _series_figures(series: CheckSeries) -> Iterator[str]:
    summary = summarise(series.results)
    for name, number in (("runs", summary.runs), ("passed", summary.passed), ("failed", summary.failed)):
        yield f"'{name}'={number};;;0;{series.planned}"
    for probe, spread in summary.probes.items():
        yield f"'{probe}_median'={spread.median:.3f}s;;;0;{_max_figure(series.report)}"
        yield f"'{probe}_p95'={spread.p95:.3f}s;;;0;{_max_figure(series.report)}"


def _max_figure(report: CheckReport) -> str:
    return "" if report.timeout is None else f"{report.timeout:g}"
