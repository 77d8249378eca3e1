"""What each command does, from its parsed flags to its exit code.

Rule 1: the only package that prints and takes signals; `__main__` alone ends the process. Rule 2: an error a user can
correct is a UsageError, never a traceback.

`run` · `check` one session · `gate` a series · `demo` and the stand-in · `flag_files` what flags name ·
`assets`, `runbook` what the package carries · `outputs` reports besides stdout · `terminal` · `stop_signals`.
"""

import argparse
from collections.abc import Callable, Mapping
from typing import Final

from exporter.commands.assets import assets
from exporter.commands.check import check, healthcheck
from exporter.commands.demo import demo, standin
from exporter.commands.run import run
from exporter.commands.runbook import runbook
from exporter.commands.terminal import UsageError, complain

__all__ = ["COMMANDS", "UsageError", "complain"]

COMMANDS: Final[Mapping[str, Callable[[argparse.Namespace], int]]] = {
    "run": run,
    "check": check,
    "healthcheck": healthcheck,
    "demo": demo,
    "standin": standin,
    "assets": assets,
    "runbook": runbook,
}
