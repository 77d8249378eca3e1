"""GET /probe of the real daemon on a clock that jumps: what it answers, what it shares, and what it leaves alone."""

import asyncio
import contextlib
import logging
import re
from urllib.parse import quote, urlsplit

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support import harness, virtual_clock
from support.realservers import answered

import exporter.probing
from exporter.daemon import Daemon, DaemonOptions
from exporter.daemon.on_demand import BUSY, CROWDED, EXPORTER_STOPPING, FULL, LASTING, MAX_WAITERS
from exporter.daemon.probe_endpoint import MAX_TARGETS_IN_ERROR
from exporter.oncall import REFUSAL_TEXTS, Checker
from exporter.plan import plan_diff
from exporter.probing import TimeLimits
from exporter.result import Holdup
from exporter.scheduler import FINISH_GRACE_SECONDS, STOP_GRACE_SECONDS
from exporter.session import Session
from exporter.standin import StandIn, Timings
from exporter.state import LedgerFile
from exporter.web import ListenAddress

HERE = ListenAddress("127.0.0.1", 0)
FAR = 100_000.0
"""Seconds of a start-up delay after which the schedule would begin: not in these tests."""

ONE = {"pool-001": "staging-e2e-user-001"}
STAGING = "?target=staging"


def mapping(standin, **changes):
    return harness.target(standin, **{"interval": "20s", "timeout": "10s", "close_timeout": "2s", **changes})


@contextlib.asynccontextmanager
async def running(loop, *, delay=FAR, fault=None, count=1, settings=None, options=None, state=None, **changes):
    """A stand-in and a daemon that knows it: as `staging`, or as t0, t1 … at paths of their own."""
    async with StandIn.start(tls_port=None, clock=loop.time, wall=loop.wall, timings=Timings.quick()) as standin:
        if fault:
            standin.set_fault("*", *([fault] if isinstance(fault, str) else fault))
        several = [{"name": f"t{number}", "path": f"/ws/t{number}"} for number in range(count)]
        targets = [mapping(standin, **changes, **own) for own in (several if count > 1 else [{}])]
        wanted = DaemonOptions(HERE, startup_delay=delay, **options or {})
        daemon = Daemon(harness.planned(*targets, **settings or {}), wanted, clock=loop.clock, state=state)
        await daemon.start()
        try:
            yield daemon, standin
        finally:
            await daemon.stop()


async def ask(daemon, query=STAGING, timeout=None, path="/probe"):
    """Status and text of a probe; `timeout`: what the header of Prometheus says."""
    header = {} if timeout is None else {"X-Prometheus-Scrape-Timeout-Seconds": timeout}
    return await answered(f"{daemon.url}{path}{query}", **header)


