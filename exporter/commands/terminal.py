"""What a user reads on the terminal: lines, complaints and colours."""

import os
import signal
import sys
from typing import Final

RED: Final = "\x1b[31m"
GREEN: Final = "\x1b[32m"
YELLOW: Final = "\x1b[33m"
RESET: Final = "\x1b[0m"


class UsageError(Exception):
    """What the user must mend first, a sentence each."""

    def __init__(self, *sentences: object) -> None:
        super().__init__(*sentences)
        self.sentences = [str(sentence) for sentence in sentences]


def complain(problem: UsageError) -> int:
    """Print its sentences on stderr; the exit code 1."""
    for sentence in problem.sentences:
        print(f"ws-factory-exporter: {sentence}", file=sys.stderr)
    return 1


def paint(text: str, colour: str) -> None:
    """Print a line; a reader that has gone (`demo | head`) ends the demo as Ctrl-C does."""
    if not say(f"{colour}{text}{RESET}" if sys.stdout.isatty() else text):
        signal.raise_signal(signal.SIGTERM)


def say(text: str) -> bool:
    """Print a line; False if nobody reads any more, and then nothing is written for the rest of our life."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True
