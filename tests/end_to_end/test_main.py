"""The command line as its users meet it: processes, signals, exit codes, sentences."""

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from support import harness
from support.commands import command, value_of

from exporter import __version__
from exporter.__main__ import main
from exporter.loading import MAX_CONFIG_BYTES
from exporter.standin import FAULTS, StandIn, Timings

NO_PORT = "ws://127.0.0.1:1/ws"
KEY = "a-key-of-at-least-thirty-two-bytes-x"
LIMIT = 5.0
"""Seconds that an end may take, by the design."""


def write(folder, *targets, **settings):
    """A config file with these targets."""
    file = folder / "exporter.yml"
    file.write_text(yaml.safe_dump({"targets": list(targets), **settings}))
    return file


def sound(folder, name="staging", **changes):
    """A target with which nothing is wrong, and its key."""
    key = folder / "key"
    if not key.exists():
        key.write_text(KEY)
        key.chmod(0o600)
    return {
        "name": name,
        "url": NO_PORT,
        "identities": {f"{name}-{n}": f"{name}-user-{n}" for n in range(3)},
        "auth": {"jwt": {"key_file": str(key)}},
        **changes,
    }


async def fetch(url, *, method="GET", body=None):
    """A page, read in a thread."""

    def read():
        with urlopen(Request(url, method=method, data=body), timeout=10) as answer:
            return answer.read().decode()

    return await asyncio.to_thread(read)


async def figures(url):
    body = await fetch(f"{url}/metrics")
    return {
        (sample.name, *(value for name, value in sorted(sample.labels.items()) if name != "target")): sample.value
        for family in text_string_to_metric_families(body)
        for sample in family.samples
    }


QUICK = {"interval": "1s", "timeout": "500ms", "close_timeout": "200ms", "confirm": {"runs": 0}}


@contextlib.asynccontextmanager
async def exporting(standin, folder, *flags, **changes):
    """`run` on a target of the stand-in, and the URL that it says it listens on."""
    config = write(folder, harness.target(standin, **{**QUICK, **changes}))
    listen = "--web.listen-address=127.0.0.1:0"
    async with command("run", f"--config.file={config}", listen, "--startup.delay=0s", *flags) as running:
        (line,) = await running.said("msg=listening" if "json" not in "".join(flags) else '"msg":')
        yield running, (json.loads(line)["url"] if line.startswith("{") else value_of(line, "url"))


# run ----------------------------------------------------------------------------------------------------------------


async def test_run_probes_a_backend_in_another_process_and_ends_well(tmp_path):
    """Config, key file, listener, sessions, metrics, a log line each, state file; SIGTERM closes with 1000, exit 0."""
    async with command("standin", "--control-port", "0") as backend:
        found = await backend.said("  ", times=4)
        url, key = found[0].split()[1], found[1].split()[2]
        control = found[3].split()[2].removesuffix("/faults")
        users = {f"pool-00{n}": f"staging-e2e-user-00{n}" for n in (1, 2, 3)}
        auth = {"jwt": {"key_file": key, "claims": harness.CLAIMS}}
        target = {"name": "staging", "url": url, "identities": users, "auth": auth, **QUICK}
        config = write(tmp_path, target | {"limits": {"slots_per_identity": 0}})
        flags = ("--web.listen-address=127.0.0.1:0", "--startup.delay=0s", f"--state.file={tmp_path / 'state'}")
        async with command("run", f"--config.file={config}", *flags) as running:
            exporter = value_of((await running.said("msg=listening"))[0], "url")
            lines = await running.said("source=log msg=session", times=3)
            ready = await fetch(f"{exporter}/-/ready")
            shown = await figures(exporter)
            code, took = await running.signalled(signal.SIGTERM)
        seen = json.loads(await fetch(f"{control}/sessions"))
        assert (await backend.signalled(signal.SIGTERM))[0] == 0

    assert (code, ready) == (0, "ready\n")
    assert took < LIMIT
    assert shown["ws_probe_cycles_total", "send"] >= 2
    assert shown["ws_probe_success", "send"] == 1
    assert all(f"{probe}=pass" in line for line in lines for probe in ("connect", "auth", "send"))
    assert {session["close_received"] for session in seen} == {1000}
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o600
    assert running.out == []
    assert not os.path.exists(key), "the stand-in cleans up behind it"  # noqa: ASYNC240, PTH110 - of a local disk


