"""`check --runs N --until-healthy D`: a series of sessions as a gate after a deployment."""

import argparse
import asyncio
import sys
from dataclasses import replace
from math import ceil
from pathlib import Path

from exporter import arguments
from exporter.commands.flag_files import read_baseline, write
from exporter.commands.outputs import append_job_summary, render_context
from exporter.commands.stop_signals import cancelled_by_signal
from exporter.commands.terminal import UsageError, complain, say
from exporter.oncall import Checker, SeriesOptions
from exporter.report import SERIES_FORMATS, compare, is_progress_due, progress_line, series_exit_code
from exporter.report.formatting import count
from exporter.result import Probe, Result


def run_gate(options: argparse.Namespace, checker: Checker, depth: Probe, pages: str | None) -> int:
    """Run a series; files that cannot be read or written raise UsageError before the first session."""
    series_options = _series_options(options)
    _check_reachable(checker.min_runs(depth), series_options, options.runs)
    baseline = read_baseline(options.compare) if options.compare else None
    if options.report:
        write(Path(options.report), "", mode="a")
    complain(UsageError(checker.describe_series(depth, series_options)))
    series = asyncio.run(cancelled_by_signal(checker.check_series(depth, series_options, _show_progress)))
    comparison = compare(baseline, series) if baseline else None
    view = render_context(options, pages)
    append_job_summary(options, lambda: SERIES_FORMATS["markdown"](series, view, comparison))
    say(SERIES_FORMATS[options.output](series, view, comparison).rstrip("\n"))
    if options.report:
        kind = "json" if options.report.endswith(".json") else "markdown"
        write(Path(options.report), SERIES_FORMATS[kind](series, view, comparison))
    if checker.interrupted:
        runs = f"{len(series.results)} of {series_options.runs} runs"
        raise UsageError(f"interrupted: {runs} took place, which is no verdict")
    return series_exit_code(series, options.fail_on)


def _check_reachable(min_runs: int, options: SeriesOptions, runs: int | None) -> None:
    """Raise UsageError for a gate that no backend can pass; `runs`: the value of `--runs`."""
    if options.until_healthy is None or options.max_runs >= min_runs:
        return
    min_seconds = (min_runs - 1) * options.every
    advice = {
        f"--runs {min_runs} or more, or leave it out": runs is not None and runs < min_runs,
        f"--until-healthy {ceil(min_seconds)}s or more, or a shorter --every": options.until_healthy < min_seconds,
    }
    raise UsageError(
        f"--until-healthy: healthy means {count(min_runs, 'run')} in a row that pass, each identity among them, and "
        f"there is room for {options.max_runs}: give {'; and '.join(text for text, helps in advice.items() if helps)}"
    )


def _series_options(options: argparse.Namespace) -> SeriesOptions:
    """`--until-healthy` without `--runs` means as many runs as fit into it."""
    unlimited = SeriesOptions(arguments.MAX_RUNS, options.every, options.until_healthy)
    return replace(unlimited, runs=unlimited.max_runs if options.runs is None else options.runs)


def _show_progress(results: list[Result], total: int, seconds_left: float) -> None:
    """Print progress on stderr: one line that is rewritten on a terminal, a few lines in a log."""
    line = progress_line(results, total, seconds_left)
    if sys.stderr.isatty():
        print(f"\r\x1b[K{line}", end="\n" if seconds_left == 0 else "", file=sys.stderr, flush=True)
    elif is_progress_due(results, total):
        print(line, file=sys.stderr, flush=True)
