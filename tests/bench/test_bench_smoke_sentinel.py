"""A short run of the benchmark of the sentinel."""

from bench import sentinel


def test_the_benchmark_of_the_sentinel_runs(monkeypatch, capsys):
    """Every row has its figures for each of the settings, and each of the settings what it costs."""
    monkeypatch.setattr(sentinel, "PHASES", [3.0])

    sentinel.main()

    lines = capsys.readouterr().out.splitlines()
    settings = len(sentinel.SETTINGS)
    assert len(lines) == 1 + len(sentinel.ROWS) * settings + 2 + settings
