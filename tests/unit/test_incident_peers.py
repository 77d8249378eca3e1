"""How deploy/incidents/peers.md judges what another monitor said: noticed, named, or no result."""

import json

import pytest
from incidents.peers import TIMES, Probe, clues, named, noticed, verdict
from support.incident_recording import FILE

INCIDENTS = {one["name"]: one for one in map(json.loads, FILE.read_text("utf-8").splitlines())}
UP, DOWN, NOTHING = Probe(True, ""), Probe(False, "close 1011"), Probe(None, "")

SAID = {
    "all users fail": ([[DOWN] * TIMES] * 3, True, "down"),
    "one user fails": ([[UP] * TIMES, [DOWN] * TIMES, [UP] * TIMES], True, "down in 3 of 9 probes"),
    "one probe of each user fails": ([[DOWN, UP, UP]] * 3, False, "down in 3 of 9 probes"),
    "nothing comes": ([[NOTHING]] * 3, False, "no result"),
    "too few results": ([[DOWN]] * 3, False, "down"),
    "all is well": ([[UP] * TIMES] * 3, False, "up"),
}


@pytest.mark.parametrize(("probes", "is_noticed", "words"), SAID.values(), ids=SAID)
def test_an_incident_is_noticed_if_a_user_fails_every_time(probes, is_noticed, words):
    """As an alert with a threshold has it; a probe without a result is no failure."""
    by_user = dict(enumerate(probes))

    assert (noticed(by_user), verdict(by_user)) == (is_noticed, words)


NAMED = {
    "an error code": ("slots-of-all", 'line="…FACTORY_INIT_FAILED…"', "FACTORY_INIT_FAILED"),
    "a close": ("crash-loop", "websocket: close 1012 (service restart)", "close 1012"),
    "a status": ("banned-429", "probe_websocket_status_code 429", "429"),
    "a number with the same figures": ("banned-429", "took 0.429 s", None),
    "an error of the system": ("process-gone", "connect: connection refused", "refused"),
    "the expectation alone": ("wrong-environment", "[BODY].data.environment == staging", None),
}


@pytest.mark.parametrize(("name", "text", "word"), NAMED.values(), ids=NAMED)
def test_a_cause_is_named_by_what_the_server_said(name, text, word):
    """Not by what the config expects, and by the failed probes alone."""
    assert named(INCIDENTS[name], {0: [Probe(False, text), UP]}) == word
    assert named(INCIDENTS[name], {0: [Probe(True, text)]}) is None


def test_every_incident_that_fails_has_a_word_that_names_it():
    """A new one without any would be counted against every monitor."""
    loud = [one for one in INCIDENTS.values() if one["played"] and one["alerts"]["speed"] != "quiet"]

    assert [one["name"] for one in loud if not list(clues(one))] == []
