"""A config file becomes a plan, or every mistake in it at once. Single mistakes: tests/end_to_end/test_main.py."""

from pathlib import Path

import pytest
import yaml

from exporter.loading import ConfigLoadError, load
from exporter.plan import Shard, plan_diff

KEY = "a-key-of-at-least-thirty-two-bytes-x"


def write(folder, *targets, **settings):
    file = folder / "exporter.yml"
    file.write_text(yaml.safe_dump({"targets": list(targets), **settings}))
    return file


def sound(folder, name="staging", **changes):
    key = folder / "key"
    key.write_text(KEY)
    key.chmod(0o600)
    users = {f"{name}-{n}": f"{name}-user-{n}" for n in range(3)}
    auth = {"jwt": {"key_file": str(key)}}
    return {"name": name, "url": "ws://127.0.0.1:1/ws", "identities": users, "auth": auth, **changes}


def test_a_sound_file_is_a_plan_without_warnings(tmp_path):
    """Its targets are the jobs, in its order."""
    loaded = load(write(tmp_path, sound(tmp_path), sound(tmp_path, "other")))

    assert [job.name for job in loaded.plan.jobs] == ["staging", "other"]
    assert loaded.warnings == ()


def test_the_same_file_twice_is_no_difference(tmp_path):
    """Nothing is kept from one time to the next, and nothing in a plan depends on when it was made."""
    file = write(tmp_path, sound(tmp_path), sound(tmp_path, "other"))
    first, second = load(file), load(file)

    change = plan_diff({job.name: job for job in first.plan.jobs}, second.plan)

    assert (change.added, change.removed, change.changed, change.recomputed) == ((), (), (), ())
    assert all(change.jobs[job.name] is job for job in first.plan.jobs)


def test_every_mistake_is_a_sentence_of_one_exception(tmp_path):
    """Fields, files and schedule; each begins with the file."""
    file = write(
        tmp_path,
        sound(tmp_path, "fields", interval="abc"),
        sound(tmp_path, "gone", auth={"jwt": {"key_file": "not-there"}}),
        sound(tmp_path, "greedy", limits={"slots_per_identity": 3}),
    )

    with pytest.raises(ConfigLoadError) as raised:
        load(file)

    assert len(raised.value.sentences) == 3
    assert all(sentence.startswith(f"{file}: targets[") for sentence in raised.value.sentences)


@pytest.mark.parametrize("content", [None, "targets: [", "\xff", ""], ids=["gone", "not YAML", "not UTF-8", "empty"])
def test_what_is_no_config_is_one_sentence(content, tmp_path):
    """It names the file."""
    file = tmp_path / "exporter.yml"
    if content is not None:
        file.write_bytes(content.encode("latin-1"))

    with pytest.raises(ConfigLoadError) as raised:
        load(file)

    (sentence,) = raised.value.sentences
    assert str(file) in sentence


def test_a_shard_gets_its_share_and_a_warning_if_that_is_nothing(tmp_path):
    """Who has no target is told so; the plan is valid all the same."""
    file = write(tmp_path, sound(tmp_path))

    shares = [load(file, Shard(index, 2)) for index in range(2)]

    assert sorted(len(share.plan.jobs) for share in shares) == [0, 1]
    assert [bool(share.warnings) for share in shares] == [not share.plan.jobs for share in shares]


def test_a_key_that_all_can_read_is_a_warning(tmp_path):
    """It says the field and the file."""
    file = write(tmp_path, sound(tmp_path))
    Path(tmp_path / "key").chmod(0o644)

    (warning,) = load(file).warnings

    assert warning.startswith("targets[0] (staging).auth.jwt.key_file: ")


def test_another_state_file_needs_a_restart(tmp_path):
    """Ledger and history stay where they are, and that is said; of the same one, and of a flag's, nothing is said."""
    first = load(write(tmp_path, sound(tmp_path), state_file="ledger"))
    moved = load(write(tmp_path, sound(tmp_path), state_file="elsewhere", history_file="history"))

    ledger, history = moved.keeping_state_of(first.config, {}).warnings

    assert ledger == f"state_file: {tmp_path / 'ledger'} stays in use: another one is opened by a restart"
    assert history == "history_file: none stays in use: another one is opened by a restart"
    assert moved.keeping_state_of(first.config, {"state_file": "x", "history_file": "y"}) is moved
    assert first.keeping_state_of(first.config, {}) is first
