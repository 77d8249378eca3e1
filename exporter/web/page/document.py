"""The whole page: the headline over all targets, the page in pieces, the exporter's own health, and the CSP."""

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from exporter.history import StateKind
from exporter.report.formatting import count
from exporter.web.page.markdown import markdown_html
from exporter.web.page.markup import Child, Markup, element, joined
from exporter.web.page.pictures import icon_path
from exporter.web.page.sessions import headline
from exporter.web.page.timefmt import age_element, since_and_age, time_and_age, time_element
from exporter.web.page.values import SEVERITY_ORDER, ExporterHealth, TargetStanding

_FOLDER: Final = Path(__file__).parent
STYLE: Final = (_FOLDER / "style.css").read_text("utf-8")
SCRIPT: Final = (_FOLDER / "script.js").read_text("utf-8")

RELOAD_SECONDS: Final = 30
"""Seconds after which a browser without scripts reloads the page."""


def _hash(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


CONTENT_SECURITY_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        f"style-src {_hash(STYLE)}",
        f"script-src {_hash(SCRIPT)}",
        "connect-src 'self'",
        "img-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types fragments",
    )
)
"""CSP 3 for every response: a browser may use the style and the script of this package, and no other."""

BUILD: Final = hashlib.sha256((STYLE + SCRIPT).encode()).hexdigest()[:12]
"""Changes with style and script; an open page of another build must be reloaded."""

MAX_TARGETS_IN_HEADLINE: Final = 3
"""Failing targets that the headline names."""

LATE_LOOP_SECONDS: Final = 0.05
"""Seconds by which a late event loop distorts sessions."""

LINKS: Final[Mapping[str, str]] = {
    "api/results": "Results",
    "runbook/README": "Runbook",
    "-/healthy": "Health",
    "-/ready": "Readiness",
}


@dataclass(frozen=True, slots=True)
class PageHead:
    """The headline.

    `state`: of the gravest target. `spoken`, `title`: plain texts, for a screen reader and for the tab.
    `line`: the headline as HTML with its age, which is no change of the headline.
    `since`: unix seconds since when the one failing target fails; 0.0 unless there is just one.
    """

    state: StateKind
    spoken: str
    title: str
    line: Markup = field(compare=False)
    since: float = 0.0


def page_head(counts: Mapping[StateKind, int], gravest: Sequence[TargetStanding], now: float) -> PageHead:
    """The headline for these numbers of targets by state; `gravest`: the first ones of the page."""
    total = sum(counts.values())
    kind = next((kind for kind in SEVERITY_ORDER if counts.get(kind)), StateKind.UNKNOWN)
    others = _others(counts)
    if kind is not StateKind.FAILING:
        title = _passing_text(counts.get(StateKind.PASSING, 0), total)
        return PageHead(kind, f"{title}{others}", title, joined([f"{title}{others}"]))
    failing = counts[kind]
    title = f"✗ {failing}/{total} failing"
    start = f"{failing} of {count(total, 'target')} failing: "
    if failing > 1:
        names = ", ".join(standing.name for standing in gravest[: min(failing, MAX_TARGETS_IN_HEADLINE)])
        more = f" and {failing - MAX_TARGETS_IN_HEADLINE} more" if failing > MAX_TARGETS_IN_HEADLINE else ""
        text = f"{start}{names}{more}{others}"
        return PageHead(kind, text, title, joined([text]))
    name, state = gravest[0]
    text = f"{start}{name} – {headline(state)}"
    age = element("span", " ", since_and_age(state.since, now), others, class_="since")
    return PageHead(kind, f"{text}{others}", f"{title}: {name}", joined([text, age]), state.since)


def _passing_text(passing: int, total: int) -> str:
    if not total:
        return "No target is configured"
    if passing == total:
        return "The one target passes" if total == 1 else f"All {total} targets pass"
    return f"{passing} of {count(total, 'target')} passing"


def _others(counts: Mapping[StateKind, int]) -> str:
    """`; 1 impaired, 2 unknown`; "" if there are none."""
    others = [f"{counts[kind]} {kind}" for kind in (StateKind.IMPAIRED, StateKind.UNKNOWN) if counts.get(kind)]
    return f"; {', '.join(others)}" if others else ""


def summary_section(head: PageHead, unhealthy_reason: str | None) -> Markup:
    """The headline, and a warning if the exporter itself does not work, since the page then shows old states."""
    sentence = f"The exporter does not do its work: {unhealthy_reason}." if unhealthy_reason else None
    line = element("h1", head.line, class_=head.state)
    return element("div", line, element("p", sentence, class_="ill") if sentence else None, id="summary")


