"""When failures are an outage, of which cause, and when it is over: sessions in, causes that stand out."""

from itertools import pairwise

import pytest
from support.outages import MEETS, NONE, PASS

from exporter.classify import OutageCause, OutageDetector, OutagePolicy, possible_causes
from exporter.classify.outage import causes_of
from exporter.config import Profile
from exporter.profiles import BUILT_IN
from exporter.result import (
    Close,
    FactoryReason,
    Initiator,
    Phase,
    Probe,
    Reason,
    Result,
    Trigger,
    Verdict,
)

FACTORY = BUILT_IN["factory"]
POOL = ("pool-001", "pool-002", "uuid-001")


class Target:
    """The outages of a target; `feed` a text of sessions, one letter each."""

    def __init__(
        self, profile=FACTORY, interval=20.0, pool=POOL, *, every=None, token_withheld=False, confirm_after=0.0
    ):
        every = every or {}
        self.intervals = {probe: interval * every.get(probe, 1) for probe in Probe}
        self.pool = pool
        causes = possible_causes(profile, tls=True, factory=profile is FACTORY)
        self.outages = OutageDetector(OutagePolicy(causes, self.intervals, len(pool), token_withheld, confirm_after))
        self.stands = {}
        self.turn = 0

    def feed(self, text):
        """The causes that stand after each session."""
        trigger, history = Trigger.SCHEDULE, []
        for letter in text.replace(" ", ""):
            if letter in "()":
                trigger = Trigger.CONFIRM if letter == "(" else Trigger.SCHEDULE
                continue
            self.stands.update(self.outages.record_result(self._result(letter, trigger)))
            history.append({cause for cause, stands in self.stands.items() if stands})
        return history

    def after(self, text):
        return self.feed(text)[-1]

    def _result(self, letter, trigger):
        fields = {"depth": Probe.SEND, "verdicts": (PASS, PASS, PASS), **MEETS[letter]}
        verdicts = dict(zip(Probe, fields.pop("verdicts"), strict=True))
        identity = self.pool[self.turn % len(self.pool)] if self.pool else None
        self.turn += 1
        return Result(
            target="t", identity=identity, run="r", trigger=trigger, started_at=0.0, verdicts=verdicts, **fields
        )


ONE = {
    "C": OutageCause.CONNECT,
    "H": OutageCause.CONNECT,
    "R": OutageCause.AUTH_REJECTED,
    "U": OutageCause.AUTH_UNAVAILABLE,
    "N": OutageCause.NOT_ADMITTED,
    "F": OutageCause.FACTORY,
    "D": OutageCause.FACTORY_DEGRADED,
    "S": OutageCause.SLOTS,
    "Z": OutageCause.REPLY,
    "W": OutageCause.RESTARTING,
}


@pytest.mark.parametrize("letter", ONE)
def test_an_outage_stands_with_its_third_failure_and_until_it_is_over(letter):
    """With the second for refusals of a token, since no confirm run follows; it stays for as long as it lasts."""
    first = 2 if letter in "RU" else 3
    watched = Target()
    history = watched.feed("......" + letter * 40)[6:]
    assert [bool(stands) for stands in history] == [number >= first for number in range(1, 41)]
    assert all(stands == {ONE[letter]} for stands in history[first - 1 :])
    assert watched.feed("...") == [{ONE[letter]}, {ONE[letter]}, set()]


def test_confirm_runs_count():
    """A failure and its two confirm runs are an outage within one cycle."""
    assert Target().after("......C(CC)") == {OutageCause.CONNECT}


@pytest.mark.parametrize("blip", ["C(C.)", "N(.)", "Z(Z.)", "F(.)", "C", "C.C", "N.", "R", "U", "I(.)", "CN"])
def test_a_blip_is_no_outage(blip):
    """A cycle and its first confirm run fail, the second passes; or a cycle or two where no confirm run follows."""
    assert not any(Target().feed(f"......{blip}......"))


def test_no_pause_between_blips_makes_one_outage_of_two():
    """Six cycles after the first, the second is judged for itself; and a blip after an outage for itself too."""
    assert not any(Target().feed("......C(C.).....C(C.)....."))
    assert not any(Target().feed("CCCCCC.......C(C.).......")[9:])


