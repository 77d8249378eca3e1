"""A session with a built-in profile says of the real servers of its protocol what is so."""

import pytest
from support.protocol_cases import cases_of, expected, outcome
from support.protocol_servers import ON_NODE, SERVERS

ROWS = [
    pytest.param(name, case, id=f"{name}: {case}", marks=[pytest.mark.needs("node")] if name in ON_NODE else [])
    for name, case in cases_of(SERVERS)
]


@pytest.mark.parametrize(("name", "case"), ROWS)
async def test_a_session_with_the_built_in_profile(name, case, tmp_path):
    """Verdicts, phase, reason and close are those that were written down before it was run."""
    assert await outcome(SERVERS, name, case, tmp_path) == expected(name, case)
