"""Five real proxies before real servers and broken ones: what a session says of who answered, and how it ended.

`make test` runs nginx and Envoy; the rest is marked for `make layers`.
"""

import pytest
from support.proxies import PROXIES
from support.proxy_cases import (
    CELLS,
    cells_of_chain,
    cells_of_ends,
    cells_of_http2,
    cells_of_kill,
    cells_of_proxy,
    changes,
    ends_of,
    open_folder,
    rows_of,
)

IN_EVERY_RUN = frozenset({"nginx", "envoy"})


def marked(rows):
    """The rows, those of the other proxies marked."""
    return [pytest.param(*row, marks=[] if row[0] in IN_EVERY_RUN else [pytest.mark.soak]) for row in rows]


@pytest.fixture
def folder():
    with open_folder() as path:
        yield path


@pytest.mark.parametrize(("name", "setup"), marked(rows_of(PROXIES)))
async def test_a_session_through_one_proxy(name, setup, folder):
    """Each cell of the proxy is as its row in tests/data/layers/proxies.yml has it."""
    assert await changes(await cells_of_proxy(PROXIES, name, setup, folder)) == []


@pytest.mark.parametrize(("name", "setup"), marked(ends_of(PROXIES)))
async def test_a_session_whose_proxy_is_reloaded_or_ends(name, setup, folder):
    """It is left alone, closed or cut, as the proxy's row has it."""
    assert await changes(await cells_of_ends(PROXIES, name, setup, folder)) == []


@pytest.mark.soak
@pytest.mark.parametrize("chain", [chain for chain in CELLS["chains"] if set(chain.split(" > ")) <= PROXIES.keys()])
async def test_a_session_through_two_proxies(chain, folder):
    """The answer's author is the proxy that made it, wherever in the row it stands."""
    assert await changes(await cells_of_chain(PROXIES, chain, folder)) == []


@pytest.mark.soak
@pytest.mark.parametrize("chain", CELLS["http/2 behind"])
async def test_a_session_that_its_proxy_passes_on_over_http_2(chain, folder):
    """An upgrade becomes an extended CONNECT (RFC 8441): what is behind takes it, refuses it, or knows no HTTP/2."""
    assert await changes(await cells_of_http2(PROXIES, chain, folder)) == []


@pytest.mark.soak
async def test_a_session_whose_server_behind_the_proxy_is_killed(folder):
    """The proxy ends the connection too, without a close frame: at once, or a second later."""
    assert await changes(await cells_of_kill(PROXIES, folder)) == []
