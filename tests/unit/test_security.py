"""SECURITY.md: every threat names the tests that hold it, and they are there."""

import ast
import re

import pytest
from support.paths import ROOT, TESTS

ROWS = [
    line.strip().strip("|").replace("\\|", "¦").split("|")
    for line in (ROOT / "SECURITY.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and not line.startswith(("| **", "| threat"))
]
FILES = {path.name: path for path in TESTS.glob("*/test_*.py")}
CITED = re.compile(r"`(test_\w+\.py)(?:::(\w+))?`")


def defined(file):
    """The names of a test file's tests, whatever its kind."""
    tree = ast.parse(FILES[file].read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_there_are_threats():
    """The table is read as a table."""
    assert len(ROWS) > 25
    assert all(len(row) == 3 for row in ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0].strip()[:60])
def test_a_threat_is_held_by_tests_that_are_there(row):
    """Each row cites at least one, and none that has gone."""
    cited = CITED.findall(row[2])
    assert cited, row[0]
    for file, name in cited:
        assert file in FILES, file
        assert not name or name in defined(file), f"{file}::{name}"
