"""From the backend's refusal to the number that Prometheus alerts on: the real daemon, its pages, its process."""

import asyncio
import contextlib
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from support import harness, raw_server, realservers
from support.alert_rules import every_second
from support.exposition import families
from support.fault_cases import cases, meet_all
from support.paths import ROOT

from exporter.daemon import Daemon, DaemonOptions
from exporter.metrics import Metrics, target_series
from exporter.result import FactoryReason, Phase, Probe, Reason, Verdict
from exporter.standin import StandIn, Timings, frames
from exporter.web import ListenAddress

PASSED = dict.fromkeys(Probe, Verdict.PASS)
REFUSED = PASSED | {Probe.SEND: Verdict.FAIL}
INCIDENT = {
    'ws_probe_success{probe="connect"}': 1.0,
    'ws_probe_success{probe="auth"}': 1.0,
    'ws_probe_success{probe="send"}': 0.0,
    'ws_probe_failures_total{phase="admission",probe="send",reason="factory"}': 1.0,
    'ws_probe_cycle_failures_total{probe="send"}': 1.0,
    'ws_factory_validation_failures_total{reason="slot_limit"}': 1.0,
    'ws_probe_closes_total{code="1011",initiator="remote",phase="admission"}': 1.0,
    "ws_factory_slot_limit": 5.0,
    "ws_factory_valid": 0.0,
}
"""What one refusal for want of a slot reads like, whatever else has happened."""


@contextlib.asynccontextmanager
async def running(target):
    """The daemon on one target, from now on, and what it has told."""
    told = []
    options = DaemonOptions(ListenAddress("127.0.0.1", 0), startup_delay=0.0, on_result=told.append)
    daemon = Daemon(harness.planned(target), options)
    await daemon.start()
    try:
        yield daemon, told
    finally:
        await daemon.stop()


async def figures(url, target="staging"):
    """Value of every sample of a target, by name and its other labels."""
    samples = {}
    for family in text_string_to_metric_families(await realservers.get(f"{url}/metrics")):
        for sample in family.samples:
            labels = dict(sample.labels)
            if labels.pop("target", None) == target:
                text = ",".join(f'{name}="{value}"' for name, value in sorted(labels.items()))
                samples[f"{sample.name}{{{text}}}" if text else sample.name] = sample.value
    return samples


async def after_a_refusal(daemon, told):
    """The refused session, and the figures once it is told."""
    await raw_server.until(lambda: any(result.failed for result in told), timeout=60)
    refused = next(result for result in told if result.failed)
    return refused, await figures(daemon.url)


def assert_it_is_the_incident(refused, shown):
    assert dict(refused.verdicts) == REFUSED
    assert (refused.phase, refused.reason) == (Phase.ADMISSION, Reason.FACTORY)
    assert (refused.factory_reason, refused.slot_limit) == (FactoryReason.SLOT_LIMIT, 5)
    assert {series: shown.get(series) for series in INCIDENT} == INCIDENT
    failures = {name: value for name, value in shown.items() if name.startswith("ws_probe_failures_total") and value}
    assert len(failures) == 1, "counted once, in the phase where it happened"


QUICK = {
    "interval": "700ms",
    "timeout": "500ms",
    "close_timeout": "150ms",
    "identities": {"pool-001": "staging-e2e-user-001"},
    "confirm": {"runs": 0},
}
"""One user, a cycle every 0.7 s."""


# The backend that leaks slots ---------------------------------------------------------------------------------------


async def test_a_refusal_for_want_of_a_slot_is_told_as_what_it_is():
    """Connect 1, auth 1, send 0; admission, factory, slot_limit; 1011 by the server; the limit read from its frame."""
    async with StandIn.start(timings=Timings.quick(), tls_port=None) as standin:
        standin.set_fault("/ws", "slot_limit:limit=5")
        async with running(harness.target(standin, **QUICK)) as (daemon, told):
            refused, shown = await after_a_refusal(daemon, told)

    assert_it_is_the_incident(refused, shown)
    assert shown['ws_probe_identity_resting{identity="pool-001"}'] == 1.0


def refusing(*, then):
    """A backend that refuses in the very segment of its 101, asks for a pong, and ends the connection at once."""
    told = [frames.ping(0.0), frames.slot_limit("staging-e2e-user-001", 5, 0.0)]

    async def script(peer):
        answer = await peer.request()
        peer.send(answer, *map(raw_server.text, told), raw_server.close(1011, "Factory SSOT validation failed"))
        await peer.writer.drain()
        then(peer)
        if not peer.writer.is_closing():
            await peer.to_the_end(answer=False)

    return script


