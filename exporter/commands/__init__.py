"""Runs each command, from its parsed flags to its exit code.

Rule 1: only this package prints and takes signals; only `__main__` ends the process.
Rule 2: an error that a user can correct is a UsageError, never a traceback.

`init` looks at an unknown backend; `check` runs one session, `gate` a series; `frames` prints what passes in them;
`profiles` shows and tries profiles; `assets` and `runbook` write what the package carries; `flag_files` reads the files
that flags name; `outputs` decides how a report is shown and where else it goes.
"""

import argparse
from collections.abc import Callable, Mapping
from typing import Final

from exporter.commands.assets import assets
from exporter.commands.check import check, healthcheck
from exporter.commands.demo import demo, standin
from exporter.commands.init import init
from exporter.commands.profiles import profiles
from exporter.commands.run import run
from exporter.commands.runbook import runbook
from exporter.commands.terminal import UsageError, complain

__all__ = ["COMMANDS", "UsageError", "complain"]

COMMANDS: Final[Mapping[str, Callable[[argparse.Namespace], int]]] = {
    "run": run,
    "init": init,
    "check": check,
    "healthcheck": healthcheck,
    "demo": demo,
    "standin": standin,
    "assets": assets,
    "profiles": profiles,
    "runbook": runbook,
}
