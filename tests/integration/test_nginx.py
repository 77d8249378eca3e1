"""A real nginx with TLS stands before the backend, as in most deployments: what it says is told for what it is."""

import asyncio
from urllib.parse import urlsplit

import pytest
from support import certificates, exposition, harness, raw_server
from support.realservers import nginx

from exporter.metrics import Metrics, target_series
from exporter.result import CertificatePlace, Close, Initiator, Phase, Probe, Reason, TlsVerify, Verdict
from exporter.standin import StandIn, Timings

USER = "staging-e2e-user-001"
CONNECT_FAILED = dict.fromkeys(Probe, Verdict.FAIL)
PASSED = dict.fromkeys(Probe, Verdict.PASS)
WELCOMED = PASSED | {Probe.SEND: Verdict.FAIL}
NO_CLOSE_FRAME = 1006

SERVERS = """
  ssl_certificate {folder}/proxy.pem;
  ssl_certificate_key {folder}/proxy.pem;
  proxy_http_version 1.1;
  proxy_set_header Upgrade $http_upgrade;
  proxy_set_header Connection $http_connection;
  server {{
    listen 127.0.0.1:{port} ssl http2;
    location /ws {{ proxy_pass http://{backend}; }}
    location /ws/impatient {{ proxy_pass http://{backend}; proxy_read_timeout 300ms; }}
    location /ws/plain-http {{ proxy_pass http://{backend}; proxy_set_header Host $host; }}
    location /forbidden {{ return 403; }}
    location /gone {{ return 503; }}
    location /busy {{ add_header Retry-After 7 always; return 429; }}
    location /moved {{ return 301 https://localhost:{port}/ws; }}
    location /moved-for-now {{ return 302 https://localhost:{port}/ws; }}
  }}
  server {{
    listen 127.0.0.1:{strict} ssl;
    ssl_client_certificate {folder}/ca.pem;
    ssl_verify_client on;
    location /ws {{ proxy_pass http://{backend}; }}
  }}
"""
"""A header set in a location puts aside those set above it: `plain-http` forwards no upgrade."""


class Site:
    """A stand-in, the nginx before it, and a prober with its metrics."""

    def __init__(self, folder, standin, proxy):
        self._folder = folder
        self.standin = standin
        self.proxy = proxy
        self.prober = harness.Rig()
        self.metrics = Metrics("1.2.3")

    def job(self, path="/ws", *, strict=False, host="localhost", certificate=None, **changes):
        """The job of a path behind nginx; `certificate`: the file of a client certificate and its key."""
        tls = {"ca_file": str(self._folder / "ca.pem")}
        if certificate is not None:
            tls |= dict.fromkeys(("cert_file", "key_file"), str(self._folder / certificate))
        url = f"wss://{host}:{self.proxy.ports[strict]}{path}"
        return harness.planned(
            harness.target(self.standin, url=url, identities={"pool-001": USER}, **changes) | {"tls": tls}
        ).jobs[0]

    async def probe(self, *arguments, **changes):
        """One session's result, as the metrics are told it."""
        job = self.job(*arguments, **changes)
        result = await self.prober.run(job)
        self.metrics.add_target(target_series(job.target, job.profile))
        self.metrics.record_result(result)
        assert self.metrics.unexpected_series() == []
        return result

    def count(self, name, **labels):
        return exposition.value(self.metrics, name, target="staging", **labels)


@pytest.fixture
async def site(tmp_path):
    authority = certificates.authority()
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    between = authority.authority("Intermediate", until=certificates.NOW + 3 * certificates.DAY)
    (tmp_path / "proxy.pem").write_bytes(between.issue("localhost") + between.pem)
    (tmp_path / "client.pem").write_bytes(authority.issue("exporter"))
    (tmp_path / "stranger.pem").write_bytes(certificates.authority("Strangers").issue("exporter"))
    async with StandIn.start(timings=Timings.quick(), tls_port=None) as standin:
        backend = urlsplit(standin.url()).netloc

        def servers(port, strict):
            return SERVERS.format(port=port, strict=strict, folder=tmp_path, backend=backend)

        async with nginx(servers, tmp_path, ports=2) as proxy:
            yield Site(tmp_path, standin, proxy)


