"""Pydantic's errors become problems in our own words.

Rule 1: no sentence and no path quotes a value; only names of fields and keys, printable and short.
Rule 2: an error of an unknown type still gets a path and a sentence.
"""

import difflib
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Final, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from exporter.config.document import shown
from exporter.config.mistake import Problem
from exporter.config.model import Config
from exporter.config.scalars import TARGET_NAME

Place = tuple[int | str, ...]
"""Where a field stands: keys of mappings and indices of lists, from the top of the file."""

KEY_PLACE: Final = "[key]"
"""What pydantic ends a place with when the key itself is wrong."""
FORMS: Final = frozenset({"[word]", "[mapping]"})
"""What a place holds besides fields: which form of a value was tried (the tags of `Auth.carry`)."""


def path_of(place: Place, raw: object) -> str:
    """`targets[0] (staging).interval`: a target's name stands behind its index when it is fit to be shown."""
    text = ""
    for depth, part in enumerate(place):
        text += f"[{part}]" if isinstance(part, int) else f".{shown(part)}"
        if depth == 1 and place[0] == "targets" and isinstance(part, int):
            name = target_name(raw, part)
            text += f" ({name})" if name else ""
    return text.removeprefix(".")


def target_name(raw: object, index: int) -> str | None:
    """The name of a target of the unchecked file, if it has a proper one."""
    targets = raw.get("targets") if isinstance(raw, Mapping) else None
    target = targets[index] if isinstance(targets, list) and index < len(targets) else None
    name = target.get("name") if isinstance(target, Mapping) else None
    return name if isinstance(name, str) and TARGET_NAME.fullmatch(name) else None


def field_problems(
    error: ValidationError, raw: object, whole: type[BaseModel] = Config
) -> Iterator[tuple[Place, Problem]]:
    """Each field error with its place in the file, whose shape is `whole`."""
    for found in error.errors(include_url=False):
        found["loc"] = tuple(part for part in found["loc"] if part not in FORMS)
        place = _written_place(tuple(part for part in found["loc"] if part != KEY_PLACE), raw)
        yield place, Problem(path_of(place, raw), _sentence(found, whole))


def _written_place(place: Place, raw: object) -> Place:
    """Leave out the index where the file has a single value instead of a list."""
    written: list[int | str] = []
    for part in place:
        is_alone = isinstance(raw, str) or (isinstance(raw, Mapping) and part not in raw)
        if isinstance(part, int) and is_alone:
            continue
        written.append(part)
        if isinstance(raw, Mapping):
            raw = raw.get(part)
        elif isinstance(raw, list) and isinstance(part, int) and part < len(raw):
            raw = raw[part]
        else:
            raw = None
    return tuple(written)


def _sentence(found: Any, whole: type[BaseModel]) -> str:
    if _bad_key(found["loc"], found["input"]):
        return "a key must be text: quote it"
    if found["type"] == "extra_forbidden":
        return _unknown(found["loc"], whole)
    return MISTAKE_TEXTS.get(found["type"], lambda _: "is not valid here")(found)


def _bad_key(place: Place, value: object) -> bool:
    return KEY_PLACE in place[-1:] and not isinstance(value, str)


def _not_text(found: Any) -> str:
    kinds: tuple[tuple[Any, str], ...] = (
        (bool, "must be text: quote it (YAML reads yes, no, on, off, true and false as true or false)"),
        (int | float, "must be text: quote the number"),
        (type(None), "must be text, but there is nothing"),
        (list, "must be text, not a list"),
    )
    return next((sentence for kind, sentence in kinds if isinstance(found["input"], kind)), "must be text")


def _owner(place: Place, whole: type[BaseModel]) -> type[BaseModel] | None:
    """The model of the mapping around this place."""
    kind: Any = whole
    for part in place[:-1]:
        kind = _inner(_bare(kind), part)
    owner = _bare(kind)
    return owner if _is_model(owner) else None


