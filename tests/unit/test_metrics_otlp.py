"""Package `metrics`: OTLP has the series of a scrape, under the same names, with types, units and start times."""

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsPartialSuccess,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality
from support import exposition, otlp

from exporter.config import Target
from exporter.metrics import Metrics, target_series
from exporter.metrics import families as f
from exporter.metrics.otlp import POINTS_PER_MESSAGE, UP, messages, refused_points
from exporter.profiles import BUILT_IN
from exporter.result import ExportOutcome, Probe, Result, Trigger, Verdict

BORN, ADDED, NOW = 1_000.0, 1_500.25, 2_000.0
CUMULATIVE = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
RESOURCE = {"service.name": "ws-factory-exporter", "service.instance.id": "prober-1:11011"}


def added(metrics, name="staging", at=ADDED, **changes):
    fields = {
        "name": name,
        "url": "wss://localhost/ws",
        "identities": {"a": "u1", "b": "u2"},
        "labels": {"team": 'pay"ments'},
        **changes,
    }
    metrics.add_target(target_series(Target.model_validate(fields), BUILT_IN["factory"]), at)


def record_pass(metrics):
    durations = {Probe.CONNECT: 0.03, Probe.SEND: 11.0}
    verdicts = dict.fromkeys(Probe, Verdict.PASS)
    result = Result("staging", "a", "r1", Probe.SEND, Trigger.SCHEDULE, NOW, verdicts, durations=durations)
    metrics.record_result(result)


@pytest.fixture
def metrics():
    made = Metrics("1.2.3", "site-a", at=BORN)
    made.add_exports()
    added(made)
    record_pass(made)
    return made


def sent(metrics, at=NOW):
    with metrics.frozen() as stores:
        views = list(stores)
    return list(messages(views, metrics.process_families(), RESOURCE, at))


def metric(bodies, name):
    (found,) = (metric for _, metric in otlp.metrics(*bodies) if metric.name == name)
    return found


def starts(bodies, name):
    return {point.start_time_unix_nano / 1e9 for point in otlp.points(metric(bodies, name))}


def test_every_sample_of_a_scrape_is_sent_under_its_name_and_labels(metrics):
    """The same samples, process and interpreter included, whose figures move; `up` besides, which a scrape makes."""
    scraped = exposition.parsed(exposition.page(metrics))
    received = otlp.samples(*sent(metrics))

    assert received.pop((UP.name, frozenset())) == 1
    assert received.keys() == scraped.keys()
    assert {key for key in scraped if key[0].startswith("ws_") and received[key] != scraped[key]} == set()


@pytest.mark.parametrize(
    ("name", "kind", "unit"),
    [
        ("ws_probe_attempts_total", "sum", ""),
        ("ws_probe_success", "gauge", ""),
        ("ws_probe_duration_seconds", "histogram", "s"),
        ("ws_probe_due_timestamp_seconds", "gauge", "s"),
        ("ws_factory_auth_bypassed", "gauge", ""),
        ("process_cpu_seconds_total", "sum", "s"),
        ("process_resident_memory_bytes", "gauge", "By"),
        ("python_gc_collections_total", "sum", ""),
        ("python_info", "gauge", ""),
    ],
)
def test_kind_unit_and_description_are_metadata(metrics, name, kind, unit):
    """Counters are cumulative monotonic sums, histograms cumulative; HELP is the description; all have one time."""
    metrics.set_due("staging", Probe.SEND, 9.0)
    found = metric(sent(metrics), name)

    assert (found.WhichOneof("data"), found.unit) == (kind, unit)
    assert found.description
    assert {point.time_unix_nano for point in otlp.points(found)} == {int(NOW * 1e9)}
    if kind == "sum":
        assert found.sum.is_monotonic
    if kind != "gauge":
        assert getattr(found, kind).aggregation_temporality == CUMULATIVE


def test_a_histogram_has_the_bounds_of_the_scrape_and_counts_of_each_bucket(metrics):
    """One more count than bounds, each of its bucket alone, and they add up to the count."""
    found = metric(sent(metrics), "ws_probe_duration_seconds")
    by_probe = {point.attributes[1].value.string_value: point for point in otlp.points(found)}

    assert tuple(by_probe["send"].explicit_bounds) == f.PROBE_BUCKETS
    assert list(by_probe["send"].bucket_counts) == [0] * len(f.PROBE_BUCKETS) + [1]
    assert list(by_probe["connect"].bucket_counts) == [0, 1] + [0] * (len(f.PROBE_BUCKETS) - 1)
    assert (by_probe["send"].count, by_probe["send"].sum) == (1, 11.0)


def test_a_counter_began_when_its_series_did(metrics):
    """The exporter's with the process, a target's when it was added, a later identity's when it came, anew if again."""
    names = "ws_exporter_otlp_exports_total", "ws_probe_attempts_total", "ws_probe_identity_attempts_total"
    assert [starts(sent(metrics), name) for name in names] == [{BORN}, {ADDED}, {ADDED}]
    added(metrics, at=1_600.0, identities={"a": "u1"})
    added(metrics, at=1_700.0, identities={"a": "u1", "b": "u2"})
    assert [starts(sent(metrics), name) for name in names] == [{BORN}, {ADDED}, {ADDED, 1_700.0}]
    metrics.remove_target("staging")
    added(metrics, at=1_800.0)
    assert [starts(sent(metrics), name) for name in names] == [{BORN}, {1_800.0}, {1_800.0}]


def test_no_series_begins_after_its_point(metrics):
    """The wall clock was set back: the start is the time of the point then."""
    assert starts(sent(metrics, at=ADDED - 10), "ws_probe_attempts_total") == {ADDED - 10}


def test_what_is_unknown_is_not_sent(metrics):
    """A gauge without a value has no point, and a family without points is left out."""
    assert not [metric for _, metric in otlp.metrics(*sent(metrics)) if metric.name == "ws_factory_slot_limit"]


def test_scopes_have_no_name_and_every_message_its_resource(metrics):
    """Receivers make labels of a scope's name, which a scrape does not have."""
    for number in range(2 * POINTS_PER_MESSAGE // 300):
        added(metrics, f"t{number}")
    bodies = sent(metrics)

    assert len(bodies) >= 2
    assert max(map(len, bodies)) < 4_000_000
    assert otlp.samples(*bodies).keys() - {("up", frozenset())} == exposition.parsed(exposition.page(metrics)).keys()
    for body in bodies:
        ((resource, scope),) = otlp.scopes(body)
        assert resource == RESOURCE
        assert (scope.scope.name, scope.scope.version) == ("", "")


def test_what_is_counted_while_it_is_read_is_not_in_it(metrics):
    """An export is of one moment, as a scrape is, and what it took is not changed later."""
    before = otlp.samples(*sent(metrics))
    with metrics.frozen() as stores:
        own = next(stores)
        metrics.record_export(ExportOutcome.ACCEPTED)
        record_pass(metrics)
        metrics.remove_target("gone")
        views = [own, *stores]
    record_pass(metrics)
    taken = otlp.samples(*messages(views, (), RESOURCE, NOW))

    assert {key: before[key] for key in taken} == taken


def test_points_that_a_receiver_refused_are_counted():
    """The body of its 200 says how many; one that is empty or no protobuf refuses none."""
    partial = ExportMetricsServiceResponse(partial_success=ExportMetricsPartialSuccess(rejected_data_points=7))
    assert [refused_points(body) for body in (partial.SerializeToString(), b"", b"ok, thanks")] == [7, 0, 0]