SLOW = {"interval": "5s", "timeout": "3500ms", "close_timeout": "1200ms", "confirm": {"runs": 0}}
"""Sessions that take longer than a stop lets them."""


@pytest.mark.parametrize("fault", ["deaf", "silent:after=welcome"])
async def test_sigterm_ends_with_0_in_five_seconds_whatever_the_backend_does(fault, tmp_path):
    """A session in flight is closed with 1000, by both sides or by us alone; no traceback, never a 1011."""
    async with StandIn.start(tls_port=None, timings=Timings.quick()) as standin:
        standin.set_fault("*", fault)
        async with exporting(standin, tmp_path, **SLOW) as (running, url):
            await harness.until(lambda: standin.open_connections, timeout=60)
            assert await fetch(f"{url}/-/ready") == "ready\n"
            code, took = await running.signalled(signal.SIGTERM)
        seen = await standin.wait_sessions(1)

    assert code == 0
    assert took < LIMIT
    assert not any("Traceback" in line or "level=error" in line for line in running.err)
    assert seen[-1].close_received in ((1000,) if fault == "deaf" else (1000, None))
    assert seen[-1].upgraded


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_ends_at_once(number, tmp_path):
    """Who asks twice does not wait for a session to close."""
    async with StandIn.start(tls_port=None, timings=Timings.quick()) as standin:
        standin.set_fault("*", "deaf")
        async with exporting(standin, tmp_path, **SLOW) as (running, url):
            await harness.until(lambda: standin.open_connections, timeout=60)
            running.process.send_signal(signal.SIGTERM)
            await until_not_ready(url)
            code, took = await running.signalled(number)

    assert code == 128 + number
    assert took < 1.0


async def until_not_ready(url):
    """Wait until the first signal has been taken."""
    async with asyncio.timeout(60):
        with contextlib.suppress(OSError):  # an HTTPError is one
            while await fetch(f"{url}/-/ready"):
                pass


async def test_a_process_that_was_stopped_counts_what_it_missed_and_goes_on(tmp_path):
    """SIGSTOP for five intervals: the cycles in between are `late`, the next one runs, nothing runs twice."""
    async with (
        StandIn.start(tls_port=None, timings=Timings.quick()) as standin,
        exporting(standin, tmp_path) as (running, url),
    ):
        await standin.wait_sessions(2, timeout=60)
        running.process.send_signal(signal.SIGSTOP)
        before = standin.finished + standin.open_connections
        with pytest.raises(TimeoutError):  # nothing comes for five intervals
            await standin.wait_sessions(before + 1, timeout=5.2)
        running.process.send_signal(signal.SIGCONT)
        await standin.wait_sessions(before + 3, timeout=60)
        shown = await figures(url)
        assert (await running.signalled(signal.SIGTERM))[0] == 0

    skips = {key[1]: value for key, value in shown.items() if key[0] == "ws_probe_skips_total" and value}
    assert skips.keys() - {"distorted"} == {"late"}, "and the session in which it was stopped, if there was one"
    assert 4 <= skips["late"] <= 8
    assert shown["ws_probe_success", "send"] == 1
    assert shown["ws_exporter_event_loop_lag_seconds",] > 4


async def test_lines_can_be_json(tmp_path):
    """Every line on stderr is a JSON object with the promised keys."""
    async with (
        StandIn.start(tls_port=None, timings=Timings.quick()) as standin,
        exporting(standin, tmp_path, "--log.format=json") as (running, _),
    ):
        await running.said('"probe_depth"', times=2)
        await running.signalled(signal.SIGTERM)

    lines = [json.loads(line) for line in running.err]
    assert {"time", "level", "source", "msg"} <= set.intersection(*map(set, lines))
    assert [line["send"] for line in lines if line["msg"] == "session"][:2] == ["pass", "pass"]


async def results(url, query=""):
    return json.loads(await fetch(f"{url}/api/results?{query}"))["results"]


UNLIMITED = {"limits": {"slots_per_identity": 0}}


