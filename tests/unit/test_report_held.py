"""A held connection as texts: the sentence of a check, the gravest trouble first, and back from JSON."""

import json
from dataclasses import replace

import pytest
from support import report_cases as cases

from exporter.report import FORMATS, InvalidReportError, held_document, read_document
from exporter.report.held_line import cadence_text, cut_texts, end_text, find_trouble, held_sentence
from exporter.report.text import TEXT_COLUMNS
from exporter.result import (
    ConnectionEnd,
    FactoryReason,
    FailedOpening,
    Heartbeats,
    HeldConnection,
    HoldEnd,
    Initiator,
    LineLevel,
    Phase,
    Reason,
)

HELD = cases.HELD
SILENT = replace(HELD, heartbeats={LineLevel.APPLICATION: Heartbeats(25.0, True, cases.STARTED - 90, lost=True)})
NEVER_HEARD = replace(HELD, heartbeats={LineLevel.PROTOCOL: Heartbeats(0.25, False, None, lost=True)})
REFUSED = replace(cases.ENDED, failed_opening=FailedOpening(cases.STARTED - 5, Phase.TCP, Reason.REFUSED))
FULL = FailedOpening(cases.STARTED - 5, Phase.ADMISSION, Reason.FACTORY, FactoryReason.SLOT_LIMIT)


@pytest.mark.parametrize(
    ("held", "sentence"),
    [
        (HeldConnection(), "not open yet"),
        (HELD, "open for 35 min 32 s"),
        (cases.RESTARTED, "open for 35 min 32 s; the one before it: restart, 1001 by the server, after 35 min 20 s"),
        (cases.DEAF, "deaf since 2025-09-08 22:49:40 UTC: requests get no answer"),
        (
            SILENT,
            "without heartbeats since 2025-09-08 23:00:10 UTC: messages are due every 25 s, as the server says",
        ),
        (
            NEVER_HEARD,
            "without heartbeats since 2025-09-08 22:26:10 UTC: pings are due every 0.25 s, as they came",
        ),
        (
            cases.ENDED,
            "not open since 2025-09-08 22:26:00 UTC: restart, 1001 by the server, after 35 min 20 s",
        ),
        (replace(HELD, opened_at=None), "not open since 2025-09-08 22:26:00 UTC, as expected"),
        (REFUSED, "not open since 2025-09-08 22:26:00 UTC: the last opening failed in tcp: refused"),
        (
            HeldConnection(failed_opening=FULL),
            "not open since 2025-09-08 23:01:35 UTC: the last opening failed in admission: factory (slot_limit)",
        ),
        (
            HeldConnection(failed_opening=FailedOpening(cases.STARTED, None, None)),
            "not open since 2025-09-08 23:01:40 UTC: the last opening proved nothing",
        ),
    ],
)
def test_a_held_connection_is_told_in_a_line(held, sentence):
    """What is wrong and since when; else how long it is open, and how the one before it ended."""
    assert held_sentence(held, cases.NOW) == sentence


def test_the_gravest_trouble_is_told():
    """A deaf connection without heartbeats is deaf; an opening that failed explains why none is open."""
    assert find_trouble(replace(SILENT, deaf_since=1.0)).word == "deaf"
    assert find_trouble(REFUSED).why == "the last opening failed in tcp: refused"
    assert find_trouble(replace(REFUSED, opened_at=1.0)) is None
    assert find_trouble(HELD) is None


@pytest.mark.parametrize(
    ("how", "close", "text"),
    [
        (HoldEnd.LOST, (), "lost, without a close frame, after 10 min"),
        (HoldEnd.UNANSWERED, (None, Initiator.LOCAL), "unanswered, by us, after 10 min"),
        (HoldEnd.CLOSED, (4001, Initiator.REMOTE), "closed, 4001 by the server, after 10 min"),
    ],
)
def test_an_end_names_its_code_and_who_closed_first(how, close, text):
    """Or that nobody did."""
    assert end_text(ConnectionEnd(how, 0.0, 600.0, False, *close)) == text


def test_what_is_not_known_is_not_told():
    """An interval that was neither announced nor learned, cuts that were not met and those that are unknown."""
    assert cadence_text(Heartbeats()) == "at no known interval"
    assert cadence_text(Heartbeats(140.0, True)) == "every 2 min 20 s, as the server says"
    assert list(cut_texts(HeldConnection())) == []
    assert list(cut_texts(HELD)) == ["cuts idle ones after 1 min", "cuts none for its age"]
    assert list(cut_texts(HeldConnection(idle_cut=0.0, age_cut=600.0))) == [
        "cuts no idle ones",
        "cuts all after 10 min",
    ]


