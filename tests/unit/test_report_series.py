"""Package `report`: the deploy loop: many results in figures, what they show together, before and after."""

import json
import re
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support import report_cases as cases

from exporter.report import (
    SERIES_FORMATS,
    InvalidReportError,
    compare,
    is_healthy,
    is_progress_due,
    name_shape,
    progress_line,
    read_document,
    series_exit_code,
    summarise,
    verdict_line,
)
from exporter.report.formatting import span
from exporter.report.sections import findings
from exporter.report.summary import spread
from exporter.result import Evidence, FactoryReason, Impairment, Phase, Probe, Skip, SkipCause, Trigger, Verdict

OK, BAD, OURS = cases.PASSED, cases.SLOT_LIMIT, cases.IMPAIRED
CONFIRM = replace(OK, trigger=Trigger.CONFIRM)
SHALLOW = replace(
    OK, depth=Probe.CONNECT, verdicts={Probe.CONNECT: Verdict.PASS, Probe.AUTH: Verdict.NONE, Probe.SEND: Verdict.NONE}
)
SOFT = replace(OK, factory_reason=FactoryReason.DEGRADED)


# Healthy ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("results", "healthy"),
    [
        ([], False),
        ([OK, OK], False),
        ([OK, OK, OK], True),
        ([BAD, BAD, OK, OK, OK], True),
        ([OK, OK, OK, BAD], False),
        ([OK, OK, BAD, OK, OK], False),
        ([OK, OURS, OK, OK], False),
        ([OK, OK, OURS, OK, OK, OK], True),
        ([OK, OK, SOFT], False),
        ([SHALLOW, SHALLOW, SHALLOW], True),
        ([OK, OK, SHALLOW, OK], True),
        ([BAD, SHALLOW, SHALLOW, SHALLOW], False),
        ([BAD, OK, OK, SHALLOW], False),
    ],
)
def test_healthy_is_a_run_of_passes_to_the_full_depth(results, healthy):
    """The last three full runs passed; our own failure breaks the row, a shallower turn neither breaks nor counts."""
    assert is_healthy(cases.runs(*results, identities=("pool-001",))) is healthy


def test_confirm_runs_do_not_make_healthy():
    """Only scheduled runs count: confirm runs are too close to each other."""
    confirmed = [OK, CONFIRM, CONFIRM, CONFIRM]

    assert not is_healthy(cases.runs(*confirmed, identities=("pool-001",)))
    assert is_healthy(cases.runs(*confirmed, OK, OK, identities=("pool-001",)))


def test_healthy_needs_every_identity():
    """As long as one identity of the pool was not seen to pass since the last failure, it is not healthy."""
    three = cases.runs(OK, OK, OK, identities=("pool-001", "pool-002"))

    assert is_healthy(three)
    assert is_healthy(three, identities=("pool-001", "pool-002"))
    assert not is_healthy(three, identities=cases.SHAPES)
    assert is_healthy(cases.runs(BAD, OK, OK, OK), identities=cases.SHAPES)
    assert not is_healthy(cases.runs(OK, OK, BAD, OK, OK), needed=1, identities=cases.SHAPES)


def test_the_number_needed_is_the_callers():
    """`needed` is how many in a row must pass."""
    four = cases.runs(OK, OK, OK, OK, identities=("pool-001",))

    assert is_healthy(four, needed=4)
    assert not is_healthy(four, needed=5)


# Exit code and verdict ------------------------------------------------------------------------------------------------

GATE = {"planned": 30, "until_healthy": 600.0}


