"""A check as one line of a Nagios plugin: status word, sentence, performance data (plugin guidelines, 2 and 2.6)."""

from collections.abc import Iterator
from typing import Final

from exporter.report.check_report import (
    STATUS_SEVERITY_ORDER,
    CheckReport,
    RenderContext,
    Threshold,
    explanations,
    refusal_of,
    session_status,
    status,
    tolerated,
)
from exporter.report.escape import fit, perf
from exporter.report.formatting import cause, count
from exporter.result import Phase, Probe, Result

MAX_LINE_CHARACTERS: Final = 1_000
MAX_NAME_COLUMNS: Final = 80


def nagios(checked: CheckReport, view: RenderContext) -> str:
    """`WEBSOCKET CRITICAL - staging: … | 'connect'=0.003s;;;0;10`; the word is the one of the exit code."""
    word = tolerated(status(checked), view.fail_on).name
    said = perf(fit(f"{fit(checked.target, MAX_NAME_COLUMNS)}: {_words(checked)}", MAX_LINE_CHARACTERS))
    figures = " ".join(_figures(checked))
    return f"WEBSOCKET {word} - {said}{' | ' if figures else ''}{figures}\n"


def _words(checked: CheckReport) -> str:
    parts = []
    if checked.results:
        gravest = max(
            checked.results, key=lambda each: STATUS_SEVERITY_ORDER.index(session_status(each, checked.thresholds))
        )
        parts += [cause(gravest), *(said.sentence for said in explanations(gravest, checked))]
    if len(checked.results) > 1:
        parts.append(f"({count(len(checked.results), 'session')}, the gravest told)")
    refusal = refusal_of(checked)
    if refusal is not None:
        parts.append(refusal.sentence)
    return " - ".join(part for part in parts if part)


def _figures(checked: CheckReport) -> Iterator[str]:
    for number, result in enumerate(checked.results, 1):
        before = f"{number}_" if len(checked.results) > 1 else ""
        yield from _of_one(result, checked, before)


def _of_one(result: Result, checked: CheckReport, before: str) -> Iterator[str]:
    """Seconds of each probe, `U` where there are none; then of each phase."""
    most = "" if checked.timeout is None else f"{checked.timeout:g}"
    for probe in Probe:
        if probe.rank <= result.depth.rank:
            limits = checked.thresholds.get(probe, Threshold())
            took = result.durations.get(probe)
            value = "U" if took is None else f"{took:.3f}s"
            yield f"'{before}{probe}'={value};{_limit(limits.warning)};{_limit(limits.critical)};0;{most}"
    for phase in Phase:
        if phase in result.phases:
            yield f"'{before}phase_{phase}'={result.phases[phase]:.3f}s;;;0;{most}"


def _limit(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:g}"
