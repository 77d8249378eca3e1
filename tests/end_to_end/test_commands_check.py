"""`ws-factory-exporter check` as a process: what it prints, how it ends, and what it leaves in ledgers and counters."""

import asyncio
import contextlib
import json
import os
import pty
import re
import signal
import sys
from dataclasses import dataclass
from types import SimpleNamespace
from xml.etree import ElementTree as ET

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from support import harness, realservers

from exporter.daemon import Daemon, DaemonOptions
from exporter.standin import StandIn, Timings
from exporter.web import ListenAddress

HOSTILE = "\x1b[31mred\x07 | 'send'=0;; ::error::pwned <b>&\r\n# x"
"""A close reason of somebody who knows where we print."""
SUBJECTS = tuple(harness.POOL.values())
ONE = {"pool-001": "staging-e2e-user-001"}


@dataclass(frozen=True)
class Said:
    """How a process ended."""

    code: int
    out: str
    err: str


@contextlib.asynccontextmanager
async def command(*words, env=None):
    """A running command; it is ended by force if the block leaves it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "exporter",
        *words,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **(env or {})},
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def ended(process, encoding="utf-8"):
    async with asyncio.timeout(120):
        out, err = await process.communicate()
    return Said(process.returncode, out.decode(encoding), err.decode(encoding))


async def check(config, *words, env=None):
    """`check` of the target staging."""
    async with command("check", f"--config.file={config}", "--target=staging", *words, env=env) as process:
        return await ended(process)


BATCH = """
import contextlib, io, json, sys
from exporter.__main__ import main
for words in json.load(sys.stdin):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(words)
    print(json.dumps([code, out.getvalue(), err.getvalue()]))
"""


async def each(commands):
    """How each of several commands ends, one after the other in one process: its start takes longer than they do."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", BATCH, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(240):
            out, _ = await process.communicate(json.dumps(list(commands)).encode())
    finally:
        await realservers.stop(process)
    assert process.returncode == 0
    return [Said(*json.loads(line)) for line in out.decode().splitlines()]


async def checks(config, *several):
    """`each` for checks of the target staging."""
    return await each(["check", f"--config.file={config}", "--target=staging", *words] for words in several)


@contextlib.asynccontextmanager
async def backend(tmp_path, fault=None, settings=None, **changes):
    """A stand-in, and a config with one target of it."""
    async with StandIn.start(timings=Timings.quick(), tls_port=None) as standin:
        if fault:
            standin.set_fault("/ws", fault)
        config = written(tmp_path, standin, settings, **changes)
        yield SimpleNamespace(standin=standin, config=config)


def written(tmp_path, standin, settings=None, **changes):
    config = tmp_path / "exporter.yml"
    config.write_text(yaml.safe_dump({"targets": [harness.target(standin, **changes)], **(settings or {})}))
    return config


def assert_no_secret(said, standin):
    text = said.out + said.err
    assert standin.key.decode("latin-1") not in text
    assert not any(subject in text for subject in SUBJECTS)
    assert "eyJ" not in text
    assert "Bearer" not in text


def assert_unknown(said, sentence):
    assert said.code == 3, said
    assert sentence in said.err
    assert "Traceback" not in said.err


# Exit codes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "words", "code", "told"),
    [
        (None, (), 0, "OK"),
        ("not_ready", (), 1, "not_ready"),
        ("not_ready", ("--fail-on=critical",), 0, "not_ready"),
        ("slot_limit", (), 2, "slot_limit"),
        ("refuse", (), 2, "refused"),
    ],
    ids=["healthy", "warning", "warning tolerated", "critical", "nobody listens"],
)
async def test_the_exit_code_is_the_finding(tmp_path, fault, words, code, told):
    """0 OK, 1 warning, 2 critical; what the target does is never 3."""
    async with backend(tmp_path) as there:
        if fault:
            there.standin.set_fault("*" if fault == "refuse" else "/ws", fault)
        said = await check(there.config, "--output=nagios", *words)

    assert said.code == code, said
    assert told in said.out
    assert_no_secret(said, there.standin)


