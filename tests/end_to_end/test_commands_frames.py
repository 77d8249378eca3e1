"""`check --show-frames`: what a person sees of a session's frames, and what nobody does."""

import contextlib
import json

import pytest
import yaml
from support.commands import command
from support.raw_server import UPGRADE, serving, text

TOKEN = "tok_5f0c2b9a77e1d4"
PROFILE = {
    "auth": {"message": {"type": "login", "token": "${token}"}, "match": {"type": "in"}},
    "send": {"message": {"say": "${nonce}"}, "match": {"said": "${nonce}"}},
}


async def echo_secrets(peer):
    """A server whose answers hold the token, in whole and in part, and a private text."""
    await UPGRADE(peer)
    login = await peer.message()
    token = login["token"]
    peer.send(text({"type": "in", "for": token, "part": token[4:14], token: 1, "mail": "ann@example.com"}))
    nonce = (await peer.message())["say"]
    peer.send(text({"said": nonce, "headers": {"X-Key": peer.headers["x-key"]}, "balance": 4711}))


@contextlib.asynccontextmanager
async def checked(tmp_path, *words, targets=1):
    """The lines of a `check` of targets of that server."""
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "token").chmod(0o600)
    config = tmp_path / "exporter.yml"
    async with serving(echo_secrets) as server:
        one = {
            "url": f"ws://127.0.0.1:{server.port}/",
            "profile": "mine",
            "headers": {"X-Key": "k3y-of-the-gateway"},
            "identities": {"probe-1": "user-1"},
            "auth": {"secret_file": "token", "carry": "message"},
        }
        several = [{"name": f"chat-{number}", **one} for number in range(targets)]
        config.write_text(yaml.safe_dump({"profiles": {"mine": PROFILE}, "targets": several}, sort_keys=False))
        async with command("check", f"--config.file={config}", *words) as check:
            code = await check.ended()
            yield code, check


async def test_frames_are_shown_as_fields_and_types(tmp_path):
    """The words of the profile's patterns are shown, no value is."""
    async with checked(tmp_path, "--show-frames") as (code, check):
        assert code == 0, check.err
        shown = [line for line in check.out if line.startswith(("←", "→"))]

    assert shown[:2] == [
        '→ {"type": text(5), "token": text(18)}',
        '← {"type": "in", "for": text(18), "part": text(10), key(18): number, "mail": text(15)}',
    ]
    assert shown[-2:] == ["→ close 1000", "← close 1000"]


async def test_values_are_shown_on_request_and_secrets_never(tmp_path):
    """Neither token, nor a part of it, nor a header's value, whatever the backend echoes."""
    async with checked(tmp_path, "--show-frames", "--unsafe-show-values") as (code, check):
        assert code == 0, check.err
        said = "\n".join([*check.out, *check.err])

    assert '"mail": "ann@example.com"' in said
    assert '"balance": 4711' in said
    assert "secret(18)" in said
    for secret in (TOKEN, "k3y-of-the-gateway"):
        assert not any(secret[start : start + 8] in said for start in range(len(secret) - 7))


@pytest.mark.parametrize("values", [[], ["--unsafe-show-values"]], ids=["masked", "values"])
async def test_recorded_frames_can_be_tried(values, tmp_path):
    """The file is the user's alone; `profiles try` finds the answers in it, and no secret is there."""
    frames = tmp_path / "frames.json"
    async with checked(tmp_path, f"--record-frames={frames}", *values) as (code, check):
        assert code == 0, check.err
        assert any("frames, for ws-factory-exporter profiles try" in line for line in check.err)
        assert not any(line.startswith(("←", "→")) for line in check.out)
    async with command("profiles", "try", str(tmp_path / "exporter.yml"), f"--frames={frames}") as tried:
        assert await tried.ended() == 0, tried.err
        roles = "\n".join(tried.out)

    written = frames.read_text()
    assert frames.stat().st_mode & 0o777 == 0o600
    assert ("ann@example.com" in written) == bool(values)
    assert "reply to auth" in roles
    assert "reply to send" in roles
    for secret in (TOKEN, "k3y-of-the-gateway"):
        assert not any(secret[start : start + 8] in written for start in range(len(secret) - 7))


async def test_without_the_flag_no_frame_is_shown(tmp_path):
    """A report in JSON holds nothing of a frame but its kind and size."""
    async with checked(tmp_path, "--output=json") as (code, check):
        assert code == 0, check.err
        said = "\n".join(check.out)

    assert json.loads(said)["kind"] == "check"
    assert "example.com" not in said
    assert "balance" not in said


async def test_frames_of_several_targets_have_their_names(tmp_path):
    """Their sessions run at once, so each line says whose it is."""
    async with checked(tmp_path, "--show-frames", targets=2) as (code, check):
        assert code == 0, check.err

    for name in ("chat-0", "chat-1"):
        assert f"{name} → close 1000" in check.out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--show-frames", "--output=json"), "--show-frames: needs --output text"),
        (("--unsafe-show-values",), "--unsafe-show-values: needs --show-frames"),
        (("--record-frames=f", "--runs=2"), "--record-frames: records one session"),
        (("--record-frames=f", "--from=http://127.0.0.1:1", "--target=a"), "--record-frames: cannot be combined with"),
        (("--show-frames", "--from=http://127.0.0.1:1", "--target=a"), "--show-frames: cannot be combined with --from"),
    ],
    ids=str,
)
async def test_wrong_combinations_are_refused(words, sentence):
    """Each names the flag and what it needs."""
    async with command("check", *words) as check:
        assert await check.ended() == 3

    assert sentence in "\n".join(check.err)