def test_a_confirm_run_that_answers_a_cycle_counts_as_one():
    """At 5 s, what took confirm runs after 6 s and 12 s is as long ago as what took cycles."""
    assert Target(interval=5.0).after("......C(C.)....C(C)") == {OutageCause.CONNECT}
    often = Target(interval=5.0, confirm_after=6.0)
    assert not any(often.feed("......C(C.)....C(C.)....C(C.)...."))


@pytest.mark.parametrize(("interval", "passes"), [(5.0, 3), (20.0, 3), (30.0, 2), (60.0, 1), (360.0, 1), (86_400.0, 1)])
def test_an_outage_ends_within_a_minute_or_with_the_first_pass(interval, passes):
    """Who probes once a day does not read of an outage for two days after its end."""
    history = Target(interval=interval).feed("CCC" + "." * passes)
    assert [bool(stands) for stands in history] == [False, False, True, *[True] * (passes - 1), False]


def test_a_partial_outage_stands_through_its_passes():
    """Two users of three are refused: as many passes as lie between the failures do not end it, at any interval."""
    for interval in (20.0, 360.0):
        history = Target(interval=interval).feed("......" + "F(.)F(.)." * 10)
        assert {OutageCause.FACTORY} in history[:16]
        assert all(stands == {OutageCause.FACTORY} for stands in history[16:])
    assert all(Target(interval=360.0).feed("C.C.C." * 8)[8:])


def test_one_user_of_three_is_no_outage():
    """Fewer than three failures in six cycles."""
    assert not any(Target().feed("......" + "F(.).." * 20))


def test_an_outage_that_comes_back_takes_longer_to_end():
    """Three users of eight are refused, in turns: the pager hears of one outage, not of one every lap."""
    history = Target().feed("FFF....." * 12)
    ends = sum(before != after and not after for before, after in pairwise(history))
    assert ends <= 2
    assert all(history[-24:])


def test_a_change_of_cause_is_seen_at_once_while_nothing_passes():
    """Refused connects, then a backend that accepts and crashes: the first such session changes the cause, and back."""
    watched = Target()
    assert watched.after("......C(CC)CC") == {OutageCause.CONNECT}
    assert watched.feed("NNNN") == [{OutageCause.NOT_ADMITTED}] * 4
    assert watched.after("Z") == {OutageCause.REPLY}
    assert watched.after("ZZZZZZZC") == {OutageCause.CONNECT}
    assert watched.after("W") == {OutageCause.RESTARTING}


def test_a_blip_beside_a_partial_outage_does_not_take_its_place():
    """Only where nothing passes is the first failure of another kind what the outage is now."""
    watched = Target()
    assert watched.after("......F(.)F(.).F(.)F(.).") == {OutageCause.FACTORY}
    assert all(OutageCause.CONNECT not in stands for stands in watched.feed("CF(.)F(.).F(.)F(.)."))


def test_causes_that_alternate_stand_together():
    """Two instances behind one address, broken in two ways: neither comes and goes with each session."""
    watched = Target()
    watched.feed("......CNCNCNCNCN")
    assert all(stands == {OutageCause.CONNECT, OutageCause.NOT_ADMITTED} for stands in watched.feed("CN" * 10))


def test_an_outage_of_many_causes_is_one():
    """Nothing passes, and no cause has three failures yet."""
    assert Target().after("......CN") == set()
    assert Target().after("......CNZ") == {OutageCause.REPLY}


def test_a_rejected_key_is_an_outage_while_connects_go_on_without_it():
    """Sessions without a token say nothing of it; the first tokens that pass end it."""
    watched = Target()
    assert watched.after("......RR") == {OutageCause.AUTH_REJECTED}
    assert all(stands == {OutageCause.AUTH_REJECTED} for stands in watched.feed("c" * 30 + "R" + "c" * 30))
    assert watched.after("...") == set()


def test_connects_that_fail_beside_a_rejected_key_are_seen():
    """The shallower cause is judged by the sessions that go on."""
    assert OutageCause.CONNECT in Target().after("......RRccccCCC")


