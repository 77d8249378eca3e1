"""configuration.md: every setting, from the models of `exporter.config`, with the refusals that the tests hold."""

import re
from collections.abc import Iterator, Mapping
from enum import Enum
from itertools import chain
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Final, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

import yaml
from cells import code, codes, page, plain, table
from pydantic import BaseModel

from exporter.config import Config, HttpClient, WebConfig
from exporter.config import model as m
from exporter.config import scalars as s
from exporter.config import web as w
from exporter.result import SERVERS, FactoryReason, Reason, RefusalCase

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
MEANINGS: Final[Mapping[str, str]] = yaml.safe_load((HERE / "meanings.yml").read_text("utf-8"))
REFUSALS: Final[Mapping[str, list[str]]] = yaml.safe_load((ROOT / "tests/data/museum.yml").read_text("utf-8"))
"""Each wrong file of the tests, and the sentences about it; tests/unit/test_config.py holds them."""
HARMFUL_SCHEDULES: Final[Mapping[str, str]] = yaml.safe_load((ROOT / "tests/data/museum-budget.yml").read_text("utf-8"))
"""Each harmful schedule of the tests, and the sentence about it; tests/unit/test_plan.py holds them."""

FIGURE: Final = re.compile(r"\d+|(?<=subject as )\S+")
"""What differs between two sentences of one refusal."""

NAMED_TYPES: Final = (
    (s.Period, "duration over 0s"),
    (s.Duration, "duration"),
    (s.Name, "name"),
    (s.FieldPath, "field path"),
    (s.FigureLimit, "number over 0, or field path"),
    (s.FilePath, "path of a file"),
    (s.LinkUrl, "http or https URL"),
    (s.EnvironmentName, "name of an environment variable"),
    (s.HeaderName, "header name"),
    (s.LabelName, "label name"),
    (s.LabelValue, "text of at most 128 characters"),
    (m.ServerWord, codes(SERVERS)),
    (m.ProxyWord, codes(m.BEHIND_WORDS)),
    (m.CaseWord, codes(RefusalCase)),
    (s.Regex, "regular expression (RE2)"),
    (s.Text, "text"),
    (s.Claim, "JSON value"),
    (s.Message, "JSON value"),
    (s.Pattern, "pattern"),
    (s.Scalar, "text, whole number, true or false"),
    (w.User, "user name"),
    (w.Hash, "bcrypt hash"),
    (w.Pem, "text in PEM"),
    (w.Cipher, "cipher suite"),
    (w.Curve, "curve"),
    (w.ClientAuth, codes(["NoClientCert", *w.VERIFYING])),
    (Reason, "[reason](metrics.md#failure-reasons)"),
    (FactoryReason, "[factory reason](metrics.md#factory-reasons)"),
    (bool, "true or false"),
    (str, "text"),
    (int, "whole number"),
)

INTRO: Final = """\
The config is one YAML file, `--config.file`. Every setting that is not listed here is refused with its path, and all
mistakes of a file are reported at once. `run --config.check` reads the file, its keys and its schedule without
connecting anywhere. A reload applies the same checks and changes nothing if one of them fails.

**Types.** A *duration* is written `15s`, `1m30s`, `250ms` or `1d`, at most `24h`. A *name* has at most 63 letters,
digits and `_ . : -`, and becomes a label value. A *field path* leads to a value inside a message, such as
`data.user_id`. A *pattern* is a JSON value that a message must contain: objects contain, lists agree item by item,
`${any}` is any value that is there. Relative paths of files start at the folder of the config file. No `${…}` is filled
in from the environment.

The schedule itself is checked as well: see [The schedule](#the-schedule)."""


class Section(NamedTuple):
    """One model of a file and where it stands."""

    path: str
    model: type[BaseModel]


def settings(path: str, model: type[BaseModel]) -> Iterator[Section]:
    """The model at `path` and all models below it, in the order of the file."""
    yield Section(path, model)
    for name, hint in get_type_hints(model, include_extras=True).items():
        if name in model.model_fields:
            for ending, inner in _models(hint):
                yield from settings(f"{path}.{name}{ending}".lstrip("."), inner)


