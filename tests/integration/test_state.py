"""Package `state`: one ledger for all processes of the machine, over restarts, crashes and full disks."""

import errno
import fcntl
import json
import os
import signal
import stat
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path

import pytest

from exporter.budget import Grant, SessionCost
from exporter.result import SkipCause, Trigger
from exporter.state import LedgerFile, ledger_file

NOW = 1_800_000_000.0


class Wall:
    """A wall clock that stands where it is put."""

    def __init__(self, now=NOW):
        self.now = now

    def __call__(self):
        return self.now


@pytest.fixture
def wall():
    return Wall()


@pytest.fixture
def opened(tmp_path, wall):
    """Open states of one file, as several processes would; all are closed in the end."""
    states = []

    def another(path=None, **options):
        state = LedgerFile.open(
            path or tmp_path / "state", wall=wall, report=options.pop("report", pytest.fail), **options
        )
        states.append(state)
        return state

    yield another
    for state in states:
        state.close()


def request(run, **changes):
    fields = {"user": "user", "slots": 5, "slot_release": 300.0, **changes}
    return SessionCost(run=run, host="host", authority="host:443", **fields)


def session(state, run, now=NOW, **changes):
    """One session of a second; True if it was granted. The wall clock goes along."""
    state._wall.now = now
    with state.transaction() as ledger:
        asked = request(run, **changes)
        granted = isinstance(ledger.grant_or_refuse(asked, now), Grant)
    state._wall.now = now + 1
    if granted:
        with state.transaction() as ledger:
            ledger.release(asked, now + 1)
    return granted


def held(state, user="user", now=NOW + 2):
    with state.transaction() as ledger:
        return ledger.held_slots(user, now)


# --- Shared and kept


def test_what_one_process_takes_the_others_see(opened):
    """Both states count the sessions of both, and together keep within the limit."""
    one, two = opened(), opened()
    assert session(one, "1")
    assert session(two, "2", NOW + 2)
    assert held(one) == held(two) == 2
    assert [session(state, f"more-{n}", NOW + 4 + n * 2) for n, state in enumerate((one, two, one, two))] == [
        True,
        True,
        False,
        False,
    ]


def test_a_restart_forgets_nothing(opened):
    """Slots, rests, learned limits, keys: all are there after the restart."""
    one = opened()
    session(one, "1")
    with one.transaction() as ledger:
        ledger.start_user_cooldown("tired", 300, NOW)
        ledger.record_slot_limit("host:443", 3, NOW)
        for number in range(2):
            asked = request(f"k{number}", user=None, key="key")
            ledger.grant_or_refuse(asked, NOW)
            ledger.release(asked, NOW, rejected=True)
    before = one.ledger.snapshot(NOW + 10)
    one.close()
    two = opened()
    assert two.ledger.snapshot(NOW + 10) == before
    assert two.ledger.is_identity_resting("tired", NOW + 299)
    assert two.ledger.token_cooldown(request("k", user=None, key="key"), NOW + 299)


def test_confirm_runs_are_possible_at_once_after_a_restart_with_the_file(opened, wall):
    """The file knows since when it is complete: only its first window is blind."""
    confirm = {"trigger": Trigger.CONFIRM, "user": "other"}
    one = opened()
    assert not session(one, "1", NOW, **confirm)
    one.close()
    wall.now = NOW + 10_000
    assert session(opened(), "2", NOW + 10_000, **confirm)


def test_without_a_file_the_ledger_is_as_good_but_starts_blind(wall):
    """In memory the same rules hold, and the first window sees no confirm run."""
    state = LedgerFile.in_memory(wall=wall)
    assert not session(state, "0", trigger=Trigger.CONFIRM)
    assert [session(state, str(number), NOW + number * 2) for number in range(6)] == [True] * 4 + [False] * 2
    assert state.ledger.pending == []
    state.close()


