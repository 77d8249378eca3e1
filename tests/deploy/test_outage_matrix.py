"""An outage pages within three cycles and until it ends, a blip never: interval × scrape × confirm runs × what happens.

The real scheduler runs its cycles and confirm runs on a jumping clock, the real judgement (`OutageDetector`) is sampled
as a scrape would, and promtool evaluates the real rules. A session is a function here: what matters is when it takes
place.
"""

import asyncio
import bisect
import itertools
from dataclasses import dataclass, field
from math import inf

import pytest
from support import virtual_clock
from support.alert_replay import JOB, asked, runs
from support.outages import MEETS

from exporter.classify import OutageDetector, OutagePolicy, possible_causes
from exporter.config import Config
from exporter.plan import plan
from exporter.plan.detection import OutageKind, expected_detection
from exporter.profiles import BUILT_IN
from exporter.result import Probe, Result, Verdict
from exporter.scheduler import Scheduler

FACTORY = BUILT_IN["factory"]
SESSION = 0.2
"""Seconds that a session takes."""
SLACK = 2.0
"""Seconds for sessions themselves, whatever else there is to wait for."""
CALM = 60.0
BEFORE = 3
"""Healthy cycles before anything happens: the outage is not what the exporter sees first."""
ALIASES = {f"user-{number}": f"staging-user-{number}" for number in range(3)}

OUTAGES = {
    "C": "WebSocketConnectFailing/critical",
    "R": "WebSocketAuthFailing/critical",
    "N": "WebSocketNoWelcome/critical",
    "F": "WebSocketFactoryValidationFailing/critical",
    "S": "WebSocketFactorySlotsExhausted/critical",
    "W": "WebSocketServerRestarting/critical",
    "Z": "WebSocketSendFailing/critical",
}
"""What sessions meet in an outage, as in test_outage, and the page that it is."""
TELLING = frozenset(OUTAGES.values())


@dataclass
class Play:
    """A target's schedule, what its backend does meanwhile, and what was judged.

    `bad`: from and to, in seconds of the play; `letter`: what sessions meet then. `marks`: cause → when it began or
    ended to stand, in seconds.
    """

    name: str
    interval: float
    confirm: int
    letter: str
    bad: list
    seconds: float
    every: int = 1
    marks: dict = field(default_factory=dict)

    def job(self):
        """The target as the exporter runs it."""
        timeout = min(2.0, self.interval / 4)
        mapping = {
            "name": self.name,
            "url": "ws://127.0.0.1:1/ws",
            "interval": f"{self.interval:g}s",
            "timeout": f"{timeout:g}s",
            "close_timeout": "500ms",
            "identities": {alias: f"{self.name}-{subject}" for alias, subject in ALIASES.items()},
            "auth": {"jwt": {"key_env": "PATH", "algorithm": "HS256"}},
            "limits": {"slots_per_identity": 0},
            "probes": {"send": {"every": self.every}},
            "confirm": {"runs": self.confirm},
        }
        made = plan(Config.model_validate({"targets": [mapping]}), BUILT_IN)
        assert not isinstance(made, tuple), made
        return made.jobs[0]

    def promised(self):
        """Seconds after which, as `--config.check` says, it has become an outage at most."""
        job = self.job()
        kind = OutageKind.TOKENS if self.letter == "R" else OutageKind.TURNED_AWAY
        return expected_detection(job, kind).most if self.letter != "W" else inf

    async def session(self, turn):
        """What one meets: as deep as it was asked, and no further than the backend lets it."""
        loop = asyncio.get_running_loop()
        ill = any(begin <= loop.time() < end for begin, end in self.bad)
        await asyncio.sleep(SESSION)
        met = dict(MEETS[self.letter if ill else "."])
        verdicts = dict(zip(Probe, met.pop("verdicts", (Verdict.PASS,) * 3), strict=True))
        asked = {probe: v if probe.rank <= turn.depth.rank else Verdict.NONE for probe, v in verdicts.items()}
        if Verdict.FAIL not in asked.values() and turn.depth is not Probe.SEND:
            met = {}
        return Result(
            target=self.name, identity=turn.identity, run="r", depth=turn.depth, trigger=turn.trigger,
            started_at=loop.wall(), verdicts=asked, **met,
        )  # fmt: skip

    async def watch(self, loop):
        """Run the schedule, and judge each session as it ends."""
        job = self.job()
        intervals = {probe: job.interval * job.every(probe) for probe in job.probes}
        outages = OutageDetector(
            OutagePolicy(
                possible_causes(FACTORY, tls=False, factory=True),
                intervals,
                len(ALIASES),
                confirm_after=job.confirm_after,
            )
        )
        scheduler = Scheduler([job], self.session, _Sinks(self, outages, loop), loop.clock)
        scheduler.start()
        await asyncio.sleep(self.seconds)
        await scheduler.stop()

    def series(self, scrape):
        """What a Prometheus has of it."""
        moments = [number * scrape for number in range(int(self.seconds / scrape))]
        for cause, changes in self.marks.items():
            at = [moment for moment, _ in changes]
            values = [None, *(int(stands) for _, stands in changes)]
            seen = [values[bisect.bisect_right(at, moment)] for moment in moments]
            labels = f'job="{JOB}",instance="a",target="{self.name}",cause="{cause.value}"'
            yield {"series": f"ws_probe_outage{{{labels}}}", "values": " ".join(runs(seen))}


