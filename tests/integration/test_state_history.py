"""The history's file: over restarts, crashes, damage, full disks and a second exporter, and never in the way."""

import asyncio
import os
import resource
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from support import report_cases as cases
from support.paths import TESTS
from support.results import NOW, connected, failed, impaired, passed

from exporter.history import CycleOutcome, History, StateKind
from exporter.result import Trigger
from exporter.state import database as sql
from exporter.state import history_file
from exporter.state.history_file import HistoryFile

LONG = cases.EXCHANGE[:1] * 40


@pytest.fixture
def path(tmp_path):
    return tmp_path / "history"


class Kept:
    """A history and its file, as a daemon has them; `said` is what the log would be told."""

    def __init__(self, path, **options):
        self.history = History()
        self.said = []
        self.file = HistoryFile(path, self.history, wall=lambda: NOW, report=self.said.append, **options)

    def add(self, *results):
        for result in results:
            self.history.add(result)
            if result.trigger is Trigger.SCHEDULE and result.impairment is None:
                self.history.add_cycle(result)
            self.file.add(result)

    async def save(self):
        """What `run` does every second, with no wait after trouble."""
        self.file._retry_at = 0.0
        await self.file._save()

    def known(self, name="staging"):
        """All that can be asked of a target."""
        state = self.history.state(name)
        return {
            "state": (state.kind, state.since, state.probe),
            "results": list(self.history.results(name)),
            "strip": list(self.history.cycles(name, 99)),
            "closes": self.history.closes(name, 0),
            "reasons": self.history.reasons(name, 0),
        }

    def moments(self, name="staging"):
        return [round(result.started_at - NOW) for result in self.history.results(name)]


@asynccontextmanager
async def opened(path, *targets, **options):
    """A history that has loaded its file; closed at the end."""
    kept = Kept(path, **options)
    await kept.file.load(targets or ("staging",))
    try:
        yield kept
    finally:
        await kept.file.close()


async def written(path, *results, targets=("staging",), **options):
    """A file that holds these results; the history that wrote it."""
    async with opened(path, *targets, **options) as kept:
        kept.add(*results)
    return kept


DAY = [
    passed(at=NOW),
    failed(at=NOW + 20),
    failed(at=NOW + 26, trigger=Trigger.CONFIRM),
    connected(at=NOW + 40),
    impaired(at=NOW + 60),
    failed(at=NOW + 80),
    passed(at=NOW + 100, transcript=LONG, frames_left_out=7),
    failed(at=NOW + 120),
]


# Over restarts ----------------------------------------------------------------------------------------------------


async def test_a_restart_forgets_nothing(path):
    """Results to the figure, state and since when, cycles, counts: all is there again, for each target its own."""
    async with opened(path, "staging", "canary") as before:
        before.add(*DAY, *(passed("canary", NOW + n) for n in range(5)))
    async with opened(path, "staging", "canary", "new") as after:
        assert {name: after.known(name) for name in ("staging", "canary")} == {
            name: before.known(name) for name in ("staging", "canary")
        }
        assert after.history.state("new").kind is StateKind.UNKNOWN
    assert before.said == after.said == []


async def test_what_came_after_the_last_snapshot_is_made_up_for(path):
    """Killed between two snapshots: the results on file are taken in as they were the first time."""
    before = Kept(path)
    await before.file.load(("staging",))
    before.add(*DAY[:4])
    before.file._writes = history_file.SNAPSHOT_INTERVAL_WRITES - 1
    await before.save()
    before.add(*DAY[4:])
    await before.save()
    before.file._database.close()  # as a kill would, but for the lock

    async with opened(path) as after:
        assert after.known() == before.known()


async def test_failures_outlive_passes_on_file_too(path):
    """A thousand passes later the failures before them are still on file, and so after a restart."""
    await written(path, *(failed(at=NOW + n) for n in range(250)), *(passed(at=NOW + 250 + n) for n in range(1000)))

    assert rows(path) == 300, "as many of each kind as may be kept, no more"
    async with opened(path) as after:
        kept = after.moments()
    assert kept == [*range(1249, 1149, -1), *range(249, 149, -1)]


async def test_the_files_are_for_us_alone(path, tmp_path):
    """Mode 0600 whatever the umask, the log too; once closed there is the file and nothing else."""
    before = os.umask(0)
    try:
        async with opened(path) as kept:
            kept.add(passed())
            await kept.save()
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    finally:
        os.umask(before)

    assert modes == {"history": 0o600, "history-wal": 0o600}
    assert [file.name for file in tmp_path.iterdir()] == ["history"]


