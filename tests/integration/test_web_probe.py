"""GET /probe at its door: what is understood, what is refused and how, and that nothing else of a request gets in."""

import asyncio
from http import HTTPStatus
from urllib.parse import quote

import aiohttp
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.fake_site import Shown

from exporter.metrics import ExpositionFormat
from exporter.web import HttpReply, ProbeQuery

HEADER = "X-Prometheus-Scrape-Timeout-Seconds"
SAID = {"target": "staging", "probe": "", "scrape_timeout": None, "debug": False, "form": ExpositionFormat.TEXT}


@pytest.fixture
def site():
    return Shown()


@pytest.fixture
async def client(site):
    server = await site.serve()
    async with aiohttp.ClientSession(server.url) as session:
        yield session
    await server.close()


async def asked(client, query, headers=()):
    """Status, Content-Type and text."""
    async with client.get(f"/probe{query}", headers=headers) as answer:
        return answer.status, answer.headers["Content-Type"], (await answer.read()).decode()


@pytest.mark.parametrize(
    ("query", "headers", "question"),
    [
        ("?target=staging", {}, {}),
        ("?target=staging&probe=connect", {}, {"probe": "connect"}),
        ("?probe=send&target=staging&debug=true", {}, {"probe": "send", "debug": True}),
        ("?target=staging&debug=false&probe=", {}, {}),
        ("?target=staging", {HEADER: "10"}, {"scrape_timeout": 10.0}),
        ("?target=staging", {HEADER: "9.5"}, {"scrape_timeout": 9.5}),
        ("?target=staging", {HEADER: "0"}, {"scrape_timeout": 0.0}),
        (
            "?target=staging",
            {"Accept": "application/openmetrics-text;version=1.0.0"},
            {"form": ExpositionFormat.OPENMETRICS},
        ),
    ],
)
async def test_a_question_is_read(client, site, query, headers, question):
    """Names, the header of Prometheus, the form of the answer: all of it reaches the site, and no more."""
    status, _, text = await asked(client, query, headers)

    assert (status, text) == (200, "probe_success 1\n")
    assert site.questions == [ProbeQuery(**SAID | question)]


WRONG = {
    "": "the parameter target is missing",
    "?": "the parameter target is missing",
    "?target=": "the parameter target is missing",
    "?probe=send": "the parameter target is missing",
    "?target=a&target=b": "target is given more than once",
    "?target=a&target=": "target is given more than once",
    "?target=a&probe=send&probe=connect": "probe is given more than once",
    "?target=a&debug=true&debug=true": "debug is given more than once",
    "?target=a&debug=1": "debug must be true or false",
    "?target=a&debug=": "debug must be true or false",
    "?target=a&module=http_2xx": "unknown parameter; known are target, probe, debug",
    "?target=a&Target=b": "unknown parameter",
    "?target[]=a": "unknown parameter",
    "?target%5B%5D=a": "unknown parameter",
    "?target%00=a": "unknown parameter",
    "?target=a&hostname=evil.example": "unknown parameter",
    "?target=a;probe=connect&x": "unknown parameter",
    "?target=a&=": "unknown parameter",
}


@pytest.mark.parametrize(("query", "sentence"), WRONG.items())
async def test_what_is_not_understood_is_a_sentence(client, site, query, sentence):
    """400, text, what to ask for; nobody is asked."""
    status, kind, text = await asked(client, query)

    assert (status, kind) == (400, "text/plain; charset=utf-8")
    assert sentence in text
    assert text.count("\n") == 1
    assert site.questions == []


@pytest.mark.parametrize(
    "seconds", ["", "-1", "+10", "nan", "NaN", "inf", "Infinity", "-inf", "1e3", "0x10", "10s", "1,5", "1_0", "٣", ".5"]
)
async def test_a_scrape_timeout_that_is_none_is_refused(client, site, seconds):
    """A guess would be infinity, and no answer before the scrape gives up."""
    status, _, text = await asked(client, "?target=staging", {HEADER: seconds})

    assert status == 400
    assert text == f"{HEADER} must be seconds, such as 10 or 9.5\n"
    assert site.questions == []


async def test_a_scrape_timeout_that_is_said_twice_is_refused(client, site):
    """Which of them is meant is not ours to guess."""
    status, _, text = await asked(client, "?target=staging", [(HEADER, "10"), (HEADER, "5")])

    assert (status, site.questions) == (400, [])
    assert "more than once" in text


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
async def test_only_get_opens_a_session(client, site, method):
    """405 for all others, HEAD too: it would cost a session and show nothing of it."""
    async with client.request(method, "/probe?target=staging") as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, "GET")
    assert site.questions == []


