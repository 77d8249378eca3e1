"""The whole page: its head, its parts in pieces, and the policy that lets nothing else in."""

import base64
import hashlib
from pathlib import Path
from typing import Final

from exporter.history import StateKind
from exporter.report.formatting import count
from exporter.web.page import icon
from exporter.web.page.head import PageHead
from exporter.web.page.markdown import markdown_html
from exporter.web.page.markup import Markup, element, joined
from exporter.web.page.values import ExporterHealth

_FOLDER: Final = Path(__file__).parent
STYLE: Final = (_FOLDER / "style.css").read_text("utf-8")
SCRIPT: Final = (_FOLDER / "script.js").read_text("utf-8")

RELOAD_SECONDS: Final = 30
"""Seconds after which a browser without scripts asks again."""


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
"""What a browser may do with any answer of ours (CSP 3): the style and the script of this file, and no other."""

BUILD: Final = hashlib.sha256((STYLE + SCRIPT).encode()).hexdigest()[:12]
"""Changes when an open page must be loaded anew to understand what it is sent."""


def document_start(
    head: PageHead, own: ExporterHealth, position: str, now: float, *, only: str | None = None
) -> Markup:
    """The page up to its first target. `position`: from where on the updates continue; `only`: the one target shown."""
    refresh = element("meta", http_equiv="refresh", content=RELOAD_SECONDS)
    title = "Targets" if only is None else joined([element("a", "All targets", href="./"), f" › {only}"])
    return Markup(
        _start(head.title, icon.icon_path(head.state), element("noscript", refresh))
        + f'<body data-now="{now:.3f}" data-position="{position}"><a class="skip" href="#targets">To the targets</a>'
        + _banner(head, own)
        + f'<main id="main"><h2>{joined([title])}</h2>'
        + f'<div id="targets" tabindex="-1"{" data-only" if only else ""}>'
    )


def document_end(health: Markup, ways: Markup, left_out: int) -> Markup:
    """What follows the last target. `left_out`: how many targets stand on no page but their own."""
    more = f"{count(left_out, 'more target')} not shown: each has a page of its own, ?target=NAME."
    script = element("script", Markup(SCRIPT), type="module")
    note = element("p", more, class_="aside") if left_out else Markup()
    return Markup(f"</div>{note}</main>{element('footer', health, ways)}{script}</body></html>\n")


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


def summary_section(head: PageHead, ill: str | None) -> Markup:
    """The line on top, and what is wrong with ourselves: then what stands below is not to be believed."""
    words = f"The exporter does not do its work: {ill}." if ill else None
    line = element("h1", head.line, class_=head.state)
    return element("div", line, element("p", words, class_="ill") if words else None, id="summary")


def runbook_document(name: str, text: str) -> Markup:
    """A page of the runbook."""
    way = element("p", element("a", "Status", href="../"), f" › Runbook › {name}", class_="aside")
    title, _, written = text.partition("\n")
    main = element("main", way, element("h1", title.removeprefix("# ")), markdown_html(written), class_="reading")
    return Markup(f"{_start(name, f'../{icon.icon_path(StateKind.UNKNOWN)}')}<body>{main}</body></html>\n")


def _start(title: str, picture: str, *more: Markup) -> Markup:
    metas = [
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        element("link", rel="icon", type="image/svg+xml", href=picture, id="icon"),
        *more,
        element("style", Markup(STYLE)),
    ]
    return Markup(f'<!DOCTYPE html>\n<html lang="en">{element("head", metas)}')
