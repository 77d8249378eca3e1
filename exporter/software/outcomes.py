"""What can happen at a server, and what a client sees of it: the words of the tables of servers."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, NamedTuple

from exporter.result import Ending, Software


class ServerEvent(StrEnum):
    """What happens at a server while a client connects or is connected."""

    RAISES_BEFORE_ACCEPT = "its application raises before it accepts"
    RETURNS_BEFORE_ACCEPT = "its application returns before it accepts"
    RAISES_AFTER_ACCEPT = "its application raises after it accepted"
    RAISES_ON_MESSAGE = "its application raises on a message"
    RETURNS = "its application returns without closing"
    REFUSES_LOGIN = "its application refuses the login before it accepts, with a status of the server"
    REFUSES_AFTER_ACCEPT = "its application refuses the login by an exception of its framework after it accepted"
    CLOSES_1008 = "its application closes with 1008"
    FOREIGN_SUBPROTOCOL = "its application chooses a subprotocol that was not offered"
    WRONG_PATH = "nothing serves the path"
    NO_WEBSOCKET = "a page serves the path, and no WebSocket"
    STOPPED = "it is stopped"
    RECYCLED = "its worker is recycled"
    KILLED = "its first process is killed"
    WORKER_KILLED = "its worker is killed, and the first process lives"
    TOO_BIG = "a message is larger than it takes"
    NO_PONGS = "the client answers no ping"
    IDLE = "the client sent nothing for as long as it allows"
    HANGS = "its application hangs on a message"


class Outcome(NamedTuple):
    """What a client sees: the fields of `ServerBehaviour` by their order."""

    status: int | None = None
    code: int | None = None
    after: tuple[float, float] | None = None
    ending: Ending | None = None
    answers_close: bool | None = None
    is_http: bool = False


def refused(status: int, after: tuple[float, float] | None = None) -> Outcome:
    """A refused upgrade."""
    return Outcome(status=status, after=after)


def closed(code: int, after: tuple[float, float] | None = None) -> Outcome:
    """A close frame of the server."""
    return Outcome(code=code, after=after)


def lost(ending: Ending | None, after: tuple[float, float] | None = None) -> Outcome:
    """The connection ends without a close frame."""
    return Outcome(code=1006, ending=ending, after=after)


def in_stream(status: int) -> Outcome:
    """An HTTP answer in the stream of the open WebSocket."""
    return Outcome(status=status, is_http=True)


def no_answer(ending: Ending | None, after: tuple[float, float] | None = None) -> Outcome:
    """The connection ends in place of an answer, or nothing comes."""
    return Outcome(ending=ending, after=after)


OPEN: Final = Outcome()
FIN: Final = lost(Ending.FIN)
RESET: Final = lost(Ending.RESET)
LOST: Final = lost(None)
"""FIN, or a reset if our message had not been read."""
NO_ANSWER: Final = no_answer(Ending.FIN)
HANGS_ANSWERS: Final = Outcome(answers_close=True)
HANGS_DEAF: Final = Outcome(answers_close=False)

Table = Mapping[tuple[Software, str], Mapping[ServerEvent, Outcome]]
"""Server and versions, with what each event shows. Another version has those rows alone in which it differs."""
