"""`init`, run as a user runs it: from a URL to a config that passes `check`, for real backends of several protocols."""

import signal

import pytest
import yaml
from support.certificates import DAY, NOW, authority, server_context
from support.commands import command
from support.protocol_servers import ON_NODE, SERVERS
from support.proxies import PROXIES, proxy
from support.proxy_upstreams import upstreams
from support.raw_server import UPGRADE, frame, serving, text, until
from websockets.frames import Opcode

TOKEN = "tok_5f0c2b9a77e1d4"
PRIVATE = "ann@example.com"
BACKENDS = {
    "graphql-ws": "graphql",
    "strawberry": "graphql",
    "socketio": "socketio",
    "python-socketio": "socketio",
    "rpc-websockets": "jsonrpc",
    "aiohttp-jsonrpc": "jsonrpc",
    "mosquitto": "mqtt",
    "nats": "nats",
    "trpc": "trpc",
}


async def run(*words):
    """Exit code, stdout and stderr of the command."""
    async with command(*words) as running:
        code = await running.ended()
        return code, "\n".join(running.out), "\n".join(running.err)


@pytest.mark.parametrize(
    ("name", "profile"),
    [
        pytest.param(name, profile, marks=[pytest.mark.needs("node")] if name in ON_NODE else [])
        for name, profile in BACKENDS.items()
    ],
)
async def test_from_nothing_to_a_config_that_passes_check(name, profile, tmp_path):
    """The protocol is recognised, and the config is one that the exporter takes; with the login, `check` passes."""
    config, secret = tmp_path / "exporter.yml", tmp_path / "token"
    async with SERVERS[name](tmp_path) as server:
        login = []
        if profile in {"mqtt", "nats", "trpc"}:
            secret.write_text(server.good.secret)
            secret.chmod(0o600)
            login = [f"--identity={server.good.subject}", f"--token-file={secret}"]
        code, out, err = await run("init", server.url, f"--output={config}", *login)
        assert code == 0, err
        checked = await run("run", f"--config.file={config}", "--config.check")
        probed = await run("check", f"--config.file={config}")

    assert out == f"wrote {config}"
    assert f"(profile {profile})" in err
    assert err.endswith(f"next: ws-factory-exporter check --config.file {config}")
    assert checked[0] == 0, checked
    assert probed[0] == 0, probed
    assert yaml.safe_load(config.read_text())["targets"][0]["profile"] == profile


@pytest.mark.needs("node")
async def test_a_broker_that_chooses_whatever_is_offered_is_told_by_what_was_seen(tmp_path):
    """stomp-broker-js shows nothing of STOMP before a login: its profile is named as one to try, and passes."""
    async with SERVERS["stomp-broker-js"](tmp_path) as server:
        code, out, err = await run("init", server.url)

    assert code == 0
    assert "profiles stomp and mqtt come into question" in err
    assert "Try ws-factory-exporter check --url URL --profile stomp" in " ".join(out.replace("#", "").split())


@pytest.mark.parametrize("subject", ["", " "])
async def test_an_empty_identity_is_a_usage_error(subject):
    """It names no user: nothing is connected to, and the sentence says what to write."""
    code, out, err = await run("init", "ws://127.0.0.1:1/", "--identity", subject)

    assert (code, out) == (1, "")
    assert "--identity: must not be empty: name the test user as the backend calls it, or leave it out" in err


BEHIND = {
    "caddy": ("aiohttp", ["caddy"], "answers name: aiohttp, behind caddy"),
    "nginx": (None, ["nginx"], "answers name: no server, behind nginx"),
}


