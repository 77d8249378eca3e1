"""The data set deploy/incidents is what the stand-in and the drill play, fits its schema, and can be played again."""

import contextlib
import json
from copy import deepcopy

import jsonschema
import pytest
import yaml
from support import incident_recording, virtual_clock
from support.harness import POOL
from support.incident_recording import FILE, FOLDER, LABELS, ROWS
from support.paths import DATA
from support.standin_clients import Peer

from exporter.result import Confidence, Layer
from exporter.standin import StandIn, Timings, load_incidents

LINES = FILE.read_text("utf-8").splitlines()
INCIDENTS = {incident["name"]: incident for incident in map(json.loads, LINES)}
SCHEMA = json.loads((FOLDER / "schema.json").read_text("utf-8"))
PLAYABLE = load_incidents(FILE)
OVER = {"ws": "plain", "wss": "tls"}
ROW_OF = {row["name"]: row for row in ROWS}
FAULTS = yaml.safe_load((DATA / "faults.yml").read_text(encoding="utf-8"))
OF_FAULT = {
    (row["fault"], over): row
    for row in FAULTS
    for over in row["over"]
    if row["depth"] == "send" and not {"session", "identity", "key_file"} & set(row.get("setup", {}))
}
PLAYED = [name for name, incident in INCIDENTS.items() if incident["played"]]
KNOWN = [name for name in PLAYED if (",".join(ROW_OF[name]["faults"]), OVER[INCIDENTS[name]["transport"]]) in OF_FAULT]
SIDES = {"local": "client", "remote": "server", "none": "nobody"}


def test_the_file_is_what_the_stand_in_plays():
    """Recorded again, it is the same line by line; each row of the drill has its labels, and no other has."""
    assert list(LABELS) == list(ROW_OF), "tests/data/incidents.yml needs a row for each of tests/data/signatures.yml"
    assert incident_recording.lines() == LINES, "run in tests/: python -m support.incident_recording"


def test_every_line_fits_the_schema():
    """One version for all of them, and only layers that a diagnosis can name."""
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    validator = jsonschema.Draft202012Validator(SCHEMA)

    assert [f"{name}: {error.message}" for name, one in INCIDENTS.items() for error in validator.iter_errors(one)] == []
    assert {incident["version"] for incident in INCIDENTS.values()} == {incident_recording.VERSION}
    assert {layer.value for layer in Layer} - {Layer.UNKNOWN.value} | {None} == set(
        SCHEMA["properties"]["layer"]["enum"]
    )


def test_the_readme_has_a_line_for_this_version_and_its_number_of_incidents():
    """The first line under Versions, and the version at the top."""
    text = (FOLDER / "README.md").read_text("utf-8")
    latest = next(line for line in text.partition("## Versions")[2].splitlines() if line.startswith("- "))

    assert latest.startswith(f"- {incident_recording.VERSION}: {len(LINES)} incidents"), latest
    assert f"Version {incident_recording.VERSION};" in text


WRONG = {
    "a step without its content": lambda one: one["connections"][0]["steps"].append(
        {"t": 1, "from": "server", "kind": "close"}
    ),
    "an unknown kind": lambda one: one["connections"][0]["steps"].append({"t": 1, "from": "server", "kind": "hello"}),
    "nothing to play": lambda one: one["connections"].clear(),
    "a pulse without a length": lambda one: one["connections"][0].update(
        pulse={"connections": 1, "every_s": 0, "times": 1}
    ),
    "a close code of three bytes": lambda one: one["connections"][0]["steps"].append(
        {"t": 1, "from": "server", "kind": "close", "code": 65_536, "reason": ""}
    ),
    "a status that no answer has": lambda one: one["connections"][0]["steps"].append(
        {"t": 1, "from": "server", "kind": "http_status", "status": 99, "headers": {}, "body": ""}
    ),
    "a time before the connect": lambda one: one["connections"][0]["steps"][0].update(t=-1),
}


