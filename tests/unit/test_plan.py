"""Package `plan`: when, how deep, as whom, and the proof that it does no harm."""

from collections import Counter
from datetime import UTC, datetime
from fractions import Fraction
from itertools import pairwise
from math import ceil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.paths import DATA

from exporter.config import Config, load_yaml
from exporter.plan import Cadence, Job, Plan, Shard, SlotPattern, plan, plan_lines, shard_of
from exporter.plan.cadence import max_connects
from exporter.plan.job import is_loopback
from exporter.profiles import BUILT_IN
from exporter.result import Probe, Trigger

START, END = 1_700_000_000, 4_102_444_800  # 2023, 2100

periods = st.sampled_from((0.25, 0.7, 1.0, 13.0, 15.0, 20.0, 33.3, 60.0, 100.000001, 86_400.0))
moments = st.floats(START, END)


def target(**changes):
    fields = {
        "name": "staging",
        "url": "wss://backend.example/ws",
        "identities": {"one": "subject-1", "two": "subject-2", "three": "subject-3"},
        "auth": {"jwt": {"key_file": "/run/secrets/key"}},
    }
    return {**fields, **changes}


def planned(*targets, **top):
    return plan(Config.model_validate({"targets": list(targets), **top}), BUILT_IN)


def job(**changes):
    made = planned(target(**changes))
    assert isinstance(made, Plan), made
    return made.jobs[0]


# --- Cycles


@settings(deadline=None)
@given(name=st.text(max_size=20), interval=periods, moment=moments)
def test_a_due_moment_belongs_to_its_own_cycle_until_2100(name, interval, moment):
    """The moment a cycle is due, through a float or a datetime, is that cycle again; the next one is an interval on."""
    grid = Cadence.of(name, interval)
    cycle = grid.cycle_at(moment)
    due = grid.due(cycle)
    assert grid.cycle_at(due) == cycle
    assert grid.cycle_at(datetime.fromtimestamp(due, UTC).timestamp()) == cycle
    assert due - 1e-6 <= moment < grid.due(cycle + 1) + 1e-6
    assert Fraction(grid.due(cycle + 1)) - Fraction(due) == pytest.approx(interval, abs=1e-6)


def test_cycles_do_not_drift():
    """After a hundred years of cycles the moment is still offset + count × interval."""
    grid = Cadence.of("staging", 33.3)
    assert grid.due(94_700_000) == (grid.offset_us + 94_700_000 * 33_300_000) / 1e6


