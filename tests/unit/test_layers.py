"""The repository keeps its plan (docs/style.md#code): layers, only-packages, sizes and names, a test for every package.

Each rule is a function from a `Repository` to sentences that name file and line. Each is held against the real one,
and against a small wrong one that it must refuse.
"""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache, cached_property
from pathlib import Path, PurePosixPath

import pytest
from support.name_rules import NAME_RULES, WRONG_NAMES
from support.paths import ROOT

LAYERS = (
    ("__main__",),
    ("commands",),
    ("daemon",),
    ("arguments", "loading", "oncall", "scheduler", "side_probes", "web", "standin"),
    ("probing",),
    ("session", "http_client"),
    ("transport", "resolver", "host", "files", "state", "log", "catalog"),
    ("threads",),
    ("metrics", "history", "report", "tokens", "plan", "discovery"),
    ("budget", "classify"),
    ("profiles",),
    ("config",),  # above `result`: its rules are written in result's words
    ("framing", "software"),
    ("result",),
    ("",),  # the package itself: a version, nothing else
)
LEVEL = {package: level for level, packages in enumerate(reversed(LAYERS)) for package in packages}
PURE = frozenset(
    package
    for packages in LAYERS[LAYERS.index(("metrics", "history", "report", "tokens", "plan", "discovery")) :]
    for package in packages
)

# fmt: off
IMPURE = frozenset({
    "aiohttp", "apscheduler", "asyncio", "concurrent", "fcntl", "glob", "http", "mmap", "multiprocessing", "os",
    "pathlib", "queue", "random", "sched", "secrets", "select", "selectors", "shutil", "signal", "socket",
    "socketserver", "ssl", "subprocess", "tempfile", "threading", "time", "uuid", "websockets",
})
# fmt: on
VALUES = frozenset({"pathlib.PurePath", "pathlib.PurePosixPath", "http.HTTPStatus", "websockets.frames.CloseCode"})
"""What any package may import of them: names that do nothing."""

ONLY = {
    "aiohttp": {
        "web",
        "standin",
        "exporter/session/http_request.py",
    },  # the request before the upgrade: loaded when one is sent
    "apscheduler": {"scheduler"},
    "bcrypt": {"web"},
    "re2": {"config"},
    "google": {"exporter/metrics/otlp.py"},
    "jwt": {"tokens"},
    "opentelemetry": {"exporter/metrics/otlp.py"},  # the extra `otlp`
    "prometheus_client": {"metrics", "web", "daemon"},
    "signal": {"commands"},
    "sqlite3": {"state"},
    "time": {
        "host",
        "transport",
        "log",
        "standin",
        "state",
        "files",
    },  # files: a file changed just now may change again
    "websockets": {"session", "standin"},
    "xmltodict": {"framing"},
}
DRIVERS = re.compile(
    r"websockets\.(connect|serve|unix_\w+|(asyncio|sync|legacy|trio)\b.*|client\.connect|server\.serve)"
)
"""What of `websockets` does I/O of its own: it stamps when the loop gets round to it, and drops what was unread."""
MAKERS = re.compile(r"prometheus_client\b.*\.(Counter|Gauge|Histogram|Summary|Info|Enum|REGISTRY|\w+MetricFamily)")

FUNCTION_LINES = 60
FILE_LINES = 500
EMPTY_NAMES = frozenset({"base", "common", "helper", "helpers", "misc", "util", "utils"})

KINDS = ("unit", "integration", "end_to_end", "deploy", "bench")
"""Folders of tests/ that hold test files; CONTRIBUTING.md says which file goes where."""

