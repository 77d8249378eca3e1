"""The leak canary: its pace, and what its connections prove, against the stand-in's model of the factory's slots."""

import itertools
import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import results

from exporter.budget import Ledger, Refusal, SessionCost
from exporter.classify.leak import CanaryLimits, CanaryOpen, LeakDetector, LeakFindings
from exporter.plan.cadence import Cadence
from exporter.plan.canary_schedule import CanaryPace
from exporter.result import FactoryReason, Holdup, Probe, Trigger
from exporter.standin.slots import UserManagers

DAY = 86_400.0
EPOCH = 1_800_000_000.0
CANARY = "canary"
TWENTY = CanaryLimits(20, 19, 300.0, 312.0)


@dataclass
class World:
    """A backend of some processes behind a balancer, its pool, and the canary, on a virtual clock.

    slots, release: the backend's own; limits: what the config says of them · leak: every n-th connection of a user
    stays for good; 0: none · noise: share of sessions that fail for another reason · instances: processes behind a
    balancer, each with its own counts · states_limit: whether a refusal says N
    """

    limits: CanaryLimits = TWENTY
    every: float = 3600.0
    slots: int = 20
    release: float = 300.0
    leak: int = 0
    noise: float = 0.0
    instances: int = 1
    seed: int = 1
    states_limit: bool = True
    pool: int = 0
    pool_interval: float = 20.0
    now: float = 0.0
    step: float = 0.0
    most_held: int = 0
    pool_refused_at: float | None = None
    announced_at: float | None = None
    gauges: list = field(default_factory=list)
    skips: list = field(default_factory=list)

    def __post_init__(self):
        self.dice = random.Random(self.seed)
        self.cadence = Cadence.of("staging", self.every)
        self.pace = CanaryPace.of(self.limits.opens, self.limits.window)
        self.counts = {}
        self.runs = itertools.count()
        self.recent = []
        self.deploy()
        self.start()

    @property
    def wall(self):
        return EPOCH + self.now + self.step

    def deploy(self):
        """Fresh processes: all counts are 0."""
        self.processes = [
            UserManagers(self.slots, release=self.release, idle=1e12, cleanup=0, now=self.now)
            for _ in range(self.instances)
        ]
        self.recent = []

    def start(self, ledger=None):
        """An exporter's process begins, with the ledger of its state file or without one."""
        self.ledger = ledger or Ledger(since=self.wall)
        self.detector = LeakDetector(self.limits, self.now)
        self.last_round, self.opened_at, self.number = self.cadence.cycle_at(self.wall), 0.0, None

    def step_clock(self, seconds):
        self.step += seconds
        self.ledger.shift_times(seconds, self.wall, "me")

    def connect(self, user):
        """One session: whether it is accepted, None if it fails for another reason; and how long it takes."""
        lasts = self.dice.choice((0.1, 0.2, 0.3, 1.0, 4.0))
        process = self.dice.choice(self.processes)
        failed = self.dice.random() < self.noise
        if failed and self.dice.random() < 0.5:
            return None, lasts, False
        connection = f"{user}-{next(self.runs)}"
        if not process.take(user, connection, self.now):
            return False, lasts, False
        self.counts[user] = self.counts.get(user, 0) + 1
        if self.leak and self.counts[user] % self.leak == 0:
            process.leak(connection)
        process.touch(user, connection, self.now + lasts)
        if user == CANARY:
            self.recent = [end for end in self.recent if end + self.release > self.now] + [self.now + lasts]
            self.most_held = max(self.most_held, len(self.recent))
        return None if failed else True, lasts, True

    def open_canary(self, number):
        limits = self.limits
        cost = SessionCost(
            run=str(next(self.runs)), host="h", authority="h:1", depth=Probe.AUTH, trigger=Trigger.CONFIRM, user=CANARY,
            slots=limits.slots, slot_release=limits.slot_release, reserve=limits.slots - limits.opens,
            open_for=limits.window - limits.slot_release,
        )  # fmt: skip
        decision = self.ledger.grant_or_refuse(cost, self.wall)
        if isinstance(decision, Refusal):
            self.skips.append(decision.holdup)
            findings = self.detector.record_skip(number, over_budget=decision.holdup is Holdup.SLOTS)
        else:
            accepted, lasts, taken = self.connect(CANARY)
            end = self.now + lasts
            limit = self.slots if accepted is False and self.states_limit else None
            self.ledger.release(cost, self.wall + lasts, slot_taken=taken)
            if accepted is False:
                self.ledger.start_user_cooldown(CANARY, limits.slot_release, self.wall + lasts)
                if limit is not None:
                    self.ledger.record_slot_limit("h:1", limit, self.wall + lasts)
            findings = self.detector.record_open(CanaryOpen(number, self.now, end, accepted, limit))
        self.gauges.append(findings)
        if findings.leaked and self.announced_at is None:
            self.announced_at = self.now

    def probe_pool(self, cycle):
        accepted, _, _ = self.connect(f"pool-{cycle % self.pool}")
        if accepted is False and self.pool_refused_at is None:
            self.pool_refused_at = self.now

    def next_open(self):
        """When the canary's next connection is due, on the world's clock: of this round, or of the next one."""
        if self.number is not None and self.number + 1 < self.pace.connects:
            return self.opened_at + self.pace.spacing
        return max(
            self.now, self.cadence.due(max(self.last_round, self.cadence.cycle_at(self.wall)) + 1) - EPOCH - self.step
        )

    def walk(self):
        """The canary's connection that is due now; within a round the monotonic clock counts."""
        if self.number is None or self.number + 1 == self.pace.connects:
            self.last_round, self.number = self.cadence.cycle_at(self.wall), -1
        self.number, self.opened_at = self.number + 1, self.now
        self.open_canary(self.number)

    def live(self, seconds, *, until_refused=False):
        """Let time pass, with every connection at its moment."""
        end, cycle = self.now + seconds, 0
        next_cycle = self.now if self.pool else float("inf")
        while not (until_refused and self.pool_refused_at is not None):
            canary_at = self.next_open()
            if min(canary_at, next_cycle) >= end:
                self.now = end
                return
            if next_cycle <= canary_at:
                self.now = next_cycle
                self.probe_pool(cycle)
                cycle, next_cycle = cycle + 1, next_cycle + self.pool_interval
            else:
                self.now = canary_at
                self.walk()

    @property
    def leaked(self):
        return self.gauges[-1].leaked


