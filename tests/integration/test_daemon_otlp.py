"""The export by OTLP beside everything else: what arrives, and that a receiver that is ill holds nothing up."""

import asyncio
import contextlib
import logging
import socket
import threading
import time

import pytest
from aiohttp import web
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as service
from support import exposition, harness, otlp
from support.otlp_receiver import receiving
from support.realservers import free_port, until

from exporter.config.otlp import OtlpSettings
from exporter.daemon import Daemon, DaemonOptions
from exporter.daemon.otlp import BUSY, OtlpExporter
from exporter.host import Clock
from exporter.loading import LoadedConfig
from exporter.metrics import Metrics
from exporter.result import ExportOutcome
from exporter.standin import StandIn, Timings
from exporter.web import ListenAddress

SECRET = "s3cret"
EXPORTS = "ws_exporter_otlp_exports_total"
SENT = "ws_probe_attempts_total", frozenset({("target", "staging"), ("probe", "send")})
EVERY = 0.05
"""Seconds between two exports."""


def settings(url, **changes):
    return OtlpSettings(url, **{"interval": EVERY, **changes})


@contextlib.asynccontextmanager
async def exporting(url, *, origin=None, delay=0.0, **changes):
    """A daemon that probes a stand-in and exports to the URL; its config can be loaded again."""
    async with StandIn.start(timings=Timings.quick(), tls_port=None) as standin:
        target = harness.target(standin, interval="1s", timeout="500ms", close_timeout="200ms", confirm={"runs": 0})

        def load():
            return LoadedConfig(None, harness.planned(target, {**target, "name": "another"}), ())

        options = DaemonOptions(
            ListenAddress("127.0.0.1", 0), delay, load=load, origin=origin, otlp=settings(url, **changes)
        )
        daemon = Daemon(harness.planned(target), options)
        await daemon.start()
        try:
            yield daemon
        finally:
            await daemon.stop()


def counted(daemon):
    """Outcome → exports, as the page says."""
    shown = exposition.samples(daemon._services.metrics)
    return {dict(labels)["outcome"]: value for (name, labels), value in shown.items() if name == EXPORTS}


async def counts(daemon, outcome, times=1):
    """Wait until so many more exports have come to this."""
    wanted = counted(daemon)[outcome] + times

    async def enough():
        return counted(daemon)[outcome] >= wanted

    await until(enough, step=EVERY)


async def probed(daemon, name):
    """Wait for a session of a target."""

    async def has_results():
        return daemon._services.history.recent(name)

    await until(has_results, step=EVERY)


def lines(caplog):
    """What the log says of the export."""
    return [record.getMessage() for record in caplog.records if record.name == "exporter.otlp"]


# What arrives ---------------------------------------------------------------------------------------------------------


async def test_the_series_of_the_page_arrive_as_this_exporter(caplog):
    """At once and then on the interval, as one resource: name, instance, origin; the log says so once."""
    caplog.set_level(logging.INFO)
    async with receiving() as receiver, exporting(receiver.url, origin="site-a") as daemon:
        await receiver.until(lambda samples: any(name == "ws_probe_success" for name, _ in samples))
        await counts(daemon, "accepted")
        ((resource, _),) = otlp.scopes(receiver.bodies[-1])
        port = daemon.url.rpartition(":")[2].strip("/")

    assert resource == {
        "service.name": "ws-factory-exporter",
        "service.instance.id": f"{socket.gethostname()}:{port}",
        "ws_exporter.origin": "site-a",
    }
    first = otlp.samples(receiver.bodies[0])
    assert first[SENT] == 0
    assert first[EXPORTS, frozenset({("outcome", "accepted")})] == 0
    sent = receiver.headers[0]
    assert (sent["Content-Type"], sent["Content-Encoding"]) == ("application/x-protobuf", "gzip")
    assert lines(caplog) == [f"the OTLP receiver at {receiver.url.removesuffix('/v1/metrics')} accepts the metrics"]


async def test_attributes_and_headers_are_those_of_the_settings(tmp_path):
    """Attributes replace the exporter's; the file of the headers is read again when it changes."""
    file = tmp_path / "headers"
    file.write_text("Authorization: Bearer one\n")
    changes = {
        "resource": {"service.name": "mine", "job": "mine"},
        "headers": {"X-Scope-OrgID": "a", "Authorization": "none"},
        "headers_file": str(file),
    }
    async with receiving() as receiver, exporting(receiver.url, **changes):
        await receiver.more()
        assert receiver.headers[0]["Authorization"] == "Bearer one"
        assert receiver.headers[0]["X-Scope-OrgID"] == "a"
        file.write_text("Authorization: Bearer two-and-longer\n")
        await receiver.until(lambda _: receiver.headers[-1]["Authorization"] == "Bearer two-and-longer")
        ((resource, _),) = otlp.scopes(receiver.bodies[0])
        assert (resource["service.name"], resource["job"]) == ("mine", "mine")


