"""A series as findings and sections: every format of a series shows them, in one order."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from exporter.report.causes import Alert
from exporter.report.check_report import RenderContext, passed
from exporter.report.explain import explain
from exporter.report.formatting import count, iso, moment, seconds, span
from exporter.report.series import CheckSeries, outcome_text
from exporter.report.summary import Comparison, DurationSpread, LivenessEvidence, SeriesSummary, summarise
from exporter.result import FactoryReason, Phase, Probe, Result, Verdict

BEFORE_USERS: Final = frozenset({Phase.PREPARE, Phase.RESOLVE, Phase.TCP, Phase.TLS, Phase.UPGRADE})
"""Failures in these phases do not depend on the identity."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A sentence, and the alert whose runbook page helps."""

    sentence: str
    page: Alert | None = None


def findings(series: CheckSeries) -> tuple[Finding, ...]:
    """Everything that the series as a whole shows, the gravest first."""
    summary = summarise(series.results)
    return (
        *_repeated_evidence(summary.reality),
        *_affected(series, summary),
        *_untested(summary, series.shapes),
        *_skipped(series),
    )


def _affected(series: CheckSeries, summary: SeriesSummary) -> Iterator[Finding]:
    """Whether one identity, one shape of names or all fail: only if clear-cut, and only from admission on."""
    passing = [name for name, counts in summary.identities.items() if counts.passed and not counts.failed]
    failing = [name for name, counts in summary.identities.items() if counts.failed and not counts.passed]
    mixed = len(summary.identities) > len(passing) + len(failing)
    failures = [result for result in series.results if result.identity in failing and not passed(result)]
    if mixed or not failing or any(result.phase in BEFORE_USERS for result in failures):
        return
    if passing:
        yield _affected_identities(series, failures, failing, passing)
    elif len(failing) > 1:
        yield Finding(f"Every identity fails ({_list(failing)}): it is the backend, not a user.")


def _affected_identities(
    series: CheckSeries, failures: Sequence[Result], failing: list[str], passing: list[str]
) -> Finding:
    """Some identities fail and some pass: because of slots, of the shape of names, or of the user."""
    shapes = series.shapes
    bad_shapes, good_shapes = {shapes.get(name, "") for name in failing}, {shapes.get(name, "") for name in passing}
    failing_verb, passing_verb = _plural(failing, "fails", "fail"), _plural(passing, "passes", "pass")
    only = f"Only {_list(failing)} {failing_verb}, {_list(passing)} {passing_verb}"
    if any(result.factory_reason is FactoryReason.SLOT_LIMIT for result in failures):
        return Finding(f"{only}: it is the slots of single users.", Alert.FACTORY_SLOTS_EXHAUSTED)
    if "" in bad_shapes | good_shapes or bad_shapes & good_shapes:
        return Finding(f"{only}: it is something about the user (rights, data).", Alert.IDENTITY_FAILING)
    return Finding(
        f"Only identities of the name shape {_list(sorted(bad_shapes))} fail ({_list(failing)}), those of "
        f"{_list(sorted(good_shapes))} pass ({_list(passing)}): it looks like a user-id check that refuses that shape.",
        explain(failures[0], series.report.context).page,
    )


def _repeated_evidence(reality: LivenessEvidence) -> Iterator[Finding]:
    if reality.distinct < reality.welcomes:
        yield Finding(
            f"Connection ids repeat: {reality.distinct} distinct in {count(reality.welcomes, 'welcome')}. The answers "
            "are canned, or contexts are shared.",
            Alert.FACTORY_VALIDATION_FAILING,
        )
    if reality.clock_moved < reality.clock_pairs:
        repeats = reality.clock_pairs - reality.clock_moved
        yield Finding(
            f"The server's clock stood still {count(repeats, 'time')} between sessions 2 s apart or more.",
            Alert.FACTORY_VALIDATION_FAILING,
        )


def _untested(summary: SeriesSummary, shapes: Mapping[str, str]) -> Iterator[Finding]:
    untested = [name for name in shapes if name not in summary.identities]
    if untested:
        yield Finding(f"{_list(untested)} had no turn: nothing is said about {_plural(untested, 'it', 'them')}.")


def _skipped(series: CheckSeries) -> Iterator[Finding]:
    if series.skips:
        causes = sorted({str(skip.cause) for skip in series.skips})
        yield Finding(
            f"{count(len(series.skips), 'run')} skipped to do no harm ({_list(causes)}).",
            Alert.PROBE_BUDGET_SKIPS,
        )


def _plural(names: Sequence[str], one: str, many: str) -> str:
    return one if len(names) == 1 else many


