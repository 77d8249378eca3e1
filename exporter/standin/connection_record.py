"""The stand-in's record of a finished connection; tests compare a prober's result with it.

Rule 1: frozen; holds no token and no text of a client.
"""

from dataclasses import dataclass
from typing import Literal

from exporter.standin.conversation import ConversationLog
from exporter.standin.server_connection import WireTrace

How = Literal["close", "eof", "reset", "aborted_by_us"]


@dataclass(frozen=True, slots=True)
class ConnectionRecord:
    """One finished TCP connection. Times are of the stand-in's clock; None: it did not happen.

    `user`: the user that was let in. `token_seen`: the upgrade request carried a token. `close_received`, `close_sent`:
    codes of close frames, 1005 for an empty one. `first_closer`: `client` or `server`, by the first close frame. `how`:
    `close` both close frames passed; `eof` the connection ended without; `reset`; `aborted_by_us`. `answered`:
    messages that got a reply. `faults`: names of the faults that were active.
    """

    path: str | None
    tls: bool
    user: str | None
    token_seen: bool
    upgraded: bool
    close_received: int | None
    close_sent: int | None
    first_closer: str | None
    how: How
    answered: int
    faults: tuple[str, ...]
    accepted_at: float
    upgraded_at: float | None
    welcomed_at: float | None
    replied_at: float | None
    finished_at: float


def how_it_ended(trace: WireTrace) -> How:
    """How the connection ended, in one word."""
    if trace.aborted:
        return "aborted_by_us"
    if trace.close_received is not None and trace.close_sent is not None:
        return "close"
    return "reset" if trace.reset else "eof"


def connection_record(
    trace: WireTrace,
    log: ConversationLog,
    *,
    path: str | None,
    tls: bool,
    token_seen: bool,
    faults: tuple[str, ...],
    now: float,
) -> ConnectionRecord:
    """The record of a finished connection."""
    return ConnectionRecord(
        path=path,
        tls=tls,
        user=log.user,
        token_seen=token_seen,
        upgraded=trace.upgraded_at is not None,
        close_received=trace.close_received,
        close_sent=trace.close_sent,
        first_closer=trace.first_closer,
        how=how_it_ended(trace),
        answered=log.answered,
        faults=faults,
        accepted_at=trace.accepted_at,
        upgraded_at=trace.upgraded_at,
        welcomed_at=log.welcomed_at,
        replied_at=log.replied_at,
        finished_at=now,
    )
