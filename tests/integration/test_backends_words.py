"""What `check` says of real servers: the sentence names what the server did, and nothing that it did not do."""

from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest
from support import harness
from support.backend_jobs import ECHO, KEY, file, job
from support.backend_servers import go_backend, needs_go, needs_node, node_backend, python_backend
from support.realservers import nginx

from exporter.report import FORMATS, CheckReport, RenderContext, TargetContext, explain
from exporter.result import Phase, Probe, Reason, Verdict

HELLO = {"welcome": {"match": {"type": "hello"}}, **ECHO}
OTHER = {"welcome": {"match": {"type": "welcome"}}, **ECHO}
QUICK = {"timeout": "2s"}
NO_UPGRADE = "saw no WebSocket upgrade in our request"


async def run_and_explain(made):
    """One session: its result, and all that is said of it."""
    result = await harness.Rig().run(made, identity="pool-001")
    said = explain(result, TargetContext.of(made))
    return result, f"{said.sentence} {said.next_step} {said.page}"


@asynccontextmanager
async def not_forwarding(backend, folder):
    """An nginx before the backend that passes no upgrade on, as one without the two headers does."""

    def servers(port):
        return f"server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://{urlsplit(backend).netloc}; }} }}"

    (folder / "proxy").mkdir()
    async with nginx(servers, folder / "proxy") as proxy:
        yield f"ws://127.0.0.1:{proxy.ports[0]}"


@pytest.mark.parametrize(("name", "path"), [("jsonrpc_app", "/rpc"), ("ocpp_app", "/CP1")])
async def test_a_proxy_that_passes_no_upgrade_on_is_named(name, path, tmp_path):
    """Aiohttp answers 400 then, websockets 426 or 505: none of them broke."""
    async with python_backend(name, tmp_path) as url, not_forwarding(url, tmp_path) as proxied:
        result, words = await run_and_explain(job(f"{proxied}{path}", ECHO, None))

    assert result.http_status in (400, 426, 505), result
    assert NO_UPGRADE in words
    assert "broke" not in words


@needs_node
async def test_a_proxy_that_passes_no_upgrade_on_to_node_is_named(tmp_path):
    """The ws package answers 426."""
    async with node_backend("echo", tmp_path) as url, not_forwarding(url, tmp_path) as proxied:
        result, words = await run_and_explain(job(proxied, ECHO, None))

    assert result.http_status == 426
    assert NO_UPGRADE in words


async def test_a_plain_request_that_finds_nothing_may_be_a_lost_upgrade(tmp_path):
    """Uvicorn answers 404: it has no such page, and it has the WebSocket."""
    async with python_backend("fastapi_app", tmp_path) as url, not_forwarding(url, tmp_path) as proxied:
        result, words = await run_and_explain(job(f"{proxied}/open", ECHO, None))

    assert result.http_status == 404
    assert "whether a proxy drops the upgrade" in words


async def test_a_missing_origin_is_named_before_the_key(tmp_path):
    """The validator of Channels never looked at the token; with an Origin the sentence no longer asks for one."""
    async with python_backend("channels_app", tmp_path) as url:
        auth = {"jwt": {"key_file": file(tmp_path, KEY)}}
        _, words = await run_and_explain(job(f"{url}/origin", ECHO, auth))
        _, given = await run_and_explain(
            job(f"{url}/origin", ECHO, auth, headers={"Origin": "http://elsewhere.example"})
        )

    assert "or the server wants an Origin header, and none was sent" in words
    assert "set the Origin of their page under `headers`" in words
    assert "Origin header" not in given


async def test_a_503_with_a_time_to_wait_is_a_limit(tmp_path):
    """It asks us to wait, and that is said; no crash loop."""
    async with python_backend("fastapi_app", tmp_path) as url:
        result, words = await run_and_explain(job(f"{url}/limited/503", ECHO, None))

    assert (result.phase, result.reason) == (Phase.UPGRADE, Reason.RATE_LIMITED)
    assert "with HTTP 503 and a time to wait (it asks us to wait 2 min)" in words
    assert "crash" not in words


@pytest.mark.parametrize(
    ("path", "words"), [("/forgets", "chose none of the subprotocols"), ("/invents", "that was not offered")]
)
async def test_a_subprotocol_that_browsers_refuse_is_named(path, words, tmp_path):
    """The 101 came, and no browser would take it."""
    async with python_backend("fastapi_app", tmp_path) as url:
        result, said = await run_and_explain(job(f"{url}{path}", {"subprotocols": ["chat.v1"], **ECHO}, None))

    assert result.reason is Reason.BAD_HANDSHAKE
    assert words in said
    assert "browsers refuse" in said


@pytest.mark.parametrize("path", ["/numbered", "/binary"])
async def test_a_greeting_of_another_kind_is_no_silence(path, tmp_path):
    """What came is said, by the names of its fields: the profile is wrong, not the backend."""
    async with python_backend("fastapi_app", tmp_path) as url:
        made = job(f"{url}{path}", OTHER, None, **QUICK)
        result, words = await run_and_explain(made)
        shown = FORMATS["text"](
            CheckReport("real", url, (result,), 0.0, "1", context=TargetContext.of(made)), RenderContext(0.0)
        )

    assert result.reason is Reason.TIMEOUT
    assert "messages came before the deadline (other: 1, with the fields " in words
    assert "type" in words
    assert "Is `profile: own` right for this backend" in words
    assert "SILENCE" not in words
    assert "passed over  other: 1" in shown


async def test_a_profile_that_was_assumed_is_named(tmp_path):
    """Without `profile`, a greeting that is no welcome of the default one is said to be measured by it."""
    async with python_backend("fastapi_app", tmp_path) as url:
        target = {"name": "real", "url": f"{url}/numbered", "interval": "20s", "timeout": "2s"}
        target |= {"identities": {"pool-001": "user-one"}, "auth": {"jwt": {"key_file": file(tmp_path, KEY)}}}
        _, words = await run_and_explain(harness.planned(target).jobs[0])

    assert "`profile: factory` was assumed: the target names none" in words
    assert "SILENCE" not in words


@pytest.mark.parametrize("code", [1001, 1012, 1013])
async def test_a_restart_before_the_greeting_is_no_factory(code, tmp_path):
    """The server said that it stops, or that it is to be asked later."""
    async with python_backend("fastapi_app", tmp_path) as url:
        result, words = await run_and_explain(job(f"{url}/closes/{code}", HELLO, None))

    assert (result.phase, result.reason, result.factory_reason) == (Phase.ADMISSION, Reason.CLOSED, None)
    assert f"closed with {code}" in words
    assert "WebSocketServerRestarting" in words
    assert "actory" not in words


@needs_go
async def test_a_goodbye_with_1001_is_no_restart(tmp_path):
    """All probes pass; that the close was not 1000 is said beside it, with no page and no next step."""
    async with go_backend(tmp_path) as url:
        result, words = await run_and_explain(job(f"{url}/goodbye", ECHO_AS_IT_IS, None))

    assert result.verdicts[Probe.SEND] is Verdict.PASS, result
    assert "our message got its reply" in words
    assert "recycled" not in words
    assert words.endswith("None None")


ECHO_AS_IT_IS = {"send": {"message": {"id": "${nonce}"}, "match": {"id": "${nonce}"}}}
