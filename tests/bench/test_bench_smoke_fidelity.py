"""The fidelity bench works: it measures, joins, and its truth is within what was injected. No figure is judged here."""

import asyncio
import json
from dataclasses import astuple
from math import isfinite

import pytest
from bench.backend import ADMISSION, REPLY
from bench.fidelity import row, run_once
from bench.reckoning import reckon

TARGETS = 5
INTERVAL = 2.0
SECONDS = 5.0
SLACK = 1.0
"""Seconds by which a delay may be longer than asked for on a machine that runs all tests at once."""


@pytest.fixture
def folders(tmp_path):
    """A folder for each scenario."""
    made = {tls: tmp_path / f"tls-{tls}" for tls in (False, True)}
    for folder in made.values():
        folder.mkdir()
    return made


def figures_of(outcome):
    for errors in (outcome.admission, outcome.reply):
        for figures in (errors.truth, errors.own, errors.start_up_truth, errors.start_up_own, errors.own_clock):
            yield from astuple(figures)


async def test_plain_and_tls_are_measured_and_joined(folders):
    """Every session of the exporter passes and meets its truth, which lies within the injected delays."""
    outcomes = await asyncio.gather(
        *(
            run_once(targets=TARGETS, tls=tls, seconds=SECONDS, interval=f"{INTERVAL:g}s", folder=folder)
            for tls, folder in folders.items()
        )
    )

    for outcome in outcomes:
        assert outcome.sessions >= TARGETS
        assert (outcome.failures, outcome.without_truth, outcome.without_session) == (0, 0, 0)
        assert outcome.admission.truth.n == outcome.reply.truth.n == outcome.sessions
        assert all(map(isfinite, figures_of(outcome)))
        assert (outcome.scrape.failures, outcome.page.failures) == (0, 0)
        assert outcome.scrape.n > 0 < outcome.page.n
        assert 0 < outcome.exporter.rss <= outcome.exporter.hwm
        assert json.loads(json.dumps(outcome.plain(), allow_nan=False))["sessions"] == outcome.sessions
        assert len(row(outcome)) >= len(row())
    for folder in folders.values():
        assert_truth_is_what_was_injected(folder)


def assert_truth_is_what_was_injected(folder):
    truth = {line["run"]: line for line in map(json.loads, (folder / "truth.jsonl").read_text().splitlines())}
    for sample in reckon(folder / "log.jsonl", truth, INTERVAL).samples:
        least, most = ADMISSION if sample.phase == "admission" else REPLY
        for seconds in (sample.own, sample.kernel):
            assert seconds is None or least - 0.001 <= seconds <= most + SLACK
        assert sample.kernel is None or abs(sample.own - sample.kernel) < SLACK