@pytest.mark.parametrize(
    "then", [raw_server.END, raw_server.RESET, raw_server.HALF_CLOSE], ids=["eof", "reset", "half"]
)
async def test_the_refusal_is_read_although_nothing_of_ours_can_be_sent(then, tmp_path):
    """Frame and close are drained from a connection that was over before our pong, our message or our close."""
    (tmp_path / "key").write_text("a-key-of-thirty-two-bytes-or-more-of-them")
    async with raw_server.serving(refusing(then=then)) as server:
        target = {
            "name": "staging",
            "url": f"ws://127.0.0.1:{server.port}/ws",
            "auth": {"jwt": {"key_file": str(tmp_path / "key")}},
            "limits": {"slots_per_identity": 0, "slot_release": "300s"},
            **QUICK,
        }
        async with running(target) as (daemon, told):
            refused, shown = await after_a_refusal(daemon, told)

    assert_it_is_the_incident(refused, shown)


RELEASE = 7.0


async def test_an_exporter_that_was_told_too_many_slots_meets_the_limit_once():
    """The backend keeps 5, the exporter was told 20: five sessions pass, the sixth is refused, none after it."""
    async with StandIn.start(timings=replace(Timings.quick(), slot_release=RELEASE), tls_port=None, slots=5) as standin:
        limits = {"slots_per_identity": 20, "slot_release": f"{RELEASE}s", "reserve": 1}
        async with running(harness.target(standin, **QUICK, limits=limits)) as (daemon, told):
            refused, shown = await after_a_refusal(daemon, told)
            await raw_server.until(lambda: len(told) > 7, timeout=60)
            resting = await figures(daemon.url)
            held = standin.held("staging-e2e-user-001")
            await raw_server.until(lambda: told[-1].depth is Probe.SEND, timeout=60)

    assert_it_is_the_incident(refused, shown)
    assert [dict(result.verdicts) for result in told[:6]] == [PASSED] * 5 + [REFUSED]
    assert held == 5
    assert {result.depth for result in told[6:8]} == {Probe.CONNECT}, "a resting identity takes no slot"
    assert resting['ws_factory_slots_budget{identity="pool-001"}'] == 4.0, "one below what the backend keeps"
    assert resting['ws_probe_closes_total{code="1011",initiator="remote",phase="admission"}'] == 1.0
    assert dict(told[-1].verdicts) == PASSED, "after the release it is let in again"


# Labels -------------------------------------------------------------------------------------------------------------


async def test_every_series_of_the_whole_fault_table_was_primed(tmp_path):
    """No fault makes a series that was not there at 0 before it: increase() would miss its first step."""
    made = {}
    metrics = Metrics("1.2.3")
    async with StandIn.start() as standin:
        for over in ("plain", "tls"):
            (job,) = harness.planned(
                harness.target(standin, name=over, tls=over == "tls", identities={"pool-001": "u"})
            ).jobs
            metrics.add_target(target_series(job.target, job.profile))

    for over in ("plain", "tls"):

        def told(result):
            metrics.record_result(result)
            metrics.record_cycle(result)

        (tmp_path / over).mkdir()
        made[over] = await meet_all(cases(over), tmp_path / over, target=over, told=told)

    results = [result for met in made.values() for one in met for result in one.results]
    assert metrics.unexpected_series() == []
    assert len(results) > 400
    assert {result.factory_reason for result in results} == {None, *FactoryReason}
    assert {result.reason for result in results} >= set(Reason) - {Reason.DNS, Reason.UNREACHABLE, Reason.BAD_REPLY}
    counted = sum(
        sample.value for family in families(metrics) if family.name == "ws_probe_failures" for sample in family.samples
    )
    assert counted == sum(list(result.verdicts.values()).count(Verdict.FAIL) for result in results)


# The real thing -----------------------------------------------------------------------------------------------------

SCRAPE = """
global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}
rule_files: [alerts.yml]
scrape_configs:
  - job_name: ws-factory-exporter
    sample_limit: 2000
    static_configs: [{{targets: ["{address}"]}}]
"""

FIRST_STEPS = [
    'up{job="ws-factory-exporter"} == 1',
    'increase(ws_probe_failures_total{target="incident",probe="send",phase="admission",reason="factory"}[1m]) > 0',
    'increase(ws_factory_validation_failures_total{target="incident",reason="slot_limit"}[1m]) > 0',
    'increase(ws_probe_closes_total{target="incident",code="1011",initiator="remote",phase="admission"}[1m]) > 0',
    'increase(ws_probe_attempts_total{target="calm",probe="send"}[1m]) > 0',
    'ws_factory_slot_limit{target="incident"} == 5',
    'ws_probe_success{target="calm",probe="send"} == 1',
]


