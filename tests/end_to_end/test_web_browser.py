"""The status page in a real browser: what is seen, that it stays right by itself, and that nobody is shut out."""

import base64
import contextlib
from dataclasses import replace

import aiohttp
import pytest
import pytest_asyncio
from support import browsing, harness, realservers, screenshots, status_fixtures
from support import report_cases as cases
from support.browsing import PHONE, tab
from support.fake_site import Shown
from support.png import SIGNATURE, indexed

from exporter.daemon import Daemon, DaemonOptions
from exporter.history import StateKind, TargetState
from exporter.result import Probe
from exporter.standin import StandIn, Timings
from exporter.web import ListenAddress, WebServer
from exporter.web.page.document import BUILD
from exporter.web.pages import MAX_OPENED
from exporter.web.status import MAX_STREAMS

pytestmark = pytest.mark.asyncio(loop_scope="session")

HERE = ListenAddress("127.0.0.1", 0)
ONE_OF_TWELVE = (
    "1 of 12 targets failing: staging – send fails in admission: factory (slot_limit) since 02:52 UTC, 14 min"
)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser():
    async with browsing.chromium() as made:
        yield made


@contextlib.asynccontextmanager
async def serving(board, listen=HERE):
    """A server that shows a board."""
    shown = Shown()
    shown.status_board = board
    server = await WebServer.start(listen, shown)
    try:
        yield server
    finally:
        await server.close()


@contextlib.asynccontextmanager
async def probing(**faults):
    """A stand-in with a fault on each path, and an exporter that probes a target of the path's name, each second."""
    async with StandIn.start(tls_port=None, timings=Timings.quick()) as standin:
        for name, fault in faults.items():
            standin.set_fault(f"/ws/{name}", fault)
        targets = [
            harness.target(standin, f"/ws/{name}", name=name, interval="1s", confirm={"runs": 0}) for name in faults
        ]
        daemon = Daemon(harness.planned(*targets, built_in=harness.UNGUARDED), DaemonOptions(HERE, startup_delay=0.0))
        await daemon.start()
        try:
            yield daemon, standin
        finally:
            await daemon.stop()


def failing(name, ago=5):
    """The card of a target that has begun to fail."""
    card = status_fixtures.staging()
    state = TargetState(StateKind.FAILING, status_fixtures.NOW - ago, Probe.SEND, card.row.last)
    return replace(card, row=replace(card.row, name=name, state=state))


# What is seen -----------------------------------------------------------------------------------------------------


async def test_healthy_targets_are_a_line_each(browser):
    """The top, the title and the icon say that all pass; every target is one closed line; nothing is wrong."""
    async with serving(status_fixtures.Board(status_fixtures.healthy())) as server, tab(browser, server.url) as shown:
        assert await shown.page.inner_text("h1") == "All 11 targets pass"
        assert await shown.page.title() == "All 11 targets pass"
        assert await shown.page.get_attribute("#icon", "href") == "icon/passing.svg"
        assert await shown.order == list(status_fixtures.NAMES)
        assert await shown.page.locator(".target details[open]").count() == 0
        await shown.is_live()
        await shown.nothing_is_wrong()


async def test_an_incident_stands_on_top_and_opened(browser):
    """What fails, why, since when, how sessions ended and what to read is seen without a click."""
    async with serving(status_fixtures.Board(status_fixtures.incident())) as server, tab(browser, server.url) as shown:
        assert await shown.page.inner_text("h1") == ONE_OF_TWELVE
        assert await shown.page.title() == "✗ 1/12 failing: staging"
        assert await shown.page.get_attribute("#icon", "href") == "icon/failing.svg"
        assert (await shown.order)[0] == "staging"
        assert await shown.page.locator("#t-staging .sentence").first.is_visible()
        assert await shown.page.locator(".target details[open] > .body").count() == 1
        await shown.nothing_is_wrong()
        await shown.page.click("text=Runbook: WebSocketFactorySlotsExhausted >> nth=0")
        assert await shown.page.inner_text("h1") == "WebSocketFactorySlotsExhausted"
        assert await shown.page.locator("h2", has_text="Mitigation").count() == 1
        await shown.page.click("text=Status")
        assert await shown.page.inner_text("h1") == ONE_OF_TWELVE


