"""A short run of the healthy weather; `python -m bench.weather` has 100 days of it."""

from bench import weather


def test_a_day_of_healthy_weather_pages_nobody(capsys):
    """Blips, deploys, cold starts and a slow hour: sessions fail, confirm runs answer, no outage begins."""
    weather.main(0.6)

    _, *rows = (line.rsplit(maxsplit=5) for line in capsys.readouterr().out.splitlines())
    assert [int(row[-1]) for row in rows] == [0, 0, 0, 0]
    assert all(int(row[2]) > 0 for row in rows), "confirm runs took place"
    assert sum(int(row[3]) for row in rows) > 0, "the weather met some cycles"
