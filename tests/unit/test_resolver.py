"""Names become addresses, and a dead name server makes nobody else wait."""

import asyncio
import contextlib
import gc
import socket
import subprocess
import sys
import threading
import time

import pytest
from support.raw_server import both_loops, until

from exporter.resolver import (
    MAX_FAILED_ADDRESSES,
    MAX_LOOKUPS_IN_FLIGHT,
    RETRY_AFTER_CONNECTS,
    AddressHealth,
    Resolver,
    choose_address,
)
from exporter.result import ErrorKind, ProbeError

FOUND = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.7", 0))]
FOUND_IP6 = [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::7", 0, 5, 9))]


class NameServer:
    """A look-up that hangs for hosts named `dead…` until `revive`; it keeps what it was asked."""

    def __init__(self, found=FOUND):
        self.found = found
        self.asked = []
        self.alive = threading.Event()

    def __call__(self, host, port, family, kind):
        self.asked.append((host, port, family, kind))
        if host.startswith("dead"):
            self.alive.wait(20)
        return self.found


@pytest.fixture
def names():
    server = NameServer()
    yield server
    server.alive.set()
    for thread in threading.enumerate():
        if thread.name.startswith("resolve-"):
            thread.join(5)


@contextlib.contextmanager
def dns_fault():
    with pytest.raises(ProbeError) as caught:
        yield caught
    assert caught.value.kind is ErrorKind.DNS


@pytest.mark.parametrize(
    ("host", "protocol", "address"),
    [
        ("127.0.0.1", "any", (socket.AF_INET, ("127.0.0.1", 81))),
        ("127.0.0.1", "ip4", (socket.AF_INET, ("127.0.0.1", 81))),
        ("::1", "any", (socket.AF_INET6, ("::1", 81, 0, 0))),
        ("::1", "ip6", (socket.AF_INET6, ("::1", 81, 0, 0))),
    ],
)
async def test_an_ip_address_is_not_looked_up(names, host, protocol, address):
    """An IP address in the URL resolves to itself without a look-up."""
    assert await Resolver(names).resolve(host, 81, protocol) == (address,)
    assert names.asked == []


@pytest.mark.parametrize(("host", "protocol"), [("127.0.0.1", "ip6"), ("::1", "ip4")])
async def test_an_ip_address_of_the_other_family_is_a_dns_error(names, host, protocol):
    """An IP address that `ip_protocol` excludes fails as `dns`."""
    with dns_fault():
        await Resolver(names).resolve(host, 81, protocol)


@both_loops
async def test_the_machines_own_names_resolve():
    """The operating system's look-up is the one in use."""
    ((family, where),) = await Resolver().resolve("localhost", 8443, "ip4")

    assert (family, where) == (socket.AF_INET, ("127.0.0.1", 8443))


@pytest.mark.parametrize(
    ("protocol", "family"), [("any", socket.AF_UNSPEC), ("ip4", socket.AF_INET), ("ip6", socket.AF_INET6)]
)
async def test_ip_protocol_is_passed_to_getaddrinfo(names, protocol, family):
    """`ip_protocol` becomes the address family of the look-up."""
    await Resolver(names).resolve("alive", 81, protocol)

    assert names.asked == [("alive", None, family, socket.SOCK_STREAM)]


async def test_addresses_keep_their_order_without_duplicates():
    """An IPv6 scope survives, the port is the target's, and an address that the system gives twice counts once."""
    resolver = Resolver(NameServer(FOUND_IP6 + FOUND + FOUND))

    assert await resolver.resolve("alive", 443, "any") == (
        (socket.AF_INET6, ("::7", 443, 5, 9)),
        (socket.AF_INET, ("127.0.0.7", 443)),
    )


ADDRESSES = tuple((socket.AF_INET, (f"127.0.0.{number}", 80)) for number in (1, 2, 3))


@pytest.mark.parametrize(
    ("failed", "last"),
    [((), 1), (("127.0.0.1",), 2), (("127.0.0.2",), 1), (("127.0.0.2", "127.0.0.1"), 3), (("127.0.0.9",), 1)],
)
def test_an_address_that_has_not_failed_is_tried_first(failed, last):
    """The system's order counts among those that have not failed; what the name has no more does not matter."""
    assert choose_address(ADDRESSES, failed) == ADDRESSES[last - 1]


def test_failed_addresses_are_tried_in_turn():
    """If all have failed, the one that failed longest ago is next, so that the recovery of any is noticed."""
    memory, tried = AddressHealth(), []
    for _ in range(6):
        tried.append(choose_address(ADDRESSES, memory.failed)[1][0])
        memory.record_connect(tried[-1], answered=False)

    assert tried == ["127.0.0.1", "127.0.0.2", "127.0.0.3"] * 2


def test_an_address_that_failed_is_tried_again_after_some_connects_elsewhere():
    """A dead first address is met once in `RETRY_AFTER_CONNECTS` + 1 sessions, and used again once it answers."""
    memory, tried = AddressHealth(), []
    for number in range(2 * RETRY_AFTER_CONNECTS + 4):
        address = choose_address(ADDRESSES[:2], memory.failed)[1][0]
        tried.append(address)
        memory.record_connect(address, answered=address == "127.0.0.2" or number > RETRY_AFTER_CONNECTS)

    elsewhere = ["127.0.0.2"] * RETRY_AFTER_CONNECTS
    assert tried == ["127.0.0.1", *elsewhere, "127.0.0.1", *["127.0.0.1"] * (RETRY_AFTER_CONNECTS + 2)]


def test_failed_addresses_are_bounded_in_number():
    """A name with ever new dead addresses costs bounded memory; the oldest are forgotten."""
    memory = AddressHealth()
    for number in range(MAX_FAILED_ADDRESSES + 3):
        memory.record_connect(f"10.0.0.{number}", answered=False)

    assert memory.failed == tuple(f"10.0.0.{number}" for number in range(3, MAX_FAILED_ADDRESSES + 3))


@pytest.mark.parametrize(
    "error", [socket.gaierror(-2, "not known: secret.example"), UnicodeError("bad"), OSError(5, "x"), ValueError("nul")]
)
async def test_a_failed_look_up_is_a_dns_error_without_the_systems_text(error):
    """Any error of the look-up becomes `dns`, without its text."""

    def look_up(*_):
        raise error

    with dns_fault() as caught:
        await Resolver(look_up).resolve("nowhere.invalid", 81, "any")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("host", ["a" * 70 + ".invalid", "a..b"])
async def test_a_name_that_idna_refuses_is_a_dns_error(host):
    """A name that IDNA refuses fails as `dns` and leaves the resolver usable."""
    with dns_fault():
        await Resolver().resolve(host, 81, "any")


async def test_a_look_up_without_an_address_is_a_dns_error():
    """A look-up that returns no address fails as `dns`."""
    with dns_fault():
        await Resolver(NameServer([])).resolve("alive", 81, "any")


@both_loops
async def test_a_look_up_that_hangs_delays_no_other_host(names):
    """While many hosts hang, another one resolves at once."""
    resolver = Resolver(names)
    hanging = [asyncio.ensure_future(resolver.resolve(f"dead{n}", 81, "any")) for n in range(40)]
    await until(lambda: len(names.asked) == 40)

    started = time.monotonic()
    await resolver.resolve("alive", 81, "any")

    assert time.monotonic() - started < 1
    assert not any(task.done() for task in hanging)
    names.alive.set()
    assert await asyncio.gather(*hanging) == [((socket.AF_INET, ("127.0.0.7", 81)),)] * 40


async def test_concurrent_look_ups_of_one_host_are_one(names):
    """Targets of one host share one look-up in flight, whatever their ports; each family has its own."""
    resolver = Resolver(names)
    asking = [asyncio.ensure_future(resolver.resolve("dead", port, "any")) for port in (80, 81, 81)]
    asking.append(asyncio.ensure_future(resolver.resolve("dead", 80, "ip4")))
    await until(lambda: len(names.asked) == 2)
    names.alive.set()

    assert [where[1] for ((_, where),) in await asyncio.gather(*asking)] == [80, 81, 81, 80]
    assert len(names.asked) == 2


async def test_look_ups_are_not_cached(names):
    """The next session looks the name up again, so that a changed record is seen at once."""
    resolver = Resolver(names)
    for _ in range(3):
        await resolver.resolve("alive", 81, "any")

    assert len(names.asked) == 3


async def test_hanging_look_ups_are_bounded_in_number(names):
    """Beyond `MAX_LOOKUPS_IN_FLIGHT` a host fails as `dns`; a host in flight may be joined; later all resolve again."""
    resolver = Resolver(names)
    hanging = [asyncio.ensure_future(resolver.resolve(f"dead{n}", 81, "any")) for n in range(MAX_LOOKUPS_IN_FLIGHT)]
    await until(lambda: len(names.asked) == MAX_LOOKUPS_IN_FLIGHT)
    with dns_fault():
        await resolver.resolve("alive", 81, "any")
    joined = asyncio.ensure_future(resolver.resolve("dead0", 82, "any"))

    names.alive.set()

    assert len(await asyncio.gather(*hanging, joined)) == MAX_LOOKUPS_IN_FLIGHT + 1
    assert await resolver.resolve("alive", 81, "any")


async def test_a_cancelled_caller_leaves_a_shared_look_up_running(names):
    """A session that ends at its deadline leaves the look-up to those that still wait."""
    resolver = Resolver(names)
    patient = asyncio.ensure_future(resolver.resolve("dead", 81, "any"))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await resolver.resolve("dead", 81, "any")
    names.alive.set()

    assert await patient == ((socket.AF_INET, ("127.0.0.7", 81)),)


async def test_a_failed_look_up_without_callers_logs_nothing():
    """If all callers are cancelled, asyncio reports no exception that was never retrieved."""
    complaints, release = [], threading.Event()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))

    def look_up(*_):
        release.wait(5)
        raise socket.gaierror(-2, "x")

    resolver = Resolver(look_up)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await resolver.resolve("nowhere", 81, "any")
    release.set()
    await until(lambda: not resolver._pending)
    gc.collect()

    assert complaints == []


