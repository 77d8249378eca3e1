"""The text of a YAML file becomes plain values: mappings, lists, text, numbers, true, false, None.

Rule 1: what YAML 1.1 would quietly turn into something else (`0123`, `1:30`, a key `on`, a second key of one name)
is refused here, with its line and column; what a value should be is the models' affair.
Rule 2: a sentence names keys, never values. Rule 3: any text ends in a value or a YamlProblem, in bounded time.
"""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import yaml

LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
MAX_CHARACTERS: Final = 10_000_000
MAX_YAML_DEPTH: Final = 40
MAX_YAML_VALUES: Final = 400_000
TOO_DEEP: Final = f"nested deeper than {MAX_YAML_DEPTH} levels"
TOO_MANY: Final = f"more than {MAX_YAML_VALUES} values, each alias counted in full"
MAX_NUMBER_DIGITS: Final = 17
MAX_SHOWN_NAME: Final = 64

TAG: Final = "tag:yaml.org,2002:"
INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
DECIMAL = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")
TRUTH: Final = {"yes": True, "no": False, "true": True, "false": False, "on": True, "off": False}

NOT_PLAIN: Final = "a number in octal, base 60 or another notation of YAML: quote it, or write it in plain digits"
NOT_FINITE: Final = "a number that is not finite or not in plain digits: quote it, or write it in plain digits"
KEY_IS_TEXT: Final = "a key must be text: quote it (YAML reads yes, no, on, off and numbers as values)"
TAB: Final = "a tab: indent with spaces"
UNQUOTED: Final = "a ${…} without quotes, whose brace YAML reads as a mapping: quote the whole value"
SYNTAX: Final = (
    ("mapping values are not allowed", "a colon where none is expected: quote the value or check the indentation"),
    ("could not find expected ':'", "a key without its colon"),
    ("end of stream", "a quote that is not closed"),
    ("cannot start any token", "a character that cannot begin a value: quote the value"),
    ("undefined alias", "an alias whose anchor is not there"),
    ("duplicate anchor", "an anchor that stands here a second time"),
    ("single document", "a second document (---), where one is expected"),
    ("',' or ']'", "a bracket that is not closed"),
    ("',' or '}'", "a brace that is not closed"),
    ("escape", "an unknown escape: use single quotes"),
    ("block", "wrong indentation, or a dash or quote that is missing"),
    ("control characters", "a control character"),
    ("special characters", "a control character"),
    ("entries are not allowed", "a dash where none is expected: quote the value or check the indentation"),
)
"""What the parser says, in our words: its own may quote the text."""


class YamlError(Exception):
    """A text that is no plain YAML; the sentence says where (line and column count from 1) and what to do."""


def load_yaml(text: str | bytes) -> object:
    """Return the value of a YAML text (None for an empty one); raises `YamlError`."""
    if len(text) > MAX_CHARACTERS:
        raise YamlError(f"is longer than {MAX_CHARACTERS} characters: is it the right file?")
    try:
        decoded = text.decode("utf-8-sig") if isinstance(text, bytes) else text.removeprefix("\ufeff")
        _measured(decoded)
        root = yaml.compose(decoded, Loader=LOADER)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise _at(mark, _at_mark(decoded, mark) or _in_our_words(error)) from None
    except UnicodeError:
        raise YamlError("is not UTF-8 text") from None
    except (yaml.YAMLError, ValueError) as error:
        raise YamlError(f"holds {_in_our_words(error)}") from None
    return None if root is None else _Builder().value(root, 0)


def _measured(text: str) -> None:
    """Refuse a document that is too deep or too long before it is composed, which could overflow the C stack."""
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=LOADER)):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_YAML_DEPTH:
            raise _at(event.start_mark, TOO_DEEP)
        if count > MAX_YAML_VALUES:
            raise _at(event.start_mark, TOO_MANY)


def _at_mark(text: str, mark: Any) -> str | None:
    """Return what the place alone shows."""
    lines = text.splitlines()[mark.line :] if mark else []
    if not lines:
        return None
    before, after = lines[0][: mark.column], lines[0][mark.column :]
    variable = after.startswith("{") and before.endswith("$")
    return TAB if after.startswith("\t") else UNQUOTED if variable else None