DRILL = "plays an incident on real servers in real time: its length is what is played"
PAUSES = {
    ("tests/backends/fastapi_app.py", "hello_of_a_cold_worker"): "a backend that is slow",
    ("tests/backends/jsonrpc_app.py", "refuse"): "a backend whose close follows its error in a segment of its own",
    ("tests/support/realservers.py", "until"): "polls a foreign process, which has no event for us, with a deadline",
    ("tests/drill/backends.py", "_pulse"): DRILL,
    ("tests/drill/backends.py", "_meet"): DRILL,
    ("tests/drill/drill.py", "_watched"): DRILL,
    ("tests/drill/drill.py", "_healthy"): DRILL,
    ("tests/drill/drill.py", "_hold"): DRILL,
    ("tests/drill/kinds.py", "begin"): DRILL,
    ("tests/drill/real.py", "one_stack"): DRILL,
    ("tests/drill/real.py", "_paged"): DRILL,
    ("tests/integration/test_web_hostile.py", "drip"): "a slow client is one that pauses",
    (
        "tests/deploy/test_alertmanager.py",
        "test_each_incident_is_one_notification_at_the_right_receiver",
    ): "nothing more must come: there is no event for that",
    ("tests/support/reloads.py", "in_session"): "runs on the loop of `virtual_clock`: its clock jumps",
    ("tests/support/sentinels.py", "_meet"): "runs on the loop of `virtual_clock`: its clock jumps",
    ("tests/support/weather.py", "days"): "runs on the loop of `virtual_clock`: its clock jumps",
    ("tests/support/schedules.py", "instant"): "runs on the loop of `virtual_clock`: its clock jumps",
    ("tests/support/alert_replay.py", "play"): "runs on the loop of `virtual_clock`: its clock jumps",
    ("tests/support/alert_replay.py", "act"): "runs on the loop of `virtual_clock`: its clock jumps",
}
"""Where a test may sleep: (file, function) and why. Elsewhere one waits for an event or a condition with a deadline;
files that import `virtual_clock` let its clock jump."""

MACHINE_PATH = re.compile(r"(?<![\w./~$-])/(?:work|home|root|Users|tmp|mnt)/[\w.]")
REGISTRY = re.compile(
    r"\bpypi\.(org|python)|\bpythonhosted\.|\bregistry\.[\w-]+\.\w|\bartifactory\b|https?://\S+/simple\b", re.IGNORECASE
)


@dataclass(frozen=True)
class Import:
    """One imported name, in full: `exporter.config.Profile`."""

    path: str
    line: int
    name: str

    @property
    def top(self) -> str:
        return self.name.partition(".")[0]

    @property
    def package(self) -> str | None:
        """The package of ours it comes from, "" for the package itself, None for what is not ours."""
        parts = self.name.split(".")
        if parts[0] != "exporter":
            return None
        return parts[1] if len(parts) > 1 and not parts[1].startswith("__version") else ""

    def breaks(self, words: str) -> str:
        return f"{self.path}:{self.line}: imports {self.name}: {words}"


class Repository:
    """The Python files of a repository, parsed; paths relative to its root."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @cached_property
    def packages(self) -> dict[str, ast.Module]:
        return self._parsed("exporter")

    @cached_property
    def tests(self) -> dict[str, ast.Module]:
        return self._parsed("tests")

    @cached_property
    def imports(self) -> list[Import]:
        return [found for path, tree in self.packages.items() for found in imports(path, tree)]

    def _parsed(self, folder: str) -> dict[str, ast.Module]:
        files = sorted((self.root / folder).rglob("*.py"))
        return {str(file.relative_to(self.root).as_posix()): ast.parse(file.read_text("utf-8")) for file in files}


@cache
def nodes(tree: ast.AST) -> tuple[ast.AST, ...]:
    """All nodes of a file: most rules look at all of them."""
    return tuple(ast.walk(tree))


def package_of(path: str) -> str:
    """`web` for exporter/web.py and for any file of exporter/web/."""
    return PurePosixPath(path).parts[1].removesuffix(".py").replace("__init__", "")


def imports(path: str, tree: ast.Module) -> Iterator[Import]:
    """Every import of a file, wherever it stands: lazy ones and those for type checkers too."""
    package = PurePosixPath(path).parts[:-1]
    for node in nodes(tree):
        if isinstance(node, ast.Import):
            yield from (Import(path, node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from (Import(path, node.lineno, f"{base}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and name_of(node.func).endswith(("import_module", "__import__")):
            texts = [part.value for part in node.args if isinstance(part, ast.Constant)]
            yield from (Import(path, node.lineno, str(text)) for text in texts)


def name_of(node: ast.AST) -> str:
    """`sys.exit` of the expression `sys.exit`; "" for what is no dotted name."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{name_of(node.value)}.{node.attr}"
    return ""


