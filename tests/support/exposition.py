"""What a scrape of `Metrics` says, read back from its text by the library's own parsers."""

from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from exporter.metrics import ExpositionFormat

PARSERS = {ExpositionFormat.TEXT: parse_text, ExpositionFormat.OPENMETRICS: parse_openmetrics}


def page(metrics, form=ExpositionFormat.TEXT):
    """A whole page."""
    return "".join(metrics.samples(form)) + metrics.process_metrics(form)


def families(metrics, form=ExpositionFormat.TEXT, *, whole=False):
    """The families of our own series; of the `whole` page those of the process too."""
    end = (
        metrics.process_metrics(form)
        if whole
        else {ExpositionFormat.TEXT: "", ExpositionFormat.OPENMETRICS: "# EOF\n"}[form]
    )
    return list(PARSERS[form]("".join(metrics.samples(form)) + end))


def parsed(text):
    """Every sample of a page, by name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parse_text(text)
        for sample in family.samples
    }


def samples(metrics):
    """Every sample of ours, by name and labels."""
    return parsed("".join(metrics.samples(ExpositionFormat.TEXT)))


def value(metrics, name, **labels):
    """One sample; None if it is not there."""
    return samples(metrics).get((name, frozenset((key, str(each)) for key, each in labels.items())))
