"""Another config while the exporter runs, on a clock that jumps: who comes, goes, changes, and who does not notice."""

import asyncio
import logging

import pytest
from support import virtual_clock
from support.reloads import Exporter, Source, counters, ended, own, running
from support.schedules import dues

from exporter.daemon import FIRST_SCRAPE_SECONDS
from exporter.daemon.startup_gate import StartupGate
from exporter.standin import StandIn, Timings
from exporter.state import LedgerFile

# Coming and going -----------------------------------------------------------------------------------------------------


def test_a_reload_adds_and_removes_targets_and_the_others_keep_their_counts():
    """All series of the gone leave, those of the new begin at 0, and those that stay count on."""

    async def main(loop):
        async with running(loop, {"name": "stays"}, {"name": "goes"}) as (exporter, standin):
            await asyncio.sleep(70)
            before = await exporter.samples()
            answer = await exporter.reload(own(standin, "comes"), own(standin, "stays"))
            at_once = await exporter.samples()
            await asyncio.sleep(60)
            return before, answer, at_once, await exporter.samples(), list(exporter.daemon._services.jobs)

    before, answer, at_once, after, order = virtual_clock.run(main)

    assert answer == (200, "reloaded: 1 added (comes), 1 removed (goes)\n")
    assert set(before) == {None, "stays", "goes"}
    assert set(at_once) == set(after) == {None, "stays", "comes"}
    assert counters(at_once["stays"]) == counters(before["stays"])
    assert set(counters(at_once["comes"]).values()) == {0}
    assert after["stays"]["ws_probe_cycles_total", "send"] == before["stays"]["ws_probe_cycles_total", "send"] + 3
    assert after["comes"]["ws_probe_cycles_total", "send"] == 3
    assert order == ["comes", "stays"], "as the config has them"


def test_a_reload_does_not_disturb_an_unchanged_target():
    """A session in flight goes on, the schedule keeps its moments, the ledger what it knows."""

    async def main(loop):
        fields = {"limits": {"slots_per_identity": 20, "slot_release": "300s"}}
        async with running(loop, fields) as (exporter, standin):
            standin.set_fault("*", "slow_reply:delay=3")
            await exporter.in_session()
            lane = exporter.daemon._scheduler._targets["staging"]
            job, task, began = exporter.job(), lane.task, loop.wall()
            same = await exporter.reload(own(standin, **fields))
            more = await exporter.reload(own(standin, **fields), own(standin, "more"))
            kept = (lane.job.target is job.target, lane.task is task, standin.open_connections)
            await asyncio.sleep(50)
            (first, *others) = [seen for seen in standin.sessions if seen.path == "/ws/staging"]
            held = sum(
                exporter.daemon._services.state.ledger.held_slots(user, loop.wall()) for user in job.users.values()
            )
            return (
                same,
                more,
                kept,
                first,
                [loop.wall() - loop.time() + seen.accepted_at for seen in others],
                began,
                held,
            )

    same, more, kept, first, later, began, held = virtual_clock.run(main)

    assert same == (200, "reloaded: no target has changed\n")
    assert more == (200, "reloaded: 1 added (more), 1 adjusted\n")
    assert kept == (True, True, 1)
    assert (first.close_received, first.first_closer) == (1000, "client")
    assert later == pytest.approx(dues("staging", 20.0, began + 1, began + 50), abs=0.05)
    assert held == 3


def test_a_session_of_a_removed_target_counts_in_the_ledger_only(caplog):
    """It ends with 1000, no series comes back, and its slot is held until the release."""
    caplog.set_level(logging.INFO)

    async def main(loop):
        told = []
        fields = {"limits": {"slots_per_identity": 20, "slot_release": "300s"}}
        async with running(loop, {"name": "goes", **fields}, {"name": "stays"}, on_result=told.append) as (
            exporter, standin,
        ):  # fmt: skip
            standin.set_fault("/ws/goes", "slow_reply:delay=3")
            await exporter.in_session("goes")
            users = exporter.job("goes").users.values()
            await exporter.reload(own(standin, "stays"))
            await asyncio.sleep(10)
            ledger, now = exporter.daemon._services.state.ledger, loop.wall()
            (seen,) = [seen for seen in standin.sessions if seen.path == "/ws/goes"]
            return seen, await exporter.samples(), sum(ledger.held_slots(user, now) for user in users), told

    seen, samples, held, told = virtual_clock.run(main)

    assert (seen.close_received, seen.first_closer, seen.how) == (1000, "client", "close")
    assert "goes" not in samples
    assert held == 1
    assert "goes" not in {result.target for result in told}
    lines = [record.keys for record in caplog.records if record.getMessage() == "session"]
    assert "goes" not in {line["target"] for line in lines}


