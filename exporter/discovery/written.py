"""A profile as the YAML that a user would write: only what differs from the defaults, durations as `300s`."""

from collections.abc import Mapping
from enum import Enum
from typing import Any, Final

import yaml

from exporter.config import BreakerSettings, Framing, Model, Profile, Step

DURATION_FIELDS: Final = frozenset({"every", "slot_release", "window"})
"""Fields of a profile that hold seconds."""

MAX_YAML_COLUMNS: Final = 110


def profile_yaml(profile: Profile, name: str) -> str:
    """Return the profile under `profiles:` and this name, so that it can be copied into a config."""
    return yaml_text({"profiles": {name: _plain(profile)}})


def yaml_text(value: Any) -> str:
    """Return a value in YAML: short collections in one line, keys in their order."""
    return str(yaml.dump(value, sort_keys=False, allow_unicode=True, width=MAX_YAML_COLUMNS, default_flow_style=None))


FIRST_OF_A_RULE: Final = ("code", "status", "match", "text")
"""Fields of a rule that stand before what it says."""


def _plain(value: Any) -> Any:
    """Return a model, or a value in one, as plain values."""
    if isinstance(value, Framing) and value == Framing(name=value.name):
        return value.name
    if isinstance(value, Model):
        fields = {name: _plain_field(name, getattr(value, name)) for name in _set_fields(value)}
        first = FIRST_OF_A_RULE if "reason" in type(value).model_fields else ()
        return {name: fields[name] for name in sorted(fields, key=lambda name: name not in first)}
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value


def _plain_field(name: str, value: Any) -> Any:
    if name in DURATION_FIELDS:
        return f"{value:g}s"
    is_single = isinstance(value, list) and len(value) == 1 and isinstance(value[0], Step | BreakerSettings)
    return _plain(value[0] if is_single else value)


def _set_fields(model: Model) -> list[str]:
    """Return the fields of a model that differ from their defaults."""
    fields = type(model).model_fields
    return [
        name for name, field in fields.items() if field.is_required() or getattr(model, name) != field.get_default()
    ]
