"""A series for machines that want lines: a Nagios plugin's, GitHub's annotations."""

from collections.abc import Iterator

from exporter.report.check_report import RenderContext, passed, tolerated
from exporter.report.comparison import Comparison
from exporter.report.escape import fit, perf
from exporter.report.explain import Explanation, explain
from exporter.report.findings import findings
from exporter.report.github import command
from exporter.report.nagios import MAX_LINE_CHARACTERS, MAX_NAME_COLUMNS
from exporter.report.series import CheckSeries, in_words, series_status, verdict_line
from exporter.report.summary import summarise


def series_nagios(series: CheckSeries, view: RenderContext, comparison: Comparison | None = None) -> str:
    """`WEBSOCKET CRITICAL - staging: FAILED: … | 'runs'=30;;;0;30 'passed'=12;;;0;30 …`."""
    word = tolerated(series_status(series), view.fail_on).name
    said = " ".join([verdict_line(series), *([] if comparison is None else [comparison.sentence])])
    words = perf(fit(f"{fit(series.checked.target, MAX_NAME_COLUMNS)}: {said}", MAX_LINE_CHARACTERS))
    return f"WEBSOCKET {word} - {words} | {' '.join(_figures(series))}\n"


def _figures(series: CheckSeries) -> Iterator[str]:
    summary = summarise(series.results)
    most = "" if series.checked.timeout is None else f"{series.checked.timeout:g}"
    for name, number in (("runs", summary.runs), ("passed", summary.passed), ("failed", summary.failed)):
        yield f"'{name}'={number};;;0;{series.planned}"
    for probe, spread in summary.probes.items():
        yield f"'{probe}_median'={spread.median:.3f}s;;;0;{most}"
        yield f"'{probe}_p95'={spread.p95:.3f}s;;;0;{most}"


def series_github(series: CheckSeries, view: RenderContext, comparison: Comparison | None = None) -> str:
    """The verdict as one annotation, then one for each cause, explained once."""
    said = [Explanation(verdict_line(series)), *(Explanation(each.sentence, each.page) for each in findings(series))]
    if comparison is not None:
        said.append(Explanation(comparison.sentence))
    found = series_status(series)
    lines = [command(view, found, f"{series.checked.target}: {_share(series)}", *said)]
    context = series.checked.context
    causes = {in_words(result): result for result in reversed(series.results) if not passed(result)}
    lines += [
        command(view, found, f"{series.checked.target}: {words}", explain(result, context))
        for words, result in causes.items()
    ]
    return "".join(f"{line}\n" for line in lines)


def _share(series: CheckSeries) -> str:
    return f"{sum(map(passed, series.results))} of {len(series.results)} passed"
