"""Package `history`: what is kept of results, for how long, and what gives way."""

import gc
import tracemalloc
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from support import report_cases as cases
from support.results import NOW, connected, failed, impaired, passed, void

from exporter.history import (
    BUCKET_SECONDS,
    WINDOW_SECONDS,
    CycleMark,
    CycleOutcome,
    History,
    HistorySnapshot,
    StateKind,
    TargetState,
    weight,
)
from exporter.history.cycle_timeline import MARK_KINDS, RETAINED_CYCLES
from exporter.history.history import OTHER_CODE, CloseKey, FailureKey
from exporter.history.windowed_counter import BUCKET_COUNT, MAX_COUNT, MAX_KINDS, WindowedCounter
from exporter.result import (
    Close,
    FactoryReason,
    Impairment,
    Initiator,
    Phase,
    Probe,
    Reason,
    Skip,
    SkipCause,
    Trigger,
    Verdict,
)

calm = settings(deadline=None, database=None)  # a busy machine is no finding


def told(*results, **limits):
    """A history that was told these results, scheduled ones as cycles too."""
    history = History(**limits)
    for result in results:
        tell(history, result)
    return history


def tell(history, result):
    history.add(result)
    if result.trigger is Trigger.SCHEDULE and result.impairment is None and not result.void:
        history.add_cycle(result)


def moments(results):
    return [round(result.started_at - NOW) for result in results]


# What is kept -----------------------------------------------------------------------------------------------------


def test_the_last_results_stand_newest_first():
    """So many at most, each once."""
    history = told(*(passed(at=NOW + n) for n in range(7)), last=4)

    assert moments(history.results("staging")) == [6, 5, 4, 3]
    assert history.latest("staging").started_at == NOW + 6


def test_failures_are_kept_longer_than_passes():
    """What falls out of the last results stays if it failed; a thousand passes later it is still there."""
    history = told(
        failed(at=NOW), failed(at=NOW + 1), *(passed(at=NOW + 2 + n) for n in range(1000)), last=3, failures=5
    )

    assert moments(history.results("staging")) == [1001, 1000, 999, 1, 0]
    assert moments(history.failures("staging", 9)) == [1, 0]
    assert moments(history.failures("staging", 1)) == [1]


def test_the_oldest_failures_are_evicted_first():
    """Beyond their number the older ones are forgotten; those among the last results do not count."""
    history = told(*(failed(at=NOW + n) for n in range(20)), last=3, failures=5)

    assert moments(history.results("staging")) == [19, 18, 17, 16, 15, 14, 13, 12]


def test_impaired_and_void_sessions_are_no_failures():
    """Our own trouble does not push the backend's failures out."""
    ours = [impaired(at=NOW + 2 + 2 * n) for n in range(9)] + [void(at=NOW + 3 + 2 * n) for n in range(9)]
    history = told(failed(at=NOW), *ours, last=2, failures=1)

    assert moments(history.failures("staging", 9)) == [0]


def test_an_unknown_target_has_an_empty_history():
    """Whoever asks before the first session gets nothing, in the right shape."""
    history = History()

    assert (history.targets(), history.results("x"), history.failures("x", 3), history.latest("x")) == (
        (),
        (),
        (),
        None,
    )
    assert history.state("x") == TargetState(StateKind.UNKNOWN)
    assert (history.cycles("x", 9), history.closes("x", 0), history.reasons("x", 0)) == ((), Counter(), Counter())
    assert history.snapshot("x") is None
    history.remove("x")


def test_removed_targets_are_forgotten():
    """What is removed is forgotten, and its bytes are free."""
    history = told(*(passed(name) for name in "abcd"))

    history.remove("a")
    history.retain(["b", "c", "z"])

    assert history.targets() == ("b", "c")
    assert history._bytes == 2 * weight(passed("b"))
    assert history.state("a").kind is StateKind.UNKNOWN


# Bounds -----------------------------------------------------------------------------------------------------------

FRAMES = {frames: (cases.EXCHANGE[0],) * frames for frames in (0, 7, 40)}
LARGEST = weight(passed(transcript=FRAMES[40]))
EVENTS = st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), st.sampled_from([*FRAMES])), max_size=120)


