"""The scale bench works: pages are whole, turns and memory are measured. No figure is judged here."""

from math import isfinite

from bench.scale import measure, row


async def test_pages_and_memory_are_measured():
    """Of two sizes: every target is on the page, the larger one is larger, all figures are there."""
    small, large = await measure((2, 6), scrapes=2, interval="2s")

    assert small["lines_of_a_target"] == large["lines_of_a_target"] > 200
    for found in (small, large):
        shown = [
            found[form][figure] for form in ("identity", "gzip") for figure in ("median", "worst", "bytes", "hold")
        ]
        assert all(isfinite(figure) and figure > 0 for figure in [*shown, found["quiet"], *found["memory"].values()])
        assert found["gzip"]["bytes"] < found["identity"]["bytes"] / 5
    assert large["identity"]["bytes"] > 2 * small["identity"]["bytes"]
    assert row(small).count("|") == row().count("|")
