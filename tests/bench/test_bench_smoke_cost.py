"""The cost bench still measures what it says: contenders complete what they are asked for. No thresholds."""

import json
import math

import clients
import cost
import in_place

SESSIONS, WARM_UP, FIRST = 30, 100, 1
FIGURES = ("median", "worst", "ratio", "per_second", "per_cpu_second")


async def test_every_contender_completes_its_sessions(tmp_path):
    """Each contender has its conversations, as it says and as the server says, and its figures are figures."""
    async with clients.at_once(tmp_path, truth=True) as server:
        aim = cost.aim_at(server, tmp_path, tls=True, in_flight=50)
        found = await cost.compared(aim, sessions=SESSIONS, repeats=1, blackbox=None)

    runs = [json.loads(line)["run"] for line in server.truth_file.read_text(encoding="ascii").splitlines()]
    assert runs.count(cost.PEER) == len(clients.PEERS) * (WARM_UP + SESSIONS)
    assert len(set(runs)) == 1 + len(cost.OURS) * (FIRST + WARM_UP + SESSIONS)
    assert found.keys() == cost.CONTENDERS.keys()
    for name, figures in found.items():
        assert (figures["sessions"], figures["incomplete"]) == (SESSIONS, 0), name
        assert all(math.isfinite(figures[key]) and figures[key] > 0 for key in FIGURES), (name, figures)
    assert found[cost.BASE]["ratio"] == 1.0


async def test_run_is_measured_by_what_it_counts(tmp_path):
    """The whole process is scraped for its sessions, and each cost something."""
    async with clients.at_once(tmp_path) as server:
        aim = cost.aim_at(server, tmp_path, tls=False, in_flight=50)
        found = await cost.whole_process(aim, windows=1, many=20, warm=0.5, window=1.5)

    assert found["sessions"] > 0
    assert 0 < found["median"] < math.inf


async def test_every_part_of_a_session_is_measured(tmp_path):
    """Each part costs something, and so does the whole; what is a difference of two figures may be anything."""
    async with clients.at_once(tmp_path) as server:
        parts = await cost.by_part(cost.aim_at(server, tmp_path, tls=False, in_flight=50), 50)

    measured = {name: part for name, part in parts.items() if name not in (cost.ORDER, cost.REST)}
    assert {"ledger", "token", "conversation", "verdicts", "sinks", "whole"} <= measured.keys()
    assert all(microseconds > 0 for microseconds in measured.values()), parts


def test_the_table_says_what_a_peer_leaves_out():
    """There is a row for every contender, and a sentence on what blackbox_exporter does not do."""
    figures = {**dict.fromkeys(FIGURES, 1.0), "incomplete": 0, "sessions": 7, "planned": 8, "skipped": 1}
    contenders = dict.fromkeys([*cost.CONTENDERS, "blackbox, tcp"], figures)
    found = {
        "sessions": 7,
        "repeats": 1,
        "machine": "a machine",
        "blackbox": "blackbox_exporter",
        "comparisons": [{"tls": True, "in_flight": 50, "contenders": contenders}],
        "process": {**figures, "ratio": None, "incomplete": 3},
    }

    shown = "\n".join(cost.table(found))

    assert all(f"\n  {name} " in shown for name in contenders)
    assert clients.EXCHANGES["tcp"] in shown
    assert "7 of 8, 1 skipped" in shown
    assert "3 INCOMPLETE" in shown
    assert "not at hand" in "\n".join(cost.table({**found, "blackbox": None}))


async def test_every_part_is_measured_where_it_stands(tmp_path):
    """Each part of a session is entered by its doors, and what they are charged is less than the whole."""
    async with clients.at_once(tmp_path) as server:
        parts = await in_place.measured(cost.aim_at(server, tmp_path, tls=False, in_flight=50), 50)

    assert parts.keys() == {*in_place.DOORS, in_place.OURS, "whole"}
    assert all(parts[part] > 0 for part in in_place.DOORS), parts