@pytest.mark.parametrize(("front", "seen"), BEHIND.items(), ids=BEHIND)
async def test_the_server_and_the_proxies_that_answers_name_are_settings(front, seen, tmp_path):
    """With aiohttp behind two real proxies: Caddy keeps its name, nginx puts its own in its place."""
    server, behind, line = seen
    config = tmp_path / "exporter.yml"
    async with (
        upstreams(tmp_path, ["aiohttp"]) as running,
        proxy(PROXIES[front], tmp_path, running.routes) as before,
    ):
        code, _, err = await run("init", f"ws://{before.address}/aiohttp/", f"--output={config}")
    assert code == 0, err
    checked = await run("run", f"--config.file={config}", "--config.check")

    (target,) = yaml.safe_load(config.read_text())["targets"]
    assert (target.get("server"), target["behind"]) == (server, behind)
    assert line in err
    assert ("# server: uvicorn" in config.read_text()) == (server is None)
    assert checked[0] == 0, checked


async def test_a_proxy_that_refuses_by_itself_is_named(tmp_path):
    """Envoy without `upgrade_configs` answers 403, which no token changes."""
    async with (
        upstreams(tmp_path, []) as running,
        proxy(PROXIES["envoy"], tmp_path, running.routes, passes_upgrades=False) as before,
    ):
        code, out, err = await run("init", f"ws://{before.address}/raw/ws")

    assert (code, out) == (1, "")
    assert "envoy itself refused the upgrade with HTTP 403; nothing was written" in err
    assert "upgrade_configs" in err


async def unknown(peer):
    """A backend of no known protocol, whose frames hold private text."""
    await UPGRADE(peer)
    peer.send(text({"kind": "greeting", "mail": PRIVATE, "users": [1, 2]}), frame(Opcode.BINARY, b"\x00\xff"))


async def test_an_unknown_backend_shows_the_shape_of_its_frames(tmp_path):
    """On stderr and in the config, which opens and closes a WebSocket and names where to go on; no value is shown."""
    config = tmp_path / "exporter.yml"
    async with serving(unknown) as server:
        code, _, err = await run("init", f"ws://127.0.0.1:{server.port}/", f"--output={config}")
        assert code == 0, err
        probed = await run("check", f"--config.file={config}")

    written = config.read_text()
    for text_of in (err, written):
        assert '← {"kind": text(8), "mail": text(15), "users": [number, number]}' in text_of
        assert "← unreadable: binary(2 bytes)" in text_of
        assert PRIVATE not in text_of
        assert "greeting" not in text_of
    assert "recognised: nothing" in err
    assert "docs/profiles.md" in written
    assert probed[0] == 0, probed


async def test_the_config_goes_to_stdout_and_the_findings_to_stderr(tmp_path):
    """So that `init URL > exporter.yml` writes a config and nothing else; the token stays in its file."""
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "token").chmod(0o600)
    words = (f"--token-file={tmp_path / 'token'}", "--identity=ann")
    async with serving(unknown) as server:
        code, out, err = await run("init", f"ws://127.0.0.1:{server.port}/", *words)

    (target,) = yaml.safe_load(out)["targets"]
    assert code == 0
    assert target["identities"] == {"probe-1": "ann"}
    assert target["auth"] == {"secret_file": str(tmp_path / "token")}
    assert "connections, without credentials" in err
    assert "next: save the config as exporter.yml, then: ws-factory-exporter check" in err
    assert TOKEN not in out + err
    assert not any(TOKEN in str(peer.headers) + peer.line for peer in server.peers)


async def test_a_file_that_is_there_is_kept_unless_forced(tmp_path):
    """Nothing is connected to before that is clear."""
    config = tmp_path / "exporter.yml"
    config.write_text("mine")
    async with serving(unknown) as server:
        url = f"ws://127.0.0.1:{server.port}/"
        code, _, err = await run("init", url, f"--output={config}")
        assert (code, config.read_text(), server.peers) == (1, "mine", [])
        assert "is there: add --force to replace it" in err
        assert (await run("init", url, f"--output={config}", "--force"))[0] == 0

    assert yaml.safe_load(config.read_text())["targets"][0]["url"] == url


