"""The config that `init` writes is one that the exporter takes, whatever was seen."""

import re
from itertools import product

import pytest
import yaml

from exporter.catalog import CATALOG
from exporter.config import examine, load_yaml, needs_token
from exporter.discovery import (
    UNKNOWN_SUBPROTOCOL,
    BackendEvidence,
    Recognised,
    Sighting,
    Starter,
    candidates,
    starter_config,
)
from exporter.loading import checked
from exporter.result import ErrorKind, Phase, Reason, Software

URL = "wss://api.example.com/ws?EIO=4&transport=websocket"
SHAPES = ('← {"type": text(5), "#text": text(2)}', "← unreadable: binary(7 bytes)")


def recognised(name):
    return [Recognised("a protocol", name, ("the server chose it", "a frame looks so"))]


@pytest.fixture
def token(tmp_path):
    path = tmp_path / "token"
    path.write_text("tok_5f0c2b9a77e1d4")
    path.chmod(0o600)
    return path.name


@pytest.mark.parametrize(
    ("name", "with_token", "subject"),
    [*product([None, *CATALOG], [False, True], [None, 'ann: "o\'hara" # ünï', "ann \U0001f600\u2028\u00ad"])],
    ids=str,
)
def test_a_written_config_passes_the_check(name, with_token, subject, token, tmp_path):
    """For each built-in profile and none, with a token file and without, whatever the subject looks like."""
    starter = Starter(
        URL,
        "api.example.com",
        recognised(name) if name else (),
        CATALOG[name] if name else None,
        SHAPES,
        subject=subject,
        token_file=token if with_token else None,
    )
    loaded = checked(load_yaml(starter_config(starter).encode()), tmp_path / "exporter.yml")

    (target,) = loaded.config.targets
    assert target.url == URL
    is_whole = name is None or with_token or not needs_token(CATALOG[name])
    assert target.profile == ("my-backend" if name is None else name if is_whole else f"{name}-connect")
    assert (target.auth is not None) == with_token
    if subject and is_whole:
        assert target.identities == {"probe-1": subject}


@pytest.mark.usefixtures("token")
@pytest.mark.parametrize("name", [None, *CATALOG])
def test_what_stands_in_comments_is_valid_too(name, tmp_path):
    """A reader who takes a commented line gets a config that passes as well."""
    starter = Starter(URL, "a", recognised(name) if name else (), CATALOG[name] if name else None, SHAPES)
    text = starter_config(starter)
    lines = re.sub(r"^(    )# (profile|identities|auth|limits):", r"\1\2:", text, flags=re.MULTILINE)
    if f"{name}-connect" in text:
        lines = lines.replace(f"    profile: {name}-connect\n", "").replace(f"  {name}-connect:", "  unused:")
    (tmp_path / "signing.key").write_text("k" * 64)

    assert checked(load_yaml(lines.encode()), tmp_path / "exporter.yml").config.targets[0].identities


def test_the_skeleton_of_an_unknown_protocol_is_a_valid_profile():
    """Its words are placeholders, its fields are right."""
    text = starter_config(Starter(URL, "a", shapes=SHAPES, subprotocol="mine.v1"))
    skeleton = re.search(r"  # my-backend:\n((?:  #   .*\n)+)", text)[1]
    profile = yaml.safe_load(re.sub("^  # ", "", skeleton, flags=re.MULTILINE))
    target = {"name": "t", "url": "ws://127.0.0.1/", "profile": "echo"}
    examined = examine({"profiles": {"mine": profile}, "targets": [target]}, CATALOG)

    assert examined.problems == ()
    assert profile["subprotocols"] == ["mine.v1"]
    assert all(f"  #   {shape}" in text for shape in SHAPES)


def test_the_reasons_and_the_other_candidates_stand_in_the_head():
    """The first is used, the others are named with their evidence."""
    both = [
        *recognised("graphql"),
        Recognised("JSON-RPC", "jsonrpc", ("it answered",)),
        Recognised("XMPP", None, ("x",)),
    ]
    text = starter_config(Starter(URL, "a", both, CATALOG["graphql"]))
    head = " ".join(line.removeprefix("# ") for line in text.splitlines() if line.startswith("#"))

    assert "Recognised: a protocol (profile graphql), because the server chose it, and a frame looks so." in head
    assert "This fits as well: JSON-RPC (profile jsonrpc), because it answered." in head
    assert "This fits as well: XMPP (no profile is built in), because x." in head


