"""Real servers show what tests/data/layers_servers.yml says of each event, before anybody is blamed for it.

The servers and the events that take longer stand in tests/layers/server_cases.py.
"""

import pytest
from support.layer_cells import SERVER_CELLS, differences, outcome, shared_outcomes
from support.layer_servers import ON_NODE, SERVERS

NAMES = [pytest.param(name, marks=[pytest.mark.needs("node")] if name in ON_NODE else []) for name in SERVERS]


@pytest.mark.parametrize("name", NAMES)
async def test_what_an_application_does_on_its_server(name, tmp_path):
    """A crash, a return, a refusal, a close, silence and a message that is too big, each as it was written down."""
    seen = await shared_outcomes(name, SERVERS[name], tmp_path)
    assert [difference for case in seen for difference in differences(name, case, seen[case])] == []
    assert {SERVER_CELLS[name]["software"], None} >= {cell.answered_by for cell in seen.values()}


@pytest.mark.parametrize("name", NAMES)
async def test_a_server_that_is_stopped(name, tmp_path):
    """SIGTERM ends an open session with the code of the server, at once or after its own wait."""
    assert differences(name, "stopped", await outcome(name, "stopped", SERVERS[name], tmp_path)) == []