async def test_two_hundred_targets_are_a_light_page(browser):
    """Lines only, but for the failing ones: some thousand elements, which open as they do among few."""
    names = [f"tenant-{number:03}" for number in range(200)]
    board = status_fixtures.Board(status_fixtures.healthy(names))
    for name in names[150:160]:
        board.put(failing(name, ago=int(name[-3:])))
    async with serving(board) as server, tab(browser, server.url) as shown:
        assert await shown.page.inner_text("h1") == (
            "10 of 200 targets failing: tenant-150, tenant-151, tenant-152 and 7 more"
        )
        order = await shown.order
        assert order[:10] == names[150:160]
        assert len(order) == 200
        assert await shown.page.locator(".target details[open]").count() == MAX_OPENED
        assert await shown.page.evaluate("document.querySelectorAll('*').length") < 6_000
        row = shown.page.locator("#t-tenant-199 summary")
        await row.scroll_into_view_if_needed()
        await row.click()
        await shown.page.wait_for_selector("#t-tenant-199 .parts")
        await shown.nothing_is_wrong()


HOSTILE = "<img src=x onerror=alert(1)><script>document.title='owned'</script>\x1b[31m\r\n::error::`|${7*7}"
FAULTS = {
    "init": f"init_failed:text={HOSTILE}",
    "close": f"close:code=1011,reason={HOSTILE}",
    "reply": f"close:code=4001,at=reply,reason={HOSTILE}",
    "frame": f"close:code=1011,at=admission,frame=<b>X</b>,text={HOSTILE}",
    "user": f"wrong_user:user={HOSTILE}",
    "auth": f"auth_rejected:text={HOSTILE}",
    "gone": f"unavailable:text={HOSTILE}",
}


async def test_hostile_texts_of_a_backend_do_nothing(browser):
    """Reasons, error texts and names of HTML, escapes and line breaks: no trace of them, nothing runs, all is told."""
    async with probing(**FAULTS) as (daemon, standin):
        await standin.wait_sessions(len(FAULTS), timeout=60)
        async with tab(browser, daemon.url) as shown:
            await shown.until("(wanted) => document.querySelectorAll('.failing h3').length === wanted", len(FAULTS))
            for name in FAULTS:
                await shown.page.goto(f"{daemon.url}/?target={name}")
                await shown.is_live()
                await shown.until(
                    "(id) => document.querySelector(`#${id} .badge`)?.textContent === 'failing'", f"t-{name}"
                )
                text = await shown.page.content()
                body = text[text.index("<body") : text.index("<script")]
                for piece in ("onerror", "src=x", "owned", "\x1b", "::error", "7*7", "49`"):
                    assert piece not in body
            await shown.nothing_is_wrong()


async def test_the_pictures_of_the_readme_can_be_made(browser, tmp_path):
    """Light and dark, as wide as they are shown; those that are committed are so too, and small."""
    made = await screenshots.take(browser, tmp_path)
    shipped = [screenshots.FOLDER / one.name for one in made]
    for picture in [*made, *shipped]:
        head = picture.read_bytes()[:24]
        assert head.startswith(SIGNATURE)
        assert int.from_bytes(head[16:20], "big") == 1280
    assert all(picture.stat().st_size < screenshots.MOST for picture in shipped)


async def test_a_palette_changes_no_picture(browser):
    """A part of the page, made smaller, is the same to the browser, pixel by pixel, while there are colours for it."""
    async with serving(status_fixtures.Board(status_fixtures.incident())) as server, tab(browser, server.url) as shown:
        picture = await shown.page.locator("#t-staging .badge").screenshot()
        small = indexed(picture)
        drawn = [base64.b64encode(one).decode() for one in (picture, small)]
    async with tab(browser, "about:blank", path="") as shown:
        first, second = [await shown.page.evaluate(PIXELS, f"data:image/png;base64,{one}") for one in drawn]
    assert len(small) < len(picture)
    assert len(set(map(tuple, zip(*[iter(first)] * 4, strict=True)))) > 10
    assert first == second


PIXELS = """async (source) => {
  const image = new Image();
  image.src = source;
  await image.decode();
  const canvas = new OffscreenCanvas(image.width, image.height), pen = canvas.getContext('2d');
  pen.drawImage(image, 0, 0);
  return [...pen.getImageData(0, 0, image.width, image.height).data];
}"""


