"""A result as a line for files of our own: it reads back, tells no text of the peer, and believes no stranger."""

import json
from dataclasses import fields, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import report_cases as cases
from support.results import connected, failed, impaired, passed, void

from exporter.report import FORMATS, InvalidReportError, pack_result, unpack_result
from exporter.result import Close, Direction, Frame, Initiator, Opcode, Phase, Result, evidence_text
from exporter.web.page.sessions import waterfall

calm = settings(deadline=None, database=None)  # a busy machine is no finding

EVERY = [
    passed(),
    failed(),
    connected(),
    impaired(),
    void(),
    *(result for check in cases.CASES.values() for result in check.results),
    replace(cases.PASSED, transcript=cases.EXCHANGE * 3, frames_left_out=12_345, phases={}, identity=None),
]


@pytest.mark.parametrize("result", EVERY, ids=lambda result: f"{result.run}-{result.reason}")
def test_what_is_packed_reads_back(result):
    """Equal to the figure, in one line of at most a third of the document."""
    line = pack_result(result)

    assert unpack_result(line) == result
    assert b"\n" not in line
    assert len(line) < len(FORMATS["json"](cases.checked(result), cases.VIEW)) / 3


def test_the_line_has_the_fields_of_the_document():
    """One vocabulary: what the line says under a name, the document says under the same."""
    line = json.loads(pack_result(cases.SLOT_LIMIT))
    document = json.loads(FORMATS["json"](cases.checked(cases.SLOT_LIMIT), cases.VIEW))["results"][0]

    assert line.keys() <= {field.name for field in fields(Result)}
    same = ("target", "identity", "run", "depth", "verdicts", "durations", "phases", "close", "reason", "slot_limit")
    assert {name: line[name] for name in same} == {name: document[name] for name in same}
    assert line["transcript"] == [list(frame.values()) for frame in document["transcript"]]


def test_the_peers_words_are_not_written():
    """A close reason reaches no line, even if a result should hold one."""
    line = pack_result(replace(cases.SLOT_LIMIT, close=Close(1011, Initiator.REMOTE, Phase.ADMISSION, "Bearer secret")))

    assert b"secret" not in line
    assert b"text" not in line.replace(b'"in","text"', b"")


FRAME = Frame(0.1, Direction.IN, Opcode.TEXT, 1)


@pytest.mark.parametrize(
    ("strange", "left"),
    [
        ({"evidence": replace(cases.WITNESS, connection_id="\x1b[31m")}, {"evidence": {"connection_id": None}}),
        ({"evidence": replace(cases.WITNESS, address="<b>")}, {"evidence": {"address": None}}),
        ({"passed_over": {"<script>": 1, "ping": 2}}, {"passed_over": {"ping": 2}}),
        ({"transcript": (FRAME._replace(kind="a b"),)}, {"transcript": (FRAME,)}),
        ({"transcript": (FRAME._replace(code="x" * 65, kind="ping"),)}, {"transcript": (FRAME._replace(kind="ping"),)}),
    ],
)
def test_a_strangers_words_are_not_believed(strange, left):
    """What a line holds is held to the rules for what the network says; the rest of it stands."""
    read = unpack_result(pack_result(replace(cases.PASSED, **strange)))

    for name, value in left.items():
        held = getattr(read, name)
        assert ({key: getattr(held, key) for key in value} if name == "evidence" else held) == value
    assert read.phases == cases.PASSED.phases


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        b"null",
        b"[" * 100_000,
        b"\xff\xfe",
        pack_result(cases.PASSED)[:-1],
        pack_result(cases.PASSED) + b"}",
        pack_result(cases.PASSED).replace(b'"staging"', b'"a b"'),
        pack_result(cases.PASSED).replace(b'"pool-001"', b'""'),
        pack_result(cases.PASSED).replace(b'"pass"', b'"SECRET"', 1),
        pack_result(cases.PASSED).replace(b"0.231", b"NaN", 1),
        pack_result(cases.PASSED).replace(b'"text"', b'"SECRET"', 1),
    ],
)
def test_what_is_no_line_of_ours_is_refused(line):
    """By a sentence that does not quote it."""
    with pytest.raises(InvalidReportError) as refused:
        unpack_result(line)

    assert "SECRET" not in str(refused.value)


@pytest.mark.parametrize(
    ("rule", "read"),
    [("closes[12]", "closes[12]"), ("errors[0]", "errors[0]"), ("closes[0]\n", None), ("notes[0]", None), ("x", None)],
)
def test_the_place_of_a_rule_is_one_that_a_profile_can_have(rule, read):
    """Another text is none that the exporter wrote, and is dropped."""
    assert unpack_result(pack_result(replace(cases.PASSED, rule=rule))).rule == read


def figures(value, place=()):
    """Where in a JSON value a number stands."""
    if isinstance(value, dict | list):
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from figures(each, (*place, key))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield place


def with_figure(line, place, figure):
    """The line with another number there."""
    whole = json.loads(line)
    inner = whole
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = figure
    return json.dumps(whole).encode()


@pytest.mark.parametrize("figure", [1e308, -1e308, -1.0, 1e16, 10**40, 253_402_300_800])
@pytest.mark.parametrize("result", [cases.PASSED, cases.SLOT_LIMIT], ids=["passed", "slot limit"])
def test_a_figure_that_no_session_can_have_is_refused_or_shown(result, figure):
    """Wherever it stands: what is believed can be drawn and written in every form."""
    line = pack_result(replace(result, retry_after=7.0, frames_left_out=3, transcript=cases.EXCHANGE))
    places = list(figures(json.loads(line)))
    assert len(places) > 12
    refused = 0
    for place in places:
        try:
            read = unpack_result(with_figure(line, place, figure))
        except InvalidReportError:
            refused += 1
            continue
        assert waterfall(read) is not None
        assert all(write(cases.checked(read), cases.VIEW) for write in FORMATS.values())
    assert refused > len(places) / 2


@calm
@given(st.integers(0, len(pack_result(cases.PASSED)) - 1), st.binary(min_size=0, max_size=4), st.integers(0, 20))
def test_any_damage_is_refused_or_harmless(at, other, length):
    """Whatever becomes of a piece of a line: it is refused, or what is read holds only words that may be shown."""
    line = pack_result(cases.PASSED)
    try:
        read = unpack_result(line[:at] + other + line[at + length :])
    except InvalidReportError:
        return

    words = [read.target, read.run, *read.passed_over, read.evidence.connection_id, read.evidence.address]
    words += [word for frame in read.transcript for word in (frame.kind, frame.code)]
    assert all(word is None or evidence_text(word) for word in words)
    assert FORMATS["json"](cases.checked(read), cases.VIEW)