async def test_figures_are_negotiated_as_those_of_a_scrape(client):
    """Form and packing that the client takes; what Prometheus asks for is OpenMetrics, packed."""
    headers = {"Accept": "application/openmetrics-text;version=1.0.0,*/*;q=0.1", "Accept-Encoding": "gzip"}
    async with client.get("/probe?target=staging", headers=headers) as answer:
        body = await answer.read()
        assert answer.headers["Content-Type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
        assert answer.headers["Content-Encoding"] == "gzip"
        assert answer.headers["Vary"] == "Accept, Accept-Encoding"
    assert body == b"probe_success 1\n"
    async with client.get("/probe?target=staging", headers={"Accept-Encoding": "identity"}) as answer:
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert await answer.read() == b"probe_success 1\n"
        assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("query", ["?target=staging", "?target=staging&debug=true"])
async def test_no_room_is_a_503_and_a_sentence(client, site, query):
    """Text, whatever form was asked for: so Prometheus shows a failed scrape, and people the reason."""
    site.probed = HttpReply(HTTPStatus.SERVICE_UNAVAILABLE, "no slot to spare\n")

    said = await asked(client, query, {"Accept": "application/openmetrics-text;version=1.0.0"})

    assert said == (503, "text/plain; charset=utf-8", "no slot to spare\n")


async def test_debug_is_a_text_for_people(client):
    """Plain text, never a page of figures: no Prometheus must take it for one."""
    _, kind, _ = await asked(client, "?target=staging&debug=true", {"Accept": "application/openmetrics-text"})

    assert kind == "text/plain; charset=utf-8"


async def test_a_probe_is_no_scrape(client, site):
    """The first scheduled session waits for /metrics, whose zeros must have been seen, not for this."""
    await asked(client, "?target=staging")

    assert site.scrapes == 0


HOSTILE = (
    "http://169.254.169.254/latest/meta-data",
    "wss://attacker.example/ws",
    "staging\r\nAuthorization: Bearer x",
    "staging\r\n\r\nGET / HTTP/1.1",
    "staging\0",
    "../../etc/passwd",
    "file:///etc/passwd",
    "%73taging",
    "staging#@attacker.example",
    "staging@attacker.example",
    "ſtaging",
    "staging\u202e",
    "\U0001f600",
    "${token}",
    "{{target}}",
    "<script>alert(1)</script>",
    "\x1b[31mstaging",
    "a" * 4000,
)


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text)[:30])
async def test_whatever_stands_in_a_parameter_is_a_name_and_comes_back_in_nothing(client, site, text):
    """It reaches the site as the one name it is; no header of the answer and no line of a refusal holds it."""
    site.probed = HttpReply(HTTPStatus.BAD_REQUEST, "unknown target; known are staging\n")

    async with client.get("/probe", params={"target": text, "probe": text}) as answer:
        body, headers = await answer.text(), str(answer.headers)

    assert (answer.status, body) == (400, "unknown target; known are staging\n")
    assert [(question.target, question.probe) for question in site.questions] == [(text, text)]
    assert text not in headers
    for query in (f"?{quote(text)}=x&target=staging", f"?target=staging&debug={quote(text)}"):
        _, _, refusal = await asked(client, query)
        assert text not in refusal


async def test_a_request_line_without_end_is_refused(client, site):
    """A name longer than a line may be costs us no memory and no session."""
    status, _, _ = await asked(client, f"?target={'a' * 20_000}")

    assert (status, site.questions) == (400, [])


def test_no_query_is_ever_a_server_error():
    """Any bytes there: 200 or a 4xx, and only names that were given reach the site."""
    site = Shown()
    with asyncio.Runner() as runner:
        server = runner.run(site.serve())

        @settings(max_examples=80, deadline=None)
        @given(st.binary(max_size=60))
        @example(b"target=%")
        @example(b"target=%ff%fe")
        @example(b"target=%c0%ae")
        @example(b"target=a%0d%0ab")
        @example(b"target=\xff")
        @example(b"target=a&&&=&=b")
        def check(query):
            before = len(site.questions)
            head = runner.run(raw(server.port, query))
            assert head.startswith(("HTTP/1.1 200", "HTTP/1.1 4", "HTTP/1.0 4")), head[:200]
            assert (len(site.questions) > before) is head.startswith("HTTP/1.1 200")

        try:
            check()
        finally:
            runner.run(server.close())


async def raw(port, query):
    """What a query of bytes gets."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"GET /probe?%b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % query)
        async with asyncio.timeout(60):
            return (await reader.read(65_536)).decode("latin-1")
    finally:
        writer.close()
        await writer.wait_closed()
