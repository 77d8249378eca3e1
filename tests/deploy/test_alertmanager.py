"""The example config of Alertmanager: valid, routed, and on a real Alertmanager each incident is one notification."""

import asyncio
import json
import re
import subprocess
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from urllib.request import Request, urlopen

import pytest
import yaml
from aiohttp import web
from support.paths import ROOT
from support.realservers import alertmanager, binary, get, until

FILE = ROOT / "deploy/alertmanager.yml"
CONFIG = yaml.safe_load(FILE.read_text())
GROUPS = yaml.safe_load((ROOT / "alerts.yml").read_text())["groups"]
TARGETS = next(group for group in GROUPS if group["name"] == "ws-factory.targets")
GROUP_OF = {rule["alert"]: group["name"] for group in GROUPS for rule in group["rules"] if "alert" in rule}
TABLE = yaml.safe_load((ROOT / "tests/data/signatures.yml").read_text())
INCIDENTS = TABLE["incidents"]
PRECEDENCE = list(dict.fromkeys(rule["alert"] for rule in TARGETS["rules"] if "alert" in rule))
JOB = "ws-factory-exporter"
OF_THE_SUBJECT = {"WebSocketIdentityFailing": {"identity": "uuid-001"}, "WebSocketProbeStale": {"probe": "send"}}


