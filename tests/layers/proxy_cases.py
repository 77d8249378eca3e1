"""All proxies before real servers and broken ones, and two in a row; `make layers` runs it.

pytest tests/layers/proxy_cases.py
"""

import pytest
from more_proxies import MORE_PROXIES
from support.proxies import PROXIES
from support.proxy_cases import (
    CELLS,
    cells_of_chain,
    cells_of_ends,
    cells_of_proxy,
    cells_of_section,
    changes,
    ends_of,
    open_folder,
    others_of,
    rows_of,
)

ALL = PROXIES | MORE_PROXIES


@pytest.fixture
def folder():
    with open_folder() as path:
        yield path


async def no_change(outcomes, record_property):
    """Each cell is as its row has it; all of them are lines of the table."""
    for outcome in outcomes:
        record_property("cell", outcome.columns())
    assert await changes(outcomes) == []


@pytest.mark.parametrize(("name", "setup"), rows_of(MORE_PROXIES))
async def test_a_session_through_one_proxy(name, setup, folder, record_property):
    """Each cell of the proxy is as its row in tests/data/layers/proxies.yml has it."""
    await no_change(await cells_of_proxy(ALL, name, setup, folder), record_property)


@pytest.mark.parametrize(("name", "setup"), ends_of(MORE_PROXIES))
async def test_a_session_whose_proxy_is_reloaded_or_ends(name, setup, folder, record_property):
    """It is left alone, closed or cut, as the proxy's row has it."""
    await no_change(await cells_of_ends(ALL, name, setup, folder), record_property)


@pytest.mark.parametrize(("section", "name", "setup"), others_of(ALL))
async def test_a_session_that_is_quiet_or_long_or_asks_for_http_1(section, name, setup, folder, record_property):
    """A quiet one is cut or left alone; messages at the edges of packets pass, as HTTP/1.1 does beside HTTP/2."""
    await no_change(await cells_of_section(ALL, section, name, setup, folder), record_property)


@pytest.mark.parametrize("chain", [chain for chain in CELLS["chains"] if not set(chain.split(" > ")) <= PROXIES.keys()])
async def test_a_session_through_two_proxies(chain, folder, record_property):
    """The answer's author is the proxy that made it, wherever in the row it stands."""
    await no_change(await cells_of_chain(ALL, chain, folder), record_property)
