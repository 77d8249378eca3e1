"""Loads a config file into a plan, or reports every mistake in it at once: at the start, for a check, at each reload.

Rule 1: the whole file, with the keys and certificates that it names, is checked before any part of it is used.
Rule 2: callable in any thread; nothing is kept between calls.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from exporter.catalog import CATALOG
from exporter.config import MAX_CHARACTERS, Config, Problem, YamlError, examine, load_yaml, located
from exporter.files import FileError, WatchedFile, key_problems, key_warnings, mode_warnings
from exporter.host import Clock
from exporter.plan import Plan, Shard, plan, plan_notes, plan_warnings, shard_of
from exporter.threads import run_with_timeout

MAX_CONFIG_BYTES: Final = 4 * MAX_CHARACTERS
"""Of a config file: no character takes more than 4 bytes in UTF-8."""

CONFIG_READ_TIMEOUT_SECONDS: Final = 10.0
"""Seconds in which the disk must return the config."""

SETTINGS_KEPT_ON_RELOAD: Final = ("state_file", "history_file")
"""Settings of files that the exporter writes to."""


class ConfigLoadError(Exception):
    """A config that cannot be used; `sentences`: one for each mistake."""

    def __init__(self, sentences: Sequence[str]) -> None:
        super().__init__(*sentences)
        self.sentences = tuple(sentences)


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """A config and its plan.

    warnings: one sentence each
    notes: sentences that only `--config.check` prints
    """

    config: Config
    plan: Plan
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def keeping_state_of(self, first: Config, flags: Mapping[str, object]) -> "LoadedConfig":
        """Return the same, with a warning for each state file that the config moves: they are opened only at the start.

        `flags`: a file named by a flag stays, whatever the config says.
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
    """Load the config in a file, and the part of its plan that is this shard's; raises `ConfigLoadError`."""
    try:
        raw = load_yaml(
            run_with_timeout(WatchedFile(path, MAX_CONFIG_BYTES).read, CONFIG_READ_TIMEOUT_SECONDS, name="config")
        )
    except FileError as error:
        raise ConfigLoadError([f"--config.file: {error.sentence}"]) from None
    except TimeoutError:
        raise ConfigLoadError(
            [f"--config.file: {path} was not read within {CONFIG_READ_TIMEOUT_SECONDS:g} s: is its disk stuck?"]
        ) from None
    except YamlError as error:
        raise ConfigLoadError([f"{path}: {error}"]) from None
    loaded = checked(raw, path)
    if shard is None:
        return loaded
    share = shard_of(loaded.plan, shard)
    empty_shard = () if share.jobs else (f"no target of the config falls to shard {shard}: nothing is probed here",)
    return replace(loaded, plan=share, warnings=(*loaded.warnings, *empty_shard))


def checked(raw: object, path: Path) -> LoadedConfig:
    """As `load`, for the values of a file (`load_yaml`).

    Finds every problem at once: of fields, then of the files and the schedule of targets whose fields are valid.
    """
    examination = examine(raw, CATALOG)
    readable, valid = examination.good, examination.sound
    file_problems = readable.placed(key_problems(readable.config.resolved(path.parent), built_in=CATALOG))
    config = valid.config.resolved(path.parent)
    planned = plan(config, CATALOG)
    schedule_problems = () if isinstance(planned, Plan) else valid.placed(planned)
    problems: list[Problem] = [*examination.problems, *file_problems, *schedule_problems]
    if problems or not isinstance(planned, Plan):
        raise ConfigLoadError([f"{path}: {problem}" for problem in located(problems, raw)])
    warnings = (*mode_warnings(config), *key_warnings(config, Clock().wall()), *plan_warnings(planned.jobs))
    return LoadedConfig(config, planned, tuple(map(str, warnings)), tuple(map(str, plan_notes(planned.jobs))))