def test_a_1011_is_counted_unless_it_is_a_refusal_of_a_token():
    """Internal errors stand beside what they are; a token's refusal by 1011 is no internal error."""
    assert Target().after("......III") == {OutageCause.INTERNAL_ERROR, OutageCause.REPLY}
    watched = Target()
    assert watched.after("......rrrrr") == {OutageCause.AUTH_REJECTED}


@pytest.mark.parametrize("letter", "gevicL")
def test_what_is_no_failure_of_the_backend_is_no_outage(letter):
    """A goodbye after our close, a deadline that we slept through, a key that is gone, a rate limit."""
    assert not any(Target().feed("......" + letter * 30))


@pytest.mark.parametrize("deploy", ["W", "W(WW)", "W(W.)", "WW", "W(WW).W(WW)", "C(CW)", "CW(.)"])
def test_a_restart_is_no_outage_however_many_confirm_runs_meet_it(deploy):
    """A deploy stops one worker after the other: it is an outage only if cycle after cycle meets it."""
    assert not any(Target().feed(f"......{deploy}......"))


@pytest.mark.parametrize("deploy", ["WWW", "W(WW)WW", "WWC", "WCC"])
def test_restarts_that_go_on_are_an_outage_within_three_cycles(deploy):
    """Alone or among other failures."""
    assert not any(Target().feed("......" + deploy[:-1]))
    assert Target().after("......" + deploy)


def test_a_refusal_for_want_of_a_token_that_was_kept_back_says_nothing():
    """While a key rests the backend answers 401 to connects without a token: it is there, and AuthFailing stands."""
    resting = Target(token_withheld=True)
    history = resting.feed("......AA" + "aaaa" * 10)
    assert all(stands == {OutageCause.AUTH_REJECTED} for stands in history[7:])
    assert Target().after("......" + "aaa") == {OutageCause.CONNECT}
    assert resting.after("CCC") == {OutageCause.CONNECT}


def test_one_dead_address_of_two_is_no_outage():
    """Clients go on to the other one; only when none is left untried can nobody connect."""
    assert not any(Target().feed("......" + "1.........." * 10))
    assert not any(Target().feed("......" + "1." * 20))
    assert Target().after("......" + "12") == set()
    assert Target().after("......" + "122") == {OutageCause.CONNECT}
    assert Target().after("......" + "1.22") == set()


def test_a_rate_limit_ends_no_outage_and_begins_none():
    """It says nothing of what stands."""
    assert all(Target().feed("CCC" + "L" * 10)[2:])


def test_slots_are_out_when_every_user_is_refused():
    """One user without slots is a finding, all of them an outage; a pool of one has it with the first refusal."""
    assert not any(Target().feed("......S(.)...." * 5))
    assert Target().after("......S(SS)") == {OutageCause.SLOTS}
    assert Target(pool=("only",)).after("......S") == {OutageCause.SLOTS}


def test_probes_that_are_asked_seldom_are_judged_by_their_own_sessions():
    """Auth in every fourth cycle: three of those that fail are an outage, whatever lies between."""
    watched = Target(every={Probe.AUTH: 4, Probe.SEND: 4})
    assert watched.after(".ccc" * 6 + "NcccNccc") == set()
    assert watched.after("N") == {OutageCause.NOT_ADMITTED}
    assert all(watched.feed("cccN" * 10))


def test_nothing_is_known_before_the_first_session_that_tells():
    """A fresh exporter in the middle of an outage says nothing, not that there is none."""
    watched = Target()
    watched.feed("CC")
    assert OutageCause.CONNECT not in watched.stands
    assert watched.stands[OutageCause.REPLY] is False
    watched.feed("C")
    assert watched.stands[OutageCause.CONNECT] is True


def test_another_schedule_keeps_what_stands_and_another_backend_forgets_it():
    """`update_policy` says whether the causes and the probes are the same ones."""
    watched = Target()
    assert watched.after("CCC") == {OutageCause.CONNECT}
    causes = possible_causes(FACTORY, tls=True, factory=True)
    assert watched.outages.update_policy(OutagePolicy(causes, dict.fromkeys(Probe, 360.0), 2))
    assert watched.after("C") == {OutageCause.CONNECT}
    assert not watched.outages.update_policy(OutagePolicy(causes, {Probe.CONNECT: 20.0}, 2))
    assert not watched.outages.update_policy(OutagePolicy((OutageCause.CONNECT,), watched.intervals, 2))


