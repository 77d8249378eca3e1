"""Package `budget`: what the ledger grants, refuses, learns and forgets."""

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.budget import Grant, Ledger, Refusal, SessionCost, TokenCooldown, admit, key_id, settle, user_key
from exporter.budget.breakers import MAX_RETRY_INTERVALS, max_connects_without_token
from exporter.budget.events import EFFECTS, EVENT_FIELDS, OPTIONAL_EVENT_FIELDS
from exporter.budget.login_streak import LOGIN_EVENTS
from exporter.config import BreakerSettings, Config
from exporter.plan import plan
from exporter.profiles import BUILT_IN
from exporter.result import (
    Close,
    FactoryReason,
    Holdup,
    Impairment,
    Initiator,
    Phase,
    Probe,
    Reason,
    Result,
    SkipCause,
    Trigger,
    Verdict,
)
from exporter.standin.breaker import AuthBreaker as StandInBreaker

NOW = 1_800_000_000.0
FAILED = ("rejected", "no_token", None, None)
BREAKERS = tuple(BUILT_IN["factory"].breaker)
LOCKOUT = (
    BreakerSettings.model_validate({"counts": ["rejected"], "opens_at": 4, "reset_by": "time", "window": "60s"}),
)


def request(run="run", **changes):
    fields = {"user": "user", "key": "key", "slots": 5, "slot_release": 300.0, "tokenless": True, "trigger": "schedule"}
    fields |= changes
    trigger = Trigger(fields.pop("trigger"))
    return SessionCost(run=run, host="host", authority="host:443", trigger=trigger, **fields)


def result(**changes):
    fields = {"target": "t", "identity": "i", "run": "r", "depth": Probe.SEND, "trigger": Trigger.SCHEDULE}
    verdicts = changes.pop("verdicts", dict.fromkeys(Probe, Verdict.PASS))
    return Result(**fields, started_at=NOW, verdicts=verdicts, **changes)


REJECTED = {
    "verdicts": {Probe.CONNECT: Verdict.PASS, Probe.AUTH: Verdict.FAIL, Probe.SEND: Verdict.FAIL},
    "reason": Reason.AUTH_REJECTED,
    "phase": Phase.ADMISSION,
}
LOST = {"verdicts": dict.fromkeys(Probe, Verdict.FAIL), "reason": Reason.RESET, "phase": Phase.TCP}


def granted(ledger, now, run="run", **changes):
    """Ask, and give the request if it is granted."""
    asked = request(run, **changes)
    answer = ledger.grant_or_refuse(asked, now)
    assert isinstance(answer, Grant), answer
    return asked


def refused(ledger, now, **changes):
    """Ask, and give the cause of the refusal."""
    answer = ledger.grant_or_refuse(request("refused", **changes), now)
    assert isinstance(answer, Refusal), answer
    return answer.cause


def proven(ledger=None, **changes):
    """A ledger whose key has passed once, long ago."""
    ledger = ledger or Ledger()
    asked = granted(ledger, NOW - 10_000, "first", **changes)
    ledger.release(asked, NOW - 10_000, rejected=False)
    return ledger


def session(ledger, now, run="run", *, lasts=1.0, slot=True, rejected=False, **changes):
    """One session from grant to release."""
    asked = granted(ledger, now, run, **changes)
    ledger.release(asked, now + lasts, slot_taken=slot, rejected=rejected)


# --- Slots


def test_a_slot_is_held_from_connect_until_its_release_after_the_close():
    """While open it counts, and for slot_release after the close."""
    ledger = Ledger()
    asked = granted(ledger, NOW)
    assert ledger.held_slots("user", NOW) == 1
    ledger.release(asked, NOW + 5)
    assert ledger.held_slots("user", NOW + 304.9) == 1
    assert ledger.held_slots("user", NOW + 305) == 0


def test_a_session_that_never_ends_is_held_as_long_as_it_can_have_lasted():
    """After a crash the slot expires at the latest moment the session and its release can have ended."""
    ledger = Ledger()
    granted(ledger, NOW, open_for=12.0)
    assert ledger.held_slots("user", NOW + 311.9) == 1
    assert ledger.held_slots("user", NOW + 312) == 0


def test_a_release_that_comes_late_still_counts():
    """A session that outlived its expiry holds its slot from its real end."""
    ledger = Ledger()
    asked = granted(ledger, NOW)
    ledger.prune(NOW + 400)
    ledger.release(asked, NOW + 400)
    assert ledger.held_slots("user", NOW + 699) == 1


def test_a_session_that_cannot_have_taken_a_slot_gives_it_back():
    """A connect that failed before the server could accept it holds nothing."""
    ledger = Ledger()
    session(ledger, NOW, slot=False)
    assert ledger.held_slots("user", NOW + 1) == 0


def test_an_identity_holds_at_most_its_slots_less_the_reserve():
    """Of five slots one is left to others: the fifth session within the window is refused as over budget."""
    ledger = proven()
    for number in range(4):
        session(ledger, NOW + number * 10, str(number))
    answer = ledger.grant_or_refuse(request(), NOW + 100)
    assert answer == Refusal(SkipCause.BUDGET, Holdup.SLOTS, "4 of 4 slots held", NOW + 301)
    granted(ledger, NOW + 301)


def test_other_identities_have_slots_of_their_own():
    """What one user holds is nothing to another."""
    ledger = proven()
    for number in range(4):
        session(ledger, NOW + number * 10, str(number))
    granted(ledger, NOW + 100, user="another")


def test_without_a_limit_nothing_is_over_budget():
    """0 slots: unlimited."""
    ledger = proven(slots=0)
    for number in range(100):
        session(ledger, NOW + number * 2, str(number), slots=0)
    assert ledger.slot_budget(request(slots=0), NOW) is None


def test_an_identity_has_one_connection_at_a_time():
    """A second one is refused as an overlap, whoever asks, until the first is over or must be."""
    ledger = proven()
    first = granted(ledger, NOW, "first", open_for=12.0)
    for trigger in Trigger:
        assert refused(ledger, NOW + 11.9, trigger=trigger) is SkipCause.OVERLAP
    granted(ledger, NOW + 12, "second")
    ledger.release(first, NOW + 12.5)
    assert refused(ledger, NOW + 13) is SkipCause.OVERLAP


