"""The export by OTLP through a real OpenTelemetry collector: what arrives behind it, and what it holds up.

    pytest tests/engines/collector_cases.py

No registry has the collector as a program, so tests/engines/collector builds one of the collector's own packages.
"""

import json

import pytest
from support import live_exporter, otlp_names
from support.otlp_receiver import receiving
from support.realservers import ENGINES, started, stop, until, victoria_metrics

ATTRIBUTES = "job=ws-factory-exporter,instance=prober-1:11011"
SENT = '{job="ws-factory-exporter"}'
EXPORTS, CYCLES = "ws_exporter_otlp_exports_total", "ws_probe_cycles_total"
ACCEPTED = EXPORTS, frozenset({("outcome", "accepted")})
BATCHED = {"processors": {"batch": {"timeout": "200ms"}}}
QUEUE_OF_ONE = {
    "sending_queue": {"num_consumers": 1, "queue_size": 1},
    "retry_on_failure": {"initial_interval": "100ms", "max_interval": "100ms"},
}
NO_QUEUE = {"sending_queue": {"enabled": False}, "retry_on_failure": {"enabled": False}}


class Collector:
    """A collector that sends on to `url`; stopped, it comes back on its port. `sending`: settings of what sends."""

    def __init__(self, folder, url, sending=None, **parts):
        self._folder, self._process = folder, None
        self._sending, self._parts = {"metrics_endpoint": url, **(sending or {})}, parts
        self.port = None

    async def __aenter__(self):
        await self.start()
        return self

    async def __aexit__(self, *_):
        await self.stop()

    async def start(self):
        log = self._folder / "collector.log"
        self._process, url = await started(self._arguments, None, log, port=self.port)
        self.port = int(url.rpartition(":")[2])

    async def stop(self):
        await stop(self._process)

    def _arguments(self, port):
        config = self._folder / "collector.yaml"
        config.write_text(json.dumps(self._config(port)))
        return [str(ENGINES / "otel-collector"), f"--config={config}"]

    def _config(self, port):
        pipeline = {
            "receivers": ["otlp"],
            "exporters": ["otlp_http"],
            **{part: [*self._parts[part]] for part in self._parts},
        }
        return {
            "receivers": {"otlp": {"protocols": {"http": {"endpoint": f"127.0.0.1:{port}"}}}},
            "exporters": {"otlp_http": self._sending},
            "service": {"pipelines": {"metrics": pipeline}},
            **self._parts,
        }


def exporting(folder, collector, target):
    """An exporter that sends to the collector every second."""
    flags = f"--otlp.endpoint=http://127.0.0.1:{collector.port}/v1/metrics", "--otlp.interval=1s", "--origin=site-a"
    return live_exporter.exporter(folder, target, flags=flags, OTEL_RESOURCE_ATTRIBUTES=ATTRIBUTES)


def said(exporter):
    """What the log says of the export: accepted or why not."""
    lines = [line for line in exporter.running.err if "OTLP receiver" in line]
    return ["accepted" if "accepts the metrics" in line else line for line in lines]


async def goes_on(exporter, **outcome):
    """Wait for three more cycles and three more exports that come to this: the samples then; it is healthy."""
    first = await exporter.samples()
    wanted = [(CYCLES, {"probe": "connect"}), (EXPORTS, outcome)]

    def enough(now):
        return all(now.total(name, **labels) >= first.total(name, **labels) + 3 for name, labels in wanted)

    samples = await exporter.until(enough, patience=90)
    assert await exporter.page("/-/healthy")
    return samples


async def arrives(receiver, samples):
    """Wait for a message that counts more cycles than these samples."""
    counted = samples.total(CYCLES, probe="connect")
    await receiver.until(lambda sent: live_exporter.Samples(sent).total(CYCLES, probe="connect") > counted)


