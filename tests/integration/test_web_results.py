"""`/api/results` on a real socket: which results, in which order, how many, and what is wrong with a query."""

import asyncio
import json
import time
from dataclasses import fields, replace
from datetime import datetime

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import report_cases as cases
from support.fake_site import Shown
from support.results import NOW, connected, failed, impaired, passed, void

from exporter.history import History
from exporter.result import Impairment, Result
from exporter.web.filters import (
    DEFAULT_RESULTS,
    FILTER_PARAMETERS,
    MAX_RESULTS,
    BadFilterError,
    ResultSource,
    parse_filter,
    select_results,
)
from exporter.web.results import RESULTS_CHUNK_BYTES

KNOWN = [
    passed("staging", NOW - 7200),
    failed("staging", NOW - 3600),
    failed("canary", NOW - 1800, cases.NO_WELCOME),
    connected("staging", NOW - 900),
    impaired("canary", NOW - 600, Impairment.INTERNAL),
    void("staging", NOW - 300),
    passed("canary", NOW - 60),
    failed("staging", NOW - 30, cases.DEGRADED),
    failed("canary", NOW - 10, cases.REFUSED_UPGRADE),
]


@pytest.fixture
async def site():
    """A server that knows these results of two targets, and a third without any."""
    shown = Shown()
    shown.now = NOW
    shown.results = {name: history(KNOWN).results(name) for name in ("staging", "canary", "new")}
    server = await shown.serve()
    yield f"{server.url}/api/results", shown
    await server.close()


def history(results):
    kept = History()
    for result in results:
        kept.add(result)
    return kept


async def get(url, method="GET"):
    async with aiohttp.ClientSession() as client, client.request(method, url) as answer:
        return answer.status, answer.headers, await answer.text()


async def asked_for(url, query=""):
    """The moments of the results, in seconds before now, and whether there are more."""
    status, headers, text = await get(f"{url}?{query}")
    assert (status, headers["Content-Type"]) == (200, "application/json"), text
    document = json.loads(text)
    assert set(document) == {"results", "more"}
    moments = [datetime.fromisoformat(result["started_at"]).timestamp() for result in document["results"]]
    return [round(NOW - moment) for moment in moments], document["more"]


ALL = [10, 30, 60, 300, 600, 900, 1800, 3600, 7200]


@pytest.mark.parametrize(
    ("query", "moments"),
    [
        ("", ALL),
        ("target=staging", [30, 300, 900, 3600, 7200]),
        ("target=new", []),
        ("verdict=any", ALL),
        ("verdict=fail", [10, 30, 1800, 3600]),
        ("verdict=pass", [60, 900, 7200]),
        ("probe=auth", [10, 30, 60, 1800, 3600, 7200]),
        ("probe=auth&verdict=fail", [10, 1800]),
        ("probe=connect&verdict=pass", [30, 60, 900, 1800, 3600, 7200]),
        ("reason=timeout", [1800]),
        ("reason=factory", [30, 3600]),
        ("reason=slot_limit", [3600]),
        ("reason=internal", [600]),
        ("since=20m", [10, 30, 60, 300, 600, 900]),
        ("since=1d&verdict=fail&target=staging", [30, 3600]),
        ("since=1w&verdict=fail&target=staging", [30, 3600]),
        ("since=48h&verdict=fail&target=staging", [30, 3600]),
        ("since=1y2w3d4h&verdict=fail&target=staging", [30, 3600]),
        (f"since={NOW - 60}", [10, 30, 60]),
        (f"since={int(NOW) + 1}", []),
        ("since=1h&verdict=fail&target=staging", [30, 3600]),
        ("limit=9", ALL),
        ("target=canary&limit=4", [10, 60, 600, 1800]),
    ],
)
async def test_the_query_says_which(site, query, moments):
    """Each filter by itself and together; newest first over all targets."""
    assert await asked_for(site[0], query) == (moments, False)


@pytest.mark.parametrize("limit", [1, 4, 8])
async def test_the_limit_takes_the_newest_and_says_that_there_are_more(site, limit):
    """Of all targets together, not of each."""
    assert await asked_for(site[0], f"limit={limit}") == (ALL[:limit], True)


async def test_without_a_limit_it_is_fifty(site):
    """And never more than five hundred."""
    url, shown = site
    shown.results["new"] = [passed("new", NOW - n) for n in range(700)]

    assert len((await asked_for(url, "target=new"))[0]) == DEFAULT_RESULTS
    assert await asked_for(url, f"target=new&limit={MAX_RESULTS}") == (list(range(500)), True)


async def test_a_result_is_told_as_in_a_check(site):
    """Every field, the transcript among them, its status and what explains it."""
    _, _, text = await get(f"{site[0]}?reason=slot_limit")

    (result,) = json.loads(text)["results"]
    assert set(result) == {field.name for field in fields(Result)} | {"status", "explanation"}
    assert result["explanation"]["page"].startswith("WebSocket")
    assert result["transcript"][0] == {
        "at": 0.21,
        "direction": "in",
        "opcode": "text",
        "size": 544,
        "kind": "error",
        "code": "FACTORY_INIT_FAILED",
    }
    assert "text" not in result["close"]


