"""A rule that the code refers to is there: each reference to a page of docs/ leads to a heading of it."""

import ast
import re
from pathlib import Path

import pytest
from markdown.extensions.toc import slugify
from support.paths import ROOT

CITED = re.compile(r"\bdocs/(?P<page>[\w/.-]+\.md)(?:#(?P<heading>[\w-]+))?")
NAMED = re.compile(r"`((?:exporter|tests|deploy|docs)/[\w./-]*\w)`")
HEADING = re.compile(r"^#{1,6} (.+?)\s*$", re.MULTILINE)
ELSEWHERE = re.compile(
    r"\b[Dd]esign \d|\b[Pp]rotocol (?:page|\d)|\bissue \d|\b[Tt]urn \d|\bT[0-4]\b(?![\w:-])|\b[Tt]he seed\b"
    r"|\bRulings?\b|\brulings? (?:on|of|\d)"
)
"""Words of papers that are not in the repository."""
SOURCES = [
    path
    for folder, pattern in (("exporter", "*.py"), ("deploy", "*"), ("docs", "*.md"), (".", "*.md"), (".", "*.yml"))
    for path in sorted((ROOT / folder).glob(pattern) if folder == "." else (ROOT / folder).rglob(pattern))
    if path.is_file() and path.suffix in {".py", ".md", ".yml", ".yaml", ".service", ".default", ".socket"}
]
TESTS = [path for path in sorted((ROOT / "tests").rglob("*.py")) if path != Path(__file__)]
FAULTS = ROOT / "tests/data/faults.yml"


def headings(page):
    """The anchors of a page, as the site makes them."""
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    return {slugify(re.sub(r"[`*]", "", title), "-") for title in HEADING.findall(text)}


def places(pattern, paths):
    """File, line and match of a pattern."""
    for path in paths:
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            for found in pattern.finditer(line):
                yield f"{path.relative_to(ROOT)}:{number}", found


def test_each_reference_leads_to_a_heading():
    """The page is there, and the heading is on it."""
    cited = list(places(CITED, [*SOURCES, *TESTS, FAULTS]))
    broken = []
    for place, found in cited:
        page = ROOT / "docs" / found["page"]
        if not page.is_file() or (found["heading"] and found["heading"] not in headings(page)):
            broken.append(f"{place}: {found[0]}")

    assert len(cited) > 20
    assert broken == []


GUIDES = [ROOT / "CONTRIBUTING.md", ROOT / "ARCHITECTURE.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_each_file_that_is_named_is_there():
    """A path of the repository in a guide leads to a file or a folder."""
    named = list(places(NAMED, GUIDES))

    assert len(named) > 20
    assert [f"{place}: {found[1]}" for place, found in named if not (ROOT / found[1]).exists()] == []


def test_no_reference_leads_out_of_the_repository():
    """What was written elsewhere when the code was made cannot be read by those who read the code."""
    texts = [*SOURCES, *TESTS, FAULTS]

    assert [f"{place}: {found[0]}" for place, found in places(ELSEWHERE, texts)] == []


@pytest.mark.parametrize(
    "text",
    ["as design 4 says", "(protocol page section 7)", "see issue 3", "at T1.", "the seed", "ruling on 1013", "turn 12"],
)
def test_a_reference_out_of_the_repository_is_found(text):
    """The pattern knows the ways in which such papers were referred to."""
    assert ELSEWHERE.search(text)


NAMING = [ROOT / "CONTRIBUTING.md", ROOT / "ARCHITECTURE.md"]
QUOTED = re.compile(r"`([^`\n]+)`")
IN_FILE = re.compile(r"`(\w+)` of\s+`(\w[\w./-]+\.py)`")
FOREIGN = frozenset({"dist/", "v0.1.0"})
"""What a release makes: no file of the repository."""


def identifiers(path):
    """Every name that a Python file defines, uses or imports, and every string in it that is one word."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        for field in ("name", "id", "attr", "arg", "module", "value"):
            word = getattr(node, field, None)
            if isinstance(word, str):
                yield from word.split(".") if field in {"name", "module"} else [word]


PYTHON = {
    path: frozenset(identifiers(path))
    for folder in ("exporter", "tests", "deploy", "docs/site")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if path != Path(__file__)
}
KNOWN = frozenset().union(*PYTHON.values())
TARGETS = frozenset(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))


def is_there(quoted):
    """Whether what a guide quotes exists: `make` targets, paths (`<name>` is any name), modules and names of code."""
    if quoted in FOREIGN or quoted.startswith("["):
        return quoted in FOREIGN or quoted in (ROOT / "pyproject.toml").read_text("utf-8")
    if quoted.startswith("make "):
        return {*quoted.split()[1:]} <= TARGETS
    if " " in quoted:
        return all(is_there(word) for word in quoted.split() if "/" in word and not word.startswith((".venv/", "+")))
    if quoted.startswith(("/", "-")):
        return quoted in KNOWN or quoted.rstrip("/…") in {word.rstrip("/") for word in KNOWN}
    pattern = re.sub(r"<\w+>", "*", quoted)
    if any(any(folder.glob(pattern)) for folder in (ROOT, ROOT / "tests", *(ROOT / "tests").glob("*/"))):
        return True
    if "/" in quoted:
        return False
    return named_in_code(re.sub(r"[:=]$|\(\)$", "", quoted).split("."))


def named_in_code(parts):
    """Whether `metrics.storage` is a module, and `transport.Connection.read_delay` stands in one."""
    where = ROOT / "exporter"
    while parts and ((where / parts[0]).is_dir() or (where / f"{parts[0]}.py").is_file()):
        where = where / parts[0] if (where / parts[0]).is_dir() else where / f"{parts[0]}.py"
        parts = parts[1:]
    names = (
        KNOWN
        if where.name == "exporter"
        else frozenset().union(*(PYTHON[p] for p in PYTHON if p.is_relative_to(where)))
    )
    return set(parts) <= names


@pytest.mark.parametrize("guide", NAMING, ids=lambda path: path.name)
def test_each_name_in_a_guide_is_there(guide):
    """Files, targets of the Makefile, modules, classes and constants that a guide names exist."""
    text = re.sub(r"^```.*?^```|^    .*?$", "", guide.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    quoted = QUOTED.findall(text)

    assert len(quoted) > 50
    assert [name for name in quoted if not is_there(name)] == []


def test_each_name_that_a_guide_places_is_defined_in_that_file():
    """`NAME` of `path.py` leads to that file, and the file has the name."""
    placed = [found for guide in NAMING for found in IN_FILE.findall(guide.read_text("utf-8"))]

    assert len(placed) > 10
    assert [(name, path) for name, path in placed if name not in PYTHON[ROOT / path]] == []


@pytest.mark.parametrize(
    "gone",
    [
        "make everything",
        "exporter/attic.py",
        "tests/data/attic-<name>.yml",
        "metrics.attic",
        "transport.Attic",
        "ATTIC",
    ],
)
def test_a_name_that_is_gone_is_found(gone):
    """A name that nothing has is none."""
    assert not is_there(gone)
