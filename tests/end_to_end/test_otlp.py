"""The export by OTLP into a real VictoriaMetrics, which scrapes the same exporter too: one set of series by both ways.

`make engines` asks the same of Prometheus, whose receiver Debian leaves out (tests/engines/otlp_cases.py), and of an
OpenTelemetry collector (tests/engines/collector_cases.py).
"""

import yaml
from support import live_exporter, otlp_names
from support.paths import ROOT
from support.realservers import free_port, until, victoria_metrics

SCRAPES = """\
scrape_configs:
  - job_name: scraped
    scrape_interval: 1s
    static_configs: [{{targets: ["{address}"]}}]
"""
ATTRIBUTES = "job=ws-factory-exporter,instance=prober-1:11011"
SENT, SCRAPED = '{job="ws-factory-exporter"}', '{job="scraped"}'


def rule(name):
    """The expression of a shipped alert."""
    groups = yaml.safe_load((ROOT / "alerts.yml").read_text())["groups"]
    return next(rule["expr"] for group in groups for rule in group["rules"] if rule.get("alert") == name)


async def test_the_series_of_the_export_are_those_of_the_scrape_and_rules_find_them(tmp_path):
    """The same names and labels, but for job, instance and attributes; and the shipped rules judge by them.

    Of two targets one is not there: its page fires, and none that takes the exporter for gone.
    """
    place = live_exporter.World()
    async with victoria_metrics(tmp_path) as store, live_exporter.backend(place) as backend:
        flags = f"--otlp.endpoint={store.url}/opentelemetry/v1/metrics", "--otlp.interval=1s", "--origin=site-a"
        target = live_exporter.target(backend, labels={"team": "payments"})
        dead = {**target, "name": "dead", "url": f"ws://127.0.0.1:{free_port()}/ws"}
        async with live_exporter.exporter(
            tmp_path, target, dead, place=place, flags=flags, OTEL_RESOURCE_ATTRIBUTES=ATTRIBUTES
        ) as exporter:
            fires = await store.until(rule("WebSocketConnectFailing"))
            assert [labels for labels, _ in fires] == [{"job": "ws-factory-exporter", "target": "dead"}]
            for name in ("WebSocketExporterAbsent", "WebSocketExporterEmpty", "WebSocketExporterDown"):
                assert not await store.query(rule(name)), name
            joined = "ws_probe_success * on (job, instance) group_left (origin) ws_exporter_origin_info"
            assert {labels["origin"] for labels, _ in await store.query(joined)} == {"site-a"}
            await exporter.until(lambda samples: samples.total("ws_probe_success", probe="send") == 1)
            (tmp_path / "scrape.yml").write_text(SCRAPES.format(address=exporter.url.removeprefix("http://")))

            async def same():
                sent, scraped = [otlp_names.series(await store.query(which)) for which in (SENT, SCRAPED)]
                return sent if sent == scraped else None

            assert len(await until(same)) > 600