def shown(body):
    """(name, values of the labels) → figure."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(body)
        for sample in family.samples
    }


async def open_at(standin, count=1):
    """Wait until the stand-in has so many connections open."""
    while standin.open_connections < count:
        await asyncio.sleep(0.01)


# What it answers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "query", "success", "told"),
    [
        (None, STAGING, 1, {("probe_factory_valid",): 1, ("probe_websocket_close_code",): 1000}),
        (None, f"{STAGING}&probe=connect", 1, {("probe_websocket_status_code",): 101}),
        ("slot_limit:limit=5", STAGING, 0, {("probe_factory_slot_limit",): 5, ("probe_websocket_close_code",): 1011}),
        ("slot_limit:limit=5", f"{STAGING}&probe=auth", 1, {("probe_factory_failure_info", "slot_limit"): 1}),
        ("http:status=502", STAGING, 0, {("probe_websocket_status_code",): 502}),
        ("refuse", STAGING, 0, {("probe_failure_info", "tcp", "refused"): 1}),
        ("zombie", STAGING, 0, {("probe_failure_info", "reply", "timeout"): 1, ("probe_duration_seconds",): 10}),
    ],
)
def test_a_session_is_told_with_200_pass_or_fail(fault, query, success, told):
    """The verdict of the probe that was asked, and why."""

    async def main(loop):
        async with running(loop, fault=fault) as (daemon, _):
            return await ask(daemon, query)

    status, body = virtual_clock.run(main)

    assert status == 200
    assert shown(body)["probe_success",] == success
    assert {key: shown(body).get(key) for key in told} == pytest.approx(told)


def test_debug_explains_the_session_and_shows_its_figures():
    """The report of a check, then the page; the same session in both."""

    async def main(loop):
        async with running(loop, fault="slot_limit:limit=5") as (daemon, _):
            return await ask(daemon, f"{STAGING}&debug=true")

    status, body = virtual_clock.run(main)

    report, _, page = body.partition("Without debug=true this is:")
    assert status == 200
    assert report.startswith("CRITICAL  staging  ws://127.0.0.1")
    assert "ws-factory-exporter runbook WebSocketFactorySlotsExhausted" in report
    assert shown(page)["probe_success",] == 0
    assert shown(page)["probe_factory_slot_limit",] == 5


def test_debug_names_the_page_of_the_runbook_where_the_config_says_it_is():
    """`runbook_url` stands in place of the command; a reload that changes it is heard."""
    places = ["https://wiki.example/runbook", "https://wiki.example/{name}.html", None]

    async def main(loop):
        async with running(loop, fault="http:status=502", settings={"runbook_url": places[0]}) as (daemon, standin):
            reports = [(await ask(daemon, f"{STAGING}&debug=true"))[1]]
            for place in places[1:]:
                plan = harness.planned(mapping(standin), runbook_url=place)
                await daemon._reloader._applier.apply(plan_diff(daemon._reloader.wanted, plan))
                reports.append((await ask(daemon, f"{STAGING}&debug=true"))[1])
            return reports

    reports = virtual_clock.run(main)

    (name,) = re.findall(r"ws-factory-exporter runbook (\w+)", reports[2])
    wanted = [f"{places[0]}/{name}.md", f"https://wiki.example/{name}.html", f"ws-factory-exporter runbook {name}"]
    assert [place in report for place, report in zip(wanted, reports, strict=True)] == [True] * 3
    assert "ws-factory-exporter runbook" not in reports[0] + reports[1]


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("?target=nothing", "unknown target; known are staging\n"),
        (
            "?target=ws://127.0.0.1/ws",
            "target must be the name of a target of the config, never a URL; known are staging\n",
        ),
        ("?target=STAGING", "unknown target; known are staging\n"),
        ("?target=staging%00", "unknown target; known are staging\n"),
        (f"{STAGING}&probe=everything", "the target has the probes connect, auth, send\n"),
        (f"{STAGING}&probe=SEND", "the target has the probes connect, auth, send\n"),
    ],
)
def test_a_name_that_is_not_known_is_a_400_and_opens_nothing(query, sentence):
    """What is known is said; a URL is told apart, for who comes from blackbox_exporter."""

    async def main(loop):
        async with running(loop) as (daemon, standin):
            return await ask(daemon, query), standin.finished + standin.open_connections

    assert virtual_clock.run(main) == ((400, sentence), 0)


def test_a_long_list_of_names_is_cut():
    """A sentence names the first, and how many there are beside them."""

    async def main(loop):
        async with running(loop, count=MAX_TARGETS_IN_ERROR + 7) as (daemon, _):
            return await ask(daemon, "?target=x")

    status, text = virtual_clock.run(main)

    assert status == 400
    assert text.endswith(f"t{MAX_TARGETS_IN_ERROR - 1} and 7 more\n")


HOSTILE = (
    "ws://{attacker}/ws",
    "wss://{attacker}",
    "//{attacker}/ws",
    "{attacker}",
    "staging@{attacker}",
    "staging#@{attacker}",
    "staging?url=ws://{attacker}/ws",
    "staging/../../{attacker}",
    "staging\r\nHost: {attacker}",
    "staging\0{attacker}",
    "file:///etc/passwd",
    "pool-001",
    "${{token}}",
    "ｓtaging",
    "staging" * 500,
)


@pytest.mark.parametrize("place", ["?target={}", "?target=staging&probe={}", "?target={}&probe={}&debug=true"])
@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text)[:30])
def test_no_parameter_leads_a_token_anywhere(place, text, caplog):
    """No connection to whom a request names, none to the backend either; no line of the log holds the name."""
    caplog.set_level(logging.DEBUG)

    async def main(loop):
        attacked = []
        attacker = await asyncio.start_server(lambda *streams: attacked.append(streams), "127.0.0.1", 0)
        port = attacker.sockets[0].getsockname()[1]
        name = text.format(attacker=f"127.0.0.1:{port}")
        async with running(loop) as (daemon, standin):
            said = await ask(daemon, place.replace("{}", quote(name, safe="")))
            await asyncio.sleep(1)
            connections = standin.finished + standin.open_connections
        attacker.close()
        return said, connections, attacked, str(port)

    (status, sentence), connections, attacked, port = virtual_clock.run(main)

    assert (status, connections, attacked) == (400, 0, [])
    assert sentence.count("\n") == 1
    assert not [record for record in caplog.records if port in record.getMessage()]


def test_no_header_of_a_request_reaches_the_backend(monkeypatch):
    """Whose token is sent, where, as whom: the config says it alone, whatever the client claims to be."""
    orders = []

    class Watched(Session):
        def __init__(self, order, *arguments, **options):
            orders.append(order)
            super().__init__(order, *arguments, **options)

    monkeypatch.setattr(exporter.probing, "Session", Watched)

    async def main(loop):
        async with running(loop) as (daemon, standin):
            headers = {
                "Host": "attacker.example",
                "X-Forwarded-Host": "attacker.example",
                "Authorization": "Bearer of-the-client",
                "Cookie": "of-the-client",
                "Sec-WebSocket-Protocol": "of-the-client",
                "User-Agent": "of-the-client",
                "Origin": "http://attacker.example",
            }
            status, _ = await answered(f"{daemon.url}/probe{STAGING}", **headers)
            return status, [(seen.path, seen.user) for seen in standin.sessions]

    status, seen = virtual_clock.run(main)

    (order,) = orders
    said = repr((order.host, order.resource, dict(order.headers), order.subprotocols))
    assert (status, seen) == (200, [("/ws", "staging-e2e-user-001")])
    assert "attacker" not in said
    assert "of-the-client" not in said


# How much time there is ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["silent", ["silent", "no_close_answer"], "silent:after=tcp", "no_welcome", "deaf"])
@pytest.mark.parametrize(
    ("header", "offset", "timeout", "most"),
    [("3", 0.5, 2.5, 2.75), ("9", 2.0, 7.0, 8.0), ("300", 0.5, 10.0, 12.0), (None, 0.5, 10.0, 12.0)],
)
def test_the_answer_comes_before_the_scrape_gives_up(fault, header, offset, timeout, most):
    """However silent the backend, deaf to our close too; never later than the target's own settings would have it."""

    async def main(loop):
        async with running(loop, fault=fault, options={"timeout_offset": offset}) as (daemon, _):
            began = loop.time()
            status, body = await ask(daemon, STAGING, header)
            return status, shown(body), loop.time() - began

    status, told, took = virtual_clock.run(main)

    assert status == 200
    assert (told["probe_success",], told["probe_timeout_seconds",]) == (0, timeout)
    assert timeout - 0.01 < took < most + 0.01
    (reason,) = {key[2] for key in told if key[0] == "probe_failure_info"}
    assert reason == "timeout"