TARGETS = "known are staging, canary, new"


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("tarket=x", f"tarket: unknown parameter; known are {', '.join(FILTER_PARAMETERS)}"),
        ("<b>=x", f"what was given: unknown parameter; known are {', '.join(FILTER_PARAMETERS)}"),
        ("target=moon", f"target: moon is unknown; {TARGETS}"),
        ("target=", f"target: what was given is unknown; {TARGETS}"),
        ("target=%1b%5b31m", f"target: what was given is unknown; {TARGETS}"),
        ("verdict=failed", "verdict: failed is unknown; known are pass, fail, any"),
        ("probe=reply", "probe: reply is unknown; known are connect, auth, send"),
        (
            "since=yesterday",
            "since: must be a duration such as 15s, 1m30s or 250ms, or unix seconds; days and weeks: 2d, 1w",
        ),
        (
            "since=-5",
            "since: must be a duration such as 15s, 1m30s or 250ms, or unix seconds; days and weeks: 2d, 1w",
        ),
        ("since=101y", "since: must be at most 100y, or unix seconds; days and weeks: 2d, 1w"),
        ("limit=0", "limit: must be 1 to 500"),
        ("limit=501", "limit: must be 1 to 500"),
        ("limit=" + "9" * 3000, "limit: must be 1 to 500"),
        ("limit=many", "limit: must be 1 to 500"),
        ("limit=5&limit=6", "limit: is given more than once"),
    ],
)
async def test_a_wrong_query_is_told_what_is_wrong(site, query, sentence):
    """400, a sentence that names the parameter and what is known, and quotes only what is fit to be shown."""
    status, headers, text = await get(f"{site[0]}?{query}")

    assert (status, headers["Content-Type"], text) == (400, "text/plain; charset=utf-8", f"{sentence}\n")


async def test_an_unknown_reason_is_told_all_there_are(site):
    """A closed list is worth printing."""
    status, _, text = await get(f"{site[0]}?reason=bad_luck")

    assert status == 400
    assert text.startswith("reason: bad_luck is unknown; known are dns, refused,")
    assert {"slot_limit", "token", "timeout"} <= set(text.replace("\n", "").split(", "))


async def test_many_targets_are_not_all_named(site):
    """The sentence stays one that can be read."""
    url, shown = site
    shown.results = {f"t{number}": [] for number in range(300)}

    _, _, text = await get(f"{url}?target=x")

    assert text.endswith("t18, t19, and 280 others\n")


async def test_head_has_the_headers_alone(site):
    """Length and type as for GET, and no body."""
    whole = await get(site[0])
    head = await get(site[0], "HEAD")

    assert (head[0], head[2]) == (200, "")
    assert head[1]["Content-Length"] == str(len(whole[2])) == whole[1]["Content-Length"]
    assert head[1]["Cache-Control"] == "no-store"
    assert head[1]["X-Content-Type-Options"] == "nosniff"


async def test_it_is_only_asked(site):
    """POST, PUT and DELETE have no meaning here."""
    assert [(await get(site[0], method))[0] for method in ("POST", "PUT", "DELETE")] == [405] * 3


async def test_a_long_answer_is_made_in_slices(site):
    """Five hundred long results, asked for by ten clients at once: the loop has its turns all along, all get all."""
    url, shown = site
    long = replace(passed("new"), transcript=cases.EXCHANGE[:1] * 40)
    shown.results["new"] = [replace(long, started_at=NOW - n) for n in range(500)]
    turns, running = 0, True

    async def turn():
        nonlocal turns
        while running:
            turns += 1
            await asyncio.sleep(0)

    ticker = asyncio.create_task(turn())
    began = time.thread_time()
    answers = await asyncio.gather(*(get(f"{url}?target=new&limit=500") for _ in range(10)))
    took = time.thread_time() - began
    running = False
    await ticker

    assert {len(json.loads(text)["results"]) for _, _, text in answers} == {500}
    assert len(answers[0][2]) > 10 * RESULTS_CHUNK_BYTES
    assert turns > took / 0.02, "no turn took twenty milliseconds on the average"


class Queries:
    """Anything that a client may write."""

    values = st.one_of(st.text(max_size=30), st.sampled_from(["staging", "fail", "send", "timeout", "1h", "50", "any"]))
    all = st.lists(
        st.tuples(st.one_of(st.text(max_size=12), st.sampled_from([*FILTER_PARAMETERS])), values), max_size=4
    )


@settings(deadline=None, database=None)
@given(Queries.all)
def test_any_query_is_answered_or_refused_by_a_sentence(query):
    """Nothing else can come of it, and the sentence holds nothing that moves a terminal or a page."""
    recent = ResultSource(("staging",), lambda _: KNOWN, NOW)
    try:
        wanted = parse_filter(query, recent)
    except BadFilterError as problem:
        wanted, sentence = None, str(problem)
    else:
        sentence = ""
    assert sentence.isprintable()
    assert not set("<>&\"'") & set(sentence)
    results, _ = asyncio.run(select_results(wanted, recent)) if wanted else ([], False)
    assert all(wanted.matches(result) for result in results)


@settings(deadline=None, database=None, max_examples=50)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 50)), max_size=60), st.integers(1, 20))
def test_the_newest_of_all_targets_are_found(events, limit):
    """As if all were sorted, even where a clock was put back."""
    kept = {name: [passed(name, NOW + at) for each, at in events if each == name] for name in "abc"}
    recent = ResultSource(tuple("abc"), kept.__getitem__, NOW)

    results, more = asyncio.run(select_results(parse_filter([("limit", str(limit))], recent), recent))

    moments = sorted((NOW + at for _, at in events), reverse=True)
    assert [result.started_at for result in results] == moments[:limit]
    assert more == (len(moments) > limit)
