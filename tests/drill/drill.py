"""The drill: every signature of the table is played at once, and what Prometheus and the pager say is compared.

    make drill

Rule 1: the table (tests/data/signatures.yml) is the expectation, whole: an alert more is as wrong as one less.
Rule 2: times are printed as they would be on the shipped intervals.
"""

import asyncio
import os
import time
from collections import defaultdict
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import yaml
from drill.backends import Backends
from drill.stack import stacks
from drill.webhook import named
from engines.engines import INSTALLED
from support.realservers import until

from exporter.classify import DISTORTION_SECONDS

LEAST = Fraction(1, 15)
"""The smallest factor: Prometheus would scrape more often than once a second."""

FACTOR = max(LEAST, Fraction(os.environ.get("DRILL_FACTOR", "1/12")))
"""Of the test. A session's timeout is scaled too: who is slower than 10 s times this fails the drill for its own sake.
On a busy machine give a larger one: `make drill DRILL_FACTOR=1/5` takes seven minutes."""

TABLE = Path(__file__).parents[1] / "data/signatures.yml"

WARM_UP = 350
"""Seconds until faults begin: the ledger must know 312 s back before it grants confirm runs; and a lap of the pool."""
INCIDENT = 720
"""Seconds of an outage: the slowest rule needs ten minutes without a success of one user, and its group 30 s."""
PATIENCE = 1200
"""Seconds after which a notification does not come any more."""
RESOLVED = 2000
"""Seconds after healing in which everything resolves: 15 minutes of memory, a rest of 10, and the tickets' group."""

LOOK = 0.02
STEP = 0.5
"""Seconds between two looks at the stand-ins' loop, and at the alerts."""

LATE = 5.0
"""Seconds, unscaled: half a timeout. If the stand-ins are that late, the machine was too busy for the drill."""

STANDING = "Watchdog/none"

DISTORTED, DISTORTED_SESSIONS = "ProbeDistorted", 5
"""The alert about the exporter's own machine, whose bound is not scaled, and the sessions that it takes."""


def signatures():
    """The rows: (incidents, quiet)."""
    table = yaml.safe_load(TABLE.read_text())
    return table["incidents"], table["quiet"]


@dataclass(frozen=True)
class Played:
    """What a row expected and got. Times in seconds since the fault, scaled back.

    `fired`: each alert and when it first fired; `notified`: each and when; `healed`: when the fault was taken away;
    `text`: of the first notification.
    """

    name: str
    firing: frozenset[str]
    fired: dict[str, float]
    notify: tuple[str, ...]
    notified: tuple[tuple[str, float], ...]
    missing_words: tuple[str, ...]
    text: str
    healed: float
    resolved: bool
    lasting: bool

    @property
    def stray(self):
        """Alerts that the table does not know, with the seconds since the fault."""
        return [f"{name} at {at:.0f} s" for name, at in sorted(self.fired.items()) if name not in self.firing]

    @property
    def silent(self):
        """Alerts that the table wants and that never fired."""
        return sorted(self.firing - self.fired.keys())

    @property
    def names(self):
        """What was notified."""
        return tuple(name for name, _ in self.notified)

    @property
    def took(self):
        """When the first notification came, or None."""
        return self.notified[0][1] if self.notified else None

    def _notified(self):
        return ", ".join(f"{name} at {at:.0f} s" for name, at in self.notified) or "nothing"

    @property
    def faults(self):
        """What is wrong, in words; empty if all is as the table says."""
        checks = (
            (bool(self.stray), f"fired too: {', '.join(self.stray)} (healed at {self.healed:.0f} s)"),
            (bool(self.silent), f"did not fire: {', '.join(self.silent)}"),
            (self.names != self.notify, f"notified {self._notified()}, not {', '.join(self.notify) or 'nothing'}"),
            (bool(self.missing_words), f"without the words {list(self.missing_words)} in: {self.text}"),
            (not self.resolved and not self.lasting, "never resolved"),
        )
        return [words for wrong, words in checks if wrong]


@dataclass(frozen=True)
class Outcome:
    """All rows, and what fired without a target.

    lag: seconds, scaled back, that the stand-ins were late at most
    late_looks: how often they were as late as the exporter must be to call a session distorted
    """

    played: list[Played]
    others: list[str]
    crashes: list[BaseException]
    seconds: float
    lag: float
    late_looks: int

    @property
    def busy(self):
        """Whether the machine was too busy for the outcome to say anything: by our clock, or by the exporter's."""
        return self.lag > LATE or any(DISTORTED in name for name in self.others)

    @property
    def strays(self):
        """What fired without a target, but for an alert that tells the truth about this machine, as our clock does."""
        honest = self.late_looks >= DISTORTED_SESSIONS
        return [name for name in self.others if not (honest and DISTORTED in name)]

    @property
    def faults(self):
        """Everything wrong, by row."""
        wrong = {one.name: one.faults for one in self.played if one.faults}
        return wrong | ({"(no target)": self.strays} if self.strays else {})


async def play(folder, factor=FACTOR, only=None):
    """Run the drill on the installed servers; the outcome. `only`: names of rows, for a drill of a few."""
    (outcome,) = await play_beside(folder, (INSTALLED,), factor, only)
    return outcome


