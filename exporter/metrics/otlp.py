"""The metrics as messages of OTLP 1.x (OpenTelemetry protocol), under the names of a scrape.

Rule 1: imported where OTLP is used and nowhere else: the library is an extra, and takes 0.1 s to load.
Rule 2: names are those of `families`, `_total` included: receivers that add the suffixes of Prometheus add none twice,
and those that add none leave what the alert rules ask for.
Rule 3: no scope has a name: receivers would make labels of it that a scrape does not have.

Source: opentelemetry-proto, metrics/v1/metrics.proto.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Final

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, Metric, ScopeMetrics

from exporter.metrics.exposition import PlainFamily
from exporter.metrics.families import ALL, Family
from exporter.metrics.storage import Point, StoreView

POINTS_PER_MESSAGE: Final = 10_000
"""Series in one message: about 1 MB, or 50 KB compressed. Receivers take 20 MiB and more by default."""

UNITS: Final[Mapping[str, str]] = {"seconds": "s", "bytes": "By"}
"""Last word of a name without `_total` → its unit, as UCUM writes it."""

UP: Final = PlainFamily("up", "gauge", "1: the exporter has sent this.", [({}, 1.0)])
"""Prometheus makes it of each scrape, and alert rules ask for it: without it they would take the exporter for gone."""

CUMULATIVE: Final = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
NANOSECONDS_PER_SECOND: Final = 1_000_000_000


def messages(
    views: Sequence[StoreView], process: Iterable[PlainFamily], resource: Mapping[str, str], at: float
) -> Iterator[bytes]:
    """All series at `at` (unix seconds), in messages of about `POINTS_PER_MESSAGE`.

    `views`: the exporter's own series first. `process`: those of the process, which began with the exporter's own.
    `resource`: attributes of the resource.
    """
    now = _nanoseconds(at)
    for number, batch in enumerate(_batches(views)):
        request = ExportMetricsServiceRequest()
        resource_metrics = request.resource_metrics.add()
        resource_metrics.resource.attributes.extend(_attribute(*pair) for pair in resource.items())
        scope = resource_metrics.scope_metrics.add()
        for family in ALL:
            _add_family(scope, family, batch, now)
        for plain in (UP, *process) if number == 0 else ():
            _add_plain(scope, plain, _nanoseconds(batch[0].born), now)
        yield request.SerializeToString()


def refused_points(body: bytes) -> int:
    """How many points the receiver refused, by the body of its 200; one that is no protobuf refuses none."""
    try:
        refused: int = ExportMetricsServiceResponse.FromString(body).partial_success.rejected_data_points
    except DecodeError:
        return 0
    return refused


def _batches(views: Sequence[StoreView]) -> Iterator[list[StoreView]]:
    batch: list[StoreView] = []
    points = 0
    for view in views:
        batch.append(view)
        points += len(view.values)
        if points >= POINTS_PER_MESSAGE:
            yield batch
            batch, points = [], 0
    if batch:
        yield batch


def _add_family(scope: ScopeMetrics, family: Family, views: Iterable[StoreView], now: int) -> None:
    points = [point for view in views for point in view.points(family)]
    if not points:
        return
    metric = _metric(scope, family.name, family.help)
    if family.kind == "histogram":
        _add_histograms(metric, family.buckets, points, now)
    else:
        plain = ((point.labels, point.values[0], _nanoseconds(point.since)) for point in points)
        _add_numbers(metric, plain, now, counts=family.kind == "counter")


def _add_plain(scope: ScopeMetrics, family: PlainFamily, since: int, now: int) -> None:
    metric = _metric(scope, family.name, family.help)
    points = ((labels, value, since) for labels, value in family.samples)
    _add_numbers(metric, points, now, counts=family.kind == "counter")


def _metric(scope: ScopeMetrics, name: str, text: str) -> Metric:
    unit = UNITS.get(name.removesuffix("_total").rpartition("_")[2], "")
    return scope.metrics.add(name=name, description=text, unit=unit)


def _add_numbers(
    metric: Metric, points: Iterable[tuple[Mapping[str, str], float, int]], now: int, *, counts: bool
) -> None:
    """`points`: labels, value, and nanoseconds since when a counter counts."""
    if counts:
        metric.sum.is_monotonic = True
        metric.sum.aggregation_temporality = CUMULATIVE
    add = (metric.sum if counts else metric.gauge).data_points.add
    for labels, value, since in points:
        add(
            attributes=[_attribute(*pair) for pair in labels.items()],
            start_time_unix_nano=min(since, now) if counts else 0,
            time_unix_nano=now,
            as_double=value,
        )


def _add_histograms(metric: Metric, bounds: Sequence[float], points: Iterable[Point], now: int) -> None:
    metric.histogram.aggregation_temporality = CUMULATIVE
    for labels, (*counts, total), since in points:
        metric.histogram.data_points.add(
            attributes=[_attribute(*pair) for pair in labels.items()],
            start_time_unix_nano=min(_nanoseconds(since), now),  # the wall clock may have been set back
            time_unix_nano=now,
            count=sum(map(int, counts)),
            sum=total,
            bucket_counts=map(int, counts),
            explicit_bounds=bounds,
        )


def _nanoseconds(seconds: float) -> int:
    return int(seconds * NANOSECONDS_PER_SECOND)


@lru_cache(maxsize=4096)
def _attribute(name: str, value: str) -> KeyValue:
    """An attribute of text; the message that it is added to copies it."""
    return KeyValue(key=name, value=AnyValue(string_value=value))
