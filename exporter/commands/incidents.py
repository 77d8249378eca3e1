"""`standin --incident`: which incident of the data set is played, and what incidents there are."""

import argparse
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from exporter.commands.terminal import UsageError, say

if TYPE_CHECKING:
    from exporter.standin import Incident


def list_incidents(options: argparse.Namespace) -> int:
    """Print name and meaning of each incident, and of each that is not played why."""
    incidents = _incidents(options)
    width = max(map(len, incidents), default=0)
    for name, incident in incidents.items():
        why_not = f" (not played: {incident.why_not})" if incident.why_not else ""
        say(f"{name:{width}}  {incident.what}{why_not}")
    return 0


def chosen_incident(options: argparse.Namespace) -> "Incident | None":
    """The incident of `--incident`; None without the flag. Raises UsageError for one that cannot be played."""
    if options.incident is None:
        if options.incident_file is not None:
            raise UsageError("--incident-file: needs --incident NAME or --list-incidents")
        return None
    if options.fault:
        raise UsageError("--fault: cannot be combined with --incident: an incident is played as it was recorded")
    incidents = _incidents(options)
    incident = incidents.get(options.incident)
    if incident is None:
        raise UsageError(f"--incident: there is no incident {options.incident!r}; {_near(options.incident, incidents)}")
    if incident.why_not is not None:
        raise UsageError(f"--incident: {incident.name} is not played: {incident.why_not}")
    return incident


def _incidents(options: argparse.Namespace) -> "Mapping[str, Incident]":
    from exporter.standin import load_incidents  # noqa: PLC0415 - `run` need not load it

    if options.incident_file is None:
        return load_incidents()
    try:
        return load_incidents(Path(options.incident_file))
    except OSError as error:
        raise UsageError(f"--incident-file: {options.incident_file}: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"--incident-file: {options.incident_file}: {error}") from None


def _near(name: str, known: Mapping[str, object]) -> str:
    near = [one for one in known if name and name in one] or get_close_matches(name, known)
    return f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(known)}"
