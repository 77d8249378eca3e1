"""The held connection as a running exporter tells of it: /api/held, the status page, a check, and after a reload."""

import asyncio
import json

from support import reloads, virtual_clock

from exporter.report import read_document
from exporter.result import HoldEnd, LineLevel

HOLD = {"identity": {"hold-001": "staging-hold-user-001"}, "ask": "60s", "quiet": None, "reconnect": "5m"}
TARGET = {
    "interval": "60s",
    "timeout": "10s",
    "close_timeout": "2s",
    "limits": {"slots_per_identity": 20, "slot_release": "300s"},
}


def lived(story, fault=None, **options):
    """Run `story(exporter, standin)`: the target `staging` holds a connection, `other` holds none."""

    async def main(loop):
        targets = ({"hold": HOLD, **TARGET}, {"name": "other", **TARGET})
        async with reloads.running(loop, *targets, **options) as (exporter, standin):
            if fault is not None:
                standin.set_fault("/ws/staging", fault)
            return await story(exporter, standin)

    return virtual_clock.run(main)


async def shown(exporter, field):
    """What /api/held says of `staging`, as soon as a field of it is true."""
    for _ in range(3_600):
        status, body = await exporter.request("/api/held")
        held = json.loads(body)
        assert (status, set(held)) == (200, {"staging"})
        if held["staging"][field]:
            return held["staging"]
        await asyncio.sleep(1)
    raise AssertionError(f"{field} was never true")


def test_a_deaf_connection_is_told_wherever_somebody_looks():
    """As JSON, in the target's line and card on the page, and in the answer to a check; the target passes."""

    async def story(exporter, _):
        held = await shown(exporter, "deaf_since")
        _, page = await exporter.request("/")
        _, card = await exporter.request("/api/fragment?target=staging")
        status, checked = await exporter.request("/api/check?target=staging&probe=connect", "POST")
        assert status == 200
        return held, page, card, checked

    held, page, card, checked = lived(story, fault="deaf:delay=100")

    assert held["opened_at"] < held["deaf_since"]
    assert held["round_trips"]["protocol"]["last"] >= 0
    assert "held connection deaf since" in page
    assert "requests get no answer" in card
    assert "<h4>Held connection</h4>" in card
    assert "failing</span>" not in card
    assert json.loads(checked)["held"]["deaf_since"] == held["deaf_since"]
    assert read_document(checked).held.round_trips.keys() >= {LineLevel.PROTOCOL}


def test_a_target_that_holds_no_connection_tells_of_none():
    """Neither its check nor its card."""

    async def story(exporter, _):
        await shown(exporter, "opened_at")
        _, card = await exporter.request("/api/fragment?target=other")
        _, checked = await exporter.request("/api/check?target=other&probe=connect", "POST")
        return card, checked

    card, checked = lived(story)

    assert "Held connection" not in card
    assert json.loads(checked)["held"] is None


def test_an_end_is_told_with_its_code_and_who_closed_first():
    """The server stops with 1012; the connection after it still tells of that."""

    async def story(exporter, standin):
        await shown(exporter, "opened_at")
        standin.forget("/ws/staging", live="restart")
        ended = await shown(exporter, "last_end")
        return ended, await shown(exporter, "opened_at")

    ended, reopened = lived(story)

    end = ended["last_end"]
    assert (ended["opened_at"], end) == (None, reopened["last_end"])
    assert (end["how"], end["close_code"], end["closed_by"], end["expected"]) == (
        HoldEnd.RESTART,
        1012,
        "remote",
        False,
    )


def test_a_reload_to_another_url_forgets_what_the_connection_to_the_first_one_showed():
    """And a target that is removed leaves nothing behind."""

    async def story(exporter, standin):
        await shown(exporter, "deaf_since")
        await exporter.reload(reloads.own(standin, **TARGET, hold=HOLD, path="/ws/elsewhere"))
        held = await shown(exporter, "opened_at")
        _, page = await exporter.request("/")
        await exporter.reload(reloads.own(standin, "other", **TARGET))
        await asyncio.sleep(10)
        _, body = await exporter.request("/api/held")
        return held, page, json.loads(body), exporter.daemon._services.changes.since(0)[1]

    held, page, nothing, changed = lived(story, fault="deaf:delay=100")

    assert (held["deaf_since"], held["last_end"]) == (None, None)
    assert "deaf" not in page
    assert nothing == {}
    assert changed == ["other"]
