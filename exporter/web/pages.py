"""Assembles the status page from a `StatusBoard`, in slices between the steps of running sessions.

Rule 1: nothing is stored; each call shows the state of its moment. Rule 2: one target is one slice
(`host.cooperatively`).
"""

from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from exporter.history import StateKind
from exporter.host import cooperatively
from exporter.web.page.document import (
    MAX_TARGETS_IN_HEADLINE,
    PageHead,
    document_end,
    document_start,
    endpoint_links,
    health_section,
    page_head,
)
from exporter.web.page.markup import Markup
from exporter.web.page.target import closed_row, opened_card
from exporter.web.page.values import SEVERITY_ORDER, ExporterHealth, TargetCard, TargetRow, TargetStanding

MAX_OPENED: Final = 5
"""Failing targets that are shown opened; the others are lines that can be opened."""

MAX_SHOWN: Final = 500
"""Targets on the page, the gravest first."""


class StatusBoard(Protocol):
    """The source of everything on the page."""

    def now(self) -> float:
        """Unix seconds."""

    def standings(self) -> Iterable[TargetStanding]:
        """The state of every target, in the order of the config."""

    def row(self, name: str) -> TargetRow | None:
        """The line of a target; None if there is no target of this name."""

    def card(self, name: str) -> TargetCard | None:
        """Everything about a target; None if there is no target of this name."""

    def own_health(self) -> ExporterHealth:
        """The health of the exporter itself."""

    def changes(self, since: int) -> tuple[int, Collection[str]]:
        """The number of changes now, and the targets that have changed since that number was `since`."""


@dataclass(frozen=True, slots=True)
class PageView:
    """What the page shows: the targets in order and whether each is opened, the number left out, the headline."""

    opened: Mapping[str, bool]
    left_out: int
    head: PageHead


class PageMaker:
    """Renders the page and its parts; `metrics`: the link to the metrics."""

    def __init__(self, board: StatusBoard, metrics: str = "metrics") -> None:
        self.board = board
        self._links = endpoint_links(metrics)

    async def view(self) -> PageView:
        """Failing targets first, the latest failure on top; then the others, in the order of the config."""
        by_kind: dict[StateKind, list[TargetStanding]] = {kind: [] for kind in SEVERITY_ORDER}
        async for standing in cooperatively(self.board.standings()):
            by_kind[standing.state.kind].append(standing)
        by_kind[StateKind.FAILING].sort(key=lambda standing: -standing.state.since)
        shown: list[TargetStanding] = []
        for standings in by_kind.values():
            shown += standings[: MAX_SHOWN - len(shown)]
        opened = {
            name: state.kind is StateKind.FAILING and rank < MAX_OPENED for rank, (name, state) in enumerate(shown)
        }
        counts = {kind: len(standings) for kind, standings in by_kind.items()}
        return PageView(
            opened,
            sum(counts.values()) - len(shown),
            page_head(counts, shown[:MAX_TARGETS_IN_HEADLINE], self.board.now()),
        )

    async def render(self, view: PageView, position: str, only: str | None = None) -> AsyncIterator[str]:
        """The page, or that of `only` one target, in pieces; the first has the headline. `position`: see `live`."""
        now, own = self.board.now(), self.board.own_health()
        yield document_start(view.head, own, position, now, only=only)
        opened = view.opened if only is None else {only: True}
        async for name in cooperatively(opened):
            html = self.target(name, opened=opened[name])
            if html is not None:
                yield html
        yield document_end(health_section(own, now), self._links, view.left_out if only is None else 0)

    def target(self, name: str, *, opened: bool) -> Markup | None:
        """The element of a target; None if there is no target of this name."""
        now = self.board.now()
        if opened:
            card = self.board.card(name)
            return None if card is None else opened_card(card, now)
        row = self.board.row(name)
        return None if row is None else closed_row(row, now)
