"""Which form of the figures a client gets: `Accept` and `Accept-Encoding`, read with their weights.

Rule 1: no header is an error: what nobody understands gets the text format. Rule 2: we claim a version only as we
know it, and an escaping only from the known ones. (RFC 9110 section 12.4-5; Prometheus, "content negotiation".)
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
"""Escaping asked for → escaping answered. Our names are legal without any, so all read the same but `dots`, which
would rewrite every underscore: a server may choose another."""


@dataclass(frozen=True, slots=True)
class NegotiatedFormat:
    """What to send."""

    form: ExpositionFormat
    escaping: str | None = None

    @property
    def content_type(self) -> str:
        """The `Content-Type` of the answer."""
        media, version = self.form.value
        suffix = f"; escaping={self.escaping}" if self.escaping else ""
        return f"{media}; version={version}; charset=utf-8{suffix}"


@dataclass(frozen=True, slots=True)
class _MediaRange:
    """One entry of an `Accept` header; `rank`: the earlier the higher."""

    media: str
    version: str | None
    escaping: str | None
    weight: float
    rank: int

    def specificity(self, form: ExpositionFormat) -> int:
        """How precisely this entry names the form; 0: not at all."""
        media, version = form.value
        if self.media == media:
            return {None: 3, version: 4}.get(self.version, 0)
        return {f"{media.partition('/')[0]}/*": 2, "*/*": 1}.get(self.media, 0)


def choose(accept: str) -> NegotiatedFormat:
    """The acceptable form of the highest weight, the earlier of equals; text 0.0.4 if none is."""
    ranges = list(_ranges(accept))
    best: tuple[float, int] = (0.0, 0)
    choice = NegotiatedFormat(ExpositionFormat.TEXT)
    for form in ExpositionFormat:
        said = max(ranges, key=lambda entry, form=form: entry.specificity(form), default=None)  # type: ignore[misc]
        if said and said.specificity(form) and said.weight > 0 and (said.weight, said.rank) > best:
            best, choice = (said.weight, said.rank), NegotiatedFormat(form, ESCAPINGS.get(said.escaping or ""))
    return choice


def gzip_welcome(accept_encoding: str) -> bool:
    """True if the client takes gzip."""
    weights = {entry.media: entry.weight for entry in _ranges(accept_encoding)}
    return next((weights[name] for name in ("gzip", "x-gzip", "*") if name in weights), 0.0) > 0


def _ranges(header: str) -> Iterator[_MediaRange]:
    """The entries of a header; one whose weight is no weight is left out."""
    for rank, entry in enumerate(header.split(",")):
        media, *parameters = (part.strip() for part in entry.split(";"))
        said = dict(_parameter(parameter) for parameter in parameters)
        weight = said.get("q", "1")
        if media and WEIGHT.fullmatch(weight):
            yield _MediaRange(media.lower(), said.get("version"), said.get("escaping"), float(weight), -rank)


def _parameter(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name.strip().lower(), value.strip().strip('"')
