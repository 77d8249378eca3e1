"""Resolves host names; a dead name server delays only the sessions that need it.

Rule 1: there is one look-up in flight per host and family, whatever the port; all callers share its result.
Rule 2: look-ups run on daemon threads of their own, bounded in number: in the loop's executor a living host would queue
behind dead ones, and the exit would wait for them.
"""

import asyncio
import errno
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

from exporter.result import Address, ErrorKind, ProbeError

FAMILIES: Final = {"any": socket.AF_UNSPEC, "ip4": socket.AF_INET, "ip6": socket.AF_INET6}
MAX_LOOKUPS_IN_FLIGHT: Final = 128
"""Look-ups in flight at once; one more fails as `dns`."""

RETRY_AFTER_CONNECTS: Final = 10
"""Answered connects to other addresses after which a failed address is tried again."""

MAX_FAILED_ADDRESSES: Final = 64
"""Failed addresses of one name that are remembered."""

LookUpFunction = Callable[..., list[tuple[Any, ...]]]
_Query = tuple[str, str]
_Addresses = tuple[Address, ...]


class Resolver:
    """Resolves by the operating system. The addresses of a name come in the order of RFC 6724, each once."""

    def __init__(self, look_up: LookUpFunction = socket.getaddrinfo) -> None:
        self._look_up = look_up
        self._pending: dict[_Query, asyncio.Future[_Addresses]] = {}

    async def resolve(self, host: str, port: int, protocol: str) -> _Addresses:
        """Return the addresses of `host`, at least one; `protocol` is any, ip4 or ip6.

        Raises ProbeError (dns), OSError if no thread can start.
        """
        literal = _literal(host, port, protocol)
        if literal is not None:
            return (literal,)
        query = (host, protocol)
        answer = self._pending.get(query)
        if answer is None:
            answer = self._ask(query)
        return tuple((family, (sockaddr[0], port, *sockaddr[2:])) for family, sockaddr in await asyncio.shield(answer))

    def _ask(self, query: _Query) -> "asyncio.Future[_Addresses]":
        if len(self._pending) >= MAX_LOOKUPS_IN_FLIGHT:
            raise ProbeError(ErrorKind.DNS, "too many look-ups hang")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[_Addresses] = loop.create_future()
        answer.add_done_callback(lambda done: done.cancelled() or done.exception())  # all callers may be cancelled
        self._pending[query] = answer

        def deliver(result: _Addresses | Exception) -> None:
            self._pending.pop(query, None)
            if answer.done():
                return
            if isinstance(result, Exception):
                answer.set_exception(result)
            else:
                answer.set_result(result)

        def run_look_up() -> None:
            result = self._look_up_all(query)
            with suppress(RuntimeError):  # the loop has closed
                loop.call_soon_threadsafe(deliver, result)

        try:
            threading.Thread(target=run_look_up, name=f"resolve-{query[0]}", daemon=True).start()
        except RuntimeError:  # else every later session of this host would wait for this answer
            del self._pending[query]
            raise OSError(errno.EAGAIN, "no thread for a look-up") from None
        return answer

    def _look_up_all(self, query: _Query) -> _Addresses | Exception:
        """Return all addresses; else a ProbeError, or the OSError that keeps this process from asking."""
        host, protocol = query
        try:
            results = self._look_up(host, None, FAMILIES[protocol], socket.SOCK_STREAM)
        except socket.gaierror as error:
            return _local_error() or ProbeError(ErrorKind.DNS, f"gaierror {error.errno}")
        except (OSError, ValueError) as error:  # UnicodeError too: a label that IDNA cannot encode
            return _local_error() or ProbeError(ErrorKind.DNS, type(error).__name__)
        addresses = tuple(dict.fromkeys((family, sockaddr) for family, _, _, _, sockaddr in results))
        return addresses or ProbeError(ErrorKind.DNS, "no address")


def address_text(address: Address) -> str:
    """Return an address as text, without its port."""
    return str(address[1][0])


class AddressHealth:
    """The addresses of one name whose last TCP connect failed.

    A client that cannot connect to one address goes on to the next (RFC 8305 section 5). A session tries one address
    only, so the next session goes on. A failed address is tried again after `RETRY_AFTER_CONNECTS` connects elsewhere:
    counted, not timed, so that a name with one dead address does not fail in every second session, whatever the
    schedule.
    """

    def __init__(self) -> None:
        self._failed: dict[str, int] = {}  # address text → answered connects elsewhere since

    @property
    def failed(self) -> tuple[str, ...]:
        """The failed addresses as text, the one that failed longest ago first."""
        return tuple(self._failed)

    def record_connect(self, address: str, *, answered: bool) -> None:
        """Record whether the address accepted a TCP connection, whatever came of it."""
        self._failed.pop(address, None)
        if answered:
            self._failed = {
                other: times + 1 for other, times in self._failed.items() if times + 1 < RETRY_AFTER_CONNECTS
            }
        else:
            self._failed[address] = 0
            if len(self._failed) > MAX_FAILED_ADDRESSES:
                del self._failed[next(iter(self._failed))]


def choose_address(addresses: Sequence[Address], failed: Sequence[str]) -> Address:
    """Return the first address that has not failed; if all have, the one that failed longest ago."""
    return min(
        addresses, key=lambda address: failed.index(text) + 1 if (text := address_text(address)) in failed else 0
    )


def _local_error() -> OSError | None:
    """Return why no socket can be opened: glibc then says "no such name" although it could not ask."""
    try:
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close()
    except OSError as error:
        return error
    return None


def _literal(host: str, port: int, protocol: str) -> Address | None:
    """Return the address if `host` is a literal; raises ProbeError (dns) if its family is not `protocol`."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except OSError:
            continue
        if FAMILIES[protocol] not in (socket.AF_UNSPEC, family):
            raise ProbeError(ErrorKind.DNS, f"the url's address is not {protocol}")
        return family, (host, port) if family == socket.AF_INET else (host, port, 0, 0)
    return None