WRONG = {
    "unknown flag": (("--bogus",), "--bogus"),
    "abbreviated flag": (("--out=json",), "--out"),
    "unknown output": (("--output=prom",), "--output"),
    "bad duration": (("--runs=2", "--every=soon"), "must be a duration such as 15s"),
    "every 0s": (("--until-healthy=1s", "--every=0s"), "must be more than 0s"),
    "no runs": (("--runs=0",), "must be 1 to 1000"),
    "unknown target": (("--target=nowhere",), "has no such target; it has staging"),
    "unknown identity": (("--identity=nobody",), "has no such alias; it has pool-001, pool-002, uuid-001"),
    "report of no series": (("--report=x.md",), "--report: needs a series"),
    "compare without a series": (("--compare=x.json",), "--compare: needs a series"),
    "runs elsewhere": (("--from=http://127.0.0.1:1", "--runs=3"), "--runs: cannot be combined with --from"),
    "identity elsewhere": (("--from=http://127.0.0.1:1", "--identity=pool-001"), "--identity: cannot be combined"),
    "from a file": (("--from=file:///etc/hostname",), "must be the URL of an exporter"),
    "from a name": (("--from=exporter:11011",), "must be the URL of an exporter"),
    "missing config": (("--config.file=nowhere.yml",), "--config.file: nowhere.yml does not exist"),
    "missing comparison": (("--runs=1", "--compare=nowhere.json"), "--compare: nowhere.json: No such file"),
    "report into nowhere": (("--runs=1", "--report=nowhere/report.md"), "--report: nowhere/report.md: No such file"),
}


async def test_wrong_usage_is_unknown_and_opens_no_session(tmp_path):
    """Wrong flags, names and files end with 3 and a sentence, never argparse's 2, before any connection."""
    async with backend(tmp_path) as there:
        assert_unknown(await check(there.config, "--bogus"), "--bogus")
        said = await checks(there.config, *(words for words, _ in WRONG.values()))
        for one, (_, sentence) in zip(said, WRONG.values(), strict=True):
            assert_unknown(one, sentence)
        there.config.write_text("targets: [{name: staging, urll: ws://x}]")
        assert_unknown(await check(there.config), "urll")
        (bare,) = await each([["check"]])
        assert_unknown(bare, "--config.file: exporter.yml does not exist")
        assert there.standin.finished + there.standin.open_connections == 0


async def test_a_comparison_with_something_else_is_a_sentence(tmp_path):
    """A file that is no report of ours is named before the first session."""
    (tmp_path / "other.json").write_text('{"a": 1}')
    async with backend(tmp_path) as there:
        assert_unknown(await check(there.config, "--runs=1", f"--compare={tmp_path}/other.json"), "no report of")
        assert there.standin.finished + there.standin.open_connections == 0


async def test_a_defect_of_ours_is_unknown_with_its_place(tmp_path):
    """A traceback would be exit code 1, a warning about the backend; its text may hold anything."""
    (tmp_path / "sitecustomize.py").write_text(
        "import exporter.oncall as o\ndef fail(*_):\n    raise RuntimeError('s3cret')\no.Checker.check_once = fail\n"
    )
    async with backend(tmp_path) as there:
        said = await check(there.config, env={"PYTHONPATH": str(tmp_path)})

    assert_unknown(said, "the check broke on our side, please report this: RuntimeError at sitecustomize.py:3")
    assert "s3cret" not in said.err + said.out


async def test_help_says_the_exit_codes():
    """`check --help` ends with 0 and names what 3 means."""
    async with command("check", "--help") as process:
        said = await ended(process)

    assert said.code == 0
    assert "2 critical, 3 unknown" in said.out


# Outputs ------------------------------------------------------------------------------------------------------------


def reads_json(out):
    document = json.loads(out)
    assert (document["kind"], document["results"][0]["close"]["code"]) == ("check", 1011)


def reads_junit(out):
    cases = list(ET.fromstring(out).iter("testcase"))
    assert any(case.find("failure") is not None for case in cases)