def amtool(*arguments):
    return subprocess.run(
        [binary("amtool", "prometheus-alertmanager"), *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_the_config_is_valid():
    """`amtool check-config` is clean."""
    checked = amtool("check-config", str(FILE))
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize(
    ("receiver", "labels"),
    [
        ("page", ["severity=critical", "alertname=WebSocketConnectFailing", f"job={JOB}", "target=staging"]),
        ("page", ["severity=critical", "alertname=WebSocketExporterDown", f"job={JOB}", "instance=a"]),
        ("ticket", ["severity=warning", "alertname=WebSocketProbeSlow", f"job={JOB}", "target=staging"]),
        ("dead-mans-switch", ["severity=none", "alertname=Watchdog"]),
    ],
)
def test_an_alert_goes_where_its_severity_says(receiver, labels):
    """`amtool config routes test --verify.receivers`."""
    tested = amtool("config", "routes", "test", f"--config.file={FILE}", f"--verify.receivers={receiver}", *labels)
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_a_page_waits_for_nothing_and_a_ticket_for_the_page_that_may_explain_it():
    """group_wait: at most 1 s for a page, scrape and evaluation of 15 s for a ticket; both group by job and target."""
    route = CONFIG["route"]
    page = next(one for one in route["routes"] if one["receiver"] == "page")
    assert page["group_wait"] == "500ms"
    assert route["group_wait"] == "30s"
    assert route["group_by"] == ["job", "target"]
    assert "group_by" not in page


# --- Inhibition, read


def _names(matchers):
    """The alerts that a rule's side names, and the severity it asks for."""
    named = dict(re.fullmatch(r'(\w+)=~?"(.*)"', one).groups() for one in matchers)
    pattern = named.get("alertname", ".*")
    return [name for name in GROUP_OF if re.fullmatch(pattern, name)], named.get("severity")


RULES = [
    (*_names(rule["source_matchers"]), *_names(rule["target_matchers"]), rule["equal"])
    for rule in CONFIG["inhibit_rules"]
]


def test_who_mutes_and_who_is_muted_stand_in_one_group_of_rules():
    """Groups are evaluated at different moments: a muted alert would notify before the one that mutes it is there."""
    for sources, _, targets, severity, equal in RULES:
        if "alertname" in equal:
            assert severity == "warning"
            continue
        assert len({GROUP_OF[name] for name in (*sources, *targets)}) == 1


def test_every_name_in_an_inhibition_is_an_alert():
    """A name that is no alert's mutes nothing, without a word."""
    text = FILE.read_text()
    for group in re.findall(r"WebSocket\(([\w|]+)\)", text):
        assert [name for name in group.split("|") if f"WebSocket{name}" not in GROUP_OF] == []
    assert [name for name in re.findall(r'"(WebSocket\w+)"', text) if name not in GROUP_OF] == []


def test_every_equal_label_is_on_every_alert():
    """A label that both lack would count as equal; one that only one has, as different."""
    expressions = {rule["alert"]: rule["expr"] for group in GROUPS for rule in group["rules"] if "alert" in rule}
    for sources, _, targets, _, equal in RULES:
        assert {"job", "target"} <= set(equal)
        for name in {*sources, *(targets if "alertname" not in equal else [])}:
            assert re.match(r"(max|min) by \(job, target(, \w+)?\)", expressions[name]), name


def test_what_mutes_stands_above_what_it_mutes_in_the_order_of_the_rules():
    """Precedence is the order of alerts.yml. Upwards go a ticket's better cause, and why nobody probes."""
    upwards = {
        (source, target)
        for sources, _, targets, _, equal in RULES
        for source in sources
        for target in targets
        if "alertname" not in equal and PRECEDENCE.index(source) > PRECEDENCE.index(target)
    }
    assert upwards == {
        ("WebSocketIdentityFailing", "WebSocketInternalErrorSpike"),
        ("WebSocketServerRestarting", "WebSocketInternalErrorSpike"),
        ("WebSocketProbeBudgetSkips", "WebSocketProbeStale"),
        ("WebSocketProbeBudgetSkips", "WebSocketProbeNeverRan"),
    }


def test_a_ticket_mutes_a_page_only_where_it_tells_the_same():
    """One user without slots must not hide an outage of all."""
    pages = {
        rule["alert"] for group in GROUPS for rule in group["rules"] if rule.get("labels") == {"severity": "critical"}
    }
    tickets = {
        rule["alert"] for group in GROUPS for rule in group["rules"] if rule.get("labels") == {"severity": "warning"}
    }
    for sources, asked, targets, severity, _ in RULES:
        if asked == "critical" or severity == "warning":
            continue
        hidden = set(targets) & pages
        if set(sources) & tickets:
            assert hidden <= {"WebSocketInternalErrorSpike", "WebSocketErrorBudgetBurn"}, (sources, hidden)


# --- Inhibition and grouping, live


def _posted(incidents):
    """The firing sets as Prometheus posts them, each incident at a target of its own."""
    now = datetime.now(UTC)
    for row in incidents:
        for alert in row["firing"]:
            name, severity = alert.split("/")
            yield {
                "labels": {
                    "alertname": name, "severity": severity, "job": JOB, "target": row["name"], "monitor": "m",
                    **OF_THE_SUBJECT.get(name, {}),
                },
                "annotations": {"summary": "s"},
                "startsAt": now.isoformat(),
                "endsAt": (now + timedelta(hours=1)).isoformat(),
            }  # fmt: skip


async def _post(url, alerts):
    body = json.dumps(list(alerts)).encode()
    request = Request(f"{url}/api/v2/alerts", body, {"Content-Type": "application/json"})
    await asyncio.to_thread(lambda: urlopen(request, timeout=30).read())


@asynccontextmanager
async def _receiver():
    """A webhook receiver: its base URL, and the (path, message) it got."""
    got = []

    async def take(request):
        got.append((request.path, await request.json()))
        return web.Response()

    application = web.Application()
    application.router.add_post("/{path}", take)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}", got
    finally:
        await runner.cleanup()


async def test_of_each_firing_set_one_alert_is_active_and_the_rest_suppressed(tmp_path):
    """All incidents at once on a real Alertmanager: state by state as the table says, and nothing crosses targets."""
    async with alertmanager(FILE.read_text(), tmp_path) as url:
        await _post(url, _posted(INCIDENTS))

        wanted, last = {row["name"]: [row["notify"]] for row in INCIDENTS}, {}

        async def settled():
            alerts = json.loads(await get(f"{url}/api/v2/alerts"))
            known = len(alerts) == sum(len(row["firing"]) for row in INCIDENTS)
            last.clear()
            last.update(_active(alerts))
            return known and last == wanted  # what mutes others is known to Alertmanager a moment after it is there

        with suppress(TimeoutError):
            await until(settled)
    assert last == wanted


def _active(alerts):
    """Names of those that nothing mutes, by target."""
    active = {}
    for one in alerts:
        labels = one["labels"]
        if one["status"]["state"] == "active":
            active.setdefault(labels["target"], []).append(f"{labels['alertname']}/{labels['severity']}")
    return active


async def test_each_incident_is_one_notification_at_the_right_receiver(tmp_path):
    """Grouping: one webhook call for each target, at the pager or the ticket system, with that one alert in it."""
    async with _receiver() as (base, got):
        text = FILE.read_text().replace("http://127.0.0.1:9095", base)
        quick = text.replace("group_wait: 30s", "group_wait: 1s")
        async with alertmanager(quick, tmp_path) as url:
            watchdog = {"labels": {"alertname": "Watchdog", "severity": "none"}, "annotations": {}}
            await _post(url, [*_posted(INCIDENTS), watchdog])
            told = await until(lambda: _told_all(got))
            await asyncio.sleep(1.5)  # time for one more, if there were one: longer than any group_wait
            assert len(got) == told
    calls = sorted(
        (
            path,
            message["groupLabels"].get("target", ""),
            [f"{a['labels']['alertname']}/{a['labels']['severity']}" for a in message["alerts"]],
        )
        for path, message in got
    )
    kind = {"critical": "/page", "warning": "/ticket"}
    expected = [(kind[row["notify"].split("/")[1]], row["name"], [row["notify"]]) for row in INCIDENTS]
    assert calls == sorted([*expected, ("/alive", "", ["Watchdog/none"])])


async def _told_all(got):
    return len(got) if len(got) >= len(INCIDENTS) + 1 else None
