"""What holds of every sentence, whatever session, target and format: it says nothing that the facts speak against."""

import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import report_cases as cases
from support.situations import CONTEXTS, NUMBERS, STATUSES

from exporter.budget import IdentityStatus
from exporter.classify import LEGAL_FAILURES
from exporter.history import StateKind, TargetState
from exporter.report import FORMATS, SERIES_FORMATS, explain, verdict_line
from exporter.report.explain import NOTHING_PROVED
from exporter.report.situation import Credential
from exporter.result import (
    Close,
    Direction,
    FactoryReason,
    Frame,
    Handshake,
    Initiator,
    Opcode,
    Phase,
    Probe,
    Reason,
    Skip,
    SkipCause,
    Verdict,
)
from exporter.web.page.target import closed_row
from exporter.web.page.values import TargetRow

OPEN = (Phase.ADMISSION, Phase.AUTH, Phase.REPLY)
SILENCE = ("SILENCE", "no message at all", "Nothing came")
LORE = ("manager", "zombie", "five bad messages", "greeted", "agents", "on record", "factory", "Factory")
KEYS = "signing key"
KINDS = ("ping", "other", "welcome", "foreign_reply", "binary", "not_json", "notice")

frames = st.builds(
    Frame,
    st.floats(0, 60),
    st.sampled_from(Direction),
    st.sampled_from(Opcode),
    st.integers(0, 9999),
    st.sampled_from((None, "error", "wrong_reply", "welcome", "other")),
    st.sampled_from((None, "INVALID_FORMAT")),
)


@st.composite
def failures(draw):
    """A session that failed somewhere, with any facts beside: phase and reason are such as there are."""
    phase = draw(st.sampled_from([*LEGAL_FAILURES]))
    reason = draw(st.sampled_from(sorted(LEGAL_FAILURES[phase])))
    code = draw(st.sampled_from(NUMBERS))
    close = draw(st.sampled_from([None, *(Close(code, who, where) for who in Initiator for where in OPEN)]))
    return replace(
        cases.PASSED,
        verdicts={Probe.CONNECT: draw(st.sampled_from(Verdict)), Probe.AUTH: Verdict.NONE, Probe.SEND: Verdict.FAIL},
        phase=phase,
        reason=reason,
        factory_reason=draw(st.sampled_from(FactoryReason)) if reason is Reason.FACTORY else None,
        close=close if phase in OPEN else None,
        http_status=draw(st.sampled_from(STATUSES)) if phase is Phase.UPGRADE else None,
        retry_after=draw(st.sampled_from((None, 0.0, 1.0, 120.0))),
        phases=cases.until(phase),
        passed_over=draw(st.dictionaries(st.sampled_from(KINDS), st.integers(1, 3), max_size=3))
        if phase in OPEN
        else {},
        transcript=tuple(draw(st.lists(frames, max_size=4))) if phase in OPEN else (),
        identity=draw(st.sampled_from((None, "pool-001"))),
        handshake=draw(st.sampled_from((None, *Handshake))) if reason is Reason.BAD_HANDSHAKE else None,
        no_token=draw(st.booleans()) and reason is Reason.AUTH_REJECTED,
        credential_sent=draw(st.sampled_from((None, True, False))),
        origin_sent=draw(st.sampled_from((None, True, False))),
        refused_after=draw(st.sampled_from((None, 0.0, 1.0))),
        unknown_keys=draw(st.sampled_from(((), ("type", "data")))),
        distorted=draw(st.booleans()),
    )


def came(result):
    """True if anything of a message came on the open WebSocket."""
    data = (Opcode.TEXT, Opcode.BINARY, Opcode.CONTINUATION)
    told = any(frame.direction is Direction.IN and frame.opcode in data for frame in result.transcript)
    return told or bool(result.passed_over)


def words_of(said):
    return f"{said.sentence} {said.next_step} {said.page}"


@settings(max_examples=600)
@given(failures(), st.sampled_from(CONTEXTS))
def test_no_sentence_says_what_the_facts_speak_against(result, context):
    """No silence where messages came, no factory where none is known, no key where it is not the key."""
    said = explain(result, context)
    words = words_of(said)

    assert said.next_step
    assert "{" not in words
    assert "  " not in words
    if came(result):
        assert not [each for each in SILENCE if each in words], said
    if not context.factory and result.factory_reason is None:
        assert not [each for each in LORE if each in words], said
    errors = [frame.code for frame in result.transcript if frame.kind == "error"]
    unnamed = bool(errors) and errors[-1] is None
    if (unnamed or result.no_token) and result.phase is Phase.ADMISSION:
        assert KEYS not in words, said
    if result.origin_sent:
        assert "Origin header" not in words, said
    if context.credential not in (None, Credential.SIGNED):
        assert KEYS not in words, said


@settings(max_examples=100)
@given(failures(), st.sampled_from(CONTEXTS), st.sampled_from([*FORMATS]))
def test_every_format_names_the_target_and_explains(result, context, output):
    """Whatever happened is shown, with the target's name; what is read by people says what to do next."""
    checked = cases.checked(result, context=context)
    shown = FORMATS[output](checked, cases.VIEW)
    plain = re.sub(r"&#(\d+);", lambda found: chr(int(found[1])), shown)
    said = explain(result, context)

    assert "staging" in plain
    if output in ("text", "markdown", "junit"):
        assert said.next_step.split()[0] in plain


ONE_OF_MANY = re.compile(r"(?<![\d.,])1 (?:runs|sessions|slots|times|targets|identities|messages|cycles|welcomes)\b")
MANY_OF_ONE = re.compile(r"(?<![\d.,])(?:0|[2-9]) (?:run|session|slot|time|target|identity|message|cycle|welcome)\b")


def in_numbers(words):
    return ONE_OF_MANY.findall(words) + MANY_OF_ONE.findall(words)


@pytest.mark.parametrize("good", range(3))
@pytest.mark.parametrize("bad", range(3))
@pytest.mark.parametrize("skipped", range(3))
def test_the_words_of_a_series_fit_their_numbers(good, bad, skipped):
    """`1 run`, `2 runs`, `0 runs`: in the verdict, the sections, the findings."""
    results = cases.runs(*[cases.PASSED] * good, *[cases.NO_WELCOME] * bad)
    skips = (Skip("staging", SkipCause.BUDGET),) * skipped
    series = cases.series(*results, planned=good + bad + skipped, skips=skips)
    for shown in (verdict_line(series), *(SERIES_FORMATS[each](series, cases.VIEW) for each in ("text", "markdown"))):
        assert in_numbers(shown) == []


@pytest.mark.parametrize("number", range(3))
def test_the_words_of_a_check_fit_their_numbers(number):
    """What came, and what is held: on the page, and in each format that is read by people."""
    result = replace(cases.NO_WELCOME, passed_over={"other": number} if number else {})
    shown = [FORMATS[each](cases.checked(*[result] * number), cases.VIEW) for each in ("text", "markdown", "nagios")]
    pool = tuple(IdentityStatus(f"p{place}", held=0, budget=1, resting=False) for place in range(number))
    row = TargetRow("staging", cases.URL, 20.0, TargetState(StateKind.UNKNOWN), identities=pool)

    assert in_numbers(" ".join([*shown, closed_row(row, cases.NOW)])) == []


def test_what_proved_nothing_is_no_failure_with_a_cause():
    """A session that ended before its question was decided: that is said, with what to do."""
    undecided = replace(cases.PASSED, verdicts=dict.fromkeys(Probe, Verdict.NONE), close=None)

    assert explain(undecided) == NOTHING_PROVED