async def test_a_healthy_session_passes_through_nginx(site):
    """All three verdicts pass over wss, every phase is timed, we close with 1000 and the backend saw it."""
    result = await site.probe()
    (seen,) = await site.standin.wait_sessions(1)

    assert dict(result.verdicts) == PASSED
    assert result.close == Close(1000, Initiator.LOCAL, Phase.CLOSE)
    assert {Phase.TCP, Phase.TLS, Phase.UPGRADE, Phase.ADMISSION, Phase.REPLY, Phase.CLOSE} <= set(result.phases)
    until = (certificates.NOW + 3 * certificates.DAY).timestamp()
    assert result.evidence.certificate_place is CertificatePlace.INTERMEDIATE, "the server's own ends in 7 days"
    assert result.evidence.certificate_expiry == until
    assert (seen.how, seen.close_received, seen.answered) == ("close", 1000, 1)


@pytest.mark.parametrize("carry", ["subprotocol", "query"])
async def test_the_token_passes_through_nginx_however_it_travels(site, carry):
    """A proxy that forwards subprotocol and query lets us in."""
    jwt = {"key_file": str(site.standin.key_file), "claims": dict(harness.CLAIMS)}

    result = await site.probe(auth={"carry": carry, "jwt": jwt})

    assert dict(result.verdicts) == PASSED


ANSWERS = {
    "/forbidden": (403, Reason.HTTP_STATUS, "403"),
    "/gone": (503, Reason.HTTP_STATUS, "503"),
    "/busy": (429, Reason.RATE_LIMITED, "429"),
    "/moved": (301, Reason.REDIRECT, "3xx"),
    "/moved-for-now": (302, Reason.REDIRECT, "3xx"),
}


@pytest.mark.parametrize("path", ANSWERS)
async def test_what_nginx_answers_itself_is_a_refused_upgrade(site, path):
    """By status, in phase upgrade; a redirect is a finding and is not followed."""
    status, reason, code = ANSWERS[path]

    result = await site.probe(path)

    assert (dict(result.verdicts), result.phase, result.reason) == (CONNECT_FAILED, Phase.UPGRADE, reason)
    assert (result.http_status, result.close) == (status, None)
    assert site.count("ws_probe_http_rejections_total", code=code) == 1.0
    assert site.standin.finished == site.standin.open_connections == 0


async def test_the_retry_after_of_nginx_is_kept(site):
    """A 429 rests its endpoint for the seconds that it asks for."""
    before = site.prober.clock.wall()
    result = await site.probe("/busy")
    after = site.prober.clock.wall()

    until = site.prober.state.ledger.endpoint_cooldown_until(site.job("/busy").endpoint, after)
    assert result.retry_after == 7.0
    assert before + 7.0 <= until <= after + 7.0


async def test_a_backend_that_is_down_is_nginx_saying_502(site):
    """Nobody listens behind it: http_status in phase upgrade, counted as 502, and nothing else."""
    site.standin.set_fault("*", "refuse")

    down = await site.probe()
    site.standin.clear()
    up = await site.probe()

    assert (dict(down.verdicts), down.phase, down.reason) == (CONNECT_FAILED, Phase.UPGRADE, Reason.HTTP_STATUS)
    assert (down.http_status, down.close, down.factory_reason) == (502, None, None)
    assert site.count("ws_probe_http_rejections_total", code="502") == 1.0
    assert site.count("ws_probe_failures_total", probe="send", phase="upgrade", reason="http_status") == 1.0
    assert dict(up.verdicts) == PASSED


async def test_a_backend_that_resets_the_upgrade_is_nginx_saying_502(site):
    """What a crash looks like from outside."""
    site.standin.set_fault("/ws", "abort:at=upgrade")

    result = await site.probe()

    assert (result.phase, result.reason, result.http_status) == (Phase.UPGRADE, Reason.HTTP_STATUS, 502)