async def test_a_target_that_no_config_names_is_kept_for_a_week(path):
    """A config without it may be a mistake; after a week its rows go, and those of the others stay."""
    week = sql.ABANDONED_SECONDS
    await written(path, passed("old", NOW - week - 1), passed("young", NOW - week + 60), targets=("old", "young"))
    await written(path, passed("staging", NOW - week - 1))

    async with opened(path, "old", "young", "staging") as after:
        assert {name: len(after.moments(name)) for name in ("old", "young", "staging")} == {
            "old": 0,
            "young": 1,
            "staging": 1,
        }


# Bounds -----------------------------------------------------------------------------------------------------------


async def test_the_file_is_bounded(path):
    """However long it runs: bytes on disk, log included, are a small multiple of what is kept."""
    most, largest = 100_000, 0
    async with opened(path, "a", "b", "c", max_bytes=most) as kept:
        for number in range(60):
            kept.add(*(passed("abc"[n % 3], NOW + number * 50 + n, transcript=LONG) for n in range(50)))
            await kept.save()
            largest = max(largest, sum(file.stat().st_size for file in path.parent.iterdir()))
    unswept = most / sql.CLEANUPS_PER_CAPACITY + 50 * 3_500
    log = 3 * sql.MAX_WAL_PAGES * sql.PAGE_BYTES

    assert largest < 1.5 * (most + unswept) + log
    async with opened(path, "a", "b", "c") as after:
        lengths = [len(after.moments(name)) for name in "abc"]
    assert max(lengths) - min(lengths) <= 1


async def test_when_bytes_are_short_each_target_keeps_its_newest_then_failures(path):
    """Of many passes and few failures the failures stay, and of each target the newest result."""
    some = [
        *(failed("a", NOW + n) for n in range(5)),
        *(passed("a", NOW + 10 + n) for n in range(50)),
        *(passed("b", NOW + n) for n in range(50)),
    ]
    await written(path, *some, targets=("a", "b"), max_bytes=7_000)

    async with opened(path, "a", "b") as after:
        assert after.moments("a")[-5:] == [4, 3, 2, 1, 0]
        assert (after.moments("a")[0], after.moments("b")[0]) == (59, 49)
        assert len(after.moments("a")) + len(after.moments("b")) < 12
        assert after.moments("b")[0] == 49


async def test_a_file_is_read_in_slices(path):
    """While two thousand results are read the loop has its turns."""
    names = [f"t{number}" for number in range(20)]
    await written(path, *(passed(names[n % 20], NOW + n) for n in range(2000)), targets=names)
    turns = 0

    async def turn():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    ticker = asyncio.create_task(turn())
    async with opened(path, *names) as after:
        ticker.cancel()
        assert sum(len(after.moments(name)) for name in names) == 2000
    assert turns > 2000 / history_file.RESULTS_PER_SLICE


async def test_it_is_written_every_second_until_cancelled(path, monkeypatch):
    """The chore of the daemon: what was added is on file without any close."""
    monkeypatch.setattr(history_file, "WRITE_INTERVAL_SECONDS", 0.01)
    async with opened(path) as kept:
        chore = asyncio.create_task(kept.file.run())
        kept.add(passed())
        async with asyncio.timeout(60):
            while rows(path) != 1:
                await asyncio.sleep(0)
        chore.cancel()
        with pytest.raises(asyncio.CancelledError):
            await chore


def rows(path):
    """How many results another process finds in the file, were it not locked."""
    copy = path.with_name("copy")
    for ending in ("", "-wal"):
        there = path.with_name(path.name + ending)
        copy.with_name(copy.name + ending).write_bytes(there.read_bytes() if there.exists() else b"")
    try:
        db = sqlite3.connect(copy)
        try:
            return db.execute("SELECT count(*) FROM results").fetchone()[0]
        finally:
            db.close()
    except sqlite3.Error:
        return None
    finally:
        for file in path.parent.glob("copy*"):
            file.unlink()


# Trouble ----------------------------------------------------------------------------------------------------------

UNTIL = "; until then a restart forgets what happens now"


@contextmanager
def other_app(path):
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE results (x)")
    db.commit()
    db.close()
    yield


@contextmanager
def later_version(path):
    asyncio.run(written(path, passed()))
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA user_version = {sql.SCHEMA_VERSION_NUMBER + 1}")
    db.commit()
    db.close()
    yield


