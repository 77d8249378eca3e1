"""The documentation: it builds without a warning, takes nothing from another host, and agrees with the code."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from support.paths import ROOT

from exporter.arguments import parser
from exporter.catalog import CATALOG
from exporter.config import examine
from exporter.metrics import families
from exporter.profiles import BUILT_IN
from exporter.result import Ending, Software
from exporter.software import ServerBehaviour, ServerEvent

DOCS = ROOT / "docs"
sys.path.insert(0, str(DOCS / "site"))  # scripts, no package: they import each other by name

import alerts_page  # noqa: E402
import configuration_page  # noqa: E402
import generate  # noqa: E402
import metrics_page  # noqa: E402
import protocol_pages  # noqa: E402
import software_page  # noqa: E402

RESOURCE = re.compile(
    r"""<(?:script|img|iframe|source)\b[^>]*?\ssrc=["']?(?:https?:)?//[^"'\s>]+|<link\b[^>]*?rel=["']?(?:stylesheet|preload|preconnect)[^>]*?href=["']?(?:https?:)?//[^"'\s>]+"""
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the built site."""
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", folder],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


def test_the_site_has_a_page_for_each_document_and_each_alert(site):
    """Each page of docs/ and of the runbook is a page of the site, and so are the steps of a deployment."""
    written = [path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")]
    runbook = [Path("runbook", path.name) for path in (ROOT / "deploy" / "runbook").glob("*.md")]

    missing = [page for page in (*written, *runbook, Path("deployment.md")) if not _built(site, page).is_file()]

    assert written
    assert missing == []


def _built(site, page):
    return site / (page.with_name("index.html") if page.name == "README.md" else page.with_suffix(".html"))


def test_the_site_takes_nothing_from_another_host(site):
    """A page loads no script, style, font or picture from elsewhere: it can be read where the network is not."""
    foreign = {
        f"{page.relative_to(site)}: {found}"
        for page in site.rglob("*.html")
        for found in RESOURCE.findall(page.read_text("utf-8"))
    }

    assert foreign == set()
    assert RESOURCE.search('<script src="https://unpkg.com/iframe-worker/shim"></script>')


def behaviour(event, version="9.1, lib 2", seen="2026-11-30", **seen_of_it):
    return ServerBehaviour(Software.KESTREL, event, version, seen, **seen_of_it)


RAISES, NO_PATH = ServerEvent.RAISES_ON_MESSAGE, ServerEvent.WRONG_PATH
CELLS = {
    "a status": (NO_PATH, [behaviour(NO_PATH, status=404)], "HTTP 404"),
    "a lost connection": (RAISES, [behaviour(RAISES, code=1006, ending=Ending.RESET)], "1006 (RST)"),
    "a code in time": (RAISES, [behaviour(RAISES, code=1011, after=(3.0, 4.5))], "1011 after 3 to 4.5 s"),
    "a code soon": (RAISES, [behaviour(RAISES, code=1011, after=(0, 1))], "1011 within 1 s"),
    "no answer": (NO_PATH, [behaviour(NO_PATH, ending=Ending.FIN)], "no answer, FIN"),
    "silence ahead of the 101": (NO_PATH, [behaviour(NO_PATH)], "no answer at all"),
    "silence": (RAISES, [behaviour(RAISES)], "stays open"),
    "not run": (RAISES, [behaviour(RAISES, seen=None, code=1006)], "not run"),
    "no row": (RAISES, [behaviour(NO_PATH, status=404)], "not run"),
    "another version": (
        RAISES,
        [behaviour(NO_PATH), behaviour(RAISES, "9.1, lib 3", code=1000), behaviour(RAISES, code=1001)],
        "1001; lib 3: 1000",
    ),
}


@pytest.mark.parametrize(("event", "rows", "cell"), CELLS.values(), ids=CELLS)
def test_a_cell_says_what_its_rows_have(event, rows, cell):
    """Each row of `exporter.software` in a few words; without a row, or with one that was not run, `not run`."""
    assert software_page.cell_of(software_page.rows_of(rows), Software.KESTREL, event) == cell


@pytest.mark.parametrize("name", generate.PAGES)
def test_a_generated_page_is_what_the_code_says(name):
    """`make docs-pages` would change nothing."""
    assert (DOCS / name).read_text("utf-8") == generate.PAGES[name](), "run: make docs-pages"


def test_every_setting_has_a_meaning():
    """Each field of each model has its line in meanings.yml, and each line its field."""
    assert sorted(configuration_page.keys()) == sorted(configuration_page.MEANINGS)


def test_every_label_value_has_a_meaning():
    """Each value of a closed list has its line in label_values.yml, and each line its value."""
    known = {name: list(map(str, values)) for name, values in metrics_page.CLOSED_LISTS.items()}

    assert {name: list(meanings) for name, meanings in metrics_page.VALUES.items()} == known


def test_every_family_says_when_it_is_absent():
    """Each family has its sentence, and no other has one."""
    assert set(metrics_page.ABSENT) == set(families.ALL)


@pytest.mark.parametrize(("severity", "waits"), [("page", "an outage of cause `slots`"), ("ticket", "nothing")])
def test_an_outage_that_only_holds_an_alert_back_is_not_waited_for(severity, waits):
    """The page for slots waits for an outage; the ticket, which an outage holds back, fires with the first refusal."""
    section = alerts_page.alerts_page().partition("## WebSocketFactorySlotsExhausted\n")[2].partition("\n## ")[0]
    rule = section.partition(f"**{severity.capitalize()}.**")[2]

    assert f"| waits for | {waits}" in rule.partition("| muted by")[0]


@pytest.mark.parametrize("name", protocol_pages.TEXTS)
def test_the_config_on_the_page_of_a_protocol_is_good(name):
    """It is taken as it is, and each built-in protocol has a page."""
    examined = examine(yaml.safe_load(protocol_pages.example(name)), CATALOG)

    assert examined.problems == ()
    assert {*protocol_pages.TEXTS, *BUILT_IN} == set(CATALOG)


EXAMPLES = [
    example
    for name in ("profiles.md", "protocols/examples.md")
    for example in re.findall(r"```yaml\n# example: (\w+)\n(.*?)```", (DOCS / name).read_text("utf-8"), re.DOTALL)
]


@pytest.mark.parametrize(("name", "text"), EXAMPLES, ids=[name for name, _ in EXAMPLES])
def test_an_example_of_a_profile_is_a_good_config(name, text):
    """The check of the config finds nothing wrong with it."""
    examined = examine(yaml.safe_load(text), BUILT_IN)

    assert examined.problems == ()
    assert name in examined.good.config.profiles


def test_each_profile_that_a_real_server_is_held_to_is_on_the_page_of_examples():
    """The page is made of the file that the tests read, and leaves none of it out."""
    written = yaml.safe_load(protocol_pages.EXAMPLES_FILE.read_text("utf-8"))

    assert list(protocol_pages.EXAMPLE_TEXTS) == list(written)


README = (ROOT / "README.md").read_text("utf-8")
COMMANDS = re.findall(r"^    \.venv/bin/ws-factory-exporter (.*?)(?:\s+#.*)?$", README, re.MULTILINE)


def test_the_readme_is_short():
    """At most 120 lines: what is longer is a page of docs/."""
    assert len(README.splitlines()) <= 120


def test_the_config_of_the_readme_is_good_and_of_a_backend_that_is_not_built_in():
    """What a reader copies first is taken as it is."""
    (text,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)

    examined = examine(yaml.safe_load(text), BUILT_IN)

    assert examined.problems == ()
    assert {target.profile for target in examined.good.config.targets}.isdisjoint(BUILT_IN)


def test_the_commands_of_the_readme_are_taken():
    """Our parser takes each of them, flag by flag."""
    assert {parser().parse_args(shlex.split(line)).command for line in COMMANDS} == {"demo", "run", "check", "init"}


def test_each_link_of_the_readme_leads_to_a_file():
    """A page that the README names is there."""
    links = re.findall(r"\]\(([^)#:]+)\)", README)

    assert len(links) > 10
    assert [link for link in links if not (ROOT / link).exists()] == []
