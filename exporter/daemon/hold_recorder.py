"""Passes what held connections show on to metrics and history; keeps the state of each for the status page."""

from dataclasses import replace

from exporter.classify import Cuts
from exporter.daemon.change_log import ChangeLog
from exporter.history import History
from exporter.host import Clock
from exporter.metrics import Metrics
from exporter.result import (
    ConnectionEnd,
    FailedOpening,
    Heartbeats,
    HeldConnection,
    LineLevel,
    Result,
    RoundTrip,
)

NO_CONNECTION = HeldConnection()


class HoldRecorder:
    """Fulfils `side_probes.HoldSink`."""

    def __init__(self, metrics: Metrics, history: History, changes: ChangeLog, clock: Clock) -> None:
        self._metrics = metrics
        self._history = history
        self._changes = changes
        self._clock = clock

    def record_hold_opening(self, name: str, *, quiet: bool) -> None:
        """Record that a connection is open now, which makes unknown what it shows."""
        now = self._clock.wall()
        self._metrics.set_hold_open(name, now)
        held = self._held(name)
        opened = HeldConnection(now, quiet, last_end=held.last_end, idle_cut=held.idle_cut, age_cut=held.age_cut)
        self._set(name, opened)

    def record_failed_opening(self, name: str, result: Result) -> None:
        """Record a session that brought no connection."""
        failed = FailedOpening(self._clock.wall(), result.phase, result.reason, result.factory_reason)
        self._set(name, replace(self._held(name), failed_opening=failed))

    def clear_hold(self, name: str) -> None:
        """Record that none is open. What it showed last stays, but for its deafness and lost heartbeats."""
        self._metrics.set_hold_open(name, None)
        held = self._held(name)
        heard = {level: replace(heartbeats, lost=False) for level, heartbeats in held.heartbeats.items()}
        self._set(name, replace(held, opened_at=None, quiet=False, deaf_since=None, heartbeats=heard))

    def record_round_trip(self, name: str, level: LineLevel, seconds: float) -> None:
        """Record the answer to a ping or a request."""
        self._metrics.record_round_trip(name, level, seconds)
        held = self._held(name)
        before = held.round_trips.get(level)
        slowest = seconds if before is None else max(seconds, before.slowest)
        trip = RoundTrip(seconds, slowest, self._clock.wall())
        self._set(name, replace(held, round_trips={**held.round_trips, level: trip}))

    def set_hold_deaf(self, name: str, *, deaf: bool) -> None:
        """Set whether the last request was not answered."""
        self._metrics.set_hold_deaf(name, deaf=deaf)
        held = self._held(name)
        if deaf is not (held.deaf_since is not None):
            self._set(name, replace(held, deaf_since=self._clock.wall() if deaf else None))

    def record_heartbeat(self, name: str, level: LineLevel) -> None:
        """Record a heartbeat of the server."""
        self._metrics.record_heartbeat(name, level)
        heard = self._heard(name, level)
        self._set_heard(name, level, replace(heard, last_at=self._clock.wall(), lost=False))

    def set_heartbeats(self, name: str, level: LineLevel, interval: float, *, announced: bool, lost: bool) -> None:
        """Set how often a heartbeat is due, whether the server says so, and whether it stays out."""
        self._metrics.set_heartbeats(name, level, interval, lost=lost)
        heard = self._heard(name, level)
        self._set_heard(name, level, replace(heard, interval=interval, announced=announced, lost=lost))

    def record_hold_end(self, name: str, end: ConnectionEnd, cuts: Cuts) -> None:
        """Record the end of a connection, and what is known of cuts now."""
        self._metrics.record_hold_end(name, end.how, cuts)
        self._set(name, replace(self._held(name), last_end=end, idle_cut=cuts.idle, age_cut=cuts.age))

    def _held(self, name: str) -> HeldConnection:
        return self._history.held_connection(name) or NO_CONNECTION

    def _heard(self, name: str, level: LineLevel) -> Heartbeats:
        return self._held(name).heartbeats.get(level, Heartbeats())

    def _set_heard(self, name: str, level: LineLevel, heartbeats: Heartbeats) -> None:
        held = self._held(name)
        self._set(name, replace(held, heartbeats={**held.heartbeats, level: heartbeats}))

    def _set(self, name: str, held: HeldConnection) -> None:
        if self._history.set_held_connection(name, held):
            self._changes.record(name)
