"""What a sentence claims of a close agrees with the table of the server that is known: no row is contradicted."""

from dataclasses import replace
from itertools import product

import pytest
from support import report_cases as cases

from exporter.report import explain
from exporter.report.situation import STOPPING_EVENTS, FailureSituation
from exporter.result import Close, FactoryReason, Initiator, Phase, Reason, Software
from exporter.software import SERVER_BEHAVIOURS, ServerEvent

EXCEPTIONS = {ServerEvent.RAISES_AFTER_ACCEPT, ServerEvent.RAISES_ON_MESSAGE}
CLAIMS = {
    "stopped or recycled": STOPPING_EVENTS,
    "being stopped": STOPPING_EVENTS,
    "; an application can close so itself": STOPPING_EVENTS,
    "a server behind it that was stopped": STOPPING_EVENTS,
    "handling of our message broke": EXCEPTIONS,
    "unhandled exception": EXCEPTIONS,
    "overloaded": set(),
}
"""Words of sentences about a close, with the events of which they are true."""

TOO_BIG_LOOKS_SO = {(Software.QUARKUS, 1011), (Software.VERTX, 1000)}
"""Servers that take a message for too big as they do something else: a probe's small message does not meet that."""

CODES = [*range(1000, 1004), 1005, *range(1007, 1015), 3000, 4401, 4500]
WAITS = (0.01, 3.5, 30.5, 40.5, 45.5, 60.5)
"""Seconds: at once, the times of the tables, and between them."""

PHASES = {Phase.ADMISSION: "pass/fail/fail", Phase.AUTH: "pass/fail/fail", Phase.REPLY: "pass/-/fail"}
SERVERS = sorted({row.server for row in SERVER_BEHAVIOURS})


def closed(phase, code, waited, *, stops=False, **known):
    """Yield a session that the server closed `waited` seconds after its last phase, by each rule that may sort it."""
    is_error = code == 1011 and not stops
    result = cases.failed(
        phase,
        Reason.SERVER_ERROR if is_error else Reason.CLOSED,
        PHASES[phase],
        close=Close(code, Initiator.REMOTE, phase),
        **known,
    )
    result = replace(result, refused_after=sum(result.phases.values()) + waited)
    yield result
    if phase is Phase.ADMISSION:
        factory = FactoryReason.INTERNAL_ERROR if is_error else FactoryReason.OTHER
        yield replace(result, reason=Reason.FACTORY, factory_reason=factory)


def false_claims(sentence, events):
    """The words of a sentence that are not true of each of these events."""
    return [words for words, true_of in CLAIMS.items() if words in sentence and not set(events) <= set(true_of)]


@pytest.mark.parametrize("behind", [(), ("caddy",)], ids=["alone", "behind Caddy"])
@pytest.mark.parametrize("server", SERVERS)
def test_no_sentence_about_a_close_code_contradicts_the_table_of_its_server(server, behind):
    """Whatever the code and its time: what the sentence claims holds for all that the server was seen to do so."""
    context = cases.context("echo", server=server.value, behind=list(behind))
    for phase, code, waited in product(PHASES, CODES, WAITS):
        for result in closed(phase, code, waited):
            match = FailureSituation(result, context).match
            said = explain(result, context).sentence
            assert false_claims(said, match.events if match else ()) == [], (phase, code, waited, said)


ROWS = [
    row
    for row in SERVER_BEHAVIOURS
    if row.code not in (None, 1006)
    and not (row.event is ServerEvent.TOO_BIG and (row.server, row.code) in TOO_BIG_LOOKS_SO)
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.version}: {row.event.name}")
@pytest.mark.parametrize("is_named", [True, False], ids=["by its answer", "by the config"])
def test_the_sentence_of_a_close_is_true_of_the_event_that_made_it(row, is_named):
    """Each cell that was seen, in each phase of the open WebSocket, as `classify` sorts a stop and an exception."""
    context = cases.context("echo", server=None if is_named else row.server.value)
    known = {"answered_by": row.server} if is_named else {}
    stops = row.event in STOPPING_EVENTS and row.after is not None
    for phase in PHASES:
        for result in closed(phase, row.code, row.after[0] if row.after else 0.01, stops=stops, **known):
            said = explain(result, context).sentence
            assert false_claims(said, {row.event}) == [], (phase, said)


def test_every_claim_is_made_of_an_unknown_server():
    """The words that are looked for are those of the sentences: where no table says otherwise, they are said."""
    said = [
        explain(result, cases.context("echo", behind=behind)).sentence
        for behind in ([], ["caddy"])
        for phase, code in product(PHASES, CODES)
        for result in closed(phase, code, 0.01)
    ]
    said.append(explain(next(closed(Phase.REPLY, 1000, 0.01)), cases.context("echo", server="vertx")).sentence)
    assert [words for words in CLAIMS if not any(words in sentence for sentence in said)] == []
