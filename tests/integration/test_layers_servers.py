"""Real servers show what tests/data/layers_servers.yml says of each event, before a layer is blamed for it.

`make test` runs three of them; the others are marked for `make layers`, which also runs the servers and the events
that take longer (tests/layers/server_cases.py).
"""

import pytest
from support.layer_cells import SERVER_CELLS, differences, outcome, shared_outcomes
from support.layer_servers import ON_NODE, SERVERS

IN_EVERY_RUN = frozenset({"uvicorn-websockets", "hypercorn", "aiohttp"})


def marks_of(name):
    return [
        *([pytest.mark.needs("node")] if name in ON_NODE else []),
        *([] if name in IN_EVERY_RUN else [pytest.mark.soak]),
    ]


NAMES = [pytest.param(name, marks=marks_of(name)) for name in SERVERS]


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