def test_targets_are_spread_over_the_interval_by_their_names_alone():
    """A hundred names land in every tenth of the interval, and where they landed before."""
    offsets = [Cadence.of(f"target-{number}", 20).offset_us for number in range(100)]
    assert {offset // 2_000_000 for offset in offsets} == set(range(10))
    assert Cadence.of("staging", 20).offset_us == 14_790_812
    assert all(0 <= offset < 20_000_000 for offset in offsets)


# --- Depth and identity


def test_each_cycle_goes_as_deep_as_the_deepest_probe_due():
    """Auth every 2nd and send every 3rd cycle: connect in all others."""
    made = job(probes={"auth": {"every": 2}, "send": {"every": 3}})
    depths = [made.depth(cycle).value for cycle in range(6)]
    assert depths == ["send", "connect", "auth", "send", "auth", "connect"]


def test_a_probe_that_the_profile_lacks_is_never_due():
    """The echo profile has no auth: its cycles are send or connect."""
    made = job(profile="echo", auth=None, identities={}, probes={"send": {"every": 2}})
    assert {made.depth(cycle) for cycle in range(10)} == {Probe.CONNECT, Probe.SEND}


def test_identities_take_turns_over_the_cycles_that_take_a_slot():
    """Cycles that only connect are nobody's turn; the others go round."""
    made = job(probes={"auth": {"every": 2}, "send": {"every": 3}})
    turns = [made.identity(cycle) for cycle in range(12)]
    assert turns == ["one", None, "two", "three", "one", None, "two", None, "three", "one", "two", None]


def test_every_cycle_is_a_turn_where_connecting_takes_a_slot():
    """A profile that cannot connect without a token gives each cycle to an identity."""
    made = planned(
        target(profile="own", probes={"auth": {"every": 5}}),
        profiles={"own": {"needs_token": True, "welcome": {"match": {"type": "hi"}}}},
    ).jobs[0]
    assert [made.identity(cycle) for cycle in range(4)] == ["one", "two", "three", "one"]


@settings(deadline=None)
@given(auth=st.integers(1, 9), send=st.integers(1, 9), start=st.integers(0, 10**9))
def test_the_turn_of_a_cycle_does_not_depend_on_what_ran_before(auth, send, start):
    """From any cycle on, the turns go round without a break: a restart changes nobody's turn."""
    made = job(interval="1h", probes={"auth": {"every": auth}, "send": {"every": send}})
    turns = [alias for cycle in range(start, start + 60) if (alias := made.identity(cycle))]
    assert {made.identity(cycle) is None for cycle in range(start, start + 60) if made.depth(cycle) != "connect"} == {
        False
    }
    pool = list(made.identities)
    assert all(pool[(pool.index(a) + 1) % 3] == b for a, b in pairwise(turns))


def test_confirm_runs_go_to_others_whose_next_turn_is_far():
    """The one that failed is left out; those that had their turn last come first."""
    made = job(identities={name: name for name in "abcd"})
    assert made.confirming_identities("c") == ("b", "a", "d")
    assert made.confirming_identities("a") == ("d", "c", "b")
    assert made.confirming_identities(None) == ("d", "c", "b", "a")
    assert job(profile="echo", auth=None, identities={}).confirming_identities(None) == (None,)
    assert job(identities={"a": "a"}).confirming_identities("a") == ()


@settings(deadline=None)
@given(probe=st.sampled_from(Probe), auth=st.integers(1, 9), send=st.integers(1, 9), moment=moments)
def test_the_next_due_moment_is_that_of_the_next_cycle_deep_enough(probe, auth, send, moment):
    """A deeper session answers a shallower probe too, and no cycle in between would have."""
    made = job(interval="30m", probes={"auth": {"every": auth}, "send": {"every": send}})
    due = made.next_due(moment)[probe]
    last, found = made.cycle_at(moment), made.cycle_at(due)
    assert due > moment - 1e-6
    assert made.depth(found).rank >= probe.rank
    assert all(made.depth(cycle).rank < probe.rank for cycle in range(last + 1, found))


# --- What a session costs


def test_the_cost_of_a_session_follows_from_the_config():
    """Limits are the target's where it says so, else the profile's; users and keys are hashes."""
    made = job(limits={"slots_per_identity": 9}, timeout="5s", auth_retry="7m")
    asked = made.session_cost("run", Probe.SEND, "two", Trigger.SCHEDULE, due=12.5)
    assert (asked.slots, asked.slot_release, asked.reserve, asked.open_for) == (9, 300, 1, 7)
    assert (asked.host, asked.authority, asked.rate, asked.auth_retry) == (
        "backend.example",
        "backend.example:443",
        60,
        420,
    )
    assert (asked.due, asked.tokenless, asked.scheduled_peak, asked.scheduled_rate) == (12.5, True, 6, 3)
    assert len(asked.user) == len(asked.key) == 16
    assert "subject" not in repr(asked)
    assert made.port == 443


def test_a_connect_deep_session_is_anonymous_where_it_may_be():
    """It sends no token and takes no slot; where connecting needs the token it costs what all cost."""
    assert job().session_cost("run", Probe.CONNECT, "one", Trigger.SCHEDULE).user is None
    assert job().session_cost("run", Probe.CONNECT, "one", Trigger.SCHEDULE).key is None
    own = {"needs_token": True, "welcome": {"match": {"type": "hi"}}}
    made = planned(target(profile="own"), profiles={"own": own}).jobs[0]
    assert made.session_cost("run", Probe.CONNECT, "one", Trigger.SCHEDULE).user is not None


def test_users_and_keys_are_told_apart_by_backend():
    """The same subject is one user by any path and alias of a backend, and another one elsewhere; so is a key."""
    urls = ("wss://A.example/ws", "wss://a.example.:443/other", "wss://a.example:8443/ws", "wss://b.example/ws")
    jobs = planned(*(target(name=f"t{number}", url=url) for number, url in enumerate(urls))).jobs
    assert [made.users["one"] == jobs[0].users["one"] for made in jobs] == [True, True, False, False]
    assert [made.key == jobs[0].key for made in jobs] == [True, True, False, False]


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("a.localhost", True),
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("::ffff:10.0.0.1", False),
        ("10.0.0.1", False),
        ("mylocalhost", False),
        ("127.0.0.1.example", False),
    ],
)
def test_only_this_machine_is_exempt_from_the_rate(host, expected):
    """Names and addresses of the loopback, in all their spellings, and nothing that only looks like one."""
    assert is_loopback(host) is expected
    assert (job(url=f"ws://{f'[{host}]' if ':' in host else host}/").rate is None) is expected


