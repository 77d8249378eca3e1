"""`check --show-frames` and `--record-frames`: a session's frames, printed as they pass, or kept for `profiles try`.

Values are hidden in both, unless a person asks for them; secrets always.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

from exporter.catalog import CATALOG
from exporter.commands.flag_files import write_private
from exporter.commands.terminal import say
from exporter.discovery import ShapeOptions, TranscriptRecorder, close_line, message_lines, words_of
from exporter.plan import Job
from exporter.report.formatting import count
from exporter.session import SeenMessage

LEGEND = "frames, with the types of their values: text(12) is a text of 12 characters"
UNSAFE_LEGEND = "frames, with the values of the backend: keep them to yourself; tokens, secrets and headers are hidden"


class FrameRecorder:
    """Records the frames of the one session of a target, for a file that `profiles try --frames` reads."""

    def __init__(self, options: argparse.Namespace, job: Job) -> None:
        self._recorder = TranscriptRecorder(job.profile, _view(options, job), messages=_is_built_in(job))
        self._answer_awaited = job.profile.before is not None

    def add(self, seen: SeenMessage) -> None:
        """Record a message or a close frame; the answer to the request before the upgrade is no frame."""
        if self._answer_awaited:
            self._answer_awaited = False
        elif seen.code is not None:
            self._recorder.add_close(seen.direction, seen.code, seen.data, seen.secrets)
        else:
            self._recorder.add_message(seen.direction, seen.values, seen.secrets)

    def write(self, path: str) -> None:
        """Write the transcript, for its owner alone; raises UsageError."""
        lines = ",\n".join(f"  {json.dumps(frame)}" for frame in self._recorder.frames)
        write_private(Path(path), f"[\n{lines}\n]\n" if lines else "[]\n", flag="--record-frames")
        count_text = count(len(self._recorder.frames), "frame")
        print(f"wrote {path}: {count_text}, for ws-factory-exporter profiles try", file=sys.stderr)


def frame_observer(
    options: argparse.Namespace, job: Job, recorder: FrameRecorder | None, *, named: bool
) -> Callable[[SeenMessage], None] | None:
    """What sees the frames of a target's sessions; None without a flag that wants them."""
    observers = [*_printer(options, job, named=named), *([] if recorder is None else [recorder.add])]

    def observe(seen: SeenMessage) -> None:
        for observer in observers:
            observer(seen)

    return observe if observers else None


def _is_built_in(job: Job) -> bool:
    return job.target.profile in CATALOG and job.profile is CATALOG[job.target.profile]


def _view(options: argparse.Namespace, job: Job) -> ShapeOptions:
    """Words of a built-in profile are shown; of a profile of the config only those in its patterns.

    A message of the config may hold a password that somebody wrote into it.
    """
    return ShapeOptions(words_of(job.profile, messages=_is_built_in(job)), (), options.show_values)


def _printer(options: argparse.Namespace, job: Job, *, named: bool) -> list[Callable[[SeenMessage], None]]:
    """What prints the frames, if that is asked for. `named`: each line has the target's name."""
    if not options.show_frames:
        return []
    view = _view(options, job)
    prefix = f"{job.name} " if named else ""

    def show(seen: SeenMessage) -> None:
        shown = view.with_secrets(seen.secrets)
        if seen.code is not None:
            lines = [close_line(seen.direction, seen.code, seen.data, shown)]
        else:
            lines = message_lines(seen.direction, seen.data, seen.values, shown, is_text=seen.is_text)
        for line in lines:
            say(f"{prefix}{line}")

    return [show]


def print_legend(options: argparse.Namespace) -> None:
    """Print what the lines of the frames are, if they are asked for."""
    if options.show_frames:
        say(UNSAFE_LEGEND if options.show_values else LEGEND)
