"""Table of servers: each row of the last runs is a cell of tests/data/layers_servers.yml, and each cell has its row."""

import pytest
from support.layer_cells import SERVER_CELLS
from support.layer_rows import rows_of

from exporter.software import SERVER_BEHAVIOURS, SIGNED_REFUSALS

LAST_RUN = max(row.seen for row in SERVER_BEHAVIOURS)


def facts(row):
    return row.server, row.event, row.status, row.code, row.after, row.answers_close, row.is_http


@pytest.mark.parametrize("name", SERVER_CELLS)
def test_each_cell_that_real_servers_hold_has_its_row(name):
    """What a run must show is what the exporter knows of the server."""
    assert rows_of(name) <= {facts(row) for row in SERVER_BEHAVIOURS}


def test_each_row_of_the_last_run_is_a_cell_that_real_servers_hold():
    """No row without a run that fails when the server changes; rows of earlier days were seen by hand."""
    cells = set().union(*map(rows_of, SERVER_CELLS))
    assert {facts(row) for row in SERVER_BEHAVIOURS if row.seen == LAST_RUN} == cells


def test_no_row_stands_twice():
    """A framework on a server has those rows alone in which it differs."""
    rows = [(*facts(row), row.ending) for row in SERVER_BEHAVIOURS]
    assert len(rows) == len(set(rows))


def test_the_servers_that_sign_each_refusal_are_those_of_the_cells():
    """A refusal without a name is another program's, unless some version of the server signs none."""
    signing = {name: "refusals" in server["names"] for name, server in SERVER_CELLS.items()}
    servers = {SERVER_CELLS[name]["software"] for name, signs in signing.items() if signs}
    silent = {SERVER_CELLS[name]["software"] for name, signs in signing.items() if not signs}

    assert {server.value for server in SIGNED_REFUSALS} == servers - silent - {"gunicorn"}
