"""Where all is served: prefix, external URL and telemetry path, the links between, and the flags that are wrong."""

import re
from urllib.parse import urljoin

import aiohttp
import pytest
from support.fake_site import Shown
from support.web_client import ask

from exporter.web import ListenAddress, ListenError, read_listen_options
from exporter.web.paths import WebPaths, read_paths


@pytest.mark.parametrize(
    ("external", "prefix", "telemetry", "paths"),
    [
        (None, None, None, WebPaths("", "/metrics", "")),
        ("https://mon.example.com", None, None, WebPaths("", "/metrics", "https://mon.example.com")),
        ("https://mon.example.com/ws/", None, None, WebPaths("/ws", "/metrics", "https://mon.example.com/ws")),
        ("https://mon.example.com/ws", "/", None, WebPaths("", "/metrics", "https://mon.example.com/ws")),
        ("http://[::1]:80/a/b", "x/y/", "/m", WebPaths("/x/y", "/m", "http://[::1]:80/a/b")),
        (None, "ws", None, WebPaths("/ws", "/metrics", "")),
        (None, "", "/a/b.c", WebPaths("", "/a/b.c", "")),
    ],
)
def test_the_prefix_is_that_of_the_external_url_unless_said_otherwise(external, prefix, telemetry, paths):
    """As in Prometheus: slashes at either end mean nothing."""
    assert read_paths(external, prefix, telemetry) == paths


@pytest.mark.parametrize(
    "external",
    ["", "mon.example.com", "ftp://x/", "https://", "https://user:s3cret@x/", "https://x/?token=s3cret", "https://x/#s3cret",
     "https://x:99999/", "https://[::1", "https://x y/", '"https://x"', "https://x/a b", "https://x/../a"],
)  # fmt: skip
def test_what_is_no_external_url_is_refused_unquoted(external):
    """The sentence names the flag and says what it must be; a password in it is not shown."""
    with pytest.raises(ListenError) as refused:
        read_paths(external, None, None)
    (sentence,) = refused.value.sentences
    assert sentence.startswith("--web.external-url: must be ")
    assert "s3cret" not in sentence


@pytest.mark.parametrize("path", ["/a b", "/a//b", "/../a", "/a/.", "/a?b", "/{x}", "/%2e", "/a\nb", "/é"])
def test_what_is_no_path_is_refused(path):
    """Prefix and telemetry path need no escape, and lead nowhere else."""
    with pytest.raises(ListenError) as refused:
        read_paths(None, path, path)
    assert [sentence.split(":")[0] for sentence in refused.value.sentences] == [
        "--web.route-prefix",
        "--web.telemetry-path",
    ]


@pytest.mark.parametrize("telemetry", ["", "/", "metrics"])
def test_the_metrics_need_a_path_of_their_own(telemetry):
    """The page at the root is not where they stand."""
    with pytest.raises(ListenError, match=r"^--web\.telemetry-path: must be a path such as /metrics"):
        read_paths(None, None, telemetry)


async def test_metrics_do_not_take_the_place_of_others():
    """A telemetry path that is served already is refused at the start."""
    with pytest.raises(ListenError, match="something else is served there"):
        await Shown().serve(paths=WebPaths(telemetry="/-/healthy"))


def test_all_flags_that_are_wrong_are_told_at_once():
    """Addresses, sockets of systemd beside addresses, URL and paths: a sentence each."""
    with pytest.raises(ListenError) as refused:
        read_listen_options([":x", "y"], from_systemd=True, external="x", prefix="//a//b", telemetry="/")
    assert [sentence.split(":")[0] for sentence in refused.value.sentences] == [
        "--web.listen-address",
        "--web.listen-address",
        "--web.systemd-socket",
        "--web.external-url",
        "--web.route-prefix",
        "--web.telemetry-path",
    ]


async def links(server, path):
    """The links of the page at a path, as a browser follows them."""
    async with aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as client, client.get(path) as page:
        assert page.status == 200
        return [urljoin(path, link) for link in re.findall(r'href="([^"#]+)"', await page.text())]


@pytest.mark.parametrize(
    ("paths", "top"),
    [
        (WebPaths(), "/"),
        (WebPaths("/ws"), "/ws/"),
        (WebPaths("/a/b", "/own/figures"), "/a/b/"),
        (WebPaths("", "/figures"), "/"),
    ],
    ids=str,
)
async def test_all_stands_under_the_prefix_and_links_lead_there(paths, top):
    """Page, its links and metrics under it, and nothing elsewhere."""
    server = await Shown().serve(paths=paths)
    metrics = paths.prefix + paths.telemetry
    found = await links(server, top)
    assert {metrics, f"{paths.prefix}/-/ready", f"{paths.prefix}/api/results"} <= set(found)
    assert all(link.startswith(top) for link in found)
    assert {(await ask(server.port, path)).status for path in found} == {200}
    assert "ws_probe_attempts_total" in (await ask(server.port, metrics)).body
    elsewhere = ["/-/healthy"] * bool(paths.prefix) + ["/metrics"] * (metrics != "/metrics")
    assert [(await ask(server.port, path)).status for path in elsewhere] == [404] * len(elsewhere)
    assert server.url == f"http://127.0.0.1:{server.port}{paths.prefix}"
    await server.close()


@pytest.mark.parametrize(
    ("external", "top"), [("", "/ws/"), ("https://mon.example.com/ws", "https://mon.example.com/ws/")]
)
async def test_who_comes_to_the_root_is_led_under_the_prefix(external, top):
    """From `/`, and from the prefix without its slash: to the external URL, if there is one."""
    server = await Shown().serve(paths=WebPaths("/ws", external=external))
    for path in ("/", "/ws"):
        answer = await ask(server.port, path)
        assert (answer.status, answer.headers["location"]) == (302, top)
    await server.close()


async def test_several_addresses_serve_the_same():
    """Each has its URL; the first is the one that is told."""
    server = await Shown().serve(listen=(ListenAddress("127.0.0.1", 0), ListenAddress("127.0.0.1", 0)))
    assert len(set(server.urls)) == 2
    assert server.url == server.urls[0]
    for url in server.urls:
        assert (await ask(int(url.rsplit(":", 1)[1]))).status == 200
    await server.close()


async def test_of_several_addresses_all_or_none_are_taken():
    """One that is busy is an error, and the others are given back."""
    server = await Shown().serve()
    busy = ListenAddress("127.0.0.1", server.port)
    free = await Shown().serve()
    port = free.port
    await free.close()
    with pytest.raises(ListenError, match="the port is in use"):
        await Shown().serve(listen=(ListenAddress("127.0.0.1", port), busy))
    again = await Shown().serve(listen=(ListenAddress("127.0.0.1", port),))
    await again.close()
    await server.close()