async def test_a_backend_that_does_not_answer_the_upgrade_is_nginx_saying_504(site):
    """The proxy's patience ends before ours."""
    site.standin.set_fault("/ws/impatient", "slow_upgrade:delay=60")

    result = await site.probe("/ws/impatient", timeout="2500ms")

    assert (result.phase, result.reason, result.http_status) == (Phase.UPGRADE, Reason.HTTP_STATUS, 504)


async def test_an_nginx_that_does_not_forward_the_upgrade_is_a_refused_upgrade(site):
    """The commonest mistake in a proxy's config: no Upgrade header; the backend answers plain HTTP, here 404."""
    result = await site.probe("/ws/plain-http")

    assert (dict(result.verdicts), result.phase, result.reason) == (CONNECT_FAILED, Phase.UPGRADE, Reason.HTTP_STATUS)
    assert result.http_status == 404


async def test_a_refusal_of_the_factory_is_the_same_behind_nginx(site):
    """Frame, code and limit come through."""
    site.standin.set_fault("/ws", "slot_limit:limit=5")

    result = await site.probe()

    assert (dict(result.verdicts), result.phase, result.reason) == (WELCOMED, Phase.ADMISSION, Reason.FACTORY)
    assert result.close == Close(1011, Initiator.REMOTE, Phase.ADMISSION)
    assert result.slot_limit == 5


async def test_a_silent_session_that_nginx_cuts_is_told_as_broken(site):
    """proxy_read_timeout is over before ours: the connection ends without a close frame, in phase reply."""
    site.standin.set_fault("/ws/impatient", "silent:after=welcome")

    result = await site.probe("/ws/impatient", timeout="2500ms")

    assert (dict(result.verdicts), result.phase, result.reason) == (WELCOMED, Phase.REPLY, Reason.RESET)
    assert result.close == Close(NO_CLOSE_FRAME, Initiator.NONE, Phase.REPLY)
    assert site.count("ws_probe_closes_total", phase="reply", code="1006", initiator="none") == 1.0


async def test_an_nginx_that_is_stopped_in_mid_session_is_told_as_broken(site):
    """The backend has taken us in and not yet welcomed us when the proxy goes."""
    site.standin.set_fault("/ws", "no_welcome")
    session = asyncio.create_task(site.probe(timeout="2500ms"))
    await raw_server.until(lambda: site.standin.held(USER) == 1)

    await site.proxy.stop()
    result = await session

    assert (result.phase, result.reason) == (Phase.ADMISSION, Reason.RESET)
    assert result.verdicts[Probe.CONNECT] is Verdict.PASS
    assert result.close == Close(NO_CLOSE_FRAME, Initiator.NONE, Phase.ADMISSION)
    (seen,) = await site.standin.wait_sessions(1)
    assert seen.close_received is None


async def test_an_nginx_that_is_gone_refuses(site):
    """Nobody listens on the port any more."""
    await site.proxy.stop()

    result = await site.probe()

    assert (dict(result.verdicts), result.phase, result.reason) == (CONNECT_FAILED, Phase.TCP, Reason.REFUSED)


# Client certificates ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shown", [None, "stranger.pem"])
async def test_a_client_certificate_that_nginx_misses_is_a_400(site, shown):
    """Unlike others nginx ends the handshake well and says it in HTTP: 400, in phase upgrade."""
    result = await site.probe(strict=True, certificate=shown)

    assert (dict(result.verdicts), result.phase, result.reason) == (CONNECT_FAILED, Phase.UPGRADE, Reason.HTTP_STATUS)
    assert (result.http_status, result.close) == (400, None)
    assert Phase.TLS in result.phases
    assert site.count("ws_probe_http_rejections_total", code="400") == 1.0


async def test_the_client_certificate_that_nginx_wants_lets_us_in(site):
    """Shown, and all is well."""
    result = await site.probe(strict=True, certificate="client.pem")

    assert dict(result.verdicts) == PASSED


async def test_a_proxy_of_another_name_is_a_certificate_fault(site):
    """We check who answers: `127.0.0.1` is not in the proxy's certificate."""
    result = await site.probe(host="127.0.0.1")

    assert (result.phase, result.reason) == (Phase.TLS, Reason.TLS_CERTIFICATE)
    assert result.tls_verify is TlsVerify.WRONG_NAME