async def test_what_arrives_behind_the_collector_is_what_stands_on_the_page(tmp_path):
    """Names, labels and values; through a batch processor and a queue, as a collector is set up by default."""
    place = live_exporter.World()
    async with victoria_metrics(tmp_path) as store, live_exporter.backend(place) as backend:
        target = live_exporter.target(backend, labels={"team": "payments"})
        url = f"{store.url}/opentelemetry/v1/metrics"
        async with Collector(tmp_path, url, **BATCHED) as collector, exporting(tmp_path, collector, target) as exporter:
            await exporter.until(lambda samples: samples.total("ws_probe_success", probe="send") == 1)

            async def same():
                before = otlp_names.of_page(await exporter.page())

                async def newer():
                    found = otlp_names.values(await store.query(SENT))
                    return found if found.get(ACCEPTED, 0) > before[ACCEPTED] else None

                sent = await until(newer)
                return sent if otlp_names.between(before, sent, otlp_names.of_page(await exporter.page())) else None

            sent = await until(same, patience=90)
            assert len(sent) > 300
            assert sum(1 for value in sent.values() if value) > 50
            assert not await store.query('absent(up{job="ws-factory-exporter",instance="prober-1:11011"})')
            joined = "ws_probe_success * on (job, instance) group_left (origin) ws_exporter_origin_info"
            assert {labels["origin"] for labels, _ in await store.query(joined)} == {"site-a"}


async def test_a_collector_that_is_gone_and_returns_is_said_once_and_gets_the_counts(tmp_path):
    """Probing goes on meanwhile; what it missed is in the next export, for the counters are cumulative."""
    async with (
        receiving() as receiver,
        live_exporter.backend(live_exporter.World()) as backend,
        Collector(tmp_path, receiver.url) as collector,
        exporting(tmp_path, collector, live_exporter.target(backend)) as exporter,
    ):
        await goes_on(exporter, outcome="accepted")
        await collector.stop()
        missed = await goes_on(exporter, outcome="unreachable")
        await collector.start()
        await arrives(receiver, missed)
        await goes_on(exporter, outcome="accepted")
        before, why, after = said(exporter)

    assert (before, after) == ("accepted", "accepted")
    assert "Connection refused" in why


@pytest.mark.parametrize(
    ("sending", "answer", "sentence"),
    [
        pytest.param(QUEUE_OF_ONE, 503, "it answers 503", id="queue full"),
        pytest.param(NO_QUEUE, 503, "it answers 503", id="store down"),
        pytest.param(NO_QUEUE, 400, "it answers 400", id="store refuses"),
    ],
)
async def test_a_collector_that_refuses_is_said_once_and_gets_later_exports(tmp_path, sending, answer, sentence):
    """The collector passes on what the place behind it answers, or that its own queue is full."""
    async with (
        receiving() as receiver,
        live_exporter.backend(live_exporter.World()) as backend,
        Collector(tmp_path, receiver.url, sending) as collector,
        exporting(tmp_path, collector, live_exporter.target(backend)) as exporter,
    ):
        await goes_on(exporter, outcome="accepted")
        receiver.status(answer)
        refused = await goes_on(exporter, outcome="refused")
        receiver.answer = receiver.accept
        await arrives(receiver, refused)
        await goes_on(exporter, outcome="accepted")
        before, why, after = said(exporter)

    assert (before, after) == ("accepted", "accepted")
    assert sentence in why


async def test_probing_goes_on_while_the_collector_waits_for_the_place_behind_it(tmp_path):
    """Three cycles end while one export is waited for, and the page answers."""
    async with (
        receiving() as receiver,
        live_exporter.backend(live_exporter.World()) as backend,
        Collector(tmp_path, receiver.url, NO_QUEUE) as collector,
        exporting(tmp_path, collector, live_exporter.target(backend)) as exporter,
    ):
        await goes_on(exporter, outcome="accepted")
        receiver.answer = receiver.never
        await exporter.until(lambda samples: samples.total(EXPORTS, outcome="timeout"), patience=90)
        began = await exporter.samples()

        def probed(now):
            nonlocal began
            if now.total(EXPORTS) != began.total(EXPORTS):
                began = now
            return now.total(CYCLES, probe="connect") >= began.total(CYCLES, probe="connect") + 3

        held_up = await exporter.until(probed, patience=90)
        receiver.answer = receiver.accept
        await arrives(receiver, held_up)
        await goes_on(exporter, outcome="accepted")
        before, why, after = said(exporter)

    assert (before, after) == ("accepted", "accepted")
    assert "it has not answered within 10 s" in why
