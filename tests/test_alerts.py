"""The alert rules and the example config of Prometheus: valid, linted, each with a case that fires and one that not."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from realservers import binary

from exporter.metrics import families

ROOT = Path(__file__).parent.parent
CASES = sorted(path.name for path in (ROOT / "tests/data").glob("alerts-*.yml"))
RULES = [rule for group in yaml.safe_load((ROOT / "alerts.yml").read_text())["groups"] for rule in group["rules"]]


def promtool(*arguments):
    return subprocess.run(
        [binary("promtool", "prometheus"), *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_the_rules_are_valid_and_linted():
    """`promtool check rules --lint=all --lint-fatal` of Debian's 2.42 is clean."""
    checked = promtool("check", "rules", "--lint=all", "--lint-fatal", "alerts.yml")
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_example_config_is_valid_and_names_the_job_of_the_rules():
    """`promtool check config` is clean, and every `job` in a rule is the one that is scraped."""
    checked = promtool("check", "config", "deploy/prometheus.yml")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    jobs = {job["job_name"] for job in yaml.safe_load((ROOT / "deploy/prometheus.yml").read_text())["scrape_configs"]}
    named = {job for rule in RULES for job in re.findall(r'job="([^"]+)"', rule["expr"])}
    assert named == jobs == {"ws-factory-exporter"}


@pytest.mark.parametrize("case", CASES)
def test_the_rules_fire_and_stay_silent_as_their_cases_say(case):
    """`promtool test rules`, annotations included."""
    tested = promtool("test", "rules", f"tests/data/{case}")
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_every_alert_has_a_case_that_fires_and_one_that_does_not():
    """No rule without both."""
    fires, silent = set(), set()
    for case in CASES:
        for test in yaml.safe_load((ROOT / "tests/data" / case).read_text())["tests"]:
            for expected in test["alert_rule_test"]:
                severities = {alert["exp_labels"]["severity"] for alert in expected["exp_alerts"]}
                fires |= {(expected["alertname"], severity) for severity in severities}
                if not severities:
                    silent.add(expected["alertname"])
    assert fires == {(rule["alert"], rule["labels"]["severity"]) for rule in RULES}
    assert silent == {rule["alert"] for rule in RULES}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule['alert']}-{rule['labels']['severity']}")
def test_every_alert_says_what_a_reader_at_night_needs(rule):
    """Severity, a sentence, a description, a page; only metrics we have; no value in a label."""
    assert rule["labels"] in ({"severity": "critical"}, {"severity": "warning"}, {"severity": "info"})
    assert rule["annotations"]["summary"].endswith(".")
    assert "{{" not in rule["annotations"]["summary"]
    assert rule["annotations"]["description"]
    assert rule["annotations"]["runbook_url"].endswith(f"/{rule['alert']}.md")
    metrics = set(re.findall(r"\bws_\w+", rule["expr"]))
    assert metrics <= {family.name for family in families.ALL}
