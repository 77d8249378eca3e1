"""Fulfils `web.StatusBoard` from history, ledger and metrics."""

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Final

from exporter import __version__
from exporter.budget import IdentityStatus, identity_statuses
from exporter.daemon.services import Services
from exporter.plan import Job
from exporter.report import TargetContext, public_url
from exporter.result import HeldConnection, Probe, Trigger
from exporter.web.page.pictures import SHOWN_CYCLES
from exporter.web.page.values import ExporterHealth, TargetCard, TargetRow, TargetStanding

COUNTED_HOURS: Final = 6
"""Hours for which a card counts closes and failures."""

MAX_FAILURES_ON_CARD: Final = 20


class StatusSource:
    """What the status page shows.

    `unhealthy`: a sentence if the exporter does not do its work, else None.
    `starts_within`: seconds until a target begins at the latest; None if it does not wait.
    """

    def __init__(
        self, services: Services, unhealthy: Callable[[], str | None], starts_within: Callable[[str], float | None]
    ) -> None:
        self._services = services
        self._unhealthy_reason = unhealthy
        self._starts_within = starts_within
        self._started_at = services.clock.wall()

    def now(self) -> float:
        """Unix seconds."""
        return self._services.clock.wall()

    def standings(self) -> Iterable[TargetStanding]:
        """The state of every target, in the order of the config."""
        return (TargetStanding(name, self._services.history.state(name)) for name in list(self._services.jobs))

    def row(self, name: str) -> TargetRow | None:
        """The line of a target; None if there is no target of this name."""
        job = self._services.jobs.get(name)
        if job is None:
            return None
        history = self._services.history
        return TargetRow(
            name=name,
            url=public_url(job.target.url),
            interval=job.interval,
            state=history.state(name),
            marks=history.cycles(name, SHOWN_CYCLES),
            last=history.latest(name),
            identities=tuple(identity_statuses_of(self._services, job, job.identities)),
            first_by=self._first_by(job),
            held=held_connection_of(self._services, job),
        )

    def _first_by(self, job: Job) -> float | None:
        """Unix seconds at which the first session begins at the latest; None if the target does not wait."""
        wait = self._starts_within(job.name)
        return None if wait is None else min(job.next_due(self.now() + wait).values())

    def card(self, name: str) -> TargetCard | None:
        """Everything about a target; None if there is no target of this name."""
        row, job = self.row(name), self._services.jobs.get(name)
        if row is None or job is None:
            return None
        history, ledger, now = self._services.history, self._services.state.ledger, self.now()
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
        """The health of the exporter itself."""
        figures, changes = self._services.metrics.exporter_figures(), self._services.changes
        return ExporterHealth(
            version=__version__,
            origin=self._services.origin,
            started_at=self._started_at,
            config_ok=figures.config_ok,
            config_at=figures.config_at,
            loop_lag=round(figures.loop_lag, 3),
            sessions=changes.sessions,
            distorted=figures.distorted,
            skips={cause.value: number for cause, number in changes.skips.items()},
            last_scrape=changes.last_scrape,
            begins_by=changes.begins_by,
            unhealthy_reason=self._unhealthy_reason(),
        )

    def changes(self, since: int) -> tuple[int, Collection[str]]:
        """The number of changes now, and the targets that have changed since that number was `since`."""
        return self._services.changes.since(since)


def held_connection_of(services: Services, job: Job) -> HeldConnection | None:
    """What the held connection of a target shows; None: it holds none."""
    return None if job.target.hold is None else services.history.held_connection(job.name) or HeldConnection()


def identity_statuses_of(services: Services, job: Job, aliases: Iterable[str]) -> Iterator[IdentityStatus]:
    """The status of each of a target's identities now."""
    request = job.session_cost("", Probe.SEND, None, Trigger.SCHEDULE)
    users = {alias: job.users[alias] for alias in aliases}
    return identity_statuses(services.state.ledger, users, request, services.clock.wall())