def kind_of(path: str) -> str:
    """`unit` for tests/unit/test_plan.py, "" for what stands right under tests/."""
    return "".join(PurePosixPath(path).parts[1:-1][:1])


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in nodes(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


# The rules --------------------------------------------------------------------------------------------------------


def imports_go_strictly_down(repository: Repository) -> Iterator[str]:
    """A package imports packages of lower layers only: no arrow upward, none sideways."""
    for found in repository.imports:
        own, other = package_of(found.path), found.package
        if other is None or other == own:
            continue
        if LEVEL.get(other, 99) >= LEVEL.get(own, 99):
            yield found.breaks(f"imports go strictly down, and `{other}` is not below `{own or 'the package'}`")


def every_package_has_its_layer(repository: Repository) -> Iterator[str]:
    """A new package needs a layer here and a sentence in ARCHITECTURE saying why no old one is its home."""
    for path in repository.packages:
        if package_of(path) not in LEVEL:
            yield f"{path}:1: the package `{package_of(path)}` has no layer in LAYERS"


def no_imports_in_a_circle(repository: Repository) -> Iterator[str]:
    """No two files of a package import each other, not even round a corner."""
    arrows: dict[str, set[str]] = {path: set() for path in repository.packages}
    for found in repository.imports:
        parts = found.name.split(".")
        files = (
            "/".join(parts[:end]) + ending for end in range(len(parts), 1, -1) for ending in (".py", "/__init__.py")
        )
        target = next((file for file in files if file in arrows), None)
        if target is not None:
            arrows[found.path].add(target)
    for path, targets in arrows.items():
        seen, waiting = set(), list(targets)
        while waiting:
            step = waiting.pop()
            if step not in seen:
                seen.add(step)
                waiting.extend(arrows[step])
        if path in seen:
            yield f"{path}:1: imports itself, by way of {sorted(step for step in seen if path in arrows[step])}"


def pure_packages_do_nothing(repository: Repository) -> Iterator[str]:
    """Packages from `metrics` down do no I/O and own no clock: they import nothing that could."""
    for found in repository.imports:
        if package_of(found.path) in PURE and found.top in IMPURE and found.name not in VALUES:
            yield found.breaks("a package from `metrics` down does no I/O, owns no clock and no chance")
    for path, tree in repository.packages.items():
        for node in nodes(tree) if package_of(path) in PURE else ():
            name = name_of(node)
            if re.search(r"\b(datetime|date)\.(now|utcnow|today)$", name):
                yield f"{path}:{node.lineno}: {name}: a package from `metrics` down gets the time as an argument"
            if isinstance(node, ast.Call) and name_of(node.func) in {"open", "input", "print"}:
                yield f"{path}:{node.lineno}: {name_of(node.func)}(): a package from `metrics` down does no I/O"


def each_library_has_its_packages(repository: Repository) -> Iterator[str]:
    """A library is known to the packages and files that `ONLY` names, and to no other."""
    for found in repository.imports:
        allowed = ONLY.get(found.top)
        knows = allowed is None or not allowed.isdisjoint({package_of(found.path), found.path})
        if allowed is not None and not knows and found.name not in VALUES:
            yield found.breaks(f"only {', '.join(sorted(allowed))} may know {found.top}")
        if DRIVERS.fullmatch(found.name):
            yield found.breaks("only the Sans-I/O core of websockets is used: the bytes and their stamps are ours")
        if MAKERS.match(found.name) and package_of(found.path) != "metrics":
            yield found.breaks("only `metrics` makes metrics")


def one_package_speaks_and_exits(repository: Repository) -> Iterator[str]:
    """Only `commands` and `__main__` print, exit and take signals."""
    forbidden = re.compile(r"print|exit|quit|sys\.exit|os\._exit|os\.abort|SystemExit|.*\.add_signal_handler")
    for path, tree in repository.packages.items():
        for node in nodes(tree) if package_of(path) not in {"__main__", "commands"} else ():
            called = node.func if isinstance(node, ast.Call) else node.exc if isinstance(node, ast.Raise) else None
            name = name_of(called) if called is not None else ""
            if forbidden.fullmatch(name):
                yield f"{path}:{node.lineno}: {name}: print, exits and signals stand in `commands`"


def every_package_opens_with_its_rules(repository: Repository) -> Iterator[str]:
    """The first lines of a package say what may not enter it."""
    for path, tree in repository.packages.items():
        first = path.endswith("/__init__.py") or path.count("/") == 1
        if first and package_of(path) and "Rule 1" not in (ast.get_docstring(tree) or ""):
            yield f"{path}:1: a package opens with its rules (`Rule 1: …`)"


def every_package_has_its_test(repository: Repository) -> Iterator[str]:
    """Tests mirror the packages: `metrics` has a test_metrics*.py in the folder of some kind."""
    names = [PurePosixPath(path).stem for path in repository.tests if kind_of(path) in KINDS]
    for package in sorted({package_of(path) for path in repository.packages} - {""}):
        wanted = f"test_{package.strip('_')}"
        if not any(name == wanted or name.startswith(f"{wanted}_") for name in names):
            yield f"exporter/{package}: no tests/<kind>/{wanted}.py"


def every_test_file_has_its_kind(repository: Repository) -> Iterator[str]:
    """A test file stands in the folder of its kind, and what several of them use stands in tests/support."""
    for path, tree in repository.tests.items():
        if PurePosixPath(path).name.startswith("test_") and kind_of(path) not in KINDS:
            yield f"{path}:1: a test file stands in one of tests/{', tests/'.join(KINDS)}"
        for found in imports(path, tree):
            if found.top.startswith("test_"):
                yield found.breaks("what several test files use stands in tests/support")


def nothing_is_too_long(repository: Repository) -> Iterator[str]:
    """No function is over 60 lines, no file over 500: a package that outgrows one becomes a folder."""
    for path in repository.packages:
        length = len((repository.root / path).read_text("utf-8").splitlines())
        if length > FILE_LINES:
            yield f"{path}:1: {length} lines, {FILE_LINES} at most"
    for path, tree in {**repository.packages, **repository.tests}.items():
        for function in functions(tree):
            length = (function.end_lineno or function.lineno) - function.lineno + 1
            if length > FUNCTION_LINES:
                yield f"{path}:{function.lineno}: {function.name} has {length} lines, {FUNCTION_LINES} at most"


def no_name_is_empty(repository: Repository) -> Iterator[str]:
    """No file or folder is named after nothing: no utils, base, helpers, common."""
    for path in [*repository.packages, *repository.tests]:
        for part in PurePosixPath(path).parts:
            if part.removesuffix(".py").strip("_").lower() in EMPTY_NAMES:
                yield f"{path}:1: `{part}` says nothing of what is in it"


def every_test_says_what_must_be_true(repository: Repository) -> Iterator[str]:
    """Each test function has a docstring: the sentence that must be true."""
    for path, tree in repository.tests.items():
        for function in functions(tree) if PurePosixPath(path).name.startswith("test_") else ():
            if function.name.startswith("test_") and not (ast.get_docstring(function) or "").strip().endswith("."):
                yield f"{path}:{function.lineno}: {function.name} does not say in a sentence what must be true"


def no_test_waits_by_sleeping(repository: Repository) -> Iterator[str]:
    """No test sleeps to wait for something; `sleep(0)`, a turn of the loop, is no sleep."""
    for path, tree in repository.tests.items():
        jumps = any(found.name == "support.virtual_clock" for found in imports(path, tree))
        permitted = [where for where in functions(tree) if (path, where.name) in PAUSES]
        for node in nodes(tree):
            name = name_of(node.func) if isinstance(node, ast.Call) else ""
            if name.rpartition(".")[2] != "sleep" or [ast.unparse(part) for part in node.args] == ["0"]:
                continue
            excused = any(where.lineno <= node.lineno <= (where.end_lineno or 0) for where in permitted)
            if not excused and not (jumps and name == "asyncio.sleep"):
                yield f"{path}:{node.lineno}: {name}: wait for an event or a condition, or say why in PAUSES"


def no_file_knows_this_machine(repository: Repository) -> Iterator[str]:
    """No file of the repository names a package registry or a path of the machine it was written on."""
    ignore = repository.root / ".gitignore"
    ignored = [".git", *(ignore.read_text("utf-8").replace("/", "").split() if ignore.exists() else ())]
    for file in _files(repository.root, ignored):
        path, text = file.relative_to(repository.root), file.read_text("utf-8", "replace")
        for what, pattern in (("a path of one machine", MACHINE_PATH), ("the host of a registry", REGISTRY)):
            for number, line in enumerate(text.splitlines() if pattern.search(text) else (), 1):
                if pattern.search(line):
                    yield f"{path.as_posix()}:{number}: {what}"


def _files(root: Path, ignored: list[str]) -> Iterator[Path]:
    """The files below a folder, without what is ignored, and without this one."""
    for folder, folders, files in os.walk(root):
        names = [name for name in (*folders, *files) if not any(fnmatch(name, pattern) for pattern in ignored)]
        folders[:] = sorted(set(folders).intersection(names))
        for file in (Path(folder, name) for name in sorted(set(files).intersection(names))):
            if file.is_file() and file != Path(__file__):
                yield file


RULES: tuple[Callable[[Repository], Iterator[str]], ...] = (
    imports_go_strictly_down,
    every_package_has_its_layer,
    no_imports_in_a_circle,
    pure_packages_do_nothing,
    each_library_has_its_packages,
    one_package_speaks_and_exits,
    every_package_opens_with_its_rules,
    every_package_has_its_test,
    every_test_file_has_its_kind,
    nothing_is_too_long,
    no_name_is_empty,
    every_test_says_what_must_be_true,
    no_test_waits_by_sleeping,
    no_file_knows_this_machine,
    *NAME_RULES,
)

REPOSITORY = Repository(ROOT)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_repository_keeps_the_rule(rule):
    """No file of the repository breaks the rule."""
    broken = list(rule(REPOSITORY))

    assert not broken, "\n".join([rule.__doc__, *broken])


RULED = '"""A package.\n\nRule 1: none."""\n'

LONG = "def f():\n" + "    x = 1\n" * 60
CIRCLE = {
    "exporter/web/a.py": "from exporter.web.b import x",
    "exporter/web/b.py": "from exporter.web import c",
    "exporter/web/c.py": "import exporter.web.a",
}

WRONG = (
    (imports_go_strictly_down, {"exporter/classify.py": "from exporter.metrics import x"}, "exporter/classify.py:1"),
    (imports_go_strictly_down, {"exporter/web/a.py": "x = 1\nfrom exporter import scheduler"}, "exporter/web/a.py:2"),
    (
        imports_go_strictly_down,
        {"exporter/result.py": "def f():\n import exporter.config.model"},
        "exporter/result.py:2",
    ),
    (imports_go_strictly_down, {"exporter/log.py": "from .state import State"}, "exporter/log.py:1"),
    (imports_go_strictly_down, {"exporter/web/a.py": "from ..daemon import main"}, "exporter/web/a.py:1"),
    (imports_go_strictly_down, {"exporter/host.py": "if TYPE_CHECKING:\n import exporter.web"}, "exporter/host.py:2"),
    (imports_go_strictly_down, {"exporter/plan.py": "import_module('exporter.daemon')"}, "exporter/plan.py:1"),
    (imports_go_strictly_down, {"exporter/__init__.py": "from exporter import result"}, "exporter/__init__.py:1"),
    (imports_go_strictly_down, {"exporter/plan.py": "from exporter import attic"}, "exporter/plan.py:1"),
    (every_package_has_its_layer, {"exporter/attic.py": ""}, "exporter/attic.py:1"),
    (no_imports_in_a_circle, CIRCLE, "exporter/web/a.py:1", "exporter/web/b.py:1", "exporter/web/c.py:1"),
    (pure_packages_do_nothing, {"exporter/plan/a.py": "import time"}, "exporter/plan/a.py:1"),
    (pure_packages_do_nothing, {"exporter/config/a.py": "from pathlib import Path, PurePath"}, "imports pathlib.Path:"),
    (pure_packages_do_nothing, {"exporter/history.py": "import os.path as p"}, "exporter/history.py:1"),
    (pure_packages_do_nothing, {"exporter/report.py": "x = datetime.now(UTC)"}, "exporter/report.py:1"),
    (pure_packages_do_nothing, {"exporter/report.py": "x = dt.date.today"}, "exporter/report.py:1"),
    (pure_packages_do_nothing, {"exporter/config.py": "open('x')"}, "exporter/config.py:1"),
    (each_library_has_its_packages, {"exporter/probing.py": "from websockets import frames"}, "exporter/probing.py:1"),
    (each_library_has_its_packages, {"exporter/daemon.py": "import aiohttp.web"}, "exporter/daemon.py:1"),
    (each_library_has_its_packages, {"exporter/session/a.py": "import aiohttp"}, "exporter/session/a.py:1"),
    (each_library_has_its_packages, {"exporter/standin/a.py": "import jwt"}, "exporter/standin/a.py:1"),
    (each_library_has_its_packages, {"exporter/session.py": "from time import monotonic"}, "exporter/session.py:1"),
    (
        each_library_has_its_packages,
        {"exporter/web/a.py": "from prometheus_client import Gauge"},
        "exporter/web/a.py:1",
    ),
    (each_library_has_its_packages, {"exporter/session.py": "from websockets import connect"}, "exporter/session.py:1"),
    (
        each_library_has_its_packages,
        {"exporter/session.py": "import websockets.asyncio.client"},
        "exporter/session.py:1",
    ),
    (each_library_has_its_packages, {"exporter/daemon.py": "import signal"}, "exporter/daemon.py:1"),
    (one_package_speaks_and_exits, {"exporter/daemon.py": "print(1)"}, "exporter/daemon.py:1"),
    (one_package_speaks_and_exits, {"exporter/daemon.py": "import sys\nsys.exit(1)"}, "exporter/daemon.py:2"),
    (one_package_speaks_and_exits, {"exporter/daemon.py": "raise SystemExit"}, "exporter/daemon.py:1"),
    (one_package_speaks_and_exits, {"exporter/daemon.py": "raise SystemExit(2)"}, "exporter/daemon.py:1"),
    (one_package_speaks_and_exits, {"exporter/daemon.py": "loop.add_signal_handler(2, f)"}, "exporter/daemon.py:1"),
    (every_package_opens_with_its_rules, {"exporter/web/__init__.py": '"""HTTP."""'}, "exporter/web/__init__.py:1"),
    (
        every_package_has_its_test,
        {"exporter/web/a.py": "", "tests/unit/test_website.py": "", "tests/support/test_web.py": ""},
        "tests/<kind>/test_web.py",
    ),
    (every_package_has_its_test, {"exporter/__main__.py": ""}, "tests/<kind>/test_main.py"),
    (
        nothing_is_too_long,
        {"exporter/web.py": LONG, "tests/a.py": LONG},
        "web.py:1: f has 61",
        "tests/a.py:1: f has 61",
    ),
    (nothing_is_too_long, {"exporter/web.py": "x = 1\n" * 501}, "exporter/web.py:1: 501 lines"),
    (
        every_test_file_has_its_kind,
        {"tests/test_a.py": "", "tests/support/test_b.py": ""},
        "test_a.py:1",
        "test_b.py:1",
    ),
    (every_test_file_has_its_kind, {"tests/unit/test_a.py": "from test_b import c"}, "tests/unit/test_a.py:1"),
    (no_name_is_empty, {"exporter/web/utils.py": "", "tests/common/a.py": ""}, "`utils.py`", "`common`"),
    (every_test_says_what_must_be_true, {"tests/test_a.py": "class T:\n def test_b(self): ..."}, "tests/test_a.py:2"),
    (every_test_says_what_must_be_true, {"tests/test_a.py": 'async def test_b():\n "B"'}, "tests/test_a.py:1"),
    (no_test_waits_by_sleeping, {"tests/support/harness.py": "def f():\n time.sleep(1)"}, "tests/support/harness.py:2"),
    (
        no_test_waits_by_sleeping,
        {"tests/support/harness.py": "async def f(x):\n await sleep(x)"},
        "tests/support/harness.py:2",
    ),
    (
        no_test_waits_by_sleeping,
        {"tests/support/harness.py": "from support import virtual_clock\ntime.sleep(1)"},
        "tests/support/harness.py:2",
    ),
    (no_file_knows_this_machine, {"deploy/a.yml": "\n- /ho" + "me/me/x"}, "deploy/a.yml:2"),
    (no_file_knows_this_machine, {"Makefile": "https://packages.example.com/sim" + "ple"}, "Makefile:1"),
    *WRONG_NAMES,
)


def build(root: Path, files: dict[str, str]) -> Repository:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, "utf-8")
    return Repository(root)


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong[0].__name__)
def test_a_repository_that_breaks_the_rule_is_refused(tmp_path, wrong):
    """The rule names each place of a wrong repository, and no other."""
    rule, files, *places = wrong

    broken = list(rule(build(tmp_path, files)))

    assert len(broken) == len(places)
    for place in places:
        assert any(place in sentence for sentence in broken), broken