@pytest.mark.parametrize("header", ["0", "0.5", "0.59"])
def test_a_scrape_timeout_that_leaves_no_time_is_refused(header):
    """A session without time would call a healthy backend down: 400, what to change, and no connection."""

    async def main(loop):
        async with running(loop) as (daemon, standin):
            return await ask(daemon, STAGING, header), standin.finished

    (status, text), connections = virtual_clock.run(main)

    assert (status, connections) == (400, 0)
    assert text == (
        f"a scrape timeout of {header} s leaves no time for a session: raise scrape_timeout to more than 0.6s, "
        "or lower --timeout-offset (0.5 s)\n"
    )


def test_a_shorter_session_holds_its_slot_as_long_as_any():
    """The ledger reckons with the target's own timeout: what may be held counts as held."""

    async def main(loop):
        limits = {"slots_per_identity": 5, "slot_release": "100s"}
        async with running(loop, fault="silent:after=tcp", limits=limits, interval="60s") as (daemon, standin):
            asking = asyncio.ensure_future(ask(daemon, STAGING, "2"))
            await open_at(standin)
            (lease,) = [
                lease for leases in daemon._services.state.ledger._state.leases.values() for lease in leases.values()
            ]
            left = lease.open_until - loop.wall()
            await asking
            return left

    assert virtual_clock.run(main) == pytest.approx(12.0, abs=0.5)