def test_sessions_without_a_token_take_no_slot_and_no_identity():
    """Any number of anonymous connects goes beside an open session."""
    ledger = proven()
    granted(ledger, NOW, "first")
    for number in range(50):
        assert isinstance(ledger.grant_or_refuse(request(str(number)).without_token(), NOW), Grant)
    assert ledger.held_slots("user", NOW) == 1


# --- What the backend says of its limit


def test_a_learned_limit_below_the_configured_one_binds_at_once():
    """After `managers (3)` in an error text two slots are left of the twenty configured."""
    ledger = proven()
    ledger.record_slot_limit("host:443", 3, NOW)
    assert ledger.slot_budget(request(slots=20), NOW) == 2
    assert ledger.slot_budget(request(slots=0), NOW) == 2
    assert ledger.slot_budget(request(slots=2), NOW) == 1
    assert ledger.slot_budget(request(slots=20)._replace(authority="other:443"), NOW) == 19


def test_the_last_limit_learned_counts_and_is_believed_for_a_day():
    """A backend that is redeployed with more slots is not held to its old ones for ever."""
    ledger = Ledger()
    ledger.record_slot_limit("host:443", 5, NOW)
    ledger.record_slot_limit("host:443", 10, NOW + 10)
    assert ledger.learned_slots("host:443", NOW + 20) == 10
    assert ledger.learned_slots("host:443", NOW + 10 + 86_399) == 10
    assert ledger.learned_slots("host:443", NOW + 10 + 86_400) is None


@pytest.mark.parametrize("slots", [0, -1, 10**9])
def test_a_limit_that_cannot_be_one_is_passed_over(slots):
    """Figures of the network do not switch the probe off."""
    ledger = Ledger()
    ledger.record_slot_limit("host:443", slots, NOW)
    assert ledger.learned_slots("host:443", NOW) is None


def test_a_backend_of_a_single_slot_is_still_asked():
    """Less the reserve nothing would be left, and nobody would ever see that it is well again."""
    ledger = Ledger()
    ledger.record_slot_limit("host:443", 1, NOW)
    assert ledger.slot_budget(request(), NOW) == 1


# --- Rests


def test_after_a_slot_limit_the_identity_rests_for_the_release_time():
    """Its own turns are refused as resting, nobody else's, and its limit is learned."""
    ledger = proven()
    asked = granted(ledger, NOW)
    settled = settle(
        ledger, asked, result(factory_reason=FactoryReason.SLOT_LIMIT, slot_limit=3), NOW + 1, slot_taken=True
    )
    assert (settled.slot_limit, settled.identity_rests, settled.token_cooldown) == (3, True, None)
    assert ledger.held_slots("user", NOW + 2) == 0, "the refused session took no slot"
    assert refused(ledger, NOW + 300.9) is SkipCause.RESTING
    granted(ledger, NOW + 2, "beside", user="another")
    assert ledger.is_resting(request(), NOW + 300.9)
    assert not ledger.is_resting(request(user="another"), NOW + 2)
    granted(ledger, NOW + 301)
    assert not ledger.is_resting(request(), NOW + 301)


def test_a_learned_limit_is_news_only_once():
    """The log line of a limit comes when it changes and binds, not at each refusal."""
    ledger = Ledger()
    refusal = result(factory_reason=FactoryReason.SLOT_LIMIT, slot_limit=5)
    assert settle(ledger, request(slots=20), refusal, NOW, slot_taken=False).slot_limit == 5
    assert settle(ledger, request(slots=20), refusal, NOW, slot_taken=False).slot_limit is None
    assert settle(Ledger(), request(slots=5), refusal, NOW, slot_taken=False).slot_limit is None


def test_a_resting_turn_goes_connect_deep_without_a_token_where_it_may():
    """Scheduled turns only, and only where the profile connects without a token."""
    ledger = proven()
    ledger.start_user_cooldown("user", 300, NOW)
    shallow = admit(ledger, request(), NOW)
    assert isinstance(shallow, Grant)
    assert (shallow.request.depth, shallow.request.user, shallow.request.key) == (Probe.CONNECT, None, None)
    assert admit(ledger, request(tokenless=False), NOW).cause is SkipCause.RESTING
    assert admit(ledger, request(trigger="confirm"), NOW).cause is SkipCause.RESTING
    assert admit(ledger, request(trigger="check"), NOW).cause is SkipCause.RESTING


def test_only_resting_makes_a_turn_shallow():
    """What is over budget, overlaps or is over the rate is skipped with that cause."""
    ledger = proven()
    granted(ledger, NOW, "open")
    assert admit(ledger, request(), NOW).cause is SkipCause.OVERLAP
    ledger.start_endpoint_cooldown("host", 60, NOW)
    ledger.start_user_cooldown("user", 60, NOW)
    assert admit(ledger, request(), NOW).cause is SkipCause.RATE


@pytest.mark.parametrize(
    ("retry_after", "rests"),
    [(30.0, 30), (None, 600), (-1.0, 600), (float("nan"), 600), (float("inf"), 600), (1e9, 3600), (0.0, 0)],
)
def test_an_endpoint_that_limits_the_rate_rests_as_it_asks(retry_after, rests):
    """For Retry-After, at most an hour; 600 s where that is absent or nonsense; loopback too."""
    ledger = proven()
    asked = granted(ledger, NOW, rate=None)
    told = result(**{**LOST, "reason": Reason.RATE_LIMITED}, retry_after=retry_after)
    assert settle(ledger, asked, told, NOW, slot_taken=False).endpoint_rests_until == (NOW + rests if rests else None)
    if rests:
        answer = ledger.grant_or_refuse(request().without_token(), NOW + rests - 0.5)
        assert (answer.cause, answer.until) == (SkipCause.RATE, NOW + rests)
    assert ledger.endpoint_cooldown_until("host", NOW + rests) is None
    granted(ledger, NOW + rests, "later")


def test_a_rest_is_never_shortened():
    """A second, shorter Retry-After does not end the first."""
    ledger = Ledger()
    ledger.start_endpoint_cooldown("host", 500, NOW)
    ledger.start_endpoint_cooldown("host", 5, NOW + 1)
    assert ledger.endpoint_cooldown_until("host", NOW + 499) == NOW + 500


# --- The key guard


