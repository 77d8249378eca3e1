"""How the HTTP server is reached: addresses, sockets of systemd, paths, and the web config file.

Rule 1: `read_listen_options` opens nothing, and reports every mistake at once.
"""

import socket
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from exporter.host import NoListenFdsError, listen_fds
from exporter.web.listen import LISTEN_FLAG, ListenAddress, ListenError, bind, parse_listen_address
from exporter.web.paths import WebPaths, read_paths
from exporter.web.secure import HOST_NAME, TrustedSites

SYSTEMD: Final = "--web.systemd-socket"
ALLOWED: Final = "--web.allowed-host"


@dataclass(frozen=True, slots=True)
class ListenOptions:
    """The settings of the HTTP server.

    `from_systemd`: the sockets come from systemd; `listen` is empty then.
    `allowed`: hosts whose pages may change something, in addition to those of `listen` and of the external URL.
    """

    listen: tuple[ListenAddress, ...] = ()
    from_systemd: bool = False
    paths: WebPaths = field(default_factory=WebPaths)
    config_file: Path | None = None
    allowed: tuple[str, ...] = ()

    @classmethod
    def of(cls, listen: "ListenAddress | ListenOptions") -> "ListenOptions":
        """The options themselves, or those with only this address."""
        return listen if isinstance(listen, ListenOptions) else cls((listen,))

    @property
    def sites(self) -> TrustedSites:
        """The sites whose pages may change something."""
        return TrustedSites.of((address.host for address in self.listen), self.allowed, self.paths.external)

    def sockets(self) -> list[socket.socket]:
        """All listening sockets; raises ListenError and leaves none open if one cannot listen."""
        if self.from_systemd:
            try:
                return listen_fds()
            except NoListenFdsError as problem:
                raise ListenError(f"{SYSTEMD}: {problem}") from None
        with ExitStack() as opened:
            sockets = [opened.enter_context(bind(address)) for address in self.listen]
            opened.pop_all()
        return sockets


def read_listen_options(
    listen: Sequence[str],
    *,
    from_systemd: bool = False,
    config_file: str | None = None,
    external: str | None = None,
    prefix: str | None = None,
    telemetry: str | None = None,
    allowed: Sequence[str] = (),
) -> ListenOptions:
    """The options of the flags; raises ListenError with every mistake."""
    problems: list[str] = []
    addresses: list[ListenAddress] = []
    paths = WebPaths()
    for text in listen:
        try:
            addresses.append(parse_listen_address(text))
        except ListenError as error:
            problems += error.sentences
    if from_systemd and listen:
        problems.append(f"{SYSTEMD}: not together with {LISTEN_FLAG}: systemd listens, where its socket unit says")
    if not all(map(HOST_NAME.fullmatch, allowed)):
        problems.append(f"{ALLOWED}: must be the name of a host, such as probe.example.org, without scheme and port")
    try:
        paths = read_paths(external, prefix, telemetry)
    except ListenError as error:
        problems += error.sentences
    if problems:
        raise ListenError(*problems)
    file = None if config_file is None else Path(config_file)
    return ListenOptions(tuple(addresses), from_systemd, paths, file, tuple(allowed))