def _models(hint: Any, ending: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        yield ending, hint
    elif get_origin(hint) is list:
        yield from _models(get_args(hint)[0], f"{ending}[]")
    elif get_origin(hint) is dict:
        yield from _models(get_args(hint)[1], f"{ending}.NAME")
    elif get_origin(hint) in (Annotated, Union, UnionType):
        for part in get_args(hint):
            yield from _models(part, ending)


def type_of(hint: Any) -> str:
    """What a value may be, in words."""
    for known, words in NAMED_TYPES:
        if hint == known:
            return words
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return type_of(parts[0]) + _bounds(parts[1:])
    if origin is Literal:
        return codes(map(str, parts))
    if origin in (Union, UnionType):
        return " or ".join(type_of(part) for part in parts if part is not type(None))
    if origin is list:
        return f"list: {type_of(parts[0])}"
    if origin is dict:
        return f"mapping: {type_of(parts[0])} to {type_of(parts[1])}"
    return "mapping, below"


def _bounds(metadata: tuple[Any, ...]) -> str:
    limits = {type(part).__name__: part for found in metadata for part in getattr(found, "metadata", ())}
    if "Ge" in limits and "Le" in limits:
        return f", {limits['Ge'].ge:,} to {limits['Le'].le:,}"
    return ", at least one" if "MinLen" in limits else ""


def default_of(field: Any, hint: Any) -> str:
    """A setting's default, as it would be written."""
    value = field.get_default(call_default_factory=True)
    if field.is_required():
        return "required"
    if value is None or value in ({}, [], ""):
        return ""
    if isinstance(value, BaseModel):
        return ""
    if hint in (s.Period, s.Duration):
        return code(f"{value:g}s")
    if isinstance(value, list):
        return codes(map(str, value))
    return code(
        str(value.value if isinstance(value, Enum) else value).replace("True", "true").replace("False", "false")
    )


def _key(model: type[BaseModel], name: str) -> str:
    """The key of a setting in meanings.yml."""
    return f"{model.__name__}.{name}"


def keys() -> list[str]:
    """The key in meanings.yml of every setting."""
    sections = [section for _, model in FILES for section in settings("", model)]
    return list(dict.fromkeys(_key(model, name) for _, model in sections for name in model.model_fields))


FILES: Final = (
    ("`--config.file`", Config),
    ("`--web.config.file`", WebConfig),
    ("`--http.config.file`", HttpClient),
)
PREFACES: Final = {
    "`--config.file`": "",
    "`--web.config.file`": "TLS, users and headers of the exporter's own HTTP side, in the format of Prometheus' "
    "exporter-toolkit. The file is read again when it changes; while it is broken, nobody is let in.",
    "`--http.config.file`": "How `check --from` and `healthcheck` ask an exporter, in the format of promtool.",
}


def configuration_page() -> str:
    """The whole page."""
    parts = [INTRO]
    for title, model in FILES:
        parts += [f"## {title}", *filter(None, [PREFACES[title]])]
        refused = _refusals() if model is Config else {}
        for section in settings("", model):
            parts += _section(section, refused)
        if model is Config:
            parts += [*_of_the_schedule(), *_of_the_file(refused)]
    return page("Configuration", *parts)


def _section(section: Section, refused: dict[str, list[str]]) -> Iterator[str]:
    yield f"### {code(section.path)}" if section.path else "### At the top"
    hints = get_type_hints(section.model, include_extras=True)
    yield table(
        ("setting", "type", "default", "meaning"),
        [
            (code(name), type_of(hints[name]), default_of(field, hints[name]), MEANINGS[_key(section.model, name)])
            for name, field in section.model.model_fields.items()
        ],
    )
    own = {path: refused.pop(path) for path in sorted(refused) if path and _belongs(path, section)}
    rows = [(code(path), plain(sentence)) for path, sentences in own.items() for sentence in sentences]
    if rows:
        yield "Refused:"
        yield table(("where", "what the check says"), rows)


def _belongs(path: str, section: Section) -> bool:
    """Whether the path is a field of this section, or leads into one that is no section."""
    if path == section.path:
        return True
    rest = path.removeprefix(f"{section.path}." if section.path else "")
    name = re.split(r"[.\[]", rest)[0]
    inside = path.startswith(f"{section.path}.") or not section.path
    field = section.model.model_fields.get(name)
    unknown = field is None and inside and not any(sign in rest for sign in ".[")
    deeper = field is not None and not list(_models(get_type_hints(section.model, include_extras=True)[name]))
    return inside and (rest == name or deeper) and (field is not None or unknown)


def _refusals() -> dict[str, list[str]]:
    """Sentences by path, each once whatever its figures are; any unknown field is refused, which needs no list."""
    found: dict[str, dict[str, str]] = {}
    for path, sentence in map(_split, chain.from_iterable(REFUSALS.values())):
        if not sentence.startswith("unknown field"):
            found.setdefault(path, {}).setdefault(FIGURE.sub("", sentence), sentence)
    return {path: list(sentences.values()) for path, sentences in found.items()}


def _split(text: str) -> tuple[str, str]:
    path, _, sentence = text.partition(": ")
    if " " in path.replace("] (", "](") or path.startswith("line"):
        return "", text if not path.startswith("line") else sentence
    path = re.sub(r"\[\d+\](?: \(\w+\))?", "[]", path)
    path = re.sub(r"^profiles\.\w+", "profiles.NAME", path)
    return re.sub(r"(identities|headers|claims|text)\..+$", r"\1.NAME", path), sentence.replace("DATA/", "")


SCHEDULE: Final = """\
A schedule whose settings are each right is refused all the same if it could use up the slots of a user, or connect to
one host too often. The sentence shows the arithmetic, and changes that are each enough ([Budget](design.md#budget)).
These are examples, one of each kind:"""


def _of_the_schedule() -> Iterator[str]:
    """What is wrong with settings that are each right."""
    yield "### The schedule"
    yield SCHEDULE
    rows = [_split(sentence) for sentence in HARMFUL_SCHEDULES.values()]
    yield table(("where", "what the check says"), [(code(path), plain(sentence)) for path, sentence in rows])


def _of_the_file(refused: Mapping[str, list[str]]) -> Iterator[str]:
    """What is wrong with the text itself, before it is a mapping."""
    yield "### The file itself"
    yield "Refused, with line and column where they are known:"
    yield table(("what the check says",), [(plain(text),) for text in refused[""]])
