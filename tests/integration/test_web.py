"""Package `web`: what each path answers, in which form, and that nothing a client sends breaks it."""

import asyncio
import gzip
import io
import socket
import subprocess
import threading
from http import HTTPStatus

import aiohttp
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from support.fake_site import Shown
from support.realservers import binary

from exporter import log
from exporter.metrics import ExpositionFormat
from exporter.web import HttpReply, ListenAddress, ListenError, WebServer, parse_listen_address
from exporter.web.listen import bind
from exporter.web.negotiate import accepts_gzip, negotiate_format
from exporter.web.render import RENDER_CHUNK_BYTES, PageRenderer

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;"
    "q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
OTHER_WAY = "application/openmetrics-text;q=0.2,text/plain;q=0.9"

NEGOTIATION = {
    "": TEXT,
    "*/*": TEXT,
    "text/*": TEXT,
    "application/*": OPENMETRICS,
    "text/plain": TEXT,
    "text/plain;version=0.0.4": TEXT,
    "application/openmetrics-text": OPENMETRICS,
    "application/openmetrics-text; version=1.0.0": OPENMETRICS,
    'APPLICATION/OpenMetrics-Text; Version="1.0.0"': OPENMETRICS,
    "application/openmetrics-text;version=0.0.1": TEXT,
    "application/openmetrics-text;version=2.0.0": TEXT,
    "application/openmetrics-text;version=99": TEXT,
    "application/openmetrics-text;version=x.y": TEXT,
    "application/openmetrics-text;version=2.0.0;q=0.9,application/openmetrics-text;version=1.0.0;q=0.8": OPENMETRICS,
    "application/openmetrics-text;q=0": TEXT,
    "application/openmetrics-text;q=0,*/*": TEXT,
    "text/plain;q=0,*/*;q=0.1": OPENMETRICS,
    "application/openmetrics-text;q=nan,text/plain;q=0.1": TEXT,
    "application/openmetrics-text;q=1e9": TEXT,
    OTHER_WAY: TEXT,
    "text/plain;q=0.2,application/openmetrics-text;q=0.9": OPENMETRICS,
    "text/plain,application/openmetrics-text": TEXT,
    "application/openmetrics-text,text/plain": OPENMETRICS,
    "application/json": TEXT,
    ";;;,=,;q=": TEXT,
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited": TEXT,
    "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8": TEXT,
    PROMETHEUS_2: OPENMETRICS,
    PROMETHEUS_3: f"{OPENMETRICS}; escaping=allow-utf-8",
    "application/openmetrics-text;version=1.0.0;escaping=dots": f"{OPENMETRICS}; escaping=underscores",
    "application/openmetrics-text;version=1.0.0;escaping=evil\x01": OPENMETRICS,
    "text/plain;version=0.0.4;escaping=values": f"{TEXT}; escaping=values",
}


@pytest.fixture
def state():
    return Shown()


@pytest.fixture
async def server(state):
    made = await state.serve()
    yield made
    await made.close()


@pytest.fixture
async def client(server):
    async with aiohttp.ClientSession(server.url, auto_decompress=False) as session:
        yield session


# Forms ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("accept", "content_type"), NEGOTIATION.items())
def test_accept_is_negotiated(accept, content_type):
    """Highest weight wins, the earlier of equals; unknown versions and broken weights count for nothing."""
    assert negotiate_format(accept).content_type == content_type


@given(st.text())
@example("application/openmetrics-text;version=" + "9" * 5000)
@example("q=,;=;q=0.;,*/*;q=-1,*/*;q=0.1234")
def test_any_accept_gets_a_form_we_know(accept):
    """No header is an error, none makes us claim a version or an escaping we do not write."""
    said = negotiate_format(accept).content_type.split("; escaping=")
    assert said[0] in (TEXT, OPENMETRICS)
    assert said[1:] in ([], ["allow-utf-8"], ["underscores"], ["values"])
    assert isinstance(accepts_gzip(accept), bool)


@pytest.mark.parametrize(
    ("header", "welcome"),
    [
        ("", False),
        ("gzip", True),
        ("deflate, gzip;q=0.5", True),
        ("GZIP", True),
        ("x-gzip", True),
        ("gzip;q=0", False),
        ("gzip;q=0,*", False),
        ("*", True),
        ("*;q=0", False),
        ("br, deflate, identity", False),
    ],
)
def test_gzip_follows_accept_encoding(header, welcome):
    """Weights count, 0 is a no."""
    assert accepts_gzip(header) is welcome