def _list(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


# Sections -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Section:
    """Sentences, then a table.

    `names`: heads of the columns whose cells are names or ids. `wide`: heads of the columns that a terminal omits.
    """

    title: str
    sentences: tuple[str, ...] = ()
    heads: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    names: tuple[str, ...] = ("identity", "connection")
    wide: tuple[str, ...] = ()


def sections(series: CheckSeries, view: RenderContext, comparison: Comparison | None = None) -> Iterator[Section]:
    """All sections that are not empty."""
    summary = summarise(series.results)
    yield _runs_planned(series, summary)
    sentences = tuple(
        f"{each.sentence}{f' See {view.page(each.page)}.' if each.page else ''}" for each in findings(series)
    )
    if sentences:
        yield Section("Findings", sentences)
    if comparison is not None:
        yield from _comparison(comparison)
    yield from _causes(series, summary, view)
    if summary.probes:
        yield _durations(summary)
    if summary.identities:
        yield _identities(series, summary)
    if summary.closes:
        yield Section("Closes", heads=("close", "sessions"), rows=_count_rows(summary.closes))
    liveness = tuple(_liveness(summary.reality, len(series.results)))
    if liveness:
        yield Section("Evidence that it was real", liveness)
    if series.results:
        yield _runs(series.results)


def _runs_planned(series: CheckSeries, summary: SeriesSummary) -> Section:
    started_at, finished_at = series.report.started_at, series.finished_at
    gate = "" if series.until_healthy is None else f", until {series.needed} in a row pass, all identities among them"
    pace = f", every {span(series.every)}" if series.planned > 1 else ""
    outcome = f"{summary.passed} passed, {summary.failed} failed, {summary.unproved} proved nothing"
    return Section(
        "Runs",
        (
            f"{count(summary.runs, 'run')} of {series.planned} planned{pace}{gate}: {outcome}.",
            f"From {moment(started_at)} to {moment(finished_at)} ({span(finished_at - started_at)}).",
        ),
    )


def _comparison(comparison: Comparison) -> Iterator[Section]:
    rows = tuple((change.what, change.before, change.after, str(change.trend)) for change in comparison.changes)
    sentences = [comparison.sentence]
    sentences += [f"Gone: {cause}." for cause in comparison.gone] + [f"New: {cause}." for cause in comparison.new]
    yield Section("Before and after", tuple(sentences), ("figure", "before", "after", "trend"), rows)


def _causes(series: CheckSeries, summary: SeriesSummary, view: RenderContext) -> Iterator[Section]:
    """Each cause once, explained by the first result that had it."""
    results = series.results
    for cause, times in summary.causes.items():
        first = next(result for result in results if not passed(result) and outcome_text(result) == cause)
        explanation = explain(first, series.report.context)
        page, next_step = explanation.page, explanation.next_step
        sentences = [explanation.sentence]
        sentences += [f"Next: {next_step}"] if next_step else []
        sentences += [f"Page: {page}", f"Open: {view.place(page)}"] if page else []
        yield Section(f"{cause} ({times} of {count(len(results), 'run')})", tuple(sentences))


def _durations(summary: SeriesSummary) -> Section:
    spreads = [(str(name), spread) for name, spread in (*summary.probes.items(), *summary.phases.items())]
    return Section(
        "Durations (passed probes, completed phases)",
        heads=("seconds of", "count", "min", "median", "p95", "max"),
        rows=tuple((name, *_figures(spread)) for name, spread in spreads),
    )


def _figures(spread: DurationSpread) -> tuple[str, ...]:
    durations = (spread.least, spread.median, spread.p95, spread.most)
    return (str(spread.count), *(f"{duration:.3f}" for duration in durations))


def _identities(series: CheckSeries, summary: SeriesSummary) -> Section:
    return Section(
        "Identities",
        heads=("identity", "name shape", "passed", "failed", "not proved"),
        rows=tuple(
            (name, series.shapes.get(name, "-"), str(counts.passed), str(counts.failed), str(counts.unproved))
            for name, counts in summary.identities.items()
        ),
    )


def _count_rows(counts: Mapping[str, int]) -> tuple[tuple[str, ...], ...]:
    return tuple((text, str(number)) for text, number in counts.items())


def _liveness(reality: LivenessEvidence, runs: int) -> Iterator[str]:
    """Only the evidence that there can be: not every profile has ids, a server time or a message to send."""
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
        "" if passed(result) else outcome_text(result),
        result.evidence.connection_id or "",
    )


def _verdict(result: Result, probe: Probe) -> str:
    verdict = result.verdicts.get(probe, Verdict.NONE)
    duration = result.durations.get(probe)
    if verdict is Verdict.PASS and duration is not None:
        return seconds(duration)
    return "FAIL" if verdict is Verdict.FAIL else verdict.value