@pytest.mark.parametrize("held", [HELD, SILENT, cases.ENDED, REFUSED, cases.DEAF, HeldConnection(), None])
def test_a_check_carries_it_in_json_and_in_one_line(held):
    """What `check --from` reads is what the exporter wrote; its line in the text takes the place of an empty one."""
    report = cases.checked(cases.PASSED, held=held)
    read = read_document(FORMATS["json"](report, cases.VIEW))
    assert read.held == held
    without = FORMATS["text"](cases.checked(cases.PASSED), cases.VIEW).splitlines()
    lines = FORMATS["text"](report, cases.VIEW).splitlines()
    assert len(lines) == len(without)
    assert sum(line.startswith("  hold ") for line in lines) == (held is not None)
    assert max(map(len, lines)) <= TEXT_COLUMNS


@pytest.mark.parametrize(
    ("held", "figures"),
    [
        (HELD, "'hold_up'=1;;;0;1 'hold_age'=2132s;;;0;"),
        (cases.DEAF, "'hold_up'=1;;;0;1 'hold_age'=2132s;;;0;"),
        (replace(HELD, opened_at=cases.NOW + 5), "'hold_up'=1;;;0;1 'hold_age'=0s;;;0;"),
        (cases.ENDED, "'hold_up'=0;;;0;1 'hold_age'=U;;;0;"),
    ],
)
@pytest.mark.parametrize("result", [cases.PASSED, cases.SLOT_LIMIT])
def test_nagios_has_its_line_behind_the_first_one(result, held, figures):
    """The first line is the check's and keeps its status and figures; those of the connection stand at its end."""
    (alone,) = FORMATS["nagios"](cases.checked(result), cases.VIEW).splitlines()
    first, second = FORMATS["nagios"](cases.checked(result, held=held), cases.VIEW).splitlines()

    assert first == f"{alone} {figures}"
    assert second == f"hold: {held_sentence(held, cases.NOW)}"


@pytest.mark.parametrize("held", [HELD, cases.DEAF, cases.ENDED])
def test_github_has_a_notice_of_it_behind_those_of_the_sessions(held):
    """A notice whatever it says: nothing that it shows is a failure of the check."""
    alone = FORMATS["github"](cases.checked(cases.SLOT_LIMIT), cases.VIEW)
    shown = FORMATS["github"](cases.checked(cases.SLOT_LIMIT, held=held), cases.VIEW)

    assert shown == f"{alone}::notice title=staging%3A hold::{held_sentence(held, cases.NOW)}\n"


@pytest.mark.parametrize("output", ["nagios", "github"])
def test_a_refused_check_shows_it_all_the_same(output):
    """No room for a session says nothing against the connection that is held."""
    shown = FORMATS[output](cases.checked(refusal="the host rests", held=HELD), cases.VIEW)

    assert shown.count("open for 35 min 32 s") == 1


def test_an_exporter_of_an_earlier_version_says_nothing_of_it():
    """Its documents have no such field."""
    document = json.loads(FORMATS["json"](cases.checked(cases.PASSED), cases.VIEW))
    del document["held"]
    assert read_document(json.dumps(document)).held is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"last_end": {**held_document(HELD)["last_end"], "how": "\x1b[31mred"}},
        {"heartbeats": {"<script>": held_document(HELD)["heartbeats"]["protocol"]}},
        {"opened_at": "yesterday"},
        {"failed_opening": {"failed_at": 1, "phase": "x\ny", "reason": None}},
    ],
)
def test_a_held_connection_of_a_stranger_is_refused(wrong):
    """Words that are in no list, and times that are none, reach no terminal."""
    document = json.loads(FORMATS["json"](cases.checked(cases.PASSED, held=HELD), cases.VIEW))
    document["held"] |= wrong
    with pytest.raises(InvalidReportError, match="`held"):
        read_document(json.dumps(document))


def test_figures_of_a_stranger_that_no_connection_has_are_told_all_the_same():
    """Beyond the calendar, and beyond all measure: a line, and no traceback."""
    strange = replace(
        cases.ENDED,
        last_end=ConnectionEnd(HoldEnd.CLOSED, 1e300, 1e300, False, 10**300, Initiator.REMOTE),
    )
    for held in (strange, replace(SILENT, heartbeats={LineLevel.PROTOCOL: Heartbeats(1e300, True, -1e300, lost=True)})):
        check = cases.checked(cases.PASSED, held=held)
        assert max(map(len, FORMATS["text"](check, cases.VIEW).splitlines())) <= TEXT_COLUMNS
        assert max(map(len, FORMATS["nagios"](check, cases.VIEW).splitlines())) <= 4_096