@contextmanager
def a_config(path):
    path.write_text("targets:\n- name: staging\n")
    yield


@contextmanager
def beheaded(path):
    asyncio.run(written(path, passed()))
    path.write_bytes(b"?" * 16 + path.read_bytes()[16:])
    yield


FOREIGN = "is no history file of this exporter, or a damaged one: move it away, or name another"


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (a_config, FOREIGN),
        (other_app, FOREIGN),
        (beheaded, FOREIGN),
        (later_version, "was written by a later version: name another with --history.file"),
    ],
)
def test_a_file_that_is_not_ours_is_left_alone(path, made, words):
    """A wrong path costs nobody a file: one sentence, and the history is kept in memory."""

    async def use():
        async with opened(path) as kept:
            for number in range(3):
                kept.add(passed(at=NOW + number))
                await kept.save()
        return kept

    with made(path):
        before = path.read_bytes()
        kept = asyncio.run(use())

        assert kept.said == [f"history file {path} {words}{UNTIL}"]
        assert path.read_bytes() == before
    assert kept.moments() == [2, 1, 0]


async def test_a_folder_a_pipe_or_no_folder_is_refused_in_words(tmp_path):
    """None of them hangs or breaks us."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    sentences = {
        tmp_path / "folder": "cannot be used: Is a directory",
        tmp_path / "pipe": "is not a regular file: name another with --history.file",
        Path("/dev/full"): "is not a regular file: name another with --history.file",
        tmp_path / "no" / "such": "cannot be used: its folder does not exist: create it, or correct the path",
    }
    for place, words in sentences.items():
        async with opened(place) as kept:
            kept.add(passed())
            await kept.save()
        assert kept.said == [f"history file {place} {words}{UNTIL}"]
        assert kept.moments() == [0]


async def test_a_disk_that_does_not_answer_keeps_no_session_waiting(path, monkeypatch):
    """The first session waits so long and no longer; what the disk then takes is written."""
    await written(path, passed())
    monkeypatch.setattr(history_file, "DISK_TIMEOUT_SECONDS", 0.05)
    stuck, read = threading.Event(), sql.HistoryDatabase.read

    def answers_late(self, *about):
        stuck.wait()
        return read(self, *about)

    monkeypatch.setattr(sql.HistoryDatabase, "read", answers_late)
    kept = Kept(path)
    await kept.file.load(("staging",))
    assert kept.said == [f"history file {path} was not read within 0.05 s: is its disk stuck?{UNTIL}"]
    monkeypatch.setattr(history_file, "DISK_TIMEOUT_SECONDS", 30)
    kept.add(passed(at=NOW + 20))
    stuck.set()
    await kept.file.close()
    assert kept.said[1:] == [f"history file {path} is in use again"]
    async with opened(path) as after:
        assert after.moments() == [20, 0]


async def test_an_empty_file_is_a_new_one(path):
    """What `touch`, or a crash of the machine, may leave."""
    path.write_bytes(b"")

    await written(path, passed())

    async with opened(path) as after:
        assert after.moments() == [0]


@contextmanager
def disk_full(size):
    """No file of this process may grow beyond so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_full_disk_costs_nothing_and_is_made_up_for(path):
    """It is said once, probing goes on, and when there is room again all of it is written."""
    async with opened(path) as kept:
        kept.add(passed(at=NOW))
        await kept.save()
        with disk_full(4096):
            for number in range(1, 6):
                kept.add(failed(at=NOW + number, transcript=LONG))
                await kept.save()
        assert len(kept.said) == 1
        assert kept.said[0].startswith(f"history file {path} cannot be written")
        kept.add(passed(at=NOW + 6))
        await kept.save()
        assert kept.said[1:] == [f"history file {path} is in use again"]
        assert rows(path) == 7
    async with opened(path) as after:
        assert after.known() == kept.known()


async def test_while_it_cannot_be_used_it_is_not_tried_at_every_write(path, monkeypatch):
    """After trouble a while passes before the next try; what waits for it is bounded, the earliest go."""
    monkeypatch.setattr(history_file, "MAX_UNWRITTEN_RESULTS", 5)
    path.mkdir()
    async with opened(path) as kept:
        again = kept.file._retry_at
        for number in range(20):
            kept.add(passed(at=NOW + number))
            await kept.file._save()
        assert kept.file._retry_at == again
        path.rmdir()
        await kept.save()
        assert rows(path) == 20, "a new file holds all that is known"
        kept.file._database.close()
        path.rename(path.with_name("away"))
        path.mkdir()
        for number in range(20, 40):
            kept.add(passed(at=NOW + number))
            await kept.save()
        assert len(kept.file._unwritten) == 5
        path.rmdir()
        path.with_name("away").rename(path)
    async with opened(path) as after:
        assert after.moments() == [*range(39, 34, -1), *range(19, -1, -1)]


