"""Package `report`: the table that explains results is complete, and tells the look-alikes apart."""

from dataclasses import replace

import pytest
import yaml
from support import report_cases as cases
from support.situations import FAIL, every_situation

from exporter.classify import LEGAL_FAILURES
from exporter.report import explain
from exporter.report.cause_table import CAUSES, find_cause
from exporter.report.causes import Alert
from exporter.report.explain import NOTHING_PROVED
from exporter.report.situation import FailureSituation, TargetContext
from exporter.result import (
    Close,
    Evidence,
    FactoryReason,
    Initiator,
    Phase,
    Probe,
    Reason,
    Result,
    Verdict,
)

# The alerts that a result can point to; a page of no such name would never be opened.
ALERTS = {
    "WebSocketInternalErrorSpike",
    "WebSocketFactoryValidationFailing",
    "WebSocketFactorySlotsExhausted",
    "WebSocketConnectFailing",
    "WebSocketAuthFailing",
    "WebSocketAuthUnavailable",
    "WebSocketNoWelcome",
    "WebSocketSendFailing",
    "WebSocketIdentityFailing",
    "WebSocketProbeDistorted",
    "WebSocketServerRestarting",
    "WebSocketRateLimited",
    "WebSocketProbeImpaired",
    "WebSocketProbeBudgetSkips",
}


def test_every_failure_is_explained():
    """Each phase and reason, with each factory reason, impairment and close, has a sentence, a page and a next step."""
    for result, context in every_situation():
        said = explain(result, context)

        assert said.page is not None, result
        assert said.page in ALERTS
        assert said.next_step
        assert said.sentence
        assert "{" not in said.sentence + said.next_step, said


def test_every_row_is_met():
    """No row of the table stands behind another that always speaks first."""
    met = {id(find_cause(FailureSituation(result, context))) for result, context in every_situation()}

    assert [row for row in CAUSES if id(row) not in met] == []


def test_every_row_says_something_of_its_own():
    """No two rows share a sentence, and none is as long as to be passed over at night."""
    sentences = [row.sentence for row in CAUSES]

    assert len(set(sentences)) == len(sentences)
    assert max(map(len, sentences)) <= 260
    assert max(len(row.next_step) for row in CAUSES) <= 320


def test_the_alerts_are_those_of_the_issue():
    """A page can only be one of an alert that is."""
    assert {str(alert) for alert in Alert} == ALERTS


@pytest.mark.parametrize("phase", LEGAL_FAILURES)
def test_reasons_of_one_phase_are_told_apart(phase):
    """Within a phase, each reason has its own sentence."""
    met = {
        reason: explain(replace(cases.PASSED, verdicts=FAIL, phase=phase, reason=reason, close=None)).sentence
        for reason in LEGAL_FAILURES[phase] - {Reason.FACTORY}
    }

    assert len(set(met.values())) == len(met)


def test_factory_reasons_are_told_apart():
    """Each factory reason has its own sentence."""
    met = {explain(replace(cases.SLOT_LIMIT, factory_reason=factory)).sentence for factory in FactoryReason}

    assert len(met) == len(FactoryReason)


LOOK_ALIKES = {
    1: cases.SLOT_LIMIT,
    4: cases.INTERNAL_ERROR,
    7: cases.NO_WELCOME,
    18: cases.TOKEN_REJECTED,
    34: cases.ZOMBIE,
}