# No room ------------------------------------------------------------------------------------------------------------


def twice(fault, **changes):
    """What the second of two probes in a row is told."""

    async def main(loop):
        async with running(loop, fault=fault, identities=ONE, **changes) as (daemon, standin):
            await ask(daemon)
            before = standin.finished
            second = await ask(daemon)
            await asyncio.sleep(0.5)
            return second, standin.finished - before

    return virtual_clock.run(main)


@pytest.mark.parametrize(
    ("fault", "changes", "cause"),
    [
        (
            None,
            {"limits": {"slots_per_identity": 3, "slot_release": "300s"}, "interval": "320s"},
            Holdup.SLOTS,
        ),
        (
            "slot_limit",
            {"limits": {"slots_per_identity": 5, "slot_release": "300s"}, "interval": "320s"},
            Holdup.IDENTITY,
        ),
        ("http:status=429", {}, Holdup.ENDPOINT),
    ],
)
def test_no_room_is_a_503_with_the_reason(fault, changes, cause):
    """Over budget, resting, rate limited: the sentence of a check, and no connection."""
    (status, text), connections = twice(fault, **changes)

    assert (status, connections) == (503, 0)
    assert text.startswith(REFUSAL_TEXTS[cause])
    assert "The next try is at" in text
    if cause is not Holdup.ENDPOINT:
        assert "probe=connect" in text


def test_a_rejected_key_rests_for_the_probe_too():
    """A rejected token is not sent again by the next probe: a breaker that opens at 3 would be a step nearer."""

    async def main(loop):
        async with running(loop, fault="auth_rejected") as (daemon, _):
            return [await ask(daemon) for _ in range(2)]

    said = virtual_clock.run(main)

    assert [status for status, _ in said] == [200, 503]
    assert said[1][1].startswith(REFUSAL_TEXTS[Holdup.BREAKER_TOKEN])
    assert "--send-token" not in said[1][1], "that is for a person at the command line"


def test_an_identity_that_is_in_use_is_left_alone():
    """The lock is the schedule's own: while its session is open, no probe speaks as the same user."""

    async def main(loop):
        async with running(loop, delay=0.0, fault="deaf", identities=ONE) as (daemon, standin):
            await open_at(standin)
            said = await ask(daemon, STAGING, "0.8")
            return said, standin.open_connections

    assert virtual_clock.run(main) == ((503, f"{REFUSAL_TEXTS[Holdup.BUSY]}\n"), 1)


def test_our_own_trouble_is_no_failure_of_the_backend(tmp_path):
    """A key that is gone: 503 and what to do, with debug the report; no success 0 that would page for the backend."""

    async def main(loop):
        auth = {"jwt": {"key_file": str(tmp_path / "gone"), "claims": harness.CLAIMS}}
        async with running(loop, auth=auth) as (daemon, _):
            return await ask(daemon), await ask(daemon, f"{STAGING}&debug=true")

    (status, text), (explained, report) = virtual_clock.run(main)

    assert (status, explained) == (503, 503)
    assert text.startswith("No session: OUR OWN token could not be made")
    assert "Read the exporter's log line" in text
    assert report.startswith("UNKNOWN  staging")
    assert "probe_success" not in text + report


