"""What a store has of an exporter, so that what was sent by OTLP and what was scraped can be compared."""

import math

from support.exposition import parsed

OF_THE_WAY = ("job", "instance")
"""Labels that say by which way a series came; attributes of the resource have a dot in their name."""
OF_A_SCRAPE = ("scrape_", "up", "target_info")
"""Beginnings of the names of series that a receiver makes itself."""
CUMULATIVE = ("_total", "_count", "_sum", "_bucket")
"""Ends of the names of series that never fall while the exporter lives."""
OF_THE_PROCESS = "process_"
"""Beginning of the names of gauges that a scrape itself changes: it has a socket, and takes memory."""
ROUNDING = 1e-9
"""By what part of itself a value may differ: VictoriaMetrics keeps 0.7064514210001107 as 0.706451421."""


def values(vector):
    """(name, labels) → value of each sample of the exporter; a bound of a bucket is a number, for `1` is `1.0`."""
    return {_key(labels): value for labels, value in vector if not labels["__name__"].startswith(OF_A_SCRAPE)}


def series(vector):
    """(name, labels) of each sample of the exporter's own."""
    return set(values(vector))


def of_page(text):
    """`values` of a page."""
    return values([({"__name__": name, **dict(labels)}, value) for (name, labels), value in parsed(text).items()])


def between(before, sent, after):
    """Whether what was sent is what stood on the page between two scrapes: the same series with the same values.

    A count that has grown meanwhile lies between its two. Of a gauge that has changed nothing can be said, nor of one
    of the process.
    """
    if not before.keys() == sent.keys() == after.keys():
        return False
    steady = {key for key in sent if before[key] == after[key] and not key[0].startswith(OF_THE_PROCESS)}
    counts = {key for key in sent if key[0].endswith(CUMULATIVE)}
    return all(_within(before[key], sent[key], after[key]) for key in steady | counts)


def _within(low, value, high):
    return low <= value <= high or any(math.isclose(value, bound, rel_tol=ROUNDING) for bound in (low, high))


def _key(labels):
    kept = {name: value for name, value in labels.items() if name not in OF_THE_WAY and "." not in name}
    if "le" in kept:
        kept["le"] = float(kept["le"])
    return kept.pop("__name__"), frozenset(kept.items())