def _known(place: Place, whole: type[BaseModel]) -> tuple[str, ...]:
    """The fields that the mapping around this place may have."""
    owner = _owner(place, whole)
    return tuple(owner.model_fields) if owner is not None else ()


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _inner(kind: Any, part: int | str) -> Any:
    if _is_model(kind):
        return kind.model_fields[part].annotation if part in kind.model_fields else None
    return get_args(kind)[-1] if get_args(kind) else None


def _bare(kind: Any) -> Any:
    """The type without its annotations and without `| None`."""
    while get_origin(kind) in (Annotated, Union, types.UnionType):
        kind = get_args(kind)[0]
    return kind


NEVER_HERE: Final = {
    ("Jwt", "a key"): frozenset({"key", "secret", "private_key", "signing_key"}),
    ("Jwt", "a token"): frozenset({"token", "jwt", "access_token"}),
    ("Auth", "a secret"): frozenset({"secret", "password", "token", "key", "api_key", "apikey", "bearer"}),
}
"""What people write a secret under, by model: none is ever read from the config file."""
ALTERNATIVES: Final = {
    "a key": "key_file names a file that holds it, key_env an environment variable",
    "a token": "token_file names a file that holds it",
    "a secret": "secret_file names a file that holds it, secret_env an environment variable; a key that signs tokens "
    "stands under jwt",
}


def _secret_here(model: str, field: str) -> str | None:
    for (owner, noun), names in NEVER_HERE.items():
        if owner == model and field.lower() in names:
            return f"{noun} never stands in the config: {ALTERNATIVES[noun]}"
    return None


def _unknown(place: Place, whole: type[BaseModel]) -> str:
    owner = _owner(place, whole)
    advice = _secret_here(owner.__name__, str(place[-1])) if owner is not None else None
    if advice is not None:
        return advice
    known = sorted(_known(place, whole))
    near = difflib.get_close_matches(shown(str(place[-1])).lower(), known, n=1)
    return f"unknown field, did you mean `{near[0]}`?" if near else f"unknown field, known here: {', '.join(known)}"


def _choices(found: Any) -> str:
    words = str(found["ctx"]["expected"]).replace(" or ", ", ").replace("'", "")
    return f"must be one of: {words}"


def _limit(words: str, name: str) -> Callable[[Any], str]:
    return lambda found: f"must be {words} {found['ctx'][name]}"


def _shape(name: str) -> Callable[[Any], str]:
    return lambda found: f"must be {name}" + (", but there is nothing: remove the key" * (found["input"] is None))


EXAMPLES: Final = {
    "identities": "alias: subject, such as {pool-001: staging-user-001}",
    "check_identities": "alias: subject, such as {check-001: staging-user-101}",
    "headers": "name: value, such as {Origin: https://app.example.com}",
    "claims": "name: value, such as {iss: my-issuer}",
    "profiles": "name: profile",
    "fields": "name: path in the answer, such as {managers: metrics.managers_active}",
    "labels": "name: value, such as {team: payments}",
    "defaults": "settings that hold for every target, such as {interval: 1m}",
    "slow_over": "probe: duration, such as {connect: 500ms, send: 3s}, or one duration",
}
"""What a mapping holds, by the name of its field."""


def _mapping(found: Any) -> str:
    example = EXAMPLES.get(str(found["loc"][-1])) if found["input"] is not None else None
    return _shape("a mapping")(found) + (f" of {example}" if example else "")


def _said(sentence: str) -> Callable[[Any], str]:
    return lambda _: sentence


MISTAKE_TEXTS: Final[Mapping[str, Callable[[Any], str]]] = {
    "missing": _said("is required"),
    "invalid_key": _said("a key must be text: quote it"),
    "value_error": lambda found: str(found["ctx"]["error"]),
    "string_type": _not_text,
    "string_unicode": _said("must be text that UTF-8 can hold"),
    "int_type": _said("must be a whole number, without quotes"),
    "bool_type": _said("must be true or false, without quotes"),
    "list_type": _shape("a list"),
    "dict_type": _mapping,
    "model_type": _mapping,
    "model_attributes_type": _shape("a mapping"),
    "too_short": _said("must not be empty"),
    "literal_error": _choices,
    "enum": _choices,
    "greater_than_equal": _limit("at least", "ge"),
    "less_than_equal": _limit("at most", "le"),
}