# It stays right by itself -----------------------------------------------------------------------------------------


async def test_a_fault_is_seen_without_a_reload(browser):
    """A backend breaks while the page is open: top, title, icon, order and card follow, and the page stays."""
    async with probing(one="none", two="none") as (daemon, standin):
        await standin.wait_sessions(4, timeout=60)
        async with tab(browser, daemon.url) as shown:
            await shown.title_is("All 2 targets pass")
            await shown.page.evaluate("window.stayed = true")
            standin.set_fault("/ws/two", "slot_limit:limit=5")
            await shown.title_is("✗ 1/2 failing: two")
            await shown.page.wait_for_selector("#t-two.failing .why")
            assert (await shown.page.inner_text("h1")).startswith(
                "1 of 2 targets failing: two – send fails in admission"
            )
            assert await shown.page.get_attribute("#icon", "href") == "icon/failing.svg"
            assert await shown.order == ["two", "one"]
            assert await shown.page.inner_text("#spoken") == await shown.page.evaluate(
                "document.querySelector('h1').textContent.replace(/ since[^;]*/, '')"
            )
            assert await shown.page.evaluate("window.stayed")
            await shown.nothing_is_wrong()


async def test_bare_internal_errors_are_told_as_such(browser):
    """The other half of the slot-limit incident: 1011 without an error frame."""
    async with probing(one="internal_error") as (daemon, standin):
        await standin.wait_sessions(1, timeout=60)
        async with tab(browser, daemon.url) as shown:
            await shown.page.wait_for_selector(".why")
            assert "1011 (internal error) by the server, in admission" in await shown.page.inner_text(".parts")
            assert "an unhandled exception on its side" in await shown.page.inner_text(".why")
            await shown.nothing_is_wrong()


async def test_what_was_opened_stays_open_and_focused(browser):
    """An update puts the new line in the place of the old one: it stays open, complete, and where the keyboard is."""
    board = status_fixtures.Board(status_fixtures.healthy())
    name = status_fixtures.NAMES[2]
    async with serving(board) as server, tab(browser, server.url) as shown:
        await shown.is_live()
        await shown.page.focus(f"#t-{name} summary")
        await shown.page.keyboard.press("Enter")
        await shown.page.wait_for_selector(f"#t-{name} .parts")
        await shown.page.evaluate("(id) => document.getElementById(id).old = true", f"t-{name}")
        last = replace(board.cards[name].row.last, durations={Probe.SEND: 0.777})
        board.put(replace(board.cards[name], row=replace(board.cards[name].row, last=last)))
        await shown.page.wait_for_selector(f"#t-{name} .last:has-text('777 ms')")
        await shown.page.wait_for_selector(f"#t-{name} .parts")
        assert await shown.page.evaluate("(id) => !document.getElementById(id).old", f"t-{name}")
        assert await shown.page.evaluate("document.activeElement.closest('.target')?.dataset.target") == name
        await shown.nothing_is_wrong()


async def test_targets_come_and_go(browser):
    """A reload of the config adds a line and takes one away."""
    board = status_fixtures.Board(status_fixtures.healthy(["one", "two"]))
    async with serving(board) as server, tab(browser, server.url) as shown:
        await shown.is_live()
        del board.cards["one"]
        board.put(status_fixtures.passing("three"))
        await shown.page.wait_for_selector("#t-three")
        await shown.page.wait_for_selector("#t-one", state="detached")
        assert await shown.order == ["two", "three"]


async def test_an_exporter_that_restarts_is_found_again(browser):
    """The page says that nobody answers, then shows what the new process knows, without a reload by hand."""
    board = status_fixtures.Board(status_fixtures.healthy(["one"]))
    async with serving(board) as server:
        port, url = server.port, server.url
        context = tab(browser, url)
        shown = await context.__aenter__()
        await shown.is_live()
    await shown.page.wait_for_selector("#live.off")
    assert (await shown.page.title()).startswith("? ")
    shown.errors.clear()  # that nobody answers is an error to the browser
    board.put(failing("two"))
    async with serving(board, ListenAddress("127.0.0.1", port)):
        await shown.title_is("✗ 1/2 failing: two")
        await shown.is_live()
        assert await shown.order == ["two", "one"]
        await context.__aexit__(None, None, None)


