"""Renders the Markdown of the runbook: headings, paragraphs, lists, tables, commands, links between its pages.

Rule 1: anything else becomes a paragraph, so that no text is lost; `markup` escapes all of it.
"""

import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import PurePosixPath
from typing import Final

from exporter.web.page.markup import Child, Markup, element, joined, text

INLINE: Final = re.compile(r"`(?P<code>[^`]+)`|\[(?P<text>[^\]]+)\]\((?P<page>[\w./#-]+)\)|\*\*(?P<strong>[^*]+)\*\*")
ITEM: Final = re.compile(r"(?:[-*]|\d{1,2}\.) ")
RULER: Final = re.compile(r"\|[-|: ]+\|")
DETAILS: Final = re.compile(r"<details><summary>(?P<summary>[^<]*)</summary>")
CODE_INDENT: Final = "    "


def markdown_html(source: str) -> Markup:
    """The elements of a page; a `<details>` section can be unfolded."""
    before, opened, rest = source.partition("<details>")
    if not opened:
        return joined(list(_blocks(source)))
    inside, _, after = rest.partition("</details>")
    head = DETAILS.match(opened + inside)
    summary = head["summary"] if head else "More"
    body = inside if head is None else inside[head.end() - len(opened) :]
    folded = element("details", element("summary", summary), *_blocks(body))
    return joined([*_blocks(before), folded, markdown_html(after)])


def _blocks(source: str) -> Iterator[Markup]:
    """A block consists of lines of one kind; an empty line ends it."""
    for blank, lines in groupby(source.splitlines(), key=lambda line: not line.strip()):
        if not blank:
            yield from _block(list(lines))


def _block(lines: list[str]) -> Iterator[Markup]:
    first = lines[0]
    if first.startswith("#"):
        level = len(first) - len(first.lstrip("#"))
        yield element(f"h{min(level, 6)}", _inline(first.lstrip("# ")))
        if lines[1:]:
            yield from _block(lines[1:])
    elif all(line.startswith(CODE_INDENT) for line in lines):
        yield element("pre", Markup("\n".join(text(line.removeprefix(CODE_INDENT)) for line in lines)))
    elif first.startswith("|"):
        yield _table(lines)
    elif ITEM.match(first):
        yield _list(lines)
    else:
        yield element("p", _inline(" ".join(line.strip() for line in lines)))


def _table(lines: list[str]) -> Markup:
    rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in lines if not RULER.fullmatch(line)]
    head = element("tr", [element("th", _inline(cell), scope="col") for cell in rows[0]])
    body = [element("tr", [element("td", _inline(cell)) for cell in row]) for row in rows[1:]]
    return element("div", element("table", element("thead", head), element("tbody", body)), class_="wide")


def _list(lines: list[str]) -> Markup:
    items: list[str] = []
    for line in lines:
        if ITEM.match(line):
            items.append(ITEM.sub("", line, count=1))
        else:
            items[-1] += f" {line.strip()}"
    name = "ol" if lines[0][0].isdigit() else "ul"
    return element(name, [element("li", _inline(item)) for item in items])


def _inline(source: str) -> Markup:
    return joined(list(_parts(source)))


def _parts(source: str) -> Iterator[Child]:
    at = 0
    for match in INLINE.finditer(source):
        yield source[at : match.start()]
        if match["code"]:
            yield element("code", match["code"])
        elif match["strong"]:
            yield element("strong", match["strong"])
        else:
            yield element("a", match["text"], href=PurePosixPath(match["page"]).stem)
        at = match.end()
    yield source[at:]
