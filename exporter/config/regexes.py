r"""A rule's regular expression, run in time linear in the text: what a backend sends cannot hold the event loop.

It is read by Python's own parser, so what was written for `re` means the same, and is run by RE2, which never goes back
in a text. What RE2 has no means for is refused by its name: references to groups, looking around, possessive and atomic
groups, and repetitions of more than a thousand.

Rule 1: no sentence quotes the expression. Rule 2: `\b` knows ASCII words only, as RE2's; `\d`, `\s` and `\w` are
those of Unicode unless `(?a)` is given.
Source: https://github.com/google/re2/wiki/Syntax, and `re._parser` of CPython 3.11 to 3.13.
"""

import re
import re._constants as sre  # type: ignore[import-not-found]
import re._parser as parser  # type: ignore[import-not-found]
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar, Final

import re2

MAX_REPETITIONS: Final = 1_000
"""RE2's limit for one item."""

MAX_REGEX_BYTES: Final = 1 << 20
"""Bytes of a compiled expression: the largest that fits takes a tenth of a second for 2,000 characters, a usual one
microseconds."""

UNICODE_SPACE: Final = r"\t-\r\x1c-\x20\x{85}\p{Z}"
NOT_SPACE: Final = (
    r"\x00-\x08\x0e-\x1b\x21-\x{84}\x{86}-\x{9f}\x{a1}-\x{167f}\x{1681}-\x{1fff}\x{200b}-\x{2027}\x{202a}-\x{202e}"
    r"\x{2030}-\x{205e}\x{2060}-\x{2fff}\x{3001}-\x{10ffff}"
)
NOT_WORD: Final = (
    r"\p{M}\p{Pd}\p{Ps}\p{Pe}\p{Pi}\p{Pf}\p{Po}\p{S}\p{Z}\p{C}"
    r"\x{203f}\x{2040}\x{2054}\x{fe33}\x{fe34}\x{fe4d}-\x{fe4f}\x{ff3f}"
)
"""What is no letter, no number and no underscore, by its categories, for a class that holds more than that."""

UNICODE: Final[Mapping[Any, str]] = {
    sre.CATEGORY_DIGIT: r"\p{Nd}",
    sre.CATEGORY_NOT_DIGIT: r"\P{Nd}",
    sre.CATEGORY_SPACE: UNICODE_SPACE,
    sre.CATEGORY_NOT_SPACE: NOT_SPACE,
    sre.CATEGORY_WORD: r"\p{L}\p{N}_",
    sre.CATEGORY_NOT_WORD: NOT_WORD,
}
ASCII: Final[Mapping[Any, str]] = {
    sre.CATEGORY_DIGIT: r"\d",
    sre.CATEGORY_NOT_DIGIT: r"\D",
    sre.CATEGORY_SPACE: r"\t-\r\x20",
    sre.CATEGORY_NOT_SPACE: r"\x00-\x08\x0e-\x1f\x21-\x{10ffff}",
    sre.CATEGORY_WORD: r"\w",
    sre.CATEGORY_NOT_WORD: r"\W",
}
ANCHORS: Final[Mapping[Any, tuple[str, str]]] = {
    sre.AT_BEGINNING: (r"\A", "(?m:^)"),
    sre.AT_BEGINNING_STRING: (r"\A", r"\A"),
    sre.AT_END: (r"(?:\n?\z)", "(?m:$)"),
    sre.AT_END_STRING: (r"\z", r"\z"),
    sre.AT_BOUNDARY: (r"\b", r"\b"),
    sre.AT_NON_BOUNDARY: (r"\B", r"\B"),
}
"""Without and with the flag `m`. Python's `$` stands before a newline at the end, too."""

UNSUPPORTED_TEXTS: Final[Mapping[Any, str]] = {
    sre.ASSERT: "looks around, (?=…) or (?<=…)",
    sre.FAILURE: "looks around, (?!)",
    sre.ASSERT_NOT: "looks around, (?!…) or (?<!…)",
    sre.GROUPREF: "refers to a group, \\1 or (?P=…)",
    sre.GROUPREF_EXISTS: "asks for a group, (?(…)…)",
    sre.ATOMIC_GROUP: "has an atomic group, (?>…)",
    sre.POSSESSIVE_REPEAT: "repeats possessively, such as *+",
}


class UnsupportedRegexError(Exception):
    """Why an expression cannot be used: the rest of a sentence about it."""


