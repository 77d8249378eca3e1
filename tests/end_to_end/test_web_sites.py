"""Which pages may have a browser change something here: asked of a real Chromium, and of requests as they come."""

import asyncio
import contextlib

import pytest
import pytest_asyncio
from multidict import CIMultiDict, CIMultiDictProxy
from support import browsing
from support.browsing import tab
from support.fake_site import Shown
from support.web_client import ask, behind, hashed, pair, written

from exporter.web import ListenAddress, ListenError, WebServer, read_listen_options
from exporter.web.secure import TrustedSites

chromium = pytest.mark.asyncio(loop_scope="session")

ATTACK = """async (url) => {
  const asked = [];
  for (const [path, method] of [['/-/reload', 'POST'], ['/-/reload', 'PUT'], ['/api/check?target=staging', 'POST']])
    for (const mode of ['no-cors', 'cors'])
      asked.push(fetch(url + path, {method, mode, credentials: 'include'}).then((found) => found.status, () => 'no'));
  navigator.sendBeacon(url + '/-/reload', 'x');
  return Promise.all(asked);
}"""
FORM = """(url) => {
  const form = document.createElement('form');
  form.method = 'post';
  form.action = url + '/-/reload';
  document.body.append(form);
  form.submit();
}"""
OWN = """async (path) => (await fetch(path, {method: 'POST'})).status"""


class Changed(Shown):
    """Counts what was changed."""

    def __init__(self):
        super().__init__()
        self.changes = 0

    async def reload(self):
        self.changes += 1
        return await super().reload()

    async def check(self, target, probe):
        self.changes += 1
        return await super().check(target, probe)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def browser():
    async with browsing.chromium() as made:
        yield made


@contextlib.asynccontextmanager
async def another_site():
    """A page that is not ours, on a port of its own."""

    async def serve(reader, writer):
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n<!doctype html><body>"
            )
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://evil.test:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


@contextlib.asynccontextmanager
async def exposed(folder, *, tls=False, user=False, **doorway):
    """A server, and what it has changed."""
    site = Changed()
    web = {"tls_server_config": pair(folder, "exporter.test", "localhost")} if tls else {}
    web |= {"basic_auth_users": {"alice": hashed("correct-horse")}} if user else {}
    server = await site.serve(config_file=written(folder, **web), **doorway)
    try:
        yield site, server
    finally:
        await server.close()


def visitor(*, user):
    """What a browser has that is signed in: Playwright answers every 401 with it, whoever's page it was."""
    known = {"http_credentials": {"username": "alice", "password": "correct-horse"}} if user else {}
    return {"ignore_https_errors": True, **known}


@chromium
@pytest.mark.parametrize("user", [False, True], ids=["without users", "signed in"])
@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
async def test_another_sites_page_changes_nothing_in_a_browser(tls, user, browser, tmp_path):
    """Form, fetch and beacon: whatever a page of evil.test can send."""
    async with exposed(tmp_path, tls=tls, user=user) as (site, server), another_site() as evil:
        url = f"{'https' if tls else 'http'}://exporter.test:{server.port}"
        async with tab(browser, evil, **visitor(user=user)) as shown:
            answers = await shown.page.evaluate(ATTACK, url)
            assert set(answers) <= {0, "no"}, answers
            async with shown.page.expect_navigation() as going:
                await shown.page.evaluate(FORM, url)
            assert (await (await going.value).text()).startswith("the page of another site may change nothing here")
        assert site.changes == 0


@chromium
@pytest.mark.parametrize("user", [False, True], ids=["without users", "signed in"])
@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
async def test_our_own_page_may(name, tls, user, browser, tmp_path):
    """A page of ours, under localhost or an address, has the check done."""
    async with exposed(tmp_path, tls=tls, user=user) as (site, server):
        async with tab(browser, f"{'https' if tls else 'http'}://{name}:{server.port}", **visitor(user=user)) as shown:
            assert await shown.page.evaluate(OWN, "/api/check?target=staging") == 200
        assert site.changes == 1


@chromium
@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
async def test_a_foreign_name_that_leads_to_us_changes_nothing(tls, browser, tmp_path):
    """DNS rebinding: to the browser the page is of one origin with us. A name that the user allows is ours."""
    scheme = "https" if tls else "http"
    for allowed, status in ((), 403), (("exporter.test",), 200):
        async with exposed(tmp_path, tls=tls, allowed=allowed) as (site, server):
            async with tab(browser, f"{scheme}://exporter.test:{server.port}", **visitor(user=False)) as shown:
                assert await shown.page.evaluate(OWN, "/-/reload") == status
            assert site.changes == (status == 200)


NOTHING = {}