def test_what_is_open_of_a_target_that_comes_again_is_counted_once():
    """The session of its first life ends in its second one: one connection less, never less than none."""

    async def main(loop):
        async with running(loop, {"name": "again"}) as (exporter, standin):
            standin.set_fault("*", "slow_reply:delay=3")
            await exporter.in_session("again")
            shown = []
            for targets in ([own(standin, "other")], [own(standin, "again"), own(standin, "other")]):
                await exporter.reload(*targets)
                shown.append((await exporter.samples()).get("again", {}).get(("ws_probe_open_connections",)))
            await asyncio.sleep(5)
            shown.append((await exporter.samples())["again"]["ws_probe_open_connections",])
            await exporter.reload(own(standin, "other"))
            await asyncio.sleep(30)
            return shown, exporter.daemon._dispatcher._open

    shown, remembered = virtual_clock.run(main)

    assert shown == [None, 1, 0]
    assert "again" not in remembered


@pytest.mark.parametrize(
    ("delay", "scraped_at", "begins"),
    [(0.0, None, 0.0), (15.0, 3.0, 15.0), (15.0, 40.0, 40.0), (15.0, None, FIRST_SCRAPE_SECONDS)],
    ids=["no delay", "scraped early", "scraped late", "never scraped"],
)
def test_new_targets_wait_as_at_the_start(delay, scraped_at, begins):
    """For the delay and for one scrape after they came, 60 s at most; with no delay they begin at once."""

    async def main(loop):
        async with running(loop, {"name": "old"}, delay=delay) as (exporter, standin):
            await exporter.samples()
            await asyncio.sleep(100)
            came = loop.time()
            await exporter.reload(own(standin, "old"), own(standin, "new", interval="7s", timeout="4s"))
            if scraped_at is not None:
                await asyncio.sleep(scraped_at)
                shown = (await exporter.samples())["new"]
                assert (shown["ws_probe_cycles_total", "send"], ended(shown)) == (0, 0)
                assert shown["ws_probe_due_timestamp_seconds", "send"] >= loop.wall() - scraped_at + delay
            while not (begun := [seen for seen in standin.sessions if seen.path == "/ws/new"]):
                await asyncio.sleep(0.5)
            return begun[0].accepted_at - came

    first = virtual_clock.run(main)

    assert begins <= first <= begins + 7.1


def test_a_scrape_read_before_targets_were_added_does_not_start_them():
    """What was being sent when they came does not show their zeros."""

    async def main(loop):
        begun = []
        startup_gate = StartupGate(5.0, begun.append, lambda _: None)
        page = loop.time()
        await asyncio.sleep(1)
        startup_gate.add(["new"])
        startup_gate.record_scrape(page)
        await asyncio.sleep(20)
        waiting = list(begun)
        startup_gate.record_scrape(loop.time())
        await asyncio.sleep(1)
        return waiting, begun

    assert virtual_clock.run(main) == ([], ["new"])


def test_a_target_removed_while_it_waits_does_not_begin_with_its_batch():
    """Nor does one of the same name that came later: it waits for its own scrape."""

    async def main(_):
        begun = []
        startup_gate = StartupGate(5.0, begun.append, lambda _: None)
        startup_gate.add(["a", "b"])
        await asyncio.sleep(1)
        startup_gate.remove("a")
        startup_gate.add(["a"])
        startup_gate.record_scrape(0.5)
        await asyncio.sleep(20)
        first = list(begun)
        await asyncio.sleep(FIRST_SCRAPE_SECONDS)
        await startup_gate.close()
        return first, begun

    assert virtual_clock.run(main) == (["b"], ["b", "a"])


def test_a_target_removed_while_its_batch_begins_does_not_begin():
    """A batch is gone through in slices, between which anything may happen."""

    async def main(_):
        begun = []

        def begin(name):
            begun.append(name)
            startup_gate.remove("b")

        startup_gate = StartupGate(0.0, begin, lambda _: None)
        startup_gate.add(["a", "b", "c"])
        await asyncio.sleep(1)
        return begun

    assert virtual_clock.run(main) == ["a", "c"]


def test_a_target_added_again_while_it_waits_waits_again():
    """The reload that took it away ended its first waiting."""

    async def main(loop):
        async with running(loop, {"name": "old"}, delay=20.0) as (exporter, standin):
            await exporter.reload(own(standin, "old"), own(standin, "new", interval="7s", timeout="4s"))
            await asyncio.sleep(15)
            await exporter.reload(own(standin, "old"))
            await exporter.reload(own(standin, "old"), own(standin, "new", interval="7s", timeout="4s"))
            again = loop.time()
            await exporter.samples()
            while not (begun := [seen for seen in standin.sessions if seen.path == "/ws/new"]):
                await asyncio.sleep(0.5)
            return begun[0].accepted_at - again

    assert 20 <= virtual_clock.run(main) <= 27.1


