"""Chooses the exposition format of a response from the weights in `Accept` and `Accept-Encoding`.

Rule 1: no header is an error; one that cannot be parsed gets the text format. Rule 2: a response names only known
versions and escapings. (RFC 9110 section 12.4-5; Prometheus, "content negotiation".)
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from exporter.metrics import ExpositionFormat

WEIGHT: Final = re.compile(r"(?:0(?:\.\d{0,3})?|1(?:\.0{0,3})?)")

ESCAPINGS: Final = {
    "allow-utf-8": "allow-utf-8",
    "underscores": "underscores",
    "values": "values",
    "dots": "underscores",
}
"""Requested escaping → escaping of the response. All but `dots` leave the exporter's names unchanged; `dots` would
rewrite every underscore, and a server may choose another."""


@dataclass(frozen=True, slots=True)
class NegotiatedFormat:
    """The format of a response."""

    form: ExpositionFormat
    escaping: str | None = None

    @property
    def content_type(self) -> str:
        """The `Content-Type` of the response."""
        media, version = self.form.value
        suffix = f"; escaping={self.escaping}" if self.escaping else ""
        return f"{media}; version={version}; charset=utf-8{suffix}"


@dataclass(frozen=True, slots=True)
class _MediaRange:
    """One entry of an `Accept` header; an earlier entry has a higher `rank`."""

    media: str
    version: str | None
    escaping: str | None
    weight: float
    rank: int

    def specificity(self, form: ExpositionFormat) -> int:
        """How precisely this entry names the format; 0: not at all."""
        media, version = form.value
        if self.media == media:
            return {None: 3, version: 4}.get(self.version, 0)
        return {f"{media.partition('/')[0]}/*": 2, "*/*": 1}.get(self.media, 0)


def negotiate_format(accept: str) -> NegotiatedFormat:
    """The format of the highest weight, the earlier of equal ones; text 0.0.4 if none is acceptable."""
    ranges = list(_ranges(accept))
    best: tuple[float, int] = (0.0, 0)
    choice = NegotiatedFormat(ExpositionFormat.TEXT)
    for form in ExpositionFormat:
        entry = max(ranges, key=lambda entry, form=form: entry.specificity(form), default=None)  # type: ignore[misc]
        if entry and entry.specificity(form) and entry.weight > 0 and (entry.weight, entry.rank) > best:
            best, choice = (entry.weight, entry.rank), NegotiatedFormat(form, ESCAPINGS.get(entry.escaping or ""))
    return choice


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether the client accepts gzip."""
    weights = {entry.media: entry.weight for entry in _ranges(accept_encoding)}
    return next((weights[name] for name in ("gzip", "x-gzip", "*") if name in weights), 0.0) > 0


def _ranges(header: str) -> Iterator[_MediaRange]:
    """The entries of a header, without those whose weight cannot be parsed."""
    for rank, entry in enumerate(header.split(",")):
        media, *parts = (part.strip() for part in entry.split(";"))
        parameters = dict(_parameter(part) for part in parts)
        weight, version, escaping = parameters.get("q", "1"), parameters.get("version"), parameters.get("escaping")
        if media and WEIGHT.fullmatch(weight):
            yield _MediaRange(media.lower(), version, escaping, float(weight), -rank)


def _parameter(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name.strip().lower(), value.strip().strip('"')