def reads_nagios(out):
    assert out.startswith("WEBSOCKET CRITICAL - staging: ")
    assert out.count("\n") == out.count("|") == 1


def reads_github(out):
    assert out.startswith("::error title=staging")
    assert out.count("\n") == 1


def reads_text(out):
    assert "1011" in out
    assert all(line.isprintable() for line in out.splitlines())


READERS = {
    "json": reads_json,
    "junit": reads_junit,
    "nagios": reads_nagios,
    "github": reads_github,
    "text": reads_text,
    "markdown": reads_text,
}


async def test_each_output_parses_back_whatever_the_backend_says(tmp_path):
    """Colours, line breaks, `|` and `::error::` of a close reason reach no output; each keeps its form."""
    async with backend(tmp_path) as there:
        there.standin.set_fault("/ws", f"close:code=1011,reason={HOSTILE}")
        every = await checks(there.config, *([f"--output={output}"] for output in READERS))
        for said, read in zip(every, READERS.values(), strict=True):
            assert said.code == 2, said
            read(said.out)
            assert not set("\x1b\x07\r") & set(said.out + said.err)
            assert "pwned" not in said.out + said.err
            assert_no_secret(said, there.standin)


async def test_github_gets_its_job_summary(tmp_path):
    """Where GITHUB_STEP_SUMMARY names a file, the Markdown is appended to it, and for no other output."""
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    env = {"GITHUB_STEP_SUMMARY": str(summary)}
    async with backend(tmp_path) as there:
        await check(there.config, "--output=text", env=env)
        assert summary.read_text() == "before\n"
        assert (await check(there.config, "--output=github", env=env)).code == 0
        unwritable = await check(there.config, "--output=github", env={"GITHUB_STEP_SUMMARY": str(tmp_path)})

    assert summary.read_text().startswith("before\n")
    assert "staging" in summary.read_text()
    assert unwritable.code == 0, "the finding stands"
    assert "GITHUB_STEP_SUMMARY" in unwritable.err


# The budget ---------------------------------------------------------------------------------------------------------

TIGHT = {"slots_per_identity": 2, "slot_release": "300s"}
"""Less the reserve of 1, one slot for an identity."""


async def test_connect_takes_no_slot_and_sends_no_token(tmp_path):
    """`--probe connect` is anonymous, as often as one likes, and never blames an identity."""
    settings = {"state_file": "ledger"}
    async with backend(tmp_path, settings=settings, interval="10m", identities=ONE, limits=TIGHT) as there:
        for said in await checks(there.config, *[["--probe=connect", "--output=json"]] * 2):
            assert said.code == 0, said
            assert json.loads(said.out)["results"][0]["identity"] is None
        sessions = await there.standin.wait_sessions(2)

    assert [session.token_seen for session in sessions] == [False, False]
    assert [session.user for session in sessions] == [None, None]


async def test_without_room_it_refuses_with_what_helps(tmp_path):
    """The second check of the only slot is 3, opens nothing, and says what to do, in the words of each output."""
    settings = {"state_file": "ledger"}
    async with backend(tmp_path, settings=settings, interval="10m", identities=ONE, limits=TIGHT) as there:
        first = await check(there.config)
        second, plugin = await checks(there.config, [], ["--output=nagios"])
        assert there.standin.finished == 1

    assert (first.code, second.code, plugin.code) == (0, 3, 3)
    assert "no slot to spare" in second.out
    assert "check_identities" in second.out
    assert "--probe connect" in second.out
    assert plugin.out.startswith("WEBSOCKET UNKNOWN")


async def test_a_resting_identity_is_passed_by(tmp_path):
    """After a slot refusal of one the next speaks; asked for by name it is refused: a session makes it worse."""
    async with backend(tmp_path, "slot_limit:user=staging-e2e-user-001", {"state_file": "ledger"}) as there:
        *three, by_name, other = await checks(
            there.config,
            *[["--output=json"]] * 3,
            ["--identity=pool-001"],
            ["--identity=uuid-001", "--output=json"],
        )
    codes = [(said.code, json.loads(said.out)["results"][0]["identity"]) for said in three]
    assert codes == [(2, "pool-001"), (0, "pool-002"), (0, "pool-002")]
    assert by_name.code == 3
    assert "rests" in by_name.out
    assert json.loads(other.out)["results"][0]["identity"] == "uuid-001"


