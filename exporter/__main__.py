"""The command line: runs the command of the flags, and turns errors into sentences and exit codes.

Rule 1: only this module ends the process.
Rule 2: an error that a user can correct is a sentence on stderr and exit code 1 (2 for wrong usage), never a traceback.
Rule 3: `check` has the exit codes of the Nagios plugin guidelines, where each of these errors is 3, unknown.
"""

import asyncio
import io
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from exporter import arguments
from exporter.commands import COMMANDS, UsageError, complain
from exporter.host import disable_core_dumps
from exporter.report import CheckStatus

MULTIPROCESS_VARIABLES = frozenset({"PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir"})
"""Each of them, even if empty, switches prometheus_client to its multiprocess mode at the import."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    disable_core_dumps()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal that is not UTF-8 is no defect
    argv = sys.argv[1:] if argv is None else list(argv)
    return _run_check(argv) if argv[:1] == ["check"] else _run(argv)


def _run(argv: Sequence[str]) -> int:
    options = arguments.parser().parse_args(argv)
    for name in MULTIPROCESS_VARIABLES & os.environ.keys():
        return complain(UsageError(f"{name} is set: unset it, one process holds all series here"))
    try:
        return COMMANDS[options.command](options)
    except UsageError as error:
        return complain(error)


def _run_check(argv: Sequence[str]) -> int:
    """Every error that is no finding about the backend is 3: wrong usage, a bad config, Ctrl-C, a defect."""
    try:
        options = arguments.parser().parse_args(argv)
        return COMMANDS[options.command](options)
    except SystemExit as end:
        return 0 if end.code in (0, None) else int(CheckStatus.UNKNOWN)
    except UsageError as error:
        complain(error)
    except (KeyboardInterrupt, asyncio.CancelledError):
        complain(UsageError("interrupted: nothing was found out"))
    except Exception as defect:  # noqa: BLE001 - Python's own exit code, 1, would be a warning about the backend
        complain(UsageError(f"the check broke on our side, please report this: {_where(defect)}"))
    return int(CheckStatus.UNKNOWN)


def _where(defect: Exception) -> str:
    """Type and place of a defect; its text and the values of its traceback may hold secrets."""
    last = traceback.extract_tb(defect.__traceback__)[-1]
    return f"{type(defect).__name__} at {Path(last.filename).name}:{last.lineno}"


def _exit() -> NoReturn:
    sys.exit(main())


if __name__ == "__main__":
    _exit()