def test_two_rejected_tokens_in_a_row_put_the_key_to_rest():
    """No token is sent for auth_retry; then one trial, which rests it again if it is rejected."""
    ledger = Ledger()
    session(ledger, NOW, "1", rejected=True)
    session(ledger, NOW + 20, "2", rejected=True, user="second")
    assert ledger.token_cooldown(request(), NOW + 22) == TokenCooldown(Holdup.REJECTED, NOW + 321)
    assert refused(ledger, NOW + 22, user="third") is SkipCause.RESTING
    assert refused(ledger, NOW + 320.9, user="third") is SkipCause.RESTING
    trial = granted(ledger, NOW + 321, "trial", user="third")
    assert refused(ledger, NOW + 322, user="fourth") is SkipCause.RESTING
    ledger.release(trial, NOW + 323, rejected=True)
    assert refused(ledger, NOW + 622.9, user="fourth") is SkipCause.RESTING
    granted(ledger, NOW + 623, user="fourth")


def test_a_pass_makes_the_key_good_again():
    """After a trial that passes any number of tokens may be in flight."""
    ledger = Ledger()
    session(ledger, NOW, "1", rejected=True)
    session(ledger, NOW + 20, "2", rejected=True, user="b")
    session(ledger, NOW + 400, "trial", user="c")
    assert not ledger.is_resting(request(), NOW + 402)
    for number in range(20):
        granted(ledger, NOW + 402, str(number), user=f"user-{number}")


def test_rejections_that_are_not_in_a_row_put_nobody_to_rest():
    """A pass in between starts the count anew."""
    ledger = Ledger()
    for number in range(10):
        session(ledger, NOW + number * 20, str(number), rejected=number % 2 == 0, user=str(number))
    assert not ledger.token_cooldown(request(), NOW + 200)


def test_a_key_nobody_has_seen_pass_has_two_tokens_in_flight_at_most():
    """Ten targets that start at once with a wrong key send two tokens, not ten."""
    ledger = Ledger()
    first = granted(ledger, NOW, "1", user="a")
    granted(ledger, NOW, "2", user="b")
    assert refused(ledger, NOW, user="c") is SkipCause.RESTING
    ledger.release(first, NOW + 1, rejected=True)
    assert refused(ledger, NOW + 1, user="c") is SkipCause.RESTING, "one rejected and one in flight make two"


def test_a_token_that_nobody_judged_neither_counts_nor_wedges():
    """A trial that ends in a network fault, or never ends, makes room for the next trial."""
    ledger = Ledger()
    session(ledger, NOW, "1", rejected=True)
    session(ledger, NOW + 20, "2", rejected=True, user="b")
    session(ledger, NOW + 400, "lost", rejected=None, slot=False, user="c")
    granted(ledger, NOW + 402, "crashed", user="d", open_for=12.0)
    assert refused(ledger, NOW + 413, user="e") is SkipCause.RESTING
    granted(ledger, NOW + 414, "next", user="e")


def test_a_rejection_after_passes_leaves_one_token_to_be_sent():
    """The key that was good may be rejected once more before it rests."""
    ledger = proven()
    session(ledger, NOW, "1", rejected=True)
    granted(ledger, NOW + 20, "2", user="b")
    assert refused(ledger, NOW + 20, user="c") is SkipCause.RESTING


def test_keys_are_guarded_apart():
    """What is said of one key is nothing to another."""
    ledger = Ledger()
    session(ledger, NOW, "1", rejected=True)
    session(ledger, NOW + 20, "2", rejected=True)
    session(ledger, NOW + 40, "3", key="other")
    assert key_id("a:443", "key_file", "/k") != key_id("b:443", "key_file", "/k") != key_id("b:443", "key_env", "/k")


def test_no_confirm_run_sends_a_token_after_a_rejected_one():
    """Neither the second token that is rejected nor the trial is a confirm run."""
    ledger = Ledger()
    session(ledger, NOW, "1", rejected=True)
    assert refused(ledger, NOW + 2, user="b", trigger="confirm") is SkipCause.RESTING
    session(ledger, NOW + 20, "2", rejected=True)
    assert refused(ledger, NOW + 400, user="b", trigger="confirm") is SkipCause.RESTING


def test_tokens_of_a_good_key_that_are_rejected_together_are_one_rejection():
    """A suspicion may send two at a time: one blip has met both. The next that is rejected is the second in a row."""
    ledger = proven()
    first, second = granted(ledger, NOW, "1"), granted(ledger, NOW + 2, "2", user="b", trigger="confirm")
    ledger.release(second, NOW + 3, rejected=True)
    ledger.release(first, NOW + 4, rejected=True)
    assert refused(ledger, NOW + 5, user="c", trigger="confirm") is SkipCause.RESTING, "no confirm run follows"
    session(ledger, NOW + 20, "3", rejected=True, user="c")
    assert refused(ledger, NOW + 40, user="a") is SkipCause.RESTING


@pytest.mark.parametrize("seed", range(5))
def test_a_wrong_key_sends_two_tokens_and_then_one_trial_at_a_time(seed):
    """Whatever the order of starts and ends: two at most before the verdicts, then one per auth_retry."""
    dice, ledger = random.Random(seed), Ledger()
    flights, rejections, sent = [], [], 0
    for second in range(7_200):
        now = NOW + second
        for number in range(3):
            answer = ledger.grant_or_refuse(request(f"{second}-{number}", user=f"{second}-{number}"), now)
            if isinstance(answer, Grant):
                sent += 1
                first = len(rejections) + len(flights) < 2
                assert first or (not flights and now - rejections[-1] >= 300)
                flights.append((now + dice.uniform(0.1, 11), answer.request))
        for flight in [flight for flight in flights if flight[0] <= now]:
            flights.remove(flight)
            judged = dice.random() < 0.8
            rejections += [now] * judged
            ledger.release(flight[1], now, slot_taken=False, rejected=True if judged else None)
    assert 2 + 7_200 // 320 <= sent < 60


# --- The rate


def test_connects_to_a_host_are_limited_in_any_minute():
    """The next one is refused until the oldest is a minute ago; anonymous ones count as well."""
    ledger = Ledger()
    for number in range(3):
        assert isinstance(ledger.grant_or_refuse(request(str(number), rate=3).without_token(), NOW + number), Grant)
    answer = ledger.grant_or_refuse(request(rate=3), NOW + 59.9)
    assert (answer.cause, answer.until) == (SkipCause.RATE, NOW + 60)
    granted(ledger, NOW + 60, rate=3)


def test_a_schedule_exactly_at_the_rate_runs_through_late_starts():
    """A cycle counts at the moment it was due: starts that are late by chance cost no turn."""
    ledger = proven(slots=0)
    dice = random.Random(1)
    for number in range(1_000):
        due = NOW + number * 20 + 0.123456
        late = dice.uniform(0, 4)
        session(ledger, due + late, str(number), slots=0, rate=3, due=due)


