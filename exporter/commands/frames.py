"""`check --show-frames`: prints the frames of a session as they pass, values hidden."""

import argparse
from collections.abc import Callable

from exporter.catalog import CATALOG
from exporter.commands.terminal import say
from exporter.discovery import ShapeOptions, close_line, message_lines, words_of
from exporter.plan import Job
from exporter.session import SeenMessage

LEGEND = "frames, with the types of their values: text(12) is a text of 12 characters"
UNSAFE_LEGEND = "frames, with the values of the backend: keep them to yourself; tokens, secrets and headers are hidden"


def frame_printer(options: argparse.Namespace, job: Job, *, named: bool) -> Callable[[SeenMessage], None] | None:
    """What prints the frames of a target's sessions; None without the flag. `named`: each line has the target's name.

    Words of a built-in profile are shown. Of a profile of the config only those in its patterns: a message may hold a
    password that somebody wrote into it.
    """
    if not options.show_frames:
        return None
    is_built_in = job.target.profile in CATALOG and job.profile is CATALOG[job.target.profile]
    view = ShapeOptions(words_of(job.profile, messages=is_built_in), (), options.show_values)
    prefix = f"{job.name} " if named else ""

    def show(seen: SeenMessage) -> None:
        shown = view.with_secrets(seen.secrets)
        if seen.code is not None:
            lines = [close_line(seen.direction, seen.code, seen.data, shown)]
        else:
            lines = message_lines(seen.direction, seen.data, seen.values, shown, is_text=seen.is_text)
        for line in lines:
            say(f"{prefix}{line}")

    return show


def print_legend(options: argparse.Namespace) -> None:
    """Print what the lines of the frames are, if they are asked for."""
    if options.show_frames:
        say(UNSAFE_LEGEND if options.show_values else LEGEND)
