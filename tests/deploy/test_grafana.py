"""The dashboard keeps the rules of Grafana's linter and ours, is what its script makes, and is provisioned as it says.

Each rule of `grafana_rules` is held against the dashboard and against a small wrong one that it must refuse. That its
queries find something is shown by `test_grafana_live`.
"""

import copy
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from support import grafana_rules as rules
from support.alert_rules import ALERTS
from support.grafana_rules import DASHBOARD, FILE, FOLDER, ROOT, RULES_OF_DASHBOARDS

EXCEPTIONS = yaml.safe_load((FOLDER / "dashboards/.lint").read_text(encoding="utf-8"))["exclusions"]


def excepted(rule):
    """Titles of panels that .lint excepts from a rule."""
    entries = EXCEPTIONS.get(rules.LINTER.get(rule), {}).get("entries", ())
    return {entry["panel"] for entry in entries}


@pytest.mark.parametrize("rule", RULES_OF_DASHBOARDS, ids=lambda rule: rule.__name__)
def test_the_dashboard_keeps_the_rule(rule):
    """No panel, variable or query breaks it, but for those that .lint excepts."""
    broken = [(title, words) for title, words in rule(DASHBOARD) if title not in excepted(rule)]

    assert not broken, rule.__doc__


def test_no_exception_is_there_that_nobody_needs():
    """Each entry of .lint is of a rule, of this dashboard, of a panel that breaks the rule, and there is a reason."""
    assert set(EXCEPTIONS) <= set(rules.LINTER.values())
    for rule, name in rules.LINTER.items():
        assert excepted(rule) <= {title for title, _ in rule(DASHBOARD)}
        assert name not in EXCEPTIONS or EXCEPTIONS[name]["reason"]
    for one in EXCEPTIONS.values():
        assert {entry["dashboard"] for entry in one["entries"]} == {DASHBOARD["title"]}


# Small dashboards, one right and many wrong ---------------------------------------------------------------------------

SOURCE = {"type": "prometheus", "uid": "${datasource}"}
OF = 'job=~"$job",instance=~"$instance",target=~"$target"'
FAILING = f"sum by (phase) (rate(ws_probe_failures_total{{{OF}}}[$__rate_interval]))"


def variable(name):
    query = {"query": f"label_values(ws_probe_success, {name})", "refId": name}
    return {"type": "query", "name": name, "label": name, "multi": True, "includeAll": True, "allValue": ".+",
            "refresh": 2, "datasource": SOURCE, "query": query}  # fmt: skip


def panel(number, title, kind, expr, legend):
    target = {"expr": expr, "refId": "A", "legendFormat": legend, "datasource": SOURCE, "format": "time_series"}
    return {
        "id": number, "title": title, "type": kind, "description": "What it shows.", "datasource": SOURCE,
        "gridPos": {"x": 8 * number, "y": 0, "w": 8, "h": 8}, "targets": [target], "links": [],
        "fieldConfig": {"defaults": {"unit": "short", "links": []}, "overrides": []},
    }  # fmt: skip


RIGHT = {
    "uid": "ws-factory", "id": None, "schemaVersion": 39, "editable": False,
    "links": [{"title": "Runbook", "url": "deploy/runbook/README.md"}],
    "templating": {"list": [
        {"type": "datasource", "name": "datasource", "label": "Data source", "query": "prometheus"},
        *map(variable, rules.VARIABLES),
    ]},
    "annotations": {"list": [{
        "name": "Starts", "datasource": SOURCE, "titleFormat": "{{version}}", "textFormat": "",
        "expr": 'ws_exporter_build_info{job=~"$job",instance=~"$instance"}',
    }]},
    "panels": [
        panel(0, "Failures", "timeseries", FAILING, "{{phase}}"),
        panel(1, "States", "state-timeline", f"min by (target) (ws_probe_success{{{OF}}})", "{{target}}"),
        panel(2, "Targets", "table", f"min by (target) (ws_factory_valid{{{OF}}})", "valid"),
    ],
}  # fmt: skip
RIGHT["panels"][0]["links"] = [
    {"title": "page", "url": rule["annotations"]["runbook_url"]} for rule in ALERTS if rule["alert"] != "Watchdog"
]
GONE = object()