@pytest.mark.parametrize(
    ("series", "code", "words"),
    [
        (cases.series(*cases.runs(OK, OK, OK)), 0, "PASSED: 3 of 3 runs passed."),
        (
            cases.series(*cases.runs(OK, OK, BAD)),
            2,
            "FAILED: 2 of 3 runs passed, 1 ended in admission: factory (slot_limit).",
        ),
        (cases.series(*cases.runs(OK, cases.DEGRADED)), 1, "WARNING: 1 of 2 runs passed, 1 ended in admission: "),
        (
            cases.series(*cases.runs(OK, OURS)),
            3,
            "UNKNOWN: 1 of 2 runs passed, 1 ended in our own failure: token.",
        ),
        (cases.series(*cases.runs(OK), planned=4), 3, "UNKNOWN: 1 of 1 run passed, 3 of 4 did not take place."),
        (cases.series(planned=4), 3, "UNKNOWN: 0 of 0 runs passed, 4 of 4 did not take place."),
        (cases.series(*cases.runs(BAD, OK, OK, OK), **GATE), 0, "HEALTHY after 1 min 20 s: 3 of 4 runs passed, 1 "),
        (cases.series(*cases.runs(OK, OK, BAD), **GATE), 2, "NOT HEALTHY within 1 min: 2 of 3 runs passed, 1 ended"),
        (cases.series(*cases.runs(OK, OK), **GATE), 3, "NOT HEALTHY within 40 s: 2 of 2 runs passed."),
        (
            cases.series(*cases.runs(OURS, OURS), **GATE),
            3,
            "NOT HEALTHY within 40 s: 0 of 2 runs passed, 2 ended in our",
        ),
        (cases.series(**GATE), 3, "UNKNOWN: 0 of 0 runs passed."),
        (
            cases.series(*cases.runs(BAD, cases.ZOMBIE, cases.NO_WELCOME, OURS, BAD)),
            2,
            "FAILED: 0 of 5 runs passed, 2 ended in admission: factory (slot_limit), 1 ended in reply: ",
        ),
    ],
)
def test_the_series_says_one_line_and_one_code(series, code, words):
    """One line says how it went, and the exit code says the same; the JSON has both."""
    read = json.loads(SERIES_FORMATS["json"](series, cases.VIEW, None))

    assert verdict_line(series).startswith(words)
    assert (read["verdict"], read["exit_code"]) == (verdict_line(series), code)
    assert series_exit_code(series) == code
    assert series_exit_code(series, "critical") == (0 if code == 1 else code)


def test_a_gate_that_became_healthy_is_ok_for_nagios():
    """The plugin's word is the one of the series, not of its worst run."""
    assert SERIES_FORMATS["nagios"](cases.MENDED, cases.VIEW, None).startswith("WEBSOCKET OK - staging: HEALTHY after")


def test_other_causes_are_summed_up():
    """The verdict names three causes; the rest are counted together, so that it stays a line."""
    whole = cases.series(*cases.runs(BAD, BAD, cases.ZOMBIE, cases.NO_WELCOME, cases.TOKEN_REJECTED, OURS))

    assert verdict_line(whole).endswith("1 ended in admission: timeout, 2 in other ways.")


@pytest.mark.parametrize(
    ("results", "eta", "line"),
    [
        ([], 600.0, "0/30 · 0 passed · 10 min left"),
        ([OK], 580.0, "1/30 · 1 passed · last pool-001: pass 0.231 s · 9 min 40 s left"),
        (
            [OK, BAD],
            45.0,
            "2/30 · 1 passed · 1 not · last pool-002: admission: factory (slot_limit) · 45 s left",
        ),
        ([OK, OURS], 0.0, "2/30 · 1 passed · 1 not · last pool-002: our own failure: token · done"),
    ],
)
def test_the_progress_is_one_line(results, eta, line):
    """A terminal is told how far it is, how it goes, and when it ends."""
    assert progress_line(cases.runs(*results), 30, eta) == line


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.0, "0 s"), (59.6, "1 min"), (140.0, "2 min 20 s"), (3600.0, "1 h"), (11_100.0, "3 h 5 min"), (1e6, "11 days")],
)
def test_a_stretch_of_time_in_words(seconds, words):
    """Seconds are shown in the units that people use."""
    assert span(seconds) == words


# Figures --------------------------------------------------------------------------------------------------------------