def test_other_sessions_leave_the_schedule_its_share_of_the_rate():
    """A confirm run goes only if the scheduled connects of the minute still can."""
    ledger = proven(slots=0)
    assert refused(ledger, NOW, slots=0, rate=10, scheduled_rate=10, trigger="confirm") is SkipCause.RATE
    session(ledger, NOW, "one", slots=0, rate=10, scheduled_rate=9, trigger="confirm")
    assert refused(ledger, NOW + 5, slots=0, rate=10, scheduled_rate=9, trigger="confirm") is SkipCause.RATE


def test_loopback_has_no_rate():
    """Where no rate is given, any number of connects goes."""
    ledger = proven(slots=0)
    for number in range(500):
        session(ledger, NOW + number / 10, str(number), lasts=0.01, slots=0, rate=None)


# --- Sessions that no schedule asked for


def test_a_confirm_run_needs_a_slot_that_the_schedule_does_not():
    """Confirm runs held and the schedule's peak together stay within the limit."""
    ledger = proven()
    common = {"trigger": "confirm", "scheduled_peak": 2}
    session(ledger, NOW, "1", **common)
    session(ledger, NOW + 6, "2", **common)
    assert refused(ledger, NOW + 12, **common) is SkipCause.BUDGET
    session(ledger, NOW + 20, "3", scheduled_peak=2)
    session(ledger, NOW + 40, "4", scheduled_peak=2)
    granted(ledger, NOW + 302, **common)


def test_a_check_leaves_the_schedule_its_slots_where_it_sees_it_run():
    """Alone on the machine it may take any slot but the reserve; beside a daemon only spare ones."""
    common = {"trigger": "check", "scheduled_peak": 4, "scheduled_rate": 9, "rate": 9}
    alone = proven()
    for number in range(4):
        session(alone, NOW + number * 2, str(number), **common)
    assert refused(alone, NOW + 10, **common) is SkipCause.BUDGET
    beside = proven()
    session(beside, NOW, "turn", rate=9)
    assert refused(beside, NOW + 2, **common) is SkipCause.RATE
    assert refused(beside, NOW + 2, **{**common, "rate": None}) is SkipCause.BUDGET
    session(beside, NOW + 2, "spare", **{**common, "rate": None, "scheduled_peak": 3})


def test_a_ledger_that_was_born_late_confirms_nothing_for_one_window():
    """What was held before the start is not known; scheduled turns go on, their times being what they were."""
    ledger = Ledger(since=NOW)
    session(ledger, NOW, "turn")
    assert refused(ledger, NOW + 311.9, user="b", trigger="confirm") is SkipCause.BUDGET
    granted(ledger, NOW + 312, user="b", trigger="confirm")
    granted(Ledger(since=NOW), NOW, user="b", trigger="confirm", slots=0)


# --- What a result means for the ledger


@pytest.mark.parametrize(
    ("told", "verdict"),
    [
        ({}, False),
        (REJECTED, True),
        (LOST, None),
        ({**REJECTED, "reason": Reason.AUTH_UNAVAILABLE}, None),
        ({**REJECTED, "reason": Reason.TIMEOUT}, None),
        ({"verdicts": dict.fromkeys(Probe, Verdict.NONE)}, None),
    ],
)
def test_only_the_backends_own_word_on_a_token_is_a_verdict(told, verdict):
    """A pass proves the key, a rejection counts against it, any other end says nothing of it."""
    ledger = Ledger()
    asked = granted(ledger, NOW, "1")
    settle(ledger, asked, result(**told), NOW + 1, slot_taken=False)
    rooms = {False: 99, True: 1, None: 2}
    answers = [ledger.grant_or_refuse(request(str(number), user=str(number)), NOW + 1) for number in range(99)]
    assert sum(isinstance(answer, Grant) for answer in answers) == rooms[verdict]


def test_the_second_rejection_says_that_the_key_rests():
    """For the log: at the rejection that does it, not before."""
    ledger = Ledger()
    settled = [
        settle(ledger, granted(ledger, NOW + n * 20, str(n)), result(**REJECTED), NOW + n * 20 + 1, slot_taken=False)
        for n in range(2)
    ]
    assert [told.token_cooldown for told in settled] == [None, TokenCooldown(Holdup.REJECTED, NOW + 321)]


# --- Events


def history(ledger, seed):
    """Let a random life of some users, keys and hosts happen; the moment it ends."""
    dice = random.Random(seed)
    now, running = NOW, []
    for number in range(150):
        now += dice.choice((0.1, 1, 5, 30))
        fields = {
            "user": dice.choice(("a", "b", None)),
            "key": dice.choice(("k", "l", None)),
            "trigger": dice.choice(list(Trigger)),
            "rate": dice.choice((None, 60)),
            "slot_release": dice.choice((0.0, 300.0)),
            "breakers": dice.choice(((), BREAKERS)),
            "key_fingerprint": dice.choice(("", "old", "new")),
        }
        answer = ledger.grant_or_refuse(request(f"{seed}-{number}", **fields), now)
        running += [answer.request] if isinstance(answer, Grant) else []
        if running and dice.random() < 0.7:
            asked = running.pop(dice.randrange(len(running)))
            rejected, outcome = (
                dice.choice((True, False, False, None)),
                dice.choice((*sorted(LOGIN_EVENTS), "rejected", "no_token", None, None)),
            )
            ledger.release(asked, now, slot_taken=dice.random() < 0.8, rejected=rejected, outcome=outcome)
        if dice.random() < 0.02:
            ledger.start_user_cooldown("a", 50, now)
        if dice.random() < 0.02:
            ledger.record_slot_limit("host:443", 4, now)
        if dice.random() < 0.02:
            ledger.start_endpoint_cooldown("host", 3, now)
    return now


def answers(ledger, now):
    """What a ledger says to every kind of question, as the time goes by."""
    told = []
    for later in (0, 1, 11, 31, 100, 299, 301, 700):
        for user in ("a", "b", None):
            for key in ("k", "l", None):
                for trigger in Trigger:
                    asked = request("question", user=user, key=key, trigger=trigger, rate=4, breakers=BREAKERS)
                    copy = Ledger()
                    for event in ledger.snapshot(now):
                        copy.apply(event)
                    answer = copy.grant_or_refuse(asked, now + later)
                    told.append(answer.cause if isinstance(answer, Refusal) else None)
    return told