async def test_it_says_when_no_ledger_is_shared(tmp_path):
    """Without a state file the exporter beside it knows nothing of the slot: a note, only where slots are counted."""
    note = "neither --state.file nor state_file is given"
    async with backend(tmp_path, interval="10m", limits=TIGHT) as there:
        said = await checks(there.config, [], [f"--state.file={tmp_path}/ledger"], ["--probe=connect"])
        written(tmp_path, there.standin)
        said += await checks(there.config, [])  # no slots are counted here

    assert [one.code for one in said] == [0] * 4
    assert [note in one.err for one in said] == [True, False, False, False]


async def test_a_ledger_that_cannot_be_used_is_told(tmp_path):
    """A state file that is a folder costs its sharing, and the person reads so."""
    async with backend(tmp_path) as there:
        said = await check(there.config, f"--state.file={tmp_path}")

    assert said.code == 0
    assert str(tmp_path) in said.err


# Beside a running exporter ------------------------------------------------------------------------------------------


async def figures(url):
    """(name, identity or probe or none) → value."""
    families = text_string_to_metric_families(await realservers.get(f"{url}/metrics"))
    return {
        (sample.name, sample.labels.get("identity") or sample.labels.get("probe")): sample.value
        for family in families
        for sample in family.samples
    }


@contextlib.asynccontextmanager
async def exporter_beside(config, tmp_path):
    """`ws-factory-exporter run` on the same config, with its first session far away."""

    def words(port):
        listen = f"--web.listen-address=127.0.0.1:{port}"
        return [sys.executable, "-m", "exporter", "run", f"--config.file={config}", listen, "--startup.delay=10m"]

    process, url = await realservers.started(words, "/-/ready", tmp_path / "exporter.log")
    try:
        yield url
    finally:
        await realservers.stop(process)


async def test_a_check_enters_the_ledger_of_the_exporter_and_none_of_its_counters(tmp_path):
    """Two processes, one file: the slot counts as held there, no attempt, no duration, no success does."""
    limits = {"slots_per_identity": 5, "slot_release": "300s"}
    async with (
        backend(tmp_path, settings={"state_file": "ledger"}, interval="5m", limits=limits) as there,
        exporter_beside(there.config, tmp_path) as url,
    ):
        assert (await figures(url))["ws_factory_slots_held", "pool-001"] == 0
        own = await check(there.config, "--identity=pool-001")
        asked = await check(there.config, f"--from={url}", "--output=json")

        async def held():
            shown = await figures(url)
            return shown if shown["ws_factory_slots_held", "pool-001"] == 2 else None

        shown = await realservers.until(held)

    assert (own.code, asked.code) == (0, 0)
    assert json.loads(asked.out)["results"][0]["identity"] == "pool-001"
    counted = ("ws_probe_attempts_total", "ws_probe_cycles_total", "ws_probe_identity_attempts_total")
    assert {value for (name, _), value in shown.items() if name in counted} == {0}
    assert ("ws_probe_success", "send") not in shown


async def test_users_of_its_own_take_nothing_from_the_schedule(tmp_path):
    """With check_identities a check speaks as them, though the pool has no slot to spare."""
    settings = {"state_file": "ledger"}
    changes = {"interval": "310s", "identities": ONE, "check_identities": {"oncall-1": "check-user-1"}}
    async with (
        backend(tmp_path, settings=settings, limits=TIGHT, **changes) as there,
        exporter_beside(there.config, tmp_path) as url,
    ):
        said = await check(there.config, "--output=json")
        full = await check(there.config)
        pool = await check(there.config, "--identity=pool-001")
        held = (await figures(url))["ws_factory_slots_held", "pool-001"]
        (session, *_) = await there.standin.wait_sessions(1)

    assert json.loads(said.out)["results"][0]["identity"] == "oncall-1"
    assert session.user == "check-user-1"
    assert (full.code, held) == (3, 0)
    assert "name users of its own" not in full.out, "it has them"
    assert_unknown(pool, "it has oncall-1")


