"""The exporter's own health, and where the rest is."""

from collections.abc import Iterator, Mapping
from typing import Final

from exporter.web.page.markup import Child, Markup, element, joined
from exporter.web.page.timefmt import age_element, time_and_age, time_element
from exporter.web.page.values import ExporterHealth

LATE_LOOP_SECONDS: Final = 0.05
"""Seconds of a late loop from which sessions are distorted."""

LINKS: Final[Mapping[str, str]] = {
    "api/results": "Results",
    "runbook/README": "Runbook",
    "-/healthy": "Health",
    "-/ready": "Readiness",
}


def health_section(own: ExporterHealth, now: float) -> Markup:
    """The section."""
    lines = [
        element("div", element("dt", name), element("dd", words, class_="wrong" if wrong else None))
        for name, words, wrong in _lines(own, now)
    ]
    return element(
        "section",
        element("h2", "This exporter"),
        element("dl", lines, class_="health"),
        id="health",
    )


def endpoint_links(metrics: str) -> Markup:
    """The ways to the rest; `metrics`: where those stand, seen from the page."""
    ways = {metrics: "Metrics", **LINKS}
    return element("nav", [element("a", name, href=path) for path, name in ways.items()], aria_label="Endpoints")


def _lines(own: ExporterHealth, now: float) -> Iterator[tuple[str, Child, bool]]:
    """Name, words, and whether they are bad news."""
    yield "version", joined([own.version, ", up for ", age_element(own.started_at, now)]), False
    loaded = "loaded " if own.config_ok else "the last one did NOT load; this one did "
    yield "config", joined([loaded, time_and_age(own.config_at, now)]), not own.config_ok
    yield _scraped(own, now)
    yield "late at worst, last minute", f"{own.loop_lag * 1000:.0f} ms", own.loop_lag > LATE_LOOP_SECONDS
    yield "sessions", f"{own.sessions:,}, {own.distorted:,} distorted", False
    skips = ", ".join(f"{number:,} {cause}" for cause, number in own.skips.items() if number)
    yield "cycles skipped", skips or "none", False


def _scraped(own: ExporterHealth, now: float) -> tuple[str, Child, bool]:
    name = "last scrape"
    if own.last_scrape is not None:
        return name, joined([age_element(own.last_scrape, now), " ago"]), False
    if own.begins_by is not None and now < own.begins_by:
        return (
            name,
            joined(["none yet; the first sessions wait for one until ", time_element(own.begins_by, now)]),
            False,
        )
    return name, "never", True