def test_profiles_that_come_into_question_stand_in_the_head():
    """Where nothing is recognised, the config says what was seen and what to try."""
    silent = Sighting(URL, subprotocol=UNKNOWN_SUBPROTOCOL, asked=True, error=ErrorKind.EOF)
    text = starter_config(Starter(URL, "a", candidates=candidates(BackendEvidence([silent]))))
    head = " ".join(line.removeprefix("# ") for line in text.splitlines() if line.startswith("#"))

    assert "ended the connection at a JSON message, as a broker of MQTT that knows no JSON does" in head
    assert "profile mqtt comes into question. Try ws-factory-exporter check --url URL --profile mqtt" in head


@pytest.mark.parametrize("server", [None, Software.DAPHNE])
@pytest.mark.parametrize("proxies", [(), (Software.CLOUDFRONT, Software.NGINX)])
def test_software_that_was_seen_is_a_setting_and_the_rest_a_comment(server, proxies, tmp_path):
    """Both stand there, and a reader who takes the commented lines gets a config that passes."""
    text = starter_config(Starter(URL, "a", server=server, proxies=proxies))
    (target,) = checked(load_yaml(text.encode()), tmp_path / "exporter.yml").config.targets
    every = re.sub(r"^    # (server|behind):", r"    \1:", text, flags=re.MULTILINE)
    (whole,) = checked(load_yaml(every.encode()), tmp_path / "exporter.yml").config.targets

    assert (target.server, target.behind) == (server, list(proxies))
    assert (whole.server, whole.behind) == (server or Software.UVICORN, list(proxies) or [Software.NGINX])
    assert ("Check their order" in text) == bool(proxies)


OPENED = {"url": URL, "phases": {Phase.UPGRADE: 0.1}}
REFUSED = {"url": URL, "status": 404}


@pytest.mark.parametrize(
    ("sightings", "server", "proxies"),
    [
        ([{**OPENED, "answered_by": Software.AIOHTTP, "via": (Software.CADDY,)}], Software.AIOHTTP, (Software.CADDY,)),
        ([{**OPENED, "answered_by": Software.BACKEND, "via": (Software.NGINX,)}], None, (Software.NGINX,)),
        ([{**REFUSED, "answered_by": Software.NODE}, {**OPENED, "answered_by": Software.WS}], Software.WS, ()),
        ([{**REFUSED, "answered_by": Software.UVICORN}], Software.UVICORN, ()),
        ([{**OPENED, "answered_by": Software.UVICORN}, {**OPENED, "answered_by": Software.DAPHNE}], None, ()),
        (
            [{**REFUSED, "answered_by": Software.ENVOY, "via": (Software.CLOUDFLARE,)}],
            None,
            (Software.CLOUDFLARE, Software.ENVOY),
        ),
        ([OPENED], None, ()),
    ],
)
def test_the_server_is_the_one_that_opened_a_websocket(sightings, server, proxies):
    """A refusal may be another server's; two servers at one URL are none."""
    evidence = BackendEvidence([Sighting(**each) for each in sightings])

    assert (evidence.server, evidence.proxies) == (server, proxies)


def test_no_token_stands_in_the_config(token, tmp_path):
    """Only the path of its file does."""
    text = starter_config(Starter(URL, "a", recognised("graphql"), CATALOG["graphql"], token_file=token))

    assert (tmp_path / token).read_text() not in text
    assert 'auth: {secret_file: "token"}' in text


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_upgrade_becomes_a_profile_whose_token_is_checked_there(status, token, tmp_path):
    """The token is proved by the 101, and the refusal is one of the token."""
    text = starter_config(Starter(URL, "a", refused_status=status, token_file=token))
    loaded = checked(load_yaml(text.encode()), tmp_path / "exporter.yml")
    profile = loaded.config.profiles["my-backend"]

    assert profile.auth_by == "upgrade"
    assert [(rule.status, rule.reason) for rule in profile.statuses] == [(status, Reason.AUTH_REJECTED)]
