"""Runs each command, from its parsed flags to its exit code.

Rule 1: only this package prints and takes signals; only `__main__` ends the process.
Rule 2: an error that a user can correct is a UsageError, never a traceback.

`init` looks at an unknown backend; `check` runs one session, `gate` a series; `frames` prints what passes in them;
`profiles` shows and tries profiles; `assets` and `runbook` write what the package carries; `flag_files` reads the files
that flags name; `outputs` decides how a report is shown and where else it goes.
"""

import argparse
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Final

from exporter.commands.terminal import UsageError, complain

__all__ = ["COMMANDS", "UsageError", "complain"]

Command = Callable[[argparse.Namespace], int]


def _command(module: str, name: str) -> Command:
    """Return the command of this name; its module is loaded when it runs, since the daemon needs none of the others."""

    def run_command(options: argparse.Namespace) -> int:
        command: Command = getattr(import_module(f"exporter.commands.{module}"), name)
        return command(options)

    return run_command


MODULES: Final[Mapping[str, str]] = {
    "run": "run",
    "init": "init",
    "check": "check",
    "healthcheck": "check",
    "demo": "demo",
    "standin": "demo",
    "assets": "assets",
    "profiles": "profiles",
    "runbook": "runbook",
}
"""Command → the module that holds its function."""

COMMANDS: Final[Mapping[str, Command]] = {name: _command(module, name) for name, module in MODULES.items()}