def test_the_summary_counts():
    """Every run is passed, failed or unproved, and every cause and close is counted."""
    whole = summarise(cases.runs(OK, BAD, BAD, OURS, cases.NO_WELCOME, OK))

    assert (whole.runs, whole.passed, whole.failed, whole.unproved) == (6, 2, 3, 1)
    assert whole.causes == {
        "admission: factory (slot_limit)": 2,
        "admission: timeout": 1,
        "our own failure: token": 1,
    }
    assert whole.closes["1011 (internal error) by the server, in admission"] == 2
    assert {name: (tally.passed, tally.failed, tally.unproved) for name, tally in whole.identities.items()} == {
        "pool-001": (1, 0, 1),
        "pool-002": (0, 2, 0),
        "uuid-001": (1, 1, 0),
    }


def test_durations_are_of_passes_alone():
    """A failure is faster than a success, so it is not among the durations of a probe."""
    quick = replace(BAD, durations={Probe.CONNECT: 0.01})
    whole = summarise(cases.runs(OK, quick))

    assert whole.probes[Probe.SEND].count == 1
    assert whole.probes[Probe.CONNECT].count == 2
    assert Phase.ADMISSION in whole.phases


@given(st.lists(st.floats(0, 1000), min_size=1))
def test_a_spread_is_of_what_was_measured(figures):
    """Least, median, p95 and most are measured figures, in order; at most one in twenty is above the p95."""
    found = spread(figures)

    assert {found.least, found.median, found.p95, found.most} <= set(figures)
    assert found.least <= found.median <= found.p95 <= found.most
    assert sum(figure > found.p95 for figure in figures) <= len(figures) / 20
    assert sum(figure > found.median for figure in figures) <= len(figures) / 2


def test_no_figures_have_no_spread():
    """Nothing measured is nothing, not zero."""
    assert spread([]) is None


def test_reality_is_counted():
    """Distinct connection ids, a clock that moves on, our own nonces."""
    real = summarise(cases.runs(OK, OK, cases.ZOMBIE)).reality

    assert (real.welcomes, real.distinct) == (3, 3)
    assert (real.clock_pairs, real.clock_moved) == (2, 2)
    assert (real.sent, real.echoed) == (3, 2)


def test_a_canned_answer_is_found():
    """The same id and the same time in every session are told as what they are."""
    canned = [replace(OK, started_at=cases.STARTED + 20.0 * number) for number in range(3)]
    said = " ".join(finding.sentence for finding in findings(cases.series(*canned, shapes={})))

    assert "Connection ids repeat: 1 distinct in 3 welcomes." in said
    assert "The server's clock stood still 2 times" in said


def test_a_burst_does_not_prove_a_frozen_clock():
    """Sessions less than 2 s apart may see the same server time."""
    burst = [replace(OK, started_at=cases.STARTED + number) for number in range(3)]

    assert summarise(burst).reality.clock_pairs == 0


# Findings -------------------------------------------------------------------------------------------------------------


def found(*results, **known):
    return [finding.sentence for finding in findings(cases.series(*cases.runs(*results), **known))]


def test_one_refused_name_shape_is_found():
    """Case 22: only the pool's shape of names fails, so it is a user-id check, and the page is that of the cause."""
    (finding,) = findings(cases.ONE_SHAPE)

    assert finding.sentence.startswith("Only identities of the name shape word-mixed-word-number fail (pool-001 and ")
    assert "those of uuid pass (uuid-001)" in finding.sentence
    assert finding.page == "WebSocketFactoryValidationFailing"


def test_used_up_slots_are_no_name_shape():
    """Case 1 looks the same by identity, and is told apart: the slots of those users are used up."""
    (sentence,) = found(BAD, BAD, OK)

    assert sentence == "Only pool-001 and pool-002 fail, uuid-001 passes: it is the slots of single users."


def test_one_user_of_a_shape_is_no_shape():
    """Where another identity of the same shape passes, it is the user, not the shape."""
    (sentence,) = found(cases.INTERNAL_ERROR, OK, OK)

    assert sentence.startswith("Only pool-001 fails, pool-002 and uuid-001 pass: it is something about the user")