@pytest.mark.parametrize(
    ("accept", "content_type", "parser"),
    [("text/plain", TEXT, parse_text), ("application/openmetrics-text", OPENMETRICS, parse_openmetrics)],
)
async def test_a_scrape_is_of_the_form_it_says(client, accept, content_type, parser):
    """The body parses as what Content-Type names, and carries the zeros."""
    async with client.get("/metrics", headers={"Accept": accept, "Accept-Encoding": "identity"}) as answer:
        body = await answer.text()
        assert (answer.status, answer.headers["Content-Type"]) == (200, content_type)
    samples = [sample for family in parser(body) for sample in family.samples]
    assert [s.value for s in samples if s.labels.get("cause") == "late"] == [0]


async def test_gzip_is_the_same_page_in_far_fewer_bytes(client):
    """What Prometheus asks for: it unpacks to the plain text and is far smaller."""
    async with client.get("/metrics", headers={"Accept-Encoding": "gzip"}) as answer:
        packed = await answer.read()
        assert answer.headers["Content-Encoding"] == "gzip"
        assert answer.headers["Vary"] == "Accept, Accept-Encoding"
    async with client.get("/metrics", headers={"Accept-Encoding": "identity"}) as answer:
        plain = await answer.read()
        assert "Content-Encoding" not in answer.headers
    ours = b"\n".join(line for line in plain.splitlines() if b"ws_probe" in line)
    assert ours in b"\n".join(line for line in gzip.decompress(packed).splitlines() if b"ws_probe" in line)
    assert len(packed) < len(plain) / 5


async def test_promtool_finds_nothing_to_say_of_a_live_scrape(client):
    """`promtool check metrics` is clean: names, units, HELP, types."""
    async with client.get("/metrics", headers={"Accept-Encoding": "identity"}) as answer:
        body = await answer.read()
    command = [binary("promtool", "prometheus"), "check", "metrics"]
    checked = await asyncio.to_thread(subprocess.run, command, input=body, capture_output=True, check=False)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")


# Paths ------------------------------------------------------------------------------------------------------------


async def test_a_get_of_metrics_is_recorded_as_a_scrape_and_a_head_is_not(client, state):
    """`on_scrape` follows the answer to GET /metrics; HEAD answers the same head and tells nobody."""
    async with client.head("/metrics") as answer:
        assert answer.status == 200
        assert int(answer.headers["Content-Length"]) > 1000
        assert await answer.read() == b""
    async with client.get("/") as answer:
        assert answer.status == 200
    assert state.scrapes == 0
    async with client.get("/metrics") as answer:
        await answer.read()
    async with client.get("/-/healthy") as answer:
        await answer.read()
    assert state.scrapes == 1


@pytest.mark.parametrize("path", ["/-/ready", "/-/healthy"])
async def test_health_is_a_status_and_a_sentence(client, state, path):
    """200 when well, 503 when not, each with words; GET and HEAD."""
    async with client.get(path) as answer:
        assert (answer.status, (await answer.text()).strip()) == (200, path.removeprefix("/-/"))
    state.is_ready = state.is_healthy = HttpReply(HTTPStatus.SERVICE_UNAVAILABLE, "draining: sessions are ending\n")
    async with client.get(path) as answer:
        assert (answer.status, await answer.text()) == (503, "draining: sessions are ending\n")
    async with client.head(path) as answer:
        assert answer.status == 503


