"""A real Prometheus asks the real exporter for probes, by the relabelling of the example, as of blackbox_exporter."""

import asyncio
import contextlib
import re

import pytest
import yaml
from support import harness
from support.commands import command
from support.paths import ROOT
from support.realservers import get, prometheus

from exporter.standin import StandIn, Timings

NAMES = ("well", "full", "silent", "gone", "crowded")
ALONE = {"slots_per_identity": 2, "slot_release": "300s", "reserve": 1}
"""Of one user, whose schedule takes the one slot there is: no room for a probe."""


def config(standin, folder):
    """The exporter's config: targets at paths of their own, whose schedule begins after the test."""
    targets = [mapping(standin, name) for name in NAMES]
    file = folder / "exporter.yml"
    file.write_text(yaml.safe_dump({"targets": targets}))
    return file


def mapping(standin, name):
    """Users of its own: one who rests at a backend rests for all targets there."""
    alone = name == "crowded"
    return harness.target(
        standin,
        f"/ws/{name}",
        name=name,
        interval="10m",
        timeout="60s",
        close_timeout="10s",
        identities={f"pool-00{number}": f"user-{number}-of-{name}" for number in range(1 if alone else 3)},
        limits=ALONE if alone else {"slots_per_identity": 0, "slot_release": "300s"},
    )


@contextlib.asynccontextmanager
async def exporter(standin, folder):
    """The command as a process, and where it listens."""
    flags = ("--web.listen-address=127.0.0.1:0", "--startup.delay=1h", "--timeout-offset=1500ms")
    async with command("run", f"--config.file={config(standin, folder)}", *flags) as process:
        (line,) = await process.said("msg=listening")
        yield re.search(r"url=(\S+)", line)[1]


def scraping(address, timeout="3s"):
    """The example, for these targets and this exporter, with all its times shorter."""
    example = yaml.safe_load((ROOT / "deploy/prometheus-probe.yml").read_text())
    (job,) = example["scrape_configs"]
    job |= {"scrape_interval": timeout, "scrape_timeout": timeout}
    job["static_configs"] = [{"targets": [*NAMES, "wss://attacker.example/ws", "no-such-target"]}]
    job["relabel_configs"][-1]["replacement"] = address
    return yaml.safe_dump(example)


@pytest.fixture
async def backend():
    async with StandIn.start(timings=Timings.quick(), tls_port=None) as standin:
        standin.set_fault("/ws/full", "slot_limit:limit=5")
        standin.set_fault("/ws/silent", "silent", "no_close_answer")
        standin.set_fault("/ws/gone", "http:status=503")
        yield standin


async def by_instance(real, expr):
    """The values of an expression, by instance."""
    return {labels["instance"]: value for labels, value in await real.query(expr)}


async def test_a_real_prometheus_asks_for_probes_by_the_usual_relabelling(backend, tmp_path):
    """Success by instance, the reasons as labels, the silent backend told in time; what cannot be is `up` 0."""
    async with exporter(backend, tmp_path) as url:
        (tmp_path / "real").mkdir()
        before = await get(f"{url}/metrics")
        async with prometheus(scraping(url.removeprefix("http://")), tmp_path / "real") as real:
            for query in SEEN:
                assert await real.until(query), query
            assert (await by_instance(real, ever("probe_success"))).keys() == PROBED
            assert await by_instance(real, 'min_over_time(scrape_duration_seconds{instance="silent"}[5m]) < 3')
            assert await by_instance(real, 'max_over_time(up{instance="silent"}[5m])') == {"silent": 1}
        after = await get(f"{url}/metrics")

    assert scheduled(before) == scheduled(after)
    assert {seen.path for seen in backend.sessions} == {f"/ws/{name}" for name in PROBED}
    assert {seen.close_received for seen in backend.sessions if seen.path == "/ws/well"} == {1000}


def ever(series):
    """Its last sample: a target whose users rest is not asked any more, and its series end."""
    return f"last_over_time({series}[5m])"


PROBED = {"well", "full", "silent", "gone"}
SEEN = (
    ever('probe_success{job="ws-factory-probe",instance="well"}') + " == 1",
    ever('probe_success{job="ws-factory-probe",instance="full"}') + " == 0",
    ever('probe_success{job="ws-factory-probe",instance="silent"}') + " == 0",
    ever('probe_success{job="ws-factory-probe",instance="gone"}') + " == 0",
    ever('probe_websocket_connection_upgraded{instance="well"}') + " == 1",
    ever('probe_websocket_status_code{instance="gone"}') + " == 503",
    ever('probe_failure_info{instance="full",phase="admission",reason="factory"}'),
    ever('probe_failure_info{instance="gone",phase="upgrade",reason="http_status"}'),
    ever('probe_failure_info{instance="silent",reason="timeout"}'),
    ever('probe_timeout_seconds{instance="silent"}') + " == 1.5",
    ever('probe_websocket_close_code{instance="full"}') + " == 1011",
    ever('probe_websocket_close_initiator_info{instance="full",initiator="remote"}'),
    ever('probe_factory_failure_info{instance="full",reason="slot_limit"}'),
    f"sum by (instance) ({ever('probe_websocket_duration_seconds')}) > 0",
    'up{instance="crowded"} == 0',
    'up{instance="wss://attacker.example/ws"} == 0',
    'up{instance="no-such-target"} == 0',
)


def scheduled(page):
    """The lines of scheduled probing, but for what the ledger says of identities."""
    return [
        line
        for line in page.splitlines()
        if line.startswith(("ws_probe_", "ws_factory_")) and "slots" not in line and "resting" not in line
    ]


async def test_two_real_prometheus_servers_see_the_same_outage(backend, tmp_path):
    """Both scrape the silent backend at once: each is answered every time, and no session is refused for the other."""
    async with exporter(backend, tmp_path) as url, contextlib.AsyncExitStack() as stack:
        servers = []
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            text = f"global: {{external_labels: {{replica: {name}}}}}\n{scraping(url.removeprefix('http://'))}"
            servers.append(await stack.enter_async_context(prometheus(text, tmp_path / name)))
        await asyncio.gather(
            *(real.until('count_over_time(probe_success{instance="silent"}[5m]) >= 2') for real in servers)
        )
        for real in servers:
            assert await by_instance(real, 'min_over_time(up{instance="silent"}[5m])') == {"silent": 1}
            assert await by_instance(real, 'max_over_time(probe_success{instance="silent"}[5m])') == {"silent": 0}