def test_a_profile_without_a_factory_has_no_outage_of_one():
    """What a profile cannot show, no series is made for."""
    plain = Profile()
    echo = BUILT_IN["echo"]
    assert OutageCause.CONNECT in possible_causes(plain, tls=True, factory=False)
    found = possible_causes(echo, tls=True, factory=False)
    assert {OutageCause.CONNECT, OutageCause.REPLY, OutageCause.INTERNAL_ERROR, OutageCause.RESTARTING} <= set(found)
    assert not {OutageCause.SLOTS, OutageCause.FACTORY, OutageCause.FACTORY_DEGRADED, OutageCause.NOT_ADMITTED} & set(
        found
    )
    assert set(possible_causes(FACTORY, tls=True, factory=True)) == set(OutageCause)


def test_a_profile_that_cannot_ask_for_a_reply_ends_its_outage_by_what_it_asks():
    """A welcome, and nothing to send: the factory's outage ends with the next welcomes."""
    outages = OutageDetector(OutagePolicy(tuple(OutageCause), {Probe.CONNECT: 20.0, Probe.AUTH: 20.0}, 1))
    failed = Result(
        target="t", identity="a", run="r", depth=Probe.AUTH, trigger=Trigger.SCHEDULE, started_at=0.0,
        verdicts={Probe.CONNECT: PASS, Probe.AUTH: NONE, Probe.SEND: NONE}, factory_reason=FactoryReason.OTHER,
    )  # fmt: skip
    passed = Result(
        target="t", identity="a", run="r", depth=Probe.AUTH, trigger=Trigger.SCHEDULE, started_at=0.0,
        verdicts={Probe.CONNECT: PASS, Probe.AUTH: PASS, Probe.SEND: NONE},
    )  # fmt: skip
    changes = [outages.record_result(one) for one in [failed] * 3 + [passed] * 3]
    assert changes[2] == {OutageCause.FACTORY: True}
    assert changes[5][OutageCause.FACTORY] is False


def test_one_rejection_is_an_outage_if_no_other_token_is_sent():
    """The ledger keeps the token back: a second rejection cannot come. It ends as any other: by tokens that pass."""
    target = Target()
    assert target.after("..R") == set()

    assert target.outages.record_token_cooldown() == (OutageCause.AUTH_REJECTED,)
    assert target.outages.record_token_cooldown() == (), "it stands already"
    target.stands[OutageCause.AUTH_REJECTED] = True
    assert target.after("ccc") == {OutageCause.AUTH_REJECTED}, "sessions without a token do not end it"
    assert target.after("...") == set()


def ended_by_1011(reason, **more):
    close = Close(1011, Initiator.REMOTE, Phase.REPLY)
    verdicts = dict(zip(Probe, (PASS, PASS, Verdict.FAIL), strict=True))
    common = {"target": "t", "identity": None, "run": "r", "depth": Probe.SEND, "trigger": Trigger.SCHEDULE}
    return Result(**common, started_at=0.0, verdicts=verdicts, phase=Phase.REPLY, reason=reason, close=close, **more)


def test_a_1011_that_is_the_servers_stop_is_a_restart():
    """Sorted as a stop it is no internal error; a rule of the profile that says `closed` makes no stop of it."""
    assert causes_of(ended_by_1011(Reason.CLOSED)) == {OutageCause.RESTARTING}
    assert OutageCause.INTERNAL_ERROR in causes_of(ended_by_1011(Reason.SERVER_ERROR))
    assert OutageCause.INTERNAL_ERROR in causes_of(ended_by_1011(Reason.CLOSED, rule="closes[0]"))


@pytest.mark.parametrize("letter", "RU")
def test_a_confirm_run_whose_token_is_refused_makes_no_outage(letter):
    """A suspicion sends a second token while the first is under way: one blip may refuse both."""
    target = Target()
    target.feed("......")
    assert target.after(f"{letter}({letter})") == set()
    assert target.after(f".{letter}{letter}") != set()
