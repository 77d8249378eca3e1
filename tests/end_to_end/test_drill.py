"""The drill on the real servers: each signature of the table fires what it says, notifies once, and says why."""

import os
import re
from fractions import Fraction

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


FACTORS = sorted({FACTOR, min(2 * FACTOR, Fraction(1, 2)), min(4 * FACTOR, Fraction(1, 2))})
"""A machine that was too busy gets twice the time: a session that was late by a second has a longer timeout then."""
WAITING_PER_CORE = (1.5, 12.0)
"""Processes of others that wait for each core, from which the first factors are not tried at all."""


def worth_trying():
    """The factors from the first that has a chance beside what else runs on this machine."""
    waiting = os.getloadavg()[0] / len(os.sched_getaffinity(0))
    return FACTORS[sum(waiting > limit for limit in WAITING_PER_CORE) :] or FACTORS[-1:]


async def played(folder):
    """The drill, as slowly as this machine needs it."""
    for factor in worth_trying():
        place = folder / str(factor.denominator)
        place.mkdir()
        outcome = await play(place, factor)
        print("\n" + table(outcome))
        if not (outcome.faults and outcome.busy):
            break
        print(f"this machine was too busy for the drill at {factor} of the real time")
    return outcome


@pytest.mark.timeout(sum(120 + float(3000 * factor) for factor in FACTORS))
async def test_every_signature_notifies_once_and_tells_its_cause(tmp_path):
    """All rows of the table are played at once; the quiet ones page nobody, and look-alikes are told apart."""
    incidents, _ = signatures()
    outcome = await played(tmp_path)
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
