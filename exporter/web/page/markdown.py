"""The Markdown of our own runbook as HTML: headings, paragraphs, lists, tables, commands, links between its pages.

Rule 1: what is none of these is a paragraph: nothing of a page is lost, and all of it is escaped by `markup`.
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


def markdown_html(written: str) -> Markup:
    """The elements of a page, one after the other; what is folded away there can be folded out here."""
    before, opened, rest = written.partition("<details>")
    if not opened:
        return joined(list(_blocks(written)))
    inside, _, after = rest.partition("</details>")
    head = DETAILS.match(opened + inside)
    summary = head["summary"] if head else "More"
    body = inside if head is None else inside[head.end() - len(opened) :]
    folded = element("details", element("summary", summary), *_blocks(body))
    return joined([*_blocks(before), folded, markdown_html(after)])


def _blocks(written: str) -> Iterator[Markup]:
    """A block is lines of one kind without an empty one between them; commands may have some."""
    for blank, lines in groupby(written.splitlines(), key=lambda line: not line.strip()):
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


def _inline(words: str) -> Markup:
    return joined(list(_parts(words)))


def _parts(words: str) -> Iterator[Child]:
    at = 0
    for found in INLINE.finditer(words):
        yield words[at : found.start()]
        if found["code"]:
            yield element("code", found["code"])
        elif found["strong"]:
            yield element("strong", found["strong"])
        else:
            yield element("a", found["text"], href=PurePosixPath(found["page"]).stem)
        at = found.end()
    yield words[at:]
