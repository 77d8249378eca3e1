"""What a program was seen to do, in words: clauses without chains, next steps without repetition or contradiction."""

import re
from dataclasses import replace
from itertools import chain

import pytest
from support import report_cases as cases
from support.layer_labels import proxy_cells, server_cells

from exporter.report import FORMATS, explain
from exporter.report.programs import clause_of
from exporter.result import Evidence, Phase, Reason, Software
from exporter.software import ProxyEvent, ServerEvent

CLAUSES = [
    ((ServerEvent.STOPPED,), "when it is stopped"),
    (
        (ServerEvent.RAISES_ON_MESSAGE, ServerEvent.RETURNS, ServerEvent.HANGS),
        "when its application raises on a message, returns without closing or hangs on a message",
    ),
    (
        (ServerEvent.WRONG_PATH, ServerEvent.STOPPED, ServerEvent.WORKER_KILLED),
        "when nothing serves the path or when its worker is killed, or when it is stopped",
    ),
    (
        (ServerEvent.RAISES_AFTER_ACCEPT, ServerEvent.KILLED, ServerEvent.RAISES_ON_MESSAGE, ServerEvent.WORKER_KILLED),
        "when its application raises, or when its process or a worker is killed",
    ),
    (
        (ProxyEvent.BACKEND_REFUSES, ProxyEvent.BACKEND_CUTS),
        "when nothing listens where it sends us, or when its backend ends the connection instead of an answer",
    ),
]


@pytest.mark.parametrize(("events", "words"), CLAUSES, ids=range(len(CLAUSES)))
def test_events_of_one_subject_share_a_clause(events, words):
    """The subject is said once."""
    assert clause_of(events) == words


EXPLAINED = {
    (cell.name, configured): explain(cell.result, cell.context)
    for configured in (True, False)
    for cell in chain(server_cells(configured=configured), proxy_cells(configured=configured))
}
MOST_LINES = 30
LONGEST = 400
"""Characters of a sentence or a next step: four or five lines of the text format."""


def test_every_cell_is_explained_without_repetition():
    """No sentence comes twice, no advice opens with the same five words, and all of it fits a screen."""
    for name, said in EXPLAINED.items():
        sentences = re.split(r"(?<=[.?]) ", f"{said.sentence} {said.next_step}")
        assert len(sentences) == len(set(sentences)), name
        openings = [" ".join(step.split()[:5]) for step in re.split(r"(?<=[.?]) ", said.next_step)]
        assert len(openings) == len(set(openings)), (name, said.next_step)
        assert max(len(said.sentence), len(said.next_step)) <= LONGEST, (name, said)


@pytest.mark.parametrize("cells", [server_cells, proxy_cells])
def test_a_check_of_every_cell_fits_a_screen(cells):
    """Phases, verdicts, what such a server shows of itself, the explanation and the page to open."""
    for cell in cells(configured=True):
        seen = replace(cell.result, evidence=Evidence(address="203.0.113.7"))
        lines = FORMATS["text"](cases.checked(seen, context=cell.context, held=cases.DEAF), cases.VIEW).splitlines()
        assert len(lines) <= MOST_LINES, (cell.name, "\n".join(lines))


def test_a_proxy_in_front_of_another_looks_at_that_one_first():
    """Not at the backend, where the proxy does not send us."""
    result = cases.failed(
        Phase.UPGRADE, Reason.HTTP_STATUS, "fail/fail/fail", http_status=503, answered_by=Software.APACHE
    )
    said = explain(result, cases.context("echo", behind=["apache", "nginx"]))
    assert said.next_step.startswith("See whether nginx, the next proxy, is up")
    assert "backend's process" not in said.next_step


def test_messages_that_the_profile_does_not_know_are_no_silence_of_a_program():
    """The server speaks: its handler does not hang."""
    result = cases.failed(Phase.REPLY, Reason.TIMEOUT, "pass/pass/fail", passed_over={"other": 2})
    said = explain(result, cases.context("echo", server="uvicorn"))
    assert "uvicorn" not in said.sentence