def test_the_look_alikes_are_told_apart():
    """The signatures of docs/backend-protocol.md#incidents that look alike have sentences and pages of their own."""
    said = {number: explain(result) for number, result in LOOK_ALIKES.items()}

    assert len({each.sentence for each in said.values()}) == len(said)
    assert {number: each.page.split("WebSocket")[1] for number, each in said.items()} == {
        1: "FactorySlotsExhausted",
        4: "FactoryValidationFailing",
        7: "NoWelcome",
        18: "AuthFailing",
        34: "SendFailing",
    }


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (cases.SLOT_LIMIT, "all 5 of its slots are held"),
        (replace(cases.SLOT_LIMIT, slot_limit=None), "all its slots are held"),
        (cases.INTERNAL_ERROR, "closed with 1011 (internal error) before the welcome"),
        (cases.NO_WELCOME, "SILENCE"),
        (cases.TOKEN_REJECTED, "refused our token"),
        (cases.ZOMBIE, "NO REPLY"),
        (replace(cases.ZOMBIE, verdicts=FAIL), "Welcomed, but our message"),
        (cases.REFUSED_UPGRADE, "HTTP 503: no healthy instance"),
        (replace(cases.REFUSED_UPGRADE, http_status=403), "HTTP 403"),
        (replace(cases.REFUSED_UPGRADE, reason=Reason.RATE_LIMITED, http_status=429, retry_after=600.0), "wait 10 min"),
        (
            cases.failed(Phase.REPLY, Reason.SERVER_ERROR, "pass/pass/fail", close=cases.remote(1011, Phase.REPLY)),
            "instead of replying",
        ),
        (cases.failed(Phase.REPLY, Reason.CLOSED, "pass/pass/fail", close=cases.remote(1012, Phase.REPLY)), "recycled"),
        (cases.failed(Phase.REPLY, Reason.CLOSED, "pass/pass/fail", close=cases.remote(1008, Phase.REPLY)), "1008"),
    ],
)
def test_the_sentence_holds_the_figures(result, words):
    """What the result knows stands in its sentence."""
    assert words in explain(result).sentence


def judged(row):
    """A result with what a row of faults.yml says of it."""
    word = {"pass": Verdict.PASS, "fail": Verdict.FAIL}
    close = row["close"]
    return replace(
        cases.PASSED,
        depth=Probe(row["depth"]),
        verdicts={probe: word.get(row[probe], Verdict.NONE) for probe in Probe},
        phase=row["phase"] and Phase(row["phase"]),
        reason=row["reason"] and Reason(row["reason"]),
        factory_reason=row["factory_reason"] and FactoryReason(row["factory_reason"]),
        close=close and Close(close["code"], Initiator(close["initiator"]), Phase(close["phase"])),
        http_status=row["http_status"],
    )


ROWS = [row for row in yaml.safe_load((cases.DATA / "faults.yml").read_text("utf-8")) if row["reason"]]
INCIDENTS = yaml.safe_load((cases.DATA / "signatures.yml").read_text("utf-8"))["incidents"]
PAIRS = [
    (incident, [row for row in ROWS if row["fault"] in incident["faults"]])
    for incident in INCIDENTS
    if incident["name"] not in ("uuid-refused", "hypercorn-recycled")
]
"""Left out: one identity's refusal is told as its cause, where the alert can only say that one identity fails; and
hypercorn's stop is one by the time it takes, which the fault's row does not know."""


@pytest.mark.parametrize("pair", [pair for pair in PAIRS if pair[1]], ids=lambda pair: pair[0]["name"])
def test_the_page_is_the_one_of_the_notification(pair):
    """Who is paged and runs `check` is sent to the page that the notification opened."""
    incident, rows = pair
    pages = {explain(judged(row)).page for row in rows}

    assert incident["notify"].partition("/")[0] in pages


def test_most_incidents_have_their_fault():
    """The comparison of pages is not empty: most incidents are faults whose results are written down."""
    assert len([pair for pair in PAIRS if pair[1]]) >= 20


def test_an_auth_refusal_speaks_before_a_bad_welcome():
    """Where a login was refused and the welcome was wrong, the refusal is told, and the welcome beside it."""
    both = cases.failed(Phase.AUTH, Reason.AUTH_REJECTED, "pass/fail/fail", factory_reason=FactoryReason.DEGRADED)

    said = explain(both)

    assert "refused the token in our login message" in said.sentence
    assert "The welcome was wrong as well (degraded)." in said.sentence


