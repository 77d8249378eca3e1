"""Where else a report goes: the job summary of GitHub."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path

from exporter.commands.flag_files import write
from exporter.commands.terminal import UsageError, complain


def summarise(options: argparse.Namespace, markdown: Callable[[], str]) -> None:
    """Append to the job summary, where GitHub runs us and names one."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if options.output == "github" and path:
        try:
            write(Path(path), markdown(), mode="a", flag="GITHUB_STEP_SUMMARY")
        except UsageError as problem:
            complain(problem)