def test_the_files_are_for_us_alone(opened, tmp_path):
    """Mode 0600, file and lock, whatever the umask; and no subject in them."""
    before = os.umask(0)
    try:
        session(opened(), "1")
    finally:
        os.umask(before)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["state", "state.lock"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


def test_decisions_are_written_even_if_the_caller_fails(opened):
    """An exception inside a transaction takes back nothing that was decided."""
    one = opened()

    def failing():
        with one.transaction() as ledger:
            ledger.grant_or_refuse(request("1"), NOW)
            raise KeyError

    with pytest.raises(KeyError):
        failing()
    assert held(opened()) == held(one) == 1


def test_transactions_do_not_nest(opened):
    """A transaction within a transaction is a mistake of ours and says so; the outer one goes on."""
    one = opened()
    with one.transaction() as ledger:
        with pytest.raises(RuntimeError), one.transaction():
            pass
        ledger.grant_or_refuse(request("1"), NOW)
    assert held(opened()) == 1


def test_a_transaction_in_which_nothing_happens_costs_microseconds(opened):
    """The best of many takes under 200 µs, so that a loop can afford it per session."""
    one = opened()
    times = []
    for _ in range(300):
        start = time.perf_counter()
        with one.transaction():
            pass
        times.append(time.perf_counter() - start)
    assert min(times) < 200e-6


# --- Compaction


def test_a_long_journal_is_rewritten_and_says_the_same(opened, monkeypatch, tmp_path):
    """Over a size the file is replaced by what still matters; others notice and read it anew."""
    monkeypatch.setattr(ledger_file, "COMPACT_AT_BYTES", 20_000)
    one, two = opened(), opened()
    sizes = []
    for number in range(400):
        state = (one, two)[number % 2]
        assert session(state, str(number), NOW + number * 100)
        sizes.append((tmp_path / "state").stat().st_size)
    assert 15_000 < max(sizes) < 25_000
    assert sum(later < earlier for earlier, later in pairwise(sizes)) >= 4
    end = NOW + 399 * 100 + 2
    assert held(one, now=end) == held(two, now=end) == held(opened(), now=end) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["state", "state.lock"]
    assert one.skipped == two.skipped == 0


def test_a_rewritten_file_keeps_its_mode(opened, monkeypatch, tmp_path):
    """What an administrator opened for a group stays open for it."""
    monkeypatch.setattr(ledger_file, "COMPACT_AT_BYTES", 100)
    one = opened()
    (tmp_path / "state").chmod(0o640)
    before = (tmp_path / "state").stat().st_ino
    session(one, "1")
    after = (tmp_path / "state").stat()
    assert (after.st_ino != before, stat.S_IMODE(after.st_mode)) == (True, 0o640)


def test_a_rewrite_that_fails_costs_nothing(opened, monkeypatch, tmp_path):
    """The long journal is as good as the short one, and no half file is left."""
    monkeypatch.setattr(ledger_file, "COMPACT_AT_BYTES", 100)
    monkeypatch.setattr(os, "fsync", no_space)
    one = opened()
    session(one, "1")
    assert held(opened()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["state", "state.lock"]


def no_space(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


# --- Files that are not as they should be


def test_lines_that_make_no_sense_are_skipped_and_counted(opened, tmp_path):
    """Garbage, half lines, zeros: what is good counts, and a doubt remains for one window."""
    session(opened(), "1")
    path = tmp_path / "state"
    good = path.read_bytes()
    bad = b'{"event":"open"}\n[1,2]\nnonsense\n\xff\xfe\n' + b"[" * 100_000 + b"\n" + b"\0" * 512 + b"\n\n{}\n"
    path.write_bytes(bad + good + b'{"event":"rest_user","t":18000')
    two = opened()
    assert two.skipped == 7
    assert held(two) == 1
    assert not session(two, "c", NOW + 10, user="other", trigger=Trigger.CONFIRM)
    with two.transaction() as ledger:
        assert isinstance(ledger.grant_or_refuse(request("2"), NOW + 10), Grant)
    three = opened()
    assert held(three, now=NOW + 12) == 2, "what is written behind a half line is not lost"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("targets:\n- name: staging\n", "is no state file of this exporter: remove it or choose another"),
        ('{"key": "value"}\n', "is no state file of this exporter: remove it or choose another"),
    ],
)
def test_a_file_that_is_not_ours_is_left_alone(opened, tmp_path, content, words):
    """A wrong path on the command line must not cost anybody a file."""
    path = tmp_path / "config.yml"
    path.write_text(content)
    told = []
    state = opened(path, report=told.append)
    assert session(state, "1")
    assert held(state) == 1
    assert path.read_text() == content
    (sentence,) = told
    assert sentence.startswith(f"state file {path} {words}; until then a restart forgets")


def test_an_empty_file_or_one_of_zeros_is_a_new_one(opened, tmp_path):
    """What a crash of the machine may leave is written over."""
    for name, content in (("empty", b""), ("zeros", b"\0" * 4096)):
        (tmp_path / name).write_bytes(content)
        assert session(opened(tmp_path / name), "1")
        assert held(opened(tmp_path / name)) == 1


def test_a_folder_a_pipe_or_a_giant_is_refused_in_words(opened, tmp_path):
    """None of them hangs or breaks us; the ledger works in memory."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "giant").open("wb") as giant:
        giant.truncate(ledger_file.MAX_JOURNAL_BYTES + 1)
    sentences = {
        "folder": "cannot be used: Is a directory",
        "pipe": "is not a regular file",
        "giant": "is larger than 64 MiB: is it the right file?",
        "no/such/place": "cannot be used: its folder does not exist: create it, or correct the path",
    }
    places = {tmp_path / name: words for name, words in sentences.items()}
    for place, words in (places | {Path("/"): "cannot be used: Is a directory"}).items():
        told = []
        state = opened(place, report=told.append)
        assert session(state, "1")
        assert [sentence.partition(";")[0] for sentence in told] == [f"state file {place} {words}"]
    assert not (tmp_path / "folder.lock").exists()


def test_a_file_that_vanishes_is_written_anew_from_memory(opened, tmp_path):
    """Removed or emptied under a running daemon: what it knows comes back."""
    one = opened()
    session(one, "1")
    (tmp_path / "state").unlink()
    assert held(one) == 1
    assert held(opened()) == 1
    (tmp_path / "state").write_bytes(b"")
    assert session(one, "2", NOW + 4)
    assert held(opened(), now=NOW + 6) == 2


def test_a_lock_file_that_vanishes_is_noticed(opened, tmp_path):
    """Both processes end up with the same new lock."""
    one, two = opened(), opened()
    (tmp_path / "state.lock").unlink()
    session(one, "1")
    session(two, "2", NOW + 2)
    with one.transaction(), (tmp_path / "state.lock").open() as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert held(one) == held(two) == 2


# --- Trouble


def test_a_full_disk_costs_no_session_and_is_made_up_for(opened, monkeypatch, tmp_path):
    """While nothing can be written the ledger goes on in memory, says so once, and then writes what is owed."""
    told = []
    one = opened(report=told.append)
    before = (tmp_path / "state").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(ledger_file, "_write_all", half_written)
        assert session(one, "1")
        assert session(one, "2", NOW + 2)
        assert held(one, now=NOW + 4) == 2
    assert (tmp_path / "state").read_bytes() == before, "no half line is left"
    assert [sentence.partition(";")[0] for sentence in told] == [
        f"state file {tmp_path / 'state'} cannot be used: No space left on device"
    ]
    assert session(one, "3", NOW + 4)
    assert told[1:] == [f"state file {tmp_path / 'state'} is in use again"]
    assert held(opened(), now=NOW + 6) == 3
    assert one.ledger.snapshot(NOW + 6) == opened().ledger.snapshot(NOW + 6)


def half_written(descriptor, text):
    os.write(descriptor, text[: len(text) // 2])
    no_space()


def test_a_file_that_cannot_be_opened_is_tried_again(opened, monkeypatch):
    """Not at each session, but after a while; then everybody's sessions are put together."""
    told, tries = [], []
    one, other = opened(report=told.append), opened()
    session(other, "0")

    def unreadable(_):
        tries.append(None)
        no_space()

    with monkeypatch.context() as patch:
        patch.setattr(ledger_file._Journal, "read", unreadable)
        assert session(one, "1", NOW + 2)
        assert session(one, "2", NOW + 4)
    assert (len(tries), len(told)) == (1, 1)
    assert 0 < one._retry_at - time.monotonic() <= ledger_file.OPEN_RETRY_SECONDS
    one._retry_at = time.monotonic()
    assert held(one, now=NOW + 6) == held(opened(), now=NOW + 6) == 3
    assert len(told) == 2


def test_what_cannot_be_written_for_long_stays_bounded(opened, monkeypatch):
    """Beyond a number of events a snapshot stands for them; nothing is counted twice when it is written."""
    monkeypatch.setattr(ledger_file, "MAX_UNSAVED_EVENTS", 50)
    one = opened(report=lambda _: None)
    with monkeypatch.context() as patch:
        patch.setattr(ledger_file, "_write_all", half_written)
        for number in range(500):
            assert session(one, str(number), NOW + number * 100)
            assert len(one._unsaved) <= 51
    end = NOW + 49_902
    assert held(one, now=end) == 3
    assert opened().ledger.snapshot(end) == one.ledger.snapshot(end)


@contextmanager
def running(code, *arguments):
    """A Python process of its own; ended for good on the way out."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL)
        process.communicate()


FREEZE = """
import sys
from pathlib import Path
from exporter.state import LedgerFile
state = LedgerFile.open(Path(sys.argv[1]))
with state.transaction():
    print("inside", flush=True)
    sys.stdin.readline()
state.close()
"""


def test_a_frozen_process_that_holds_the_lock_does_not_freeze_us(opened, tmp_path, wall):
    """We wait 50 ms once, then not at all, go on in memory, and make up for it when the lock is free again."""
    wall.now = time.time()
    told = []
    one = opened(report=told.append)
    with running(FREEZE, tmp_path / "state") as frozen:
        assert frozen.stdout.readline() == "inside\n"
        frozen.send_signal(signal.SIGSTOP)
        start = time.monotonic()
        assert session(one, "1", wall.now)
        first = time.monotonic() - start
        assert 0.045 < first < 10
        start = time.monotonic()
        for number in range(2, 5):
            assert session(one, str(number), wall.now + 2 * number)
        assert time.monotonic() - start < 10
        assert not session(one, "5", wall.now + 20)
        assert told[0].startswith(f"state file {tmp_path / 'state'} is locked by another process, which may")
        frozen.send_signal(signal.SIGCONT)
        frozen.communicate("\n", timeout=30)
    assert held(one, now=wall.now + 22) == held(opened(), now=wall.now + 22) == 4
    assert told[1:] == [f"state file {tmp_path / 'state'} is in use again"]


# --- Real processes


CROWD = """
import sys, time
from pathlib import Path
from exporter.state import ledger_file
from exporter.budget import Grant, SessionCost
ledger_file.LOCK_TIMEOUT_SECONDS = 60  # a holder that a busy machine has put aside is not a frozen one
path, name = Path(sys.argv[1]), sys.argv[2]
state, granted = ledger_file.LedgerFile.open(path), 0
for number in range(150):
    now = time.time()
    user = f"user-{number % 10}"
    asked = SessionCost(f"{name}-{number}", "host", "host:1", user=user, slots=4, slot_release=300.0)
    with state.transaction() as ledger:
        granted += isinstance(ledger.grant_or_refuse(asked, now), Grant)
    with state.transaction() as ledger:
        if any(event["run"] == asked.run for event in ledger.snapshot(now) if event["event"] == "open"):
            ledger.release(asked, time.time())
state.close()
print(granted, state.skipped)
"""


def test_processes_at_work_on_one_file_keep_one_budget(opened, tmp_path, wall):
    """Three processes asking at full speed are granted exactly the slots there are, and spoil no line."""
    path = tmp_path / "state"
    with running(CROWD, path, "a") as one, running(CROWD, path, "b") as two, running(CROWD, path, "c") as three:
        told = [process.communicate(timeout=60)[0].split() for process in (one, two, three)]
    assert sum(int(granted) for granted, _ in told) == 10 * 3
    assert [skipped for _, skipped in told] == ["0"] * 3
    wall.now = time.time()
    state = opened()
    assert [held(state, f"user-{number}", wall.now) for number in range(10)] == [3] * 10


RESTLESS = """
import itertools, sys, time
from pathlib import Path
from exporter.state import ledger_file
from exporter.budget import SessionCost
ledger_file._Journal.overgrown = len(sys.argv[2]) % 2 == 1  # every other life rewrites the file at each transaction
state = ledger_file.LedgerFile.open(Path(sys.argv[1]))
for number in itertools.count():
    asked = SessionCost(f"{sys.argv[2]}-{number}", "host", "host:1", user=f"{sys.argv[2]}-{number}", slot_release=300.0)
    with state.transaction() as ledger:
        ledger.grant_or_refuse(asked, time.time())
    print(number, flush=True)
"""


def test_a_process_killed_between_any_two_instructions_loses_nothing_granted(opened, tmp_path, wall):
    """After kill -9 in the midst of writing and rewriting, all it was granted is held; a line may be torn by each kill.

    The kernel ends a write between two pages when a process is killed: the line that was not granted yet stays a part.
    """
    path = tmp_path / "state"
    for number in range(12):
        life = "x" * (number + 1)
        with running(RESTLESS, path, life) as process:
            for _ in range(10 + number * 7):
                last = process.stdout.readline()
            process.kill()
            rest = process.communicate()[0].split()
        last = int(rest[-1] if rest else last)
        wall.now = time.time()
        state = opened()
        assert [held(state, f"{life}-{number}", wall.now) for number in range(last + 1)] == [1] * (last + 1)
        assert state.skipped <= number + 1


# --- The clock


def test_a_clock_that_went_back_between_two_runs_is_cut_to_now(opened, wall):
    """A slot from the future is held from now on, not for a day."""
    session(opened(), "1")
    wall.now = NOW - 86_400
    two = opened()
    assert held(two, now=NOW - 86_400 + 299) == 1
    assert held(two, now=NOW - 86_400 + 301) == 0


def test_a_step_of_the_clock_is_followed_by_all_once(opened, wall, monkeypatch):
    """Daemon and check both notice the step; the slots move once, for both and for those to come."""
    one, two = opened(), opened()
    session(one, "1")
    for step in (-5_000, 70_000):
        wall.now += step
        monkeypatch.setattr(os, "getpid", lambda: 1)
        assert one.shift_times(step)
        monkeypatch.setattr(os, "getpid", lambda: 2)
        assert not two.shift_times(step)
        for state in (one, two, opened()):
            assert held(state, now=wall.now + 299.5) == 1
            assert held(state, now=wall.now + 300.5) == 0


def test_lines_are_json_of_scalars(opened, tmp_path):
    """Anybody can read the file: one object per line, its kind, its moment, no nesting."""
    one = opened()
    session(one, "1", key="key", rate=60)
    lines = [json.loads(line) for line in (tmp_path / "state").read_text().splitlines()]
    assert [line["event"] for line in lines] == ["since", "connect", "open", "close"]
    assert all(not isinstance(value, dict | list) for line in lines for value in line.values())
    assert all(line["t"] >= NOW for line in lines)


def test_a_refusal_writes_nothing(opened, tmp_path):
    """Skipped turns, however many, do not make the file grow."""
    one = opened()
    with one.transaction() as ledger:
        ledger.grant_or_refuse(request("1"), NOW)
    size = (tmp_path / "state").stat().st_size
    for _ in range(20):
        with one.transaction() as ledger:
            assert ledger.grant_or_refuse(request("2"), NOW + 1).cause is SkipCause.OVERLAP
    assert (tmp_path / "state").stat().st_size == size
