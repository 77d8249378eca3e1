"""A real Prometheus scrapes the web server, and its query API returns what was observed."""

import asyncio
from contextlib import asynccontextmanager

import pytest
import yaml
from aiohttp import web
from support.fake_site import Shown
from support.paths import ROOT
from support.realservers import prometheus

from exporter.result import (
    Close,
    Evidence,
    FactoryReason,
    Initiator,
    Phase,
    Probe,
    Reason,
    Result,
    Trigger,
    Verdict,
)

CONFIG = """
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: ws-factory-exporter
    sample_limit: 1000
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""

INCIDENT = Result(
    target="staging",
    identity="pool-001",
    run="r1",
    depth=Probe.SEND,
    trigger=Trigger.SCHEDULE,
    started_at=1_000.0,
    verdicts={Probe.CONNECT: Verdict.PASS, Probe.AUTH: Verdict.PASS, Probe.SEND: Verdict.FAIL},
    durations={Probe.CONNECT: 0.004, Probe.AUTH: 0.006},
    phases={Phase.TCP: 0.001, Phase.UPGRADE: 0.003},
    phase=Phase.ADMISSION,
    reason=Reason.FACTORY,
    factory_reason=FactoryReason.SLOT_LIMIT,
    slot_limit=5,
    close=Close(1011, Initiator.REMOTE, Phase.ADMISSION),
    evidence=Evidence(),
)

RULES = yaml.safe_load((ROOT / "alerts.yml").read_text())["groups"]
EMPTY = next(rule["expr"] for group in RULES for rule in group["rules"] if rule.get("alert", "").endswith("Empty"))

STEPS = [
    'increase(ws_probe_failures_total{probe="send",phase="admission",reason="factory"}[1m]) > 0',
    'increase(ws_probe_closes_total{code="1011",initiator="remote",phase="admission"}[1m]) > 0',
    'increase(ws_factory_validation_failures_total{reason="slot_limit"}[1m]) > 0',
    'increase(ws_probe_attempts_total{probe="auth"}[1m]) > 0',
    "ws_factory_slot_limit == 5",
    "ws_factory_valid == 0",
    'histogram_quantile(0.5, sum by (le) (increase(ws_probe_duration_seconds_bucket{probe="connect"}[1m]))) < 0.025',
]


@pytest.fixture
async def exporter():
    shown = Shown()
    scraped = asyncio.Event()
    shown.record_scrape = lambda _: scraped.set()
    server = await shown.serve()
    yield shown.metrics, server, scraped
    await server.close()


async def test_a_real_prometheus_sees_a_counter_step_from_zero(exporter, tmp_path):
    """The zeros are scraped first, then one incident shows in increase(), by query."""
    metrics, server, scraped = exporter
    async with prometheus(CONFIG.format(port=server.port), tmp_path) as real:
        async with asyncio.timeout(60):
            await scraped.wait()
        zeros = await real.until("ws_probe_failures_total == 0")
        assert {labels["job"] for labels, _ in zeros} == {"ws-factory-exporter"}
        assert not await real.query("ws_probe_success or ws_factory_valid")
        metrics.record_result(INCIDENT)
        for step in STEPS:
            assert await real.until(step), step
        assert not await real.query("ws_probe_failures_total{probe='auth'} > 0")
        assert await real.query("up{job='ws-factory-exporter'} == 1")
        (_, lines), *_ = await real.query("scrape_samples_scraped")
        assert lines < 400


@asynccontextmanager
async def swallower():
    """A proxy that answers every request 200 and without a body: its port."""

    async def answer(_):
        return web.Response(content_type="text/plain")

    application = web.Application()
    application.router.add_get("/metrics", answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def test_a_scrape_that_is_200_and_empty_is_up_and_told_from_one_that_is_not(exporter, tmp_path):
    """WebSocketExporterEmpty finds the instance whose page is swallowed, and not the one beside it."""
    _, server, _ = exporter
    async with swallower() as port:
        config = CONFIG.format(port=f'{server.port}", "127.0.0.1:{port}')
        async with prometheus(config, tmp_path) as real:
            await real.until('count(up{job="ws-factory-exporter"} == 1) == 2')
            await real.until("ws_exporter_build_info")
            found = await real.until(EMPTY)
    assert [labels["instance"] for labels, _ in found] == [f"127.0.0.1:{port}"]
