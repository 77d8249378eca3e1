"""One outage after another on a real Prometheus and a real Alertmanager: the page that stands is the live one."""

import json

from support.alert_replay import JOB
from support.alert_rules import every_second
from support.fake_site import Shown
from support.outages import MEETS
from support.paths import ROOT
from support.realservers import alertmanager, get, prometheus, until

from exporter.config import Target
from exporter.metrics import target_series
from exporter.profiles import BUILT_IN
from exporter.result import Probe, Result, Trigger, Verdict

CONFIG = """
global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}
rule_files: [{rules}]
alerting: {{alertmanagers: [{{static_configs: [{{targets: ["{alertmanager}"]}}]}}]}}
scrape_configs:
  - job_name: {job}
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""
TARGET = {"name": "chat", "url": "ws://127.0.0.1:1/ws", "identities": {"pool-001": "u1"}, "interval": "20s"}


def quick_rules(folder):
    """The shipped rules, evaluated once a second."""
    file = folder / "alerts.yml"
    file.write_text(every_second((ROOT / "alerts.yml").read_text()))
    return file


def meet(metrics, letters):
    """Sessions of the target, each with what a letter of test_outage says."""
    for letter in letters:
        fields = {"depth": Probe.SEND, "verdicts": (Verdict.PASS,) * 3, **MEETS[letter]}
        verdicts = dict(zip(Probe, fields.pop("verdicts"), strict=True))
        result = Result(
            target="chat", identity="pool-001", run="r", trigger=Trigger.SCHEDULE, started_at=0.0, verdicts=verdicts,
            **fields,
        )  # fmt: skip
        metrics.record_result(result)


async def standing(url):
    """Names of the alerts about the target that Alertmanager mutes no more, by state."""
    alerts = json.loads(await get(f"{url}/api/v2/alerts") or "[]")
    states = {}
    for one in alerts:
        if one["labels"].get("target") == "chat":
            states.setdefault(one["status"]["state"], {})[one["labels"]["alertname"]] = one["annotations"]
    return states


async def page_of(url, name):
    """The annotations of this page, once it is the only one that stands and nothing is muted."""

    async def only():
        states = await standing(url)
        return states["active"][name] if states.keys() == {"active"} and states["active"].keys() == {name} else None

    return await until(only)


async def samples(real, expression):
    """When a series had samples in the last ten minutes."""
    body = await get(f"{real.url}/api/v1/query?query={expression.replace('{', '%7B').replace('}', '%7D')}[10m]")
    (series,) = json.loads(body)["data"]["result"]
    return [moment for moment, _ in series["values"]]


async def test_the_page_that_stands_is_the_live_one_within_two_evaluations(tmp_path):
    """Refused connects, then a deploy that is silent after the accept: one page takes the other's place, and its text.

    When that heals too, no page is left.
    """
    shown = Shown()
    shown.metrics.add_target(target_series(Target.model_validate(TARGET), BUILT_IN["factory"]))
    server = await shown.serve()
    text = (ROOT / "deploy/alertmanager.yml").read_text()
    try:
        async with alertmanager(text, tmp_path) as url:
            config = CONFIG.format(
                rules=quick_rules(tmp_path), alertmanager=url.removeprefix("http://"), job=JOB, port=server.port
            )
            async with prometheus(config, tmp_path) as real:
                meet(shown.metrics, "...")
                await real.until('ws_probe_outage{target="chat",cause="connect"} == 0')
                meet(shown.metrics, "CCC")
                first = await page_of(url, "WebSocketConnectFailing")
                assert "tcp refused (" in first["description"]
                meet(shown.metrics, "N")
                second = await page_of(url, "WebSocketNoWelcome")
                assert "admission timeout (" in second["description"]
                assert "tcp" not in second["description"]
                await _took_over(real)
                meet(shown.metrics, "...")
                await until(lambda: _nothing_stands(url))
    finally:
        await server.close()


async def _took_over(real):
    """From the last evaluation with the first page to the first one with the second there are two at most."""
    firing = 'ALERTS{{target="chat",alertstate="firing",alertname="{name}"}}'
    last = max(await samples(real, firing.format(name="WebSocketConnectFailing")))
    new = min(await samples(real, firing.format(name="WebSocketNoWelcome")))
    evaluations = await samples(real, 'ALERTS{alertname="Watchdog"}')
    assert sum(last < moment <= new for moment in evaluations) <= 2


async def _nothing_stands(url):
    return not await standing(url)
