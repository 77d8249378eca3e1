"""The origin: the place that is probed from, by a flag or by the environment."""

import argparse
import os

from exporter import arguments
from exporter.commands.terminal import UsageError
from exporter.config import checked_name


def origin_of(options: argparse.Namespace) -> str | None:
    """The place that is probed from: the flag names it, else the environment; raises UsageError for a wrong name.

    An empty variable is refused like an empty flag: rules would take the exporter for one without an origin.
    """
    name: str | None = options.origin
    if name is not None or arguments.ORIGIN_VARIABLE not in os.environ:
        return name
    try:
        return checked_name(os.environ[arguments.ORIGIN_VARIABLE])
    except ValueError as error:
        raise UsageError(f"{arguments.ORIGIN_VARIABLE}: {error}; unset it if the exporter has no origin") from None