def _in_our_words(error: Exception) -> str:
    said = str(getattr(error, "problem", error)) + str(getattr(error, "context", ""))
    return next((sentence for mark, sentence in SYNTAX if mark in said), "no valid YAML")


def _at(mark: Any, sentence: str) -> YamlError:
    return YamlError(f"line {mark.line + 1}, column {mark.column + 1}: {sentence}" if mark else sentence)


def _integer(text: str) -> int:
    if not INTEGER.fullmatch(text):
        raise ValueError(NOT_PLAIN)
    if len(text) > MAX_NUMBER_DIGITS:
        raise ValueError(f"a number of more than {MAX_NUMBER_DIGITS} digits: quote it")
    return int(text)


def _decimal(text: str) -> float:
    number = float(text) if DECIMAL.fullmatch(text) else math.inf
    if not math.isfinite(number):
        raise ValueError(NOT_FINITE)
    return number


def _truth(text: str) -> bool:
    try:
        return TRUTH[text.lower()]
    except KeyError:
        raise ValueError("neither true nor false") from None


SCALARS: Final[Mapping[str, Callable[[str], object]]] = {
    TAG + "str": str,
    TAG + "int": _integer,
    TAG + "float": _decimal,
    TAG + "bool": _truth,
    TAG + "null": lambda _: None,
    TAG + "timestamp": str,  # nothing here is a date: a date is the text as it was written
    TAG + "value": str,
}


class _Builder:
    """Nodes become values; aliases count at every place they stand, so that a few lines cannot make a million."""

    def __init__(self) -> None:
        self.left = MAX_YAML_VALUES

    def value(self, node: yaml.Node, depth: int) -> Any:
        self.left -= 1
        if self.left < 0:
            raise _at(node.start_mark, TOO_MANY)
        if depth > MAX_YAML_DEPTH:
            raise _at(node.start_mark, TOO_DEEP)
        if isinstance(node, yaml.MappingNode) and node.tag == TAG + "map":
            return self.mapping(node, depth)
        if isinstance(node, yaml.SequenceNode) and node.tag == TAG + "seq":
            return [self.value(part, depth + 1) for part in node.value]
        if not isinstance(node, yaml.ScalarNode) or node.tag not in SCALARS:
            raise _at(node.start_mark, "a tag (!…) that is not known here: remove it")
        try:
            return SCALARS[node.tag](node.value)
        except ValueError as error:
            raise _at(node.start_mark, str(error)) from None

    def mapping(self, node: yaml.MappingNode, depth: int) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            key = _key(key_node)
            if key in lines:
                raise _at(key_node.start_mark, f"the key `{shown(key)}` is already set on line {lines[key]}")
            lines[key] = key_node.start_mark.line + 1
            if key_node.tag == TAG + "merge":
                merged = self.merged(value_node, depth)
            else:
                own[key] = self.value(value_node, depth + 1)
        return {**merged, **own}

    def merged(self, node: yaml.Node, depth: int) -> dict[str, Any]:
        """The mapping behind a merge key, or a list of them of which the first that has a key wins."""
        parts = node.value if isinstance(node, yaml.SequenceNode) else [node]
        if not all(isinstance(part, yaml.MappingNode) for part in parts):
            raise _at(node.start_mark, "a merge key (<<) takes a mapping, or a list of mappings")
        together: dict[str, Any] = {}
        for part in reversed(parts):
            together |= self.value(part, depth + 1)
        return together


def _key(node: yaml.Node) -> str:
    if not isinstance(node, yaml.ScalarNode) or node.tag not in (TAG + "str", TAG + "merge"):
        raise _at(node.start_mark, KEY_IS_TEXT)
    return str(node.value)


def shown(key: str) -> str:
    """Return a key for a sentence: printable, short, and only its first word."""
    word = (key.split(maxsplit=1) or ["(empty)"])[0][:MAX_SHOWN_NAME]
    return "".join(letter if letter.isprintable() else "?" for letter in word) + ("…" if len(word) < len(key) else "")