HIDE = """() => {
  Object.defineProperty(document, 'hidden', {value: true, configurable: true});
  document.dispatchEvent(new Event('visibilitychange'));
}"""
"""What the browser does when another tab is chosen."""


async def test_a_hidden_page_holds_no_stream(browser):
    """Browsers keep six connections for a server: a tab in the background asks, and streams when it is looked at."""
    board = status_fixtures.Board(status_fixtures.healthy(["one"]))
    async with serving(board) as server, tab(browser, server.url) as shown:
        await shown.is_live()
        await shown.page.evaluate(HIDE)
        await shown.until(ASKS)
        board.put(failing("one"))
        await shown.page.evaluate(HIDE.replace("true, conf", "false, conf"))
        await shown.title_is("✗ 1/1 failing: one")
        await shown.is_live()
        await shown.nothing_is_wrong()


ASKS = "() => document.getElementById('live').textContent.startsWith('asks every')"


async def test_who_gets_no_stream_asks(browser):
    """Beyond the bound a page asks now and then; it sees what has changed all the same."""
    board = status_fixtures.Board(status_fixtures.healthy(["one"]))
    async with (
        serving(board) as server,
        aiohttp.ClientSession(server.url) as session,
        contextlib.AsyncExitStack() as held,
    ):
        for _ in range(MAX_STREAMS):
            request = session.get(
                "/api/events", headers={"Accept": "text/event-stream"}, params={"since": f"{BUILD}.x.0"}
            )
            answer = await held.enter_async_context(request)
            assert answer.status == 200
        async with tab(browser, server.url) as shown:
            await shown.until(ASKS)
            board.put(failing("one"))
            await shown.until(f"() => {{ ({HIDE})(); return document.title === '✗ 1/1 failing: one'; }}")


# Nobody is shut out -----------------------------------------------------------------------------------------------


async def test_it_works_without_scripts(browser):
    """All is there; a line that is opened leads to the target's page; the browser asks again by itself."""
    async with (
        serving(status_fixtures.Board(status_fixtures.incident())) as server,
        tab(browser, server.url, script=False) as shown,
    ):
        assert await shown.page.inner_text("h1") == ONE_OF_TWELVE
        assert await shown.page.locator("meta[http-equiv=refresh]").get_attribute("content") == "30"
        assert await shown.page.inner_text("#live") == "reloads every 30 s"
        name = status_fixtures.NAMES[0]
        await shown.page.click(f"#t-{name} summary")
        await shown.page.click(f"text=All about {name}")
        assert await shown.page.locator(f"#t-{name} .parts").is_visible()
        assert await shown.order == [name]
        await shown.page.click("text=All targets")
        assert len(await shown.order) == 12


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    "path", ["/", "/?target=chat-prod-eu-west-1", "/?target=preview", "/runbook/WebSocketSendFailing"]
)
async def test_axe_finds_nothing(browser, scheme, path):
    """Names, contrast, headings, landmarks: in light and dark, with every kind of line and an opened one."""
    cards = status_fixtures.incident()
    unknown = TargetState(StateKind.UNKNOWN)
    impaired = TargetState(StateKind.IMPAIRED, status_fixtures.NOW - 90, result=IMPAIRED)
    for name, state in ((status_fixtures.NAMES[1], unknown), (status_fixtures.NAMES[2], impaired)):
        cards[name] = replace(cards[name], row=replace(cards[name].row, state=state))
    async with (
        serving(status_fixtures.Board(cards)) as server,
        tab(browser, server.url, path=path, color_scheme=scheme) as shown,
    ):
        if path == "/":
            await shown.is_live()
            await shown.page.click(f"#t-{status_fixtures.NAMES[4]} summary")
            await shown.page.click(f"#t-{status_fixtures.NAMES[4]} .transcript summary")
        await shown.is_accessible()


IMPAIRED = replace(cases.PASSED, impairment="token", verdicts={}, phases={}, durations={}, close=None)


