"""What a reload answers, logs and leaves alone when the config is no good; who asks when; on a clock that jumps."""

import asyncio
import logging
import threading
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import harness, virtual_clock
from support.reloads import OK, OK_AT, Exporter, Source, ended, own, running
from support.schedules import Nowhere, dues

from exporter.daemon import HOUSEKEEPING_SECONDS, reloading
from exporter.daemon.reloading import RELOAD_TOO_SLOW
from exporter.host import Clock
from exporter.loading import LoadedConfig
from exporter.metrics import Metrics, target_series

MISTAKES = ("exporter.yml: targets[0] (a).interval: must be a duration", "exporter.yml: targets[1] (b).url: is missing")
OLD_CONFIG_STAYS = "the config is not reloaded, the one before stays in force"


# No good --------------------------------------------------------------------------------------------------------------


def test_a_config_that_cannot_be_used_changes_nothing_and_every_mistake_is_said(caplog):
    """500 with every sentence, each in the log too; the gauge says 0 and the last success stays; then fixed it is 1."""
    caplog.set_level(logging.INFO)

    async def main(loop):
        async with running(loop) as (exporter, standin):
            await asyncio.sleep(30)
            first = (await exporter.samples())[None]
            exporter.source.mistakes = MISTAKES
            refused = await exporter.reload(own(standin, "other"))
            await asyncio.sleep(60)
            during = await exporter.samples()
            exporter.source.mistakes = ()
            fixed = await exporter.reload(own(standin, "other"))
            return first, refused, during, fixed, await exporter.samples(), loop.wall()

    first, refused, during, fixed, after, now = virtual_clock.run(main)

    assert refused == (500, "".join(f"{line}\n" for line in (OLD_CONFIG_STAYS, *MISTAKES)))
    assert (first[OK,], during[None][OK,], after[None][OK,]) == (1, 0, 1)
    assert first[OK_AT,] == during[None][OK_AT,] < after[None][OK_AT,] == pytest.approx(now, abs=1)
    assert during["staging"]["ws_probe_cycles_total", "send"] >= 4, "the old one goes on"
    assert fixed == (200, "reloaded: 1 added (other), 1 removed (staging)\n")
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert errors == [OLD_CONFIG_STAYS, *MISTAKES]


def test_a_defect_during_a_reload_does_not_end_reloads(caplog):
    """It is said and logged with its traceback, the gauge says 0, and the next reload works."""

    async def main(loop):
        broken = [True]

        def load():
            if broken.pop() if broken else False:
                raise ZeroDivisionError
            return LoadedConfig(None, source.plan())

        source = Source(own(Nowhere))
        exporter = Exporter(loop, source, load=load, delay=100.0)
        await exporter.daemon.start()
        first = await exporter.reload(own(Nowhere))
        gauge = (await exporter.samples())[None][OK,]
        second = await exporter.reload(own(Nowhere))
        await exporter.daemon.stop()
        return first, gauge, second

    first, gauge, second = virtual_clock.run(main)

    assert first[0] == 500
    assert "please report this" in first[1]
    assert (gauge, second[0]) == (0, 200)
    (record,) = [record for record in caplog.records if record.exc_info]
    assert record.exc_info[0] is ZeroDivisionError


def test_a_plan_that_was_applied_in_part_is_completed_by_the_next_reload(monkeypatch):
    """What was gone over before the break stays so; the rest follows."""

    async def main(loop):
        async with running(loop, {"name": "a"}, {"name": "b"}) as (exporter, standin):
            await asyncio.sleep(1)
            monkeypatch.setattr(exporter.daemon._dispatcher, "update_identities", lambda *_: 1 / 0)
            broken = await exporter.reload(own(standin, "b"), own(standin, "c"))
            monkeypatch.undo()
            taken_up = await exporter.reload(own(standin, "b"), own(standin, "c"))
            await asyncio.sleep(30)
            return broken, taken_up, await exporter.samples()

    broken, taken_up, after = virtual_clock.run(main)

    assert (broken[0], taken_up[0]) == (500, 200)
    assert set(after) == {None, "b", "c"}
    assert after["c"]["ws_probe_cycles_total", "send"] >= 1


# Who may ask ----------------------------------------------------------------------------------------------------------