async def test_the_history_survives_a_restart(tmp_path):
    """What the first process saw the second one tells, beside what it sees itself; the file lies beside the config."""
    async with StandIn.start(tls_port=None, timings=Timings.quick()) as standin:
        standin.set_fault("*", "internal_error")
        write(tmp_path, harness.target(standin, **QUICK, **UNLIMITED), history_file="history")
        flags = (f"--config.file={tmp_path}/exporter.yml", "--web.listen-address=127.0.0.1:0")
        async with command("run", *flags, "--startup.delay=0s") as first:
            url = value_of((await first.said("msg=listening"))[0], "url")
            await first.said("source=log msg=session", times=2)
            before = await results(url)
            assert (await first.signalled(signal.SIGTERM))[0] == 0
        async with command("run", *flags, "--startup.delay=60s") as second:
            url = value_of((await second.said("msg=listening"))[0], "url")
            after = await until_some(lambda: results(url))
            page = await fetch(f"{url}/")

    assert {result["run"] for result in before} <= {result["run"] for result in after}
    assert after[-len(before) :] == before
    assert before[0]["reason"] == "factory"
    assert "send fails in admission: factory (internal_error)" in page
    assert not [line for line in (*first.err, *second.err) if "history file" in line]
    assert stat.S_IMODE((tmp_path / "history").stat().st_mode) == 0o600


async def until_some(ask):
    """The first answer that is not empty."""
    async with asyncio.timeout(60):
        while not (found := await ask()):
            pass
    return found


async def test_a_second_exporter_on_a_history_file_says_so_and_probes(tmp_path):
    """One warning that names the file and what to do; sessions, pages and results go on without it."""
    file = tmp_path / "history"
    async with (
        StandIn.start(tls_port=None, timings=Timings.quick()) as standin,
        exporting(standin, tmp_path, f"--history.file={file}", **UNLIMITED) as (first, _),
    ):
        await first.said("source=log msg=session")
        async with exporting(standin, tmp_path, f"--history.file={file}", **UNLIMITED) as (second, url):
            await second.said("source=log msg=session", times=2)
            assert await results(url, "verdict=pass&limit=1")
            warned = [line for line in second.err if "history file" in line]
            assert (await second.signalled(signal.SIGTERM))[0] == 0
        assert not [line for line in first.err if "history file" in line]

    words = f"history file {file} is in use by another process: give each exporter a history file of its own"
    assert len(warned) == 1
    assert words in warned[0]
    assert "level=warn" in warned[0]


@pytest.mark.parametrize("more", [(), ("--config.check",)])
def test_the_ledgers_file_is_no_history_file(more, tmp_path, capsys):
    """Two things that are kept need two files; nothing is started."""
    config = write(tmp_path, sound(tmp_path), state_file="kept")

    code = main(["run", f"--config.file={config}", f"--history.file={tmp_path}/./kept", *more])

    assert code == 1
    assert "is the state file: name another for the history" in capsys.readouterr().err
    assert not (tmp_path / "kept").exists()