def test_a_repository_that_keeps_the_rules_is_accepted(tmp_path):
    """What the rules permit is not refused: imports down, a neighbour in the package, values, one's own library."""
    right = {
        "exporter/__init__.py": '"""The package."""',
        "exporter/web/__init__.py": RULED + "from exporter import __version__\nfrom exporter.web.page import page",
        "exporter/web/page.py": "from aiohttp import web\nfrom exporter.result import Result\nfrom .text import escape",
        "exporter/web/text.py": "from http import HTTPStatus",
        "exporter/config.py": RULED + "from datetime import datetime\nfrom pathlib import PurePath\n"
        "def at(x):\n    return datetime.fromisoformat(x)\n" + "import exporter.result\n",
        "exporter/result.py": RULED,
        "exporter/__main__.py": RULED + "import sys\nfrom exporter import commands\nsys.exit(commands.run())",
        "exporter/commands/run.py": "import signal\nfrom exporter import daemon\nprint(1)",
        "exporter/commands/__init__.py": RULED,
        "exporter/daemon.py": RULED + "from prometheus_client import CollectorRegistry\nfrom exporter import web",
        ".gitignore": "*.egg-info/\n",
        "x.egg-info/SOURCES": "/ho" + "me/me/x",
        "tests/unit/test_web_pages.py": "from support import virtual_clock\ndef test_x():\n"
        ' """Is X."""\n sleep(0)\n asyncio.sleep(9)',
        **{
            f"tests/integration/test_{package}.py": "def helper(): ..."
            for package in ("config", "result", "main", "daemon", "commands")
        },
    }

    repository = build(tmp_path, right)

    assert [sentence for rule in RULES for sentence in rule(repository)] == []