def test_clients_may_ask_only_if_that_is_switched_on():
    """403 says what to do, and nothing is read; a SIGHUP works all the same."""

    async def main(loop):
        async with running(loop, lifecycle=False) as (exporter, standin):
            refused = await exporter.reload(own(standin, "other"))
            loads = exporter.source.loads
            exporter.daemon.reload()
            while "other" not in await exporter.samples():
                await asyncio.sleep(0.1)
            return refused, loads

    refused, loads = virtual_clock.run(main)

    assert refused == (403, "reload by HTTP is switched off: start with --web.enable-lifecycle, or send a SIGHUP\n")
    assert loads == 0


def test_post_and_put_reload_and_nothing_else_does():
    """A link, a crawler or a probe reads nothing anew."""

    async def main(loop):
        async with running(loop) as (exporter, _):
            return [
                ((await exporter.request("/-/reload", method))[0], exporter.source.loads)
                for method in ("GET", "HEAD", "DELETE", "POST", "PUT")
            ]

    assert virtual_clock.run(main) == [(405, 0), (405, 0), (405, 0), (200, 1), (200, 2)]


def test_warnings_are_answered_and_logged(caplog):
    """What is no mistake but should be known."""

    async def main(loop):
        async with running(loop) as (exporter, standin):
            exporter.source.warnings = ("state_file: none stays in use",)
            return await exporter.reload(own(standin))

    answer = virtual_clock.run(main)

    assert answer == (200, "reloaded: no target has changed\nwarning: state_file: none stays in use\n")
    assert "state_file: none stays in use" in caplog.messages


def test_one_line_reports_a_reload_with_some_of_the_names(caplog):
    """Names are bounded: a line of a thousand is read by nobody."""
    caplog.set_level(logging.INFO)

    async def main(loop):
        async with running(loop, delay=100.0) as (exporter, standin):
            return await exporter.reload(*[own(standin, f"t{number:02d}") for number in range(12)])

    answer = virtual_clock.run(main)

    names = ", ".join(f"t{number:02d}" for number in range(10))
    assert answer == (200, f"reloaded: 12 added ({names} and 2 more), 1 removed (staging)\n")
    (record,) = [record for record in caplog.records if record.getMessage().startswith("reloaded")]
    assert record.getMessage() == answer[1].strip()
    assert record.keys == {"targets": 12}


# When -----------------------------------------------------------------------------------------------------------------


class Slow:
    """A file that is read only when it is let: `begun` counts, `go` lets one through."""

    def __init__(self, source):
        self._source = source
        self._go = threading.Semaphore(0)
        self.begun = self.at_once = self.most = 0

    def go(self):
        self._go.release()

    def __call__(self):
        self.begun += 1
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        assert self._go.acquire(timeout=30)
        self.at_once -= 1
        return self._source()


async def slow(loop, *mappings):
    """A started exporter whose file is slow."""
    source = Source(*mappings)
    load = Slow(source)
    exporter = Exporter(loop, source, load=load, delay=100.0)
    await exporter.daemon.start()
    return exporter, load


async def spin(condition):
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0)
        await asyncio.to_thread(lambda: None)
    raise AssertionError("it did not come true")


def test_requests_during_a_reload_share_the_next_one():
    """Three more askers, one more reload: it reads the file after they asked, and all get its answer."""

    async def main(loop):
        exporter, load = await slow(loop, own(Nowhere))
        first = asyncio.ensure_future(exporter.daemon._http_api.reload())
        await spin(lambda: load.begun == 1)
        others = [asyncio.ensure_future(exporter.daemon._http_api.reload()) for _ in range(2)]
        exporter.daemon.reload()
        await asyncio.sleep(0)
        exporter.source.targets = [own(Nowhere, "other")]
        begun = load.begun, exporter.daemon._reloader.is_reading
        load.go()
        answers = [await first]
        await spin(lambda: load.begun == 2)
        exporter.source.targets = [own(Nowhere, "another")]
        load.go()
        answers += await asyncio.gather(*others)
        await exporter.daemon.stop()
        return begun, exporter.daemon._reloader.is_reading, load, [answer.text for answer in answers]

    begun, reads, load, answers = virtual_clock.run(main)

    assert begun == (1, True)
    assert not reads
    assert (load.begun, load.most) == (2, 1)
    assert answers == [
        "reloaded: 1 added (other), 1 removed (staging)\n",
        *["reloaded: 1 added (another), 1 removed (other)\n"] * 2,
    ]


