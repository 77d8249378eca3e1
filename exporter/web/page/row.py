"""A target in one line. What is known beside it is fetched when the line is opened, or stands on the target's page."""

from collections.abc import Sequence
from urllib.parse import quote

from exporter.budget import IdentityStatus
from exporter.report.formatting import count
from exporter.web.page.failures import headline
from exporter.web.page.markup import Child, Markup, element, joined
from exporter.web.page.timefmt import age_element, duration_text, since_and_age, time_element
from exporter.web.page.timeline import timeline_picture
from exporter.web.page.values import TargetRow


def element_id(name: str) -> str:
    """The id of a target's element."""
    return f"t-{name}"


def target_query(name: str) -> str:
    """What asks for a target: behind nothing, for its own page."""
    return f"?target={quote(name, safe='', errors='replace')}"


def article(row: TargetRow, body: Child, now: float, *, opened: bool, told: bool = False) -> Markup:
    """The element of a target: its line, and what opens below it."""
    line = element("summary", _line(row, now, told=told), class_="line")
    return element(
        "article",
        element("details", line, element("div", body, class_="body"), open=opened),
        id=element_id(row.name),
        class_=f"target {row.state.kind}",
        data_target=row.name,
        data_state=row.state.kind,
    )


def closed_row(row: TargetRow, now: float) -> Markup:
    """The line, with the way to the rest."""
    way = element("a", f"All about {row.name}", href=target_query(row.name))
    return article(row, element("p", way, class_="way"), now, opened=False)


def _line(row: TargetRow, now: float, *, told: bool) -> Markup:
    word, at = row.state.kind, row.state.since
    parts = [
        element("span", word, class_=f"badge {word}"),
        element("h3", row.name),
        element("span", since_and_age(at, now) if at else _why_unknown(row, now), class_="since"),
        timeline_picture(row.marks, told=told),
        element("span", _last(row, now), class_="last"),
        element("span", _pool(row.identities), class_="pool"),
    ]
    said = headline(row.state)
    return joined([*parts, element("span", said, class_="cause") if said else None], " ")


def _why_unknown(row: TargetRow, now: float) -> Child:
    if row.last is not None:
        return "nothing proved yet"
    return "not probed yet" if row.first_by is None else joined(["first session by ", time_element(row.first_by, now)])


def _last(row: TargetRow, now: float) -> Markup:
    last = row.last
    if last is None:
        return joined(["no session yet"])
    length = last.durations.get(last.depth)
    said = "failed" if last.failed else "not proved" if length is None else duration_text(length)
    return joined([f"{last.depth} {said}, ", age_element(last.started_at, now), " ago"])


def _pool(identities: Sequence[IdentityStatus]) -> str:
    """`12 of 57 slots, 1 resting`."""
    resting = sum(identity.resting for identity in identities)
    budgets = [identity.budget for identity in identities if identity.budget is not None]
    held = sum(identity.held for identity in identities)
    said = [f"{held} of {count(sum(budgets), 'slot')}"] if budgets else []
    return ", ".join([*said, f"{resting} resting"] if resting else said)
