"""How the HTTP side is reached: addresses, sockets handed over, paths, and the file of the terms.

Rule 1: `read_doorway` opens nothing, and says every mistake at once.
"""

import socket
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from exporter.host import NoListenFdsError, listen_fds
from exporter.web.listen import LISTEN_FLAG, ListenAddress, ListenError, bind, parse
from exporter.web.paths import WebPaths, read_paths
from exporter.web.secure import HOST_NAME, TrustedSites

SYSTEMD: Final = "--web.systemd-socket"
ALLOWED: Final = "--web.allowed-host"


@dataclass(frozen=True, slots=True)
class ListenOptions:
    """`from_systemd`: the sockets are those that systemd hands over, and `listen` is empty.

    `allowed`: names of hosts whose pages may change something, beside those of `listen` and of the external URL.
    """

    listen: tuple[ListenAddress, ...] = ()
    from_systemd: bool = False
    paths: WebPaths = field(default_factory=WebPaths)
    config_file: Path | None = None
    allowed: tuple[str, ...] = ()

    @classmethod
    def of(cls, listen: "ListenAddress | ListenOptions") -> "ListenOptions":
        """An address alone is a doorway without terms."""
        return listen if isinstance(listen, ListenOptions) else cls((listen,))

    @property
    def sites(self) -> TrustedSites:
        """Whose pages may change something."""
        return TrustedSites.of((address.host for address in self.listen), self.allowed, self.paths.external)

    def sockets(self) -> list[socket.socket]:
        """All of them listening, or none and a ListenProblem."""
        if self.from_systemd:
            try:
                return listen_fds()
            except NoListenFdsError as problem:
                raise ListenError(f"{SYSTEMD}: {problem}") from None
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
) -> ListenOptions:
    """The doorway of the flags; raises ListenProblem with every mistake."""
    wrong: list[str] = []
    addresses: list[ListenAddress] = []
    paths = WebPaths()
    for text in listen:
        try:
            addresses.append(parse(text))
        except ListenError as problem:
            wrong += problem.sentences
    if from_systemd and listen:
        wrong.append(f"{SYSTEMD}: not together with {LISTEN_FLAG}: systemd listens, where its socket unit says")
    if not all(map(HOST_NAME.fullmatch, allowed)):
        wrong.append(f"{ALLOWED}: must be the name of a host, such as probe.example.org, without scheme and port")
    try:
        paths = read_paths(external, prefix, telemetry)
    except ListenError as problem:
        wrong += problem.sentences
    if wrong:
        raise ListenError(*wrong)
    file = None if config_file is None else Path(config_file)
    return ListenOptions(tuple(addresses), from_systemd, paths, file, tuple(allowed))