# The page of the runbook ----------------------------------------------------------------------------------------------

EXHAUSTED = "WebSocketFactorySlotsExhausted"
SHOWN_BY = f"ws-factory-exporter runbook {EXHAUSTED}"
OUTPUTS = [(f"--output={name}",) for name in ("text", "markdown", "github", "junit")]


@pytest.mark.parametrize(
    ("settings", "place"),
    [
        ({}, SHOWN_BY),
        ({"runbook_url": "https://pages.example.com/ws/"}, f"https://pages.example.com/ws/{EXHAUSTED}.md"),
        ({"runbook_url": "https://pages.example.com/{name}?v=1"}, f"https://pages.example.com/{EXHAUSTED}?v=1"),
    ],
    ids=["command", "folder", "template"],
)
async def test_a_report_names_the_page_and_how_it_is_opened(tmp_path, settings, place):
    """By the URL of the config, else by the command that shows it; the JSON names the alert."""
    async with backend(tmp_path, "slot_limit", settings) as made:
        *reports, document = await checks(made.config, *OUTPUTS, ("--output=json",))

    assert [(place in said.out, EXHAUSTED in said.out) for said in reports] == [(True, True)] * len(OUTPUTS)
    assert json.loads(document.out)["results"][0]["explanation"]["page"] == EXHAUSTED


async def test_a_series_names_the_page_and_how_it_is_opened(tmp_path):
    """In each form of its report."""
    words = ("--runs=1", "--identity=pool-001")
    async with backend(tmp_path, "slot_limit", {"runbook_url": "https://pages.example.com"}) as made:
        reports = await checks(made.config, *((*words, *output) for output in OUTPUTS))

    assert [f"https://pages.example.com/{EXHAUSTED}.md" in said.out for said in reports] == [True] * len(OUTPUTS)


async def test_the_page_of_a_check_elsewhere_is_served_there():
    """`--from` names the page at the exporter that was asked, and it is there."""
    async with (
        StandIn.start(timings=Timings.quick(), tls_port=None) as standin,
        daemon(standin, interval="10m", identities=ONE, limits={**TIGHT, "slots_per_identity": 3}) as running,
    ):
        standin.set_fault("/ws", "slot_limit")
        said = await asked(f"{running.url}/", "--target=staging")
        (url,) = re.findall(r"^  open +(\S+)$", said.out, re.MULTILINE)
        page = await realservers.get(url)

    assert url == f"{running.url}/runbook/{EXHAUSTED}"
    assert f"<h1>{EXHAUSTED}</h1>" in page


# --from -------------------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def daemon(standin, **changes):
    """The daemon in this process, with its first session far away."""
    target = harness.target(standin, **changes)
    options = DaemonOptions(ListenAddress("127.0.0.1", 0), startup_delay=600.0, origin="site-a")
    running = Daemon(harness.planned(target), options)
    await running.start()
    try:
        yield running
    finally:
        await running.stop()


async def asked(url, *words):
    async with command("check", f"--from={url}", *words) as process:
        return await ended(process)