@pytest.mark.parametrize("seed", range(6))
def test_the_events_of_a_ledger_make_its_equal(seed):
    """A second ledger fed with the first one's events, or with its snapshot, gives the same answers."""
    first, second = Ledger(), Ledger()
    now = history(first, seed)
    assert all(second.apply(event) for event in first.take_pending())
    third = Ledger()
    assert all(third.apply(event) for event in first.snapshot(now))
    assert first.snapshot(now) == second.snapshot(now)
    assert answers(first, now) == answers(second, now) == answers(third, now)
    assert any(answers(first, now))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@given(
    event=st.fixed_dictionaries(
        {"event": st.sampled_from([*EVENT_FIELDS, "nonsense"]) | JSON, "t": JSON | st.just(NOW)},
        optional={
            name: JSON | st.sampled_from(("x", 1, True, None))
            for name in sorted(
                {name for table in (EVENT_FIELDS, OPTIONAL_EVENT_FIELDS) for shape in table.values() for name in shape}
            )
        },
    )
)
def test_an_event_that_makes_no_sense_is_ignored_whole(event):
    """Whatever stands in a line of the state file: it is taken in or refused, and the ledger works on."""
    ledger = proven()
    before = ledger.snapshot(NOW)
    if not ledger.apply(event):
        assert ledger.snapshot(NOW) == before
    ledger.cut_to(NOW)
    ledger.shift_times(1, NOW, "us")
    ledger.snapshot(NOW)
    assert isinstance(ledger.grant_or_refuse(request(rate=5), NOW), Grant | Refusal)


def test_every_kind_of_event_has_a_shape_and_an_effect():
    """The two tables name the same kinds."""
    assert list(EVENT_FIELDS) == list(EFFECTS)


def test_subjects_do_not_stand_in_events():
    """What goes to the file is a hash, different for each backend and subject."""
    assert user_key("a:443", "s") != user_key("b:443", "s") != user_key("b:443", "t")
    assert len(user_key("a:443", "s")) == 16
    assert user_key("a:443", "\ud800") != user_key("a:443", "?")


# --- Time and memory


@pytest.mark.parametrize("step", [-86_400.0, 3_600.0])
def test_a_ledger_moves_with_a_step_of_the_clock(step):
    """After the shift everything is as far away as it was before."""
    plain, stepped = Ledger(), Ledger()
    now = history(plain, 3)
    assert history(stepped, 3) == now
    assert stepped.shift_times(step, now + step, "us")
    assert answers(plain, now) == answers(stepped, now + step)


def test_two_processes_shift_a_shared_ledger_once():
    """The step that another process has already followed is not followed again; a second step is."""
    ledger = Ledger()
    ledger.start_user_cooldown("user", 100, NOW)
    assert ledger.shift_times(-500, NOW - 500, "daemon")
    assert not ledger.shift_times(-500.2, NOW - 499, "check")
    assert ledger.is_identity_resting("user", NOW - 401)
    assert not ledger.is_identity_resting("user", NOW - 400)
    assert ledger.shift_times(-500, NOW - 990, "daemon")
    assert ledger.shift_times(-7, NOW - 985, "check")


def test_what_lies_in_the_future_is_cut_to_now():
    """A clock that went back between two runs makes nobody wait longer than from now on."""
    ledger = Ledger()
    session(ledger, NOW, slot_release=300.0)
    ledger.start_user_cooldown("user", 300, NOW)
    ledger.cut_to(NOW - 86_400)
    assert ledger.held_slots("user", NOW - 86_400 + 299) == 1
    assert ledger.held_slots("user", NOW - 86_400 + 300) == 0
    assert not ledger.is_identity_resting("user", NOW - 86_400 + 300)


def test_memory_stays_bounded():
    """After weeks of sessions a pruned ledger knows only what still matters."""
    ledger = Ledger()
    for number in range(20_000):
        now = NOW + number * 100
        session(ledger, now, str(number), user=f"u{number}", key=f"k{number % 3_000}", rate=60)
        ledger.take_pending()
        if number % 500 == 0:
            ledger.start_user_cooldown(f"u{number}", 10, now)
            ledger.prune(now)
    assert len(ledger.snapshot(now)) < 3_000 * 0.4


# --- A hundred release windows against a model of the backend


@dataclass
class Backend:
    """docs/backend-protocol.md#the-manager-factory: slots leak on a clean close and are dropped only when a
    connect meets the limit, if their last activity was over `release` seconds ago.
    """

    limit: int = 5
    release: float = 300.0
    slots: dict[str, list[list[float]]] = field(default_factory=dict)
    refusals: int = 0

    def connect(self, user, now):
        """A slot, or None when it is refused."""
        held = self.slots.setdefault(user, [])
        if len(held) >= self.limit:
            held[:] = [slot for slot in held if slot[0] >= now - self.release]
        if len(held) >= self.limit:
            self.refusals += 1
            return None
        held.append([now])
        return held[-1]


class World:
    """A planned schedule on a virtual clock: turns, confirm runs, failures, restarts."""

    def __init__(self, job, seed, *, limit=5, remembers=True, guarded=True):
        self.job, self.dice, self.remembers, self.guarded = job, random.Random(seed), remembers, guarded
        self.backend, self.ledger = Backend(limit), Ledger(since=NOW)
        self.confirms = self.skips = self.sessions = 0
        self.now, self.failing, self.passed = NOW, False, False

    def restart(self):
        """In the middle of whatever it did; with a state file all events come back, without one none."""
        events = self.ledger.snapshot(self.now)
        self.ledger = Ledger() if self.remembers else Ledger(since=self.now)
        for event in events if self.remembers else ():
            assert self.ledger.apply(event)
        self.passed = False

    def session(self, identity, depth, trigger):
        """One session as it may go; True if it passed, None if it did not take place."""
        dice, job = self.dice, self.job
        asked = job.session_cost(str(self.sessions), depth, identity, trigger)
        answer = admit(self.ledger, asked, self.now) if self.guarded else Grant(asked)
        if isinstance(answer, Refusal):
            return None
        asked, lasts = answer.request, dice.choice((0.2, 0.2, 1, 9, 12))
        self.sessions += 1
        reaches = dice.random() > 0.1 and asked.user is not None
        slot = self.backend.connect(asked.user, self.now + lasts * dice.random() * 0.1) if reaches else None
        if slot is not None:
            slot[0] = self.now + lasts
        if dice.random() < 0.01:
            self.now += lasts * dice.random()
            self.restart()  # the session is never released, the server sees it go
            return None
        self.now += lasts
        outcome = "success" if slot else "no_token" if asked.key is None else None
        rejected = False if slot else None
        self.ledger.release(asked, self.now, slot_taken=slot is not None, rejected=rejected, outcome=outcome)
        if asked.user is not None and reaches and slot is None:
            self.ledger.start_user_cooldown(asked.user, asked.slot_release, self.now)
        return not self.failing and reaches

    def cycle(self, cycle):
        job, dice = self.job, self.dice
        self.now = job.due(cycle) + dice.choice((0, 0, 0.01, 2))
        if dice.random() < 0.05:
            self.failing = not self.failing
        if dice.random() < 0.01:
            self.restart()
        identity = job.identity(cycle)
        outcome = self.session(identity, job.depth(cycle), Trigger.SCHEDULE)
        self.skips += outcome is None
        if outcome is False and self.passed:
            for _, other in zip(range(job.confirm_runs), job.confirming_identities(identity), strict=False):
                self.now += job.confirm_after
                ran = self.session(other, Probe.SEND, Trigger.CONFIRM)
                self.confirms += ran is not None
        self.passed = bool(outcome)