# --- The budget


@settings(deadline=None)
@given(
    steps=st.sampled_from(((1,), (2,), (7,), (2, 3), (4, 6), (3, 3), (2, 8), (5, 7), (6, 10), (9, 12, 5))),
    identities=st.integers(1, 7),
    span=st.integers(0, 40),
)
def test_the_most_slots_held_are_those_of_a_simulation(steps, identities, span):
    """For each identity, exactly: the fullest stretch of a long simulation holds as many as the formula says."""
    turns = SlotPattern.every(steps)
    taking = [cycle for cycle in range(2_000) if any(cycle % step == 0 for step in steps)]
    assert [cycle for cycle in range(2_000) if turns.takes_slot(cycle)] == taking
    for identity in range(identities):
        own = set(taking[identity::identities])
        counts = [sum(later in own for later in range(cycle, cycle + span + 1)) for cycle in range(1_500)]
        assert turns.max_slots_per_identity(span, identities)[identity] == max(counts)
    assert turns.max_slots(span) == max(
        sum(turns.takes_slot(later) for later in range(cycle, cycle + span + 1)) for cycle in range(200)
    )


def test_turns_of_the_longest_pattern_are_counted_quickly():
    """Every 9,999th and every 10,000th: a pattern of a hundred million cycles, without a table of them."""
    turns = SlotPattern.every((9_999, 10_000))
    assert turns.period == 99_990_000
    assert turns.slots_before(turns.period) == len(turns.slot_cycles) == 19_998
    assert turns.max_slots_per_identity(60_000, 2) == [7, 7]


@settings(max_examples=60, deadline=None)
@given(
    interval=st.integers(13, 400),
    pool=st.integers(1, 5),
    slots=st.integers(2, 8),
    release=st.integers(0, 400),
    every=st.tuples(st.integers(1, 4), st.integers(1, 4)),
)
def test_what_is_called_safe_is_safe_and_the_nearest(interval, pool, slots, release, every):
    """Each way out of a refusal makes a plan, and one second, identity or cycle less does not."""
    fields = {
        "interval": f"{interval}s",
        "identities": {f"i{number}": f"s{number}" for number in range(pool)},
        "limits": {"slots_per_identity": slots, "slot_release": f"{release}s"},
        "probes": {"auth": {"every": every[0]}, "send": {"every": every[1]}},
    }
    made = planned(target(**fields))
    if isinstance(made, Plan):
        assert max(made.jobs[0].peaks.values()) <= slots - 1
        return
    (problem,) = made
    seconds, more, every = (
        int("".join(filter(str.isdigit, part))) for part in problem.sentence.partition("Safe: ")[2].split(", or ")
    )

    def tried(**changes):
        return isinstance(planned(target(**{**fields, **changes})), Plan)

    def crowd(count):
        return {f"i{number}": f"s{number}" for number in range(count)}

    def thinned(count):
        return {"auth": {"every": count}, "send": {"every": count}}

    assert tried(interval=f"{seconds}s")
    assert not tried(interval=f"{seconds - 1}s")
    assert tried(identities=crowd(more))
    assert not tried(identities=crowd(more - 1))
    assert tried(probes=thinned(every))
    assert every == 1 or not tried(probes=thinned(every - 1))


