"""The command line's words: defaults, durations, counts, and the sentences about wrong ones."""

import pytest

from exporter import arguments
from exporter.report import FORMATS, SERIES_FORMATS


def read(*words):
    return arguments.parser().parse_args(words)


def refused(capsys, *words):
    """The last line that argparse says."""
    with pytest.raises(SystemExit) as end:
        read(*words)
    assert end.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


def test_a_check_needs_no_flag():
    """All other flags have the defaults of the design."""
    options = read("check")

    assert (options.config_file, options.output, options.fail_on, options.every) == (
        "exporter.yml",
        "text",
        "warning",
        20.0,
    )
    assert {options.source, options.probe, options.identity, options.runs, options.until_healthy, options.report} == {
        None
    }


def test_durations_are_those_of_the_config():
    """`1m30s` is 90 seconds on the command line too."""
    options = read("check", "--target=x", "--every=1m30s", "--until-healthy=10m")

    assert (options.every, options.until_healthy) == (90.0, 600.0)
    assert read("run", "--startup.delay=0s").startup_delay == 0.0
    assert read("run").timeout_offset == 0.5
    assert read("run", "--timeout-offset=1s").timeout_offset == 1.0


def test_a_timeout_offset_in_bare_seconds_is_refused(capsys):
    """As blackbox_exporter has it: the sentence says how it is written here."""
    assert "--timeout-offset: must be a duration such as 15s" in refused(capsys, "run", "--timeout-offset=0.5")


FILES = [
    *(f"run {flag}" for flag in ("--config.file", "--state.file", "--history.file", "--web.config.file")),
    *(f"check {flag}" for flag in ("--config.file", "--state.file", "--http.config.file", "--report", "--compare")),
    "healthcheck --http.config.file",
]


@pytest.mark.parametrize("flag", FILES)
def test_an_empty_file_name_is_no_missing_flag(flag, capsys):
    """As of a variable that is not set: nothing would be kept, and nobody would know."""
    assert refused(capsys, *f"{flag}=".split()).endswith("is empty: name a file, or leave the flag out")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--every=20",), "must be a duration such as 15s, 1m30s or 250ms"),
        (("--every=0s",), "must be more than 0s"),
        (("--until-healthy=0s",), "must be more than 0s"),
        (("--until-healthy=25h",), "must be at most 24h"),
        (("--runs=0",), "must be 1 to 1000"),
        (("--runs=1001",), "must be 1 to 1000"),
        (("--runs=-3",), "must be 1 to 1000"),
        (("--runs=\u0662",), "must be 1 to 1000"),
        (("--probe=all",), "invalid choice"),
        (("--targ=x",), "unrecognized arguments"),
        (("extra",), "unrecognized arguments"),
    ],
    ids=str,
)
def test_a_wrong_word_of_check_has_its_sentence(capsys, words, sentence):
    """Each names its flag and what would be right."""
    said = refused(capsys, "check", "--target=x", *words)

    assert sentence in said


@pytest.mark.parametrize("command", ["run", "check"])
def test_an_origin_is_a_name(command, capsys):
    """What may be a target's name may be an origin's; nothing else is a label value."""
    assert read(command, "--origin=eu-west-1.a").origin == "eu-west-1.a"
    assert read(command).origin is None
    for wrong in ("", "two words", '"', "a" * 64):
        assert "--origin: must be a name: at most 63 letters" in refused(capsys, command, f"--origin={wrong}")


def test_a_shard_is_one_of_so_many():
    """Counted from 0, as pods and Prometheus count."""
    shard = read("run", "--shard=2/3").shard

    assert (shard.index, shard.count, str(shard)) == (2, 3, "2/3")
    assert read("run").shard is None


@pytest.mark.parametrize("text", ["3/3", "0/0", "-1/3", "1", "1/", "/3", "a/b", "1/3/5", "1/1001", "\u0661/3"])
def test_what_is_no_shard_is_refused(capsys, text):
    """The sentence says how it is written."""
    assert "--shard: must be I/N, from 0/N to N-1/N" in refused(capsys, "run", f"--shard={text}")


@pytest.mark.parametrize("port", ["65536", "-1", "http", "1.5"])
def test_a_port_is_sixteen_bits(capsys, port):
    """0 to 65535, in words."""
    assert "must be 0 (any free one) to 65535" in refused(capsys, "demo", f"--port={port}")


def test_without_a_command_nothing_runs(capsys):
    """A missing command is wrong usage."""
    assert "COMMAND" in refused(capsys)


def test_every_output_fits_a_check_and_a_series():
    """What `--output` offers can tell both."""
    assert FORMATS.keys() == SERIES_FORMATS.keys()
    assert [read("check", "--target=x", f"--output={name}").output for name in FORMATS] == [*FORMATS]
