"""`defaults:`, settings that hold for every target that does not say otherwise.

Rule 1: a target's own setting wins. Mappings are joined key by key, but for those in `REPLACED_AS_A_WHOLE`: half of
somebody else's login, or a pool of users that two targets share without a word, would be a surprise.
Rule 2: a mistake is reported where it is written: under `defaults`, once, however many targets have it.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from exporter.config.mistake import Problem

DEFAULTS_KEY: Final = "defaults"
REPLACED_AS_A_WHOLE: Final = frozenset({"auth", "identities", "check_identities"})
"""Settings that a target replaces completely."""
NEVER_DEFAULTED: Final = ("name", "url")
"""Settings that no two targets share."""
OF_TARGET: Final = re.compile(r"targets\[(\d+)\](?: \(([^)]*)\))?\.(.+)")
PATH_STEP: Final = re.compile(r"[^.\[]+")


def with_defaults(raw: object) -> object:
    """Return the values of a file with its defaults merged into each of its targets."""
    defaults, targets = _parts(raw)
    if not isinstance(raw, Mapping) or not defaults:
        return raw
    given = {name: value for name, value in defaults.items() if name not in NEVER_DEFAULTED}
    joined = [_joined(given, target) if isinstance(target, Mapping) else target for target in targets]
    return {name: joined if name == "targets" else value for name, value in raw.items() if name != DEFAULTS_KEY}


def own_problems(raw: object) -> Iterator[Problem]:
    """Yield the settings under `defaults` that belong to a target."""
    defaults, _ = _parts(raw)
    yield from (
        Problem(f"{DEFAULTS_KEY}.{name}", "belongs to a target: each has its own")
        for name in NEVER_DEFAULTED
        if name in defaults
    )


def located(problems: Iterable[Problem], raw: object) -> tuple[Problem, ...]:
    """The problems of a file `with_defaults`, each where it is written: those of the defaults once.

    Where a problem is not one of all targets, the sentence names those that have it.
    """
    defaults, targets = _parts(raw)
    found: dict[Problem, list[str]] = {}
    for problem in problems:
        match = OF_TARGET.fullmatch(problem.path)
        if match is None or not _is_from(defaults, targets, int(match[1]), match[3]):
            found[problem] = []
        else:
            found.setdefault(Problem(f"{DEFAULTS_KEY}.{match[3]}", problem.sentence), []).append(
                match[2] or f"number {match[1]}"
            )
    return tuple(_of_some(problem, names, len(targets)) for problem, names in found.items())


def _of_some(problem: Problem, names: list[str], targets: int) -> Problem:
    if not names or len(names) == targets:
        return problem
    return Problem(problem.path, f"{problem.sentence} (in {', '.join(names)})")


def _parts(raw: object) -> tuple[Mapping[str, Any], list[Any]]:
    """Return the defaults and the targets of a file, empty if they have another shape."""
    whole = raw if isinstance(raw, Mapping) else {}
    defaults, targets = whole.get(DEFAULTS_KEY), whole.get("targets")
    return defaults if isinstance(defaults, Mapping) else {}, targets if isinstance(targets, list) else []


def _joined(defaults: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    return {**defaults, **{name: _together(defaults.get(name), value, name) for name, value in own.items()}}


def _together(default: object, own: object, name: str) -> object:
    joinable = name not in REPLACED_AS_A_WHOLE and isinstance(default, Mapping) and isinstance(own, Mapping)
    return _joined(default, own) if joinable else own  # type: ignore[arg-type]


def _is_from(defaults: Mapping[str, Any], targets: list[Any], index: int, path: str) -> bool:
    """Whether the setting at this path of a target comes from the defaults."""
    given: Any = defaults
    own: Any = targets[index] if index < len(targets) else None
    for step in PATH_STEP.findall(path):
        if not isinstance(given, Mapping) or step not in given:
            return False
        if not isinstance(own, Mapping) or step not in own:
            return step not in NEVER_DEFAULTED
        if step in REPLACED_AS_A_WHOLE:
            return False
        given, own = given[step], own[step]
    return False