def test_the_default_schedule_is_the_one_of_the_protocol_page():
    """Three identities, every 60 s, on a backend of 5 slots: each connects once per 180 s."""
    made = job(interval="60s", limits={"slots_per_identity": 5})
    assert set(made.peaks.values()) == {2}
    assert set(job().peaks.values()) == {6}


REFUSED = {
    f"invalid-budget-{name}.yml": sentence
    for name, sentence in load_yaml((DATA / "museum-budget.yml").read_text()).items()
}
"""Each schedule that could do harm, and what is said about it."""


def test_the_museum_of_harmful_schedules_is_complete():
    """Every file of harm in the museum has its sentence here."""
    assert {path.name for path in DATA.glob("invalid-budget-*.yml")} == set(REFUSED)


@pytest.mark.parametrize("name", REFUSED)
def test_a_harmful_schedule_is_refused_in_exactly_these_words(name):
    """The problem names the field, the arithmetic, and the nearest schedules that are safe."""
    config = Config.model_validate(load_yaml((DATA / name).read_text()))
    assert [str(problem) for problem in plan(config, BUILT_IN)] == [REFUSED[name]]


def test_all_harmful_targets_are_named_at_once():
    """Two targets over the budget and a host over the rate make three problems."""
    crowded = target(identities={"one": "s"}, limits={"slots_per_identity": 5})
    problems = planned(
        {**crowded, "name": "a"},
        target(name="b", url="wss://b.example/"),
        {**crowded, "name": "c"},
        max_connects_per_minute=5,
    )
    first, third = "targets[0] (a).interval", "targets[2] (c).interval"
    assert [problem.path for problem in problems] == [first, third, first]


def test_without_a_slot_limit_any_schedule_of_slots_goes():
    """0 slots: unlimited."""
    assert job(identities={"one": "s"}, limits={"slots_per_identity": 0}).allowed_slots is None


def test_an_unlimited_target_adds_to_the_slots_of_the_users_it_shares():
    """Whoever speaks as the user counts, also where no limit is configured."""
    alone = target(name="a", interval="60s", limits={"slots_per_identity": 3})
    beside = target(name="b", limits={"slots_per_identity": 0, "slot_release": "300s"})
    assert isinstance(planned(alone), Plan)
    (problem,) = planned(alone, beside)
    assert problem.path == "targets[0] (a).interval"
    assert problem.sentence.endswith("Safe: interval 105s for each of a, b, which share users, or users of its own")
    slower = target(name="a", interval="105s", limits={"slots_per_identity": 3})
    assert isinstance(planned(slower, {**beside, "interval": "105s"}), Plan)


def test_a_token_in_a_message_is_not_sent_by_a_session_that_only_connects():
    """Such a session costs no slot and tries no token, so that a resting key or user goes on connecting."""
    login = {"auth": {"message": {"token": "${token}"}, "match": {"ok": True}}}
    fields = {"profile": "own", "probes": {"auth": {"every": 2}}, "auth": {"secret_env": "K"}}
    made = planned(target(**fields), profiles={"own": login}).jobs[0]
    assert made.tokenless
    assert [made.slot_pattern.takes_slot(cycle) for cycle in range(4)] == [True, False, True, False]
    asked = made.session_cost("run", Probe.CONNECT, "one", Trigger.SCHEDULE)
    assert (asked.user, asked.key, asked.tokenless) == (None, None, True)
    assert made.session_cost("run", Probe.AUTH, "one", Trigger.SCHEDULE).key is not None
    header = {**fields, "auth": {"secret_env": "K", "carry": "header"}}
    assert not planned(target(**header), profiles={"own": login}).jobs[0].tokenless


THREE = [{"name": name, "interval": "60s", "limits": {"slots_per_identity": 5}} for name in ("zen", "main", "alias")]


