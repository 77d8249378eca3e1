"""The page bench works: the page is painted, whole, and its updates are measured. No figure is judged here."""

from math import isfinite

from bench.page import measure, row


async def test_paint_page_and_update_are_measured():
    """Of two sizes: a failing target is opened, the larger page is larger, all figures are there."""
    small, large = await measure((2, 40), loads=2)

    for found in (small, large):
        answers = [
            found[what][figure] for what in ("page", "update") for figure in ("median", "worst", "bytes", "hold")
        ]
        figures = [*answers, *found["paint"].values()]
        assert all(isfinite(figure) and figure > 0 for figure in figures)
    assert large["paint"]["elements"] > small["paint"]["elements"] + 38 * 15
    assert large["page"]["bytes"] > small["page"]["bytes"] + 38 * 500
    assert row(small).count("|") == row().count("|")
