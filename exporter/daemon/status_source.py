"""What the status page shows: asked of the history, of the ledger and of our own figures (`web.StatusSource`)."""

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Final

from exporter import __version__
from exporter.daemon.services import Services
from exporter.plan import Job
from exporter.report import TargetContext, public_url
from exporter.result import Probe, Trigger
from exporter.web.page.timeline import SHOWN_CYCLES
from exporter.web.page.values import ExporterHealth, IdentityRow, TargetCard, TargetRow, TargetStanding

COUNTED_HOURS: Final = 6
"""Hours that closes and causes are counted back."""

MAX_FAILURES_ON_CARD: Final = 20
"""Failures of a target that are told."""


class StatusSource:
    """Fulfils `web.StatusSource`.

    `ill`: a sentence if we do not do our work. `starts_within`: seconds until a target begins at the latest; None: it
    does not wait.
    """

    def __init__(
        self, ground: Services, ill: Callable[[], str | None], starts_within: Callable[[str], float | None]
    ) -> None:
        self._ground = ground
        self._unhealthy_reason = ill
        self._starts_within = starts_within
        self._started_at = ground.clock.wall()

    def now(self) -> float:
        """Unix seconds."""
        return self._ground.clock.wall()

    def standings(self) -> Iterable[TargetStanding]:
        """Every target, in the order of the config."""
        return (TargetStanding(name, self._ground.history.state(name)) for name in list(self._ground.jobs))

    def row(self, name: str) -> TargetRow | None:
        """The line of a target; None if there is none of this name."""
        job = self._ground.jobs.get(name)
        if job is None:
            return None
        history = self._ground.history
        return TargetRow(
            name=name,
            url=public_url(job.target.url),
            interval=job.interval,
            state=history.state(name),
            marks=history.cycles(name, SHOWN_CYCLES),
            last=history.latest(name),
            identities=tuple(identities(self._ground, job, job.identities)),
            first_by=self._first_by(job),
        )

    def _first_by(self, job: Job) -> float | None:
        """When the first session begins at the latest; None: the target does not wait for its start."""
        wait = self._starts_within(job.name)
        return None if wait is None else min(job.next_due(self.now() + wait).values())

    def card(self, name: str) -> TargetCard | None:
        """All that is known of a target; None if there is none of this name."""
        row, job = self.row(name), self._ground.jobs.get(name)
        if row is None or job is None:
            return None
        history, ledger, now = self._ground.history, self._ground.state.ledger, self.now()
        since = now - COUNTED_HOURS * 3600
        return TargetCard(
            row=row,
            hours=COUNTED_HOURS,
            closes=history.closes(name, since),
            reasons=history.reasons(name, since),
            failures=history.failures(name, MAX_FAILURES_ON_CARD),
            learned=ledger.learned_slots(job.authority, now),
            context=TargetContext.of(job),
            host_cooldown_until=ledger.endpoint_cooldown_until(job.endpoint, now),
        )

    def own_health(self) -> ExporterHealth:
        """How the exporter itself does."""
        own, news = self._ground.metrics.exporter_figures(), self._ground.news
        return ExporterHealth(
            version=__version__,
            started_at=self._started_at,
            config_ok=own.config_ok,
            config_at=own.config_at,
            loop_lag=round(own.loop_lag, 3),
            sessions=news.sessions,
            distorted=own.distorted,
            skips={cause.value: number for cause, number in news.skips.items()},
            last_scrape=news.last_scrape,
            begins_by=news.begins_by,
            ill=self._unhealthy_reason(),
        )

    def changes(self, since: int) -> tuple[int, Collection[str]]:
        """Where the count of changes stands, and the targets that have changed since it stood at `since`."""
        return self._ground.news.since(since)


def identities(ground: Services, job: Job, aliases: Iterable[str]) -> Iterator[IdentityRow]:
    """What the ledger says of a target's identities now."""
    ledger, now = ground.state.ledger, ground.clock.wall()
    for alias in aliases:
        request = job.request("", Probe.SEND, alias, Trigger.SCHEDULE)
        rest = ledger.cooldown(request, now)
        yield IdentityRow(
            alias,
            held=ledger.held_slots(request.user or "", now),
            budget=ledger.slot_budget(request, now),
            resting=rest is not None,
            holdup=None if rest is None else rest.holdup,
            until=None if rest is None else rest.until,
        )