def default_job(interval, pool, **changes):
    target = {
        "name": "staging",
        "url": "ws://127.0.0.1/ws",
        "interval": f"{interval}s",
        "identities": {f"i{number}": f"s{number}" for number in range(pool)},
        "auth": {"jwt": {"key_file": "/k"}},
        "limits": {"slots_per_identity": 5},
        **changes,
    }
    made = plan(Config.model_validate({"targets": [target]}), BUILT_IN)
    return made.jobs[0]


@pytest.mark.parametrize("remembers", [True, False], ids=["state file", "no state file"])
@pytest.mark.parametrize("limit", [5, 4], ids=["as configured", "reserve taken by others"])
@pytest.mark.parametrize(
    ("interval", "pool", "every"),
    [(60, 3, (1, 1)), (35, 3, (1, 1)), (79, 1, (1, 1)), (27, 3, (2, 3)), (27, 2, (2, 3))],
)
def test_a_planned_schedule_never_meets_the_limit_in_a_hundred_windows(interval, pool, every, limit, remembers):
    """With confirm runs, failures, crashes and restarts, with a state file and without: the model never refuses."""
    job = default_job(interval, pool, probes={"auth": {"every": every[0]}, "send": {"every": every[1]}})
    world = World(job, interval * pool, limit=limit, remembers=remembers)
    first = job.cycle_at(NOW) + 1
    for cycle in range(first, first + int(100 * job.window / job.interval)):
        if job.due(cycle) >= world.now:
            world.cycle(cycle)
    assert world.backend.refusals == 0
    assert world.sessions > 90 * job.window / job.interval
    spare = pool > 1 and job.allowed_slots > max(job.peaks.values())
    assert world.confirms > 10 if spare else world.confirms == 0
    assert world.skips < world.sessions / 20


def test_the_model_refuses_one_connect_too_many():
    """Slots + 1 connects per release and session do meet the limit: the model can fail."""
    backend = Backend()
    for number in range(100):
        slot = backend.connect("user", NOW + number * 312 / 6)
        if slot is not None:
            slot[0] += 12
    assert backend.refusals > 10
    gentle = Backend()
    for number in range(100):
        slot = gentle.connect("user", NOW + number * 79)
        slot[0] += 12
    assert gentle.refusals == 0


def test_without_the_ledger_the_same_schedule_meets_the_limit():
    """A confirm run after every turn is what the ledger holds back: granted unasked, the model refuses many."""
    refusals = []
    for guarded in (True, False):
        world = World(default_job(79, 1), 1, guarded=guarded)
        first = world.job.cycle_at(NOW) + 1
        for cycle in range(first, first + 400):
            world.cycle(cycle)
            world.now += 1
            world.session("i0", Probe.SEND, Trigger.CONFIRM)
        refusals.append(world.backend.refusals)
    assert refusals[0] == 0
    assert refusals[1] > 50


# --- Circuit breakers before the backend's login


def login(ledger, now, run, outcome, *, lasts=1.0, **changes):
    """One login as the factory's backend sees it: `rejected`, `success`, `no_token`, `restart` or None."""
    asked = request(run, breakers=BREAKERS, **changes)
    asked = asked.without_token() if outcome == "no_token" else asked
    answer = ledger.grant_or_refuse(asked, now)
    assert isinstance(answer, Grant), answer
    verdict = {"rejected": True, "success": False}.get(outcome)
    ledger.release(asked, now + lasts, rejected=verdict, outcome=outcome)


def holdup(ledger, now, *, breakers=BREAKERS, tokenless=False, **changes):
    """What holds a login up now, and until when; None: nothing."""
    asked = request("asked", breakers=breakers, **changes)
    answer = ledger.grant_or_refuse(asked.without_token() if tokenless else asked, now)
    return (answer.holdup, answer.until) if isinstance(answer, Refusal) else None


HOUR = 3600.0
STOPPED = Close(1012, Initiator.REMOTE, Phase.ADMISSION)


@pytest.mark.parametrize("opens_at", [2, 3, 4, 5, 9])
def test_the_plan_knows_how_many_connects_without_a_token_the_ledger_admits_in_a_row(opens_at):
    """As many as `max_connects_without_token` says; a breaker that counts none of them has no such number."""
    breaker = BreakerSettings.model_validate({"counts": ["rejected", "no_token"], "opens_at": opens_at})
    ledger, admitted = Ledger(), 0
    while True:
        asked = request(str(admitted), breakers=(breaker,), trigger=Trigger.SIDE_PROBE).without_token()
        if isinstance(ledger.grant_or_refuse(asked, NOW + admitted), Refusal):
            break
        ledger.release(asked, NOW + admitted + 0.1, rejected=None, outcome="no_token")
        admitted += 1

    assert admitted == max_connects_without_token(breaker)
    assert max_connects_without_token(breaker.model_copy(update={"counts": ["rejected"]})) is None


def test_after_a_rejected_token_no_side_probe_connects_without_one():
    """What the breaker still bears is for the tokens whose verdict is awaited; cycles may connect as before."""
    ledger = Ledger()
    login(ledger, NOW, "first", "rejected")

    assert holdup(ledger, NOW + 20, tokenless=True, trigger=Trigger.SIDE_PROBE)[0] is Holdup.BREAKER_CONNECT
    assert holdup(ledger, NOW + 20, tokenless=True) is None


