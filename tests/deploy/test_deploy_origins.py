"""The rules over exporters of several origins that one Prometheus scrapes: a page where they agree, else a ticket."""

import subprocess

import pytest
import yaml
from support.paths import ROOT
from support.realservers import binary

DEPLOY = ROOT / "deploy"
RULES = DEPLOY / "sites/origins.yml"
JOB = "ws-factory-exporter"
MINUTES = 30
PAGE, TICKET, SILENT = "WebSocketFailingAtEveryOrigin", "WebSocketFailingAtOneOrigin", "WebSocketOriginSilent"
ALWAYS = f"1x{MINUTES}"


def tool(name, package, *arguments):
    done = subprocess.run(
        [binary(name, package), *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def exporter(origin, outages, *, alive=ALWAYS, runs=f"0+60x{MINUTES}", target="staging"):
    """The series of an exporter that probes a target each minute.

    `outages`: values of `ws_probe_outage` by cause. `alive`: of its infos. `runs`: when it ran last, in seconds.
    """
    instance = origin or "plain"
    probed = {"target": target, "probe": "connect"}
    found = {
        ("ws_exporter_build_info",): alive,
        **({("ws_exporter_origin_info", ("origin", origin)): alive} if origin else {}),
        ("ws_probe_due_timestamp_seconds", *probed.items()): f"60+60x{MINUTES}",
        ("ws_probe_last_run_timestamp_seconds", *probed.items()): runs,
        ("ws_probe_interval_seconds", *probed.items()): f"60x{MINUTES}",
        **{("ws_probe_outage", ("target", target), ("cause", cause)): values for cause, values in outages.items()},
    }
    return [
        {"series": f"{name}{{{_text(labels, instance)}}}", "values": values}
        for (name, *labels), values in found.items()
    ]


def _text(labels, instance):
    return ",".join(f'{name}="{value}"' for name, value in [("job", JOB), ("instance", instance), *labels])


A, B = "site-a", "site-b"
CALM = {"connect": f"0x{MINUTES}", "not_admitted": f"0x{MINUTES}"}
GONE_AT_10 = "1x9 _x30"
A_FAILS = exporter(A, {**CALM, "connect": ALWAYS})
B_FAILS = exporter(B, {**CALM, "not_admitted": ALWAYS})
B_PASSES = exporter(B, CALM)

AGREED = {
    "both fail": ([*A_FAILS, *B_FAILS], "site-a: connect. site-b: not_admitted. No longer heard of it: none."),
    "the only one fails": (A_FAILS, "site-a: connect. No longer heard of it: none."),
    "the other is gone": (
        [*A_FAILS, *exporter(B, {"connect": "0x9 _x30"}, alive=GONE_AT_10, runs="0+60x9 _x30")],
        "site-a: connect. No longer heard of it: site-b.",
    ),
    "the other has not run for long": (
        [*A_FAILS, *exporter(B, CALM, runs=f"0+60x9 540x{MINUTES - 10}")],
        "site-a: connect. No longer heard of it: site-b.",
    ),
    "the other's users rest in an outage": (
        [*A_FAILS, *exporter(B, {"slots": ALWAYS}, runs=f"0x{MINUTES}")],
        "site-a: connect. site-b: slots. No longer heard of it: none.",
    ),
    "one has no origin": (
        [*A_FAILS, *exporter(None, {"reply": ALWAYS})],
        "an exporter without origin: reply. site-a: connect. No longer heard of it: none.",
    ),
    "the only one restarts": (
        exporter(A, {"connect": f"1x{MINUTES - 4} stale _x2"}, alive=ALWAYS),
        "Nothing is heard now; this is what was said last. No longer heard of it: site-a.",
    ),
}
"""What exporters show → what the page says."""

DIFFERENT = {
    "one of two fails": ([*A_FAILS, *B_PASSES], [(A, "staging", B)]),
    "each fails at another target": (
        [
            *A_FAILS,
            *B_PASSES,
            *exporter(A, CALM, target="chat")[2:],
            *exporter(B, {"reply": ALWAYS}, target="chat")[2:],
        ],
        [(A, "staging", B), (B, "chat", A)],
    ),
    "the other finds what is no page": (
        [*A_FAILS, *exporter(B, {**CALM, "factory_degraded": ALWAYS})],
        [(A, "staging", B)],
    ),
    "one without an origin passes": (
        [*A_FAILS, *exporter(None, CALM)],
        [(A, "staging", "an exporter without origin")],
    ),
    "the others had less than five minutes": (
        [*exporter(A, {"connect": f"0x{MINUTES - 4} 1x4"}), *B_PASSES],
        [],
    ),
    "all pass": ([*exporter(A, CALM), *B_PASSES], []),
}
"""What exporters show → origin and target of each ticket, and who sees no outage."""


def judge(folder, series, alert, expected):
    """Run `promtool test rules` on half an hour of these series."""
    test = {
        "interval": "1m",
        "input_series": series,
        "alert_rule_test": [{"eval_time": f"{MINUTES}m", "alertname": alert, "exp_alerts": expected}],
    }
    file = folder / f"{alert}.yml"
    file.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "evaluation_interval": "15s", "tests": [test]}))
    tool("promtool", "prometheus", "test", "rules", file)