@pytest.mark.parametrize("spoil", WRONG.values(), ids=WRONG)
def test_a_wrong_line_is_refused(spoil, tmp_path):
    """By the schema, and by the player with the line's number."""
    wrong = deepcopy(INCIDENTS["slots-of-all"])
    spoil(wrong)
    file = tmp_path / "incidents.jsonl"
    file.write_text(f"{LINES[0]}\n{json.dumps(wrong)}\n", encoding="utf-8")

    assert not jsonschema.Draft202012Validator(SCHEMA).is_valid(wrong)
    with pytest.raises(ValueError, match=r"^line 2: "):
        load_incidents(file)


@pytest.mark.parametrize("name", KNOWN)
def test_the_labels_are_those_of_the_table_of_faults(name):
    """Where tests/data/faults.yml, written before any code, has the fault, both say the same of its session."""
    wanted = OF_FAULT[",".join(ROW_OF[name]["faults"]), OVER[INCIDENTS[name]["transport"]]]
    labels = INCIDENTS[name]["connections"][0]["expected"]

    close = wanted["close"] and {
        "code": wanted["close"]["code"],
        "by": SIDES[wanted["close"]["initiator"]],
        "phase": wanted["close"]["phase"],
    }
    verdicts = {probe: wanted[probe].replace("-", "unproved") for probe in ("connect", "auth", "send")}
    same = {field: wanted[field] for field in ("phase", "reason", "factory_reason", "http_status")}
    assert {key: labels[key] for key in (*verdicts, *same, "close")} == {**verdicts, **same, "close": close}


def test_most_labels_are_held_by_the_table_of_faults():
    """The rest are faults with other figures than its rows."""
    assert len(KNOWN) > len(PLAYED) / 2


def in_turn(incident, user):
    """The entries that the connections of a user meet, one after another: those of the pulse first."""
    entries = [entry for entry in incident["connections"] if user in entry["users"]]
    pulse = [entry for entry in entries if entry["pulse"] for _ in range(entry["pulse"]["connections"])]
    return [*pulse, *(entry for entry in entries if not entry["pulse"])]


async def met(loop, name, alias, user):
    """What each session of a user says of the incident as the player plays it, and what it should say."""
    incident = INCIDENTS[name]
    tls = incident["transport"] == "wss"
    options = {"clock": loop.time, "wall": loop.wall, "timings": Timings()}
    async with StandIn.start(tls_port=0 if tls else None, **options) as standin:
        standin.play(PLAYABLE[name])
        said = [
            (entry["expected"], *await incident_recording.judge(loop, standin, ROW_OF[name], alias))
            for entry in in_turn(incident, user)
        ]
        assert not standin.crashes
    return said


@pytest.mark.parametrize("name", PLAYED)
def test_a_session_says_of_the_player_what_the_labels_say(name):
    """Verdicts, phase, reason and close, for each user; no diagnosis is certain of a layer that is not at fault."""
    for alias, user in POOL.items():
        said = virtual_clock.run(lambda loop, alias=alias, user=user: met(loop, name, alias, user))
        assert said
        for expected, got, explanation in said:
            assert got == expected, user
            certain = explanation.confidence is Confidence.CERTAIN
            assert not certain or explanation.layer == INCIDENTS[name]["layer"], explanation.sentence


@pytest.mark.parametrize("name", PLAYED)
def test_a_client_sees_of_the_player_the_steps_of_the_file(name):
    """Recorded from the player, the steps are those that it plays: same bytes, same times. One user of each entry."""
    for user in {entry["users"][0]: None for entry in INCIDENTS[name]["connections"]}:
        for turn, entry in enumerate(in_turn(INCIDENTS[name], user)):
            steps = virtual_clock.run(lambda loop, user=user, turn=turn: recorded(loop, name, user, turn))
            assert steps == entry["steps"]


async def recorded(loop, name, user, turn):
    """What a client sees of the player in its connection number `turn`."""
    tls = INCIDENTS[name]["transport"] == "wss"
    async with incident_recording.started(loop, [], tls=tls) as standin:
        standin.play(PLAYABLE[name])
        for _ in range(turn):
            await incident_recording.seen(loop, standin, user, tls=tls)
        return await incident_recording.seen(loop, standin, user, tls=tls)


