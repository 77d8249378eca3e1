"""Days of a backend's own figures, by promtool: a ticket before a limit is reached, and none for what is no leak."""

import math
import random
import subprocess
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
import yaml
from support.paths import ROOT
from support.realservers import binary

ALERT = "WebSocketStatsNearingLimit"
LIMIT = 1000
HOUR = 60
DAY = 24 * HOUR
"""Minutes."""


@pytest.fixture(scope="module")
def rules(tmp_path_factory):
    """The rules of the figures alone, as they are shipped: days of all rules would take minutes."""
    groups = yaml.safe_load((ROOT / "alerts.yml").read_text())["groups"]
    wanted = [
        {**group, "rules": found}
        for group in groups
        if (
            found := [
                rule for rule in group["rules"] if "ws_stats_value" in rule["expr"] or "ws_stats_limit" in rule["expr"]
            ]
        )
    ]
    assert [len(group["rules"]) for group in wanted] == [3]
    file = tmp_path_factory.mktemp("rules") / "stats.yml"
    file.write_text(yaml.safe_dump({"groups": wanted}))
    return file


@dataclass(frozen=True)
class Days:
    """A figure by the minute: `level(minute)`, with `noise` to both sides. `every`: minutes between two scrapes."""

    level: object
    minutes: int
    noise: float = 0.0
    every: int = 1
    limit: float | None = LIMIT
    restarts: tuple = ()
    """Minutes at which another pod of the exporter takes over, ten minutes later."""
    seed: int = field(default=5)

    def series(self):
        dice = random.Random(self.seed)
        values = [
            max(0.0, self.level(minute) + dice.uniform(-self.noise, self.noise))
            for minute in range(0, self.minutes, self.every)
        ]
        bounds = [0, *self.restarts, self.minutes]
        for number, (ended, end) in enumerate(pairwise(bounds)):
            labels = f'{{job="ws-factory-exporter",instance="pod-{number}",target="t",field="managers"}}'
            begin = ended + (10 if number else 0)
            known = ["_"] * (begin // self.every)
            known += [f"{value:.1f}" for value in values[begin // self.every : end // self.every]] + ["stale"]
            yield f"ws_stats_value{labels}", " ".join(known)
            if self.limit is not None:
                yield f"ws_stats_limit{labels}", " ".join(one if one in "_stale" else f"{self.limit}" for one in known)


def wave(minute):
    """A day of users: few at night, most at noon."""
    return 450 - 250 * math.cos(2 * math.pi * minute / DAY)


def after_deploys(minute, *, every, level, growth=0.0):
    """A process that begins at 0, has its users back within ten minutes, and grows by so much an hour."""
    age = minute % every
    return min(1.0, age / 10) * level + growth * age / HOUR


def leaking(start, growth, begin=4 * HOUR):
    """A level that grows by so much an hour from a minute on."""
    return lambda minute: start + growth * max(0, minute - begin) / HOUR


SHORT = {
    "a fast leak, that reaches the limit within the hour": (
        Days(leaking(200, 1000, HOUR), 2 * HOUR, noise=10),
        [(HOUR, False), (HOUR + 25, True)],
    ),
    "a first start, and a deploy": (
        Days(lambda minute: after_deploys(minute, every=2 * HOUR, level=600), 3 * HOUR, noise=20),
        [(3 * HOUR, False)],
    ),
    "noise of some hours": (Days(lambda _: 700, 3 * HOUR, noise=150), [(3 * HOUR, False)]),
    "no limit": (Days(leaking(300, 1000, HOUR), 3 * HOUR, limit=None), [(3 * HOUR, False)]),
}
LONG = {
    "a slow leak, 14 hours before the limit and 3 before it": (
        Days(leaking(300, 40), 24 * HOUR, noise=20),
        [(8 * HOUR, False), (19 * HOUR, True)],
    ),
    "a slow leak, at a scrape every five minutes": (
        Days(leaking(300, 40), 24 * HOUR, noise=20, every=5),
        [(8 * HOUR, False), (19 * HOUR, True)],
    ),
    "a leak upon the waves of the days": (
        Days(lambda minute: 0.6 * wave(minute) + 8 * minute / HOUR, 4 * DAY, noise=10, every=5),
        [(int(2.3 * DAY), False), (int(3.6 * DAY), True)],
    ),
    "a leak while another pod takes the exporter over": (
        Days(leaking(300, 60), 18 * HOUR, noise=20, restarts=(13 * HOUR,)),
        [(8 * HOUR, False), (14 * HOUR, True)],
    ),
    "a leak that a deploy ends at the limit, and its return the same day": (
        Days(lambda minute: after_deploys(minute, every=12 * HOUR, level=100, growth=78), 30 * HOUR, noise=10),
        [(7 * HOUR, False), (12 * HOUR, True), (18 * HOUR, True), (23 * HOUR, True)],
    ),
    "noise": (Days(lambda _: 700, 2 * DAY, noise=150, every=5), [(2 * DAY, False)]),
    "waves": (Days(wave, 4 * DAY, noise=20, every=5), [(4 * DAY, False)]),
    "deploys": (
        Days(lambda minute: after_deploys(minute, every=7 * HOUR, level=600), 2 * DAY, noise=20, every=5),
        [(2 * DAY, False)],
    ),
    "deploys that hide a leak which is far from the limit": (
        Days(lambda minute: after_deploys(minute, every=7 * HOUR, level=300, growth=20), 2 * DAY, noise=20, every=5),
        [(2 * DAY, False)],
    ),
    "a leak that stops": (
        Days(lambda minute: 300 + 40 * min(minute, 6 * HOUR) / HOUR, DAY, noise=5),
        [(DAY, False)],
    ),
}
CASES = {**SHORT, **LONG}


@pytest.mark.parametrize("name", [*SHORT, *(pytest.param(name, marks=pytest.mark.soak) for name in LONG)])
def test_a_figure_that_grows_to_its_limit_is_a_ticket_and_nothing_else_is(name, rules, tmp_path):
    """Up to each minute, since the one before, the ticket fires or does not."""
    days, moments = CASES[name]
    tests, before = [], 0
    for minute, fires in moments:
        expr = f'max(count_over_time(ALERTS{{alertname="{ALERT}",alertstate="firing"}}[{minute - before}m]) > bool 0)'
        samples = [{"labels": "{}", "value": 1}] if fires else []
        tests.append({"expr": expr, "eval_time": f"{minute}m", "exp_samples": samples})
        before = minute
    played = {
        "interval": f"{days.every}m",
        "input_series": [{"series": series, "values": values} for series, values in days.series()],
        "promql_expr_test": tests,
    }
    file = tmp_path / "days.yml"
    file.write_text(yaml.safe_dump({"rule_files": [str(rules)], "evaluation_interval": "1m", "tests": [played]}))
    command = [binary("promtool", "prometheus"), "test", "rules", file]
    tested = subprocess.run(command, capture_output=True, text=True, check=False)
    assert tested.returncode == 0, tested.stdout + tested.stderr