def played(events, history):
    """Results of these events, one a second, told one after the other."""
    for second, (name, is_failed, frames) in enumerate(events):
        one = (failed if is_failed else passed)(name, NOW + second, transcript=FRAMES[frames])
        history.add(one)
        yield one


@calm
@given(EVENTS, st.integers(1, 9), st.integers(0, 9), st.integers(0, 40_000))
def test_the_bounds_hold_for_any_sequence(events, last, failures, max_bytes):
    """Numbers, bytes, order, no result twice; the newest of each target is always there."""
    history, newest = History(last, failures, max_bytes), {}

    for result in played(events, history):
        newest[result.target] = result
        kept = {name: history.results(name) for name in history.targets()}
        assert {name: results[0] for name, results in kept.items()} == newest
        for results in kept.values():
            assert moments(results) == sorted(set(moments(results)), reverse=True)
            assert len(results) <= last + failures
            assert sum(not each.failed for each in results) <= last
        sizes = {name: sum(map(weight, results)) for name, results in kept.items()}
        assert sum(sizes.values()) == history._bytes
        assert history._bytes <= max_bytes or all(len(results) == 1 for results in kept.values())


@calm
@given(EVENTS, st.lists(st.booleans(), min_size=1, max_size=9))
def test_another_target_evicts_nothing_within_an_equal_share(events, own):
    """Whatever others do: who holds no more than an equal share keeps all of it, failures and passes."""
    quiet = [(failed if bad else passed)("quiet", NOW - 100 + n) for n, bad in enumerate(own)]
    share = max(LARGEST, sum(map(weight, quiet)))
    history = told(*quiet, max_bytes=4 * share)

    for _ in played(events, history):
        assert history.results("quiet") == quiet[::-1]


@calm
@given(EVENTS)
def test_successes_are_evicted_before_failures(events):
    """When a failure is given up for want of bytes, its target has no success left but its newest result."""
    history = History(1000, 1000, 30_000)
    before = {}

    for _ in played(events, history):
        kept = {name: history.results(name) for name in history.targets()}
        for name, results in kept.items():
            lost = [each for each in before.get(name, ()) if each.failed and each not in results]
            assert not lost or all(each.failed for each in results[1:])
        before = kept


def test_the_largest_history_is_evicted_for_a_small_one():
    """A first result finds room at once: the greatest pays, as much as is needed and no more."""
    size = weight(passed())
    history = told(*(passed("great", NOW + n) for n in range(10)), max_bytes=10 * size)

    for second in range(8):
        history.add(passed("small", NOW + second))

    assert (len(history.results("great")), len(history.results("small"))) == (5, 5)


# States -----------------------------------------------------------------------------------------------------------


def standing(*results):
    """Word, since and failing probe after these results."""
    state = told(*results).state("staging")
    return state.kind.value, round(state.since - NOW) if state.since else None, state.probe and state.probe.value


NO_LOGIN = cases.NO_WELCOME
DEAD = cases.REFUSED_UPGRADE


@pytest.mark.parametrize(
    ("results", "state"),
    [
        ([void(at=NOW + 1)], ("unknown", None, None)),
        ([passed(at=NOW + 1)], ("passing", 1, None)),
        ([passed(at=NOW + n) for n in range(1, 200)], ("passing", 1, None)),
        ([passed(), failed(at=NOW + 20)], ("failing", 20, "send")),
        ([passed(), failed(at=NOW + 20), failed(at=NOW + 40, like=NO_LOGIN)], ("failing", 20, "auth")),
        ([passed(), failed(at=NOW + 20, like=DEAD), failed(at=NOW + 40)], ("failing", 20, "send")),
        ([passed(), failed(at=NOW + 20), connected(at=NOW + 40)], ("failing", 20, "send")),
        ([passed(), failed(at=NOW + 20), void(at=NOW + 40)], ("failing", 20, "send")),
        ([failed(at=NOW + 20), passed(at=NOW + 40)], ("passing", 40, None)),
        ([connected(at=NOW + 20), passed(at=NOW + 40)], ("passing", 20, None)),
        ([impaired(at=NOW + 5), impaired(at=NOW + 25)], ("impaired", 5, None)),
        ([passed(at=NOW + 1), impaired(at=NOW + 5)], ("impaired", 5, None)),
        ([passed(at=NOW + 1), impaired(at=NOW + 5), passed(at=NOW + 25)], ("passing", 1, None)),
        ([passed(at=NOW + 1), impaired(at=NOW + 5), failed(at=NOW + 25)], ("failing", 25, "send")),
    ],
)
def test_a_target_is_what_the_last_verdict_of_each_probe_says(results, state):
    """A session that only connected mends nothing, a void one says nothing, our own failure hides what was proved."""
    assert standing(*results) == state