@pytest.mark.parametrize(
    ("results", "words"),
    [
        ([OK, OK, OK], []),
        ([BAD, BAD, BAD], ["Every identity fails (pool-001, pool-002 and uuid-001): it is the backend, not a user."]),
        ([cases.REFUSED_UPGRADE, cases.REFUSED_UPGRADE, OK], []),
        ([cases.INTERNAL_ERROR, OK, OK, OK], []),
        ([OURS, OK, OK], []),
        ([cases.INTERNAL_ERROR, OK, cases.INTERNAL_ERROR, cases.INTERNAL_ERROR, OK, OK], []),
        ([OK, OK], ["uuid-001 had no turn: nothing is said about it."]),
    ],
)
def test_only_what_is_clear_cut_is_found(results, words):
    """What fails before the user is known, or now and then, says nothing about users."""
    assert found(*results) == words


def test_skipped_runs_are_told():
    """Runs that the budget refused are counted with their causes."""
    skips = (Skip("staging", SkipCause.BUDGET), Skip("staging", SkipCause.RESTING))

    assert found(OK, OK, OK, skips=skips) == ["2 runs skipped to do no harm (budget and resting)."]


@pytest.mark.parametrize(
    ("subject", "shape"),
    [
        ("staging-e2e-user-001", "word-mixed-word-number"),
        ("test-user-123", "word-word-number"),
        ("e2e-staging_pipeline", "mixed-word_word"),
        ("6f1d0f3e-8a57-4b8e-9d0e-2f6a1f0c9a11", "uuid"),
        ("6F1D0F3E-8A57-4B8E-9D0E-2F6A1F0C9A11", "uuid"),
        ("104857600123456789012", "number"),
        ("ann@example.com", "e-mail"),
        ("jürgen", "word?word"),
        ("", "empty"),
    ],
)
def test_the_shape_of_a_name(subject, shape):
    """The shapes that backends have told apart have names, and none shows the subject."""
    assert name_shape(subject) == shape


@given(st.text())
def test_a_shape_shows_nothing_of_the_subject(subject):
    """A shape is made of the words for shapes and of separators, and is short."""
    assert re.fullmatch(r"(?:uuid|number|e-mail|empty|word|mixed|[-_.:@ ?])+", name_shape(subject))
    assert len(name_shape(subject)) <= 100


# Before and after -----------------------------------------------------------------------------------------------------


def earlier(series):
    return read_document(SERIES_FORMATS["json"](series, cases.VIEW, None))


def slower(result, by):
    return replace(result, durations={probe: took + by for probe, took in result.durations.items()})


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ([BAD, OK, OK], [OK, OK, OK], "BETTER: more runs pass than at 2025-09-08 23:01:40 UTC."),
        ([OK, OK, OK], [BAD, OK, OK], "WORSE: fewer runs pass than at"),
        ([OK, OK, OK], [OK, OK], "SAME: as many runs pass, as fast as at"),
        ([OK] * 3, [slower(OK, 0.2)] * 3, "WORSE: as many runs pass, but slower than at"),
        ([slower(OK, 0.2)] * 3, [OK] * 3, "BETTER: as many runs pass, faster than at"),
        ([OK] * 3, [slower(OK, 0.04)] * 3, "SAME: "),
        ([OK] * 3, [OK, OK, slower(OK, 9.0)], "SAME: "),
        ([BAD, OK], [slower(OK, 9.0)] * 2, "BETTER: more runs pass than at"),
        ([], [OK], "BETTER: "),
    ],
)
def test_before_and_after(before, after, words):
    """More passed runs count first, then the medians, where they moved by a quarter and by 50 ms."""
    compared = compare(earlier(cases.series(*cases.runs(*before))), cases.series(*cases.runs(*after)))

    assert compared.sentence.startswith(words)


def test_causes_come_and_go():
    """What failed before and does not now is gone; the other way round it is new."""
    compared = compare(
        earlier(cases.series(*cases.runs(BAD, cases.ZOMBIE))),
        cases.series(*cases.runs(cases.ZOMBIE, cases.NO_WELCOME)),
    )

    assert compared.gone == ("admission: factory (slot_limit)",)
    assert compared.new == ("admission: timeout",)