async def test_a_port_in_use_is_a_sentence(tmp_path):
    """Exit code 1, one line that names the flag and the address, no traceback."""
    config = write(tmp_path, sound(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        async with command("run", f"--config.file={config}", f"--web.listen-address={address}") as running:
            code = await running.ended()

    assert code == 1
    words = "the port is in use; stop what holds it, or choose another port"
    assert running.err == [f"ws-factory-exporter: --web.listen-address: cannot listen on {address}: {words}"]


def test_a_bad_listen_address_is_a_sentence(tmp_path, capsys):
    """What is no address is said before anything starts."""
    config = write(tmp_path, sound(tmp_path))

    code = main(["run", f"--config.file={config}", "--web.listen-address=nowhere"])

    assert code == 1
    assert "--web.listen-address: 'nowhere' is no address: write :11011" in capsys.readouterr().err


# --config.check -----------------------------------------------------------------------------------------------------


def check(config, capsys):
    code = main(["run", f"--config.file={config}", "--config.check"])
    return code, *capsys.readouterr()


def test_a_good_config_prints_its_plan(tmp_path, capsys):
    """Target, cycle, identities, slots at most, what is allowed and spare, room to confirm; exit 0; nothing opened."""
    code, out, err = check(write(tmp_path, sound(tmp_path), sound(tmp_path, "other", interval="60s")), capsys)

    rows = [line.split() for line in out.splitlines()]
    assert (code, err) == (0, "")
    assert rows[0][:2] == ["target", "cycle"]
    assert [row[0] for row in rows[1:3]] == ["staging", "other"]
    assert "unlimited (loopback)" in out


def test_an_origin_of_the_environment_is_checked_like_one_of_the_flag(tmp_path, capsys, monkeypatch):
    """An empty or unfit variable is a sentence that names it, and the flag goes before it."""
    config = write(tmp_path, sound(tmp_path))
    for wrong in ("", "two words"):
        monkeypatch.setenv("WS_FACTORY_EXPORTER_ORIGIN", wrong)
        code, _, err = check(config, capsys)
        assert code == 1
        assert "WS_FACTORY_EXPORTER_ORIGIN: must be a name: at most 63 letters" in err
        assert "unset it if the exporter has no origin" in err
        assert main(["run", f"--config.file={config}", "--config.check", "--origin=site-a"]) == 0
    monkeypatch.setenv("WS_FACTORY_EXPORTER_ORIGIN", "site-b")
    assert check(config, capsys)[0] == 0


def test_a_shard_has_its_share_of_the_plan(tmp_path, capsys):
    """Each target stands in the plan of one shard; the config is checked whole by all."""
    config = write(tmp_path, *[sound(tmp_path, f"t{number}", interval="60s") for number in range(6)])
    shown = []
    for index in range(2):
        assert main(["run", f"--config.file={config}", "--config.check", f"--shard={index}/2"]) == 0
        shown += [
            line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("t") and "s," in line
        ]

    assert sorted(shown) == [f"t{number}" for number in range(6)]


def test_a_key_that_everybody_can_read_is_a_warning(tmp_path, capsys):
    """The plan is printed all the same; the warning names field, file and what to do."""
    config = write(tmp_path, sound(tmp_path))
    (tmp_path / "key").chmod(0o644)

    code, out, err = check(config, capsys)

    assert code == 0
    assert out.startswith("target")
    assert err == (
        f"warning: targets[0] (staging).auth.jwt.key_file: {tmp_path / 'key'} can be read by everybody (mode 0644): "
        "chmod o-rwx\n"
    )


def test_every_mistake_is_said_at_once(tmp_path, capsys):
    """Fields of one target, the key file of another, the schedule of a third: a line each with its path, exit 1."""
    (tmp_path / "empty").touch()
    config = write(
        tmp_path,
        sound(tmp_path, "fields", interval="abc", url="http://example.com", timout="3s"),
        sound(tmp_path, "gone", auth={"jwt": {"key_file": "not-there"}}),
        sound(tmp_path, "empty", auth={"jwt": {"key_file": "empty"}}),
        sound(tmp_path, "greedy", limits={"slots_per_identity": 3}),
        sound(tmp_path, "good", interval="60s"),
    )

    code, out, err = check(config, capsys)

    lines = [line.removeprefix(f"ws-factory-exporter: {config}: ") for line in err.splitlines()]
    starts = [line.split(": ")[0] for line in lines]
    assert (code, out) == (1, "")
    assert sorted(starts) == [
        "targets[0] (fields).interval",
        "targets[0] (fields).timout",
        "targets[1] (gone).auth.jwt.key_file",
        "targets[2] (empty).auth.jwt.key_file",
        "targets[3] (greedy).interval",
    ]
    assert all(line.startswith(f"ws-factory-exporter: {config}: ") for line in err.splitlines())
    assert f"{tmp_path / 'not-there'} does not exist" in err
    assert "Safe: interval" in err


def test_relative_files_lie_beside_the_config(tmp_path, capsys, monkeypatch):
    """Wherever the command is started."""
    (tmp_path / "elsewhere").mkdir()
    config = write(tmp_path, sound(tmp_path, auth={"jwt": {"key_file": "key"}}))
    monkeypatch.chdir(tmp_path / "elsewhere")

    assert check(config, capsys)[0] == 0


BROKEN_FILES = {
    "no such file": (None, "does not exist: create it, or correct the path"),
    "not YAML": (b"targets: [", "no valid YAML"),
    "two keys of one name": (b"targets: []\ntargets: []\n", "targets"),
    "not UTF-8": (b"targets: \xff\n", "is not UTF-8 text"),
    "empty": (b"", "targets"),
    "a list": (b"- targets\n", "the file must be a mapping that begins with `targets:`"),
}


@pytest.mark.parametrize("case", BROKEN_FILES)
def test_a_file_that_is_no_config_is_a_sentence(case, tmp_path, capsys):
    """Exit 1, one line that names the file and what is wrong with it."""
    content, wanted = BROKEN_FILES[case]
    file = tmp_path / "exporter.yml"
    if content is not None:
        file.write_bytes(content)

    code, out, err = check(file, capsys)

    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("ws-factory-exporter: ")
    assert str(file) in err
    assert wanted in err


def test_what_is_no_file_or_has_no_end_is_no_config(tmp_path, capsys):
    """A folder, a pipe that nobody writes to, devices: a sentence at once; the file's size is bounded."""
    pipe, huge = tmp_path / "pipe", tmp_path / "huge.yml"
    os.mkfifo(pipe)
    with huge.open("wb") as file:
        file.truncate(MAX_CONFIG_BYTES + 1)
    no_file = "is not a file: correct the path"
    places = dict.fromkeys((tmp_path, pipe, Path("/dev/zero"), Path("/dev/full")), no_file)
    places[huge] = f"is larger than {MAX_CONFIG_BYTES} bytes: is it the right file?"
    for place, words in places.items():
        assert check(place, capsys) == (1, "", f"ws-factory-exporter: --config.file: {place} {words}\n")


# demo ---------------------------------------------------------------------------------------------------------------


async def test_the_demo_says_where_to_look_and_a_line_per_session():
    """URLs that answer, plain lines without colours where no terminal is; Ctrl-C ends it with 0."""
    async with command("demo", "--port", "0") as running:
        where = await running.said("http://", times=3)
        exporter = next(line for line in where if line.startswith("exporter")).split()[1]
        await running.said("send pass")
        ready, shown = await fetch(f"{exporter}-/ready"), await figures(exporter.rstrip("/"))
        code, took = await running.signalled(signal.SIGINT)

    assert code == 0
    assert took < LIMIT
    assert ready == "ready\n"
    assert shown["ws_probe_success", "send"] == 1
    assert running.err == []
    assert running.out[-1] == "stopped"
    assert "\x1b" not in "".join(running.out)
    sessions = [line for line in running.out if "connect pass" in line]
    assert all(re.fullmatch(r"\S+  connect pass .*  send pass .*  closed 1000 by us", line) for line in sessions)


async def test_the_demo_shows_the_incident():
    """Connect and auth pass, send fails at admission for want of a slot, 1011 by the server; then the faults go."""
    async with command("demo", "--port", "0", "--fault", "slot_limit") as running:
        (line, *_) = await running.said("send FAIL")
        await running.said("closed 1000 by us  no token")
        switch = next(line for line in running.out if "its faults" in line)
        control = re.search(r"http://[^']+", switch)[0]
        await fetch(control, method="PUT", body=b'["none"]')
        await running.said("send pass")
        code, _ = await running.signalled(signal.SIGINT)

    assert code == 0
    assert re.fullmatch(
        r"\S+  connect pass \S+  auth pass( \S+)?  send FAIL  admission: factory \(slot_limit\)  "
        r"closed 1011 by the server  no token: the identity rests after a slot limit, until \S+ \S+ UTC",
        line,
    )
    assert any(
        re.search(r"connect pass \S+  closed 1000 by us  no token: the identity rests", one) for one in running.out
    )


async def test_a_terminal_gets_colours():
    """Green for what passes; the same words."""
    ours, theirs = os.openpty()
    async with command("demo", "--port", "0", stdout=theirs) as running:
        os.close(theirs)
        text = await asyncio.to_thread(read_until, ours, "send pass")
        code, _ = await running.signalled(signal.SIGINT)
    os.close(ours)

    assert code == 0
    assert re.search(r"\x1b\[32m\S+  connect pass .*  send pass", text)


def read_until(descriptor, words):
    """What a terminal shows until these words stand there."""
    text = ""
    while words not in text:
        text += os.read(descriptor, 65_536).decode()
    return text


def test_a_reader_that_goes_away_ends_the_demo():
    """`demo | head -7` ends by itself, without a traceback."""
    done = subprocess.run(
        ["bash", "-c", f'set -o pipefail; "{sys.executable}" -m exporter demo --port 0 | head -7'],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 7


async def test_a_demo_whose_port_is_in_use_says_so():
    """Exit 1, the sentence, which flag to use; the stand-in is gone as well."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        async with command("demo", "--port", str(taken.getsockname()[1])) as running:
            code = await running.ended()

    assert code == 1
    assert "the port is in use" in running.err[0]
    assert running.err[1] == "ws-factory-exporter: choose another port with --port"
    assert running.out == []


@pytest.mark.parametrize("name", ["demo", "standin"])
@pytest.mark.parametrize("fault", ["slot_limits", "close:code=abc", ""])
def test_an_unknown_fault_is_refused_before_anything_starts(name, fault, monkeypatch, capsys):
    """Exit 1 and a sentence with what is known; no stand-in was made."""
    monkeypatch.setattr(StandIn, "start", None)

    code = main([name, "--fault", fault])

    out, err = capsys.readouterr()
    assert (code, out) == (1, "")
    assert err.startswith("ws-factory-exporter: --fault: ")
    assert "close" in err
    if "close:" not in fault:
        assert all(known in err for known in FAULTS)


# standin ------------------------------------------------------------------------------------------------------------


async def test_the_stand_in_alone_says_all_that_is_needed_to_probe_it():
    """Both URLs, key, CA and the control endpoint, at which faults are switched; exit 0 on SIGTERM."""
    async with command("standin", "--fault", "noise:count=2", "--fault", "slow_reply") as running:
        (control,) = [line.split()[-1] for line in await running.said("control ")]
        listed = json.loads(await fetch(control))
        code, _ = await running.signalled(signal.SIGTERM)

    told = dict(line.split(None, 1) for line in running.out)
    assert code == 0
    assert re.fullmatch(r"ws://127\.0\.0\.1:\d+/ws  wss://localhost:\d+/ws", told["backend"])
    assert {"signing", "CA", "control"} <= set(told)
    assert sorted(listed["active"]["*"]) == ["noise:count=2", "slow_reply"]
    assert running.err == []


async def test_a_stand_in_whose_port_is_in_use_says_so():
    """Exit 1 and a sentence."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        async with command("standin", "--port", str(taken.getsockname()[1])) as running:
            code = await running.ended()

    assert code == 1
    assert running.err == [
        "ws-factory-exporter: the stand-in cannot listen: Address already in use; choose other ports"
    ]


# Usage --------------------------------------------------------------------------------------------------------------


def test_the_version_is_said(capsys):
    """Name and version, exit 0."""
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])

    assert capsys.readouterr().out == f"ws-factory-exporter {__version__}\n"


WRONG = {
    "no command": [],
    "an unknown command": ["probe"],
    "an abbreviation": ["run", "--config.f", "x"],
    "an abbreviated switch": ["run", "--config.c"],
    "an abbreviation of the listen address": ["run", "--web.l", ":1"],
    "an abbreviated fault": ["demo", "--faul", "slot_limit"],
    "a port that is none": ["demo", "--port", "70000"],
    "a port below 0": ["standin", "--port", "-1"],
    "a port that is no number": ["standin", "--tls-port", "x"],
    "a delay without unit": ["run", "--startup.delay", "15"],
    "an unknown level": ["run", "--log.level", "loud"],
    "an unknown format": ["run", "--log.format", "xml"],
}


@pytest.mark.parametrize("words", WRONG.values(), ids=WRONG)
def test_wrong_usage_is_exit_code_2(words, capsys):
    """The parser says how it is meant; nothing is guessed from half a flag."""
    with pytest.raises(SystemExit, match="2"):
        main(words)

    assert "usage: ws-factory-exporter" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir"])
@pytest.mark.parametrize("value", ["somewhere", ""])
@pytest.mark.parametrize("words", [["run"], ["demo"], ["standin"]])
def test_the_multiprocess_mode_is_refused(name, value, words, monkeypatch, capsys):
    """prometheus_client would write every series to files: exit 1, and what to unset."""
    monkeypatch.setenv(name, value)

    assert main(words) == 1
    assert capsys.readouterr().err == (
        f"ws-factory-exporter: {name} is set: unset it, one process holds all series here\n"
    )


def test_the_installed_command_is_the_module(tmp_path):
    """`ws-factory-exporter` and `python -m exporter` are one, and pass the exit code on."""
    installed = Path(sys.executable).with_name("ws-factory-exporter")
    for words in ([str(installed)], [sys.executable, "-m", "exporter"]):
        missing = [*words, "run", "--config.file", str(tmp_path / "none.yml")]
        done = subprocess.run(missing, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 1
        assert done.stderr == (
            f"ws-factory-exporter: --config.file: {tmp_path / 'none.yml'} does not exist: "
            "create it, or correct the path\n"
        )