@pytest.mark.parametrize("path", ["/", "/metrics", "/-/healthy", "/-/ready"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_methods_that_change_something_get_405(client, method, path):
    """405 that names what is allowed: this server shows and changes nothing."""
    async with client.request(method, path) as answer:
        assert answer.status == 405
        assert set(answer.headers["Allow"].split(",")) == {"GET", "HEAD"}


@pytest.mark.parametrize("path", ["/", "/metrics", "/-/healthy", "/nowhere", "/metrics/../x"])
async def test_every_response_has_the_security_headers(client, path):
    """No versions disclosed, no sniffing, no framing, no script but the page's own, errors included."""
    async with client.get(path) as answer:
        assert answer.headers["Server"] == "ws-factory-exporter"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'sha256-")


# Nothing breaks it ------------------------------------------------------------------------------------------------


async def raw(port, request):
    """The status line and the head a request of bytes gets; "" if the server just closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        async with asyncio.timeout(60):
            return (await reader.read(65_536)).decode("latin-1")
    finally:
        writer.close()
        await writer.wait_closed()


def test_no_header_ever_makes_a_server_error():
    """Any bytes in Accept, Accept-Encoding and the query get 200 or a 4xx, and the server lives on."""
    state = Shown()
    with asyncio.Runner() as runner:
        server = runner.run(state.serve())

        @settings(max_examples=60, deadline=None)
        @given(st.binary(max_size=80), st.binary(max_size=20), st.text(alphabet="name[]=&%;x", max_size=20))
        @example(b"application/openmetrics-text;version=\xff", b"\xff", "name[]=x")
        @example(b"text/plain\r\nX: y", b"gzip;q=\x00", "%")
        def check(accept, encoding, query):
            request = (
                b"GET /metrics?%b HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAccept: %b\r\nAccept-Encoding: %b\r\n\r\n"
            )
            head = runner.run(raw(server.port, request % (query.encode(), accept, encoding)))
            assert head.startswith(("HTTP/1.1 200", "HTTP/1.1 4", "HTTP/1.0 4")), head[:200]

        try:
            check()
            assert runner.run(raw(server.port, b"GET /-/healthy HTTP/1.0\r\n\r\n")).startswith("HTTP/1.0 200")
        finally:
            runner.run(server.close())


async def test_a_defect_in_a_handler_is_a_500_and_one_line(client, state):
    """What a room hands in may raise: the client gets a bare 500, the log the traceback and no text of the client."""
    state.is_ready = None
    stream = io.StringIO()
    logs = log.configure("info", "logfmt", stream)
    async with client.get("/-/ready?token=abcdef") as answer:
        assert (answer.status, await answer.text()) == (500, "internal error\n")
        assert answer.headers["Server"] == "ws-factory-exporter"
    logs.close()
    (line,) = stream.getvalue().splitlines()
    assert "path=/-/ready exception=" in line
    assert "abcdef" not in line


async def test_a_malformed_request_is_refused_and_not_logged(server):
    """A port scanner must not be able to fill our log."""
    stream = io.StringIO()
    logs = log.configure("debug", "logfmt", stream)
    for request in (b"\x16\x03\x01\x02\x00\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET / HTTP/1.1\r\nA b: c\r\n\r\n"):
        assert (await raw(server.port, request)).startswith(("HTTP/1.0 400", "HTTP/1.1 400"))
    logs.close()
    assert stream.getvalue() == ""


class Gate:
    """Figures that end only when they are let go, and say when they are asked; `pieces` of text stand before."""

    def __init__(self, pieces=("# HELP a_gate A gate.\n",)):
        self.entered, self.free = threading.Event(), threading.Event()
        self.pieces = pieces
        self.open = 0
        self.pages = 0

    def samples(self, _form):
        self.open += 1
        assert self.open == 1, "one reading at a time"
        try:
            yield from self.pieces
        finally:
            self.open -= 1

    def process_metrics(self, form):
        self.entered.set()
        assert self.free.wait(20)
        self.pages += 1
        return f"gate_total {self.pages}\n" + ("# EOF\n" if form is ExpositionFormat.OPENMETRICS else "")


@pytest.fixture
def gate():
    made = Gate()
    yield made
    made.free.set()


async def test_a_render_does_not_hold_the_loop(state, gate):
    """While a scrape is being rendered the server answers others."""
    server = await state.serve(gate)
    async with aiohttp.ClientSession(server.url) as session:
        scrape = asyncio.create_task(session.get("/metrics"))
        assert await asyncio.to_thread(gate.entered.wait, 10)
        async with session.get("/-/healthy") as answer:
            assert answer.status == 200
        assert not scrape.done()
        gate.free.set()
        async with await scrape as answer:
            assert "gate_total 1" in await answer.text()
    await server.close()


async def test_a_long_page_is_written_in_slices():
    """Others have their turns while it is written, however much of it there is."""
    turns = 0

    async def others():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    gate = Gate("x" * 999 + "\n" for _ in range(40_000))
    gate.free.set()
    renderer = PageRenderer(gate)
    busy = asyncio.create_task(others())
    page = await renderer.page(ExpositionFormat.TEXT)
    busy.cancel()
    assert page.size > 40_000_000
    assert turns > 3
    await renderer.close()


async def test_a_storm_of_scrapes_is_one_render(gate):
    """Who asks for a form that is being rendered gets the same bytes; forms are rendered one after the other."""
    renderer = PageRenderer(gate)
    storm = [asyncio.create_task(renderer.page(ExpositionFormat.TEXT)) for _ in range(50)]
    other = asyncio.create_task(renderer.page(ExpositionFormat.OPENMETRICS))
    assert await asyncio.to_thread(gate.entered.wait, 10)
    storm.pop().cancel()
    gate.free.set()
    pages = await asyncio.gather(*storm)
    assert len(set(map(id, pages))) == 1
    assert gzip.decompress(b"".join((await other).packed)).endswith(b"# EOF\n")
    assert renderer.renders == 2
    assert await renderer.page(ExpositionFormat.TEXT) != pages[0]
    await renderer.close()


async def test_a_page_that_breaks_breaks_no_other(gate):
    """An error of ours is told to who asked, the reading ends, and the next page is whole."""
    gate.free.set()
    renderer = PageRenderer(gate)
    gate.pieces = (None,)
    with pytest.raises(TypeError):
        await renderer.page(ExpositionFormat.TEXT)
    gate.pieces = ("# whole\n",)
    whole = await renderer.page(ExpositionFormat.TEXT)
    assert gzip.decompress(b"".join(whole.packed)).startswith(b"# whole\n")
    assert gate.open == 0
    await renderer.close()


async def test_a_page_of_many_chunks_is_whole():
    """However it is cut, packed and unpacked, what arrives is what was written, and its sizes are as told."""
    lines = [f"line_{number} {number}\n" for number in range(100_000)]
    gate = Gate([*lines, "zeros 0\n" * 500_000])
    gate.free.set()
    renderer = PageRenderer(gate)
    page = await renderer.page(ExpositionFormat.TEXT)
    chunks = [chunk async for chunk in renderer.unpack(page)]
    text = "".join(gate.pieces) + "gate_total 1\n"
    assert b"".join(chunks).decode() == gzip.decompress(b"".join(page.packed)).decode() == text
    assert (page.size, page.packed_size) == (len(text), sum(map(len, page.packed)))
    assert len(chunks) > 10
    assert max(map(len, chunks)) <= RENDER_CHUNK_BYTES
    await renderer.close()


async def test_closing_with_a_scrape_in_flight_ends_clean(state, gate):
    """`close` waits for the render, leaves no thread and no listener, and may be called twice."""
    server = await state.serve(gate)
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    assert await asyncio.to_thread(gate.entered.wait, 10)
    closing = asyncio.create_task(server.close())
    gate.free.set()
    await closing
    await server.close()
    writer.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", server.port)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("render")]


# Where it listens -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        (":11011", "", 11011),
        ("127.0.0.1:0", "127.0.0.1", 0),
        ("[::1]:11011", "::1", 11011),
        ("[::]:80", "::", 80),
        ("localhost:65535", "localhost", 65535),
        ("[fe80::1%eth0]:1", "fe80::1%eth0", 1),
    ],
)
def test_listen_addresses_are_read_and_written_back(text, host, port):
    """An address reads as host and port, and prints as it was written."""
    assert parse_listen_address(text) == ListenAddress(host, port)
    assert str(parse_listen_address(text)) == text


@pytest.mark.parametrize(
    "text", ["", "11011", ":", "host:", "::1:11011", ":65536", ":-1", "http://x:1", ":1 ", "[::1]"]
)
def test_an_invalid_listen_address_is_refused_with_a_sentence(text):
    """The sentence names the flag and what was written."""
    with pytest.raises(ListenError, match=r"^--web\.listen-address: ") as refused:
        parse_listen_address(text)
    assert repr(text) in str(refused.value)


async def test_a_busy_port_is_a_sentence(state, server):
    """It names address and flag, and says what to do."""
    with pytest.raises(ListenError) as refused:
        await WebServer.start(ListenAddress("127.0.0.1", server.port), state)
    assert str(refused.value) == (
        f"--web.listen-address: cannot listen on 127.0.0.1:{server.port}: "
        "the port is in use; stop what holds it, or choose another port"
    )


@pytest.mark.parametrize("host", ["192.0.2.1", "a..b", "fe80::1%nosuchif"])
def test_an_address_that_is_not_ours_is_a_sentence(host):
    """An interface we do not have and a name nobody knows are problems, not tracebacks."""
    with pytest.raises(ListenError, match=r"^--web\.listen-address: cannot listen on "):
        bind(ListenAddress(host, 0))


def test_every_interface_is_both_families():
    """An empty host takes IPv4 and, where there is one, IPv6."""
    with bind(ListenAddress("", 0)) as sock:
        port = sock.getsockname()[1]
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        if sock.family is socket.AF_INET6:
            socket.create_connection(("::1", port), timeout=5).close()


async def test_the_url_reaches_the_server(state):
    """On every interface the URL is loopback."""
    server = await WebServer.start(ListenAddress("", 0), state)
    async with aiohttp.ClientSession() as session, session.get(f"{server.url}/-/ready") as answer:
        assert answer.status == 200
    await server.close()