def test_every_rule_has_a_case_that_breaks_it():
    """No rule is there that cannot fail."""
    assert {wrong[0] for wrong in WRONG} == set(RULES)


def test_the_architecture_lists_the_same_layers():
    """ARCHITECTURE.md has a row for each package, with the layer that it has here."""
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \|", (ROOT / "ARCHITECTURE.md").read_text("utf-8"), re.MULTILINE)

    assert {package: int(layer) for layer, package in rows} == {name: level for name, level in LEVEL.items() if name}


def test_every_pause_is_still_there():
    """The list of permitted sleeps holds no function that is gone."""
    there = {(path, function.name) for path, tree in REPOSITORY.tests.items() for function in functions(tree)}

    assert set(PAUSES) <= there


LOADED = "import sys, exporter.{package}; print(*sorted(sys.modules))"
OWN = {"jwt": {"tokens"}, "prometheus_client": {"metrics"}}
"""Libraries of pure packages; their own packages load them."""


@pytest.mark.parametrize("package", sorted({package_of(path) for path in REPOSITORY.packages} & PURE - {""}))
def test_a_pure_package_alone_loads_no_package_that_does_anything(package):
    """Importing a pure package in a fresh interpreter loads only packages below it, and no library of those above."""
    completed = subprocess.run(
        [sys.executable, "-c", LOADED.format(package=package)], capture_output=True, text=True, check=True
    )

    loaded = completed.stdout.split()
    ours = {name.split(".")[1] for name in loaded if name.startswith("exporter.")}
    above = {other for other in ours if LEVEL[other] >= LEVEL[package]} - {package}
    libraries = {name for name in loaded if name in {"aiohttp", "apscheduler", "websockets.client", *OWN}}
    permitted = {name for name, owners in OWN.items() if owners & ours}
    assert (above, libraries - permitted) == (set(), set())


def test_nothing_that_is_built_is_committed():
    """What .gitignore names is made by a target of the Makefile: in a commit it is a copy that ages."""
    command = ["git", "ls-files", "--cached", "--ignored", "--exclude-standard"]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines() == []