@pytest.mark.parametrize(
    ("header", "timeout", "asleep"), [(None, "10s", 20), ("4.5", "60s", 2)], ids=["its own deadline", "a shorter one"]
)
def test_a_deadline_that_we_slept_through_is_no_failure_of_the_backend(header, timeout, asleep):
    """An exporter that stood still has proved nothing: 503; how long is too long goes by the time the session had."""

    async def main(loop):
        changes = {"fault": "slow_reply:delay=3", "timeout": timeout, "interval": "2m"}
        async with running(loop, options={"timeout_offset": 2.0}, **changes) as (daemon, standin):
            asking = asyncio.ensure_future(ask(daemon, STAGING, header))
            await open_at(standin)
            await asyncio.sleep(1)
            loop.block(asleep)
            return await asking

    status, text = virtual_clock.run(main)

    assert status == 503
    assert text.startswith("Nothing was proved")


def test_as_many_may_be_asked_for_at_once_as_leave_the_schedule_its_room():
    """A quarter of max_sessions; one more is told so, and may ask again when they are over."""

    async def main(loop):
        async with running(loop, count=3, settings={"max_sessions": 8}) as (daemon, standin):
            await ask(daemon, "?target=t0")  # an unknown key is tried alone
            standin.set_fault("*", "deaf")
            first = [asyncio.ensure_future(ask(daemon, f"?target=t{number}")) for number in (0, 1)]
            await open_at(standin, 2)
            refused = await ask(daemon, "?target=t2")
            answers = await asyncio.gather(*first)
            return refused, [status for status, _ in answers], (await ask(daemon, "?target=t2"))[0]

    assert virtual_clock.run(main) == ((503, f"{FULL}\n"), [200, 200], 200)


# Two who ask --------------------------------------------------------------------------------------------------------


def together(*questions, fault="no_welcome"):
    """The answers to questions of which each is asked when the one before has been under way for a second.

    And how many connections that cost, and when each was answered.
    """

    async def main(loop):
        async with running(loop, fault=fault) as (daemon, standin):
            began = loop.time()

            async def timed(question):
                said = await ask(daemon, *question)
                return (*said, loop.time() - began)

            asking = []
            for question in questions:
                asking.append(asyncio.ensure_future(timed(question)))
                await open_at(standin)
                await asyncio.sleep(1)
            answers = await asyncio.gather(*asking)
            return answers, standin.finished + standin.open_connections

    return virtual_clock.run(main)


def test_two_prometheus_servers_see_the_same_session():
    """A hanging backend is probed once for both: one connection, one page, and the second waits only for its end."""
    ((one, page, first), (two, same, second)), connections = together((STAGING, "10"), (STAGING, "10"))

    assert (one, two, connections) == (200, 200, 1)
    assert page == same
    assert shown(page)["probe_success",] == 0
    assert first == pytest.approx(second, abs=0.01) == pytest.approx(9.5, abs=0.1)


def test_who_asks_for_less_is_answered_by_the_deeper_session():
    """It connects too: connect passed, whatever failed later; a person with debug sees the whole of it."""
    ((_, page, _), (status, shallow, _), (_, text, _)), connections = together(
        (STAGING,), (f"{STAGING}&probe=connect",), (f"{STAGING}&debug=true",)
    )

    assert (status, connections) == (200, 1)
    assert (shown(page)["probe_success",], shown(shallow)["probe_success",]) == (0, 1)
    assert text.startswith("CRITICAL  staging")


def test_who_asks_for_more_is_refused_while_less_is_under_way():
    """A shallow session proves nothing of what is deeper."""
    (_, (status, text, _)), connections = together(
        (f"{STAGING}&probe=connect",), (STAGING,), fault="slow_upgrade:delay=5"
    )

    assert (status, text, connections) == (503, f"{BUSY}\n", 1)


def test_a_hurried_session_is_not_passed_off_on_who_has_time():
    """Else a stranger with a tiny scrape timeout could make other people's probes fail."""
    ((_, page, _), (status, text, _)), connections = together((STAGING, "3"), (STAGING, "10"))

    assert shown(page)["probe_success",] == 0
    assert (status, text, connections) == (503, f"{BUSY}\n", 1)


