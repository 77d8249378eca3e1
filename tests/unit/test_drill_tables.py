"""What the drill on real intervals plays and prints: its paces are those of the shipped files, and a miss is told."""

import pytest
import yaml
from drill.kinds import KINDS
from drill.pace import PATIENT, SHIPPED, Pace
from drill.pages import AFTER, BEFORE, PEER, Page, report
from drill.peer import RULES as PEER_RULES
from drill.peer import config
from drill.stack import ROUTES
from engines.engines import RULES, SCRAPES, SCRAPES_ALONE

FILES = {SCRAPES: Pace.scrapes, SCRAPES_ALONE: Pace.scrapes, RULES: Pace.rules, ROUTES: Pace.routes}


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.name)
def test_the_shipped_pace_changes_nothing_and_another_one_line(file):
    """What a pace replaces stands in the shipped file once."""
    text = file.read_text()
    assert FILES[file](SHIPPED, text) == text
    changed = set(FILES[file](PATIENT, text).splitlines()) - set(text.splitlines())
    assert len(changed) <= 1, "scrape_interval: 15s is the global one's line too"


def page(setting, took, kind="killed process"):
    return Page(0, f"{kind}-0", kind, setting, took, () if took is None else (took, 0.0, 0.0, 0.0, 0.0))


def test_the_report_tells_each_setting_and_how_they_compare():
    """Median, worst and ratio of each kind; the peer has a column where it ran."""
    pages = [page(BEFORE, 40.0), page(BEFORE, 60.0), page(AFTER, 20.0), page(AFTER, 30.0)]
    text, held = report(pages, ["killed process"])
    row = next(line for line in text.splitlines() if line.startswith("killed process"))
    assert row.split()[2:] == ["2", "50.0", "60.0", "0", "25.0", "30.0", "0", "0.50"]
    assert held
    assert PEER not in text
    assert f"{PEER}: median" in report([*pages, page(PEER, 90.0)], ["killed process"])[0]


def test_an_outage_without_a_page_is_a_miss_and_fails_the_drill():
    """It counts as endless in the median, and is named among the slowest."""
    pages = [page(BEFORE, 40.0), page(AFTER, None)]
    text, held = report(pages, ["killed process"])
    assert not held
    assert "1 outages without a page" in text
    assert "slowest, fast: killed process-0, stack 0: no page" in text


def test_the_table_is_one_screen():
    """Nine kinds: at most forty lines of at most 135 letters."""
    pages = [page(setting, 40.0, kind) for setting in (BEFORE, AFTER, PEER) for kind in KINDS]
    lines = report(pages, list(KINDS))[0].splitlines()
    assert len(KINDS) == 9
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 135


def test_the_peer_has_the_rule_that_most_sites_have():
    """A minute of failed probes at 15 s, each backend by its own module, and named as ours."""
    (rule,) = yaml.safe_load(PEER_RULES)["groups"][0]["rules"]
    assert rule["for"] == "1m"
    made = yaml.safe_load(config({"a": "ws://127.0.0.1:1/ws"}, "http://127.0.0.1:2", "http://127.0.0.1:3", "r.yml"))
    (job,) = made["scrape_configs"]
    assert made["global"] == {"scrape_interval": "15s", "evaluation_interval": "15s"}
    assert job["static_configs"] == [
        {"targets": ["ws://127.0.0.1:1/ws"], "labels": {"target": "a", "__param_module": "a"}}
    ]
