"""Updates of the status page on raw sockets: what is sent to whom and when, and what nobody can make us do."""

import asyncio
import contextlib
import gzip
import json
import re
import socket
import zlib
from dataclasses import replace
from itertools import pairwise

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import status_fixtures, virtual_clock
from support.fake_site import Shown

from exporter.history import StateKind, TargetState
from exporter.result import Probe
from exporter.web import ListenAddress, WebServer
from exporter.web.live import HEARTBEAT_SECONDS, UPDATE_INTERVAL_SECONDS, LivePage, StalePageError
from exporter.web.page.document import BUILD
from exporter.web.page.target import closed_row
from exporter.web.page_cache import MAX_CACHED_PAGES, PAGE_LIFETIME_SECONDS
from exporter.web.pages import MAX_OPENED, MAX_SHOWN, PageMaker
from exporter.web.status import MAX_STREAMS, WRITE_TIMEOUT_SECONDS

HERE = ListenAddress("127.0.0.1", 0)
NAMES = ["one", "two", "three"]


class Counted(status_fixtures.Board):
    """A board that counts what it is asked to show."""

    asked = 0

    def row(self, name):
        self.asked += 1
        return super().row(name)


def failing(name, ago=5.0):
    card = status_fixtures.staging()
    state = TargetState(StateKind.FAILING, status_fixtures.NOW - ago, Probe.SEND, card.row.last)
    return replace(card, row=replace(card.row, name=name, state=state))


@contextlib.asynccontextmanager
async def serving(board):
    shown = Shown()
    shown.status_board = board
    server = await WebServer.start(HERE, shown)
    try:
        yield server
    finally:
        await server.close()