async def play_beside(folder, engines, factor=FACTOR, only=None):
    """Run the drill once, judged by each of the engines; their outcomes."""
    started = time.monotonic()
    incidents, quiet = signatures()
    rows = [row for row in [*incidents, *quiet] if only is None or row["name"] in only]
    async with Backends(folder, factor) as backends, _watched() as lag:
        for row in rows:
            await backends.add(row)
        async with stacks(engines, [backend.mapping for backend in backends.all], folder, factor) as beside:
            since = time.time()
            await _healthy(beside, backends, factor)
            for backend in backends.all:
                backend.break_()
            await _hold(beside, backends, factor)
            await _resolved(beside, backends, factor)
            fired = [await running.fired(time.time() - since) for running in beside]
            heard = [list(running.heard) for running in beside]
        crashes = [crash for standin in backends.standins for crash in standin.crashes]
        judged = [_judged(backends.all, *one, factor, since) for one in zip(fired, heard, strict=True)]
        took = time.monotonic() - started
        late = sum(seconds > DISTORTION_SECONDS for seconds in lag)
        return [Outcome(played, others, crashes, took, max(lag) / float(factor), late) for played, others in judged]


@asynccontextmanager
async def _watched():
    """How late the event loop was, at each look."""
    late = [0.0]

    async def look():
        while True:
            before = time.monotonic()
            await asyncio.sleep(LOOK)
            late.append(time.monotonic() - before - LOOK)

    task = asyncio.create_task(look())
    try:
        yield late
    finally:
        task.cancel()


async def _healthy(beside, backends, factor):
    begun, wanted = time.monotonic(), len(backends.all)
    all_pass = f'count(ws_probe_success{{probe="send"}} == 1) == {wanted}'
    for running in beside:
        await running.prometheus.until(all_pass, float(WARM_UP * factor) + 30)
    await asyncio.sleep(max(0.0, begun + float(WARM_UP * factor) - time.monotonic()))


async def _hold(beside, backends, factor):
    """Hold each outage, longer if a notification is still missing, and heal it; rows with `lasts` come last."""
    end = time.monotonic() + float(PATIENCE * factor)
    await asyncio.sleep(float(INCIDENT * factor))
    for lasts in (False, True):
        rows = [backend for backend in backends.all if ("lasts" in backend.setup) is lasts]
        await _told(beside, {backend.name for backend in rows if "notify" in backend.row}, end)
        for backend in rows:
            await backend.heal()


async def _told(beside, wanted, end):
    async def told():
        return all(wanted <= {one.target for one in running.heard} for running in beside)

    with suppress(TimeoutError):  # the comparison will say which
        await until(told, max(STEP, end - time.monotonic()), STEP)


async def _resolved(beside, backends, factor):
    """Wait until nothing fires but what must, and the pagers have been told so."""
    lasting = {backend.name for backend in backends.all if backend.lasting}

    async def calm(running):
        firing = [labels for labels in await running.firing() if named(labels) != STANDING]
        return all(labels.get("target") in lasting for labels in firing) and not _open(running.heard) - lasting

    async def all_calm():
        return all([await calm(running) for running in beside])

    try:
        await until(all_calm, float(RESOLVED * factor), STEP)
    except TimeoutError:
        return


def _open(heard):
    """Targets whose last notification says that something fires."""
    last = {(one.target, one.receiver): one.status for one in heard if one.receiver != "alive"}
    return {target for (target, _), status in last.items() if status == "firing"}


def _judged(backends, fired, heard, factor, since):
    """The rows, and what fired or notified without a target."""
    alerts, told = defaultdict(dict), defaultdict(list)
    for labels, times in fired:
        first = alerts[labels.get("target")]
        first[named(labels)] = min(times[0], first.get(named(labels), times[0]))
    for one in heard:
        if one.receiver != "alive" and one.status == "firing":
            told[one.target].append(one)
    still = _open(heard)
    played = [
        _row(one, alerts[one.name], told[one.name], resolved=one.name not in still, factor=factor, since=since)
        for one in backends
    ]
    return played, sorted(alerts[None].keys() - {STANDING}) + [name for one in told[None] for name in one.names]


def _row(backend, fired, told, *, resolved, factor, since):
    row = backend.row
    text = told[0].text if told else ""
    begun = since if backend.lasting else backend.broken_at

    def after(at):
        return (at - begun) / float(factor)

    return Played(
        name=row["name"],
        firing=frozenset(row.get("firing", ())),
        fired={name: after(at) for name, at in fired.items()},
        notify=(row["notify"],) if "notify" in row else (),
        notified=tuple((name, after(one.at)) for one in told for name in one.names),
        missing_words=tuple(word for word in row.get("text", ()) if word not in text),
        text=text,
        healed=after(backend.healed_at),
        resolved=resolved,
        lasting=backend.lasting,
    )


def table(outcome):
    """The outcome as text."""
    head = ("signature", "expected", "got", "s to page", "stray alerts", "")
    rows = [head, *(_cells(one) for one in outcome.played)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    wrong = [f"! {name}: {words}" for name, found in outcome.faults.items() for words in found]
    quiet = sum(not one.notify and not one.notified for one in outcome.played)
    count = f"{len(outcome.played)} signatures, {quiet} of them quiet, in {outcome.seconds:.0f} s"
    late = f"stand-ins late by {outcome.lag:.1f} s at most"
    if len(outcome.strays) < len(outcome.others):
        late += f", and by over {DISTORTION_SECONDS:g} s in {outcome.late_looks} looks: {DISTORTED} was right to fire"
    return "\n".join([*lines, *wrong, f"{count}; {len(wrong)} mismatches; {late}"])


def _cells(one):
    took = "-" if one.took is None else f"{one.took:.0f}"
    said = _short(one.names) or "nothing"
    return (
        one.name,
        _short(one.notify) or "nothing",
        said,
        took,
        _short(one.stray) or "-",
        "ok" if not one.faults else "NO",
    )


def _short(names):
    return ", ".join(name.removeprefix("WebSocket") for name in names)