def changed(path, value):
    """The right dashboard with something else at `a/0/b`; `GONE` takes it away."""
    made = copy.deepcopy(RIGHT)
    *way, last = [int(step) if step.isdecimal() else step for step in path.split("/")]
    place = made
    for step in way:
        place = place[step]
    if value is GONE:
        del place[last]
    else:
        place[last] = value
    return made


EXPR = "panels/0/targets/0/expr"
LEGEND = "panels/0/targets/0/legendFormat"
SECOND = "panels/1/targets/0/expr"
LABELS = "templating/list/1"
FIXED = FAILING.replace("$__rate_interval", "5m")
STRANGE = {"title": "page", "url": "https://example.com/WebSocketProbeSlow.md"}
WIDE = {"matcher": {"id": "byName", "options": "phase"}, "properties": []}

WRONG = (
    (rules.is_classic_json, "schemaVersion", 42, "schemaVersion is 42"),
    (rules.is_classic_json, "id", 7, "id is 7"),
    (rules.is_classic_json, "uid", "another", "uid is another"),
    (rules.is_classic_json, "editable", True, "editable is True"),
    (rules.is_classic_json, "__inputs", [], "has __inputs"),
    (rules.has_one_datasource_variable, "templating/list/0", GONE, "0 datasource variables"),
    (rules.has_one_datasource_variable, "templating/list/0/label", "Source", "is not the data source"),
    (rules.has_one_datasource_variable, "templating/list/0/query", "loki", "is not the data source"),
    (rules.has_the_label_variables, f"{LABELS}/multi", False, "multi is False"),
    (rules.has_the_label_variables, f"{LABELS}/allValue", ".*", "allValue is '.*'"),
    (rules.has_the_label_variables, f"{LABELS}/label", "Job", "label is 'Job'"),
    (rules.variables_are_read_again, f"{LABELS}/refresh", 1, "is not read again"),
    (rules.variables_are_read_again, f"{LABELS}/query/query", "label_values(job)", "reads no label"),
    (rules.variables_are_read_again, f"{LABELS}/query/query", "label_values(ws_probe_success{, job)", "reads no label"),
    (rules.variables_are_read_again, f"{LABELS}/query/query", "label_values(up, version)", "reads no label"),
    (rules.asks_the_datasource_variable, "panels/0/datasource", {"type": "prometheus", "uid": "abc"}, "does not ask"),
    (rules.asks_the_datasource_variable, "panels/0/targets/0/datasource", None, "does not ask"),
    (rules.asks_the_datasource_variable, f"{LABELS}/datasource", None, "does not ask"),
    (rules.asks_the_datasource_variable, "annotations/list/0/datasource", {"uid": "abc"}, "does not ask"),
    (rules.says_what_it_shows, "panels/0/title", "", "has no title"),
    (rules.says_what_it_shows, "panels/0/description", "", "no description"),
    (rules.says_what_it_shows, "panels/0/fieldConfig/defaults/unit", GONE, "has no unit"),
    (rules.says_what_it_shows, "panels/0/fieldConfig/defaults/unit", "seconds", "has no unit"),
    (rules.asks_valid_promql, EXPR, "sum by (", "cannot be parsed"),
    (rules.asks_valid_promql, "annotations/list/0/expr", "up{", "cannot be parsed"),
    (rules.asks_valid_promql, "panels/0/targets", [], "asks nothing"),
    (rules.asks_valid_promql, "panels/0/targets", RIGHT["panels"][0]["targets"] * 2, "by one letter"),
    (rules.counts_over_the_rate_interval, EXPR, FIXED, "another window"),
    (rules.counts_over_the_rate_interval, EXPR, FIXED.replace("rate(", "increase("), "another window"),
    (rules.counts_over_the_rate_interval, EXPR, FAILING.replace("rate_interval", "range"), "another window"),
    (rules.asks_for_the_job, EXPR, FAILING.replace('job=~"$job",', ""), 'without job=~"$job"'),
    (rules.asks_for_the_job, EXPR, FAILING.replace('job=~"$job"', 'job="$job"'), 'without job=~"$job"'),
    (rules.asks_for_the_instance, EXPR, FAILING.replace('instance=~"$instance",', ""), "without instance"),
    (rules.asks_for_the_instance, "annotations/list/0/expr", 'ws_exporter_build_info{job=~"$job"}', "without instance"),
    (rules.asks_for_the_target, EXPR, FAILING.replace('target=~"$target"', ""), "without target"),
    (rules.reads_counters_by_rate, EXPR, f"sum by (phase) (ws_probe_failures_total{{{OF}}})", "is a counter"),
    (rules.reads_counters_by_rate, EXPR, FAILING.replace("rate(", "max_over_time("), "is a counter"),
    (rules.reads_counters_by_rate, EXPR, f"ws_probe_duration_seconds_count{{{OF}}}", "is a counter"),
    (rules.reads_counters_by_rate, SECOND, f"rate(ws_probe_success{{{OF}}}[$__rate_interval])", "is no counter"),
    (rules.reads_buckets_as_histograms, EXPR, "rate(ws_probe_duration_seconds_bucket[5m])", "as if its buckets"),
    (rules.asks_for_what_is_there, EXPR, "ws_probe_failures", "no metric ws_probe_failures"),
    (rules.asks_for_what_is_there, EXPR, 'ws_probe_failures_total{cause="tcp"}', "has no label cause"),
    (rules.asks_for_what_is_there, EXPR, 'ws_probe_failures_total{reason="refuse"}', "has no reason 'refuse'"),
    (rules.asks_for_what_is_there, EXPR, 'ws_probe_failures_total{reason=~"dns|refuse"}', "has no reason 'refuse'"),
    (rules.asks_for_what_is_there, EXPR, 'ws_probe_closes_total{code="1011",initiator="local"}', "no series can match"),
    (rules.asks_for_what_is_there, EXPR, 'ALERTS{alertname="WebSocketNoWelcome",severity="none"}', "no series can"),
    (rules.asks_for_what_is_there, EXPR, "instance_target:ws_probe_attempts:increase3m", "no metric"),
    (rules.names_labels_that_are_there, EXPR, FAILING.replace("phase", "code"), "by code", "shows phase"),
    (rules.names_labels_that_are_there, LEGEND, "{{reason}}", "shows reason"),
    (rules.names_labels_that_are_there, "annotations/list/0/titleFormat", "{{target}}", "shows target"),
    (
        rules.names_labels_that_are_there,
        "panels/0/fieldConfig/defaults/links",
        [{"url": "/d/x?var-target=${__field.labels.target}"}],
        "shows target",
    ),
    (rules.names_columns_that_are_there, "panels/2/fieldConfig/overrides", [WIDE], "has no column phase"),
    (rules.lies_on_the_grid, "panels/0/gridPos/w", 9, "lies over another"),
    (rules.lies_on_the_grid, "panels/2/gridPos/x", 17, "is outside"),
    (rules.lies_on_the_grid, "panels/1/id", 0, "is the id of 2"),
    (rules.lies_on_the_grid, "panels/1/title", "Targets", "is the title of 2"),
    (rules.links_to_pages_that_are_there, "links/0/url", "deploy/runbook/Gone.md", "links to deploy/runbook/Gone.md"),
    (rules.links_to_pages_that_are_there, "panels/1/links", [STRANGE], "links to http", "the command of alerts.yml"),
    (rules.every_alert_has_its_panel, "panels/0/links/0", GONE, f"no panel links to {ALERTS[0]['alert']}"),
)


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: f"{wrong[0].__name__}-{wrong[1]}")
def test_a_dashboard_that_breaks_the_rule_is_refused(wrong):
    """The rule says what is wrong, and nothing else."""
    rule, path, value, *sentences = wrong

    broken = [words for _, words in rule(changed(path, value))]

    assert len(broken) == len(sentences), broken
    for sentence in sentences:
        assert any(sentence in words for words in broken), broken


