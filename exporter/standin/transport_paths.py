"""The paths without authentication and without a manager (docs/backend-protocol.md#connecting).

Rule 1: nothing here knows users, slots or tokens.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from exporter.standin import frames
from exporter.standin.conversation import Conversation, encoded
from exporter.standin.faults import FaultStage
from exporter.standin.replies import transport_answer


async def _test(talk: Conversation) -> None:
    """`/ws/test`: tells network and event loop apart from auth and factory."""
    talk.story.welcomed_at = talk.clock()
    talk.send(frames.transport_welcome(talk.wall()))
    await talk.play(FaultStage.GREETED)
    _beat(talk)
    while True:
        message = await talk.wire.message()
        _beat(talk)
        await talk.play(FaultStage.REPLY)
        talk.story.replied_at = talk.story.replied_at or talk.clock()
        talk.send(transport_answer(message, talk.wall()))
        talk.story.answered += 1


def _beat(talk: Conversation) -> None:
    """A heartbeat frame after every so many idle seconds."""

    def beat() -> None:
        if talk.wire.try_send(encoded({"type": "heartbeat", "timestamp": frames.iso(talk.wall())})):
            _beat(talk)

    talk.wire.later("heartbeat", talk.pace.test_heartbeat, beat)


async def _isolated(talk: Conversation) -> None:
    """`/ws/isolated`: broken: opens, says nothing, never closes."""
    talk.zombie()


async def _isolated_health(talk: Conversation) -> None:
    """`/ws/isolated/health`: one frame, then a clean close."""
    now = talk.wall()
    talk.send({"type": "health_check", "status": "healthy", "timestamp": frames.iso(now)})
    talk.refuse(None, 1000, "Health check completed")


TRANSPORT_PATHS: Final[Mapping[str, Callable[[Conversation], Awaitable[None]]]] = {
    "/ws/test": _test,
    "/ws/isolated": _isolated,
    "/ws/isolated/health": _isolated_health,
}
