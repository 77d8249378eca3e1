"""One target: its line, and its card, which opens below the line or is fetched when the line is opened."""

from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import quote

from websockets.frames import CloseCode

from exporter.budget import IdentityStatus
from exporter.history.history import OTHER_CODE, CloseKey
from exporter.report import Explanation, explain, passed
from exporter.report.evidence import context_rows
from exporter.report.formatting import INITIATOR_TEXTS, because, closed, count, held_up, span
from exporter.result import Close, Holdup, Phase
from exporter.web.page.held import held_connection, held_trouble
from exporter.web.page.markup import Child, Markup, element, joined
from exporter.web.page.pictures import bar, timeline_picture, timeline_text
from exporter.web.page.sessions import explanation_text, failure_list, headline, last_session
from exporter.web.page.timefmt import age_element, duration_text, since_and_age, time_element
from exporter.web.page.values import TargetCard, TargetRow


def element_id(name: str) -> str:
    """The id of a target's element."""
    return f"t-{name}"


def target_query(name: str) -> str:
    """The query of a target's own page."""
    return f"?target={quote(name, safe='', errors='replace')}"


def closed_row(row: TargetRow, now: float) -> Markup:
    """The line of a target, with a link to the rest."""
    link = element("a", f"All about {row.name}", href=target_query(row.name))
    return _article(row, element("p", link, class_="way"), now, opened=False)


def opened_card(card: TargetCard, now: float) -> Markup:
    """The line of a target, with its card opened below."""
    return _article(card.row, _card(card, now), now, opened=True)


def _article(row: TargetRow, body: Child, now: float, *, opened: bool) -> Markup:
    line = element("summary", _line(row, now, with_tooltips=opened), class_="line")
    return element(
        "article",
        element("details", line, element("div", body, class_="body"), open=opened),
        id=element_id(row.name),
        class_=f"target {row.state.kind}",
        data_target=row.name,
        data_state=row.state.kind,
    )


def _line(row: TargetRow, now: float, *, with_tooltips: bool) -> Markup:
    kind, at = row.state.kind, row.state.since
    parts = [
        element("span", kind, class_=f"badge {kind}"),
        element("h3", row.name),
        element("span", since_and_age(at, now) if at else _unknown_text(row, now), class_="since"),
        timeline_picture(row.marks, with_tooltips=with_tooltips),
        element("span", _last_text(row, now), class_="last"),
        element("span", _pool_text(row.identities), class_="pool"),
    ]
    causes = [cause for cause in (headline(row.state), held_trouble(row.held, now)) if cause]
    return joined([*parts, element("span", joined(causes, " · "), class_="cause") if causes else None], " ")


def _unknown_text(row: TargetRow, now: float) -> Child:
    """Why the state is unknown."""
    if row.last is not None:
        return "nothing proved yet"
    return "not probed yet" if row.first_by is None else joined(["first session by ", time_element(row.first_by, now)])


def _last_text(row: TargetRow, now: float) -> Markup:
    last = row.last
    if last is None:
        return joined(["no session yet"])
    seconds = last.durations.get(last.depth)
    outcome = "failed" if last.failed else "not proved" if seconds is None else duration_text(seconds)
    return joined([f"{last.depth} {outcome}, ", age_element(last.started_at, now), " ago"])


def _pool_text(identities: Sequence[IdentityStatus]) -> str:
    """`12 of 57 slots, 1 resting`."""
    resting = sum(identity.resting for identity in identities)
    budgets = [identity.budget for identity in identities if identity.budget is not None]
    held = sum(identity.held for identity in identities)
    slots = [f"{held} of {count(sum(budgets), 'slot')}"] if budgets else []
    return ", ".join([*slots, f"{resting} resting"] if resting else slots)


def _card(card: TargetCard, now: float) -> Markup:
    row, result = card.row, card.row.state.result
    explanation = None if result is None or passed(result) else explain(result, card.context)
    window = f"last {card.hours:g} h"
    counts = _part(f"Closes, {window}", _closes(card.closes)), _part(f"Failures, {window}", _reasons(card))
    held = None if row.held is None else _part("Held connection", held_connection(row.held, now))
    return joined(
        [
            None if explanation is None else element("div", explanation_text(explanation), class_="why"),
            element(
                "div",
                element("div", _part("Last session", last_session(row.last, now))),
                element("div", *counts, held),
                element("div", _part("Identities", _identities(card, now))),
                class_="parts",
            ),
            _part("Last failures", _failures(card, now, explanation)),
            _foot(card),
        ]
    )