class _Sinks:
    """Judge what the scheduler tells; nothing else of it matters here."""

    def __init__(self, play, outages, loop):
        self._play, self._outages, self._loop = play, outages, loop

    def record_result(self, result):
        for cause, stands in self._outages.record_result(result).items():
            self._play.marks.setdefault(cause, []).append((self._loop.time(), stands))

    def record_cycle(self, *_):
        pass

    record_skip = set_next_due = clock_stepped = job_changed = record_cycle


def due_after(job, seconds):
    """When, in seconds of the play, the first cycle falls due after so many."""
    return job.due(job.cycle_at(virtual_clock.EPOCH + seconds) + 1) - virtual_clock.EPOCH


def outage(interval, confirm, letter, scrape, every=1):
    """It begins in the middle of nowhere, and lasts long enough for the slowest scrape to see it."""
    begin = (BEFORE * every + 0.37) * interval
    length = max(5 * every * interval, 4 * scrape)
    name = f"outage-{interval:g}-{confirm}-{letter}-{every}"
    seconds = begin + length + 3 * every * interval + 6 * CALM
    return Play(name, interval, confirm, letter, [(begin, begin + length)], seconds, every)


def blips(interval, confirm, letter):
    """Two of them, seven cycles apart: each meets a scheduled cycle and, of its confirm runs, all but the last."""
    play = Play(f"blips-{interval:g}-{confirm}-{letter}", interval, confirm, letter, [], 14 * interval + 2 * CALM)
    job = play.job()
    for number in range(2):
        due = due_after(job, (BEFORE + 7 * number) * interval)
        play.bad.append((due - 0.1, due + min(job.confirm_after + 1, 1.5 * interval)))
    return play


def deploys(interval, confirm):
    """Restarts that a scheduled cycle and all its confirm runs meet."""
    play = blips(interval, confirm, "W")
    play.name = f"deploys-{interval:g}-{confirm}"
    play.bad = [(begin, begin + min(2 * 5 + 1, 1.5 * interval)) for begin, _ in play.bad]
    return play


def played(plays, scrape, step, folder):
    """The plays on one clock, and what the rules make of them."""

    async def main(loop):
        async with asyncio.TaskGroup() as together:
            for play in plays:
                together.create_task(play.watch(loop))

    virtual_clock.run(main)
    folder.mkdir(exist_ok=True)
    series = list(itertools.chain.from_iterable(play.series(scrape) for play in plays))
    return asked(series, max(play.seconds for play in plays), folder, scrape=scrape, step=step)


MATRIX = [
    # interval, scrape, evaluation in seconds; what outages and blips are made of
    *((interval, scrape, 15.0, "CRNFSWZ", "CNFZ") for interval in (5.0, 20.0) for scrape in (5.0, 15.0, 30.0, 60.0)),
    (20.0, 5.0, 5.0, "CRNFSWZ", "CNFZ"),
    (20.0, 60.0, 60.0, "CRZ", "CZ"),
    *((60.0, scrape, 15.0, "CRNFSWZ", "CNFZ") for scrape in (15.0, 60.0)),
    *((360.0, scrape, 30.0, "CRWZ", "CF") for scrape in (5.0, 60.0)),
    (1800.0, 60.0, 120.0, "CRWZ", "CF"),
    pytest.param((3600.0, 60.0, 120.0, "CRWZ", "CF"), marks=pytest.mark.soak, id="3600.0-60.0-120.0"),
    pytest.param((86_400.0, 60.0, 1800.0, "CRZ", "C"), marks=pytest.mark.soak, id="86400.0-60.0-1800.0"),
]


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("row", MATRIX, ids=lambda row: "-".join(map(str, row[:3])))
def test_an_outage_pages_within_three_cycles_until_it_ends_and_a_blip_never(row, tmp_path):
    """Whatever the number of confirm runs; one page for it, without a gap, and none of another name."""
    interval, scrape, step, letters, chance = row
    outages = [outage(interval, confirm, letter, scrape) for confirm in range(3) for letter in letters]
    outages += [outage(interval, 2, "Z", scrape, every=3)] if interval <= 60.0 else []
    quiet = [blips(interval, confirm, letter) for confirm in range(3) for letter in chance]
    quiet += [deploys(interval, confirm) for confirm in range(3)]

    judged = played([*outages, *quiet], scrape, step, tmp_path)

    named = {(one.name, OUTAGES[one.letter]): one for one in outages}
    assert {key for key in judged.first if key[1] in TELLING} == set(named)
    assert not judged.last
    for key, one in named.items():
        ((begin, end),) = one.bad
        cycle = one.interval * one.every
        seen = SLACK + scrape + step
        assert begin <= judged.first[key] <= begin + min(3 * cycle, one.promised()) + seen, key
        assert end <= judged.end[key] + step, key
        assert judged.end[key] <= end + max(cycle, CALM) + cycle + seen, key
        assert judged.gaps[key] == 0, key


def test_the_matrix_can_fail(tmp_path):
    """Blips that are longer than their confirm runs page: the plays do reach the rules."""
    long = blips(20.0, 2, "C")
    long.bad = [(begin, begin + 45) for begin, _ in long.bad]
    judged = played([long], 15.0, 15.0, tmp_path)
    assert (long.name, OUTAGES["C"]) in judged.first
