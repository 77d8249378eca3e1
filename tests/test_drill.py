"""The drill on the real servers: each signature of the table fires what it says, notifies once, and says why."""

import re

import pytest
from drill.drill import FACTOR, play, signatures, table

ALIKE = (
    "slots-of-one-user",
    "slots-of-all",
    "internal-error-at-welcome",
    "no-welcome",
    "token-rejected",
    "pool-names-refused",
    "uuid-refused",
    "zombie",
)
"""Signatures that look alike from afar."""


@pytest.mark.timeout(120 + float(3000 * FACTOR))
async def test_every_signature_notifies_once_and_tells_its_cause(tmp_path):
    """All rows of the table are played at once; the quiet ones page nobody, and look-alikes are told apart."""
    incidents, _ = signatures()
    outcome = await play(tmp_path)
    print("\n" + table(outcome))
    assert len(incidents) >= 20
    assert not outcome.crashes
    assert not outcome.faults, "this machine was too busy for the drill" if outcome.busy else "see the table"
    assert_told_apart(outcome, incidents)


def assert_told_apart(outcome, incidents):
    """No look-alike's notification could be taken for another's."""
    words = {row["name"]: row["text"] for row in incidents}
    told = {one.name: (one.names, one.text) for one in outcome.played if one.name in ALIKE}
    assert set(told) == set(ALIKE)
    for name, (alert, text) in told.items():
        others = [other for other in ALIKE if other != name and told[other][0] == alert]
        assert not [other for other in others if all(word in text for word in words[other])], name
    causes = {name: (alert, re.sub(r"\d+|[\w-]*" + name + r"[\w-]*", "", text)) for name, (alert, text) in told.items()}
    assert len(set(causes.values())) == len(ALIKE)