def test_the_last_try_that_a_breaker_leaves_is_kept_for_another_key():
    """Opens at 3: after one rejection another key goes at once, one that was good later on, and none is third."""
    for second, later in (("new", 20.0), ("new", 7 * 24 * HOUR), ("old", HOUR + 1)):
        ledger = Ledger()
        if second == "old":
            login(ledger, NOW - 20, "0", "success", key_fingerprint="old")
        login(ledger, NOW, "1", "rejected", key_fingerprint="old")
        until = NOW + 1 + MAX_RETRY_INTERVALS * request().auth_retry if second == "old" else None
        assert holdup(ledger, NOW + 20, key_fingerprint="old") == (Holdup.BREAKER_TOKEN, until)
        login(ledger, NOW + later, "2", "rejected", key_fingerprint=second)
        for key_fingerprint in ("old", "new", "newer"):
            assert holdup(ledger, NOW + 20 * 86_400, key_fingerprint=key_fingerprint) == (Holdup.BREAKER_TOKEN, None)


@pytest.mark.parametrize("evidence", ["success", "restart"])
def test_what_resets_a_breaker_makes_room_for_the_rested_key(evidence):
    """A token of another key that is let in, or a server that stops: the rejected key is tried again."""
    ledger = Ledger()
    login(ledger, NOW, "1", "rejected", key_fingerprint="old")
    login(ledger, NOW + 20, "2", "rejected", key_fingerprint="new")
    asked = request("3", breakers=BREAKERS, key="another", forced=True)
    assert isinstance(ledger.grant_or_refuse(asked, NOW + 40), Grant)
    ledger.release(asked, NOW + 41, rejected=False if evidence == "success" else None, outcome=evidence)
    assert holdup(ledger, NOW + 42, key_fingerprint="old") is None


def test_a_success_does_not_cover_what_came_while_it_was_open():
    """The login of a session is at its begin: a rejection that ended before it does not count, a later one does."""
    ledger = proven(breakers=BREAKERS)
    long = request("long", breakers=BREAKERS, user="a")
    assert isinstance(ledger.grant_or_refuse(long, NOW), Grant)
    login(ledger, NOW + 1, "1", "rejected", key="wrong")
    ledger.release(long, NOW + 10, rejected=False, outcome="success")
    assert holdup(ledger, NOW + 11, key="wrong") == (Holdup.BREAKER_TOKEN, None)


def test_connects_without_a_token_leave_a_try_to_a_token_and_to_another():
    """Opens at 5: two of them in a row, one more if somebody asks; a token that is let in makes room again."""
    ledger = Ledger()
    for number in range(2):
        login(ledger, NOW + number * 20, str(number), "no_token")
    assert holdup(ledger, NOW + 86_400, tokenless=True) == (Holdup.BREAKER_CONNECT, None)
    login(ledger, NOW + 86_400, "asked for", "no_token", trigger=Trigger.CHECK)
    assert holdup(ledger, NOW + 86_500, tokenless=True, trigger=Trigger.CHECK) == (Holdup.BREAKER_CONNECT, None)
    login(ledger, NOW + 86_590, "deep", "success")
    assert holdup(ledger, NOW + 86_600, tokenless=True) is None


def test_logins_under_way_count_as_failed_until_they_are_judged():
    """Opens at 3: two at most at once; one that a crash cut off counts as failed for an hour."""
    ledger = Ledger()
    for user in ("a", "b"):
        assert isinstance(ledger.grant_or_refuse(request(user, user=user, breakers=BREAKERS), NOW), Grant)
    assert holdup(ledger, NOW, user="c") == (Holdup.VERDICT, None)
    over = NOW + request().open_for
    assert holdup(ledger, over + 1, user="c", key="another") == (Holdup.BREAKER_TOKEN, over + HOUR)
    assert holdup(ledger, over + HOUR, user="c", key="another") is None


def test_a_key_that_was_let_in_is_not_held_up_by_its_own_sessions():
    """Twenty targets of one backend may log in at once."""
    ledger = proven(breakers=BREAKERS)
    for number in range(20):
        asked = request(str(number), user=str(number), breakers=BREAKERS)
        ledger.release(asked, NOW - 9_000, rejected=False, outcome="success")
        assert isinstance(ledger.grant_or_refuse(asked, NOW), Grant)
    assert holdup(ledger, NOW, user="c", trigger="check") is None


def test_a_breaker_that_time_resets_bears_a_try_again_when_its_window_is_over():
    """Opens at 4 within a minute: the same key twice, and again as the first rejection is a minute old."""
    ledger = Ledger()
    for number in range(2):
        asked = request(str(number), breakers=LOCKOUT, auth_retry=10.0)
        assert isinstance(ledger.grant_or_refuse(asked, NOW + number), Grant)
        ledger.release(asked, NOW + number, rejected=True, outcome="rejected")
    assert holdup(ledger, NOW + 2, breakers=LOCKOUT, auth_retry=10.0) == (Holdup.REJECTED, NOW + 11)
    assert holdup(ledger, NOW + 11, breakers=LOCKOUT, auth_retry=10.0) == (Holdup.BREAKER_TOKEN, NOW + 60)
    assert holdup(ledger, NOW + 60, breakers=LOCKOUT, auth_retry=10.0) is None


def test_a_breaker_that_bears_a_single_failure_bears_one_after_each_success_of_another_key():
    """Opens at 2: a rejected token waits for a success beside it; a connect without a token is never made."""
    narrow = (BreakerSettings.model_validate({"counts": ["rejected", "no_token"], "opens_at": 2}),)
    ledger = Ledger()
    for number in range(3):
        wrong, right = (
            request(f"{number}-{key}", breakers=narrow, key=key, auth_retry=10.0, slots=0) for key in ("wrong", "r")
        )
        assert isinstance(ledger.grant_or_refuse(wrong, NOW + number * 20), Grant)
        ledger.release(wrong, NOW + number * 20 + 1, rejected=True, outcome="rejected")
        assert holdup(ledger, NOW + number * 20 + 12, breakers=narrow, key="wrong") == (Holdup.BREAKER_TOKEN, None)
        assert holdup(ledger, NOW, breakers=narrow, tokenless=True) == (Holdup.BREAKER_CONNECT, None)
        assert isinstance(ledger.grant_or_refuse(right._replace(forced=True), NOW + number * 20 + 13), Grant)
        ledger.release(right, NOW + number * 20 + 14, rejected=False, outcome="success")


