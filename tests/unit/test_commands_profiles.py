"""`profiles list`, `profiles show` and `profiles try`, run as a user runs them."""

import json
import re

import pytest
import yaml
from support.paths import ROOT

from exporter.__main__ import main
from exporter.catalog import CATALOG
from exporter.config import examine, load_yaml

OWN = {"framing": "text", "send": {"message": "hi ${nonce}", "match": "hi ${nonce}"}, "proves": {"send": "It answers."}}
FRAMES = [{"from": "client", "text": "hi 1"}, {"from": "server", "text": "hi 1"}, {"close": 1001, "reason": "bye"}]


@pytest.fixture
def config(tmp_path):
    """A config with a profile of its own, and a target whose key file is not there."""
    target = {
        "name": "a",
        "url": "ws://127.0.0.1/",
        "profile": "own",
        "identities": {"a": "b"},
        "auth": {"secret_file": "gone"},
    }
    path = tmp_path / "exporter.yml"
    path.write_text(yaml.safe_dump({"profiles": {"own": OWN}, "targets": [target]}))
    return str(path)


@pytest.fixture
def frames(tmp_path):
    path = tmp_path / "frames.json"
    path.write_text(json.dumps(FRAMES))
    return str(path)


def run(capsys, *words):
    """Exit code, and the lines on stdout and stderr."""
    code = main(["profiles", *words])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_list_has_a_line_for_each_profile(capsys, config):
    """Its name, framing and place, and what it shows; those of a config only with the config."""
    code, out, _ = run(capsys, "list")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == [*CATALOG]
    assert all("built in" in line for line in out.splitlines())

    _, out, _ = run(capsys, "list", f"--config.file={config}")
    assert out.splitlines()[-1].split(maxsplit=3) == ["own", "text", "config", "It answers."]


@pytest.mark.parametrize("name", [*CATALOG])
def test_show_prints_what_can_be_copied(capsys, name):
    """Under a name that a config may use, it is a valid profile with the same meaning."""
    code, out, _ = run(capsys, "show", name)
    raw = load_yaml(out.encode())
    (copied,) = raw["profiles"]
    target = {"name": "t", "url": "ws://127.0.0.1/", "profile": "echo"}
    examined = examine({**raw, "targets": [target]}, CATALOG)

    assert code == 0
    assert copied == (f"my-{name}" if name in CATALOG.reserved else name)
    assert examined.problems == ()
    assert examined.sound.config.profiles[copied] == CATALOG[name]


def test_show_knows_the_profiles_of_a_config(capsys, config):
    """They are written as they mean, without defaults."""
    code, out, _ = run(capsys, "show", "own", f"--config.file={config}")

    assert code == 0
    assert yaml.safe_load(out) == {"profiles": {"own": OWN}}


def test_try_says_what_each_frame_is(capsys, config, frames, tmp_path):
    """With a config, whatever else is missing in it, and with a file of one profile alone."""
    alone = tmp_path / "own.yml"
    alone.write_text(yaml.safe_dump(OWN))
    for file in (config, str(alone)):
        code, out, err = run(capsys, "try", file, f"--frames={frames}")
        assert (code, err) == (0, "")
        assert [line.strip() for line in out.splitlines()] == [
            "1 → text(4)",
            "the message of send",
            "2 ← text(4)",
            "reply to send",
            "3 ← close 1001, reason text(3)",
            "close, which no rule of closes sorts",
        ]


def test_try_takes_the_built_in_profile_of_a_target(capsys, frames, tmp_path):
    """A config without profiles names one by its targets; --profile chooses any."""
    path = tmp_path / "exporter.yml"
    path.write_text("targets: [{name: a, url: ws://127.0.0.1/, profile: echo}]")

    assert run(capsys, "try", str(path), f"--frames={frames}")[0] == 0
    assert run(capsys, "try", str(path), f"--frames={frames}", "--profile=factory")[0] == 0


def test_the_page_about_profiles_shows_what_try_says(capsys, tmp_path):
    """Its transcript and its lines are those of the worked example."""
    page = (ROOT / "docs/profiles.md").read_text("utf-8")
    names = {"yaml": r"(# example: chat\n.*?)", "json": r"(\[.*?\]\n)", "text": r"(  1 ←.*?)"}
    blocks = {name: re.search(rf"```{name}\n{block}```", page, re.DOTALL)[1] for name, block in names.items()}
    for name in ("yaml", "json"):
        (tmp_path / name).write_text(blocks[name], encoding="utf-8")

    code, out, _ = run(capsys, "try", str(tmp_path / "yaml"), f"--frames={tmp_path / 'json'}")

    assert code == 0
    assert out.startswith(blocks["text"])


WRONG = {
    "unknown profile": (("show", "nope"), "NAME: there is no such profile; there are factory, echo"),
    "no file": (("try", "nowhere.yml", "--frames=x"), "FILE: nowhere.yml: No such file"),
    "no config": (("list", "--config.file=nowhere.yml"), "--config.file: nowhere.yml: No such file"),
    "no frames": (("try", "{config}", "--frames=nowhere.json"), "--frames: nowhere.json: No such file"),
    "frames that are no JSON": (("try", "{config}", "--frames={config}"), "line 1, column 1: is no JSON"),
    "frames that are no list": (("try", "{config}", "--frames={object}"), "must be a JSON list of frames"),
    "nested without end": (("try", "{config}", "--frames={deep}"), "is nested too deeply"),
    "which of two": (("try", "{two}", "--frames={object}"), "--profile: is needed: "),
    "none of them": (("try", "{two}", "--frames={object}", "--profile=c"), "--profile: there is no such profile"),
    "a mistake in a profile": (("try", "{mistake}", "--frames={object}"), "profiles.a.sned: unknown field"),
    "a profile of no mapping": (("try", "{list}", "--frames={object}"), "must be a mapping"),
    "no YAML": (("try", "{broken}", "--frames={object}"), "FILE: "),
}


@pytest.mark.parametrize(("words", "sentence"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_used_is_a_sentence_and_exit_code_2(capsys, config, tmp_path, words, sentence):
    """Never a traceback; the sentence names the flag and the file."""
    texts = {
        "object": "{}",
        "deep": "[" * 100_000,
        "two": "profiles: {a: {}, b: {}}",
        "mistake": "profiles: {a: {sned: 1}}",
        "list": "[1]",
        "broken": "a: [",
    }
    paths = {name: tmp_path / name for name in texts}
    for name, path in paths.items():
        path.write_text(texts[name])
    code, out, err = run(capsys, *(word.format(config=config, **paths) for word in words))

    assert (code, out) == (2, "")
    assert sentence in err


def test_no_action_is_wrong_usage(capsys):
    """As everywhere: 2, with the usage."""
    with pytest.raises(SystemExit) as end:
        main(["profiles"])

    assert end.value.code == 2
    assert "ACTION" in capsys.readouterr().err