async def test_the_running_exporter_is_asked():
    """Its session, its ledger, its origin; no config here; an unknown target there, no room there: 3 and its words."""
    async with (
        StandIn.start(timings=Timings.quick(), tls_port=None) as standin,
        daemon(standin, interval="10m", identities=ONE, limits={**TIGHT, "slots_per_identity": 3}) as running,
    ):
        said = await asked(running.url, "--target=staging", "--output=json")
        unknown, full, connect, elsewhere = await each(
            ["check", f"--from={running.url}/", *words]
            for words in (
                ["--target=elsewhere"],
                ["--target=staging", "--output=nagios"],
                ["--target=staging", "--probe=connect", "--output=json"],
                ["--target=staging", "--origin=site-b"],
            )
        )
        _, page = await realservers.answered(f"{running.url}/")

    assert said.code == connect.code == 0, said
    assert json.loads(said.out)["origin"] == "site-a"
    assert "<dt>origin</dt><dd>site-a</dd>" in page
    assert_unknown(elsewhere, "--origin: cannot be combined with --from")
    assert json.loads(said.out)["results"][0]["depth"] == "send"
    assert json.loads(connect.out)["results"][0]["depth"] == "connect"
    assert_unknown(unknown, "answers 400: unknown target; known are staging")
    assert full.code == 3
    assert full.out.startswith("WEBSOCKET UNKNOWN")
    assert "no slot to spare" in full.out
    assert_no_secret(said, standin)


async def test_a_target_that_only_connects_is_asked_as_deep_as_it_goes():
    """Without --probe the exporter goes as deep as the profile does, be that not `send`."""
    profiles = {"bare": {"noise": [{"type": "ping"}]}}
    async with StandIn.start(timings=Timings.quick(), tls_port=None) as standin:
        target = harness.target(standin, profile="bare", auth=None, identities=None, limits=None)
        options = DaemonOptions(ListenAddress("127.0.0.1", 0), startup_delay=600.0)
        running = Daemon(harness.planned(target, profiles=profiles), options)
        await running.start()
        try:
            said = await asked(running.url, "--target=staging", "--output=json")
        finally:
            await running.stop()

    assert json.loads(said.out)["results"][0]["depth"] == "connect", said


async def test_one_check_of_a_target_at_a_time():
    """A second one that is asked for meanwhile is refused with a sentence."""
    async with StandIn.start(timings=Timings.quick(), tls_port=None) as standin, daemon(standin) as running:
        asked = (running._http_api.check("staging", depth) for depth in ("send", "connect"))
        first, second = await asyncio.gather(*asked)
        third = await running._http_api.check("staging", "connect")

    assert (first.status, second.status, third.status) == (200, 503, 200)
    assert "another check" in second.text


ANSWERS = {
    b"SSH-2.0-OpenSSH_9.2\r\n": "BadStatusLine",
    b"": "RemoteDisconnected",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello": "does not answer as an exporter does",
    b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nhello": "does not answer as an exporter does",
    b'HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n{"a": 1}': "no report of",
    b"HTTP/1.1 503 no\r\nServer: nginx\r\nContent-Length: 9\r\n\r\n\x1b[31mpwned": "answers 503 and is no exporter",
    b"HTTP/1.1 302 x\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n": "answers 302 and is no exporter",
}


async def test_somebody_else_listens_there():
    """Whatever answers in place of an exporter: 3, a sentence, none of its text, no redirect followed."""
    answers = iter(ANSWERS)

    async def answer(reader, writer):
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(next(answers))
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        every = await each([["check", f"--from=http://127.0.0.1:{port}", "--target=staging"]] * len(ANSWERS))
        for said, sentence in zip(every, ANSWERS.values(), strict=True):
            assert_unknown(said, sentence)
            assert "pwned" not in said.err


async def test_nobody_listens_there():
    """Refused; with credentials in the URL nobody is asked: a sentence without them, and what to do instead."""
    port = realservers.free_port()
    assert_unknown(await asked(f"http://127.0.0.1:{port}", "--target=x"), "Connection refused")
    said = await asked(f"http://user:s3cret@127.0.0.1:{port}", "--target=x")
    assert_unknown(said, "no user and password in the URL")
    assert_unknown(said, "--http.config.file")
    assert "s3cret" not in said.err


# Series -------------------------------------------------------------------------------------------------------------

QUICKLY = ("--every=50ms",)