async def test_the_first_session_waits_for_an_export_that_shows_the_zeros():
    """An accepted one is as good as a scrape: the receiver sees the first failure as an increase."""
    async with receiving() as receiver:
        receiver.status(503)
        async with exporting(receiver.url, delay=0.01) as daemon:
            await counts(daemon, "refused", 3)
            assert daemon._startup_gate.starts_within("staging") > 1
            receiver.answer = receiver.accept
            await receiver.until(lambda samples: samples[SENT])


# A receiver that is ill -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "headers", "hint"),
    [
        (
            401,
            {},
            "it answers 401; are the credentials right that --otlp.headers-file",
        ),
        (404, {}, "it answers 404; is the path of --otlp.endpoint the receiver's"),
        (302, {"Location": "http://127.0.0.1:9/"}, "it answers 302"),
        (503, {}, "it answers 503"),
    ],
)
async def test_a_refusal_is_counted_each_time_and_said_once(caplog, status, headers, hint):
    """With what to do, and without path, query and headers; its end is said too. No redirect is followed."""
    caplog.set_level(logging.INFO)
    async with receiving() as receiver:
        receiver.status(status, **headers)
        url = f"{receiver.url}/{SECRET}?token={SECRET}"
        async with exporting(url, headers={"Authorization": f"Bearer {SECRET}"}) as daemon:
            await counts(daemon, "refused", 3)
            receiver.answer = receiver.accept
            await counts(daemon, "accepted", 2)
    refused, accepted = lines(caplog)
    assert hint in refused
    assert "accepts the metrics" in accepted
    assert SECRET not in caplog.text


async def test_a_receiver_that_is_not_there_is_unreachable(caplog):
    """The operating system's words; the exporter is healthy and probes."""
    async with exporting(f"http://127.0.0.1:{free_port()}/v1/metrics") as daemon:
        await counts(daemon, "unreachable", 3)
        assert daemon._unhealthy_reason() is None
    (line,) = lines(caplog)
    assert line.endswith(": Connection refused")


async def test_a_receiver_that_never_answers_holds_up_nothing(caplog):
    """One request at a time and one thread; probes, pages and a reload go on; the stop does not wait for it."""
    async with receiving() as receiver:
        receiver.answer = receiver.never
        async with exporting(receiver.url, timeout=EVERY) as daemon:
            await counts(daemon, "timeout", 5)
            assert sum(thread.name == "otlp" for thread in threading.enumerate()) <= 2, "one, and one that just ended"
            assert (await daemon._reloader.reload()).successful
            await probed(daemon, "another")
            assert "timeout" in counted(daemon)
            began = time.monotonic()
            await daemon.stop()
            assert time.monotonic() - began < 5
    assert len(lines(caplog)) == 1


async def test_an_export_does_not_begin_before_the_one_before_has_ended():
    """However long it takes: it counts as a timeout, and nothing is read or queued for it."""
    metrics = Metrics("1")
    exporter = OtlpExporter(settings("http://127.0.0.1:9"), metrics, Clock(), {}, lambda _: None)
    exporter._sending = asyncio.create_task(asyncio.Event().wait())
    export = await exporter._attempt()
    exporter._sending.cancel()

    assert (export.outcome, export.sentence) == (ExportOutcome.TIMEOUT, BUSY)


async def test_a_reload_keeps_the_export():
    """A target that the reload adds is in the next message."""
    async with receiving() as receiver, exporting(receiver.url) as daemon:
        await receiver.more()
        assert (await daemon._reloader.reload()).successful
        timeout = "ws_probe_timeout_seconds", frozenset({("target", "another")})
        await receiver.until(lambda samples: timeout in samples)


async def test_headers_that_cannot_be_used_any_more_are_our_own_failure(tmp_path, caplog):
    """The file is named, nothing of it is shown, and nothing is sent without them."""
    file = tmp_path / "headers"
    file.write_text("a: b\n")
    async with receiving() as receiver, exporting(receiver.url, headers_file=str(file)) as daemon:
        await receiver.more()
        file.write_text(f"Bearer {SECRET}\n")
        await counts(daemon, "impaired", 2)
        before = len(receiver.bodies)
        await counts(daemon, "impaired", 2)
        assert len(receiver.bodies) == before
    assert f"{file}: line 1 is no header: write NAME: VALUE" in caplog.text
    assert SECRET not in caplog.text


async def test_points_that_are_refused_are_no_accepted_export(caplog):
    """A 200 may say that some of the points were refused."""

    async def partial(_request):
        refused = service.ExportMetricsPartialSuccess(rejected_data_points=7, error_message=SECRET)
        return web.Response(body=service.ExportMetricsServiceResponse(partial_success=refused).SerializeToString())

    async with receiving() as receiver:
        receiver.answer = partial
        async with exporting(receiver.url) as daemon:
            await counts(daemon, "partial", 2)
    (line,) = lines(caplog)
    assert line.endswith("it refused 7 of the points, see its log")
