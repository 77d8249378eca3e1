"""The status page put together from what the board says, in slices between the sessions' turns.

Rule 1: nothing is kept: whoever asks gets what is so now. Rule 2: one target is one slice (`host.cooperatively`).
"""

from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from exporter.history import StateKind
from exporter.host import cooperatively
from exporter.web.page.card import opened_card
from exporter.web.page.document import begin, end
from exporter.web.page.head import MAX_TARGETS_IN_HEADLINE, PageHead, head
from exporter.web.page.health import health, links
from exporter.web.page.markup import Markup
from exporter.web.page.row import closed_row
from exporter.web.page.values import SEVERITY_ORDER, ExporterHealth, TargetCard, TargetRow, TargetStanding

MAX_OPENED: Final = 5
"""Failing targets that are shown with all that is known of them; the others are lines that can be opened."""

MAX_SHOWN: Final = 500
"""Targets on the page; the gravest come first."""


class StatusBoard(Protocol):
    """Who knows what is shown."""

    def now(self) -> float:
        """Unix seconds."""

    def standings(self) -> Iterable[TargetStanding]:
        """Every target, in the order of the config."""

    def row(self, name: str) -> TargetRow | None:
        """The line of a target; None if there is none of this name."""

    def card(self, name: str) -> TargetCard | None:
        """All that is known of a target; None if there is none of this name."""

    def own_health(self) -> ExporterHealth:
        """How the exporter itself does."""

    def changes(self, since: int) -> tuple[int, Collection[str]]:
        """Where the count of changes stands, and the targets that have changed since it stood at `since`."""


@dataclass(frozen=True, slots=True)
class PageView:
    """What is to be shown: the targets in order, each opened or not; how many there are beyond; the line on top."""

    opened: Mapping[str, bool]
    left_out: int
    head: PageHead


class PageMaker:
    """Makes the page and its parts. `metrics`: where those stand, seen from the page."""

    def __init__(self, board: StatusBoard, metrics: str = "metrics") -> None:
        self.board = board
        self._links = links(metrics)

    async def view(self) -> PageView:
        """Failing targets first, the latest failure of all on top; then the others, as the config has them."""
        by_word: dict[StateKind, list[TargetStanding]] = {word: [] for word in SEVERITY_ORDER}
        async for standing in cooperatively(self.board.standings()):
            by_word[standing.state.kind].append(standing)
        by_word[StateKind.FAILING].sort(key=lambda one: -one.state.since)
        shown: list[TargetStanding] = []
        for found in by_word.values():
            shown += found[: MAX_SHOWN - len(shown)]
        opened = {
            name: state.kind is StateKind.FAILING and rank < MAX_OPENED for rank, (name, state) in enumerate(shown)
        }
        counts = {word: len(found) for word, found in by_word.items()}
        return PageView(
            opened, sum(counts.values()) - len(shown), head(counts, shown[:MAX_TARGETS_IN_HEADLINE], self.board.now())
        )

    async def whole(self, view: PageView, position: str, only: str | None = None) -> AsyncIterator[str]:
        """The page, or that of `only` one target, in pieces; the first has the line on top. `position`: see `live`."""
        now, own = self.board.now(), self.board.own_health()
        yield begin(view.head, own, position, now, only=only)
        opened = view.opened if only is None else {only: True}
        async for name in cooperatively(opened):
            part = self.part(name, opened=opened[name])
            if part is not None:
                yield part
        yield end(health(own, now), self._links, view.left_out if only is None else 0)

    def part(self, name: str, *, opened: bool) -> Markup | None:
        """One target; None if there is none of this name."""
        now = self.board.now()
        if opened:
            card = self.board.card(name)
            return None if card is None else opened_card(card, now)
        row = self.board.row(name)
        return None if row is None else closed_row(row, now)
