"""The scraping bench works: a real Prometheus scrapes and judges, and every figure is there. None is judged here."""

from math import isfinite

from bench.scraping import HEAD, cells, of_size
from drill.pace import SHIPPED


async def test_a_scrape_and_an_evaluation_have_their_price():
    """Of two targets, at the shipped pace: a Prometheus is busy with samples of both, and its rules would read more."""
    found = await of_size(2, (0.0, 5.5), [SHIPPED])

    (row,) = cells(found)
    assert len(row) == len(HEAD)
    cost = found["paces"]["5s"]
    assert all(isfinite(figure) and figure > 0 for figure in [found["gzip"], *cost.values()])
    assert cost["read"] > 1000
