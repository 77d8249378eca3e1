"""`check --runs N --until-healthy D`: a series of sessions as a gate after a deployment."""

import argparse
import asyncio
import sys
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


def run_gate(options: argparse.Namespace, on_call: Checker, depth: Probe, pages: str | None) -> int:
    """A file that cannot be read or written is found before the first session, not after ten minutes."""
    rounds = _series_options(options)
    _check_reachable(on_call.min_runs(depth), rounds, options.runs)
    earlier = read_baseline(options.compare) if options.compare else None
    if options.report:
        write(Path(options.report), "", mode="a")
    complain(UsageError(on_call.describe_series(depth, rounds)))
    series = asyncio.run(cancelled_by_signal(on_call.check_series(depth, rounds, _show_progress)))
    comparison = compare(earlier, series) if earlier else None
    view = render_context(options, pages)
    append_job_summary(options, lambda: SERIES_FORMATS["markdown"](series, view, comparison))
    say(SERIES_FORMATS[options.output](series, view, comparison).rstrip("\n"))
    if options.report:
        kind = "json" if options.report.endswith(".json") else "markdown"
        write(Path(options.report), SERIES_FORMATS[kind](series, view, comparison))
    if on_call.interrupted:
        raise UsageError(f"interrupted: {len(series.results)} of {rounds.runs} runs took place, which is no verdict")
    return series_exit_code(series, options.fail_on)


def _check_reachable(least: int, rounds: SeriesOptions, runs: int | None) -> None:
    """Raise UsageError for a gate that nothing can pass; `runs`: as the flag says."""
    if rounds.until_healthy is None or rounds.max_runs >= least:
        return
    needed = (least - 1) * rounds.every
    advice = {
        f"--runs {least} or more, or leave it out": runs is not None and runs < least,
        f"--until-healthy {ceil(needed)}s or more, or a shorter --every": rounds.until_healthy < needed,
    }
    raise UsageError(
        f"--until-healthy: healthy means {count(least, 'run')} in a row that pass, each identity among them, and "
        f"there is room for {rounds.max_runs}: give {'; and '.join(words for words, helps in advice.items() if helps)}"
    )


def _series_options(options: argparse.Namespace) -> SeriesOptions:
    """`--until-healthy` alone means as many runs as fit into it."""
    rounds = SeriesOptions(arguments.MAX_RUNS, options.every, options.until_healthy)
    return SeriesOptions(
        rounds.max_runs if options.runs is None else options.runs, options.every, options.until_healthy
    )


def _show_progress(results: list[Result], total: int, left: float) -> None:
    """One line that is rewritten on a terminal, a few lines in a log: reports go to stdout, this does not."""
    if not sys.stderr.isatty():
        if is_progress_due(results, total):
            print(progress_line(results, total, left), file=sys.stderr, flush=True)
    else:
        print(
            f"\r\x1b[K{progress_line(results, total, left)}", end="\n" if left == 0 else "", file=sys.stderr, flush=True
        )