@contextlib.asynccontextmanager
async def exporter_process(standin, tmp_path):
    """`ws-factory-exporter run` on three targets, its URL; it is stopped by SIGTERM and must end well."""
    targets = [
        harness.target(
            standin,
            f"/ws/{name}",
            name=name,
            interval="1500ms",
            timeout="1s",
            identities={f"pool-00{n}": f"staging-{name}-user-00{n}" for n in (1, 2, 3)},
        )
        for name in ("incident", "spike", "calm")
    ]
    config = tmp_path / "exporter.yml"
    config.write_text(yaml.safe_dump({"targets": targets}))

    def arguments(port):
        listen = f"--web.listen-address=127.0.0.1:{port}"
        return [sys.executable, "-m", "exporter", "run", f"--config.file={config}", listen, "--startup.delay=500ms"]

    process, url = await realservers.started(arguments, "/-/ready", tmp_path / "exporter.log")
    try:
        yield process, url
    finally:
        await realservers.stop(process)


async def test_a_stopped_exporter_is_no_outage_of_the_backend(tmp_path):
    """Stopped for thrice its timeout in mid-session, it goes on without a failure: skips say what it missed."""
    async with StandIn.start(timings=Timings.quick(), tls_port=None) as standin:
        standin.set_fault("*", "slow_welcome:delay=0.5")
        async with exporter_process(standin, tmp_path) as (process, url):
            await realservers.get(f"{url}/metrics")
            await standin.wait_sessions(3, timeout=60)
            await raw_server.until(lambda: standin.open_connections > 0, timeout=60)
            process.send_signal(signal.SIGSTOP)
            await raw_server.after(3.0)
            process.send_signal(signal.SIGCONT)
            await standin.wait_sessions(standin.finished + 6, timeout=60)
            samples = await scraped(url)

    def total(name, **labels):
        return sum(value for (found, had), value in samples.items() if found == name and labels.items() <= had)

    assert total("ws_probe_failures_total") == total("ws_probe_cycle_failures_total") == 0
    assert total("ws_probe_closes_total", initiator="remote") == total("ws_probe_closes_total", initiator="none") == 0
    assert total("ws_probe_skips_total", cause="distorted") >= 1
    assert total("ws_exporter_distorted_runs_total") >= 1
    assert total("ws_probe_cycles_total", probe="send") >= 6


async def scraped(url):
    """Every sample of a running exporter, by name and labels."""
    body = await realservers.get(f"{url}/metrics")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(body)
        for sample in family.samples
    }


def rules(tmp_path):
    """The shipped rules, evaluated every second."""
    (tmp_path / "alerts.yml").write_text(every_second((ROOT / "alerts.yml").read_text(encoding="utf-8")))


def promtool_check(body):
    program = realservers.binary("promtool", "prometheus")
    return subprocess.run(
        [program, "check", "metrics"], input=body, capture_output=True, text=True, timeout=30, check=False
    )


async def test_a_real_prometheus_scrapes_the_real_process_and_alerts(tmp_path):
    """Zeros first, then the first failure as a step of increase(); clean for promtool; an outage fires the alert."""
    rules(tmp_path)
    async with StandIn.start(timings=Timings.quick(), tls_port=None) as standin:
        standin.set_fault("/ws/incident", "slot_limit:limit=5")
        async with exporter_process(standin, tmp_path) as (process, url):
            with pytest.raises(TimeoutError):  # delay and interval are over: it waits for a scrape
                await standin.wait_sessions(1, timeout=2.5)
            async with realservers.prometheus(SCRAPE.format(address=url.removeprefix("http://")), tmp_path) as real:
                await assert_first_steps(standin, real)
                checked = await asyncio.to_thread(promtool_check, await realservers.get(f"{url}/metrics"))
                assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
                await assert_a_spike_is_alerted(standin, real)
                process.send_signal(signal.SIGTERM)
                assert await process.wait() == 0
                await real.until('ALERTS{alertname="WebSocketExporterDown",alertstate="pending"}')
        seen = list(standin.sessions)
    assert not [session for session in seen if session.how != "close"], "SIGTERM ends no session by force"
    assert not [one for one in seen if one.close_received == 1011 and one.first_closer == "client"]


async def assert_first_steps(standin, real):
    await real.until('ws_probe_failures_total{target="incident"} == 0')
    assert not await real.query("ws_probe_failures_total > 0")
    await standin.wait_sessions(1, timeout=60)
    for step in FIRST_STEPS:
        assert await real.until(step), step


async def assert_a_spike_is_alerted(standin, real):
    spike = 'ALERTS{alertname="WebSocketInternalErrorSpike",severity="critical",alertstate="firing",target="%s"}'
    assert not await real.query(spike % "spike")
    standin.set_fault("/ws/spike", "internal_error")
    assert await real.until(spike % "spike")
    assert not await real.query(spike % "calm")
    assert await real.query('ws_factory_valid{target="spike"} == 0')