def test_a_key_that_is_let_in_goes_on_whatever_others_did():
    """Two other keys of the backend were rejected, and connects made: its target is not blind for their sake."""
    ledger = proven(breakers=BREAKERS)
    for key in ("wrong", "worse"):
        login(ledger, NOW, key, "rejected", key=key, user=key)
    assert holdup(ledger, NOW + 20, key="another") == (Holdup.BREAKER_TOKEN, None)
    login(ledger, NOW + 20, "good", "success")
    assert holdup(ledger, NOW + 40, key="another") is None


def test_without_a_breaker_another_key_ends_the_rest_at_once():
    """What the old key did is nothing to the new one; put back, the old one rests still."""
    ledger = Ledger()
    for number in range(2):
        session(ledger, NOW + number * 20, str(number), rejected=True, key_fingerprint="old")
    assert holdup(ledger, NOW + 30, breakers=(), key_fingerprint="old") == (Holdup.REJECTED, NOW + 321)
    session(ledger, NOW + 30, "3", rejected=True, key_fingerprint="new")
    assert holdup(ledger, NOW + 60, breakers=(), key_fingerprint="old") == (Holdup.REJECTED, NOW + 321)


def test_a_state_file_of_an_older_version_keeps_its_keys_at_rest():
    """It tells keys by their source alone: that stands for whatever key is there."""
    ledger = Ledger()
    assert ledger.apply({"event": "key", "t": NOW, "key": "key", "rejected": 2, "proven": False, "for": 300.0})
    assert holdup(ledger, NOW + 1, breakers=(), key_fingerprint="any") == (Holdup.REJECTED, NOW + 300)


def test_who_takes_it_on_them_sends_a_token_that_rests():
    """A person may know more than the ledger: slots and rates hold all the same."""
    ledger = Ledger()
    login(ledger, NOW, "1", "rejected", key_fingerprint="old")
    login(ledger, NOW + 20, "2", "rejected", key_fingerprint="new")
    assert holdup(ledger, NOW + 40, forced=True, key_fingerprint="new", trigger="check") is None


@pytest.mark.parametrize(
    ("told", "key", "outcome"),
    [
        ({}, "key", "success"),
        (REJECTED, "key", "rejected"),
        ({**REJECTED, "phase": Phase.UPGRADE}, "key", "rejected"),
        ({**REJECTED, "reason": Reason.AUTH_UNAVAILABLE}, "key", None),
        ({**LOST, "reason": Reason.REFUSED}, "key", "restart"),
        ({**REJECTED, "reason": Reason.CLOSED, "close": STOPPED}, "key", "restart"),
        ({"phase": Phase.CLOSE, "close": Close(1001, Initiator.REMOTE, Phase.CLOSE)}, "key", "success"),
        ({"verdicts": dict.fromkeys(Probe, Verdict.NONE), "impairment": Impairment.INTERNAL}, "key", "rejected"),
        ({"verdicts": dict.fromkeys(Probe, Verdict.NONE), "impairment": Impairment.CLOCK}, "key", "rejected"),
        ({"verdicts": dict.fromkeys(Probe, Verdict.NONE), "impairment": Impairment.TOKEN}, "key", None),
        (LOST, None, None),
        ({"verdicts": {Probe.CONNECT: Verdict.PASS}}, None, "no_token"),
        ({**LOST, "phase": Phase.UPGRADE}, None, "no_token"),
    ],
)  # fmt: skip
def test_what_the_breakers_make_of_a_session(told, key, outcome):
    """By the backend's word on the token, by whether it can have got there, and by signs of a new process."""
    ledger = Ledger()
    asked = granted(ledger, NOW, "1", key=key, breakers=BREAKERS)
    ledger.take_pending()
    settle(ledger, asked, result(**{"phase": None, **told}), NOW + 1, slot_taken=False)
    assert [event["outcome"] for event in ledger.take_pending() if event["event"] == "close"] == [outcome]


# --- Whatever happens


STEPS = st.tuples(
    st.sampled_from(("login", "login", "login", "connect", "mend", "change", "restart")),
    st.sampled_from(("one", "two", "three")),
    st.floats(0.0, 2000.0),
    st.sampled_from(list(Trigger)),
)


@given(st.lists(STEPS, max_size=120), st.booleans())
def test_no_order_of_events_opens_a_breaker_or_repeats_a_rejected_token(steps, declared):
    """Three keys of one backend that are wrong, mended and changed, connects, restarts with the state file.

    With the breakers stated: neither ever opens. With or without: no rejected token goes more than twice within
    auth_retry. The backend is that of the stand-in, in a row; sessions come one after the other.
    """
    ledger, now, good, version = Ledger(), NOW, {}, dict.fromkeys(("one", "two", "three"), 0)
    before_auth, of_the_endpoint = StandInBreaker(10.0, by_rate=False), StandInBreaker(30.0, 5, by_rate=False)
    rejections = {}
    for number, (what, key, seconds, trigger) in enumerate(steps):
        now += seconds
        token = key, str(version[key])
        if what == "mend":
            good[token] = True
        elif what == "change":
            version[key] += 1
        elif what == "restart":
            ledger = restored(ledger, now)
        else:
            asked = request(str(number), user=None, key=key, key_fingerprint=token[1], trigger=trigger)
            asked = asked._replace(breakers=BREAKERS if declared else ())
            asked = asked.without_token() if what == "connect" else asked
            if isinstance(ledger.grant_or_refuse(asked, now), Refusal):
                continue
            let_in = what == "login" and good.get(token, False)
            outcome = "success" if let_in else "rejected" if what == "login" else "no_token"
            ledger.release(asked, now, rejected=None if what == "connect" else not let_in, outcome=outcome)
            of_the_endpoint.record(now, ok=let_in)
            if what == "login":
                before_auth.record(now, ok=let_in)
                rejections.setdefault(token, []).extend([] if let_in else [now])
    if declared:
        assert (before_auth.openings, of_the_endpoint.openings) == (0, 0)
    else:
        for moments in rejections.values():
            assert not [one for one, third in zip(moments, moments[2:], strict=False) if third - one < 300.0]


def restored(ledger, now):
    """What a new process knows by the state file."""
    copy = Ledger()
    for event in ledger.snapshot(now):
        assert copy.apply(event)
    return copy
