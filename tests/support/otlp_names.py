"""What a store has of an exporter, so that what was sent by OTLP and what was scraped can be compared."""

OF_THE_WAY = ("job", "instance")
"""Labels that say by which way a series came; attributes of the resource have a dot in their name."""
OF_A_SCRAPE = ("scrape_", "up", "target_info")
"""Beginnings of the names of series that a receiver makes itself."""


def series(vector):
    """(name, labels) of each sample of the exporter's own; a bound of a bucket as a number, for `1` is `1.0`."""
    return {_key(labels) for labels, _ in vector if not labels["__name__"].startswith(OF_A_SCRAPE)}


def _key(labels):
    kept = {name: value for name, value in labels.items() if name not in OF_THE_WAY and "." not in name}
    if "le" in kept:
        kept["le"] = float(kept["le"])
    return kept.pop("__name__"), frozenset(kept.items())