async def test_a_file_that_is_removed_is_written_anew(path):
    """Under a running exporter: said, and the new file holds all that is known."""
    async with opened(path) as kept:
        kept.add(*DAY)
        await kept.save()
        path.unlink()
        kept.add(passed(at=NOW + 140))
        await kept.save()
        assert kept.said == [f"history file {path} was removed while it was in use{UNTIL}"]
        await kept.save()
        assert kept.said[1:] == [f"history file {path} is in use again"]
    async with opened(path) as after:
        assert after.known() == kept.known()


HOLD = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from support.results import NOW, passed
from exporter.history import History
from exporter.state.history_file import HistoryFile

async def main():
    history = History()
    file = HistoryFile(Path(sys.argv[1]), history, wall=lambda: NOW, report=print)
    await file.load(("staging",))
    number = 0
    while True:
        for _ in range(int(sys.argv[3])):
            number += 1
            result = passed(at=NOW + number)
            history.add(result)
            file.add(result)
        await file._save()
        print(number, flush=True)
        if sys.argv[3] == "1":
            sys.stdin.readline()

asyncio.run(main())
"""


@contextmanager
def another(path, at_once):
    """Another process that writes so many results at once to the file, for ever; it says how many it has written."""
    arguments = [sys.executable, "-c", HOLD, str(path), str(TESTS), str(at_once)]
    process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


async def test_a_second_exporter_on_the_file_goes_on_without_it(path):
    """It is told what to do, and takes the file when the first one is gone; the first one's results are still there."""
    with another(path, 1) as first:
        assert await asyncio.to_thread(first.stdout.readline) == "1\n"
        async with opened(path) as second:
            second.add(failed(at=NOW + 500))
            await second.save()
            busy = "is in use by another process: give each exporter a history file of its own"
            assert second.said == [f"history file {path} {busy}{UNTIL}"]
            first.send_signal(signal.SIGKILL)
            await asyncio.to_thread(first.wait)
            await second.save()
            assert second.said[1:] == [f"history file {path} is in use again"]
    async with opened(path) as after:
        assert after.moments() == [500, 1]


@pytest.mark.parametrize("turn", range(4))
async def test_a_kill_in_the_middle_of_a_write_loses_nothing_that_was_written(path, turn):
    """Whenever it strikes: the file is whole, and holds at least what the process had said it wrote."""
    with another(path, 40) as writer:
        for _ in range(3 + turn):
            said = int(await asyncio.to_thread(writer.stdout.readline))
        writer.send_signal(signal.SIGKILL)
        said = max([said, *map(int, (await asyncio.to_thread(writer.communicate))[0].split())])

    async with opened(path) as after:
        kept = after.moments()
    assert after.said == []
    assert kept == list(range(kept[0], kept[0] - len(kept), -1))
    assert kept[0] >= said


# Damage -----------------------------------------------------------------------------------------------------------


