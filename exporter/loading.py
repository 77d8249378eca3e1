"""A config file becomes a plan, or every mistake in it at once: at the start, for a check, and at each reload.

Rule 1: the whole file is read and checked, with the keys and certificates that it names, before anybody sees a part of
it. Rule 2: callable in any thread; nothing is kept from one time to the next.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from exporter.config import MAX_CHARACTERS, Config, Problem, YamlError, examine, load_yaml, located
from exporter.files import FileError, WatchedFile, key_problems, key_warnings, mode_warnings
from exporter.host import Clock
from exporter.plan import Plan, Shard, plan, plan_notes, plan_warnings, shard_of
from exporter.profiles import BUILT_IN
from exporter.threads import run_with_timeout

MAX_CONFIG_BYTES: Final = 4 * MAX_CHARACTERS
"""Of a config file: no character takes more in UTF-8."""

CONFIG_READ_TIMEOUT_SECONDS: Final = 10.0
"""Seconds for the config's bytes to come from the disk."""

SETTINGS_KEPT_ON_RELOAD: Final = ("state_file", "history_file")
"""Settings that name what we write to."""


class ConfigLoadError(Exception):
    """A config that cannot be used: a sentence for each mistake."""

    def __init__(self, sentences: Sequence[str]) -> None:
        super().__init__(*sentences)
        self.sentences = tuple(sentences)


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """A config and its plan.

    `warnings`: what should be said of them all the same, a sentence each; `notes`: what `--config.check` says besides.
    """

    config: Config
    plan: Plan
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def keeping_state_of(self, first: Config, flags: Mapping[str, object]) -> "LoadedConfig":
        """The same, with a warning for what should now be kept elsewhere: such files are opened at the start only.

        What stands in `flags` is named there, whatever the config says.
        """
        moved = [
            name
            for name in SETTINGS_KEPT_ON_RELOAD
            if not flags.get(name) and getattr(self.config, name) != getattr(first, name)
        ]
        if not moved:
            return self
        sentences = (
            f"{name}: {getattr(first, name) or 'none'} stays in use: another one is opened by a restart"
            for name in moved
        )
        return replace(self, warnings=(*self.warnings, *sentences))


def load(path: Path, shard: Shard | None = None) -> LoadedConfig:
    """The config in a file, and the share of its plan that is this shard's; raises Unloadable."""
    try:
        raw = load_yaml(
            run_with_timeout(WatchedFile(path, MAX_CONFIG_BYTES).read, CONFIG_READ_TIMEOUT_SECONDS, name="config")
        )
    except FileError as problem:
        raise ConfigLoadError([f"--config.file: {problem.sentence}"]) from None
    except TimeoutError:
        raise ConfigLoadError(
            [f"--config.file: {path} was not read within {CONFIG_READ_TIMEOUT_SECONDS:g} s: is its disk stuck?"]
        ) from None
    except YamlError as problem:
        raise ConfigLoadError([f"{path}: {problem}"]) from None
    loaded = checked(raw, path)
    if shard is None:
        return loaded
    share = shard_of(loaded.plan, shard)
    nothing = () if share.jobs else (f"no target of the config falls to shard {shard}: nothing is probed here",)
    return replace(loaded, plan=share, warnings=(*loaded.warnings, *nothing))


def checked(raw: object, path: Path) -> LoadedConfig:
    """As `load`, of the values of a file (`load_yaml`).

    Every problem that can be seen at once: fields, then files and schedule of the targets whose fields are good.
    """
    seen = examine(raw, BUILT_IN)
    files = seen.good.placed(key_problems(seen.good.config.resolved(path.parent)))
    sound = seen.sound.config.resolved(path.parent)
    planned = plan(sound, BUILT_IN)
    schedule = () if isinstance(planned, Plan) else seen.sound.placed(planned)
    problems: list[Problem] = [*seen.problems, *files, *schedule]
    if problems or not isinstance(planned, Plan):
        raise ConfigLoadError([f"{path}: {problem}" for problem in located(problems, raw)])
    found = (*mode_warnings(sound), *key_warnings(sound, Clock().wall()), *plan_warnings(planned.jobs))
    warnings = tuple(map(str, found))
    return LoadedConfig(sound, planned, warnings, tuple(map(str, plan_notes(planned.jobs))))
