"""The backend's side of one connection to `/ws` (docs/backend-protocol.md#the-handshake-step-by-step).

Rule 1: the steps are in this file, in the backend's order; a fault acts between two steps, at its stage.
Rule 2: every wait is a sleep of the running loop, with a duration of `Timings`.
"""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

from exporter.standin import frames
from exporter.standin.backend import AuthService, Backend, LoginRefusedError
from exporter.standin.credentials import UpgradeRequest
from exporter.standin.fault_registry import at
from exporter.standin.faults import ActiveFault, FaultStage
from exporter.standin.replies import Reply, answer
from exporter.standin.server_connection import ConversationEndedError, ServerConnection
from exporter.standin.timings import Timings

MAX_ERRORS: Final = 5
"""Consecutive handling errors that end the message loop without closing the socket."""


@dataclass(slots=True)
class ConversationLog:
    """What has happened in a conversation. Times are of the stand-in's clock; None: it did not happen."""

    user: str | None = None
    welcomed_at: float | None = None
    replied_at: float | None = None
    answered: int = 0


@dataclass(slots=True)
class Conversation:
    """One connection and the process behind it. Faults set the fields and call the methods."""

    wire: ServerConnection
    backend: Backend
    timings: Timings
    clock: Callable[[], float]
    wall: Callable[[], float]
    faults: list[ActiveFault]
    fault_actions: Mapping[str, Callable[["Conversation", Mapping[str, Any], FaultStage], Awaitable[None]]]
    upgrade: UpgradeRequest
    rng: random.Random
    accept: str | None = None
    service: AuthService | None = None
    startup_complete: bool = True
    ignores_messages: bool = False
    user: str = ""
    connection_id: str = ""
    welcome: frames.Frame | None = None
    answer: Reply | None = None
    log: ConversationLog = field(default_factory=ConversationLog)
    _last_pong: float = 0.0

    # Methods for faults ---------------------------------------------------------------------------------------------

    async def run_faults(self, stage: FaultStage) -> None:
        """Run the faults of this stage, in the order of the table."""
        for fault in at(stage, self.faults):
            await self.fault_actions[fault.name](self, fault.values, stage)

    def send(self, frame: frames.Frame) -> None:
        """Send a frame as a text message."""
        self.wire.send(encoded(frame))

    def refuse(self, frame: frames.Frame | None, code: int, reason: str) -> NoReturn:
        """Send the error frame, if any, and close; raises ConversationEndedError."""
        if frame is not None:
            self.send(frame)
        self.wire.close(code, reason)
        raise ConversationEndedError

    def stop_handling(self) -> NoReturn:
        """End the handler and leave the socket open: only the protocol goes on. Raises ConversationEndedError."""
        self.stop_serving()
        raise ConversationEndedError

    def stop_serving(self) -> None:
        """Drop messages and send no application ping any more."""
        self.wire.cancel_timer("heartbeat")
        self.wire.discarding = True

    def ignore_messages(self) -> None:
        """Answer pings and no request any more."""
        self.ignores_messages = True

    # Steps ---------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Run every step after the 101."""
        await self.run_faults(FaultStage.OPENED)
        await asyncio.sleep(self.backend.take_cold_start())
        await self.run_faults(FaultStage.AUTH)
        await self._authenticate()
        self.connection_id = self.backend.connection_id(self.user, self.wall())
        await self.run_faults(FaultStage.FACTORY)
        self._admit()
        self.wire.on_disconnect = self._touch
        await self._admitted()

    def _touch(self) -> None:
        """Activity of our manager: connect, disconnect and server push."""
        self.backend.managers.touch(self.user, self.connection_id, self.clock())

    async def _authenticate(self) -> None:
        """Step 2: a refusal is an error frame, a pause, and a close."""
        try:
            self.user = self.backend.authenticate(
                self.upgrade, now=self.clock(), wall=self.wall(), service=self.service
            )
        except LoginRefusedError as refused:
            if refused.frame is not None:
                self.send(refused.frame)
            await asyncio.sleep(self.timings.auth_pause)
            self.refuse(None, refused.code, refused.reason)
        self.log.user = self.user

    def _admit(self) -> None:
        """Step 4: a refusal is an error frame and an immediate close."""
        try:
            self.backend.admit(self.user, self.connection_id, now=self.clock(), wall=self.wall())
        except LoginRefusedError as refused:
            self.refuse(refused.frame, refused.code, refused.reason)

    async def _admitted(self) -> None:
        """Steps 5 to 11."""
        await self.run_faults(FaultStage.STARTUP)
        await asyncio.sleep(self.timings.registration)
        await self.run_faults(FaultStage.ADMISSION)
        await self._send_welcome()
        await asyncio.sleep(self.timings.settle)
        await self._listen()

    async def _send_welcome(self) -> None:
        """Steps 9 and 10."""
        now = self.wall()
        self.welcome = frames.welcome(
            self.user, self.connection_id, now, self.timings.heartbeat, startup_complete=self.startup_complete
        )
        await self.run_faults(FaultStage.WELCOME)
        self.log.welcomed_at = self.clock()
        if self.welcome is not None:
            self.send(self.welcome)
        await self.run_faults(FaultStage.GREETED)
        self._last_pong = self.clock()
        self._send_heartbeat()

    def _send_heartbeat(self) -> None:
        """Send a ping now and at each interval, until pongs have been missing for too long."""
        missing = self.clock() - self._last_pong
        if missing >= self.timings.heartbeat + self.timings.heartbeat_tolerance:
            return
        if self.wire.try_send(encoded(frames.ping(self.wall()))):
            self.wire.start_timer("heartbeat", self.timings.heartbeat, self._send_heartbeat)

    async def _listen(self) -> None:
        """Step 11: answer messages. Only five consecutive errors end this loop."""
        errors = 0
        while errors < MAX_ERRORS:
            message = await self.wire.message()
            self.answer = answer(message, self.user, self.wall())
            if self.answer.error:
                errors += 1
                await asyncio.sleep(self._pause(errors))
                continue
            errors = 0
            await self._reply()
        self.stop_handling()

    def _pause(self, errors: int) -> float:
        return float(min(self.timings.error_pause * 2 ** (errors - 1), self.timings.error_pause_most))

    async def _reply(self) -> None:
        if self.answer is None or self.answer.kind == "pong":
            self._last_pong = self.clock()
            return
        await self.run_faults(FaultStage.REPLY)
        reply = self.answer
        if self._ignores_message() and reply.kind != "ping":
            return
        if reply.agent:
            self._start_agent()
        for frame in reply.frames:
            self.log.replied_at = self.log.replied_at or self.clock()
            self.send(frame)
            if reply.agent:
                self._touch()
                await asyncio.sleep(self.timings.agent_step)
        self.log.answered += bool(reply.frames)

    def _ignores_message(self) -> bool:
        """True under the fault `deaf`, or once the manager of this connection was removed."""
        return self.ignores_messages or not self.backend.managers.has(self.user, self.connection_id)

    def _start_agent(self) -> None:
        """Create a further manager of the same user; the router ignores a refusal."""
        self.backend.managers.take(self.user, self.backend.connection_id(self.user, self.wall()), self.clock())


def encoded(frame: Mapping[str, Any]) -> bytes:
    """A frame as the bytes of a text message."""
    return json.dumps(frame, separators=(",", ":")).encode()