async def test_a_series_is_a_gate_with_reports_and_a_comparison(tmp_path):
    """Before: failed, in JSON; after: passed, in Markdown with the comparison. Each run is the next identity."""
    before, after = tmp_path / "before.json", tmp_path / "after.md"
    async with backend(tmp_path, "internal_error") as there:
        bad = await check(there.config, "--runs=3", *QUICKLY, f"--report={before}")
        there.standin.clear()
        good = await check(there.config, "--runs=3", *QUICKLY, f"--report={after}", f"--compare={before}")

    document = json.loads(before.read_text())
    assert (bad.code, good.code) == (2, 0)
    assert [result["identity"] for result in document["results"]] == list(harness.POOL)
    assert "FAILED: 0 of 3 runs passed" in bad.out
    assert "PASSED: 3 of 3 runs passed" in good.out
    assert "PASSED" in after.read_text()
    assert "BETTER: more runs pass" in after.read_text().replace("\\", "")
    assert "Gone: " in after.read_text()
    assert "3 runs, one every" in bad.err, "it says how long they will take"
    assert_no_secret(bad, there.standin)
    assert_no_secret(good, there.standin)


async def test_until_healthy_stops_early_once_the_fault_is_gone(tmp_path):
    """A fault that ends in mid-series: three passes in a row end it long before the last run, and it is 0."""
    async with backend(tmp_path, "internal_error") as there:
        words = ("--until-healthy=25s", "--every=200ms", "--output=json")
        async with command("check", f"--config.file={there.config}", "--target=staging", *words) as process:
            await there.standin.wait_sessions(2, timeout=60)
            there.standin.clear()
            said = await ended(process)

    results = json.loads(said.out)["results"]
    assert said.code == 0, said
    assert len(results) < 50
    assert results[0]["close"]["code"] == 1011
    assert {result["identity"] for result in results[-3:]} == set(harness.POOL)


@pytest.mark.parametrize("words", [("--identity=pool-002",), ("--probe=connect",)], ids=["one identity", "connect"])
async def test_until_healthy_waits_for_nobody_who_does_not_speak(tmp_path, words):
    """Asked as one identity, or as none, three passes are enough: the others of the pool never come."""
    async with backend(tmp_path) as there:
        said = await check(there.config, "--until-healthy=3s", *QUICKLY, *words, "--output=json")

    assert said.code == 0, said
    assert len(json.loads(said.out)["results"]) == 3


@pytest.mark.parametrize(
    ("words", "room", "help_"),
    [
        (("--runs=2", "--until-healthy=5m"), 2, "give --runs 3 or more, or leave it out"),
        (("--until-healthy=50ms", "--every=50ms"), 2, "give --until-healthy 1s or more, or a shorter --every"),
        (("--until-healthy=30s",), 2, "give --until-healthy 40s or more, or a shorter --every"),
    ],
)
async def test_a_gate_that_nothing_can_pass_is_refused_before_the_first_session(tmp_path, words, room, help_):
    """Three runs in a row, each identity among them, are health: fewer can be no verdict, and it says what to give."""
    async with backend(tmp_path) as there:
        said = await check(there.config, *words)

    assert said.code == 3, said
    assert "healthy means 3 runs in a row that pass" in said.err
    assert f"there is room for {room}: {help_}" in said.err
    assert (said.out, there.standin.finished) == ("", 0)


async def test_not_healthy_in_time_is_critical(tmp_path):
    """It gives up after the time given, not after the last run."""
    async with backend(tmp_path, "internal_error") as there:
        said = await check(there.config, "--until-healthy=300ms", "--runs=1000", "--every=100ms")

    assert said.code == 2, said
    assert "NOT HEALTHY" in said.out


async def test_a_series_says_beforehand_what_the_budget_will_not_let_happen(tmp_path):
    """Runs that find no slot are skipped, not queued; it is said before the first, with the pace that fits."""
    async with backend(tmp_path, interval="10m", limits=TIGHT, settings={"state_file": "ledger"}) as there:
        said = await check(there.config, "--runs=5", *QUICKLY)
        assert there.standin.finished == 3

    assert "of the first 5 the budget lets 3 happen at most" in said.err
    assert "it takes --every 101s at least" in said.err
    assert said.code == 3
    assert "2 of 5 did not take place" in said.out