def test_a_cancelled_reload_request_does_not_cancel_it_for_others():
    """It runs to its end."""

    async def main(loop):
        exporter, load = await slow(loop, own(Nowhere))
        asker = asyncio.ensure_future(exporter.daemon._http_api.reload())
        await spin(lambda: load.begun == 1)
        other = asyncio.ensure_future(exporter.daemon._reloader.request_reload())
        asker.cancel()
        exporter.source.targets = [own(Nowhere, "other")]
        for _ in range(2):
            load.go()
        await other
        await exporter.daemon.stop()
        return list(exporter.daemon._services.jobs), load.begun

    assert virtual_clock.run(main) == (["other"], 2)


def test_a_reload_before_the_end_of_the_start_waits_for_it():
    """One reload, after the first plan runs."""

    async def main(loop):
        source = Source(own(Nowhere))
        exporter = Exporter(loop, source, delay=100.0)
        source.targets = [own(Nowhere, "other")]
        exporter.daemon.reload()
        exporter.daemon.reload()
        await asyncio.sleep(1)
        early = source.loads
        await exporter.daemon.start()
        while "other" not in exporter.daemon._services.jobs:
            await asyncio.sleep(0.1)
        await exporter.daemon.stop()
        return early, source.loads

    assert virtual_clock.run(main) == (0, 1)


async def test_a_disk_that_does_not_answer_blocks_neither_the_next_reload_nor_the_stop(monkeypatch):
    """On the machine's clock, since the virtual one stands still while a thread reads."""
    monkeypatch.setattr(reloading, "RELOAD_TIMEOUT_SECONDS", 0.2)
    source, back = Source(own(Nowhere)), threading.Event()

    def stuck():
        back.wait()
        return source()

    loads = [source, stuck]

    def load():
        return loads.pop()()

    exporter = Exporter(SimpleNamespace(clock=Clock()), source, load=load, delay=100.0)
    await exporter.daemon.start()
    first = await exporter.daemon._http_api.reload()
    source.targets = [own(Nowhere, "other")]
    second = await exporter.daemon._http_api.reload()
    await exporter.daemon.stop()
    back.set()

    assert (first.status, first.text) == (500, f"{OLD_CONFIG_STAYS}\n{RELOAD_TOO_SLOW}\n")
    assert (second.status, second.text) == (200, "reloaded: 1 added (other), 1 removed (staging)\n")


def test_a_stop_cancels_a_reload():
    """Whoever waits for it is told; nothing stays behind but the thread that reads, until it has read."""

    async def main(loop):
        tasks = asyncio.all_tasks()
        exporter, load = await slow(loop, own(Nowhere))
        running = asyncio.ensure_future(exporter.daemon._http_api.reload())
        await spin(lambda: load.begun == 1)
        await exporter.daemon.stop()
        answer = await running
        exporter.daemon.reload()
        after = await exporter.daemon._http_api.reload()
        load.go()
        await asyncio.sleep(0)
        return answer, after, asyncio.all_tasks() <= tasks, list(exporter.daemon._services.jobs)

    answer, after, clean, jobs = virtual_clock.run(main)

    assert (answer.status, answer.text) == (500, "the exporter is stopping\n")
    assert (after.status, after.text) == (503, "the exporter is stopping\n")
    assert clean
    assert jobs == ["staging"]


# Nothing is kept of what is gone --------------------------------------------------------------------------------------


def test_nothing_is_left_of_removed_targets(tmp_path):
    """Memories, keys, results, series: a config that changes every day must not fill us."""

    async def main(loop):
        async with running(loop) as (exporter, standin):
            sizes = []
            for day in range(6):
                key = tmp_path / f"key-{day}"
                key.write_bytes(standin.key)
                auth = {"jwt": {"key_file": str(key), "claims": harness.CLAIMS}}
                await exporter.reload(own(standin, f"day-{day}", auth=auth))
                await asyncio.sleep(60 + HOUSEKEEPING_SECONDS)
                sizes.append(remembered(exporter.daemon))
            return sizes

    sizes = virtual_clock.run(main)

    assert len(set(sizes)) == 1, sizes
    assert sizes[0][:3] == (1, 1, 1)


def remembered(daemon):
    told, keys = daemon._dispatcher, daemon._key_ring
    return (
        len(daemon._prober._targets),
        len(daemon._scheduler._targets),
        len(daemon._services.history.targets()),
        len(told._open),
        len(keys._files) + len(keys._parsed) + len(keys._checked),
        len(daemon._services.metrics._targets),
        len(daemon._startup_gate._waiting),
        len(daemon._scheduler._removed_tasks),
    )


# Everything at once ---------------------------------------------------------------------------------------------------

