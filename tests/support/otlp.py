"""Messages of OTLP, read back as series of Prometheus by the rules of its OpenTelemetry compatibility page."""

from itertools import accumulate

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest


def scopes(body):
    """Attributes of the resource and metrics of each scope of a message."""
    for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
        for scope in resource.scope_metrics:
            yield _labels(resource.resource.attributes), scope


def metrics(*bodies):
    """Every metric of the messages, with its attributes of the resource."""
    return [(resource, metric) for body in bodies for resource, scope in scopes(body) for metric in scope.metrics]


def points(metric):
    return getattr(metric, metric.WhichOneof("data")).data_points


def samples(*bodies):
    """What a receiver makes of the messages: (name, labels) → value, with `le` as the scrape writes it."""
    return {
        (name, frozenset(labels.items())): value
        for _, metric in metrics(*bodies)
        for point in points(metric)
        for name, labels, value in _samples(metric, point)
    }


def _samples(metric, point):
    labels = _labels(point.attributes)
    if metric.WhichOneof("data") != "histogram":
        yield metric.name, labels, point.as_double
        return
    bounds = (*map(str, point.explicit_bounds), "+Inf")
    for bound, count in zip(bounds, accumulate(point.bucket_counts), strict=True):
        yield f"{metric.name}_bucket", {**labels, "le": bound}, count
    yield f"{metric.name}_count", labels, point.count
    yield f"{metric.name}_sum", labels, point.sum


def _labels(attributes):
    return {attribute.key: attribute.value.string_value for attribute in attributes}
