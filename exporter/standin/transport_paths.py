"""The paths without authentication and without a manager (docs/backend-protocol.md#connecting).

Rule 1: this module has no users, slots or tokens.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from exporter.standin import frames
from exporter.standin.conversation import Conversation, encoded
from exporter.standin.faults import FaultStage
from exporter.standin.replies import transport_answer


async def _test(conversation: Conversation) -> None:
    """`/ws/test`: a failure here is of the network or the event loop, not of auth or factory."""
    conversation.log.welcomed_at = conversation.clock()
    conversation.send(frames.transport_welcome(conversation.wall()))
    await conversation.run_faults(FaultStage.GREETED)
    _send_heartbeat(conversation)
    while True:
        message = await conversation.wire.message()
        _send_heartbeat(conversation)
        await conversation.run_faults(FaultStage.REPLY)
        conversation.log.replied_at = conversation.log.replied_at or conversation.clock()
        conversation.send(transport_answer(message, conversation.wall()))
        conversation.log.answered += 1


def _send_heartbeat(conversation: Conversation) -> None:
    """Send a heartbeat frame after each `test_heartbeat` idle seconds."""

    def send() -> None:
        if conversation.wire.try_send(encoded({"type": "heartbeat", "timestamp": frames.iso(conversation.wall())})):
            _send_heartbeat(conversation)

    conversation.wire.start_timer("heartbeat", conversation.timings.test_heartbeat, send)


async def _isolated(conversation: Conversation) -> None:
    """`/ws/isolated` is broken: it opens, sends nothing and never closes."""
    conversation.stop_handling()


async def _isolated_health(conversation: Conversation) -> None:
    """`/ws/isolated/health`: one frame, then a clean close."""
    now = conversation.wall()
    conversation.send({"type": "health_check", "status": "healthy", "timestamp": frames.iso(now)})
    conversation.refuse(None, 1000, "Health check completed")


TRANSPORT_PATHS: Final[Mapping[str, Callable[[Conversation], Awaitable[None]]]] = {
    "/ws/test": _test,
    "/ws/isolated": _isolated,
    "/ws/isolated/health": _isolated_health,
}
