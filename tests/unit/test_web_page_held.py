"""The held connection on the status page: its trouble in a target's line, and all of it in the card."""

import html
import re
from dataclasses import replace

import pytest
from support import report_cases as cases
from support import status_fixtures

from exporter.result import FailedOpening, Heartbeats, HeldConnection, LineLevel, Phase, Reason
from exporter.web.page.target import closed_row, opened_card

NOW = cases.NOW
HELD = cases.HELD
SILENT = replace(HELD, heartbeats={LineLevel.PROTOCOL: Heartbeats(20.0, False, cases.STARTED - 70, lost=True)})
FAILED = replace(HeldConnection(), failed_opening=FailedOpening(cases.STARTED - 5, Phase.TCP, Reason.REFUSED))


def read(markup):
    """The text of a markup."""
    return html.unescape(re.sub(r"<[^>]+>", "", markup))


def part(held):
    """The text of the card's part about the held connection."""
    card = status_fixtures.passing("staging", held=held)
    shown = re.search(r"<h4>Held connection</h4>(.*?)</section>", opened_card(card, NOW), re.DOTALL)
    return shown and read(shown[1])


def line(held, card=None):
    """The text of the target's line."""
    row = (card or status_fixtures.passing("staging")).row
    return read(re.search(r"<summary.*?</summary>", closed_row(replace(row, held=held), NOW), re.DOTALL)[0])


def test_a_target_that_holds_no_connection_shows_none():
    """Neither a part of the card nor a word in the line."""
    assert part(None) is None
    assert "held connection" not in line(None)


def test_a_card_has_all_that_a_held_connection_shows():
    """Open since when, round trips, heartbeats against what is announced or learned, the last end, the path."""
    assert part(HELD) == (
        "opensince 22:26 UTC, 35 min"
        "ping1.2 ms, 8.3 ms at most, the last one 6 s ago"
        "request31 ms, 44 ms at most, the last one 49 s ago"
        "heartbeatspings every 20 s, as they came, the last one 13 s ago"
        "heartbeatsmessages every 25 s, as the server says, the last one 5 s ago"
        "last end22:26:00 UTC (35 min ago): over, 1000 by us, after 1 h; expected"
        "pathcuts idle ones after 1 min, cuts none for its age"
    )


@pytest.mark.parametrize(
    ("held", "words"),
    [
        (HeldConnection(), "opennot yet"),
        (replace(HELD, opened_at=None), "opennot now"),
        (HeldConnection(NOW - 5, quiet=True), "quietsends no ping and no request"),
        (HeldConnection(NOW - 5), "heartbeatsnone yet, and none announced"),
        (cases.DEAF, "statedeaf since 22:49 UTC, 12 min: requests get no answer"),
        (SILENT, "heartbeatspings every 20 s, as they came, the last one 1 min ago"),
        (cases.RESTARTED, "restart, 1001 by the server, after 35 min 20 s; not expected"),
        (FAILED, "statenot open since 23:01 UTC, 7 s: the last opening failed in tcp: refused"),
    ],
)
def test_each_state_of_a_held_connection_is_said(held, words):
    """Not opened yet, between two, quiet, deaf, without heartbeats, after an incident, refused."""
    assert words in part(held)


@pytest.mark.parametrize(
    ("held", "words"),
    [
        (cases.DEAF, "held connection deaf since 22:49 UTC, 12 min"),
        (SILENT, "held connection without heartbeats since 23:00 UTC, 1 min"),
        (cases.ENDED, "held connection not open since 22:26 UTC, 35 min"),
    ],
)
def test_trouble_stands_in_the_line_of_a_target_that_passes(held, words):
    """It is seen without a click; a connection that is well takes no room there."""
    assert line(held).endswith(words)
    assert "held connection" not in line(HELD)


def test_trouble_stands_beside_the_failure_of_a_target():
    """The failure first."""
    staging = status_fixtures.staging()
    assert line(None, staging).endswith("factory (slot_limit)")
    assert "factory (slot_limit) · held connection deaf since" in line(cases.DEAF, staging)


@pytest.mark.parametrize("held", [cases.DEAF, SILENT, FAILED])
def test_what_is_wrong_is_marked(held):
    """And nothing of a connection that is well."""
    assert 'class="wrong"' in opened_card(status_fixtures.passing("staging", held=held), NOW)
    assert 'class="wrong"' not in opened_card(status_fixtures.passing("staging", held=HELD), NOW)