# The pace ------------------------------------------------------------------------------------------------------------


@given(st.integers(1, 10_000), st.floats(0, 86_400), st.floats(0.1, 3600))
def test_the_pace_alone_holds_no_more_slots_than_are_allowed(opens, release, open_for):
    """Over all numbers of slots and release times: as many connections as there are slots take a whole window."""
    pace = CanaryPace.of(opens, release + open_for)
    assert pace.spacing * opens >= release + open_for
    assert pace.length == pace.spacing * pace.connects


def test_the_connects_of_a_minute_are_counted_and_no_more_than_a_round_has():
    """19 slots of 312 s each: a connection every 16.422 s, four a minute."""
    pace = CanaryPace.of(19, 312)
    assert (pace.connects, pace.spacing, pace.max_connects(60)) == (38, 16.422, 4)
    assert CanaryPace.of(2, 12).max_connects(60) == 4


# What is healthy -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("days", [25, pytest.param(100, marks=pytest.mark.soak)])
@pytest.mark.parametrize("instances", [1, 3])
@pytest.mark.parametrize("remembers", [True, False], ids=["state file", "no state file"])
def test_a_healthy_backend_is_never_announced(instances, remembers, days):
    """With failed connects, deploys, clock steps and restarts of the exporter mixed in."""
    world = World(noise=0.01, instances=instances, every=1800, seed=instances)
    for day in range(days):
        for _ in range(world.dice.randrange(4)):
            world.live(world.dice.uniform(600, 20_000))
            event = world.dice.randrange(3)
            if event == 0:
                world.deploy()
            elif event == 1:
                world.step_clock(world.dice.choice((-7200.0, -40.0, 40.0, 3600.0, 86_400.0)))
            else:
                world.start(world.ledger if remembers else None)
        world.live(max(0.0, (day + 1) * DAY - world.now))
    assert world.announced_at is None
    assert world.leaked == 0
    assert world.most_held <= 19
    known = [findings.release for findings in world.gauges if findings.release is not None]
    assert min(known) > 300


