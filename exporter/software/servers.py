"""How servers end a connection: what a client sees of each event at each server."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from exporter.result import Ending, Software


class ServerEvent(StrEnum):
    """What happens at a server while a client connects or is connected."""

    RAISES_BEFORE_ACCEPT = "its application raises before it accepts"
    RAISES_AFTER_ACCEPT = "its application raises after it accepted"
    RAISES_ON_MESSAGE = "its application raises on a message"
    RETURNS = "its application returns without closing"
    REFUSES_LOGIN = "its application refuses the login before it accepts"
    WRONG_PATH = "nothing serves the path"
    STOPPED = "it is stopped"
    RECYCLED = "its worker is recycled"
    KILLED = "its process is killed"
    TOO_BIG = "a message is larger than it takes"
    NO_PONGS = "the client answers no ping"
    HANGS = "its application hangs"


@dataclass(frozen=True, slots=True)
class ServerBehaviour:
    """One cell.

    status: HTTP status of the refused upgrade; None: the WebSocket opened, or there was no answer
    code: close code of the server; 1006: the connection ended without a close frame; None: it stays open, or never was
    after: the least and the most seconds until that, since the client's last bytes; None: at once
    ending: how the transport ended; None: it varies, or was not noted
    version: of the server, and of what it runs on
    seen: the day of the last run; None: not run, and so never used in a diagnosis
    """

    server: Software
    event: ServerEvent
    version: str
    seen: str | None
    status: int | None = None
    code: int | None = None
    after: tuple[float, float] | None = None
    ending: Ending | None = None


_LAYERS_DAY: Final = "2026-11-29"

SERVER_BEHAVIOURS: Final = (
    ServerBehaviour(Software.UVICORN, ServerEvent.RAISES_BEFORE_ACCEPT, "0.54.0", _LAYERS_DAY, status=500),
    ServerBehaviour(Software.UVICORN, ServerEvent.RAISES_AFTER_ACCEPT, "0.54.0", _LAYERS_DAY, code=1006),
    ServerBehaviour(Software.UVICORN, ServerEvent.RAISES_ON_MESSAGE, "0.54.0", _LAYERS_DAY, code=1006),
    ServerBehaviour(Software.UVICORN, ServerEvent.RETURNS, "0.54.0", _LAYERS_DAY, code=1006),
    ServerBehaviour(Software.UVICORN, ServerEvent.STOPPED, "0.54.0", _LAYERS_DAY, code=1012),
    ServerBehaviour(Software.UVICORN, ServerEvent.KILLED, "0.54.0", _LAYERS_DAY, code=1006),
    ServerBehaviour(Software.HYPERCORN, ServerEvent.RAISES_ON_MESSAGE, "0.18.0", _LAYERS_DAY, code=1011),
    ServerBehaviour(Software.HYPERCORN, ServerEvent.STOPPED, "0.18.0", _LAYERS_DAY, code=1011, after=(3.0, 4.0)),
)