@pytest.mark.parametrize(
    ("headers", "may"),
    [
        # No browser: curl, a reloader beside us, `check --from`, whatever it calls us.
        (NOTHING, True),
        ({"Host": "exporter.monitoring.svc:11011"}, True),
        # A page of ours.
        ({"Host": "localhost:11011", "Origin": "http://localhost:11011"}, True),
        ({"Host": "LOCALHOST.:11011", "Origin": "http://localhost:11011"}, True),
        ({"Host": "127.0.0.1:11011", "Origin": "http://127.0.0.1:11011"}, True),
        ({"Host": "[::1]:11011", "Origin": "http://[0:0:0:0:0:0:0:1]:11011"}, True),
        ({"Host": "probe.internal", "Origin": "http://probe.internal"}, True),
        ({"Host": "probe.internal:80", "Origin": "http://probe.internal"}, True),
        ({"Host": "probe.internal", "Origin": "https://probe.internal"}, True),  # TLS ends at a proxy
        ({"Host": "10.1.2.3", "Origin": "https://status.example.org"}, True),  # the external URL
        ({"Host": "ours", "Origin": "https://allowed.example.org:8443"}, True),
        # Another's.
        ({"Host": "localhost:11011", "Origin": "http://evil.test"}, False),
        ({"Host": "localhost:11011", "Origin": "http://localhost:8080"}, False),
        ({"Host": "localhost:11011", "Origin": "null"}, False),
        ({"Host": "localhost:11011", "Origin": ""}, False),
        ({"Host": "localhost:11011", "Origin": "file://"}, False),
        ({"Host": "localhost:11011", "Origin": "http://localhost:11011.evil.test"}, False),
        ({"Host": "localhost:11011", "Origin": "http://localhost:11011@evil.test"}, False),
        ({"Host": "10.1.2.3", "Origin": "http://status.example.org"}, False),  # not over https
        ({"Host": "10.1.2.3", "Origin": "https://status.example.org:8443"}, False),
        # A foreign name.
        ({"Host": "evil.test:11011", "Origin": "http://evil.test:11011"}, False),
        ({"Host": "evil.test:11011", "Sec-Fetch-Site": "same-origin"}, False),
        ({"Host": "notlocalhost", "Origin": "http://notlocalhost"}, False),
        ({"Host": "evil.test", "Origin": "http://localhost:11011"}, False),
        ({"Origin": "http://localhost"}, False),
        # Fetch Metadata.
        ({"Host": "localhost", "Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}, True),
        ({"Host": "localhost", "Origin": "http://localhost", "Sec-Fetch-Site": "cross-site"}, False),
        ({"Host": "localhost", "Sec-Fetch-Site": "same-site"}, False),
    ],
    ids=lambda value: " ".join(value.values()) if isinstance(value, dict) else "",
)
def test_whose_pages_may_change_something(headers, may):
    """What says no `Origin` is no browser; what says one has to be ours, under a name that is ours."""
    sites = TrustedSites.of(["", "probe.internal"], ["allowed.example.org"], "https://status.example.org/ws")
    assert sites.may_change(CIMultiDictProxy(CIMultiDict(headers)), tls=False) is may


def test_a_header_said_twice_is_no_word_of_a_browser():
    """Two origins or two hosts are refused, whatever they say."""
    sites, own = TrustedSites(), ("Origin", "http://localhost")
    for more in own, ("Origin", "http://evil.test"), ("Host", "evil.test"):
        headers = CIMultiDictProxy(CIMultiDict([("Host", "localhost"), own, more]))
        assert not sites.may_change(headers, tls=False)


def test_over_tls_of_ours_a_plain_page_is_another_site():
    """Of the same name and port, but http: somebody on the way may have written it."""
    headers = CIMultiDictProxy(CIMultiDict({"Host": "localhost:443", "Origin": "http://localhost:443"}))
    assert TrustedSites().may_change(headers, tls=False)
    assert not TrustedSites().may_change(headers, tls=True)


async def test_every_method_that_changes_something_is_asked(tmp_path, monkeypatch):
    """And none of the others: whoever may read may read from anywhere."""
    async with behind(written(tmp_path), monkeypatch) as server:
        for method in "POST", "PUT":
            assert (await ask(server.port, "/-/reload", method=method, Origin="http://evil.test")).status == 403
            assert (await ask(server.port, "/-/reload", method=method)).status == 200
        assert (await ask(server.port, "/metrics", Origin="http://evil.test")).status == 200


@pytest.mark.parametrize("host", ["", "http://probe.example.org", "probe.example.org:443", "a b", "*"])
def test_an_allowed_host_is_a_name(host):
    """Anything else would never match, or match too much."""
    with pytest.raises(ListenError, match=r"--web\.allowed-host: must be the name of a host"):
        read_listen_options([":0"], allowed=[host])


async def test_the_flags_say_which_names_are_ours():
    """The host of an address that is listened on, the external URL, and every name that is allowed."""
    doorway = read_listen_options(
        ["localhost:0"], external="https://status.example.org/ws", allowed=["probe.example.org"]
    )
    server = await WebServer.start(doorway, Shown())
    try:
        for origin, status in (
            ("https://status.example.org", 200),
            ("http://probe.example.org", 200),
            ("http://x.org", 403),
        ):
            assert (await ask(server.port, "/ws/-/reload", method="POST", Origin=origin)).status == status
    finally:
        await server.close()


def test_an_address_that_is_listened_on_is_ours():
    """Its host stands in the flags, so its pages are ours."""
    assert ListenAddress("probe.internal", 1).host in read_listen_options(["probe.internal:1"]).sites.hosts
