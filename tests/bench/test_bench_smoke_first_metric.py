"""The bench of the first five minutes works, with what is installed already: no figure is judged here."""

import sys

from bench.first_metric import measure


async def test_a_clone_tells_its_first_true_metric(tmp_path):
    """`make demo` in a clone needs neither Node nor Go, says what it does, and ends in a metric of a real session."""
    clone = tmp_path / "clone"

    moments, lines = await measure(tmp_path, "-o", ".venv/runs", "-o", ".venv/installed", f"BIN={sys.prefix}/bin")

    assert [*moments] == ["clone", "start", "first line of the demo", "first session", "first true metric"]
    assert [*moments.values()] == sorted(moments.values())
    assert lines[0] == "starting the demo"
    assert not (clone / ".venv").exists()