WRONG = {
    "credentials": (("ws://user:pa55word@127.0.0.1/",), "must not hold credentials"),
    "a token in the query": (("ws://127.0.0.1/?token=pa55word",), "must not hold the parameter token"),
    "another scheme": (("https://127.0.0.1/",), "must begin with ws:// or wss://"),
    "no token file": (("ws://127.0.0.1/", "--token-file=nowhere"), "--token-file: nowhere: No such file"),
    "no folder": (("ws://127.0.0.1/", "--output=nowhere/exporter.yml"), "there is no such folder"),
}


@pytest.mark.parametrize(("words", "sentence"), WRONG.values(), ids=WRONG)
async def test_what_cannot_be_used_is_a_sentence(words, sentence):
    """Before any connection, and without a secret of the command line in it."""
    code, out, err = await run("init", *words)

    assert (code, out) == (1, "")
    assert sentence in err
    assert "pa55word" not in err


async def guarded(peer):
    """A backend that checks a token in the upgrade."""
    switching = await peer.request()
    is_in = peer.headers.get("authorization") == f"Bearer {TOKEN}"
    peer.send(switching if is_in else b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n")


async def test_a_backend_that_wants_a_token_in_the_upgrade_gets_a_config_with_one(tmp_path):
    """`init` itself sends none; `check` with its config is let in. Without a token file, the sentence asks for one."""
    config, secret = tmp_path / "exporter.yml", tmp_path / "token"
    secret.write_text(TOKEN)
    secret.chmod(0o600)
    async with serving(guarded) as server:
        words = ("init", f"ws://127.0.0.1:{server.port}/", f"--output={config}")
        code, _, err = await run(*words)
        assert (code, config.exists()) == (1, False)
        assert "refused the upgrade with HTTP 401" in err
        assert "add --identity and --token-file" in err

        code, _, err = await run(*words, "--identity=ann", f"--token-file={secret}")
        assert code == 0, err
        assert not any("authorization" in peer.headers for peer in server.peers)
        probed = await run("check", f"--config.file={config}")

    assert probed[0] == 0, probed
    assert "auth         pass" in probed[1]


async def test_the_end_of_the_certificate_is_shown(tmp_path):
    """And of a certificate that is not trusted, what to do."""
    end = NOW + 10 * DAY
    context = server_context(tmp_path, authority().issue("127.0.0.1", until=end))
    trusted = tmp_path / "ca.pem"
    trusted.write_bytes(authority().pem)
    async with serving(unknown, tls=context) as server:
        words = ("init", f"wss://127.0.0.1:{server.port}/", f"--output={tmp_path / 'exporter.yml'}")
        refused = await run(*words)
        async with command(*words, SSL_CERT_FILE=str(trusted)) as running:
            assert await running.ended() == 0, running.err

    assert refused[0] == 1
    assert "the certificate is not trusted; a private CA is named in the config, under tls.ca_file" in refused[2]
    assert f"certificate: ends {end:%Y-%m-%d}" in "\n".join(running.err)


async def test_an_interrupted_look_closes_and_writes_nothing(tmp_path):
    """Ctrl-C is no reason to leave a connection open: the backend gets a close with 1000."""
    config = tmp_path / "exporter.yml"
    async with serving(UPGRADE) as server:
        async with command("init", f"ws://127.0.0.1:{server.port}/", f"--output={config}") as running:
            await until(lambda: len(server.peers) == 2 and server.peers[1].headers)
            code, _ = await running.signalled(signal.SIGINT)
        await server.over()

    assert code == 1
    assert "interrupted: nothing was written" in "\n".join(running.err)
    assert server.peers[1].codes == [1000]
    assert not config.exists()


async def test_a_url_without_a_websocket_writes_no_config(tmp_path):
    """The sentence says what was found there."""

    async def refuse(peer):
        await peer.request()
        peer.send(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

    config = tmp_path / "exporter.yml"
    async with serving(refuse) as server:
        code, _, err = await run("init", f"ws://127.0.0.1:{server.port}/", f"--output={config}")

    assert code == 1
    assert "no WebSocket was opened: the server refused the upgrade with HTTP 404; nothing was written" in err
    assert "Socket.IO has /socket.io/" in err
    assert not config.exists()
