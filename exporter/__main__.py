"""The command line: flags become a command, errors become sentences and exit codes.

Rule 1: the only package that ends the process. Rule 2: an error a user can mend is a sentence on stderr and
exit code 1 (2 for wrong usage), never a traceback. `check` speaks the exit codes of the Nagios plugin guidelines: there
all of these are 3, unknown.
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

MULTIPROCESS = frozenset({"PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir"})
"""Each of them, even when empty, switches prometheus_client over at its import."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code."""
    disable_core_dumps()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal that is not UTF-8 is no defect
    words = sys.argv[1:] if argv is None else list(argv)
    if words[:1] == ["check"]:
        return _run_check(words)
    return _run(words)


def _run(words: list[str]) -> int:
    options = arguments.parser().parse_args(words)
    for name in MULTIPROCESS & os.environ.keys():
        return complain(UsageError(f"{name} is set: unset it, one process holds all series here"))
    try:
        return COMMANDS[options.command](options)
    except UsageError as problem:
        return complain(problem)


def _run_check(words: list[str]) -> int:
    """What is no finding about the backend is 3: wrong usage, a bad config, Ctrl-C, a defect of ours."""
    try:
        options = arguments.parser().parse_args(words)
        return COMMANDS[options.command](options)
    except SystemExit as end:
        return 0 if end.code in (0, None) else int(CheckStatus.UNKNOWN)
    except UsageError as problem:
        complain(problem)
    except (KeyboardInterrupt, asyncio.CancelledError):
        complain(UsageError("interrupted: nothing was found out"))
    except Exception as defect:  # noqa: BLE001 - Python's own exit code, 1, would be a warning about the backend
        complain(UsageError(f"the check broke on our side, please report this: {_where(defect)}"))
    return int(CheckStatus.UNKNOWN)


def _where(defect: Exception) -> str:
    """Type and place of a defect. Its text, and the values of a traceback, may hold what must not be shown."""
    last = traceback.extract_tb(defect.__traceback__)[-1]
    return f"{type(defect).__name__} at {Path(last.filename).name}:{last.lineno}"


def _exit() -> NoReturn:
    sys.exit(main())


if __name__ == "__main__":
    _exit()
