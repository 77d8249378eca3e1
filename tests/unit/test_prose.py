"""Prose keeps the vocabulary of docs/style.md#prose: comments, texts and documents use no word of the ban list.

Vale's package on PyPI brings no binary along, so the check is our own.
"""

import ast
import io
import re
import tokenize

import pytest
from support.paths import ROOT

from exporter.arguments import parser

BANNED = {
    r"houses?": "repository, package, project",
    r"rooms|(?:an?|the|each|every|this|that|one|own|pure|its) rooms?(?! (?:for|to)\b)|room's": "package, module",
    r"floors?": "layer, minimum",
    r"told": "sent, reported, shown, recorded, set",
    r"anew": "again",
    r"mend(?:s|ed|ing)?": "repair, correct, recover",
    r"dear(?:er)?": "expensive",
    r"bears?": "has, tolerates, permits",
    r"(?:lets?|letting) (?:it |them )?go": "closes, disconnects, releases",
    r"whoever": "a client that …, the caller that …",
    r"so many": "the number itself, or its name",
    r"of ours": "our …, the exporter's …",
    r"nobody's": "what it is, without an owner",
}
"""Pattern: what to write instead. `room for`, `room in` of a budget is plain English and stays."""
FINDERS = {
    re.compile(rf"\b(?:{pattern})(?!\w)".replace(" ", r"\s+"), re.IGNORECASE): instead
    for pattern, instead in BANNED.items()
}

PYTHON = sorted((ROOT / "exporter").rglob("*.py"))
DOCUMENTS = [
    *(path for path in sorted(ROOT.glob("*.md")) if path.name != "CHANGELOG.md"),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "deploy").rglob("*.md")),
    ROOT / "alerts.yml",
]


def texts(source):
    """(line, text) of each run of comment lines and of each string of a Python file, docstrings and messages alike."""
    comments = {}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            comments[token.start[0]] = token.string.lstrip("#")
    for number, text in comments.items():
        if number - 1 not in comments:
            run = [text]
            while number + len(run) in comments:
                run.append(comments[number + len(run)])
            yield number, "\n".join(run)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def found(text, first=1):
    """A sentence for each banned word of a text whose first line has the number `first`."""
    for finder, instead in FINDERS.items():
        for match in finder.finditer(text):
            word = " ".join(match[0].split())
            yield f"{first + text.count(chr(10), 0, match.start())}: `{word}`: write {instead}"


def breaches(path):
    """A sentence for each banned word of a file."""
    name, source = path.relative_to(ROOT).as_posix(), path.read_text("utf-8")
    pieces = texts(source) if path.suffix == ".py" else [(1, source)]
    return [f"{name}:{sentence}" for first, text in pieces for sentence in found(text, first)]


def test_prose_has_no_banned_word():
    """No package, guide, page or alert has one."""
    broken = [sentence for path in (*PYTHON, *DOCUMENTS) for sentence in breaches(path)]

    assert broken == [], "\n".join(broken)


def test_help_has_no_banned_word():
    """What --help prints, of each command."""
    commands = next(action.choices for action in parser()._actions if action.dest == "command")
    helps = {name: command.format_help() for name, command in commands.items()}

    assert {"run", "check"} <= set(helps)
    assert [f"{name} --help:{sentence}" for name, text in helps.items() for sentence in found(text)] == []


@pytest.mark.parametrize(
    "text",
    [
        "# a rule of\n# the house",
        '"""The room knows."""',
        "x = f'is told {y}'",
        'x = (\n "it lets "\n "go of it")',
        "# Whoever asks",
        '"""Ages below\n    so\n    many seconds."""',
        "# a defect of ours",
    ],
)
def test_a_banned_word_is_found(text):
    """In comments, docstrings and messages, over line breaks too."""
    assert [sentence for first, piece in texts(text) for sentence in found(piece, first)]


@pytest.mark.parametrize(
    "text", ["# no room for it in the budget", "house = room(floor)", "# Bearer, towards, recommended", "x.told()"]
)
def test_plain_words_and_identifiers_are_no_breach(text):
    """A word in another word, an identifier, and what is not a metaphor."""
    assert [sentence for first, piece in texts(text) for sentence in found(piece, first)] == []
