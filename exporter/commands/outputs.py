"""How a report is shown: with what it depends on beside its results, and where else it goes."""

import argparse
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from exporter.commands.flag_files import write
from exporter.commands.terminal import UsageError, complain
from exporter.host import Clock
from exporter.report import RenderContext


def render_context(options: argparse.Namespace, pages: str | None) -> RenderContext:
    """A report of now. `pages`: the URL of a page of the runbook with `{name}` in it; None: the command shows it."""
    view = RenderContext(Clock().wall(), options.fail_on)
    return view if pages is None else replace(view, runbook=pages)


def append_job_summary(options: argparse.Namespace, markdown: Callable[[], str]) -> None:
    """Append to the job summary, where GitHub runs us and names one."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if options.output == "github" and path:
        try:
            write(Path(path), markdown(), mode="a", flag="GITHUB_STEP_SUMMARY")
        except UsageError as problem:
            complain(problem)