async def test_what_is_no_fault_of_a_server_is_not_played():
    """The sentence says why."""
    async with StandIn.start(tls_port=None) as standin:
        with pytest.raises(ValueError, match="key-gone is not played: The prober's own key file is gone"):
            standin.play(PLAYABLE["key-gone"])


# A data set of somebody else's --------------------------------------------------------------------------------------

HELLO = {"t": 0.1, "from": "server", "kind": "text", "text": "hello"}
REQUEST = [
    {"t": 0, "from": "client", "kind": "connect"},
    {"t": 0, "from": "client", "kind": "http_request", "method": "GET", "target": "/", "headers": {}},
    {"t": 0, "from": "server", "kind": "101"},
]


@contextlib.asynccontextmanager
async def playing(folder, *steps):
    """A client that is connected to a player of these steps after the 101, without a token."""
    entry = {"users": ["nobody"], "pulse": None, "steps": [*REQUEST, *steps]}
    incident = {"name": "own", "what": "own", "transport": "ws", "played": True, "connections": [entry]}
    file = folder / "own.jsonl"
    file.write_text(json.dumps(incident), encoding="utf-8")
    async with StandIn.start(tls_port=None) as standin:
        standin.play(load_incidents(file)["own"])
        peer = await Peer.connect(standin)
        try:
            assert await peer.upgrade("/any/path") == "101"
            yield peer
        finally:
            await peer.close()
        assert not standin.crashes


async def test_every_kind_of_frame_can_be_played(tmp_path):
    """Text that is no JSON, binary, a ping, a value with its own type; then the server closes without a code."""
    echo = {"t": 0, "from": "server", "kind": "text", "json": {"id": "${received.id}", "of": "${user}", "n": [1]}}
    asks = {"t": 0, "from": "client", "kind": "text", "json": {}}
    frames = [
        {"t": 0, "from": "server", "kind": "binary", "base64": "AAE="},
        {"t": 0, "from": "server", "kind": "ping"},
        {"t": 0, "from": "server", "kind": "close", "code": 1005, "reason": ""},
    ]
    async with playing(tmp_path, HELLO, asks, echo, *frames) as peer:
        assert await peer.frame() == ("text", b"hello")
        peer.send_json({"id": 7})
        assert await peer.frame() == ("text", b'{"id":7,"of":"nobody","n":[1]}')
        assert [await peer.frame() for _ in range(2)] == [("binary", b"\x00\x01"), ("ping", b"")]
        assert await peer.frame() == ("close", "1005")
        peer.send("close")
        assert await peer.frame() == ("eof", None)


async def test_a_client_that_closes_early_gets_its_own_code_back(tmp_path):
    """The script would have spoken in an hour; nothing of it is sent after the close."""
    async with playing(tmp_path, {**HELLO, "t": 3600}) as peer:
        peer.send("ping", b"?")
        assert await peer.frame() == ("pong", b"?")
        peer.send_close(4321)
        assert [await peer.frame() for _ in range(2)] == [("close", "4321"), ("eof", None)]


async def test_a_message_is_answered_as_often_as_it_comes(tmp_path):
    """The steps after it are played again."""
    asks = {"t": 0, "from": "client", "kind": "text", "json": {}}
    async with playing(tmp_path, asks, {**HELLO, "t": 0.001}) as peer:
        for _ in range(3):
            peer.send_json({})
            assert await peer.frame() == ("text", b"hello")


async def test_a_silent_server_answers_only_what_the_step_says(tmp_path):
    """With `answers: []` neither a ping nor a close; with `ping` a ping, and a close that the script does not have."""
    silence = {"t": 0, "from": "server", "kind": "silence"}
    async with playing(tmp_path, {**silence, "answers": ["ping"]}) as peer:
        peer.send_json({})
        peer.send("ping", b"?")
        assert await peer.frame() == ("pong", b"?")
        peer.send_close()
        assert await peer.frame() == ("close", "1000")
    async with playing(tmp_path, {**silence, "answers": []}) as peer:
        peer.send("ping", b"?")
        peer.send_close()
        assert await peer.frame(0.2) == ("silence", None)
