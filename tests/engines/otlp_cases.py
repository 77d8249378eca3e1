"""The export by OTLP into the receiver of Prometheus, with each of its ways to translate names.

    pytest tests/engines/otlp_cases.py

Debian builds Prometheus without that receiver, so tests/engines/receiver builds it from Prometheus' own packages. That
VictoriaMetrics gets the same series is held by tests/end_to_end/test_otlp.py, and that a collector passes them on by
collector_cases.py.
"""

import pytest
from support import live_exporter, otlp_names
from support.realservers import ENGINES, Prometheus, started, stop, until

STRATEGIES = (
    "UnderscoreEscapingWithSuffixes",
    "UnderscoreEscapingWithoutSuffixes",
    "NoUTF8EscapingWithSuffixes",
    "NoTranslation",
)
INSTANCE = "OTEL_RESOURCE_ATTRIBUTES"
SENT = '{job="ws-factory-exporter",instance="prober-1:11011"}'


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_prometheus_has_the_series_of_the_page(strategy, tmp_path):
    """The same names and labels; `job` and `instance` are those that the rules ask for."""
    program = str(ENGINES / "otlp-receiver")
    process, url = await started(
        lambda port: [program, str(port), str(tmp_path / "data"), strategy], "/-/ready", tmp_path / "receiver.log"
    )
    place, store = live_exporter.World(), Prometheus(url)
    flags = f"--otlp.endpoint={url}/api/v1/otlp/v1/metrics", "--otlp.interval=1s", "--origin=site-a"
    environment = {INSTANCE: "service.instance.id=prober-1:11011"}
    try:
        async with live_exporter.backend(place) as backend:
            target = live_exporter.target(backend, labels={"team": "payments"})
            async with live_exporter.exporter(tmp_path, target, place=place, flags=flags, **environment) as exporter:
                await exporter.until(lambda samples: samples.total("ws_probe_success", probe="send") == 1)

                async def same():
                    wanted = otlp_names.of_page(await exporter.page()).keys()
                    sent = otlp_names.series(await store.query(SENT))
                    return sent if sent == wanted else None

                assert len(await until(same)) > 300
                assert not await store.query('absent(up{job="ws-factory-exporter"})')
                assert await store.query(
                    f"target_info{SENT} * on (job, instance) group_left (origin) ws_exporter_origin_info"
                )
    finally:
        await stop(process)