def test_another_target_is_told():
    """A comparison with another target is made, and says so."""
    other = replace(cases.MENDED, report=replace(cases.MENDED.report, target="canary"))

    assert "(which was of another target, canary)" in compare(earlier(other), cases.ONE_SHAPE).sentence


# Reading --------------------------------------------------------------------------------------------------------------

EVERY = cases.runs(
    OK, BAD, OURS, cases.ZOMBIE, cases.DEGRADED, cases.REFUSED_UPGRADE, replace(OK, impairment=Impairment.INTERNAL)
)


@pytest.mark.parametrize("kind", ["check", "series"])
def test_what_is_written_reads_back(kind):
    """The results of a document are those that were written, and are written the same again."""
    whole = cases.series(*EVERY)
    text = SERIES_FORMATS["json"](whole, cases.VIEW, None)
    if kind == "check":
        text = cases.FORMATS["json"](whole.report, cases.VIEW)

    read = read_document(text)

    assert (read.target, read.started_at) == ("staging", cases.STARTED)
    assert list(read.results) == list(EVERY)
    again = cases.FORMATS["json"](replace(whole.report, results=read.results), cases.VIEW)
    assert json.loads(again)["results"] == json.loads(text)["results"]


def spoiled(**changed):
    """A document of ours with other fields; in its first result where the name starts with `result_`."""
    document = json.loads(SERIES_FORMATS["json"](cases.ONE_SHAPE, cases.VIEW, None))
    for name, value in changed.items():
        part, field = (
            (document["results"][0], name.removeprefix("result_")) if name.startswith("result_") else (document, name)
        )
        part[field] = value
    return json.dumps(document)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "it is not JSON"),
        ("{", "it is not JSON"),
        (b"\xff\xfe\xff", "it is not JSON"),
        ("[" * 100_000, "it is not JSON"),
        ("[]", "no report of ws-factory-exporter"),
        ("{}", "no report of ws-factory-exporter"),
        (spoiled(tool="k6"), "no report of ws-factory-exporter"),
        (spoiled(kind="soup"), "no report of ws-factory-exporter"),
        (spoiled(kind=["check"]), "no report of ws-factory-exporter"),
        (spoiled(schema_version=2), "its schema version is not 1"),
        (spoiled(schema_version=True), "its schema version is not 1"),
        (spoiled(results="SECRET"), "`results` is not"),
        (spoiled(started_at="SECRET"), "`started_at` is not"),
        (spoiled(started_at=None), "`started_at` is not"),
        (spoiled(target="::SECRET \n"), "names a target"),
        (spoiled(result_identity="SECRET word"), "identity or run as no config can"),
        (spoiled(result_verdicts={"connect": "SECRET"}), "`results.0.verdicts.connect` is not"),
        (spoiled(result_reason="SECRET"), "`results.0.reason` is not"),
        (spoiled(result_durations={"send": float("nan")}), "`results.0.durations.send` is not"),
        (spoiled(result_started_at="yesterday"), "`results.0.started_at` is not"),
    ],
)
def test_what_is_not_ours_is_refused_with_a_sentence(text, words):
    """A wrong file is refused with what is wrong, never with its own text."""
    with pytest.raises(InvalidReportError, match=re.escape(words)) as refused:
        read_document(text)

    assert "SECRET" not in str(refused.value)


def test_a_later_field_is_passed_over():
    """A document of a later version that only has more fields is read."""
    assert read_document(spoiled(weather="fine", result_mood="good")).target == "staging"


