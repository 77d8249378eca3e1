"""Parses the whole file: the problems of every field at once, then what valid targets and profiles must agree on.

Rule 1: one wrong target hides no problem of another.
"""

import re
from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

from pydantic import ValidationError

from exporter.config.catalog import reserved_names
from exporter.config.defaults import located, own_problems, with_defaults
from exporter.config.messages import Place, field_problems, path_of, target_name
from exporter.config.mistake import Problem
from exporter.config.model import Config, Target
from exporter.config.profile_checks import profile_problems
from exporter.config.profile_model import Profile
from exporter.config.target_checks import target_problems

TARGET = re.compile(r"^targets\[(\d+)\]")
MAX_LABELS: Final = 10
TOP_LEVEL_SETTINGS: Final = ("max_connects_per_minute", "max_sessions", "state_file", "history_file", "runbook_url")
"""Settings beside `targets` and `profiles`; the valid ones apply to the valid part of a file with problems."""


@dataclass(frozen=True, slots=True)
class ConfigPart:
    """Some targets of a file as a config of their own; `positions`: their indices in the file."""

    config: Config
    positions: tuple[int, ...]

    def placed(self, problems: Iterable[Problem]) -> Iterator[Problem]:
        """Yield problems found in `config` with their paths in the file."""
        for problem in problems:
            path = TARGET.sub(lambda match: f"targets[{self.positions[int(match[1])]}]", problem.path)
            yield Problem(path, problem.sentence)


@dataclass(frozen=True, slots=True)
class ConfigExamination:
    """The problems of a file, and the targets that can still be checked further.

    good: targets whose own fields are valid, so that their key files can be tried
    sound: targets without any problem, which can be planned
    Without problems both are the whole file.
    """

    problems: tuple[Problem, ...]
    good: ConfigPart
    sound: ConfigPart


@dataclass(frozen=True, slots=True)
class _SoundParts:
    """The parts of a file whose own fields are valid, by index or name; `named`: all profiles of the file."""

    targets: Mapping[int, Target]
    profiles: Mapping[str, Profile]
    named: frozenset[str]
    rest: Mapping[str, Any]


def parse(raw: object, built_in: Mapping[str, Profile]) -> Config | tuple[Problem, ...]:
    """Return the config in `raw` (JSON values, as `load_yaml` returns them), or every problem that can be seen at once.

    Paths of files stay as written: `Config.resolved` makes relative ones absolute.
    """
    examined = examine(raw, built_in)
    return located(examined.problems, raw) or examined.sound.config


def examine(raw: object, built_in: Mapping[str, Profile]) -> ConfigExamination:
    """As `parse`; also returns the valid part of a file with problems, so that packages above can add their problems.

    Problems of `defaults` are reported for each target that inherits them (see `located`).
    """
    misplaced = tuple(own_problems(raw))
    raw = with_defaults(raw)
    fields, good = _fields(raw)
    profile_mistakes = {name: tuple(_profile(name, profile, built_in)) for name, profile in good.profiles.items()}
    profiles = {name: profile for name, profile in good.profiles.items() if not profile_mistakes[name]}
    known = ChainMap(profiles, built_in)  # type: ignore[arg-type]  # neither is written to
    twins = dict(_twins(raw))
    target_mistakes = {index: tuple(_target(index, target, raw, good, known)) for index, target in good.targets.items()}
    sound = [
        index
        for index, target in good.targets.items()
        if not target_mistakes[index] and index not in twins and target.profile in known
    ]
    return ConfigExamination(
        (
            *misplaced,
            *fields,
            *_label_problems(good, raw),
            *chain(*profile_mistakes.values()),
            *twins.values(),
            *chain(*target_mistakes.values()),
        ),
        _part(good, good.targets, profiles),
        _part(good, sound, profiles),
    )


def _part(good: _SoundParts, positions: Iterable[int], profiles: Mapping[str, Profile]) -> ConfigPart:
    places = tuple(positions)
    targets = [good.targets[index] for index in places]
    return ConfigPart(Config.model_construct(targets=targets, profiles=dict(profiles), **good.rest), places)


def _fields(raw: object) -> tuple[tuple[Problem, ...], _SoundParts]:
    """Return the problems of single fields, and the parts without any."""
    if not isinstance(raw, Mapping):
        return (Problem("", "the file must be a mapping that begins with `targets:`"),), _good({}, set())
    try:
        Config.model_validate(raw)
    except ValidationError as error:
        located = list(field_problems(error, raw))
        return tuple(dict.fromkeys(problem for _, problem in located)), _good(raw, {place[:2] for place, _ in located})
    return (), _good(raw, set())


def _good(raw: Mapping[str, Any], wrong: set[Place]) -> _SoundParts:
    targets, profiles = raw.get("targets"), raw.get("profiles")
    listed = dict(enumerate(targets)) if isinstance(targets, list) else {}
    named = profiles if isinstance(profiles, Mapping) else {}
    return _SoundParts(
        {index: Target.model_validate(part) for index, part in listed.items() if ("targets", index) not in wrong},
        {name: Profile.model_validate(part) for name, part in named.items() if ("profiles", name) not in wrong},
        frozenset(name for name in named if isinstance(name, str)),
        {name: raw[name] for name in TOP_LEVEL_SETTINGS if name in raw and (name,) not in wrong},
    )


def _profile(name: str, profile: Profile, built_in: Mapping[str, Profile]) -> Iterator[Problem]:
    place = path_of(("profiles", name), {})
    if name in reserved_names(built_in):
        yield Problem(place, "is built in: choose another name")
    else:
        yield from (Problem(f"{place}.{path}", sentence) for path, sentence in profile_problems(profile))


def _target(
    index: int, target: Target, raw: object, good: _SoundParts, known: Mapping[str, Profile]
) -> Iterator[Problem]:
    place = path_of(("targets", index), raw)
    names = sorted(good.named | known.keys())
    if target.profile not in names:
        yield Problem(f"{place}.profile", f"unknown profile, known here: {', '.join(names)}")
    for path, sentence in target_problems(target, known.get(target.profile)):
        yield Problem(f"{place}.{path}", sentence)


def _label_problems(good: _SoundParts, raw: object) -> Iterator[Problem]:
    """All targets get the labels of all others, empty where they set none, so the total number is bounded."""
    known: dict[str, None] = {}
    for index, target in good.targets.items():
        known |= dict.fromkeys(target.labels)
        if len(known) > MAX_LABELS:
            yield Problem(
                path_of(("targets", index, "labels"), raw),
                f"all targets together have more than {MAX_LABELS} label names: {', '.join(known)}",
            )
            return


def _twins(raw: object) -> Iterator[tuple[int, Problem]]:
    """Two targets with one name would share their series."""
    targets = raw.get("targets") if isinstance(raw, Mapping) else None
    first: dict[str, int] = {}
    for index in range(len(targets) if isinstance(targets, list) else 0):
        name = target_name(raw, index)
        if name is not None and first.setdefault(name, index) != index:
            path = path_of(("targets", index, "name"), raw)
            yield index, Problem(path, f"is already the name of targets[{first[name]}]")
