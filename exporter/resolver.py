"""Names become addresses, and a dead name server makes nobody else wait.

Rule 1: one look-up in flight per host and family, whatever the port; who asks meanwhile waits for the same answer.
Rule 2: look-ups run on daemon threads of their own, bounded in number: the loop's executor would queue a living host
behind dead ones and hold up the exit.
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
"""Look-ups that may hang at once; a host beyond them fails as `dns`."""

RETRY_AFTER_CONNECTS: Final = 10
"""Answered connects to other addresses after which one that failed is tried again."""

MAX_FAILED_ADDRESSES: Final = 64
"""Failed addresses of one name that are remembered."""

LookUp = Callable[..., list[tuple[Any, ...]]]
_Question = tuple[str, str]
_Found = tuple[Address, ...]


class Resolver:
    """Resolves by the operating system; the addresses of a name stand in the order of RFC 6724, each once."""

    def __init__(self, look_up: LookUp = socket.getaddrinfo) -> None:
        self._look_up = look_up
        self._asked: dict[_Question, asyncio.Future[_Found]] = {}

    async def resolve(self, host: str, port: int, protocol: str) -> _Found:
        """The addresses of `host`, at least one; `protocol` is any, ip4 or ip6.

        Raises Fault (dns), OSError if no thread can start.
        """
        literal = _literal(host, port, protocol)
        if literal is not None:
            return (literal,)
        question = (host, protocol)
        answer = self._asked.get(question)
        if answer is None:
            answer = self._ask(question)
        return tuple((family, (where[0], port, *where[2:])) for family, where in await asyncio.shield(answer))

    def _ask(self, question: _Question) -> "asyncio.Future[_Found]":
        if len(self._asked) >= MAX_LOOKUPS_IN_FLIGHT:
            raise ProbeError(ErrorKind.DNS, "too many look-ups hang")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[_Found] = loop.create_future()
        answer.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody need be waiting any more
        self._asked[question] = answer

        def tell(found: _Found | Exception) -> None:
            self._asked.pop(question, None)
            if answer.done():
                return
            if isinstance(found, Exception):
                answer.set_exception(found)
            else:
                answer.set_result(found)

        def work() -> None:
            found = self._all(question)
            with suppress(RuntimeError):  # the loop has closed: nobody waits
                loop.call_soon_threadsafe(tell, found)

        try:
            threading.Thread(target=work, name=f"resolve-{question[0]}", daemon=True).start()
        except RuntimeError:  # else this host would wait for ever for an answer that nobody seeks
            del self._asked[question]
            raise OSError(errno.EAGAIN, "no thread for a look-up") from None
        return answer

    def _all(self, question: _Question) -> _Found | Exception:
        """All addresses; else a Fault, or the OSError that keeps this process from asking at all."""
        host, protocol = question
        try:
            found = self._look_up(host, None, FAMILIES[protocol], socket.SOCK_STREAM)
        except socket.gaierror as error:
            return _own_trouble() or ProbeError(ErrorKind.DNS, f"gaierror {error.errno}")
        except (OSError, ValueError) as error:  # UnicodeError too: a label that IDNA cannot encode
            return _own_trouble() or ProbeError(ErrorKind.DNS, type(error).__name__)
        addresses = tuple(dict.fromkeys((family, where) for family, _, _, _, where in found))
        return addresses or ProbeError(ErrorKind.DNS, "no address")


def shown(address: Address) -> str:
    """An address as text, without its port."""
    return str(address[1][0])


class AddressHealth:
    """Which addresses of one name took no TCP connection when they were last tried.

    A client that cannot connect to one address goes on to the next (RFC 8305 section 5); a session tries one only, so
    the next session goes on. One that failed is tried again after `RETRY_AFTER_CONNECTS` connects elsewhere, counted
    and not timed: so it is tried again whatever the schedule, and a name that half works does not fail in every second
    session.
    """

    def __init__(self) -> None:
        self._failed: dict[str, int] = {}  # the address, and how many connects elsewhere were answered since

    @property
    def failed(self) -> tuple[str, ...]:
        """Those to be tried after all others, the one that failed longest ago first."""
        return tuple(self._failed)

    def note(self, address: str, *, answered: bool) -> None:
        """Keep whether the address took a TCP connection; what came of the connection does not matter."""
        self._failed.pop(address, None)
        if answered:
            self._failed = {
                other: times + 1 for other, times in self._failed.items() if times + 1 < RETRY_AFTER_CONNECTS
            }
        else:
            self._failed[address] = 0
            if len(self._failed) > MAX_FAILED_ADDRESSES:
                del self._failed[next(iter(self._failed))]


def chosen(found: Sequence[Address], failed: Sequence[str]) -> Address:
    """The first address that is not among those that failed; if all are, the one that failed longest ago."""
    return min(found, key=lambda address: failed.index(text) + 1 if (text := shown(address)) in failed else 0)


def _own_trouble() -> OSError | None:
    """Why a look-up of ours had to fail: glibc says "no such name" too when it cannot open a socket to ask."""
    try:
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close()
    except OSError as error:
        return error
    return None


def _literal(host: str, port: int, protocol: str) -> Address | None:
    """An address that needs no look-up; raises Fault if it is of the other family than asked for."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except OSError:
            continue
        if FAMILIES[protocol] not in (socket.AF_UNSPEC, family):
            raise ProbeError(ErrorKind.DNS, f"the url's address is not {protocol}")
        return family, (host, port) if family == socket.AF_INET else (host, port, 0, 0)
    return None
