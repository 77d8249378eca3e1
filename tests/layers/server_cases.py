"""What the frameworks and the other servers show of each event, and the ends that take longer; `make layers` runs it.

pytest tests/layers/server_cases.py
"""

import pytest
from more_servers import MORE_SERVERS
from support.layer_cells import differences, outcome, own_cases, shared_outcomes
from support.layer_servers import SERVERS

PROMPT = 2.5
"""Seconds by which a server may be later than its row; `make test` permits more."""

ENDS = [
    (name, case)
    for name, kind in {**SERVERS, **MORE_SERVERS}.items()
    for case in own_cases(name, kind)
    if name not in SERVERS or case != "stopped"
]


@pytest.mark.parametrize("name", MORE_SERVERS)
async def test_what_an_application_does_on_its_server(name, tmp_path, record_property):
    """As tests/integration/test_layers_servers.py has it, for the servers that `make test` does not start."""
    seen = await shared_outcomes(name, MORE_SERVERS[name], tmp_path)
    for case, cell in seen.items():
        record_property("cell", (name, case, *cell))
    assert [difference for case in seen for difference in differences(name, case, seen[case], PROMPT)] == []


@pytest.mark.parametrize(("name", "case"), ENDS)
async def test_how_a_server_ends_a_session(name, case, tmp_path, record_property):
    """Stopped, killed, recycled, its worker killed, or a client that answers no ping: with its code, after its time."""
    seen = await outcome(name, case, {**SERVERS, **MORE_SERVERS}[name], tmp_path)
    record_property("cell", (name, case, *seen))
    assert differences(name, case, seen, PROMPT) == []