def test_a_stop_ends_the_waiting_too():
    """No task stays behind, no session begins."""

    async def main(loop):
        before = asyncio.all_tasks()
        async with running(loop, {"name": "old"}, delay=30.0) as (exporter, standin):
            await exporter.reload(own(standin, "old"), own(standin, "new"))
        assert asyncio.all_tasks() <= before
        return standin.finished

    assert virtual_clock.run(main) == 0


# Changing -------------------------------------------------------------------------------------------------------------


def test_a_changed_target_keeps_its_counts_and_takes_what_is_new():
    """Interval and timeout are those of the new config, and cycles fall due by it; counters go on."""

    async def main(loop):
        async with running(loop) as (exporter, standin):
            await asyncio.sleep(70)
            before = (await exporter.samples())["staging"]
            answer = await exporter.reload(own(standin, interval="10s", timeout="4s"))
            changed = loop.wall()
            at_once = (await exporter.samples())["staging"]
            await asyncio.sleep(100)
            return before, answer, at_once, (await exporter.samples())["staging"], changed

    before, answer, at_once, after, changed = virtual_clock.run(main)

    assert answer == (200, "reloaded: 1 changed (staging)\n")
    assert counters(at_once) == counters(before)
    assert at_once["ws_probe_interval_seconds", "send"] == 10
    assert at_once["ws_probe_timeout_seconds",] == 4
    more = len(dues("staging", 10.0, changed, changed + 100))
    assert ended(after) == ended(before) + more
    assert at_once["ws_probe_due_timestamp_seconds", "send"] == dues("staging", 10.0, changed, changed + 99)[0]


def test_series_of_identities_that_are_gone_leave():
    """Those of the others count on; the new ones begin at 0, and what they may hold is known at once."""
    limits = {"slots_per_identity": 20, "slot_release": "100s"}

    async def main(loop):
        before = {"one": "staging-user-1", "two": "staging-user-2"}
        async with running(loop, {"identities": before, "limits": limits}) as (exporter, standin):
            await asyncio.sleep(90)
            counted = (await exporter.samples())["staging"]
            now = {"three": "staging-user-3", "two": "staging-user-2"}
            await exporter.reload(own(standin, identities=now, limits=limits))
            at_once = (await exporter.samples())["staging"]
            await asyncio.sleep(90)
            return counted, at_once, (await exporter.samples())["staging"]

    before, at_once, after = virtual_clock.run(main)

    attempts = "ws_probe_identity_attempts_total"
    assert {key[1] for key in before if key[0] == attempts} == {"one", "two"}
    assert not [key for key in (*at_once, *after) if "one" in key]
    assert at_once[attempts, "two"] == before[attempts, "two"] >= 2
    assert (at_once[attempts, "three"], at_once["ws_factory_slots_budget", "three"]) == (0, 19)
    assert after[attempts, "three"] >= 2
    assert after[attempts, "two"] > before[attempts, "two"]


def test_a_changed_url_clears_what_was_learned_from_the_backend():
    """Until the other one has answered nothing is known of it; the counts are the target's and stay."""

    async def main(loop):
        async with running(loop, {"probes": {"send": {"every": 1}}}) as (exporter, standin):
            standin.set_fault("/ws/staging", "slot_limit:limit=5")
            await asyncio.sleep(30)
            standin.clear()
            await asyncio.sleep(330)
            before = (await exporter.samples())["staging"]
            await exporter.reload(own(standin, path="/ws/other"))
            at_once = (await exporter.samples())["staging"]
            await asyncio.sleep(30)
            return before, at_once, (await exporter.samples())["staging"], {seen.path for seen in standin.sessions}

    before, at_once, after, paths = virtual_clock.run(main)

    learned = {"ws_factory_valid", "ws_factory_slot_limit", "ws_factory_clock_skew_seconds"}
    assert learned <= {key[0] for key in before}
    assert learned.isdisjoint(key[0] for key in at_once)
    assert after["ws_factory_valid",] == 1
    assert counters(at_once) == counters(before)
    assert paths == {"/ws/staging", "/ws/other"}


def test_a_budget_that_is_lifted_leaves_the_page():
    """Unlimited slots have no figure; the last one of before would be a lie."""

    async def main(loop):
        limited = {"limits": {"slots_per_identity": 20, "slot_release": "100s"}}
        async with running(loop, limited) as (exporter, standin):
            await asyncio.sleep(1)
            before = (await exporter.samples())["staging"]
            await exporter.reload(own(standin))
            return before, (await exporter.samples())["staging"]

    before, after = virtual_clock.run(main)

    assert before["ws_factory_slots_budget", "staging-0"] == 19
    assert "ws_factory_slots_budget" not in {key[0] for key in after}