@given(
    slots=st.integers(2, 40), reserve=st.integers(1, 5), release=st.sampled_from([10.0, 60.0, 300.0, 1800.0]),
    noise=st.sampled_from([0.0, 0.01, 0.3]), seed=st.integers(0, 1000),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_the_canary_never_takes_the_last_slot_of_its_user(slots, reserve, release, noise, seed):
    """Over all limits, reserves and release times, and with a state file that is lost."""
    if slots <= reserve:
        return
    window = release + 12
    world = World(
        CanaryLimits(slots, slots - reserve, release, window), every=2.2 * window + 1, slots=slots, release=release,
        noise=noise, seed=seed,
    )  # fmt: skip
    for _ in range(3):
        world.live(3 * world.every)
        world.start()
    assert world.most_held <= slots - reserve
    assert world.announced_at is None


def test_a_failed_connect_and_a_round_of_failures_prove_nothing():
    """What failed for another reason is no leak, and a round that is not whole does not say that all came back."""
    world = World(noise=1.0)
    world.live(3 * 3600)
    assert all(findings == LeakFindings() for findings in world.gauges)


# What leaks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("leak", [5, 10, 20, 50, 100])
@pytest.mark.parametrize("seed", range(3))
def test_a_leak_is_announced_before_a_pool_session_is_refused(leak, seed):
    """One connection in n stays for good, limit 20, a round an hour: known before the pool meets the limit."""
    world = World(leak=leak, pool=3, noise=0.01, seed=seed, now=seed * 1200.0)
    world.live(60 * DAY, until_refused=True)
    assert world.announced_at is not None
    assert world.pool_refused_at is not None
    assert world.announced_at < 0.9 * world.pool_refused_at


def test_a_canary_that_walks_without_pause_announces_even_a_leak_of_every_connection():
    """The fastest leak there is, with the shortest `every`: known within thirteen minutes, and the pool has twenty."""
    world = World(leak=1, pool=3, every=625.0)
    world.live(DAY, until_refused=True)
    assert world.announced_at < 0.7 * world.pool_refused_at


@pytest.mark.parametrize("instances", [2, 5])
def test_behind_a_balancer_the_figure_is_the_least_that_is_missing(instances):
    """Each process has a count of its own: the canary sees the one that refuses it, before the pool does."""
    world = World(leak=10, pool=3, instances=instances, every=1800)
    world.live(60 * DAY, until_refused=True)
    assert world.announced_at < world.pool_refused_at


def test_the_figure_is_what_the_canary_could_not_open():
    """Seven slots stay; of 20 it opens 13."""
    world = World(every=700)
    world.live(1500)
    assert world.leaked == 0
    world.deploy()
    for number in range(7):
        world.processes[0].take(CANARY, f"lost-{number}", world.now)
        world.processes[0].leak(f"lost-{number}")
    world.live(1500)
    assert world.leaked == 7


def test_a_refusal_without_a_limit_is_compared_with_what_was_accepted_before():
    """A backend of five slots that says no number is no leak of fifteen."""
    low = World(slots=5, states_limit=False, every=700)
    low.live(5 * 3600)
    assert low.leaked in (None, 0)
    leaking = World(states_limit=False, every=700, leak=3)
    leaking.live(5 * 3600)
    assert leaking.leaked > 0


def test_a_limit_that_is_lower_than_configured_is_no_leak():
    """The backend says 5, the config 20: the ledger learns it, the canary goes on within four, and all come back."""
    world = World(slots=5, every=700)
    world.live(4 * 3600)
    assert world.announced_at is None
    assert world.leaked == 0


def test_a_slow_release_is_missing_first_and_back_later():
    """Slots that come back after 900 s instead of 300 s are missing after their release, and the time is known."""
    world = World(release=900.0)
    world.live(4 * 3600)
    assert world.announced_at is not None
    assert 900 <= world.gauges[-1].release <= 900 + 3600
    assert world.most_held <= 20


def test_after_a_restart_of_the_backend_two_rounds_clear_the_figure():
    """One round may have missed the process that leaks."""
    world = World(every=700, leak=2)
    world.live(3 * 3600)
    assert world.leaked > 0
    world.leak = 0
    world.deploy()
    world.live(800)
    first = world.leaked
    world.live(2200)
    assert first > 0
    assert world.leaked == 0


def test_what_was_held_before_the_start_is_not_called_a_leak():
    """An exporter without a state file restarts in the middle of a round: what it held is unknown, and no leak."""
    world = World(every=625)
    world.live(3600)
    for _ in range(20):
        world.live(world.dice.uniform(100, 300))
        for number in range(15):  # as if another process had just used the same user
            world.processes[0].take(CANARY, f"other-{number}-{world.now}", world.now)
        world.start()
        world.live(200)
        assert not world.leaked


def test_a_result_of_a_session_is_read_as_a_slot_a_refusal_or_neither():
    """Only `slot_limit` is a refusal for want of a slot, only a welcome without a factory reason a slot."""
    welcomed, refused = CanaryOpen.of(3, 1.0, 2.0, results.passed()), CanaryOpen.of(4, 5.0, 6.0, results.failed())
    invalid = results.passed(factory_reason=FactoryReason.NOT_READY)
    assert (welcomed.accepted, welcomed.number, welcomed.started, welcomed.ended) == (True, 3, 1.0, 2.0)
    assert (refused.accepted, refused.limit) == (False, results.failed().slot_limit)
    for other in (results.connected(), results.impaired(), results.void(), invalid):
        assert CanaryOpen.of(0, 1.0, 2.0, other).accepted is None