def document_start(
    head: PageHead, own: ExporterHealth, position: str, now: float, *, only: str | None = None
) -> Markup:
    """The page up to its first target. `position`: where updates continue; `only`: the one target shown."""
    refresh = element("meta", http_equiv="refresh", content=RELOAD_SECONDS)
    title = "Targets" if only is None else joined([element("a", "All targets", href="./"), f" › {only}"])
    return Markup(
        _start(head.title, icon_path(head.state), element("noscript", refresh))
        + f'<body data-now="{now:.3f}" data-position="{position}"><a class="skip" href="#targets">To the targets</a>'
        + _banner(head, own)
        + f'<main id="main"><h2>{joined([title])}</h2>'
        + f'<div id="targets" tabindex="-1"{" data-only" if only else ""}>'
    )


def document_end(health: Markup, links: Markup, left_out: int) -> Markup:
    """The page after its last target; `left_out`: how many targets have only a page of their own."""
    more = f"{count(left_out, 'more target')} not shown: each has a page of its own, ?target=NAME."
    script = element("script", Markup(SCRIPT), type="module")
    note = element("p", more, class_="aside") if left_out else Markup()
    return Markup(f"</div>{note}</main>{element('footer', health, links)}{script}</body></html>\n")


def _banner(head: PageHead, own: ExporterHealth) -> Markup:
    noscript = element("noscript", f"reloads every {RELOAD_SECONDS} s")
    return element(
        "header",
        element(
            "p",
            element("span", f"ws-factory-exporter {own.version}", class_="product"),
            element("span", noscript, id="live"),
            class_="top",
        ),
        summary_section(head, own.unhealthy_reason),
        element("p", id="spoken", class_="unseen", role="status"),
        class_="banner",
    )


def runbook_document(name: str, text: str) -> Markup:
    """A page of the runbook."""
    way = element("p", element("a", "Status", href="../"), f" › Runbook › {name}", class_="aside")
    title, _, body = text.partition("\n")
    main = element("main", way, element("h1", title.removeprefix("# ")), markdown_html(body), class_="reading")
    return Markup(f"{_start(name, f'../{icon_path(StateKind.UNKNOWN)}')}<body>{main}</body></html>\n")


def _start(title: str, icon: str, *more: Markup) -> Markup:
    metas = [
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        element("link", rel="icon", type="image/svg+xml", href=icon, id="icon"),
        *more,
        element("style", Markup(STYLE)),
    ]
    return Markup(f'<!DOCTYPE html>\n<html lang="en">{element("head", metas)}')


def health_section(own: ExporterHealth, now: float) -> Markup:
    """The section with the exporter's own health."""
    lines = [
        element("div", element("dt", name), element("dd", text, class_="wrong" if wrong else None))
        for name, text, wrong in _health_lines(own, now)
    ]
    return element("section", element("h2", "This exporter"), element("dl", lines, class_="health"), id="health")


def endpoint_links(metrics: str) -> Markup:
    """Links to the other endpoints; `metrics`: the link to the metrics."""
    links = {metrics: "Metrics", **LINKS}
    return element("nav", [element("a", name, href=path) for path, name in links.items()], aria_label="Endpoints")


def _health_lines(own: ExporterHealth, now: float) -> Iterator[tuple[str, Child, bool]]:
    """Name, text, and whether something is wrong."""
    yield "version", joined([own.version, ", up for ", age_element(own.started_at, now)]), False
    if own.origin is not None:
        yield "origin", own.origin, False
    loaded = "loaded " if own.config_ok else "the last one did NOT load; this one did "
    yield "config", joined([loaded, time_and_age(own.config_at, now)]), not own.config_ok
    yield _last_scrape(own, now)
    yield "late at worst, last minute", f"{own.loop_lag * 1000:.0f} ms", own.loop_lag > LATE_LOOP_SECONDS
    yield "sessions", f"{own.sessions:,}, {own.distorted:,} distorted", False
    skips = ", ".join(f"{number:,} {cause}" for cause, number in own.skips.items() if number)
    yield "cycles skipped", skips or "none", False


def _last_scrape(own: ExporterHealth, now: float) -> tuple[str, Child, bool]:
    name = "last scrape"
    if own.last_scrape is not None:
        return name, joined([age_element(own.last_scrape, now), " ago"]), False
    if own.begins_by is not None and now < own.begins_by:
        until = time_element(own.begins_by, now)
        return name, joined(["none yet; the first sessions wait for one until ", until]), False
    return name, "never", True
