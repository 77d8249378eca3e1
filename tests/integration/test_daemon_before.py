"""A request before the upgrade in the running exporter: reloads, /probe, and a restart with its history."""

import asyncio
import contextlib
import json

from support import virtual_clock
from support.realservers import answered
from support.reloads import Exporter, Source
from support.ticket_servers import ECHO, PROFILE, TOKEN, TicketApp

from exporter.session import load_client

OTHER_TOKEN = "another-token-0123456789-abcdefghijkl"


def target(app, folder, token=TOKEN, **changes):
    """A target of a server that gives tickets; `path` and `profile` as its config has them."""
    load_client()  # in a thread a jumping clock would run ahead of it
    file = folder / "token"
    file.write_text(token, "utf-8")
    path = changes.pop("path", "/ws?ticket=${ticket}")
    settings = {
        "name": "tickets",
        "url": f"ws://127.0.0.1:{app.port}{path}",
        "profile": "tickets",
        "interval": "20s",
        "timeout": "10s",
        "close_timeout": "2s",
        "identities": {"pool-001": "user-one"},
        "auth": {"secret_file": str(file)},
        **changes,
    }
    return {name: value for name, value in settings.items() if value is not None}


PROFILES = {"tickets": PROFILE, "plain": ECHO}


@contextlib.asynccontextmanager
async def running(loop, mapping, **options):
    """An exporter of this target."""
    exporter = Exporter(loop, Source(mapping, profiles=PROFILES), **options)
    await exporter.daemon.start()
    try:
        yield exporter
    finally:
        await exporter.daemon.stop()


def phases(samples):
    """The phases that the target's series name."""
    return {key[1] for key in samples["tickets"] if key[0] == "ws_probe_failures_total"}


def test_a_reload_takes_the_request_away_and_brings_it_back(tmp_path):
    """The same target without `before` asks for no ticket and has no series of the phase; with it both are there."""

    async def main(loop):
        async with TicketApp().serving() as app:
            plain = target(app, tmp_path, profile="plain", path="/ws", auth=None)
            asking = target(app, tmp_path)
            seen = []
            async with running(loop, asking) as exporter:
                for mapping in (asking, plain, asking):
                    answer = await exporter.reload(mapping, profiles=PROFILES)
                    asked = len([path for _, path, _, _ in app.asked if path == "/ws-ticket"])
                    await asyncio.sleep(60)
                    later = len([path for _, path, _, _ in app.asked if path == "/ws-ticket"])
                    samples = await exporter.samples()
                    passed = samples["tickets"]["ws_probe_success", "connect"]
                    seen.append((answer[0], later - asked, "before" in phases(samples), passed))
            return seen

    assert virtual_clock.run(main) == [(200, 3, True, 1), (200, 0, False, 0), (200, 3, True, 1)]


def test_a_probe_of_such_a_target_asks_for_a_ticket_of_its_own(tmp_path):
    """/probe passes with the duration of the phase among its figures; without a ticket it fails in that phase."""

    async def main(loop):
        async with TicketApp().serving() as app:
            async with running(loop, target(app, tmp_path), delay=100_000.0) as exporter:
                good = await answered(f"{exporter.daemon.url}/probe?target=tickets")
            async with running(loop, target(app, tmp_path, OTHER_TOKEN), delay=100_000.0) as exporter:
                bad = await answered(f"{exporter.daemon.url}/probe?target=tickets")
                debug = await answered(f"{exporter.daemon.url}/probe?target=tickets&debug=true")
            return good, bad, debug, len(app.opened)

    good, bad, debug, opened = virtual_clock.run(main)

    assert (good[0], bad[0], debug[0], opened) == (200, 200, 200, 1)
    assert "probe_success 1" in good[1]
    assert 'phase="before"' in good[1]
    assert "probe_success 0" in bad[1]
    assert 'phase="before",reason="auth_rejected"' in bad[1]
    assert OTHER_TOKEN not in bad[1] + debug[1]


def test_failures_of_the_phase_are_in_the_history_after_a_restart(tmp_path):
    """The rows say phase `before` and the status of the answer, before the new exporter has run a session."""
    options = {"history_file": tmp_path / "history"}

    async def rows(exporter):
        _, body = await answered(f"{exporter.daemon.url}/api/results?target=tickets")
        return [(row["phase"], row["reason"], row["http_status"]) for row in json.loads(body)["results"]]

    async def main(loop):
        async with TicketApp().serving() as app:
            async with running(loop, target(app, tmp_path, OTHER_TOKEN), **options) as exporter:
                await asyncio.sleep(60)
                before = await rows(exporter)
            async with running(loop, target(app, tmp_path, OTHER_TOKEN), delay=100_000.0, **options) as exporter:
                await asyncio.sleep(5)
                return before, await rows(exporter)

    before, after = virtual_clock.run(main)

    assert before[0] == ("before", "auth_rejected", 401)
    assert after == before