def test_a_target_in_a_session_changes_when_that_is_over():
    """Until then its page is the old one; what the session found is counted with the old identities."""

    async def main(loop):
        async with running(loop) as (exporter, standin):
            standin.set_fault("*", "slow_reply:delay=3")
            await exporter.in_session()
            answer = await exporter.reload(own(standin, identities={"new": "staging-user-9"}, interval="60s"))
            during = (await exporter.samples())["staging"]
            await asyncio.sleep(4)
            return (
                answer,
                during,
                (await exporter.samples())["staging"],
                exporter.daemon._services.metrics.unexpected_series(),
            )

    answer, during, after, unexpected_series = virtual_clock.run(main)

    assert answer == (200, "reloaded: 1 changed (staging)\n")
    assert ("ws_probe_identity_attempts_total", "staging-0") in during
    assert during["ws_probe_interval_seconds", "send"] == 20
    assert {key[1] for key in after if key[0] == "ws_probe_identity_attempts_total"} == {"new"}
    assert after["ws_probe_interval_seconds", "send"] == 60
    assert after["ws_probe_cycles_total", "send"] == 1
    assert unexpected_series == []


def test_max_sessions_holds_from_the_reload_on():
    """The limit is not one of a target: it is taken at once."""

    async def main(loop):
        async with running(loop) as (exporter, standin):
            await exporter.reload(own(standin), max_sessions=3)
            return exporter.daemon._scheduler.max_sessions

    assert virtual_clock.run(main) == 3


# Refusals -------------------------------------------------------------------------------------------------------------


def refusal_gauges(samples, name="staging"):
    """Case → whether it was refused as it must be."""
    return {key[1]: value for key, value in samples[name].items() if key[0] == "ws_probe_refusal_success"}


def test_a_reload_of_refusals_keeps_the_cases_that_stay():
    """A case that leaves takes its series along, one that comes is asked from then on, the others go on."""

    async def main(loop):
        first, second = ({"every": "60s", "cases": cases} for cases in (["no_token", "malformed"], ["malformed"]))
        async with running(loop, {"refusals": first}) as (exporter, standin):
            await asyncio.sleep(150)
            both = await exporter.samples()
            answer = await exporter.reload(own(standin, refusals=second))
            at_once = await exporter.samples()
            await asyncio.sleep(125)
            one = await exporter.samples()
            await exporter.reload(own(standin, refusals=first))
            await asyncio.sleep(125)
            again = await exporter.samples()
            await exporter.reload(own(standin))
            return answer, both, at_once, one, again, await exporter.samples()

    answer, both, at_once, one, again, none = virtual_clock.run(main)

    runs = ("ws_probe_refusal_attempts_total", "malformed", "refused")
    assert answer[0] == 200
    assert refusal_gauges(both) == refusal_gauges(again) == {"no_token": 1, "malformed": 1}
    assert refusal_gauges(at_once) == refusal_gauges(one) == {"malformed": 1}
    assert at_once["staging"][runs] == both["staging"][runs]
    assert one["staging"][runs] >= both["staging"][runs] + 2
    assert not [key for key in none["staging"] if key[0].startswith("ws_probe_refusal")]


def test_what_was_decided_about_a_rare_case_outlives_a_restart(tmp_path):
    """By the state file: a forged token that was let in is known at once, and not only when its case runs again."""
    refusals = {"rare_every": "10m", "cases": ["other_key"]}
    bypassed = ("ws_probe_refusal_bypassed", "other_key")

    async def main(loop):
        shown = []
        async with StandIn.start(tls_port=None, clock=loop.time, wall=loop.wall, timings=Timings.quick()) as standin:
            standin.set_fault("*", "forged_token_accepted")
            for url in ("/ws/staging", "/ws/staging", "/ws/another"):
                target = own(standin, refusals=refusals) | {"url": standin.url(url)}
                state = LedgerFile.open(tmp_path / "state", wall=loop.wall)
                exporter = Exporter(loop, Source(target), state=state)
                await exporter.daemon.start()
                samples = (await exporter.samples())["staging"]
                shown.append(samples.get(bypassed))
                if len(shown) == 1:
                    while bypassed not in samples:
                        await asyncio.sleep(60)
                        samples = (await exporter.samples())["staging"]
                await exporter.daemon.stop()
        return shown

    assert virtual_clock.run(main) == [None, 1, None]