def test_a_dashboard_that_keeps_the_rules_is_let_alone():
    """What is right is not refused."""
    assert [found for rule in RULES_OF_DASHBOARDS for found in rule(RIGHT)] == []


def test_every_rule_has_a_wrong_dashboard():
    """No rule is there that cannot fail."""
    assert {wrong[0] for wrong in WRONG} == set(RULES_OF_DASHBOARDS)


# The file, and what is around it --------------------------------------------------------------------------------------


def test_the_file_is_what_the_script_makes(tmp_path):
    """Nobody edited the JSON by hand, and nobody forgot to run the script."""
    made = tmp_path / "made.json"
    subprocess.run([sys.executable, FOLDER / "dashboard.py", made], check=True)

    assert made.read_bytes() == FILE.read_bytes(), "run: python deploy/grafana/dashboard.py"


def test_the_alerts_link_to_this_dashboard():
    """The uid and the variable of `dashboard_url` are those that are there."""
    links = {rule["annotations"]["dashboard_url"].partition("{{")[0] for rule in ALERTS}
    variables = {one["name"] for one in DASHBOARD["templating"]["list"]}

    assert {link.partition("/d/")[2].partition("?")[0] for link in links} == {DASHBOARD["uid"]}
    assert {link.partition("?var-")[2].rstrip("=") for link in links} - {""} <= variables


