"""`run` and its --web flags, as processes: what is served where, and what is wrong with them."""

import re

import pytest
import yaml
from support.certificates import client_context
from support.commands import command
from support.web_client import ask, hashed, pair, written

from exporter import arguments


@pytest.fixture
def config(tmp_path):
    """A config whose only target is never there."""
    file = tmp_path / "exporter.yml"
    file.write_text(yaml.safe_dump({"targets": [{"name": "staging", "url": "ws://127.0.0.1:1/ws", "profile": "echo"}]}))
    return f"--config.file={file}"


LOOPBACK = "--web.listen-address=127.0.0.1:0"


def test_without_flags_all_is_as_the_design_says():
    """One address, plain, at the root."""
    options = arguments.parser().parse_args(["run"])
    assert (options.listen, options.from_systemd, options.web_config) == (None, False, None)
    assert (options.external, options.prefix, options.telemetry) == (None, None, None)
    assert arguments.DEFAULT_LISTEN_ADDRESS == ":11011"


async def test_everything_at_once_is_served_as_it_is_told(config, tmp_path):
    """Two addresses, TLS, a user, a prefix, another path for the metrics: as the line in the log says."""
    web = written(tmp_path, tls_server_config=pair(tmp_path), basic_auth_users={"prometheus": hashed("x")})
    flags = (LOOPBACK, LOOPBACK, f"--web.config.file={web}", "--web.external-url=https://mon.example.com/ws")
    async with command("run", config, *flags, "--web.telemetry-path=/figures", "--startup.delay=1h") as running:
        (line,) = await running.said("msg=listening")
        port = int(re.search(r"url=https://127\.0\.0\.1:(\d+)/ws\b", line)[1])
        page = await ask(port, "/ws/figures", tls=client_context(), user="prometheus:x")
        assert (page.status, "ws_probe_success" in page.body) == (200, True)
        assert (await ask(port, "/ws/-/healthy", tls=client_context())).status == 401
        led = await ask(port, "/", tls=client_context(), user="prometheus:x")
        assert (led.status, led.headers["location"]) == (302, "https://mon.example.com/ws/")
        running.process.terminate()
        assert await running.ended() == 0


@pytest.mark.parametrize("check", [(), ("--config.check",)], ids=["run", "check"])
async def test_a_broken_web_config_is_every_sentence_and_exit_code_1(check, config, tmp_path):
    """At the start, and when the config is only checked; nothing listens, no hash is shown."""
    path = written(tmp_path, tls_server_config={"cert_file": "a"}, basic_auth_users={"bob": "s3cret"}, rate_limits={})
    async with command("run", config, LOOPBACK, f"--web.config.file={path}", *check) as running:
        assert await running.ended() == 1
    said = [line.removeprefix(f"ws-factory-exporter: {path}: ").split(":")[0] for line in running.err]
    assert said == ["basic_auth_users.bob", "rate_limits", "tls_server_config.key_file"]
    assert "s3cret" not in "".join(running.err)
    assert not running.out


async def test_a_good_web_config_passes_the_check(config, tmp_path):
    """The plan is printed, the exit code is 0."""
    path = written(tmp_path, tls_server_config=pair(tmp_path))
    async with command("run", config, "--config.check", f"--web.config.file={path}") as running:
        assert await running.ended() == 0
    assert any("staging" in line for line in running.out)


async def test_wrong_flags_are_told_at_once(config):
    """A sentence for each, exit code 1."""
    async with command(
        "run", config, "--web.listen-address=x", "--web.external-url=x", "--web.route-prefix=/a b"
    ) as run:
        assert await run.ended() == 1
    assert [re.findall(r"--web\.[a-z-]+", line)[0] for line in run.err] == [
        "--web.listen-address",
        "--web.external-url",
        "--web.route-prefix",
    ]
