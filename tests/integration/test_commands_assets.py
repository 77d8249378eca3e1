"""`assets` and `runbook`: the files that the package carries, written for a site, and shown on the terminal."""

import re
import subprocess

import pytest
from support.paths import ROOT
from support.realservers import binary

from exporter.__main__ import main
from exporter.commands.assets import FOLDER

RUNBOOK, DASHBOARD, STATUS = (
    "https://pages.test/ws/",
    "https://grafana.test/d/ours?orgId=2",
    "https://exporter.test/probes",
)
LINKS = (f"--runbook-url={RUNBOOK}", f"--dashboard-url={DASHBOARD}", f"--exporter-url={STATUS}")
PROMTOOL, AMTOOL = ("promtool", "prometheus"), ("amtool", "prometheus-alertmanager")


def files(folder):
    """Path below the folder → content."""
    return {
        path.relative_to(folder).as_posix(): path.read_text("utf-8") for path in folder.rglob("*") if path.is_file()
    }


def written(folder, *arguments):
    """What `assets` wrote there."""
    assert main(["assets", "--to", str(folder), *arguments]) == 0
    return files(folder)


def links(text):
    return re.findall(r'(?:_url: |"url": ")([^\s"]+)', text)


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        (PROMTOOL, ("check", "rules", "--lint=all", "--lint-fatal", "alerts.yml")),
        (PROMTOOL, ("check", "config", "deploy/prometheus.yml")),
        (PROMTOOL, ("check", "config", "deploy/prometheus-probe.yml")),
        (PROMTOOL, ("check", "config", "--agent", "deploy/prometheus-agent.yml")),
        (PROMTOOL, ("check", "rules", "deploy/sites/agreement.yml")),
        (PROMTOOL, ("check", "rules", "deploy/sites/origins.yml")),
        (AMTOOL, ("check-config", "deploy/alertmanager.yml")),
    ],
    ids=lambda value: value[-1] if isinstance(value, tuple) else value,
)
def test_what_is_written_is_accepted_by_what_reads_it(tmp_path, tool, arguments):
    """Prometheus' and Alertmanager's own tools accept the written files, with links filled in."""
    written(tmp_path, *LINKS)

    done = subprocess.run([binary(*tool), *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


def test_each_file_that_is_written_is_named_and_each_original_is_in_git(tmp_path, capsys):
    """One line per file; a file of the package is a link to its original, so no copy can differ."""
    there = written(tmp_path)

    assert sorted(capsys.readouterr().out.splitlines()) == sorted(f"wrote {tmp_path / name}" for name in there)
    assert {name: (ROOT / name).read_text("utf-8") for name in there} == there
    listed = subprocess.run(["git", "ls-files", "-s", FOLDER], cwd=ROOT, capture_output=True, text=True, check=True)
    assert {line.split()[0] for line in listed.stdout.splitlines()} == {"120000"}  # git's mode of a symbolic link


def test_every_placeholder_of_a_link_is_filled_in(tmp_path):
    """No link of a written file is a path or an example's; prose and the example targets stay as they are."""
    there = written(tmp_path, *LINKS)
    found = {name: links(text) for name, text in there.items() if name.endswith((".yml", ".yaml", ".json"))}
    rules = found["alerts.yml"]

    assert f"{RUNBOOK}WebSocketSendFailing.md" in rules
    assert f"{DASHBOARD}&var-target={{{{" in rules
    assert rules == found["deploy/kubernetes/base/prometheusrule.yaml"]
    assert f"{STATUS}/" in found["deploy/grafana/dashboards/ws-factory.json"]
    assert f"{RUNBOOK}${{__value.text}}.md" in found["deploy/grafana/dashboards/ws-factory.json"]
    assert [link for all_of_one in found.values() for link in all_of_one if "deploy/" in link] == []
    assert [name for name, text in there.items() if "grafana.example.com" in text] == ["deploy/grafana/README.md"]
    assert "deploy/runbook/README.md" in there["alerts.yml"]


def test_a_url_may_say_where_the_name_of_a_page_stands(tmp_path):
    """Pages of a site end in .html, or stand in a query."""
    rules = written(tmp_path, "--runbook-url=https://pages.test/runbook/{name}.html")["alerts.yml"]

    assert "https://pages.test/runbook/Watchdog.html" in links(rules)


@pytest.mark.parametrize("flag", ["--runbook-url", "--dashboard-url", "--exporter-url"])
@pytest.mark.parametrize("url", ["", "pages.test/x", "ftp://x", "https://", "https://a b", 'https://a"', "https://a#b"])
def test_a_url_that_would_break_a_file_is_refused(tmp_path, capsys, flag, url):
    """What cannot stand in YAML, JSON and a template as it is is wrong usage, and nothing is written."""
    with pytest.raises(SystemExit) as ended:
        main(["assets", "--to", str(tmp_path), f"{flag}={url}"])

    assert (ended.value.code, files(tmp_path)) == (2, {})
    assert f"{flag}: must be an http or https URL" in capsys.readouterr().err


def test_a_file_with_other_content_is_never_lost_by_accident(tmp_path, capsys):
    """It is named, and nothing is written; with --force it is replaced. A file of equal content is no hindrance."""
    first = written(tmp_path)
    mine = tmp_path / "deploy/alertmanager.yml"
    mine.write_text("mine", encoding="utf-8")
    (tmp_path / "alerts.yml").unlink()
    capsys.readouterr()

    assert main(["assets", "--to", str(tmp_path)]) == 1
    said = capsys.readouterr()
    assert f"other content: {mine}; add --force" in said.err
    assert (mine.read_text(), (tmp_path / "alerts.yml").exists(), said.out) == ("mine", False, "")

    assert written(tmp_path, "--force") == first
    said = capsys.readouterr().out.splitlines()
    assert {line for line in said if line.startswith("wrote ")} == {f"wrote {mine}", f"wrote {tmp_path / 'alerts.yml'}"}
    assert f"unchanged {tmp_path / 'deploy/prometheus.yml'}" in said


@pytest.mark.parametrize("taken", ["site", "site/deploy", "site/alerts.yml/x"])
def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path, capsys, taken):
    """A file in the place of a folder, or a folder in the place of a file, names the path."""
    path = tmp_path / taken
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("", encoding="utf-8")

    assert main(["assets", "--to", str(tmp_path / "site"), "--force"]) == 1
    assert capsys.readouterr().err.startswith(f"ws-factory-exporter: --to: {tmp_path / 'site'}")


def test_the_runbook_is_shown_as_it_is_written(capsys):
    """Each name that is listed is a page, and is printed whole."""
    assert main(["runbook"]) == 0
    names = capsys.readouterr().out.splitlines()
    assert names == sorted(path.stem for path in (ROOT / "deploy/runbook").glob("*.md"))

    for name in names:
        assert main(["runbook", name]) == 0
        assert capsys.readouterr().out == (ROOT / f"deploy/runbook/{name}.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("WebSocketSendFailling", "did you mean WebSocketSendFailing"),
        ("sendfailing", "did you mean WebSocketSendFailing?"),
        ("slots", "did you mean WebSocketFactorySlotsExhausted?"),
        ("qqq", "without a name, the command lists all pages"),
        ("", "without a name, the command lists all pages"),
    ],
)
def test_an_unknown_page_names_the_near_ones(capsys, name, hint):
    """A slip of the hand, and a part of a name in any case, lead to the page."""
    assert main(["runbook", name]) == 1
    said = capsys.readouterr()
    assert (said.out, f"there is no page {name!r}; {hint}" in said.err) == ("", True), said.err