def test_who_is_in_a_hurry_is_answered_in_time_and_ends_nothing():
    """The session of the first goes on; the second is told in time that it is not over."""
    ((first, _, ended), (status, text, at)), connections = together((STAGING, "10"), (STAGING, "3"))

    assert (first, status, text, connections) == (200, 503, f"{LASTING}\n", 1)
    assert at < 1 + 3
    assert ended == pytest.approx(9.5, abs=0.1)


def test_a_check_is_a_session_of_its_own():
    """Who has just mended something wants to know how it is now, not how it was when a scrape began."""

    async def main(loop):
        async with running(loop, fault="no_welcome") as (daemon, standin):
            asking = asyncio.ensure_future(ask(daemon))
            await open_at(standin)
            check = await daemon._http_api.check("staging", "send")
            await asking
            return check.status, check.text

    assert virtual_clock.run(main) == (503, f"{BUSY}\n")


def test_those_who_wait_for_one_session_are_bounded():
    """Each holds a connection of ours: one more than may wait is told so at once."""

    async def main(loop):
        async with running(loop, fault="no_welcome") as (daemon, standin):
            asking = [asyncio.ensure_future(ask(daemon))]
            await open_at(standin)
            asking += [asyncio.ensure_future(ask(daemon)) for _ in range(MAX_WAITERS + 3)]
            answers = await asyncio.gather(*asking)
            return [text for status, text in answers if status == 503], standin.finished

    refused, connections = virtual_clock.run(main)

    assert refused == [f"{CROWDED}\n"] * 4
    assert connections == 1


# Who goes away, and the end -----------------------------------------------------------------------------------------