async def test_a_look_up_without_a_thread_is_an_oserror(names, monkeypatch):
    """If no thread starts, the look-up raises OSError, and the next one works again."""
    resolver = Resolver(names)

    def no_thread(_):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        with pytest.raises(OSError, match="no thread"):
            await resolver.resolve("alive", 81, "any")

    assert await resolver.resolve("alive", 81, "any") == ((socket.AF_INET, ("127.0.0.7", 81)),)


def test_an_answer_after_the_loops_end_is_dropped(names):
    """A look-up that comes back when the loop has closed breaks nothing (a thread's exception would fail this test)."""

    async def give_up():
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.05):
                await Resolver(names).resolve("dead", 81, "any")

    asyncio.run(give_up())
    waiting = [thread for thread in threading.enumerate() if thread.name == "resolve-dead"]
    names.alive.set()
    for thread in waiting:
        thread.join(5)

    assert len(waiting) == 1
    assert not waiting[0].is_alive()


HANGS = """
import asyncio, threading
from exporter.resolver import Resolver

async def main():
    try:
        async with asyncio.timeout(0.05):
            await Resolver(lambda *_: threading.Event().wait(60)).resolve("dead", 1, "any")
    except TimeoutError:
        print("gave up")

asyncio.run(main())
"""


def test_a_hanging_look_up_does_not_delay_the_exit():
    """The interpreter exits while a look-up still hangs."""
    done = subprocess.run([sys.executable, "-c", HANGS], capture_output=True, text=True, timeout=20, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (0, "gave up\n", "")