def test_targets_that_share_a_user_are_given_an_interval_that_is_safe_for_all_of_them():
    """Each of three targets of one user is over its limit alone: the interval that is named holds for all together."""
    found = planned(*(target(**fields, identities={"pool-001": "u"}) for fields in THREE))
    assert len(found) == 3
    assert "Safe: interval 313s for each of zen, main, alias, which share users, or users of its own" in str(found[0])
    together = [{**fields, "interval": "313s", "identities": {"pool-001": "u"}} for fields in THREE]
    assert isinstance(planned(*(target(**fields) for fields in together)), Plan)
    assert not isinstance(planned(*(target(**{**fields, "interval": "312s"}) for fields in together)), Plan)


def test_targets_that_share_users_by_way_of_others_are_slowed_together():
    """The first and the last share no user, but each shares one with the second: one interval holds for the three."""
    users = ({"a": "u1", "b": "u2"}, {"b": "u2", "c": "u3"}, {"c": "u3", "d": "u4"})
    fields = [{**one, "interval": "14s", "identities": pool} for one, pool in zip(THREE, users, strict=True)]
    (problem, *_) = planned(*(target(**one) for one in fields))
    seconds = int(problem.sentence.partition("Safe: interval ")[2].partition("s for each of zen, main, alias")[0])
    assert isinstance(planned(*(target(**{**one, "interval": f"{seconds}s"}) for one in fields)), Plan)
    assert not isinstance(planned(*(target(**{**one, "interval": f"{seconds - 1}s"}) for one in fields)), Plan)


def test_a_reserve_of_nothing_and_one_slot_make_a_plan():
    """With one slot for a user, and none kept for others, it is probed once in each time that a slot is held."""
    one = {"interval": "20s", "identities": {"cp": "CP-1"}}
    made = job(**one, limits={"slots_per_identity": 1, "slot_release": "5s", "reserve": 0})
    assert (made.allowed_slots, made.limits.reserve) == (1, 0)
    assert job(**one, limits={"slots_per_identity": 1, "slot_release": "5s"}).allowed_slots == 1
    (problem,) = planned(target(**one, limits={"slots_per_identity": 1, "slot_release": "30s", "reserve": 0}))
    assert "allows 1. Safe: interval 43s" in problem.sentence
    (refused,) = planned(target(**one, limits={"slots_per_identity": 1, "reserve": 1}))
    assert "slots_per_identity 1 less reserve 1 leaves no slot" in refused.sentence


def test_an_unknown_profile_is_a_problem_and_not_a_crash():
    """A config that nobody has checked names its wrong profile."""
    config = Config.model_validate({"targets": [target()]})
    (problem,) = plan(config, {})
    assert str(problem) == "targets[0] (staging).profile: unknown profile, known: "


@settings(deadline=None)
@given(
    offsets=st.lists(st.integers(0, 99), min_size=1, max_size=6),
    interval=st.sampled_from((7, 10, 33, 60, 100)),
    window=st.sampled_from((60, 30, 99, 100, 7)),
)
def test_the_most_connects_of_a_minute_are_those_of_a_simulation(offsets, interval, window):
    """Of targets with one interval, exactly the fullest stretch of a simulation."""
    grids = [Cadence(interval, offset % interval) for offset in offsets]
    due = [grid.offset_us + cycle * interval for grid in grids for cycle in range(60)]
    busiest = max(sum(start <= moment < start + window for moment in due) for start in range(interval * 5))
    assert max_connects(grids, window) == busiest
    slower = Cadence(2 * interval, 0)
    assert max_connects([*grids, slower], window) == busiest + ceil(window / (2 * interval))


def test_a_schedule_exactly_at_the_permitted_rate_is_planned():
    """Twenty targets, each every 20 s, are 60 connects a minute: as many as are permitted by default."""
    made = planned(*(target(name=f"t{number}", identities={"one": f"s{number}"}) for number in range(20)))
    assert made.jobs[0].scheduled_rate == 60
    (problem,) = planned(*(target(name=f"t{number}", identities={"one": f"s{number}"}) for number in range(21)))
    assert "up to 63 connects a minute from 21 targets" in problem.sentence


