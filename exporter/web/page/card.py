"""All that is known of a target: why it fails, its last session, how sessions ended, its identities and failures."""

from collections.abc import Iterator, Mapping
from typing import Final

from websockets.frames import CloseCode

from exporter.budget import IdentityStatus
from exporter.history.history import OTHER_CODE, CloseKey
from exporter.report import Explanation, explain, passed
from exporter.report.evidence import circumstances, evidence
from exporter.report.formatting import because, closed, count, span
from exporter.report.resting import held_up
from exporter.result import Close, Holdup, Result, Verdict
from exporter.web.page.failures import explanation_text, failure_list
from exporter.web.page.markup import Child, Markup, element, joined
from exporter.web.page.row import article, target_query
from exporter.web.page.timefmt import time_and_age
from exporter.web.page.timeline import timeline_text
from exporter.web.page.transcript import transcript
from exporter.web.page.values import TargetCard
from exporter.web.page.waterfall import bar, waterfall

TONES: Final[Mapping[Verdict, str]] = {Verdict.PASS: "passing", Verdict.FAIL: "failing", Verdict.NONE: "unknown"}


def opened_card(card: TargetCard, now: float) -> Markup:
    """The line of a target, opened."""
    return article(card.row, _body(card, now), now, opened=True, told=True)


def _body(card: TargetCard, now: float) -> Markup:
    row = card.row
    deciding = row.state.result
    why = None if deciding is None or passed(deciding) else explain(deciding, card.context)
    back = f"last {card.hours:g} h"
    return joined(
        [
            None if why is None else element("div", explanation_text(why), class_="why"),
            element(
                "div",
                element("div", _part("Last session", _session(row.last, now))),
                element(
                    "div", _part(f"Closes, {back}", _closes(card.closes)), _part(f"Failures, {back}", _reasons(card))
                ),
                element("div", _part("Identities", _identities(card, now))),
                class_="parts",
            ),
            _part("Last failures", _failures(card, now, why)),
            _foot(card),
        ]
    )


def _part(title: str, *children: Child) -> Markup:
    return element("section", element("h4", title), *children, class_="part")


def _none(words: str) -> Markup:
    return element("p", words, class_="none")


def _session(result: Result | None, now: float) -> Child:
    if result is None:
        return _none("No session yet.")
    verdicts = [
        element(
            "span",
            f"{probe} {'not decided' if verdict is Verdict.NONE else verdict}",
            class_=f"verdict {TONES[verdict]}",
        )
        for probe, verdict in sorted(result.verdicts.items(), key=lambda item: item[0].rank)
        if probe.rank <= result.depth.rank
    ]
    shown = [(element("dt", name), element("dd", words)) for name, words in evidence(result, now)]
    return [
        element(
            "p",
            time_and_age(result.started_at, now),
            f", {result.identity or 'no identity'}, {result.trigger}",
            class_="when",
        ),
        element("p", joined(verdicts, " "), class_="verdicts"),
        waterfall(result),
        element("dl", shown, class_="evidence") if shown else None,
        transcript(result),
    ]


def _closes(closes: Mapping[CloseKey, int]) -> Markup:
    return _counts(
        [(_ended(ending), number, ending.code != CloseCode.NORMAL_CLOSURE) for ending, number in closes.items()]
    )


def _ended(ending: CloseKey) -> str:
    """`1011 (internal error) by the server, in admission`."""
    words = closed(Close(*ending))
    return f"other codes{words.removeprefix('0')}" if ending.code == OTHER_CODE else words


def _reasons(card: TargetCard) -> Markup:
    return _counts([(because(*why), number, False) for why, number in card.reasons.items()])


def _counts(found: list[tuple[str, int, bool]]) -> Markup:
    """Words, how often, and whether they are odd; most frequent first."""
    if not found:
        return _none("None.")
    lines = [
        element(
            "tr",
            element("th", words, scope="row"),
            element("td", f"{number:,}", class_="figure"),
            class_="odd" if odd else None,
        )
        for words, number, odd in sorted(found, key=lambda one: -one[1])
    ]
    return element("table", element("tbody", lines), class_="counts")


def _identities(card: TargetCard, now: float) -> Child:
    if not card.row.identities:
        return _none("This target has none.")
    columns = {"alias": 1, "state": 1, "slots held by us": 2}
    head = element("tr", [element("th", name, scope="col", colspan=width) for name, width in columns.items()])
    table = element(
        "table", element("thead", head), element("tbody", list(map(_identity, card.row.identities))), class_="counts"
    )
    return [table, *_notes(card, now)]


def _identity(identity: IdentityStatus) -> Markup:
    budget, held = identity.budget, identity.held
    picture = None if budget is None else bar(0, min(held, budget), budget)
    words = f"{held}" if budget is None else f"{held} of {budget}"
    return element(
        "tr",
        element("th", identity.alias, scope="row"),
        element("td", "resting" if identity.resting else "ready"),
        element("td", picture),
        element("td", words, class_="figure"),
        class_="resting" if identity.resting else "full" if budget is not None and held >= budget else None,
    )


def _rests(card: TargetCard) -> Iterator[Markup]:
    """Each reason to send no token once, with those whom it holds up."""
    reasons: dict[tuple[Holdup, float | None], list[str]] = {}
    for one in card.row.identities:
        if one.holdup is not None:
            reasons.setdefault((one.holdup, one.until), []).append(one.alias)
    for why, aliases in reasons.items():
        yield element("p", f"No token of {', '.join(aliases)} is sent: {held_up(*why)}.", class_="aside")


def _notes(card: TargetCard, now: float) -> Iterator[Markup]:
    yield from _rests(card)
    if card.learned is not None:
        yield element("p", f"The backend says that it keeps {count(card.learned, 'slot')} per user.", class_="aside")
    until = card.host_cooldown_until
    if until is not None:
        yield element("p", f"The endpoint told us to stay away: no session for {span(until - now)}.", class_="aside")


def _failures(card: TargetCard, now: float, why: Explanation | None) -> Markup:
    return failure_list(card.failures, now, card.context, said=why) if card.failures else _none("None is remembered.")


def _foot(card: TargetCard) -> Markup:
    row = card.row
    return element(
        "p",
        element("code", row.url),
        f" · every {span(row.interval)} · {timeline_text(row.marks)} · ",
        "".join(f"profile {words} · " for name, words in circumstances(card.context) if name == "profile"),
        element("a", f"Link to {row.name}", href=target_query(row.name)),
        " · ",
        element("a", "Results", href=f"api/results{target_query(row.name)}"),
        class_="aside foot",
    )