def test_a_strangers_ids_are_not_believed():
    """Identifiers in a document are held to the rule for those of the network."""
    told = {"connection_id": "\x1b[31m", "address": "203.0.113.7", "server_time": "2025-09-08T23:01:40Z"}

    read = read_document(spoiled(result_evidence=told)).results[0].evidence

    assert (read.connection_id, read.address) == (None, "203.0.113.7")


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = sorted(json.loads(spoiled())["results"][0])


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(FIELDS), JSON)
@example("close", {"code": 1e300, "initiator": "remote", "phase": "close"})
def test_any_json_is_read_or_refused(field, value):
    """Whatever stands in a field: the document is read, or refused by a sentence; and what is read can be reported."""
    try:
        read = read_document(spoiled(**{f"result_{field}": value}))
    except InvalidReportError:
        return

    compared = compare(read, cases.MENDED)
    for output in SERIES_FORMATS:
        assert SERIES_FORMATS[output](cases.MENDED, cases.VIEW, compared)


# Forms ----------------------------------------------------------------------------------------------------------------

WHOLE = cases.series(*EVERY, skips=(Skip("staging", SkipCause.BUDGET),))


def test_the_text_of_a_series_fits_a_terminal():
    """At most 100 columns, printable."""
    for line in SERIES_FORMATS["text"](WHOLE, cases.VIEW, compare(earlier(cases.ONE_SHAPE), WHOLE)).splitlines():
        assert len(line) <= 100
        assert line.isprintable()


NAMES = (
    st.sampled_from(["\x1b[31m", "::error::x", "a|b", "<b>", "\n", "`|`", "@admin", "\ud800", "x" * 200]) | st.text()
)


@settings(max_examples=40, deadline=None)
@given(NAMES, NAMES, NAMES)
def test_no_name_breaks_a_report_of_a_series(target, identity, connection):
    """Whatever stands in names and ids: lines stay lines, tables stay tables, GitHub is given no command but ours."""
    strange = replace(OK, identity=identity, evidence=replace(OK.evidence, connection_id=connection))
    whole = cases.series(strange, cases.ZOMBIE)
    whole = replace(whole, report=replace(whole.report, target=target, url=target))
    told = {output: render(whole, cases.VIEW, None) for output, render in SERIES_FORMATS.items()}

    for line in told["text"].removesuffix("\n").split("\n"):
        assert len(line) <= 100
        assert line.isprintable()
        assert not line.lstrip().startswith(("::", "##["))
    assert all(line.startswith(("::error title=", "::warning title=")) for line in told["github"].split("\n")[:-1])
    assert told["nagios"].count("|") == told["nagios"].count("\n") == 1
    rows = [line for line in told["markdown"].split("\n") if re.match(r"\| \d+ \| ", line)]
    assert [len(re.split(r"(?<!\\)\|", row)) for row in rows] == [11, 11]
    assert json.loads(told["json"])["target"] == target


def test_a_report_tells_each_cause_once():
    """Twenty failures of one cause are one section with one explanation."""
    shown = SERIES_FORMATS["markdown"](cases.series(*cases.runs(*[BAD] * 20)), cases.VIEW, None)

    assert shown.count("Page: WebSocketFactorySlotsExhausted") == 1
    assert "## admission: factory (slot_limit) (20 of 20 runs)" in shown


def lines_of(results, total):
    return [number for number in range(len(results) + 1) if is_progress_due(results[:number], total)]


def test_a_log_has_some_twenty_lines_of_progress_and_each_turn():
    """The first run, every twentieth part, and where passing turns into failing or back."""
    bad, good = cases.INTERNAL_ERROR, cases.PASSED

    assert lines_of([good] * 3, 3) == [1, 2, 3]
    assert lines_of([good] * 100, 100) == [1, *range(5, 101, 5)]
    assert lines_of([good] * 6 + [bad] * 2 + [good], 100) == [1, 5, 7, 9]
    assert lines_of([], 3) == []


def test_evidence_is_told_of_what_was_there_to_see():
    """A profile without ids, server time and message has no such lines."""
    bare = replace(cases.PASSED, depth=Probe.CONNECT, evidence=Evidence(), phases=cases.until(Phase.ADMISSION))
    shown = SERIES_FORMATS["text"](cases.series(*[bare] * 3), cases.VIEW)

    assert "Evidence that it was real" not in shown
    assert "Server clock" not in shown