async def test_all_is_reached_by_keyboard(browser):
    """Tab goes from top to bottom, what is focused is seen, Enter and Space open and close a line."""
    async with serving(status_fixtures.Board(status_fixtures.incident())) as server, tab(browser, server.url) as shown:
        await shown.is_live()
        reached = []
        for _ in range(12):
            await shown.page.keyboard.press("Tab")
            reached.append(await shown.page.evaluate(FOCUSED))
        words = [word for word, _, _ in reached]
        assert words[0] == "To the targets"
        assert words[1].startswith("failing staging")
        assert words[2] == "Runbook: WebSocketFactorySlotsExhausted"
        assert [top for _, top, _ in reached[1:]] == sorted(top for _, top, _ in reached[1:])
        assert all(outline > 0 for _, _, outline in reached)
        name = status_fixtures.NAMES[0]
        await shown.page.focus(f"#t-{name} summary")
        await shown.page.keyboard.press("Enter")
        await shown.page.wait_for_selector(f"#t-{name} .parts")
        await shown.page.keyboard.press(" ")
        await shown.page.wait_for_selector(f"#t-{name} .parts", state="hidden")


FOCUSED = """() => {
  const style = getComputedStyle(document.activeElement), box = document.activeElement.getBoundingClientRect();
  const outline = style.outlineStyle === 'none' ? 0 : parseFloat(style.outlineWidth);
  return [document.activeElement.innerText.replace(/\\s+/g, ' ').trim(), Math.round(box.top + scrollY), outline];
}"""


async def test_the_skip_link_leads_to_the_targets(browser):
    """Who has no mouse is past the top by one key."""
    async with serving(status_fixtures.Board(status_fixtures.incident())) as server, tab(browser, server.url) as shown:
        await shown.page.keyboard.press("Tab")
        await shown.page.keyboard.press("Enter")
        await shown.page.keyboard.press("Tab")
        assert (await shown.page.evaluate(FOCUSED))[0].startswith("failing staging")


@pytest.mark.parametrize("name", ["staging", "x" * 63])
async def test_a_phone_scrolls_one_way_only(browser, name):
    """At 360 px nothing is wider than the screen, opened or not, and however long a name is."""
    cards = {name: failing(name), **status_fixtures.healthy()}
    async with serving(status_fixtures.Board(cards)) as server, tab(browser, server.url, viewport=PHONE) as shown:
        await shown.is_live()
        await shown.page.click(f"#t-{status_fixtures.NAMES[0]} summary")
        await shown.page.wait_for_selector(f"#t-{status_fixtures.NAMES[0]} .parts")
        await shown.page.click(f"#t-{status_fixtures.NAMES[0]} .transcript summary")
        assert await shown.page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
        assert await shown.page.evaluate(TOO_WIDE, PHONE["width"]) == []


TOO_WIDE = """(width) => [...document.querySelectorAll('body *')]
  .filter(one => one.getBoundingClientRect().right > width + 0.5).map(one => one.outerHTML.slice(0, 80))"""


async def test_it_works_behind_a_prefix(browser, tmp_path):
    """A proxy that serves it under a path: page, updates, opened lines, runbook and icons are found."""
    board = status_fixtures.Board(status_fixtures.incident())
    async with serving(board) as server:

        def http(port):
            target = f"http://127.0.0.1:{server.port}/"
            return f"server {{ listen 127.0.0.1:{port}; location /probes/ws/ {{ proxy_pass {target}; }} }}"

        async with contextlib.AsyncExitStack() as opened:
            nginx = await opened.enter_async_context(realservers.nginx(http, tmp_path))
            url = f"http://127.0.0.1:{nginx.ports[0]}"
            shown = await opened.enter_async_context(tab(browser, url, path="/probes/ws/"))
            await shown.is_live()
            board.put(status_fixtures.passing("staging"))
            await shown.title_is("All 12 targets pass")
            await shown.page.click(f"#t-{status_fixtures.NAMES[0]} summary")
            await shown.page.wait_for_selector(f"#t-{status_fixtures.NAMES[0]} .parts")
            await shown.page.goto(f"{shown.origin}/probes/ws/runbook/WebSocketSendFailing")
            await shown.page.click("text=Status")
            assert await shown.page.inner_text("h1") == "All 12 targets pass"
            await shown.nothing_is_wrong()
            assert all(path.startswith("/probes/ws/") for path in shown.requests)
