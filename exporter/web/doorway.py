"""How the HTTP side is reached: addresses, sockets handed over, paths, and the file of the terms.

Rule 1: `read_doorway` opens nothing, and says every mistake at once.
"""

import socket
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from exporter.host import NothingHandedOver, handed_over
from exporter.web.listen import FLAG, Address, ListenProblem, bind, parse
from exporter.web.paths import Paths, read_paths
from exporter.web.secure import NAME, Sites

SYSTEMD: Final = "--web.systemd-socket"
ALLOWED: Final = "--web.allowed-host"


@dataclass(frozen=True, slots=True)
class Doorway:
    """`from_systemd`: the sockets are those that systemd hands over, and `listen` is empty.

    `allowed`: names of hosts whose pages may change something, beside those of `listen` and of the external URL.
    """

    listen: tuple[Address, ...] = ()
    from_systemd: bool = False
    paths: Paths = field(default_factory=Paths)
    config_file: Path | None = None
    allowed: tuple[str, ...] = ()

    @classmethod
    def of(cls, listen: "Address | Doorway") -> "Doorway":
        """An address alone is a doorway without terms."""
        return listen if isinstance(listen, Doorway) else cls((listen,))

    @property
    def sites(self) -> Sites:
        """Whose pages may change something."""
        return Sites.of((address.host for address in self.listen), self.allowed, self.paths.external)

    def sockets(self) -> list[socket.socket]:
        """All of them listening, or none and a ListenProblem."""
        if self.from_systemd:
            try:
                return handed_over()
            except NothingHandedOver as problem:
                raise ListenProblem(f"{SYSTEMD}: {problem}") from None
        with ExitStack() as opened:
            sockets = [opened.enter_context(bind(address)) for address in self.listen]
            opened.pop_all()
        return sockets


def read_doorway(
    listen: Sequence[str],
    *,
    from_systemd: bool = False,
    config_file: str | None = None,
    external: str | None = None,
    prefix: str | None = None,
    telemetry: str | None = None,
    allowed: Sequence[str] = (),
) -> Doorway:
    """The doorway of the flags; raises ListenProblem with every mistake."""
    wrong: list[str] = []
    addresses: list[Address] = []
    paths = Paths()
    for text in listen:
        try:
            addresses.append(parse(text))
        except ListenProblem as problem:
            wrong += problem.sentences
    if from_systemd and listen:
        wrong.append(f"{SYSTEMD}: not together with {FLAG}: systemd listens, where its socket unit says")
    if not all(map(NAME.fullmatch, allowed)):
        wrong.append(f"{ALLOWED}: must be the name of a host, such as probe.example.org, without scheme and port")
    try:
        paths = read_paths(external, prefix, telemetry)
    except ListenProblem as problem:
        wrong += problem.sentences
    if wrong:
        raise ListenProblem(*wrong)
    file = None if config_file is None else Path(config_file)
    return Doorway(tuple(addresses), from_systemd, paths, file, tuple(allowed))