async def test_no_write_of_a_damaged_log_is_lost_without_a_word(path):
    """A process was killed, so that its last writes stand in the log alone, and then the log is damaged somewhere."""
    log = path.with_name(path.name + "-wal")
    with another(path, 5) as writer:
        for _ in range(6):
            await asyncio.to_thread(writer.stdout.readline)
        writer.kill()
        await asyncio.to_thread(writer.communicate)
    whole, rest = path.read_bytes(), log.read_bytes()
    async with opened(path) as unharmed:
        truth, said = unharmed.moments(), unharmed.said
    assert said == []

    frame = 24 + sql.PAGE_BYTES
    frames = (len(rest) - 32) // frame
    starts = {0, 16, 24, *(32 + number * frame for number in range(frames))}
    places = sorted(starts | {start + at for start in starts for at in (4, 8, 17, 300, 4000) if start > 24})
    lost = 0
    for at in [
        *places[:8],
        *places[8 :: max(1, len(places) // 25)],
    ]:  # the log's head, and the salts of its first frame
        path.write_bytes(whole)
        log.write_bytes(rest[:at] + bytes([rest[at] ^ 0xFF]) + rest[at + 1 :])
        async with opened(path) as after:
            kept = after.moments()
        if kept != truth:
            lost += 1
            assert max(kept, default=0) <= max(truth)  # an older state holds rows that were dropped since
            said = " ".join(after.said)  # without its log a file whose checkpoint had begun may be damaged itself
            assert f"its log {log.name} is damaged or cut short" in said or "is damaged: it was moved" in said, (
                at,
                said,
            )
    assert lost > 2, "the damage was seen"


async def damaged(path, whole, at, piece):
    """What is read of the file when a piece of it is something else, and what is read after that was mended."""
    path.write_bytes(whole[:at] + piece + whole[at + len(piece) :])
    async with opened(path) as kept:
        first = list(kept.history.results("staging"))
        kept.add(passed(at=NOW + 5000))
        await kept.save()
    async with opened(path) as after:
        second = after.moments()
    return first, second, kept.said


ONE_IN = [5, pytest.param(1, marks=pytest.mark.soak)]
"""Of the places that are damaged: some in `make test`, all in `make soak`."""


@pytest.mark.parametrize("one_in", ONE_IN)
async def test_damage_anywhere_costs_what_it_struck(one_in, path):
    """Over the whole file: nothing false is believed, nothing breaks, what was read is kept, and so is what follows."""
    before = await written(path, *DAY, *(failed(at=NOW + 200 + 20 * n) for n in range(40)))
    whole, truth = path.read_bytes(), before.history.results("staging")
    pages = range(0, len(whole), sql.PAGE_BYTES)
    places = sorted({*range(16, 100, 4), *(page + at for page in pages for at in (0, 1, 3, 5, 8, 40, 700, 2000, 4000))})
    lost = 0

    for number, at in enumerate(places[::one_in]):
        piece = (b"\0" * 4, b"\xff" * 8, bytes(range(32)))[number % 3]
        first, second, said = await damaged(path, whole, at, piece)
        assert all(result in truth for result in first), at
        assert len(said) <= 2, said
        assert all(f"history file {path}" in sentence for sentence in said)
        lost += len(first) < len(truth)
        if not any(UNTIL in sentence for sentence in said):
            assert second[0] == 5000, at
            assert len(second) >= len(first), at
        for file in path.parent.iterdir():
            file.unlink()
    assert lost > 2, "the damage was seen"


def flips(whole):
    """Places and bits: every one of the schema's page head and text, then some of each page, ends of cells most."""
    text = whole.index(b"CREATE TABLE")
    schema = [*range(100, 124), *range(text - 80, whole.index(b"WITHOUT ROWID") + 14)]
    pages = [page + at for page in range(sql.PAGE_BYTES, len(whole), sql.PAGE_BYTES) for at in range(24)]
    return [
        *((at, 0x80) for at in schema),
        *((at, 1 << at % 8) for at in (*pages, *range(sql.PAGE_BYTES, len(whole), 97))),
    ]


@pytest.mark.parametrize("one_in", ONE_IN)
async def test_one_flipped_bit_is_said_or_changes_nothing(one_in, path, caplog):
    """No row is lost without a word, none is false, and nothing of it is called a defect of ours."""
    before = await written(path, *DAY, *(passed(at=NOW + 200 + 20 * n) for n in range(12)))
    whole, truth = path.read_bytes(), before.known()
    seen = 0

    for at, bit in flips(whole)[::one_in]:
        path.write_bytes(whole[:at] + bytes([whole[at] ^ bit]) + whole[at + 1 :])
        async with opened(path) as kept:
            known = kept.known()
        assert all(result in truth["results"] for result in known["results"]), at
        assert known == truth or kept.said, (at, bit)
        assert len(kept.said) <= 1, kept.said
        seen += known != truth
        for file in path.parent.iterdir():
            file.unlink()
    assert seen > 20 / one_in, "the damage was met"
    assert not caplog.records


async def test_a_page_in_place_of_another_is_damage(path):
    """Each is sound by itself, and the rows of one of them are gone."""
    before = await written(path, *(failed(at=NOW + 20 * n, transcript=LONG) for n in range(30)))
    whole = path.read_bytes()
    pages = [whole[at : at + sql.PAGE_BYTES] for at in range(0, len(whole), sql.PAGE_BYTES)]
    last = max(number for number, page in enumerate(pages) if page[0] == 0x0D)
    pages[last] = pages[next(number for number, page in enumerate(pages) if page[0] == 0x0D and number)]

    first, second, said = await damaged(path, b"".join(pages), 0, b"")

    assert all(result in before.history.results("staging") for result in first)
    assert len(first) < len(before.history.results("staging"))
    assert second[0] == 5000
    assert len(said) == 1


@pytest.mark.parametrize("share", [0.02, 0.2, 0.5, 0.8, 0.95])
async def test_a_file_that_was_cut_short_gives_what_it_can(path, share):
    """It is moved aside, said so, and the new one holds what could be read and what follows."""
    before = await written(path, *(failed(at=NOW + 20 * n) for n in range(60)))
    whole = path.read_bytes()

    first, second, said = await damaged(path, whole[: int(share * len(whole))], 0, b"")

    assert all(result in before.history.results("staging") for result in first)
    assert second[0] == 5000
    assert len(second) == len(first) + 1
    if len(first) == 60:  # what was cut off was not in use
        return
    (sentence,) = said
    assert sentence.startswith(f"history file {path} is damaged: it was moved to history.damaged, where you may")
    assert path.with_name("history.damaged").exists()


async def test_one_damaged_row_is_left_out_and_said(path):
    """The checksum of a row is ours: a changed digit is no result."""
    await written(path, *(passed(at=NOW + n) for n in range(9)))
    body = path.read_bytes()
    path.write_bytes(body.replace(b'"send":0.231', b'"send":0.131', 1))

    async with opened(path) as after:
        assert len(after.moments()) == 8
        assert after.said == [f"history file {path}: damaged rows are left out, 1 of them"]


async def test_damage_that_is_met_while_writing_costs_nothing_known(path, monkeypatch):
    """The file is put aside, the new one holds all that is in memory; twice in a row it is the disk's fault."""
    async with opened(path) as kept:
        kept.add(*DAY)
        await kept.save()
        real = sql.HistoryDatabase.write

        def broken(self, *_, **__):
            monkeypatch.setattr(sql.HistoryDatabase, "write", real)
            self.close()
            raise sql.CorruptFileError("is damaged")

        monkeypatch.setattr(sql.HistoryDatabase, "write", broken)
        kept.add(passed(at=NOW + 140))
        await kept.save()
        assert [sentence.partition(":")[0] for sentence in kept.said] == [f"history file {path} is damaged"]
        monkeypatch.setattr(sql.HistoryDatabase, "write", broken)
        kept.add(passed(at=NOW + 160))
        await kept.save()
        assert kept.said[1:] == [f"history file {path} is damaged again: is the disk sound?{UNTIL}"]
        await kept.save()
    async with opened(path) as after:
        assert after.known() == kept.known()


async def test_a_write_that_was_done_although_it_failed_is_not_doubled(path):
    """Whoever does not see the end of a write makes it again: the results are there once."""
    async with opened(path) as kept:
        kept.add(*DAY)
        await kept.save()
        kept.file._unwritten.extend(DAY)
        await kept.save()
        assert rows(path) == 2 * len(DAY)
    async with opened(path) as after:
        assert after.known()["results"] == kept.known()["results"]


async def test_a_row_under_another_targets_name_is_not_believed(path):
    """The name in the result is the one that counts."""
    await written(path, passed("staging"), passed("canary"), targets=("staging", "canary"))
    db = sqlite3.connect(path)
    db.execute("UPDATE results SET target = 'staging'")
    db.commit()
    db.close()

    async with opened(path, "staging", "canary") as after:
        assert (len(after.moments("staging")), len(after.moments("canary"))) == (1, 0)


async def test_a_defect_of_ours_costs_the_file_and_no_session(path, caplog):
    """An exception that nobody thought of: its traceback is logged, probing goes on, the file is tried again."""
    async with opened(path) as kept:
        kept.history.snapshot = lambda _: 1 / 0
        kept.add(passed())
        kept.file._writes = history_file.SNAPSHOT_INTERVAL_WRITES - 1
        await kept.save()
        assert kept.said == [f"history file {path} cannot be used because of a defect in the exporter{UNTIL}"]
        assert "ZeroDivisionError" in caplog.text
        del kept.history.snapshot
        await kept.save()
        assert kept.said[1:] == [f"history file {path} is in use again"]
        assert rows(path) == 1


def test_a_mark_that_was_kept_is_a_mark_again(path):
    """Words of the file become the closed lists of `result`."""

    async def marks():
        await written(path, *DAY)
        async with opened(path) as after:
            return after.history.cycles("staging", 9)

    assert {mark.outcome for mark in asyncio.run(marks())} == {
        CycleOutcome.PASS,
        CycleOutcome.FAIL,
        CycleOutcome.IMPAIRED,
    }
