"""`check` of all targets at once, and of a URL without a config."""

import json
import socket
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
import yaml
from support import harness
from support import report_cases as cases
from support.commands import command

from exporter.__main__ import main
from exporter.report import FORMATS, SEVERAL_FORMATS
from exporter.standin import StandIn, Timings

SLOW_MACHINE = {"interval": "40s", "timeout": "20s"}
"""A session has so much time that a busy machine is in no deadline's way."""


async def check(*words):
    """Exit code, stdout and stderr of a check."""
    async with command("check", *words) as running:
        return await running.ended(), "\n".join(running.out), "\n".join(running.err)


def config_of(folder, *targets, **settings):
    """The flag that names a file with these targets."""
    file = folder / "exporter.yml"
    file.write_text(yaml.safe_dump({"targets": list(targets), **settings}))
    return f"--config.file={file}"


@pytest.fixture
async def standin():
    async with StandIn.start(timings=Timings.quick(), tls_port=None) as running:
        yield running


def three(standin):
    """One that passes, one whose backend is refused a slot, one where nobody listens."""
    standin.set_fault("/ws/full", "slot_limit")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        gone = f"ws://127.0.0.1:{taken.getsockname()[1]}/"
    return (
        harness.target(standin, "/ws/good", name="good", **SLOW_MACHINE),
        harness.target(standin, "/ws/full", name="full", **SLOW_MACHINE),
        {"name": "gone", "url": gone, "profile": "echo"},
    )


async def test_without_a_target_all_are_checked_and_those_that_fail_explained(standin, tmp_path):
    """A line for each in the order of the config, then why, what next and which page; the gravest is the exit code."""
    code, out, _ = await check(config_of(tmp_path, *three(standin)))

    lines, *blocks = out.split("\n\n", 1)
    assert [line.split()[:2] for line in lines.splitlines()] == [
        ["OK", "good"], ["CRITICAL", "full"], ["CRITICAL", "gone"],
    ]  # fmt: skip
    assert code == 2
    assert "CRITICAL  full" in blocks[0]
    assert "nothing listens on the port" in blocks[0]
    assert "good" not in blocks[0]
    assert standin.finished == 2


def named(name, *results, **known):
    return replace(cases.checked(*results, **known), target=name)


def test_every_format_tells_all_targets():
    """JSON and JUnit parse back, Nagios has one status line first, Markdown and GitHub name each."""
    checks = (
        named("good", cases.PASSED),
        named("full", cases.SLOT_LIMIT),
        named("held", refusal="no slot to spare"),
    )
    said = {name: form(checks, cases.VIEW) for name, form in SEVERAL_FORMATS.items()}

    assert [*said] == [*FORMATS]
    document = json.loads(said["json"])
    assert (document["kind"], document["status"], document["exit_code"]) == ("checks", "critical", 2)
    assert [each["target"] for each in document["checks"]] == ["good", "full", "held"]
    suites = ET.fromstring(said["junit"].partition("\n")[2])
    assert [suite.get("name").split()[-1] for suite in suites] == ["good", "full", "held"]
    first, *rest = said["nagios"].splitlines()
    assert first == (
        "WEBSOCKET CRITICAL - 1 of 3 targets OK: full (admission: factory (slot_limit)), held (not checked) "
        "| 'ok'=1;;;0;3"
    )
    assert [line.split(" - ")[1].partition(":")[0] for line in rest] == ["good", "full", "held"]
    for name in ("text", "markdown", "github"):
        assert all(target in said[name] for target in ("full", "held"))
    lines = said["text"].splitlines()
    assert [line.split()[:2] for line in lines[:3]] == [["OK", "good"], ["CRITICAL", "full"], ["UNKNOWN", "held"]]
    assert all(len(line) <= 100 for line in lines)


async def test_a_lone_target_needs_no_name(standin, tmp_path):
    """It is explained as if it had been named, and can be a gate."""
    flag = config_of(tmp_path, harness.target(standin, **SLOW_MACHINE))
    code, out, _ = await check(flag)
    gate, report, _ = await check(flag, "--runs=2", "--every=100ms")

    assert (code, gate) == (0, 0)
    assert out.startswith("OK  staging  ws://")
    assert report.startswith("PASSED: 2 of 2 runs passed.")


@pytest.mark.parametrize("word", ["--runs=3", "--until-healthy=5m", "--identity=pool-001"])
def test_what_is_for_one_target_names_those_there_are(tmp_path, word, capsys):
    """A gate and an identity belong to one target: nothing is opened, and the names are said."""
    targets = [{"name": name, "url": "ws://a.example.com/", "profile": "echo"} for name in ("good", "full", "gone")]
    code = main(["check", config_of(tmp_path, *targets), word])

    out, err = capsys.readouterr()
    assert (code, out) == (3, "")
    assert f"{word.partition('=')[0]}: is for one target: add --target; the config has good, full, gone" in err


async def test_a_url_alone_is_opened_and_closed(standin):
    """No config, no token, no message; with the echo profile a message is sent as well."""
    code, out, err = await check(f"--url={standin.url('/ws')}")

    assert (code, err) == (0, "")
    assert out.startswith("OK  127.0.0.1  ws://127.0.0.1:")
    assert "The WebSocket opens." in out
    assert " auth " not in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--url=example.com",), "--url: must begin with ws:// or wss://"),
        (("--url=ws://a.example.com:x/",), "--url: cannot be read: check the port and the brackets"),
        (("--url=ws://user:hunter22@a.example.com/",), "--url: must not hold credentials"),
        (("--url=ws://a.example.com/", "--profile=factory"), "factory logs in with a token"),
        (("--url=ws://a.example.com/", "--profile=chat"), "--profile: is not built in; --url takes echo"),
        (("--url=ws://a.example.com/", "--target=x"), "--target: cannot be combined with --url"),
        (("--profile=echo",), "--profile: needs --url"),
        (("--from=http://127.0.0.1:1",), "--from: needs --target"),
    ],
)
def test_wrong_words_are_sentences(words, said, capsys):
    """Each names the flag and what to do; what was written is not quoted; nothing is opened."""
    code = main(["check", *words])
    out, err = capsys.readouterr()

    assert (code, out) == (3, "")
    assert said in err
    assert "hunter22" not in err
    assert "targets[0]" not in err