# --- In words


def test_the_plan_is_printed_as_an_aligned_table():
    """Each target's cycle, slots held, allowed and spare, room for confirm runs; then each host's connects."""
    made = planned(
        target(),
        target(name="other", interval="1m", identities={"a": "subject-1", "b": "s4"}, probes={"send": {"every": 3}}),
        target(name="lonely", identities={"a": "alone"}),
        target(name="quiet", url="wss://b.example", confirm={"runs": 0}),
        {"name": "echo", "url": "ws://127.0.0.1:9", "profile": "echo"},
    )
    lines = """\
target   cycle                             identities  slots at most    allowed    spare  room for confirm runs
staging  connect 20s, auth 20s, send 20s   3           9 (6 by itself)  19         10     36 in 312s
other    connect 60s, auth 60s, send 180s  2           9 (3 by itself)  19         10     26 in 312s
lonely   connect 20s, auth 20s, send 20s   1           16               19         3      none: needs a second identity
quiet    connect 20s, auth 20s, send 20s   3           6                19         13     off
echo     connect 20s, send 20s             none        -                unlimited  -      unlimited

host             connects a minute  permitted
backend.example  7                  60
b.example        3                  60
127.0.0.1        3                  unlimited (loopback)
"""
    assert plan_lines(made) == lines.splitlines()


def test_the_same_config_makes_the_same_plan():
    """Nothing of a plan depends on when and where it is made."""
    assert planned(target(), target(name="b")) == planned(target(), target(name="b"))
    assert isinstance(job(), Job)


# Shards -----------------------------------------------------------------------------------------------------------

NAMES = [f"target-{number:04d}" for number in range(2000)]


def owners(count):
    return [[index for index in range(count) if Shard(index, count).has(name)] for name in NAMES]


@pytest.mark.parametrize("count", [1, 2, 3, 10])
def test_every_target_is_on_exactly_one_shard_and_shards_are_about_equal(count):
    """Nobody probes a target twice, none is forgotten, and no shard has much more than its share."""
    found = owners(count)

    assert {len(owner) for owner in found} == {1}
    sizes = Counter(owner[0] for owner in found)
    assert max(sizes.values()) < 1.2 * len(NAMES) / count
    assert min(sizes.values()) > 0.8 * len(NAMES) / count


@pytest.mark.parametrize("count", [1, 2, 5, 9])
def test_one_shard_more_takes_its_share_and_moves_nothing_else(count):
    """About 1/n of the targets go to the new shard; no target goes from one old shard to another."""
    before, after = owners(count), owners(count + 1)
    moved = [(was, now) for was, now in zip(before, after, strict=True) if was != now]

    assert {now[0] for _, now in moved} == {count}
    assert len(moved) == pytest.approx(len(NAMES) / (count + 1), rel=0.2)


def test_who_owns_a_target_is_a_promise():
    """The same after every restart and release: a change here moves targets between machines."""
    names = ("staging", "prod", "echo", "api", "eu", "us")
    assert [next(index for index in range(3) if Shard(index, 3).has(name)) for name in names] == [1, 2, 0, 1, 1, 2]


def test_a_share_of_a_plan_knows_what_the_others_do():
    """Identities stay with their target; slots of shared users and connects to shared hosts are those of all shards."""
    limits = {"slots_per_identity": 200}
    whole = planned(*[target(name=f"t{number}", limits=limits, interval="60s") for number in range(6)], max_sessions=7)
    assert isinstance(whole, Plan), whole
    shares = [shard_of(whole, Shard(index, 2)) for index in range(2)]

    assert sorted(job.name for share in shares for job in share.jobs) == [f"t{number}" for number in range(6)]
    assert all(job in whole.jobs for share in shares for job in share.jobs)
    assert {(share.max_sessions, job.scheduled_rate) for share in shares for job in share.jobs} == {(7, 6)}