def test_the_state_shows_the_session_that_says_so():
    """The failure that still counts, not the connect-deep pass after it; of a passing target its last session."""
    bad = failed(at=NOW + 1)

    assert told(passed(), bad, connected(at=NOW + 2)).state("staging").result is bad
    assert told(bad, good := passed(at=NOW + 2)).state("staging").result is good
    assert told(bad, ours := impaired(at=NOW + 2)).state("staging").result is ours


def test_a_probe_that_is_no_longer_configured_does_not_count_in_the_state():
    """A config without `send` does not leave a target failing for ever; nor does a file that knows of it."""
    bad = failed(at=NOW + 20)
    history = told(passed(), bad)
    before = history.snapshot("staging")

    history.set_probes("staging", (Probe.CONNECT, Probe.AUTH))
    again = History()
    again.set_probes("staging", (Probe.CONNECT, Probe.AUTH))
    again.restore("staging", before, [passed(), bad])

    for one in (history, again):
        assert one.state("staging").kind is StateKind.PASSING
        assert list(one.failures("staging", 9)) == [bad]


# Cycles -----------------------------------------------------------------------------------------------------------


def test_every_cycle_has_its_mark():
    """Passes by depth, failures by the gravest word, skips by cause, our own failures, and what proved nothing."""
    history = told(passed(at=1.0), connected(at=2.0), failed(at=3.0), failed(at=4.0, like=NO_LOGIN))
    history.add(impaired(at=5.0, why=Impairment.INTERNAL))
    history.add_skip(Skip("staging", SkipCause.BUDGET), 6.0)
    history.add(void(at=7.0))
    history.add_skip(Skip("staging", SkipCause.DISTORTED), 7.5)
    history.add(failed(at=8.0, trigger=Trigger.CONFIRM))
    history.add(impaired(at=9.0, trigger=Trigger.CONFIRM))

    assert list(history.cycles("staging", 99)) == [
        CycleMark(1.0, CycleOutcome.PASS, "send"),
        CycleMark(2.0, CycleOutcome.PASS, "connect"),
        CycleMark(3.0, CycleOutcome.FAIL, "slot_limit"),
        CycleMark(4.0, CycleOutcome.FAIL, "timeout"),
        CycleMark(5.0, CycleOutcome.IMPAIRED, "internal"),
        CycleMark(6.0, CycleOutcome.SKIP, "budget"),
        CycleMark(7.5, CycleOutcome.DISTORTED, "distorted"),
    ]


@pytest.mark.parametrize("asked", [0, 1, 5, RETAINED_CYCLES, RETAINED_CYCLES + 1])
@pytest.mark.parametrize(
    "cycles", [0, 3, RETAINED_CYCLES - 1, RETAINED_CYCLES, RETAINED_CYCLES + 1, 3 * RETAINED_CYCLES + 7]
)
def test_the_timeline_is_the_last_cycles_oldest_first(cycles, asked):
    """As many as asked for, or as there are."""
    history = told(*(passed(at=NOW + n) for n in range(cycles)))

    marks = [round(mark.at - NOW) for mark in history.cycles("staging", asked)]

    assert marks == list(range(cycles))[-min(asked, RETAINED_CYCLES) :] if asked else marks == []


