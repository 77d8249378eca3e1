"""`profiles`: lists the profiles that there are, shows one as YAML, and tries one on recorded frames.

Rule 1: connects to nothing. Rule 2: exit code 0 for an answer, 2 for a file, a name or a frame that cannot be used.
"""

import argparse
import json
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from exporter.catalog import CATALOG, PROFILES_FOLDER
from exporter.commands.terminal import UsageError, complain, say
from exporter.config import Profile, YamlError, examine, load_yaml, located
from exporter.discovery import TranscriptError, profile_yaml, read_transcript, replay
from exporter.profiles import probes_of

WRONG_USAGE_CODE: Final = 2
MAX_FILE_BYTES: Final = 16_777_216
STATED_NAME: Final = "profile"
"""How the profile of a file that holds nothing else is called."""
PLACEHOLDER_URL: Final = "ws://127.0.0.1/"


def profiles(options: argparse.Namespace) -> int:
    """Run the action; the exit code is 0, or 2 after the sentences about what cannot be used."""
    try:
        for line in ACTIONS[options.action](options):
            say(line)
    except UsageError as error:
        complain(error)
        return WRONG_USAGE_CODE
    return 0


def _list(options: argparse.Namespace) -> list[str]:
    """One line a profile: name, framing, where it stands, and what its deepest probe shows."""
    known = _known(options)
    width = max(map(len, known))
    lines = []
    for name, profile in known.items():
        place = "built in" if CATALOG.get(name) is profile else "config"
        lines.append(f"{name:<{width}}  {profile.framing.name:<8}  {place:<8}  {_purpose(profile)}".rstrip())
    return lines


def _purpose(profile: Profile) -> str:
    """What a pass of the deepest probe shows, by the profile's own words; else the probes that it answers."""
    probes = probes_of(profile)
    sentence = next((text for probe in reversed(probes) if (text := getattr(profile.proves, probe))), None)
    return f"{sentence.split('. ')[0].rstrip('.')}." if sentence else f"Answers {', '.join(probes)}."


def _show(options: argparse.Namespace) -> list[str]:
    """The profile under `profiles:`; that of a data file with its comments.

    A name that a config may not take gets another one, so that the copy can be used as it is.
    """
    known = _known(options)
    profile = known.get(options.name)
    if profile is None:
        raise UsageError(f"NAME: there is no such profile; there are {', '.join(known)}")
    name = f"my-{options.name}" if options.name in CATALOG.reserved else options.name
    source = PROFILES_FOLDER / f"{options.name}.yml"
    if CATALOG.get(options.name) is not profile or not source.exists():
        return [profile_yaml(profile, name).rstrip("\n")]
    return ["profiles:", f"  {name}:", textwrap.indent(source.read_text("utf-8"), "    ").rstrip()]


def _try(options: argparse.Namespace) -> list[str]:
    """Two lines a frame: its shape, and its part in the session."""
    profile = _tried_profile(options)
    try:
        recorded = read_transcript(json.loads(_read(options.frames, "--frames")))
    except json.JSONDecodeError as error:
        raise UsageError(f"--frames: {options.frames}: line {error.lineno}, column {error.colno}: is no JSON") from None
    except (TranscriptError, RecursionError) as error:
        sentence = str(error) if isinstance(error, TranscriptError) else "is nested too deeply"
        raise UsageError(f"--frames: {options.frames}: {sentence}") from None
    return [f"{number:>3} {line}\n      {role}" for number, line, role in replay(profile, recorded)]


ACTIONS: Final = {"list": _list, "show": _show, "try": _try}


def _known(options: argparse.Namespace) -> Mapping[str, Profile]:
    """The built-in profiles, and those of the config if it is given, which go first."""
    own = _own_profiles(options.config_file, "--config.file") if options.config_file else {}
    return {**{name: CATALOG[name] for name in CATALOG}, **own}


def _tried_profile(options: argparse.Namespace) -> Profile:
    """The profile to try: that of `--profile`, or the only one of the file; raises UsageError."""
    raw = _yaml(options.file, "FILE")
    if isinstance(raw, Mapping) and not {"profiles", "targets"}.isdisjoint(raw):
        own, used = _checked_profiles(raw, options.file, "FILE"), _named_by_targets(raw)
    else:
        own, used = _checked_profiles({"profiles": {STATED_NAME: raw}}, options.file, "FILE"), []
    named = dict.fromkeys([*own, *used])
    if options.profile is None and len(named) != 1:
        raise UsageError(f"--profile: is needed: {options.file} has {', '.join(named) or 'no profile'}")
    name = options.profile or next(iter(named))
    if name in own:
        return own[name]
    if name not in CATALOG:
        raise UsageError(f"--profile: there is no such profile; there are {', '.join([*own, *CATALOG])}")
    return CATALOG[name]


def _named_by_targets(raw: Mapping[str, object]) -> list[str]:
    """The names of profiles that the targets of a config use."""
    targets = raw.get("targets")
    listed = [target for target in targets if isinstance(target, Mapping)] if isinstance(targets, list) else []
    return [name for target in listed if isinstance(name := target.get("profile"), str)]


def _own_profiles(path: str, flag: str) -> Mapping[str, Profile]:
    return _checked_profiles(_yaml(path, flag), path, flag)


def _checked_profiles(raw: object, path: str, flag: str) -> Mapping[str, Profile]:
    """The profiles of a config, whatever else is wrong with it; raises UsageError with every mistake in them."""
    if not isinstance(raw, Mapping):
        raise UsageError(f"{flag}: {path}: must be a mapping: a config, or one profile alone")
    own = raw.get("profiles") or {}
    target = {"name": "any", "url": PLACEHOLDER_URL, "profile": "echo"}
    whole = {"targets": [target], "profiles": own}
    examination = examine(whole, CATALOG)
    if examination.problems:
        raise UsageError(*(f"{path}: {problem}" for problem in located(examination.problems, whole)))
    return examination.sound.config.profiles


def _yaml(path: str, flag: str) -> object:
    try:
        return load_yaml(_read(path, flag))
    except YamlError as error:
        raise UsageError(f"{flag}: {path}: {error}") from None


def _read(path: str, flag: str) -> bytes:
    """The bytes of a file; raises UsageError if there are none, or too many."""
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{flag}: {path}: {error.strerror}") from None
    if len(data) > MAX_FILE_BYTES:
        raise UsageError(f"{flag}: {path}: is larger than {MAX_FILE_BYTES} bytes")
    return data
