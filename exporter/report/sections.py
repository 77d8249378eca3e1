"""A series as sections: what every form of its report shows, in one order."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from exporter.report.check_report import RenderContext, passed
from exporter.report.comparison import Comparison
from exporter.report.explain import explain
from exporter.report.findings import findings
from exporter.report.formatting import count, iso, moment, seconds, span
from exporter.report.series import CheckSeries, in_words
from exporter.report.summary import DurationSpread, LivenessEvidence, SeriesSummary, summarise
from exporter.result import Probe, Result, Verdict


@dataclass(frozen=True, slots=True)
class Section:
    """Sentences, then a table.

    `names`: heads of the columns whose cells are names or ids, to be shown as they are; `wide`: of those that a
    terminal has no room for.
    """

    title: str
    sentences: tuple[str, ...] = ()
    heads: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    names: tuple[str, ...] = ("identity", "connection")
    wide: tuple[str, ...] = ()


def sections(series: CheckSeries, view: RenderContext, comparison: Comparison | None = None) -> Iterator[Section]:
    """All sections; those with nothing to say are left out."""
    summary = summarise(series.results)
    yield _frame(series, summary)
    found = findings(series)
    if found:
        yield Section(
            "Findings",
            tuple(f"{each.sentence}{f' See {view.page(each.page)}.' if each.page else ''}" for each in found),
        )
    if comparison is not None:
        yield from _comparison(comparison)
    yield from _causes(series, summary, view)
    if summary.probes:
        yield _durations(summary)
    if summary.identities:
        yield _identities(series, summary)
    if summary.closes:
        yield Section("Closes", heads=("close", "sessions"), rows=_numbers(summary.closes))
    real = tuple(_reality(summary.reality, len(series.results)))
    if real:
        yield Section("Evidence that it was real", real)
    if series.results:
        yield _runs(series.results)


def _frame(series: CheckSeries, summary: SeriesSummary) -> Section:
    ended = moment(series.finished_at)
    took = span(series.finished_at - series.checked.started_at)
    gate = "" if series.until_healthy is None else f", until {series.needed} in a row pass, all identities among them"
    pace = f", every {span(series.every)}" if series.planned > 1 else ""
    outcome = f"{summary.passed} passed, {summary.failed} failed, {summary.unproved} proved nothing"
    return Section(
        "Runs",
        (
            f"{count(summary.runs, 'run')} of {series.planned} planned{pace}{gate}: {outcome}.",
            f"From {moment(series.checked.started_at)} to {ended} ({took}).",
        ),
    )


def _comparison(comparison: Comparison) -> Iterator[Section]:
    rows = tuple((each.what, each.before, each.after, str(each.trend)) for each in comparison.changes)
    said = [comparison.sentence]
    said += [f"Gone: {cause}." for cause in comparison.gone] + [f"New: {cause}." for cause in comparison.new]
    yield Section("Before and after", tuple(said), ("figure", "before", "after", "trend"), rows)


def _causes(series: CheckSeries, summary: SeriesSummary, view: RenderContext) -> Iterator[Section]:
    """Each cause once, explained by the first result that had it."""
    results = series.results
    for cause, times in summary.causes.items():
        first = next(result for result in results if not passed(result) and in_words(result) == cause)
        said = explain(first, series.checked.context)
        words = [said.sentence]
        words += [f"Next: {said.next_step}"] if said.next_step else []
        words += [f"Page: {said.page}", f"Open: {view.place(said.page)}"] if said.page else []
        yield Section(f"{cause} ({times} of {count(len(results), 'run')})", tuple(words))


def _durations(summary: SeriesSummary) -> Section:
    named = [(str(name), figures) for name, figures in (*summary.probes.items(), *summary.phases.items())]
    return Section(
        "Durations (passed probes, completed phases)",
        heads=("seconds of", "count", "min", "median", "p95", "max"),
        rows=tuple((name, *_figures(figures)) for name, figures in named),
    )


def _figures(figures: DurationSpread) -> tuple[str, ...]:
    stretches = (figures.least, figures.median, figures.p95, figures.most)
    return (str(figures.count), *(f"{each:.3f}" for each in stretches))


def _identities(series: CheckSeries, summary: SeriesSummary) -> Section:
    return Section(
        "Identities",
        heads=("identity", "name shape", "passed", "failed", "not proved"),
        rows=tuple(
            (name, series.shapes.get(name, "-"), str(tally.passed), str(tally.failed), str(tally.unproved))
            for name, tally in summary.identities.items()
        ),
    )


def _numbers(counts: Mapping[str, int]) -> tuple[tuple[str, ...], ...]:
    return tuple((words, str(number)) for words, number in counts.items())


def _reality(reality: LivenessEvidence, runs: int) -> Iterator[str]:
    """Only of what was there to see: not every profile has ids, a server time or a message to send."""
    welcomes, pairs, sent = reality.welcomes, reality.clock_pairs, reality.sent
    if welcomes:
        yield f"Connection ids: {welcomes} in {count(runs, 'run')}, {reality.distinct} of them distinct."
    if pairs:
        moved = f"{reality.clock_moved} of {count(pairs, 'time')}"
        yield f"Server clock: moved on {moved}, between sessions 2 s apart or more."
    if sent:
        yield f"Nonce: our own came back in {reality.echoed} of {count(sent, 'session')} that sent one."


def _runs(results: Sequence[Result]) -> Section:
    return Section(
        "Every run",
        heads=("#", "at", "identity", "connect", "auth", "send", "close", "cause", "connection"),
        rows=tuple(_run(number, result) for number, result in enumerate(results, 1)),
        wide=("connection",),
    )


def _run(number: int, result: Result) -> tuple[str, ...]:
    return (
        str(number),
        (iso(result.started_at) or "")[11:19],
        result.identity or "-",
        *(_verdict(result, probe) for probe in Probe),
        "" if result.close is None else f"{result.close.code} {result.close.initiator}",
        "" if passed(result) else in_words(result),
        result.evidence.connection_id or "",
    )


def _verdict(result: Result, probe: Probe) -> str:
    verdict = result.verdicts.get(probe, Verdict.NONE)
    took = result.durations.get(probe)
    if verdict is Verdict.PASS and took is not None:
        return seconds(took)
    return "FAIL" if verdict is Verdict.FAIL else verdict.value
