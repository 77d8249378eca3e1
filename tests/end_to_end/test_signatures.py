"""The table of incidents (`data/signatures.yml`): each is played by the real exporter, and the real rules judge it.

On a jumping clock, so half an hour of incident takes a second; `make drill` plays them again on the real servers.
"""

import pytest
from support import virtual_clock
from support.alert_replay import HEALTHY, TABLE, judge, play

from exporter.standin.faults import parse

INCIDENTS, QUIET = TABLE["incidents"], TABLE["quiet"]
PARTS = 4
SPEEDS = {"refusal": 60, "silent": 75, "partial": 75}
"""Seconds from the fault to the evaluation that pages, when scrape and evaluation coincide: a cycle, what else it
takes to three failures (auth: two), and a scrape. On real servers up to 15 s more, and 2 s of `group_wait`."""


def name_of(row):
    return row["name"]


@pytest.mark.soak  # `make drill`, which `make test` runs, plays the same rows on the real servers
@pytest.mark.parametrize("part", range(PARTS))
def test_an_incident_fires_what_the_table_says_in_time_with_its_cause_in_the_text(part, tmp_path):
    """The firing set exactly, strays after the end too; the page within its time; the words; silence at the end."""
    rows = [*INCIDENTS, *QUIET][part::PARTS]
    samples = virtual_clock.run(lambda loop: play(loop, rows, tmp_path))
    judged = judge(samples, rows, tmp_path)

    fired = {(row["name"], alert) for row in rows for alert in row.get("firing", ())}
    always = {(row["name"], row["notify"]) for row in rows if "allow_auth_bypass" in str(row.get("setup"))}
    assert set(judged.first) == fired
    assert judged.last == always
    for row in (row for row in rows if "notify" in row):
        notification = (row["name"], row["notify"])
        assert judged.gaps[notification] == 0, f"{row['name']} notifies twice"
        text = judged.texts[notification]
        assert [word for word in row["text"] if word not in text] == [], text
        if row["speed"] in SPEEDS:
            assert judged.first[notification] - HEALTHY <= SPEEDS[row["speed"]], row["name"]


@pytest.mark.parametrize("row", [*INCIDENTS, *QUIET], ids=name_of)
def test_a_row_is_one_the_stand_in_can_play(row):
    """Specs that parse, a known speed, a notification that is of the firing set and none of a lower severity."""
    for spec in row["faults"]:
        parse(spec)
    if row in INCIDENTS:
        assert row["speed"] in {*SPEEDS, "ticket"}
        assert row["notify"] in row["firing"]
        pages = [alert for alert in row["firing"] if alert.endswith("/critical")]
        assert row["notify"] in pages or not pages
        assert (row["speed"] == "ticket") == (not pages)


def test_the_table_is_broad():
    """Twenty-two signatures at least, each of its own name; look-alikes differ in alert or in words."""
    assert len(INCIDENTS) >= 22
    names = [row["name"] for row in (*INCIDENTS, *QUIET)]
    assert len(set(names)) == len(names)
    alike = [
        "slots-of-all",
        "internal-error-at-welcome",
        "no-welcome",
        "token-rejected",
        "pool-names-refused",
        "zombie",
    ]
    told = {(row["notify"], tuple(row["text"])) for row in INCIDENTS if row["name"] in alike}
    assert len(told) == len(alike)
