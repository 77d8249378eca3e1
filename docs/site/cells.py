"""Tables of Markdown, and texts that are safe in a cell of one."""

from collections.abc import Iterable, Sequence
from typing import Final

GENERATED: Final = "<!-- Made by `make docs-pages` from the code; tests/deploy/test_docs.py compares the two. -->"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; cells are Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def code(text: str) -> str:
    """A word as code, in a cell or a sentence."""
    return f"`{text.replace('|', chr(92) + '|')}`" if "`" not in text else plain(text)


def codes(texts: Iterable[str]) -> str:
    """Words as code, in a row."""
    return ", ".join(map(code, texts))


def plain(text: str) -> str:
    """A text as it is, in a cell: no character of it is Markdown or markup."""
    for special in "\\`*_<[|":
        text = text.replace(special, f"\\{special}")
    return text


def page(title: str, *parts: str) -> str:
    """A generated page."""
    return "\n\n".join([GENERATED, f"# {title}", *parts]) + "\n"
