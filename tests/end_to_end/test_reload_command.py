"""Reloads as operators meet them: the real command, signals, HTTP, files that change under it, a real Prometheus."""

import asyncio
import contextlib
import os
import re
import signal
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from support import certificates, harness
from support.commands import command
from support.realservers import prometheus, until

from exporter.standin import StandIn, Timings

QUICK = {"interval": "1s", "timeout": "500ms", "close_timeout": "200ms", "confirm": {"runs": 0}}
OK = "ws_exporter_config_last_reload_successful"
OLD_CONFIG_STAYS = "the config is not reloaded, the one before stays in force"


def own(standin, name, **changes):
    """A target with a path and users of its own."""
    users = {f"{name}-{n}": f"staging-{name}-user-{n}" for n in range(3)}
    return harness.target(standin, **{"path": f"/ws/{name}", "name": name, "identities": users, **QUICK, **changes})


class Running:
    """The command over a config file of its own."""

    def __init__(self, config, process, url):
        self.config, self.process, self.url = config, process, url

    def write(self, *targets, **settings):
        """Put another config in place, whole, as an editor or a deployment does."""
        new = self.config.with_suffix(".new")
        new.write_text(yaml.safe_dump({"targets": list(targets), **settings}))
        new.replace(self.config)

    async def ask(self, path, method="GET"):
        """Status and text."""

        def read():
            try:
                with urlopen(Request(f"{self.url}{path}", method=method), timeout=30) as answer:
                    return answer.status, answer.read().decode()
            except HTTPError as refusal:
                with refusal:
                    return refusal.status, refusal.read().decode()

        return await asyncio.to_thread(read)

    async def samples(self):
        """(name, values of the labels in order of their names) → value."""
        _, body = await self.ask("/metrics")
        return {
            (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(body)
            for sample in family.samples
        }

    async def shows(self, condition):
        """Wait for figures of which that is true."""

        async def look():
            found = await self.samples()
            return found if condition(found) else None

        return await until(look)


@contextlib.asynccontextmanager
async def exporting(folder, *targets, flags=("--web.enable-lifecycle",), **settings):
    """`run` on these targets, ready."""
    config = folder / "exporter.yml"
    config.write_text(yaml.safe_dump({"targets": list(targets), **settings}))
    words = ("run", f"--config.file={config}", "--web.listen-address=127.0.0.1:0", "--startup.delay=0s", *flags)
    async with command(*words) as process:
        (line,) = await process.said("msg=listening")
        yield Running(config, process, re.search(r"\burl=(\S+)", line)[1])


@pytest.fixture
async def standin():
    async with StandIn.start(timings=Timings.quick()) as started:
        yield started


def passes(name, probe="send"):
    return lambda found: found.get(("ws_probe_success", probe, name)) == 1


# SIGHUP and HTTP ------------------------------------------------------------------------------------------------------


async def test_a_sighup_takes_the_new_file(standin, tmp_path):
    """Who is new is probed, who is gone is gone, who stays counts on; a line says so; the end is as ever."""
    async with exporting(tmp_path, own(standin, "stays"), own(standin, "goes"), flags=()) as running:
        before = await running.shows(lambda found: passes("stays")(found) and passes("goes")(found))
        running.write(own(standin, "stays"), own(standin, "comes"))
        running.process.process.send_signal(signal.SIGHUP)
        (line,) = await running.process.said('msg="reloaded: ')
        after = await running.shows(passes("comes"))
        code, _ = await running.process.signalled(signal.SIGTERM)

    assert 'msg="reloaded: 1 added (comes), 1 removed (goes)" targets=2' in line
    assert not [key for key in after if "goes" in key]
    cycles = ("ws_probe_cycles_total", "send", "stays")
    assert after[cycles] >= before[cycles] >= 1
    assert code == 0
    assert {seen.close_received for seen in standin.sessions} <= {1000}


async def test_every_mistake_is_answered_and_logged_and_the_old_config_goes_on(standin, tmp_path):
    """By HTTP and by signal; the gauge says 0 until the file is mended, then 1."""
    async with exporting(tmp_path, own(standin, "stays")) as running:
        running.write(
            own(standin, "stays", interval="abc", timout="3s"),
            own(standin, "keyless", auth={"jwt": {"key_file": "not-there"}}),
            own(standin, "greedy", limits={"slots_per_identity": 3}),
        )
        refused = await running.ask("/-/reload", "POST")
        bad = await running.samples()
        running.process.process.send_signal(signal.SIGHUP)
        await running.process.said(OLD_CONFIG_STAYS, times=2)
        cycles = ("ws_probe_cycles_total", "send", "stays")
        await running.shows(lambda found: found[cycles] > bad[cycles] + 1)
        running.write(own(standin, "stays"))
        mended = await running.ask("/-/reload", "POST")
        good = await running.samples()
        lines = list(running.process.err)

    status, text = refused
    sentences = text.splitlines()
    places = [
        "targets[0] (stays).interval",
        "targets[0] (stays).timout",
        "targets[1] (keyless).auth",
        "targets[2] (greedy)",
    ]
    assert (status, sentences[0], len(sentences)) == (500, OLD_CONFIG_STAYS, 5)
    for place in places:
        assert sum(place in sentence for sentence in sentences) == 1
        assert sum(place in line and "level=error" in line for line in lines) == 2
    assert (bad[OK,], good[OK,]) == (0, 1)
    assert mended == (200, "reloaded: no target has changed\n")


BROKEN = {
    "gone": lambda _: None,
    "half a file": lambda path: path.write_bytes(b"targets: ["),
    "empty": lambda path: path.write_bytes(b""),
    "a pipe": os.mkfifo,
    "a folder": lambda path: path.mkdir(),
    "no end": lambda path: path.symlink_to("/dev/zero"),
}


@pytest.mark.parametrize("made", BROKEN)
async def test_a_file_that_is_gone_or_half_written_is_refused(made, standin, tmp_path):
    """One sentence that names it, at once; the next reload and the stop do not notice."""
    async with exporting(tmp_path, own(standin, "stays")) as running:
        good = running.config.read_bytes()
        running.config.unlink()
        BROKEN[made](running.config)
        status, text = await running.ask("/-/reload", "POST")
        running.config.rename(tmp_path / "broken") if made != "gone" else None
        running.config.write_bytes(good)
        mended = await running.ask("/-/reload", "POST")
        code, _ = await running.process.signalled(signal.SIGTERM)

    assert status == 500
    assert text.startswith(f"{OLD_CONFIG_STAYS}\n")
    assert str(running.config) in text
    assert mended == (200, "reloaded: no target has changed\n")
    assert code == 0


async def test_reload_by_http_is_off_unless_asked_for(standin, tmp_path):
    """403 with a sentence, as in Prometheus; a GET is 405 in any case."""
    async with exporting(tmp_path, own(standin, "stays"), flags=()) as running:
        post, get = [await running.ask("/-/reload", method) for method in ("POST", "GET")]

    assert post == (403, "reload by HTTP is switched off: start with --web.enable-lifecycle, or send a SIGHUP\n")
    assert get[0] == 405


HELD = """
import exporter.loading

now = exporter.loading.load_yaml


def held(text):
    with open({pipe!r}) as pipe:
        pipe.read()
    return now(text)


exporter.loading.load_yaml = held
"""


async def test_a_sighup_while_the_first_config_is_read_is_not_the_end(standin, tmp_path):
    """It is kept, and the file is read once more when the start is over: nothing that was written meanwhile is lost."""
    pipe, config = tmp_path / "pipe", tmp_path / "exporter.yml"
    os.mkfifo(pipe)
    (tmp_path / "sitecustomize.py").write_text(HELD.format(pipe=str(pipe)))
    first, second = (yaml.safe_dump({"targets": [own(standin, name)]}) for name in ("first", "second"))
    config.write_text(first)

    def go(before=lambda: None):
        with pipe.open("w"):  # opens when the command holds what it has read
            before()

    def changed():
        process.process.send_signal(signal.SIGHUP)
        config.write_text(second)

    async with command(
        "run", f"--config.file={config}", "--web.listen-address=127.0.0.1:0", "--startup.delay=0s",
        PYTHONPATH=str(tmp_path),
    ) as process:  # fmt: skip
        await asyncio.to_thread(go, changed)
        await process.said("msg=listening")
        await asyncio.to_thread(go)
        (line,) = await process.said('msg="reloaded: ')
        code, _ = await process.signalled(signal.SIGTERM)

    assert "1 added (second), 1 removed (first)" in line
    assert code == 0


async def test_a_shard_keeps_its_share(standin, tmp_path):
    """What is added to the config comes to one of two shards, and each still has its own only."""
    names = [f"t{number}" for number in range(8)]
    few, all_of_them = [[own(standin, name) for name in part] for part in (names[:2], names)]
    shown = []
    for index in range(2):
        folder = tmp_path / str(index)
        folder.mkdir()
        async with exporting(folder, *few, flags=("--web.enable-lifecycle", f"--shard={index}/2")) as running:
            running.write(*all_of_them)
            assert (await running.ask("/-/reload", "POST"))[0] == 200
            shown.append({key[1] for key in await running.samples() if key[0] == "ws_probe_timeout_seconds"})

    assert shown[0] | shown[1] == set(names)
    assert shown[0].isdisjoint(shown[1])


async def test_what_needs_a_restart_is_said(standin, tmp_path):
    """The ledger stays in its file; a flag that names it makes the setting idle, so nothing is said then."""
    stays = own(standin, "stays")
    answers = []
    for flags in ((), (f"--state.file={tmp_path / 'ledger'}",)):
        async with exporting(tmp_path, stays, flags=("--web.enable-lifecycle", *flags)) as running:
            running.write(stays, state_file="elsewhere")
            answers.append(await running.ask("/-/reload", "POST"))

    said = "reloaded: no target has changed\n"
    assert answers[0] == (200, f"{said}warning: state_file: none stays in use: another one is opened by a restart\n")
    assert answers[1] == (200, said)
    assert not (tmp_path / "elsewhere").exists()


# Files that change without a reload -----------------------------------------------------------------------------------


def put(path, content):
    """In one go, as a secret's new version is put in place."""
    new = path.with_suffix(".new")
    new.touch(mode=0o600)
    new.write_bytes(content)
    new.replace(path)


async def test_keys_and_certificates_are_picked_up_when_they_change(tmp_path):
    """CA, client certificate and signing key are renewed one after the other; no signal, no request, no restart."""
    ca, certificate, client_key, key = (tmp_path / name for name in ("ca.pem", "client.pem", "client.key", "key"))
    foreign = certificates.authority()
    async with StandIn.start(timings=Timings.quick(), client_ca=True) as standin:
        for path, content in {ca: foreign.pem, certificate: foreign.issue("x"), key: b"k" * 40}.items():
            put(path, content)
        put(client_key, certificate.read_bytes())
        target = own(
            standin, "staging", tls=True, auth_retry="1s",
            auth={"jwt": {"key_file": str(key), "claims": harness.CLAIMS}},
        )  # fmt: skip
        target["tls"] = {"ca_file": str(ca), "cert_file": str(certificate), "key_file": str(client_key)}

        files = {"ca": standin.ca_file, "key": standin.client_key_file, "certificate": standin.client_cert_file}
        right = {name: file.read_bytes() for name, file in files.items()}

        def failed(probe, phase, reason):
            return lambda found: found["ws_probe_failures_total", phase, probe, reason, "staging"] > 0

        async with exporting(tmp_path, target, flags=()) as running:
            await running.shows(failed("connect", "tls", "tls_certificate"))
            put(ca, right["ca"])
            await running.shows(failed("connect", "tls", "tls_handshake"))
            put(client_key, right["key"])
            put(certificate, right["certificate"])
            await running.shows(failed("auth", "admission", "auth_rejected"))
            put(key, standin.key)
            found = await running.shows(passes("staging"))

    assert found[OK,] == 1


# A real Prometheus ----------------------------------------------------------------------------------------------------

SCRAPES = """
global: {{scrape_interval: 500ms, scrape_timeout: 500ms}}
scrape_configs:
  - job_name: ws-factory-exporter
    static_configs: [{{targets: ["{host}"]}}]
"""


COUNTERS = (
    "ws_probe_cycles_total",
    "ws_probe_attempts_total",
    "ws_probe_closes_total",
    "ws_probe_identity_attempts_total",
    "ws_probe_phase_duration_seconds_count",
)


async def test_a_real_prometheus_sees_no_reset(standin, tmp_path):
    """Over reloads that add and remove neighbours, and that change the target itself, its counters only rise."""
    stays = own(standin, "stays")
    neighbours = [own(standin, f"n{number}") for number in range(4)]
    configs = [[stays, *neighbours[:count]] for count in (1, 4, 2, 0, 3)]
    configs.append([own(standin, "stays", timeout="400ms"), neighbours[0]])
    async with exporting(tmp_path, stays) as running:
        host = running.url.partition("//")[2]
        async with prometheus(SCRAPES.format(host=host), tmp_path) as real:
            await real.until('ws_probe_cycles_total{target="stays",probe="send"} > 0')
            for config in configs:
                running.write(*config)
                assert (await running.ask("/-/reload", "POST"))[0] == 200
                counted = (await running.samples())["ws_probe_cycles_total", "send", "stays"]
                await real.until(f'ws_probe_cycles_total{{target="stays",probe="send"}} > {counted}')
            resets = [
                value
                for name in COUNTERS
                for _, value in await real.query(f'max(resets({name}{{target="stays"}}[10m]))')
            ]
            gone = await real.query('ws_probe_cycles_total{target="n3"}')
            rose = await real.query('increase(ws_probe_cycles_total{target="n0",probe="send"}[1m])')

    assert list(map(float, resets)) == [0] * len(COUNTERS)
    assert gone == []
    assert all(float(value) > 0 for _, value in rose)
