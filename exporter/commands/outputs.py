"""What a report depends on beside its results, and where else than stdout it goes."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path

from exporter.commands.flag_files import write
from exporter.commands.terminal import UsageError, complain
from exporter.host import Clock
from exporter.report import RenderContext


def render_context(options: argparse.Namespace, pages: str | None) -> RenderContext:
    """The context of a report that is shown now.

    `pages`: the URL of the runbook's pages, as `runbook_url`; None: the report names the command `runbook`.
    """
    return RenderContext(Clock().wall(), options.fail_on).with_runbook_at(pages)


def append_job_summary(options: argparse.Namespace, markdown: Callable[[], str]) -> None:
    """Append the report to GitHub's job summary, if there is one."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if options.output == "github" and path:
        try:
            write(Path(path), markdown(), mode="a", flag="GITHUB_STEP_SUMMARY")
        except UsageError as error:
            complain(error)