async def knock(daemon):
    """Ask, and hold the line."""
    place = urlsplit(daemon.url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    writer.write(f"GET /probe{STAGING} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return reader, writer


@pytest.mark.parametrize("rude", [False, True], ids=["closed", "aborted"])
def test_a_client_that_goes_away_ends_nothing_half_way(rude, caplog):
    """The session gets its reply, closes with 1000 and settles: the slot is counted from its end, not its timeout."""

    async def main(loop):
        limits = {"slots_per_identity": 5, "slot_release": "100s"}
        async with running(loop, fault="slow_reply:delay=3", limits=limits, interval="60s") as (daemon, standin):
            _, writer = await knock(daemon)
            await open_at(standin)
            writer.transport.abort() if rude else writer.close()
            (seen,) = await standin.wait_sessions(1, timeout=60)
            await asyncio.sleep(0.1)
            (lease,) = [
                lease for leases in daemon._services.state.ledger._state.leases.values() for lease in leases.values()
            ]
            return seen, lease.open_until - loop.wall(), daemon._on_demand.in_flight, (await ask(daemon))[0]

    seen, open_for, in_flight, next_one = virtual_clock.run(main)

    assert (seen.answered, seen.close_received, seen.first_closer, seen.how) == (1, 1000, "client", "close")
    assert open_for <= 0
    assert (in_flight, next_one) == (0, 200)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_a_stop_ends_a_session_with_1000_and_tells_who_waits():
    """It may finish for a while, then it is told to close; the ledger knows; nothing is left."""

    async def main(loop):
        async with running(loop, fault="deaf", timeout="15s") as (daemon, standin):
            asking = asyncio.ensure_future(ask(daemon))
            await open_at(standin)
            began = loop.time()
            stopping = asyncio.ensure_future(daemon.stop())
            await asyncio.sleep(1)
            late = await ask(daemon, f"{STAGING}&probe=connect"), await daemon._http_api.check("staging", "send")
            said = await asking
            await stopping
            (seen,) = await standin.wait_sessions(1)
            return said, late, loop.time() - began, seen

    said, (joined, check), took, seen = virtual_clock.run(main)

    assert said == joined == (503, f"{EXPORTER_STOPPING}\n")
    assert (check.status, check.text) == (503, f"{EXPORTER_STOPPING}\n")
    assert (seen.close_received, seen.first_closer, seen.how) == (1000, "client", "close")
    assert FINISH_GRACE_SECONDS <= round(took, 6) < FINISH_GRACE_SECONDS + STOP_GRACE_SECONDS


def test_a_stop_lets_a_session_finish_that_is_about_to():
    """Who asked still gets the answer."""

    async def main(loop):
        async with running(loop, fault="slow_reply:delay=1") as (daemon, standin):
            asking = asyncio.ensure_future(ask(daemon))
            await open_at(standin)
            await daemon.stop()
            return await asking

    status, body = virtual_clock.run(main)

    assert status == 200
    assert shown(body)["probe_success",] == 1


def test_nothing_begins_once_it_stops():
    """A probe that comes while the schedule's sessions are being closed is refused, and opens nothing."""

    async def main(loop):
        async with running(loop, delay=0.0, fault="deaf") as (daemon, standin):
            await open_at(standin)
            stopping = asyncio.ensure_future(daemon.stop())
            await asyncio.sleep(1)
            said = await ask(daemon)
            await stopping
            return said, standin.finished

    assert virtual_clock.run(main) == ((503, f"{EXPORTER_STOPPING}\n"), 1)


def test_a_defect_is_a_500_and_is_logged_even_if_nobody_waits(monkeypatch, caplog):
    """The next one may ask as if nothing had happened."""

    async def broken(*_):
        await asyncio.sleep(1)
        raise ZeroDivisionError

    async def main(loop):
        async with running(loop) as (daemon, _):
            monkeypatch.setattr(Checker, "check_once", broken)
            told = await ask(daemon)
            job = daemon._services.jobs["staging"]
            waiting = asyncio.ensure_future(daemon._on_demand.run(job, job.probes[-1]))
            await asyncio.sleep(0.5)
            waiting.cancel()
            await asyncio.sleep(1)
            monkeypatch.undo()
            return told, (await ask(daemon))[0]

    told, after = virtual_clock.run(main)

    assert told == (500, "internal error\n")
    assert after == 200
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [record.exc_info[0] for record in errors] == [ZeroDivisionError] * 2


# What it leaves alone -----------------------------------------------------------------------------------------------


LEDGER = ("ws_factory_slots_held", "ws_factory_slots_budget", "ws_probe_identity_resting")
"""What the schedule's page says of the ledger, which is shared."""


async def scheduled(daemon):
    """What /metrics says of scheduled probing."""
    _, body = await ask(daemon, "", path="/metrics")
    return {
        key: figure
        for key, figure in shown(body).items()
        if key[0].startswith(("ws_probe_", "ws_factory_")) and key[0] not in LEDGER
    }


@pytest.mark.parametrize("fault", [None, "slot_limit:limit=5", "http:status=503", "zombie"])
def test_a_probe_changes_no_figure_of_scheduled_probing(fault):
    """No counter, no histogram, no gauge of it, whether it passes or fails; not while it runs either."""

    async def main(loop):
        async with running(loop, fault=fault) as (daemon, standin):
            before = await scheduled(daemon)
            asking = asyncio.ensure_future(ask(daemon))
            await asyncio.sleep(0.01)
            during = await scheduled(daemon)
            said = await asking
            return before, during, await scheduled(daemon), said[0], standin.finished

    before, during, after, status, connections = virtual_clock.run(main)

    assert (status, connections) == (200, 1)
    assert before == during == after


def test_beside_a_schedule_every_cycle_is_counted_once_and_nothing_else():
    """Probes every 10 s through ten minutes: cycles and attempts are those of the schedule, and none is skipped."""

    async def main(loop):
        told = []
        options = {"on_result": told.append}
        async with running(loop, delay=0.0, options=options, limits=None) as (daemon, _):
            statuses = []
            for _ in range(60):
                statuses.append((await ask(daemon))[0])
                await asyncio.sleep(10)
            return await scheduled(daemon), told, statuses

    figures, told, statuses = virtual_clock.run(main)

    assert set(statuses) == {200}
    assert len(told) == pytest.approx(30, abs=1)
    for name in ("ws_probe_cycles_total", "ws_probe_attempts_total", "ws_probe_duration_seconds_count"):
        assert figures[name, "staging", "send"] == len(told)
    assert not any(figure for key, figure in figures.items() if key[0] == "ws_probe_skips_total")


def test_probes_never_starve_the_schedule_of_its_slots():
    """Asked for every 5 s from before the first cycle on: the schedule loses none, the probes are refused."""

    async def main(loop):
        limits = {"slots_per_identity": 5, "slot_release": "100s"}
        async with running(loop, delay=1.0, limits=limits, interval="30s", timeout="5s") as (daemon, standin):
            statuses = []
            for _ in range(120):
                statuses.append((await ask(daemon))[0])
                await asyncio.sleep(5)
            return await scheduled(daemon), statuses, standin.finished

    figures, statuses, connections = virtual_clock.run(main)

    assert not any(figure for key, figure in figures.items() if key[0] == "ws_probe_skips_total")
    assert set(statuses) == {200, 503}
    assert connections == statuses.count(200) + figures["ws_probe_cycles_total", "staging", "connect"]


def test_identities_of_its_own_are_used_where_the_target_names_them():
    """As a check does: it takes none of the schedule's slots, and may be asked where the schedule has none left."""

    async def main(loop):
        limits = {"slots_per_identity": 2, "slot_release": "300s"}
        own = {"oncall": "staging-oncall-user", "other": "staging-oncall-user-002"}
        async with running(loop, identities=ONE, check_identities=own, limits=limits, interval="320s") as (
            daemon,
            standin,
        ):
            statuses = [(await ask(daemon))[0] for _ in range(3)]
            return statuses, [seen.user for seen in standin.sessions]

    statuses, users = virtual_clock.run(main)

    assert statuses == [200, 200, 503]
    assert users == ["staging-oncall-user", "staging-oncall-user-002"]


def test_the_identities_take_turns():
    """One that is broken shows, instead of one that works being asked for ever."""

    async def main(loop):
        async with running(loop) as (daemon, standin):
            for _ in range(4):
                await ask(daemon)
            return [seen.user for seen in standin.sessions]

    users = [*harness.POOL.values()]
    assert virtual_clock.run(main) == [*users, users[0]]


def test_a_step_of_the_clock_is_seen_before_the_ledger_is_asked():
    """A ledger of yesterday's clock would think slots free."""

    async def main(loop):
        limits = {"slots_per_identity": 3, "slot_release": "300s"}
        async with running(loop, identities=ONE, limits=limits, interval="320s") as (daemon, _):
            first = await ask(daemon)
            loop.step(3600)
            return first[0], (await ask(daemon))[0]

    assert virtual_clock.run(main) == (200, 503)


def test_the_ledger_is_kept_where_all_on_the_machine_see_it(tmp_path):
    """What /probe has open is in the state file: a check in another process finds the identity in use."""

    async def main(loop):
        state = LedgerFile.open(tmp_path / "state", wall=loop.wall)
        async with running(loop, fault="deaf", identities=ONE, state=state) as (daemon, standin):
            asking = asyncio.ensure_future(ask(daemon))
            await open_at(standin)
            other = LedgerFile.open(tmp_path / "state", wall=loop.wall)
            (job,) = daemon._services.jobs.values()
            checked = await Checker(job, other, clock=loop.clock).check_once(job.probes[-1], TimeLimits(0.1, 0.2))
            other.close()
            await asking
            return checked.refusal

    assert virtual_clock.run(main) == REFUSAL_TEXTS[Holdup.BUSY]


def test_garbage_is_left_alone_while_a_session_is_open():
    """The sessions that are asked for count as in flight, as the schedule's do."""

    async def main(loop):
        async with running(loop, fault="deaf") as (daemon, standin):
            asking = asyncio.ensure_future(ask(daemon))
            await open_at(standin)
            during = daemon._in_flight
            await asking
            return during, daemon._in_flight

    assert virtual_clock.run(main) == (1, 0)