class Regex:
    """A compiled expression. `search` returns the texts of its named groups, or None if it is not found."""

    def __init__(self, pattern: str) -> None:
        options = re2.Options()
        options.log_errors = False
        options.max_mem = MAX_REGEX_BYTES
        try:
            self._compiled = re2.compile(_translated(pattern), options)
        except re2.error:
            raise UnsupportedRegexError("is a regular expression that grows too large: repeat less") from None

    def search(self, text: str) -> dict[str, str | None] | None:
        """Return the named groups of the first match."""
        # A lone surrogate, which JSON can bring, has no UTF-8.
        found = self._compiled.search(text.encode("utf-8", "replace").decode())
        return None if found is None else dict(found.groupdict())


@lru_cache(maxsize=1024)
def regex(pattern: str) -> Regex:
    """Compile an expression, once; raises `UnsupportedRegexError`."""
    return Regex(pattern)


def _translated(pattern: str) -> str:
    """The expression as RE2 writes it; raises Irregular."""
    try:
        with warnings.catch_warnings(action="error"):
            parsed = parser.parse(pattern)
        return _Re2Writer(parsed.state).write(parsed, parsed.state.flags)
    except re.error as error:
        # Its own words may quote the pattern.
        raise UnsupportedRegexError(f"is no regular expression: see character {(error.pos or 0) + 1}") from None
    except (Warning, OverflowError, RecursionError):
        raise UnsupportedRegexError("is a regular expression that cannot be relied on: write it more simply") from None


class _Re2Writer:
    """Writes what Python's parser read. `flags`, passed downward: those that hold at a place."""

    def __init__(self, state: Any) -> None:
        self._names = {number: name for name, number in state.groupdict.items()}

    def write(self, items: Iterable[tuple[Any, Any]], flags: int) -> str:
        """A sequence, in a group of its own that says whether case counts."""
        body = "".join(self._item(what, value, flags) for what, value in items)
        return f"(?{'i' if flags & re.IGNORECASE else '-i'}:{body})"

    def _item(self, what: Any, value: Any, flags: int) -> str:
        if what in UNSUPPORTED_TEXTS:
            raise UnsupportedRegexError(
                f"{UNSUPPORTED_TEXTS[what]}, whose time has no bound: write it without, or as several rules"
            )
        return self._writers[what](self, value, flags)

    def _literal(self, value: int, _: int) -> str:
        return rf"\x{{{value:x}}}"

    def _not_literal(self, value: int, _: int) -> str:
        return rf"[^\x{{{value:x}}}]"

    def _any(self, _: None, flags: int) -> str:
        return "(?s:.)" if flags & re.DOTALL else "(?-s:.)"

    def _class(self, value: Sequence[tuple[Any, Any]], flags: int) -> str:
        parts = [_of_class(what, part, flags) for what, part in value if what is not sre.NEGATE]
        negated = "^" if value[0][0] is sre.NEGATE else ""
        return f"[{negated}{''.join(parts)}]"

    def _branch(self, value: tuple[None, Sequence[Any]], flags: int) -> str:
        return f"(?:{'|'.join(self.write(branch, flags) for branch in value[1])})"

    def _group(self, value: tuple[int | None, int, int, Any], flags: int) -> str:
        number, added, removed, inner = value
        written = self.write(inner, (flags | added) & ~removed)
        name = self._names.get(number)
        return f"(?P<{name}>{written})" if name is not None else written

    def _place(self, value: Any, flags: int) -> str:
        return ANCHORS[value][bool(flags & re.MULTILINE)]

    def _repeat(self, value: tuple[int, Any, Any], flags: int) -> str:
        least, most, inner = value
        endless = most is sre.MAXREPEAT
        if max(least, 0 if endless else most) > MAX_REPETITIONS:
            raise UnsupportedRegexError(
                f"repeats something more than {MAX_REPETITIONS} times: write + or *, or a smaller figure"
            )
        return f"{self.write(inner, flags)}{{{least},{'' if endless else int(most)}}}"

    def _lazy(self, value: tuple[int, Any, Any], flags: int) -> str:
        return f"{self._repeat(value, flags)}?"

    _writers: ClassVar[Mapping[Any, Callable[["_Re2Writer", Any, int], str]]] = {
        sre.LITERAL: _literal,
        sre.NOT_LITERAL: _not_literal,
        sre.ANY: _any,
        sre.IN: _class,
        sre.BRANCH: _branch,
        sre.SUBPATTERN: _group,
        sre.AT: _place,
        sre.MAX_REPEAT: _repeat,
        sre.MIN_REPEAT: _lazy,
    }


def _of_class(what: Any, value: Any, flags: int) -> str:
    if what is sre.RANGE:
        return rf"\x{{{value[0]:x}}}-\x{{{value[1]:x}}}"
    if what is sre.CATEGORY:
        return (ASCII if flags & re.ASCII else UNICODE)[value]
    return rf"\x{{{value:x}}}"