def _part(title: str, *children: Child) -> Markup:
    return element("section", element("h4", title), *children, class_="part")


def _none(text: str) -> Markup:
    return element("p", text, class_="none")


def _closes(closes: Mapping[CloseKey, int]) -> Markup:
    return _counts([(_close_text(key), number, key.code != CloseCode.NORMAL_CLOSURE) for key, number in closes.items()])


def _close_text(key: CloseKey) -> str:
    """`1011 (internal error) by the server, in admission`; `other codes by the server` for `OTHER_CODE`."""
    if key.code != OTHER_CODE:
        return closed(Close(*key))
    return f"other codes {INITIATOR_TEXTS[key.initiator]}" + ("" if key.phase is Phase.CLOSE else f", in {key.phase}")


def _reasons(card: TargetCard) -> Markup:
    return _counts([(because(*key), number, False) for key, number in card.reasons.items()])


def _counts(counts: list[tuple[str, int, bool]]) -> Markup:
    """A table of texts, counts, and whether each is marked as odd; the most frequent first."""
    if not counts:
        return _none("None.")
    lines = [
        element(
            "tr",
            element("th", text, scope="row"),
            element("td", f"{number:,}", class_="figure"),
            class_="odd" if odd else None,
        )
        for text, number, odd in sorted(counts, key=lambda row: -row[1])
    ]
    return element("table", element("tbody", lines), class_="counts")


def _identities(card: TargetCard, now: float) -> Child:
    if not card.row.identities:
        return _none("This target has none.")
    columns = {"alias": 1, "state": 1, "slots held by us": 2}
    head = element("tr", [element("th", name, scope="col", colspan=width) for name, width in columns.items()])
    body = element("tbody", list(map(_identity, card.row.identities)))
    return [element("table", element("thead", head), body, class_="counts"), *_notes(card, now)]


def _identity(identity: IdentityStatus) -> Markup:
    budget, held = identity.budget, identity.held
    picture = None if budget is None else bar(0, min(held, budget), budget)
    return element(
        "tr",
        element("th", identity.alias, scope="row"),
        element("td", "resting" if identity.resting else "ready"),
        element("td", picture),
        element("td", f"{held}" if budget is None else f"{held} of {budget}", class_="figure"),
        class_="resting" if identity.resting else "full" if budget is not None and held >= budget else None,
    )


def _notes(card: TargetCard, now: float) -> Iterator[Markup]:
    """Each reason to send no token, with its identities, and what the backend has said of its limits."""
    holdups: dict[tuple[Holdup, float | None], list[str]] = {}
    for identity in card.row.identities:
        if identity.holdup is not None:
            holdups.setdefault((identity.holdup, identity.until), []).append(identity.alias)
    for holdup, aliases in holdups.items():
        yield element("p", f"No token of {', '.join(aliases)} is sent: {held_up(*holdup)}.", class_="aside")
    if card.learned is not None:
        yield element("p", f"The backend says that it keeps {count(card.learned, 'slot')} per user.", class_="aside")
    until = card.host_cooldown_until
    if until is not None:
        yield element("p", f"The endpoint limits our connects: no session for {span(until - now)}.", class_="aside")


def _failures(card: TargetCard, now: float, above: Explanation | None) -> Markup:
    if not card.failures:
        return _none("None is remembered.")
    return failure_list(card.failures, now, card.context, above=above)


def _foot(card: TargetCard) -> Markup:
    row, profile = card.row, dict(context_rows(card.context)).get("profile")
    return element(
        "p",
        element("code", row.url),
        f" · every {span(row.interval)} · {timeline_text(row.marks)} · ",
        "" if profile is None else f"profile {profile} · ",
        element("a", f"Link to {row.name}", href=target_query(row.name)),
        " · ",
        element("a", "Results", href=f"api/results{target_query(row.name)}"),
        class_="aside foot",
    )