NAMES = ("a", "b", "c")
SHAPES = st.fixed_dictionaries(
    {
        "interval": st.sampled_from(("8s", "13s", "20s")),
        "timeout": st.sampled_from(("3s", "4s")),
        "users": st.sampled_from(((0, 1, 2), (1, 2), (2, 0))),
        "path": st.sampled_from(("/ws/here", "/ws/there")),
        "every": st.integers(1, 2),
    }
)
CONFIGS = st.lists(
    st.tuples(st.floats(0.5, 50.0), st.dictionaries(st.sampled_from(NAMES), SHAPES, min_size=1)), min_size=2, max_size=6
)


def shaped(standin, name, shape):
    users = {f"{name}-{n}": f"staging-{name}-user-{n}" for n in shape["users"]}
    probes = {"auth": {"every": 1}, "send": {"every": shape["every"]}}
    fields = {key: shape[key] for key in ("interval", "timeout", "path")}
    return own(standin, name, identities=users, probes=probes, confirm={"runs": 1, "after": "1s"}, **fields)


class Reckoned:
    """How many cycles of each target must be accounted for, by arithmetic; follows what the scheduler goes over to."""

    def __init__(self, exporter):
        self._loop, self._exporter = exporter.loop, exporter
        self._told = exporter.daemon._dispatcher
        self._due, self._since = {}, {}
        self._hear("add_target", self._begin)
        self._hear("job_changed", self._over)
        self._hear("remove_target", self._end)
        for job in exporter.daemon._services.jobs.values():
            self._begin(job)

    def _hear(self, name, also):
        door = getattr(self._told, name)

        def heard(what):
            also(what)
            door(what)

        setattr(self._told, name, heard)

    def _begin(self, job):
        self._since[job.name], self._due[job.name] = (self._loop.wall(), job.interval), 0

    def _over(self, job):
        self._due[job.name] = self.due(job.name)
        self._since[job.name] = self._loop.wall(), job.interval

    def _end(self, name):
        del self._since[name], self._due[name]

    def due(self, name):
        since, interval = self._since[name]
        return self._due[name] + len(dues(name, interval, since, self._loop.wall()))

    def running(self, name):
        """Of those, how many are not over yet."""
        lane = self._exporter.daemon._scheduler._targets[name]
        return len(lane.queued_cycles) if lane.confirmation is not None else int(lane.task is not None)


def series_of(mapping):
    """What a fresh exporter would show of the target, by name and labels."""
    (job,) = harness.planned(mapping).jobs
    fresh = Metrics("1")
    fresh.add_target(target_series(job.target, job.profile))
    return {(key[0].name, *key[1:]) for key in fresh._targets[job.name].store._keys()}


def series_names(exporter, name):
    """What this one could show of it."""
    return {(key[0].name, *key[1:]) for key in exporter.daemon._services.metrics._targets[name].store._keys()}


@settings(max_examples=12, deadline=None)
@given(configs=CONFIGS, fault=st.sampled_from(("none", "internal_error", "slow_reply:delay=2")))
def test_whatever_configs_follow_each_other_series_and_accounts_are_right(configs, fault):
    """After each: the series are those of a fresh exporter, every due cycle is told, counters never fall."""

    async def main(loop):
        async with running(loop) as (exporter, standin):
            reckoned = Reckoned(exporter)
            await asyncio.sleep(0.1)
            found = []
            for after, config in configs:
                standin.set_fault("*", fault)
                before = await exporter.samples()
                targets = {name: shaped(standin, name, shape) for name, shape in config.items()}
                status, _ = await exporter.reload(*targets.values())
                await asyncio.sleep(12.0 + after)
                shown = await exporter.samples()
                found.append(
                    {
                        "status": status,
                        "names": (set(shown) - {None}, set(targets)),
                        "series": [series_names(exporter, name) == series_of(targets[name]) for name in targets],
                        "due": [ended(shown[name]) + reckoned.running(name) == reckoned.due(name) for name in targets],
                        "fell": [
                            (name, key)
                            for name in before.keys() & shown.keys() - {None}
                            for key, value in before[name].items()
                            if key[0].endswith("_total") and key in shown[name] and shown[name][key] < value
                        ],
                    }
                )
            return found, exporter.daemon._services.metrics.unexpected_series()

    found, unexpected_series = virtual_clock.run(main)

    for one in found:
        assert one["status"] == 200
        assert one["names"][0] == one["names"][1]
        assert all(one["series"])
        assert all(one["due"])
        assert one["fell"] == []
    assert unexpected_series == []
