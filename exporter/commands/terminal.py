"""Prints lines and errors on the terminal, in colours."""

import os
import signal
import sys
from typing import Final

RED: Final = "\x1b[31m"
GREEN: Final = "\x1b[32m"
YELLOW: Final = "\x1b[33m"
RESET: Final = "\x1b[0m"


class UsageError(Exception):
    """What the user has to correct, one sentence for each error."""

    def __init__(self, *sentences: object) -> None:
        super().__init__(*sentences)
        self.sentences = [str(sentence) for sentence in sentences]


def complain(error: UsageError) -> int:
    """Print the sentences of an error on stderr; returns the exit code 1."""
    for sentence in error.sentences:
        print(f"ws-factory-exporter: {sentence}", file=sys.stderr)
    return 1


def paint(text: str, colour: str) -> None:
    """Print a line in colour; if stdout is closed (`demo | head`), end the demo as Ctrl-C does."""
    if not say(f"{colour}{text}{RESET}" if sys.stdout.isatty() else text):
        signal.raise_signal(signal.SIGTERM)


def say(text: str) -> bool:
    """Print a line; False if stdout is closed: then this process prints nothing more."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True