def page(description):
    return {
        "exp_labels": {"severity": "critical", "job": JOB, "target": "staging"},
        "exp_annotations": {
            "summary": "staging fails at every origin that is heard.",
            "description": description,
            "runbook_url": "deploy/runbook/README.md",
        },
    }


def ticket(origin, target, other):
    return {
        "exp_labels": {"severity": "warning", "job": JOB, "target": target, "origin": origin},
        "exp_annotations": {
            "summary": f"{target} fails at {origin} and not everywhere.",
            "description": f"No outage at: {other}. Look at the way from there to the backend first.",
            "runbook_url": "deploy/runbook/README.md",
        },
    }


def test_the_rules_are_valid():
    """`promtool check rules --lint=all --lint-fatal`, and their runbook pages exist."""
    tool("promtool", "prometheus", "check", "rules", "--lint=all", "--lint-fatal", RULES)
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    for rule in group["rules"][1:]:
        assert (ROOT / rule["annotations"]["runbook_url"]).exists()


@pytest.mark.parametrize("situation", AGREED)
def test_a_page_wants_every_origin_that_is_heard(situation, tmp_path):
    """Where all agree there is the page, with what each sees, and no ticket about one."""
    series, description = AGREED[situation]
    judge(tmp_path, series, PAGE, [page(description)])
    judge(tmp_path, series, TICKET, [])


@pytest.mark.parametrize("situation", DIFFERENT)
def test_an_outage_of_one_origin_is_a_ticket_that_names_it(situation, tmp_path):
    """Where they differ for five minutes there is a ticket for each origin that sees an outage, and no page."""
    series, tickets = DIFFERENT[situation]
    judge(tmp_path, series, PAGE, [])
    judge(tmp_path, series, TICKET, [ticket(*each) for each in tickets])


def test_an_origin_that_falls_silent_is_a_ticket(tmp_path):
    """Five minutes after its last exporter has left there is a ticket; another exporter of the origin ends it."""
    silent = {
        "exp_labels": {"severity": "warning", "job": JOB, "origin": B},
        "exp_annotations": {
            "summary": "Nothing is heard of site-b: no exporter with this origin is scraped any more.",
            "description": "Until one is back, the other origins alone decide whether a target is down. After a change "
            "of name this ends within a day.",
            "runbook_url": "deploy/runbook/WebSocketExporterDown.md",
        },
    }
    gone = exporter(B, {}, alive=GONE_AT_10)
    judge(tmp_path, [*B_PASSES, *A_FAILS], SILENT, [])
    judge(tmp_path, [*A_FAILS, *gone], SILENT, [silent])
    moved = [{**each, "series": each["series"].replace('instance="site-b"', 'instance="new"')} for each in B_PASSES]
    judge(tmp_path, [*A_FAILS, *gone, *moved], SILENT, [])


OUTAGE_PAGES = sorted(
    {
        rule["alert"]
        for group in yaml.safe_load((ROOT / "alerts.yml").read_text())["groups"]
        for rule in group["rules"]
        if "ws_probe_outage" in rule["expr"] and rule.get("labels", {}).get("severity") == "critical"
    }
)


@pytest.mark.parametrize(
    ("receiver", "alert"),
    [
        *(("ticket", alert) for alert in OUTAGE_PAGES),
        ("page", PAGE),
        ("page", "WebSocketErrorBudgetBurn"),
        ("page", "WebSocketExporterDown"),
    ],
)
def test_the_page_over_origins_takes_the_place_of_those_of_outages(receiver, alert, tmp_path):
    """amtool, on the shipped config with the route where its comment says: no other page is turned into a ticket."""
    config = yaml.safe_load((DEPLOY / "alertmanager.yml").read_text())
    config["route"]["routes"][1:1] = yaml.safe_load((DEPLOY / "sites/origins-route.yml").read_text())
    file = tmp_path / "alertmanager.yml"
    file.write_text(yaml.safe_dump(config))
    tool(
        "amtool", "prometheus-alertmanager", "config", "routes", "test", f"--config.file={file}",
        f"--verify.receivers={receiver}", f"job={JOB}", "target=staging", "severity=critical", f"alertname={alert}",
    )  # fmt: skip