@pytest.mark.parametrize("depth", Probe)
def test_what_passed_has_no_page(depth):
    """Where nothing is wrong, there is nothing to open; what was not asked is said."""
    verdicts = {probe: Verdict.PASS if probe.rank <= depth.rank else Verdict.NONE for probe in Probe}

    said = explain(replace(cases.PASSED, depth=depth, verdicts=verdicts))

    assert (said.page, said.next_step) == (None, None)
    assert ("was not asked" in said.sentence) is (depth is not Probe.SEND)


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        ({Probe.CONNECT: 2.0, Probe.AUTH: 2.0, Probe.SEND: 2.0}, "But slow: auth took 2.25 s (`slow_over`: 2 s), send"),
        ({Probe.CONNECT: 2.0, Probe.AUTH: 3.0, Probe.SEND: 4.0}, "But slow: send took 4.50 s (`slow_over`: 4 s)."),
        ({Probe.CONNECT: 5.0, Probe.AUTH: 5.0, Probe.SEND: 5.0}, ""),
        ({}, ""),
    ],
)
def test_a_slow_pass_is_told_by_the_limits_of_its_target(limits, told):
    """Which probes, and how slow; nothing if the exporter itself was late, or the limits are not known."""
    slow = replace(cases.PASSED, durations={Probe.CONNECT: 0.1, Probe.AUTH: 2.25, Probe.SEND: 4.5})

    sentence = explain(slow, TargetContext(slow_over=limits)).sentence

    assert told in sentence
    assert ("slow" in sentence) is bool(told)
    assert "But slow" not in explain(replace(slow, distorted=True), TargetContext(slow_over=limits)).sentence


@pytest.mark.parametrize(
    ("close", "words"),
    [
        (
            Close(1011, Initiator.REMOTE, Phase.CLOSE),
            "But the server closed with 1011 (internal error), not with 1000.",
        ),
        (Close(1006, Initiator.NONE, Phase.CLOSE), "our close got no answer (1006)"),
        (Close(1000, Initiator.REMOTE, Phase.CLOSE), "Our user is let in, and our message got its reply."),
    ],
)
def test_an_odd_close_of_a_passed_session_is_told(close, words):
    """A close that went wrong fails no probe, but is not passed over."""
    said = explain(replace(cases.PASSED, close=close)).sentence

    assert words in said
    assert ("But " in said) is (close.code != 1000)


def test_a_distorted_run_is_told():
    """Seconds of a held-up exporter are not to be believed, and it says so."""
    assert "held up" in explain(replace(cases.PASSED, distorted=True)).sentence


def test_an_answer_to_our_close_is_no_cause():
    """A code that came after our own close is not told as what ended the session."""
    late = Close(1012, Initiator.REMOTE, Phase.CLOSE)
    other = replace(cases.SLOT_LIMIT, factory_reason=FactoryReason.OTHER, close=late)

    assert "recycled" not in explain(other).sentence
    assert "recycled" in explain(replace(other, close=cases.remote(1012))).sentence


def test_nothing_proved_is_no_success():
    """A session that decided nothing and met nothing is not called well."""
    nothing = Result(
        target="staging",
        identity=None,
        run="0",
        depth=Probe.AUTH,
        trigger=cases.PASSED.trigger,
        started_at=0.0,
        verdicts=dict.fromkeys(Probe, Verdict.NONE),
        evidence=Evidence(),
    )

    assert explain(nothing) == NOTHING_PROVED


def test_a_void_session_is_explained_by_our_own_sleep():
    """Nobody is sent to look for a welcome that was missed by us; the sentence says what was wrong, and with whom."""
    nothing = dict.fromkeys(Probe, Verdict.NONE)
    told = explain(replace(cases.PASSED, verdicts=nothing, durations={}, distorted=True, void=True))

    assert "the exporter's host was held up" in told.sentence
    assert told.page == "WebSocketProbeDistorted"
