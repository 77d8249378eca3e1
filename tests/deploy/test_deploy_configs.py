"""The example configs of the deployments: one text, accepted by what reads it; and what several sites say."""

import re
import subprocess

import pytest
import yaml
from support.paths import ROOT
from support.realservers import binary

from exporter.__main__ import main

DEPLOY = ROOT / "deploy"
EXAMPLES = ("systemd/exporter.yml", "compose/exporter/exporter.yml", "kubernetes/base/exporter.yml")
KEY = "a-made-up-key-of-at-least-thirty-two-bytes"
SITES = DEPLOY / "sites"
JOB = "ws-factory-exporter"


def told(name, package, *arguments):
    done = subprocess.run(
        [binary(name, package), *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def key_of(name):
    (path,) = re.findall(r"key_file: (\S+)", (DEPLOY / name).read_text())
    return path


def test_the_examples_differ_in_the_place_of_the_key_alone():
    """Three deployments, one config: who learns one knows all."""
    read = [yaml.safe_load((DEPLOY / name).read_text().replace(key_of(name), "KEY")) for name in EXAMPLES]
    assert read[0] == read[1] == read[2]


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_accepted(name, tmp_path, capsys):
    """`run --config.check` with a made-up key prints the plan, and warns of nothing."""
    key = tmp_path / "key"
    key.write_text(KEY)
    key.chmod(0o400)
    file = tmp_path / "exporter.yml"
    file.write_text((DEPLOY / name).read_text().replace(key_of(name), str(key)))
    code = main(["run", f"--config.file={file}", "--config.check"])
    said = capsys.readouterr()
    assert (code, said.err) == (0, "")
    assert "staging" in said.out


def test_the_compose_example_finds_its_secret():
    """The key is where compose puts a secret of that name."""
    stack = yaml.safe_load((DEPLOY / "compose/compose.yaml").read_text())
    assert (
        key_of("compose/exporter/exporter.yml").removeprefix("/run/secrets/")
        in stack["services"]["exporter"]["secrets"]
    )


@pytest.mark.parametrize("arguments", [("--agent", "prometheus-agent.yml"), ("sites/site.yml",)], ids=" ".join)
def test_the_configs_of_more_machines_are_valid(arguments):
    """`promtool check config`, of the agent by the agent's rules; both scrape the job of the rules and write on."""
    *flags, name = arguments
    code, said = told("promtool", "prometheus", "check", "config", *flags, DEPLOY / name)
    assert code == 0, said
    config = yaml.safe_load((DEPLOY / name).read_text())
    assert [job["job_name"] for job in config["scrape_configs"]] == [JOB]
    assert all("password" not in one["basic_auth"] for one in config["remote_write"])


def test_no_example_names_a_real_host():
    """Hosts are of example.com, of loopback, or a name of the stack."""
    for file in sorted(DEPLOY.rglob("*.y*ml")):
        for host in re.findall(r"(?:https?|wss?)://([\w.-]+)", file.read_text()):
            assert host.endswith("example.com") or host == "127.0.0.1" or "." not in host, (file, host)


# --- Several sites


def test_the_rules_of_agreement_are_valid():
    """`promtool check rules --lint=all --lint-fatal`, and their runbook pages exist."""
    code, said = told("promtool", "prometheus", "check", "rules", "--lint=all", "--lint-fatal", SITES / "agreement.yml")
    assert code == 0, said
    (group,) = yaml.safe_load((SITES / "agreement.yml").read_text())["groups"]
    for rule in group["rules"][1:]:
        assert (ROOT / rule["annotations"]["runbook_url"]).exists()


def firing(name, severity, *, site, target=None, values="1x60"):
    """A series of ALERTS as a site writes it."""
    labels = {
        "alertname": name,
        "alertstate": "firing",
        "job": JOB,
        "severity": severity,
        "site": site,
        "target": target,
    }
    text = ",".join(f'{key}="{value}"' for key, value in labels.items() if value)
    return {"series": f"ALERTS{{{text}}}", "values": values}


A, B = "site-a", "site-b"
BOTH_HEARD = [firing("Watchdog", "none", site=site) for site in (A, B)]
A_FAILS = firing("WebSocketConnectFailing", "critical", site=A, target="staging")
B_FAILS = firing("WebSocketNoWelcome", "critical", site=B, target="staging")
SITUATIONS = {
    "both sites fail": (
        [*BOTH_HEARD, A_FAILS, B_FAILS],
        (2, "site-a: WebSocketConnectFailing. site-b: WebSocketNoWelcome. "),
    ),
    "the only site that is heard fails": ([BOTH_HEARD[0], A_FAILS], (1, "site-a: WebSocketConnectFailing. ")),
    "one of two sites fails": ([*BOTH_HEARD, A_FAILS], None),
    "the sites fail at different targets": (
        [*BOTH_HEARD, A_FAILS, firing("WebSocketNoWelcome", "critical", site=B, target="other")],
        None,
    ),
    "a ticket agrees with no page": (
        [*BOTH_HEARD, A_FAILS, firing("WebSocketProbeSlow", "warning", site=B, target="staging")],
        None,
    ),
    "a site without its exporter is no target that fails": (
        [*BOTH_HEARD, A_FAILS, firing("WebSocketExporterDown", "critical", site=B)],
        None,
    ),
}
"""What the sites write → how many fail, and what the page says of them; None: no page."""


@pytest.mark.parametrize("situation", SITUATIONS)
def test_a_page_wants_every_site_that_is_heard(situation, tmp_path):
    """`promtool test rules`, on what the sites write."""
    series, page = SITUATIONS[situation]
    judge(tmp_path, series, "WebSocketFailingAtEverySite", [agreed(*page)] if page else [])


def agreed(count, sites):
    """The page, as promtool expects it."""
    return {
        "exp_labels": {"severity": "critical", "job": JOB, "target": "staging"},
        "exp_annotations": {
            "summary": f"staging fails at every site that is heard ({count}).",
            "description": sites,
            "runbook_url": "deploy/runbook/README.md",
        },
    }


def test_a_site_that_falls_silent_is_a_ticket_and_the_others_decide(tmp_path):
    """Without a word of a site for 5 minutes there is a ticket for it, and the page needs its agreement no more."""
    gone = firing("Watchdog", "none", site=B, values="1x4 _x60")
    silent = {
        "exp_labels": {"severity": "warning", "site": B},
        "exp_annotations": {
            "summary": "Nothing is heard of site-b: its Prometheus is down, or cannot write here.",
            "description": "Until it is back, the other sites alone decide whether a target is down.",
            "runbook_url": "deploy/runbook/Watchdog.md",
        },
    }
    series, (_, page) = [BOTH_HEARD[0], gone, A_FAILS], SITUATIONS["the only site that is heard fails"]
    judge(tmp_path, series, "WebSocketSiteSilent", [silent])
    judge(tmp_path, series, "WebSocketFailingAtEverySite", [agreed(*page)])


def judge(folder, series, alert, expected):
    """Run `promtool test rules` on half an hour of these series."""
    case = {
        "rule_files": [str(SITES / "agreement.yml")],
        "evaluation_interval": "15s",
        "tests": [
            {
                "interval": "1m",
                "input_series": series,
                "alert_rule_test": [{"eval_time": "30m", "alertname": alert, "exp_alerts": expected}],
            }
        ],
    }
    file = folder / "case.yml"
    file.write_text(yaml.safe_dump(case))
    code, said = told("promtool", "prometheus", "test", "rules", file)
    assert code == 0, said


@pytest.mark.parametrize(
    ("receiver", "labels"),
    [
        ("ticket", ["severity=critical", "alertname=WebSocketConnectFailing", "target=staging", "site=site-a"]),
        ("page", ["severity=critical", "alertname=WebSocketFailingAtEverySite", "target=staging"]),
        ("ticket", ["severity=warning", "alertname=WebSocketSiteSilent", "site=site-b"]),
        ("dead-mans-switch", ["severity=none", "alertname=Watchdog", "site=site-a"]),
    ],
    ids=lambda value: value if isinstance(value, str) else value[1],
)
def test_a_page_of_one_site_becomes_a_ticket(receiver, labels, tmp_path):
    """amtool, on the shipped config with the route where its comment says."""
    config = yaml.safe_load((DEPLOY / "alertmanager.yml").read_text())
    config["route"]["routes"][1:1] = yaml.safe_load((SITES / "alertmanager-route.yml").read_text())
    file = tmp_path / "alertmanager.yml"
    file.write_text(yaml.safe_dump(config))
    code, said = told(
        "amtool", "prometheus-alertmanager", "config", "routes", "test", f"--config.file={file}",
        f"--verify.receivers={receiver}", f"job={JOB}", *labels,
    )  # fmt: skip
    assert code == 0, said
