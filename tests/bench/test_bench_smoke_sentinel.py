"""A short run of the benchmark of the sentinel."""

from bench import sentinel


def test_the_benchmark_of_the_sentinel_runs(monkeypatch, capsys):
    """Every row has its figures side by side."""
    monkeypatch.setattr(sentinel, "PHASES", [3.0])

    sentinel.main()

    assert len(capsys.readouterr().out.splitlines()) == 1 + len(sentinel.ROWS)
