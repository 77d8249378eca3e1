"""The runbook: a page for every alert, of one form, whose commands run and whose metrics exist; and its front page."""

import asyncio
import re
import shlex
import subprocess

import promql_parser as promql
import pytest
import yaml
from support.alert_rules import unknown
from support.paths import ROOT
from support.realservers import alertmanager, binary

from exporter.arguments import parser
from exporter.metrics import families
from exporter.report.causes import Alert
from exporter.result import Software
from exporter.software import PROXY_BEHAVIOURS, SERVER_BEHAVIOURS, ProxyEvent, ServerEvent

FOLDER = ROOT / "deploy/runbook"
FRONT = FOLDER / "README.md"
TABLES = FOLDER / "servers.md"
"""What the pages of the alerts lead to: who answered, and who closes how; made by `make docs-pages`."""
PAGES = sorted(path for path in FOLDER.glob("*.md") if path not in (FRONT, TABLES))
RULES = [rule for group in yaml.safe_load((ROOT / "alerts.yml").read_text())["groups"] for rule in group["rules"]]
ALERTS = {rule["alert"] for rule in RULES if "alert" in rule}
TABLE = yaml.safe_load((ROOT / "tests/data/signatures.yml").read_text())
SECTIONS = ["## Meaning", "## Impact", "## Diagnosis", "## Mitigation"]
OF_OTHERS = {"process_resident_memory_bytes", "process_cpu_seconds_total"}
MOST_WORDS = 450

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)


def commands(text):
    """The lines to be typed, as words of a shell."""
    return [shlex.split(line) for line in re.findall(r"^ {4}(\S.*)$", text, re.MULTILINE)]


def test_every_alert_has_a_page_and_every_page_an_alert():
    """One to one, by name."""
    assert {page.stem for page in PAGES} == ALERTS


def test_check_points_to_pages_that_are_there():
    """What `check` names is an alert with a page."""
    assert {alert.value for alert in Alert} <= ALERTS


@each_page
def test_a_page_has_the_form_that_is_found_at_night(page):
    """Title, then Meaning, Impact, Diagnosis, Mitigation; short enough for a minute, longer context folded away."""
    text = page.read_text()
    assert text.startswith(f"# {page.stem}\n")
    assert re.findall(r"^## .*$", text, re.MULTILINE) == SECTIONS
    shown = re.sub(r"<details>.*</details>", "", text, flags=re.DOTALL)
    assert len(re.sub(r"^ {4}.*$", "", shown, flags=re.MULTILINE).split()) <= MOST_WORDS
    assert not re.search(r"(?<!example)\.(ai|com|io)\b", text)


@each_page
def test_the_diagnosis_of_a_target_begins_with_our_command(page):
    """`check` first, for what has a target; the exporter's own pages ask the exporter, Prometheus and Alertmanager."""
    diagnosis = page.read_text().partition("## Diagnosis")[2]
    first = commands(diagnosis)[0]
    own = page.stem.startswith("WebSocketExporter") or page.stem in ("Watchdog", "WebSocketProbeDistorted")
    unplanned = page.stem in ("WebSocketProbeNeverRan", "WebSocketProbeBudgetSkips")
    if not own and not unplanned:
        assert first[:6] == ["ws-factory-exporter", "check", "--config.file", "exporter.yml", "--target", "staging"]
    assert first[0] in ("ws-factory-exporter", "curl", "promtool")


@each_page
def test_the_commands_of_a_page_run(page):
    """Ours are parsed by our parser, queries by a parser of PromQL, and the rest are known programs."""
    for words in commands(page.read_text()):
        if words[0] == "ws-factory-exporter":
            assert parser().parse_args(words[1:]).command in ("check", "run")
        elif words[:3] == ["promtool", "query", "instant"]:
            expression = promql.parse(words[4])
            named = re.findall(r"\b(?:ws|process)_\w+", words[4])
            assert len(words) == 5
            assert list(unknown(expression)) == []
            assert set(named) - OF_OTHERS <= {family.name for family in families.ALL}
        else:
            assert words[0] in ("curl", "amtool", "timedatectl") or words[:3] == ["promtool", "check", "config"]


