"""The rules of docs/style.md#names that a machine can hold; tests/unit/test_layers.py holds the repository to them.

Each is a function from a `Repository` to sentences that name file and line.
"""

import ast
import builtins
import re
from collections import defaultdict

EXCEPTIONS = frozenset(
    name for name, value in vars(builtins).items() if isinstance(value, type) and issubclass(value, BaseException)
)
MAX_FILES_OF_A_CONSTANT = 2
WAIVER = "noqa: " + "N818"

# fmt: off
UNITS = frozenset({
    "SECONDS", "HOURS", "MS", "BYTES", "BITS", "CHARACTERS", "DIGITS", "LENGTH", "COLUMNS", "LINES", "UNITS", "PAGES",
    "CYCLES", "RESULTS", "FAILURES", "SESSIONS", "CONNECTIONS", "CONNECTS", "CALLS", "SIGHTINGS", "PASSES", "PARTS",
    "WRITES", "TRIES", "DESCRIPTORS", "FRAMES",
})
QUANTITIES = frozenset({
    "MAX", "MIN", "LARGEST", "COUNT", "FRACTION", "RATE", "SCALE", "LEVEL", "VERSION", "MODE", "ID", "CODE", "FD",
    "OFFSET", "POSITION", "BACKLOG", "WIDTH", "HEIGHT", "PITCH", "GAP", "PER",
})
# fmt: on
FOREIGN_NAMES = frozenset({"SO_TIMESTAMPNS"})
"""Constants that are called as their standard or the kernel calls them."""


def capitals(name):
    """True for `STOP_GRACE_SECONDS`, not for `Handler`, `T` or `__all__`."""
    return re.fullmatch(r"_?[A-Z][A-Z0-9_]+", name) is not None


def constants(tree):
    """(name, value, line) of each constant of a module that is written in capitals; type variables are none."""
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        value = getattr(node, "value", None)
        for target in targets if value is not None else ():
            if isinstance(target, ast.Name) and capitals(target.id):
                yield target.id, value, node.lineno


def numeric(node):
    """True for a number, and for what is computed from numbers and from named constants."""
    if isinstance(node, ast.UnaryOp):
        return numeric(node.operand)
    if isinstance(node, ast.BinOp):
        sides = (node.left, node.right)
        return all(numeric(side) or isinstance(side, ast.Name) for side in sides) and any(map(numeric, sides))
    return isinstance(node, ast.Constant) and type(node.value) in {int, float}


def classes(trees):
    """(path, class) of each class, nested ones too."""
    for path, tree in trees.items():
        yield from ((path, node) for node in ast.walk(tree) if isinstance(node, ast.ClassDef))


def bases(node):
    """The last part of the name of each base class."""
    return {ast.unparse(base).rpartition(".")[2] for base in node.bases}


def no_class_name_stands_twice(repository):
    """A class name is defined once in exporter/: a search for it leads to one place."""
    places = defaultdict(list)
    for path, node in classes(repository.packages):
        places[node.name].append(f"{path}:{node.lineno}")
    for name, found in places.items():
        if len(found) > 1:
            yield f"{found[1]}: the class {name} is defined in {found[0]}, too"


def no_constant_stands_in_many_files(repository):
    """A constant's name is defined in at most two files: three are one constant, or need names that differ."""
    places = defaultdict(list)
    for path, tree in repository.packages.items():
        for name in {name for name, _, _ in constants(tree)}:
            places[name].append(path)
    for name, found in places.items():
        if len(found) > MAX_FILES_OF_A_CONSTANT:
            yield f"{found[-1]}:1: {name} is defined in {', '.join(found[:-1])}, too"


def every_exception_is_an_error(repository):
    """An exception's name ends in `Error`, in tests too, and no line waives ruff's N818."""
    trees = {**repository.packages, **repository.tests}
    found, raised = list(classes(trees)), set(EXCEPTIONS)
    size = 0
    while size != len(raised):
        size = len(raised)
        raised |= {node.name for _, node in found if bases(node) & raised}
    for path, node in found:
        if bases(node) & raised and not node.name.endswith("Error"):
            yield f"{path}:{node.lineno}: the exception {node.name} does not end in `Error`"
    for path in trees:
        for number, line in enumerate((repository.root / path).read_text("utf-8").splitlines(), 1):
            if WAIVER in line:
                yield f"{path}:{number}: {WAIVER}: end the exception's name in `Error`"


def every_number_has_its_unit(repository):
    """A module's constant that is a number says its unit or its quantity: `STOP_GRACE_SECONDS`, `MAX_RUNS`."""
    for path, tree in repository.packages.items():
        for name, value, line in constants(tree):
            words = set(name.strip("_").split("_"))
            ratio = name.endswith("_ONE_IN")
            if numeric(value) and not ratio and name not in FOREIGN_NAMES and not words & (UNITS | QUANTITIES):
                yield f"{path}:{line}: {name} says no unit and no quantity: see tests/support/name_rules.py"


NAME_RULES = (
    no_class_name_stands_twice,
    no_constant_stands_in_many_files,
    every_exception_is_an_error,
    every_number_has_its_unit,
)

WRONG_NAMES = (
    (
        no_class_name_stands_twice,
        {"exporter/a.py": "class X: ...", "exporter/b.py": "class Y:\n class X: ..."},
        "exporter/b.py:2",
    ),
    (no_constant_stands_in_many_files, {f"exporter/{name}.py": "LIMIT: int = 1" for name in "abc"}, "exporter/c.py:1"),
    (
        every_exception_is_an_error,
        {"exporter/a.py": "class Trouble(http.BadError): ...\nclass BadError(OSError): ..."},
        "a.py:1",
    ),
    (
        every_exception_is_an_error,
        {"tests/a.py": "class Gone(Exception): ...  # " + WAIVER},
        "Gone",
        "tests/a.py:1: noqa",
    ),
    (every_number_has_its_unit, {"exporter/a.py": "MAX_RUNS = 3\nPATIENCE: Final = 2 * 3.0"}, "a.py:2: PATIENCE"),
)
"""For each rule: files that break it, and the words by which it names each place."""
