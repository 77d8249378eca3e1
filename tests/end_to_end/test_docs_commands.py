"""What the documentation has its readers do is done here: the quickstart's commands, and the worked profile."""

import asyncio
import json
import re
import shlex
import sys
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import count

import yaml
from support.commands import command, value_of
from support.paths import ROOT
from support.realservers import free_port, get, stop, until
from websockets.asyncio.server import serve

QUICKSTART = (ROOT / "docs/quickstart.md").read_text("utf-8")
PROFILES = (ROOT / "docs/profiles.md").read_text("utf-8")
FILES = dict(re.findall(r'```\w+ title="(\S+)"\n(.*?)```', QUICKSTART, re.DOTALL))
COMMANDS = [
    shlex.split(line) for line in re.findall(r"^\$ \.venv/bin/ws-factory-exporter (.*)$", QUICKSTART, re.MULTILINE)
]
PORT = "8765"
CONFIG = "exporter.yml"
"""What `init` writes."""


def in_folder(arguments, folder):
    """The arguments, with the page's files where this test has written them."""
    return [str(folder / argument) if argument in {CONFIG, *FILES} else argument for argument in arguments]


@asynccontextmanager
async def served_by(script):
    """The page's server; ready once it takes connections."""
    process = await asyncio.create_subprocess_exec(sys.executable, script)
    try:
        yield process
    finally:
        await stop(process)


async def takes_connections(port):
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


async def test_the_quickstart_works_as_it_is_written(tmp_path):
    """A config is written that is shown there, it is good, the check passes, and the exporter serves its metrics."""
    (_, url, *output), check_config, check, run = COMMANDS
    port = free_port()
    for name, text in FILES.items():
        (tmp_path / name).write_text(text.replace(PORT, str(port)), encoding="utf-8")

    async with served_by(tmp_path / "echo_server.py"):
        await until(lambda: takes_connections(port))
        async with command("init", url.replace(PORT, str(port)), *in_folder(output, tmp_path)) as looked:
            assert await looked.ended() == 0, looked.out + looked.err
        async with command(*in_folder(check_config, tmp_path)) as checked:
            assert await checked.ended() == 0, checked.out + checked.err
        async with command(*in_folder(check, tmp_path)) as explained:
            assert await explained.ended() == 0, explained.out + explained.err
        async with command(*in_folder(run, tmp_path), "--web.listen-address", "127.0.0.1:0") as running:
            (line, *_) = await running.said("url=")
            metrics = await get(f"{value_of(line, 'url').rstrip('/')}/metrics")

    assert 'ws_probe_attempts_total{target="127.0.0.1",probe="send"}' in metrics
    written = yaml.safe_load((tmp_path / CONFIG).read_text())["targets"]
    (shown,) = re.findall(r"```yaml\n(targets:.*?)```", QUICKSTART, re.DOTALL)
    assert written == yaml.safe_load(shown.replace(PORT, str(port)))["targets"]


async def test_the_refused_schedule_of_the_design_page_is_refused_in_those_words(tmp_path):
    """The page quotes what the check of the config says."""
    config = tmp_path / "exporter.yml"
    target = {
        "name": "staging",
        "url": "wss://api.staging.example.com/ws",
        "profile": "factory",
        "interval": "13s",
        "identities": {"pool-001": "exporter-user-001"},
        "auth": {"jwt": {"key_env": "STAGING_KEY"}},
    }
    config.write_text(json.dumps({"targets": [target]}), encoding="utf-8")

    async with command("run", "--config.file", str(config), "--config.check", STAGING_KEY="k" * 64) as checked:
        code = await checked.ended()
    said = " ".join(checked.err).partition("exporter.yml: ")[2]

    assert (code, said.startswith("targets[0]")) == (1, True)
    assert said in " ".join((ROOT / "docs/design.md").read_text("utf-8").split())


@asynccontextmanager
async def chat_server(token):
    """A server that speaks as the worked example of docs/profiles.md says; gives its port."""
    numbers = count(1)

    async def talk(connection):
        if connection.request.headers.get("Authorization") != f"Bearer {token}":
            await connection.send(json.dumps({"type": "error", "code": "bad_token"}))
            await connection.close(4001, "bad token")
            return
        now = datetime.now(UTC).isoformat()
        await connection.send(json.dumps({"type": "hello", "server_time": now, "session": f"s-{next(numbers)}"}))
        await connection.send(json.dumps({"type": "presence", "users": 3}))
        async for message in connection:
            await connection.send(json.dumps({"type": "said", "id": json.loads(message)["id"], "ok": True}))

    async with serve(talk, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def explained(folder, token):
    """Exit code of one check with this token, and its result as JSON."""
    (example,) = re.findall(r"```yaml\n# example: chat\n(.*?)```", PROFILES, re.DOTALL)
    async with chat_server("good-token") as port:
        config = folder / "exporter.yml"
        config.write_text(example.replace(PORT, str(port)), encoding="utf-8")
        arguments = ("check", "--config.file", str(config), "--target", "chat", "--output", "json")
        async with command(*arguments, CHAT_TOKEN=token) as check:
            code = await check.ended()
    return code, json.loads("\n".join(check.out))["results"][0]


async def test_the_worked_profile_passes_on_a_server_that_speaks_so(tmp_path):
    """Connect, auth and send pass with the right token."""
    code, result = await explained(tmp_path, "good-token")

    assert (code, result["verdicts"]) == (0, {"connect": "pass", "auth": "pass", "send": "pass"})


async def test_the_worked_profile_names_a_rejected_token(tmp_path):
    """A wrong token is `auth_rejected`, and no failure of the connection."""
    code, result = await explained(tmp_path, "wrong-token")

    assert (code, result["reason"], result["verdicts"]["connect"]) == (2, "auth_rejected", "pass")
