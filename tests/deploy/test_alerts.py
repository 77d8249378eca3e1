"""The alert rules and Prometheus' example config: valid, linted, each alert with a case that fires and one not.

On Debian 12's promtool and on that of Prometheus 3; and with a label more on what the rules make.
"""

import re
import subprocess

import pytest
import yaml
from engines.labelled import KINDS, case_expecting, labelled
from support.paths import ROOT
from support.realservers import binary, newer

CASES = sorted(path.name for path in (ROOT / "tests/data").glob("alerts-*.yml"))
GROUPS = yaml.safe_load((ROOT / "alerts.yml").read_text())["groups"]
ALERTS = [rule for group in GROUPS for rule in group["rules"] if "alert" in rule]
ALWAYS = "Watchdog"


PROGRAMS = {
    "installed": lambda: binary("promtool", "prometheus"),
    "prometheus-3": lambda: newer("promtool", "sid"),
}
each_promtool = pytest.mark.parametrize("program", PROGRAMS)


def promtool(*arguments, program="installed"):
    return subprocess.run(
        [PROGRAMS[program](), *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, check=False
    )


@each_promtool
def test_the_rules_are_valid_and_linted(program):
    """`promtool check rules --lint=all --lint-fatal` is clean."""
    checked = promtool("check", "rules", "--lint=all", "--lint-fatal", "alerts.yml", program=program)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_example_config_is_valid_and_names_the_job_of_the_rules():
    """`promtool check config` is clean, and every `job` in a rule is the one that is scraped."""
    checked = promtool("check", "config", "deploy/prometheus.yml")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    jobs = {job["job_name"] for job in yaml.safe_load((ROOT / "deploy/prometheus.yml").read_text())["scrape_configs"]}
    named = {job for rule in ALERTS for job in re.findall(r'job="([^"]+)"', rule["expr"])}
    assert named == jobs == {"ws-factory-exporter"}


def test_the_example_of_a_probe_is_valid_and_no_job_of_the_rules():
    """`promtool check config` is clean, and its job is another than the one whose scrapes the rules judge."""
    checked = promtool("check", "config", "deploy/prometheus-probe.yml")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    (job,) = yaml.safe_load((ROOT / "deploy/prometheus-probe.yml").read_text())["scrape_configs"]
    assert job["job_name"] not in (ROOT / "alerts.yml").read_text()
    assert job["metrics_path"] == "/probe"


@each_promtool
@pytest.mark.parametrize("case", CASES)
def test_the_rules_fire_and_stay_silent_as_their_cases_say(case, program):
    """`promtool test rules`, annotations included."""
    tested = promtool("test", "rules", f"tests/data/{case}", program=program)
    assert tested.returncode == 0, tested.stdout + tested.stderr


PLAYED = [kind if kind == "records" else pytest.param(kind, marks=pytest.mark.soak) for kind in KINDS]
"""In `make test` the label stands on what is recorded; on every rule, as the operator writes it, in `make soak`."""


@pytest.mark.parametrize("kind", PLAYED)
@pytest.mark.parametrize("case", CASES)
def test_a_label_that_an_engine_adds_to_what_rules_make_changes_nothing(case, kind, tmp_path):
    """The same cases, with a label on every recorded series (vmalert, Thanos), or on every rule (the operator)."""
    rules = tmp_path / "alerts.yml"
    rules.write_text(labelled((ROOT / "alerts.yml").read_text(), kind))
    text = (ROOT / "tests/data" / case).read_text()
    document = case_expecting(yaml.load(text, Loader=yaml.BaseLoader), kind)  # 0x20 is no number, but 21 samples
    file = tmp_path / case
    file.write_text(yaml.safe_dump({**document, "rule_files": [str(rules)]}))
    tested = promtool("test", "rules", file)
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_every_alert_has_a_case_that_fires_and_one_that_does_not():
    """No rule without both; only the dead man's switch has nothing to be silent about."""
    fires, silent = set(), set()
    for case in CASES:
        for test in yaml.safe_load((ROOT / "tests/data" / case).read_text())["tests"]:
            for expected in test["alert_rule_test"]:
                severities = {alert["exp_labels"]["severity"] for alert in expected["exp_alerts"]}
                fires |= {(expected["alertname"], severity) for severity in severities}
                if not severities:
                    silent.add(expected["alertname"])
    assert fires == {(rule["alert"], rule["labels"]["severity"]) for rule in ALERTS}
    assert silent == {rule["alert"] for rule in ALERTS} - {ALWAYS}


def test_every_case_asserts_the_annotations():
    """A case that fires says what must be in the text."""
    for case in CASES:
        for test in yaml.safe_load((ROOT / "tests/data" / case).read_text())["tests"]:
            for alert in (alert for expected in test["alert_rule_test"] for alert in expected["exp_alerts"]):
                assert {"summary", "description"} <= set(alert["exp_annotations"]), (case, test["name"])


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: f"{rule['alert']}-{rule['labels']['severity']}")
def test_every_alert_says_what_a_reader_at_night_needs(rule):
    """Severity alone as label, a sentence, a description, a page, a dashboard; no value in label or summary."""
    severities = ("none",) if rule["alert"] == ALWAYS else ("critical", "warning")
    assert rule["labels"] in [{"severity": severity} for severity in severities]
    assert rule["annotations"]["summary"].endswith(".")
    assert "{{" not in rule["annotations"]["summary"]
    assert rule["annotations"]["description"]
    assert rule["annotations"]["runbook_url"] == f"deploy/runbook/{rule['alert']}.md"
    assert rule["annotations"]["dashboard_url"].startswith("https://grafana.example.com/d/ws-factory")