def test_the_error_budget_is_that_of_the_alerts():
    """A ratio is compared with what WebSocketErrorBudgetBurn compares it with, and every other figure is of 0.5 %."""
    burns = "".join(rule["expr"] for rule in ALERTS if rule["alert"] == "WebSocketErrorBudgetBurn")
    wanted = set(re.findall(r":ratio_rate(\w+) > ((?:[\d.]+ \* )?0\.005)", burns))
    texts = [asked.text for asked in rules.queries(DASHBOARD)]
    compared = {found for text in texts for found in re.findall(r":ratio_rate(\w+)\{.*\}\) / \((.*)\)", text)}
    left = [text for text in texts if "cycle_failures_total" in text and "/ 0.00" in text]

    assert {window for window, _ in compared} == {"1h", "6h", "1d", "3d"}
    assert compared <= wanted
    assert len(left) == 2
    assert all(text.endswith("/ 0.005") for text in left)


def test_five_seconds_come_first():
    """What is red stands on the first screen: whether something pages, which target, whether anybody looks at all."""
    screen = [one["title"] for one in DASHBOARD["panels"] if one["gridPos"]["y"] < 15]

    assert screen[1:7] == [
        "Pages firing", "Targets failing", "Factories invalid", "1011 by the server, last hour",
        "Probes that nobody runs", "Exporters down",
    ]  # fmt: skip
    assert {"Every probe of every target", "Alerts firing"} <= set(screen)


def provisioned(kind):
    (file,) = (FOLDER / "provisioning" / kind).glob("*.yml")
    return yaml.safe_load(file.read_text(encoding="utf-8"))


def test_the_data_source_is_provisioned():
    """A fixed uid, nothing to edit in the browser, and the longest interval by which Prometheus is told to scrape."""
    scrapes = yaml.safe_load((ROOT / "deploy/prometheus.yml").read_text(encoding="utf-8"))
    (source,) = provisioned("datasources")["datasources"]

    assert (source["type"], source["uid"], source["editable"]) == ("prometheus", "ws-factory-prometheus", False)
    assert source["jsonData"]["timeInterval"] == scrapes["global"]["scrape_interval"]


def test_the_dashboard_is_provisioned():
    """From a folder that holds it and nothing else that Grafana would read; not to be changed in the browser."""
    (provider,) = provisioned("dashboards")["providers"]

    assert (provider["type"], provider["allowUiUpdates"]) == ("file", False)
    assert Path(provider["options"]["path"]).name == FILE.parent.name
    assert [file.name for file in FILE.parent.glob("*.json")] == [FILE.name]