async def test_the_progress_line_is_for_terminals(tmp_path):
    """A pipe gets lines now and then and none rewritten; a terminal does, while stdout stays the report alone."""
    async with backend(tmp_path) as there:
        piped = await check(there.config, "--runs=2", *QUICKLY)
        master, slave = pty.openpty()
        words = [f"--config.file={there.config}", "--target=staging", "--runs=2", "--every=50ms", "--output=json"]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "exporter", "check", *words, stdout=asyncio.subprocess.PIPE, stderr=slave
        )
        out, _ = await process.communicate()
        shown = os.read(master, 65_536).decode()
        os.close(slave)
        os.close(master)

    assert "\r" not in piped.err
    assert "1/2 · 1 passed" in piped.err, "a CI job's log is not mute"
    assert "2/2 · 2 passed" in piped.err
    assert "\r\x1b[K0/2" in shown
    assert "done" in shown
    assert len(json.loads(out)["results"]) == 2


# Interrupted --------------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def relay(standin):
    """A port that leads to the stand-in, and an event: the client has sent a message, not only its request."""
    spoken = asyncio.Event()
    host, port = standin.url().removeprefix("ws://").split("/")[0].split(":")

    async def pump(reader, writer, passed=lambda _: None):
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                passed(data)
                writer.write(data)
        writer.close()

    async def serve(reader, writer):
        there, back = await asyncio.open_connection(host, int(port))
        await asyncio.gather(
            pump(reader, back, lambda data: None if data.startswith(b"GET ") else spoken.set()), pump(there, writer)
        )

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/ws", spoken


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_in_mid_check_closes_well_and_is_unknown(tmp_path, number):
    """The open session is closed with 1000, the exit code is 3, and there is no traceback."""
    async with StandIn.start(timings=Timings.quick(), tls_port=None) as standin, relay(standin) as (url, spoken):
        standin.set_fault("/ws", "zombie")
        config = written(tmp_path, standin, url=url, interval="60s", timeout="20s")
        async with command("check", f"--config.file={config}", "--target=staging") as process:
            await asyncio.wait_for(spoken.wait(), 30)
            process.send_signal(number)
            said = await ended(process)
        (session,) = await standin.wait_sessions(1)

    assert_unknown(said, "interrupted: nothing was found out")
    assert said.out == ""
    assert (session.close_received, session.first_closer) == (1000, "client")


async def test_an_interrupted_series_tells_what_it_found(tmp_path):
    """Ctrl-C in the eighth minute: the report is there, the exit code is 3 all the same."""
    report = tmp_path / "report.json"
    async with backend(tmp_path) as there:
        words = ("--runs=100", "--every=20s", f"--report={report}")
        async with command("check", f"--config.file={there.config}", "--target=staging", *words) as process:
            await there.standin.wait_sessions(1, timeout=60)
            process.send_signal(signal.SIGINT)
            said = await ended(process)

    assert_unknown(said, "of 100 runs took place, which is no verdict")
    assert json.loads(report.read_text())["kind"] == "series"
    assert "did not take place" in said.out


async def test_an_interrupted_question_is_unknown():
    """Ctrl-C while an exporter is asked that does not answer: 3 and no traceback."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it, and so would ours
    arrived = asyncio.Event()

    async def silent(reader, writer):
        arrived.set()
        await reader.read(-1)
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with command("check", f"--from=http://127.0.0.1:{port}", "--target=staging") as process:
            await asyncio.wait_for(arrived.wait(), 120)
            process.send_signal(signal.SIGINT)
            said = await ended(process)

    assert_unknown(said, "interrupted")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
async def test_a_terminal_that_is_not_utf_8_gets_the_report(encoding, tmp_path):
    """What it cannot show is written as an escape; the finding and the exit code are the same."""
    async with backend(tmp_path, interval="60s", timeout="30s") as place:
        words = ("check", f"--config.file={place.config}", "--target=staging")
        async with command(*words, env={"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}) as process:
            said = await ended(process, encoding)

    assert said.code == 0
    assert "OK" in said.out
    assert ("\\xb7" in said.out) == (encoding == "ascii")
    assert "broke on our side" not in said.err