async def fetch(server, path, accept="application/json"):
    """Status and body of a path."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(f"GET {path} HTTP/1.0\r\nHost: x\r\nAccept: {accept}\r\n\r\n".encode())
    head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    writer.close()
    return int(head.split(" ")[1]), body


async def position_of(server):
    """Where the updates of a page that is loaded now begin."""
    _, body = await fetch(server, "/")
    return re.search(r'data-position="([^"]+)"', body)[1]


@contextlib.asynccontextmanager
async def listening(server, position, headers=""):
    """A stream: its reader, after the head, which is checked."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1 << 24)
    try:
        request = f"GET /api/events?since={position} HTTP/1.0\r\nHost: x\r\nAccept: text/event-stream\r\n{headers}\r\n"
        writer.write(request.encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        assert " 200 ok\r\n" in head
        assert "content-type: text/event-stream\r\n" in head
        assert "x-accel-buffering: no\r\n" in head
        assert await block(reader) == {"retry": "2000"}
        yield reader
    finally:
        writer.close()


async def block(reader):
    """The next block of a stream as fields; a comment is the field ""."""
    text = (await reader.readuntil(b"\n\n")).decode()
    return dict(line.split(": ", 1) if ": " in line else (line.rstrip(":"), "") for line in text.strip().split("\n"))


async def update(reader):
    """The next update of a stream."""
    return json.loads((await block(reader))["data"])


# What is sent -----------------------------------------------------------------------------------------------------


def test_what_changed_is_sent_as_it_stands_on_the_page():
    """One fragment for one change, rendered as for the page; with it the next position, the title and the icon."""
    board = status_fixtures.Board(status_fixtures.healthy(NAMES))

    async def main(_loop):
        async with serving(board) as server, listening(server, await position_of(server)) as reader:
            board.put(status_fixtures.passing("two", interval=7.0))
            return await block(reader)

    sent = virtual_clock.run(main)
    told = json.loads(sent["data"])

    assert told["fragments"] == {"t-two": closed_row(board.cards["two"].row, status_fixtures.NOW)}
    assert sent["id"] == told["position"]
    assert (told["title"], told["icon"]) == ("All 3 targets pass", "icon/passing.svg")
    assert "order" not in told


def test_a_failure_brings_the_line_on_top_the_order_and_the_whole_card():
    """All that an on-call person must see, in one update."""
    board = status_fixtures.Board(status_fixtures.healthy(NAMES))

    async def main(_loop):
        async with serving(board) as server, listening(server, await position_of(server)) as reader:
            board.put(failing("two"))
            return await update(reader)

    told = virtual_clock.run(main)

    assert told["order"] == ["t-two", "t-one", "t-three"]
    assert set(told["fragments"]) == {"t-two", "summary"}
    assert "Last failures" in told["fragments"]["t-two"]
    assert told["title"] == "✗ 1/3 failing: two"
    assert told["spoken"] == "1 of 3 targets failing: two – send fails in admission: factory (slot_limit)"


def test_many_changes_are_one_update_a_second():
    """However often something changes, a page gets at most one update in `UPDATE_INTERVAL_SECONDS`, the newest."""
    board = status_fixtures.Board(status_fixtures.healthy(NAMES))

    async def main(loop):
        async with serving(board) as server, listening(server, await position_of(server)) as reader:
            times, told = [], []

            async def read():
                while True:
                    told.append(await update(reader))
                    times.append(loop.time())

            reading = asyncio.create_task(read())
            for number in range(100):
                board.put(status_fixtures.passing("one", interval=float(number + 1)))
                await asyncio.sleep(0.1)
            await asyncio.sleep(2 * UPDATE_INTERVAL_SECONDS)
            reading.cancel()
            return times, told

    times, told = virtual_clock.run(main)

    assert 9 <= len(times) <= 12
    assert all(later - earlier >= 0.9 * UPDATE_INTERVAL_SECONDS for earlier, later in pairwise(times))
    assert told[-1]["fragments"]["t-one"] == closed_row(board.cards["one"].row, status_fixtures.NOW)


def test_a_change_is_rendered_once_for_all_viewers_and_not_without_any():
    """Ten open pages cost as much as one; none costs nothing, and the next page does not pay for what was missed."""
    board = Counted(status_fixtures.healthy(NAMES))

    async def main(_loop):
        async with serving(board) as server:
            position = await position_of(server)
            async with contextlib.AsyncExitStack() as held:
                readers = [await held.enter_async_context(listening(server, position)) for _ in range(10)]
                await asyncio.sleep(3 * UPDATE_INTERVAL_SECONDS)
                before = board.asked
                board.put(status_fixtures.passing("one", interval=9.0))
                await asyncio.gather(*map(update, readers))
                with_ten = board.asked - before
            await asyncio.sleep(3 * UPDATE_INTERVAL_SECONDS)
            before = board.asked
            for _ in range(50):
                board.put(status_fixtures.passing("one"))
                await asyncio.sleep(UPDATE_INTERVAL_SECONDS)
            with_none = board.asked - before
            position = await position_of(server)
            before = board.asked
            async with listening(server, position):
                await asyncio.sleep(3 * UPDATE_INTERVAL_SECONDS)
            return with_ten, with_none, board.asked - before

    assert virtual_clock.run(main) == (1, 0, 0)


def test_a_silent_stream_sends_a_heartbeat():
    """A proxy that takes silence for death hears something in time."""

    async def main(loop):
        async with (
            serving(status_fixtures.Board(status_fixtures.healthy(NAMES))) as server,
            listening(server, await position_of(server)) as reader,
        ):
            heard = [(await block(reader), loop.time()) for _ in range(3)]
            return [told for told, _ in heard], [at for _, at in heard]

    told, times = virtual_clock.run(main)

    assert told == [{"": "here"}] * 3
    assert times[2] - times[1] == pytest.approx(HEARTBEAT_SECONDS, abs=2 * UPDATE_INTERVAL_SECONDS)


def test_that_time_passes_is_no_change():
    """Ages tick in the browser: an incident in which nothing happens is silent."""
    board = status_fixtures.Board({"one": failing("one")})

    async def main(loop):
        board.now = lambda: status_fixtures.NOW + loop.time()
        async with serving(board) as server, listening(server, await position_of(server)) as reader:
            return [await block(reader) for _ in range(6)]

    assert virtual_clock.run(main) == [{"": "here"}] * 6


def test_a_failing_target_that_moves_up_is_opened():
    """Only so many are opened; when one recovers, the next is sent opened although nothing of it has changed."""
    names = [f"t{number}" for number in range(MAX_OPENED + 1)]
    board = status_fixtures.Board({name: failing(name, ago=10.0 + number) for number, name in enumerate(names)})

    async def main(_loop):
        async with serving(board) as server, listening(server, await position_of(server)) as reader:
            board.put(status_fixtures.passing("t0"))
            return await update(reader)

    fragments = virtual_clock.run(main)["fragments"]

    assert set(fragments) == {"t-t0", f"t-t{MAX_OPENED}", "summary"}
    assert "<details open>" in fragments[f"t-t{MAX_OPENED}"]


def test_the_gravest_are_shown_when_there_are_too_many():
    """A page has a bound; what fails is on it, what is not is told and has a page of its own."""
    names = [f"t{number}" for number in range(MAX_SHOWN + 5)]
    board = status_fixtures.Board(status_fixtures.healthy(names))
    board.put(failing(names[-1]))

    async def main(_loop):
        async with serving(board) as server:
            return await fetch(server, "/"), await fetch(server, f"/?target={names[-2]}")

    (_, page), (_, own) = virtual_clock.run(main)

    assert page.count("<article") == MAX_SHOWN
    assert page.index(f'id="t-{names[-1]}"') < page.index('id="t-t0"')
    assert "5 more targets not shown" in page
    assert own.count("<article") == 1


# Positions --------------------------------------------------------------------------------------------------------


def test_a_page_of_another_process_is_sent_everything():
    """After a restart, and with a position that makes no sense: all elements, in order, once."""
    board = status_fixtures.Board(status_fixtures.healthy(NAMES))

    async def main(_loop):
        async with serving(board) as server:
            await position_of(server)
            async with listening(server, f"{BUILD}.ffffffff.7") as reader:
                everything = await update(reader)
                board.put(status_fixtures.passing("one", interval=9.0))
                return everything, await update(reader)

    everything, after = virtual_clock.run(main)

    assert set(everything["fragments"]) == {"t-one", "t-two", "t-three", "summary", "health"}
    assert everything["order"] == ["t-one", "t-two", "t-three"]
    assert set(after["fragments"]) == {"t-one"}


def test_a_stream_that_broke_goes_on_where_it_was():
    """The browser says which update it had last; what came meanwhile is sent, and no more."""
    board = status_fixtures.Board(status_fixtures.healthy(NAMES))

    async def main(_loop):
        async with serving(board) as server:
            position = await position_of(server)
            async with listening(server, position) as reader, listening(server, position):
                board.put(status_fixtures.passing("one", interval=9.0))
                last = (await block(reader))["id"]
                board.put(status_fixtures.passing("two", interval=9.0))
                async with listening(server, position, f"Last-Event-ID: {last}\r\n") as again:
                    return await update(again)

    assert set(virtual_clock.run(main)["fragments"]) == {"t-two"}


def test_a_page_of_another_build_must_be_reloaded():
    """What it could make of our HTML nobody knows."""

    async def main(_loop):
        async with serving(status_fixtures.Board()) as server:
            path = "/api/events?since=000000000000.ffffffff.7"
            return await fetch(server, path, "text/event-stream"), await fetch(server, path)

    streamed, (status, _) = virtual_clock.run(main)

    assert streamed == (200, "event: anew\ndata:\n\n")
    assert status == 409


@given(st.text() | st.from_regex(rf"{BUILD}\.\w*\.\w*") | st.integers().map(lambda tick: f"{BUILD}.x.{tick}"))
@settings(max_examples=200, deadline=None, database=None)
def test_any_position_is_one(position):
    """Whatever a client says it has seen, it gets everything, or is told to load anew."""

    async def main():
        live = LivePage(PageMaker(status_fixtures.Board(status_fixtures.healthy(NAMES))))
        try:
            return json.loads(await live.update(position))
        except StalePageError:
            return None

    told = asyncio.run(main())
    assert told is None or len(told["fragments"]) == 5


def test_polling_gets_the_same_updates_as_a_stream():
    """The answer for pages without a stream is the update of the stream."""
    board = status_fixtures.Board(status_fixtures.healthy(NAMES))

    async def main(_loop):
        async with serving(board) as server:
            position = await position_of(server)
            async with listening(server, position) as reader:
                board.put(failing("two"))
                streamed = await update(reader)
            return streamed, await fetch(server, f"/api/events?since={position}")

    streamed, (status, body) = virtual_clock.run(main)

    assert (status, json.loads(body)) == (200, streamed)


# Bounds -----------------------------------------------------------------------------------------------------------


def test_the_number_of_streams_is_limited():
    """The next is refused with a sentence and when to ask again; a place that is left is free soon."""

    async def main(_loop):
        async with serving(status_fixtures.Board(status_fixtures.healthy(NAMES))) as server:
            position = await position_of(server)
            async with contextlib.AsyncExitStack() as held:
                for _ in range(MAX_STREAMS):
                    await held.enter_async_context(listening(server, position))
                refused = await fetch(server, f"/api/events?since={position}", "text/event-stream")
            await asyncio.sleep(2 * UPDATE_INTERVAL_SECONDS)
            async with listening(server, position):
                return refused

    status, sentence = virtual_clock.run(main)

    assert status == 503
    assert sentence == f"{MAX_STREAMS} pages have a stream of updates, the maximum: poll instead\n"


def drained(sock):
    """Take all that was sent until the other side ends it; raises TimeoutError if it does not."""
    sock.settimeout(10)
    with contextlib.closing(sock):
        while sock.recv(1 << 20):
            pass


def test_a_stream_that_is_not_read_is_dropped_and_delays_no_other():
    """A browser that reads nothing is dropped after `WRITE_TIMEOUT_SECONDS`; the one beside it gets every update."""
    names = [f"t{number}" for number in range(MAX_SHOWN)]
    board = status_fixtures.Board(status_fixtures.healthy(names))

    async def main(loop):
        async with serving(board) as server:
            position = await position_of(server)
            lazy = socket.socket()
            lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            lazy.setblocking(False)
            await loop.sock_connect(lazy, ("127.0.0.1", server.port))
            request = f"GET /api/events?since={position} HTTP/1.0\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n"
            await loop.sock_sendall(lazy, request.encode())
            waits = []
            async with listening(server, position) as reader:
                for _ in range(12):
                    for name in names:
                        board.put(status_fixtures.passing(name, interval=float(len(waits) + 1)))
                    began = loop.time()
                    assert len((await update(reader))["fragments"]) == MAX_SHOWN
                    waits.append(loop.time() - began)
                await asyncio.sleep(WRITE_TIMEOUT_SECONDS + 2 * UPDATE_INTERVAL_SECONDS)
                await asyncio.to_thread(drained, lazy)  # its clock is the kernel's
            return waits

    assert max(virtual_clock.run(main)) <= 2 * UPDATE_INTERVAL_SECONDS


def test_streams_end_with_the_server():
    """A stop does not wait for open pages, and leaves nothing behind."""

    async def main(loop):
        board = status_fixtures.Board(status_fixtures.healthy(NAMES))
        before = asyncio.all_tasks()
        async with contextlib.AsyncExitStack() as held:
            async with serving(board) as server:
                position = await position_of(server)
                readers = [await held.enter_async_context(listening(server, position)) for _ in range(3)]
                closing = loop.time()
            took = loop.time() - closing
            ends = [await reader.read() for reader in readers]
        await asyncio.sleep(0.1)
        return took, ends, asyncio.all_tasks() - before

    took, ends, left = virtual_clock.run(main)

    assert took < 0.5
    assert all(b"data" not in end for end in ends)
    assert left == set()


def test_a_long_page_is_rendered_in_slices():
    """Others have their turns while two hundred targets are rendered."""
    board = status_fixtures.Board(status_fixtures.healthy([f"t{number}" for number in range(200)]))
    turns = 0

    async def others():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def main():
        busy = asyncio.create_task(others())
        sheet = await LivePage(PageMaker(board)).page()
        chunks = [chunk async for chunk in sheet.read(packed=False)]
        busy.cancel()
        return b"".join(chunks).decode()

    assert asyncio.run(main()).count("<article") == 200
    assert turns > 3


def test_a_storm_of_requests_is_one_page():
    """Who asks while a page is being made, or within a second, gets the same one; then it is made anew."""
    board = Counted(status_fixtures.healthy(NAMES))

    async def main(_loop):
        async with serving(board) as server:
            pages = await asyncio.gather(*(fetch(server, "/") for _ in range(50)))
            asked = board.asked
            await asyncio.sleep(2 * PAGE_LIFETIME_SECONDS)
            return pages, asked, await fetch(server, "/"), board.asked

    pages, asked, later, asked_later = virtual_clock.run(main)

    assert len(set(pages)) == 1
    assert (asked, asked_later) == (len(NAMES), 2 * len(NAMES))
    assert later != pages[0]


def test_pages_of_many_targets_are_kept_for_a_moment_only():
    """However many names are asked for, few pages are kept, and none for longer than its life."""

    async def main():
        live = LivePage(
            PageMaker(
                status_fixtures.Board(
                    status_fixtures.healthy([f"t{number}" for number in range(MAX_CACHED_PAGES + 10)])
                )
            )
        )
        sheets = [await live.page(f"t{number}") for number in range(MAX_CACHED_PAGES + 10)]
        for sheet in sheets:
            assert b"".join([chunk async for chunk in sheet.read(packed=False)]).endswith(b"</html>\n")
        kept = len(live._cache._pages)
        await live.close()
        return kept

    assert asyncio.run(main()) <= MAX_CACHED_PAGES


class Broken(status_fixtures.Board):
    """A board that knows the line on top, and of whose targets the last cannot be told."""

    def row(self, name):
        if name == list(self.cards)[-1]:
            raise LookupError(name)
        return super().row(name)


def test_the_line_on_top_is_sent_before_the_rest_is_made():
    """What breaks while the targets are rendered takes nothing from what was sent, and ends the answer."""
    board = Broken(status_fixtures.healthy([*NAMES, "four"]))

    async def main(_loop):
        async with serving(board) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            sent = (await reader.read()).decode()
            writer.close()
            return sent, await fetch(server, "/-/ready")

    sent, after = virtual_clock.run(main)

    assert sent.startswith("HTTP/1.1 200 OK")
    assert "All 4 targets pass</h1>" in sent
    assert not sent.endswith("\r\n0\r\n\r\n"), "whole, although it is not"
    assert after == (200, "ready\n")


async def test_a_page_is_the_same_packed():
    """Who takes gzip gets it in pieces that can be read one by one; HEAD gets no page."""
    board = status_fixtures.Board(status_fixtures.healthy([f"t{number}" for number in range(200)]))
    async with serving(board) as server, aiohttp.ClientSession(server.url, auto_decompress=False) as client:
        async with client.get("/", headers={"Accept-Encoding": "identity"}) as answer:
            plain = await answer.read()
            assert "Content-Encoding" not in answer.headers
        async with client.get("/", headers={"Accept-Encoding": "gzip"}) as answer:
            packed = await answer.read()
            assert answer.headers["Content-Encoding"] == "gzip"
        async with client.head("/") as answer:
            assert (answer.status, await answer.read()) == (200, b"")
    positions = re.compile(rb'data-position="[^"]+"')
    assert positions.sub(b"", gzip.decompress(packed)) == positions.sub(b"", plain)
    assert len(packed) < len(plain) / 4
    first = zlib.decompressobj(31).decompress(packed[:8_192])
    assert b"All 200 targets pass</h1>" in first


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/?target=one", 200),
        ("/?target=", 404),
        ("/?target=%3Cscript%3E", 404),
        ("/api/fragment?target=one", 200),
        ("/api/fragment", 404),
        ("/icon/passing.svg", 200),
        ("/icon/nothing.svg", 404),
        ("/runbook/WebSocketSendFailing", 200),
        ("/runbook/README", 200),
        ("/runbook/..%2f..%2fserver", 404),
        ("/runbook/%00", 404),
    ],
)
def test_unknown_names_of_page_icon_and_runbook_are_404(path, status):
    """Names that are none get 404 and no echo of what was asked."""

    async def main(_loop):
        async with serving(status_fixtures.Board(status_fixtures.healthy(NAMES))) as server:
            return await fetch(server, path)

    found, body = virtual_clock.run(main)

    assert found == status
    assert "%3C" not in body
    assert "<script>" not in body.split("</footer>")[0]