def test_every_reason_cause_and_impairment_has_a_mark():
    """No reason, cause or impairment is missing, and each is a byte."""
    reasons = {reason for outcome, reason in MARK_KINDS if outcome is CycleOutcome.FAIL}

    assert reasons == {*Reason, *FactoryReason}
    assert {reason for outcome, reason in MARK_KINDS if outcome in (CycleOutcome.SKIP, CycleOutcome.DISTORTED)} == set(
        SkipCause
    )
    assert {reason for outcome, reason in MARK_KINDS if outcome is CycleOutcome.IMPAIRED} == set(Impairment)
    assert len(set(MARK_KINDS)) == len(MARK_KINDS) < 256


# Counts -----------------------------------------------------------------------------------------------------------

CLEAN = (1000, Initiator.LOCAL, Phase.CLOSE)
BROKEN = (1011, Initiator.REMOTE, Phase.ADMISSION)
SLOT_LIMIT = (Phase.ADMISSION, Reason.FACTORY, FactoryReason.SLOT_LIMIT)


def test_closes_and_reasons_do_not_depend_on_what_is_kept():
    """A day of sessions is counted while a handful of results is kept."""
    day = [passed(at=NOW + 20 * n) if n % 9 else failed(at=NOW + 20 * n) for n in range(WINDOW_SECONDS // 20)]
    history = told(*day, last=2, failures=1, max_bytes=9_000)

    assert history.closes("staging", NOW) == {CLEAN: 3840, BROKEN: 480}
    assert history.reasons("staging", NOW) == {SLOT_LIMIT: 480}
    assert len(history.results("staging")) <= 3
    hour = history.closes("staging", NOW + WINDOW_SECONDS - 3600)
    assert 180 <= sum(hour.values()) <= 180 + BUCKET_SECONDS / 20


def test_what_is_older_than_a_day_is_not_counted():
    """The window ends with the newest session, however late that is."""
    history = told(failed(at=NOW), passed(at=NOW + WINDOW_SECONDS + BUCKET_SECONDS))

    assert history.closes("staging", 0) == {CLEAN: 1}
    assert history.reasons("staging", 0) == {}


def test_a_server_that_invents_close_codes_costs_no_memory():
    """The first codes are counted apart, the others together."""
    codes = range(3000, 4999)
    history = told(*(failed(close=Close(code, Initiator.REMOTE, Phase.ADMISSION)) for code in codes))

    closes = history.closes("staging", 0)

    assert sum(closes.values()) == len(codes)
    assert len(closes) == MAX_KINDS + 1
    assert closes[CloseKey(OTHER_CODE, Initiator.REMOTE, Phase.ADMISSION)] == len(codes) - MAX_KINDS


@calm
@given(
    st.lists(st.tuples(st.sampled_from("xyz"), st.integers(0, 3 * WINDOW_SECONDS)), max_size=60),
    st.integers(0, 3 * WINDOW_SECONDS),
)
def test_a_windowed_counter_counts_as_a_list_would(counts, since):
    """For sessions in the order of time: every count from the step of `since` on, and within a day of the last."""
    counts.sort(key=lambda each: each[1])
    counter = WindowedCounter()
    for kind, at in counts:
        counter.count(kind, NOW + at)

    first = (
        max((NOW + since) // BUCKET_SECONDS, (NOW + counts[-1][1]) // BUCKET_SECONDS - BUCKET_COUNT + 1)
        if counts
        else 0
    )
    expected = Counter(kind for kind, at in counts if (NOW + at) // BUCKET_SECONDS >= first)
    assert counter.since(NOW + since) == expected
    again = WindowedCounter()
    again.restore(counter.buckets())
    assert again.buckets() == counter.buckets()


def test_a_clock_step_costs_counts_and_nothing_else():
    """Back by minutes: counted where they belong; back by days: begun anew. A count ends at its limit."""
    counter = WindowedCounter()
    for at in (NOW, NOW + 1200, NOW + 600):
        counter.count("x", at)
    assert counter.since(NOW) == {"x": 3}
    counter.count("x", NOW - 10 * WINDOW_SECONDS)
    assert counter.since(0) == {"x": 1}
    for _ in range(MAX_COUNT + 5):
        counter.count("y", NOW)
    assert counter.since(0) == {"y": MAX_COUNT}


# Over a restart ---------------------------------------------------------------------------------------------------

SNAPSHOT = TypeAdapter(HistorySnapshot)
STEPS = st.lists(st.sampled_from([passed, failed, connected, impaired, void]), max_size=40)


def known(history):
    """All that can be asked of a target."""
    state = history.state("staging")
    return {
        "state": (state.kind, state.since, state.probe),
        "results": list(history.results("staging")),
        "strip": list(history.cycles("staging", 99)),
        "closes": history.closes("staging", 0),
        "reasons": history.reasons("staging", 0),
        "latest": history.latest("staging"),
    }


@calm
@given(STEPS, st.integers(0, 40))
def test_a_restart_forgets_nothing(steps, saved_after):
    """A snapshot, through JSON, and the results on file: those after it are taken in as they were the first time."""
    results = [make(at=NOW + 20 * n) for n, make in enumerate(steps)]
    before, snapshot = History(), None
    for number, result in enumerate(results):
        if number == saved_after:
            snapshot = before.snapshot("staging")
        tell(before, result)
    if snapshot is not None:
        snapshot = SNAPSHOT.validate_json(SNAPSHOT.dump_json(snapshot))
    after = History()

    after.restore("staging", snapshot, reversed(before.results("staging")))

    assert known(after) == known(before)


def test_the_state_is_as_old_as_it_was_although_its_beginning_is_not_kept():
    """Failing for a day with ten results on file: since yesterday; and the page finds the failure."""
    before = told(passed(at=NOW - 20), *(failed(at=NOW + 20 * n) for n in range(4000)), last=5, failures=5)
    before.add(connected(at=NOW + 90_000))
    after = History()

    after.restore("staging", before.snapshot("staging"), reversed(before.results("staging")))

    state = after.state("staging")
    assert (state.kind, state.since) == (StateKind.FAILING, NOW)
    assert state.result.reason is Reason.FACTORY


def test_a_snapshot_with_nonsense_is_restored_without_it():
    """Marks that no cycle has, counts beyond all bounds, kinds without end: what makes no sense is left out."""
    kinds = tuple((CloseKey(code, Initiator.REMOTE, Phase.CLOSE), {6_000_000: 10**9, 1: 7}) for code in range(500))
    snapshot = HistorySnapshot(
        NOW, {Probe.SEND: Verdict.FAIL}, NOW, None, (CycleMark(NOW, CycleOutcome.PASS, "moon"),) * 9, kinds, ()
    )
    history = History()

    history.restore("staging", snapshot, [])

    closes = history.closes("staging", 0)
    assert len(closes) == MAX_KINDS
    assert set(closes.values()) == {MAX_COUNT}
    assert history.cycles("staging", 9) == []
    assert history.state("staging") == TargetState(StateKind.FAILING, NOW, Probe.SEND, None)


def test_the_kinds_are_tuples_of_words():
    """Whoever shows them may take them apart."""
    history = told(failed())

    ((code, initiator, phase),) = history.closes("staging", 0)
    ((where, reason, factory),) = history.reasons("staging", 0)

    assert (code, initiator, phase) == BROKEN
    assert (where, reason, factory) == SLOT_LIMIT == FailureKey(*SLOT_LIMIT)


def test_a_target_costs_little_beside_its_results():
    """State, cycles and counts of a target that fails in ten ways take under 25 KB, one that passes under 8."""
    plain = [passed(transcript=(), at=NOW + 20 * n) for n in range(500)]
    wild = [
        replace(each, close=Close(4000 + n % 10, Initiator.REMOTE, Phase.ADMISSION), reason=[*Reason][n % 10],
                phase=Phase.ADMISSION)
        for n, each in enumerate(plain)
    ]  # fmt: skip

    def cost(results):
        gc.collect()
        tracemalloc.start()
        try:
            history = told(*results, last=1, failures=0)
            gc.collect()
            return tracemalloc.get_traced_memory()[0] if history.targets() else 0
        finally:
            tracemalloc.stop()

    assert cost(plain) < 8_000
    assert cost(wild) < 25_000