async def test_the_commands_to_alertmanager_run(tmp_path):
    """Each `amtool` line of the runbook, against a real Alertmanager."""
    lines = [words for page in PAGES for words in commands(page.read_text()) if words[0] == "amtool"]
    assert len(lines) >= 2
    async with alertmanager((ROOT / "deploy/alertmanager.yml").read_text(), tmp_path) as url:
        for words in lines:
            real = [word.replace("http://alertmanager:9093", url) for word in words[1:]]
            program = binary("amtool", "prometheus-alertmanager")
            done = await asyncio.to_thread(
                subprocess.run, [program, *real], capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr


def test_the_config_that_a_page_checks_is_the_one_we_ship():
    """`promtool check config`, as it stands on the page."""
    lines = [words for page in PAGES for words in commands(page.read_text()) if words[:2] == ["promtool", "check"]]
    assert lines
    for words in lines:
        done = subprocess.run(
            [binary("promtool", "prometheus"), *words[1:]], cwd=ROOT, capture_output=True, check=False
        )
        assert done.returncode == 0


@pytest.mark.parametrize("page", [*PAGES, FRONT], ids=lambda path: path.stem)
def test_every_metric_and_alert_that_is_named_exists(page):
    """In the text too."""
    text = page.read_text()
    names = {re.sub(r"_(bucket|sum|count)$", "", name) for name in re.findall(r"`(ws_\w+)`", text)}
    assert names <= {family.name for family in families.ALL}
    assert set(re.findall(r"`(WebSocket\w+)`", text)) <= ALERTS


def short(alert):
    """An alert as the table of the front page writes it, with a link."""
    name, _, severity = alert.partition("/")
    return f"[{name.removeprefix('WebSocket')}]({name}.md) {'page' if severity == 'critical' else 'ticket'}"


def rows_of_the_front_page():
    """The table as Markdown."""
    yield "| what happened | notifies | in its text | fires too, muted |"
    yield "|---|---|---|---|"
    for row in TABLE["incidents"]:
        muted = ", ".join(short(alert) for alert in row["firing"] if alert != row["notify"])
        words = ", ".join(f"`{word}`" for word in row["text"])
        yield f"| {row['what']} | {short(row['notify'])} | {words} | {muted} |"


def rows_that_stay_quiet():
    """The second table."""
    yield "| what happened | remark |"
    yield "|---|---|"
    yield from (f"| {row['what']} | {row.get('note', '')} |" for row in TABLE["quiet"])


@pytest.mark.parametrize("rows", [rows_of_the_front_page, rows_that_stay_quiet])
def test_the_front_page_holds_the_table(rows):
    """What the incidents are tested against is what the reader sees; paste what is missing."""
    wanted = "\n".join(rows())
    assert wanted in FRONT.read_text(), f"deploy/runbook/README.md lacks:\n{wanted}"


def test_the_front_page_lists_every_alert():
    """Each page is linked."""
    linked = set(re.findall(r"\((\w+)\.md\)", FRONT.read_text()))
    assert linked == ALERTS | {TABLES.stem}


@pytest.mark.parametrize("alert", ["ConnectFailing", "SendFailing", "InternalErrorSpike", "ServerRestarting"])
def test_a_page_whose_causes_depend_on_the_server_leads_to_the_tables(alert):
    """By a link, which the exporter's own site and the built one follow."""
    assert "[Servers and proxies](servers.md)" in (FOLDER / f"WebSocket{alert}.md").read_text()


SAID = [
    *((server, ServerEvent.RAISES_ON_MESSAGE, 1006) for server in ("uvicorn", "aiohttp", "tornado", "gorilla", "axum")),
    *((server, ServerEvent.RAISES_ON_MESSAGE, 1011) for server in ("hypercorn", "daphne", "websockets")),
    ("sanic", ServerEvent.RAISES_ON_MESSAGE, 1000),
    ("granian", ServerEvent.RAISES_ON_MESSAGE, 1005),
    ("uvicorn", ServerEvent.STOPPED, 1012),
    ("hypercorn", ServerEvent.STOPPED, 1011),
    ("sanic", ServerEvent.STOPPED, 1000),
    *((server, ServerEvent.STOPPED, 1006) for server in ("daphne", "tornado", "granian")),
    ("caddy", ProxyEvent.RELOADED, 1001),
    ("caddy", ProxyEvent.STOPPED, 1001),
    ("envoy", ProxyEvent.NO_UPGRADE, 403),
    ("granian", ServerEvent.RAISES_BEFORE_ACCEPT, 403),
    ("nginx", ProxyEvent.NO_UPGRADE, 426),
    ("nginx", ProxyEvent.NO_UPGRADE, 505),
    ("varnish", ProxyEvent.BACKEND_REFUSES, None),
    ("gorilla", ServerEvent.RAISES_BEFORE_ACCEPT, None),
]
"""What the pages of the alerts say of single programs: the status or the close code of an event."""


@pytest.mark.parametrize(("program", "event", "number"), SAID, ids=str)
def test_what_the_pages_say_of_a_program_is_what_the_tables_have(program, event, number):
    """A row that a new version changes is a sentence to change."""
    rows = {
        *((row.server, row.event, row.code or row.status) for row in SERVER_BEHAVIOURS if row.seen),
        *((row.proxy, row.event, row.code or row.status) for row in PROXY_BEHAVIOURS if row.seen),
    }

    assert (Software(program), event, number) in rows
