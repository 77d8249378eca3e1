"""What the backend says on one connection to `/ws` (docs/backend-protocol.md#the-handshake-step-by-step).

Rule 1: the steps stand in one place and in the backend's order; a fault acts between them, at its stage, and nowhere
else. Rule 2: every wait is a sleep of the running loop; the times of `Timings` are the only figures.
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
"""Consecutive handling errors that end the message loop without closing the socket (section 0.8)."""


@dataclass(slots=True)
class ConversationLog:
    """What the conversation came to. Times by the stand-in's clock."""

    user: str | None = None
    welcomed_at: float | None = None
    replied_at: float | None = None
    answered: int = 0


@dataclass(slots=True)
class Conversation:
    """One connection and the process behind it. Faults reach in through the fields and verbs."""

    wire: ServerConnection
    backend: Backend
    pace: Timings
    clock: Callable[[], float]
    wall: Callable[[], float]
    faults: list[ActiveFault]
    acts: Mapping[str, Callable[["Conversation", Mapping[str, Any], FaultStage], Awaitable[None]]]
    knock: UpgradeRequest
    rng: random.Random
    accept: str | None = None
    service: AuthService | None = None
    startup_complete: bool = True
    deaf: bool = False
    user: str = ""
    connection_id: str = ""
    welcome: frames.Frame | None = None
    answer: Reply | None = None
    story: ConversationLog = field(default_factory=ConversationLog)
    _last_pong: float = 0.0

    # Verbs ---------------------------------------------------------------------------------------------------------

    async def play(self, stage: FaultStage) -> None:
        """Let the faults of this stage act, in the order of the table."""
        for fault in at(stage, self.faults):
            await self.acts[fault.name](self, fault.values, stage)

    def send(self, frame: frames.Frame) -> None:
        """Send a frame as a text message."""
        self.wire.send(encoded(frame))

    def refuse(self, frame: frames.Frame | None, code: int, reason: str) -> NoReturn:
        """Send the error frame, if any, and close; raises Ended."""
        if frame is not None:
            self.send(frame)
        self.wire.close(code, reason)
        raise ConversationEndedError

    def zombie(self) -> NoReturn:
        """The handler has returned, the socket has not: only the protocol lives on; raises Ended."""
        self.wire.never("heartbeat")
        self.wire.discarding = True
        raise ConversationEndedError

    # Steps ---------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """From the 101 on."""
        await self.play(FaultStage.OPENED)
        await asyncio.sleep(self.backend.warm_up())
        await self.play(FaultStage.AUTH)
        await self._authenticate()
        self.connection_id = self.backend.connection_id(self.user, self.wall())
        await self.play(FaultStage.FACTORY)
        self._admit()
        self.wire.on_disconnect = self._touch
        await self._admitted()

    def _touch(self) -> None:
        """Activity of our manager: connect, disconnect and server push (section 5)."""
        self.backend.managers.touch(self.user, self.connection_id, self.clock())

    async def _authenticate(self) -> None:
        """Step 2: on a refusal the frame, a pause, the close."""
        try:
            self.user = self.backend.authenticate(self.knock, now=self.clock(), wall=self.wall(), service=self.service)
        except LoginRefusedError as refused:
            if refused.frame is not None:
                self.send(refused.frame)
            await asyncio.sleep(self.pace.auth_pause)
            self.refuse(None, refused.code, refused.reason)
        self.story.user = self.user

    def _admit(self) -> None:
        """Step 4: on a refusal the frame and at once the close."""
        try:
            self.backend.admit(self.user, self.connection_id, now=self.clock(), wall=self.wall())
        except LoginRefusedError as refused:
            self.refuse(refused.frame, refused.code, refused.reason)

    async def _admitted(self) -> None:
        """Steps 5 to 11."""
        await self.play(FaultStage.STARTUP)
        await asyncio.sleep(self.pace.registration)
        await self.play(FaultStage.ADMISSION)
        await self._greet()
        await asyncio.sleep(self.pace.settle)
        await self._listen()

    async def _greet(self) -> None:
        """Steps 9 and 10."""
        now = self.wall()
        self.welcome = frames.welcome(
            self.user, self.connection_id, now, self.pace.heartbeat, startup_complete=self.startup_complete
        )
        await self.play(FaultStage.WELCOME)
        self.story.welcomed_at = self.clock()
        if self.welcome is not None:
            self.send(self.welcome)
        await self.play(FaultStage.GREETED)
        self._last_pong = self.clock()
        self._beat()

    def _beat(self) -> None:
        """The heartbeat task: a ping now and each interval, until pongs have been missing for too long."""
        missing = self.clock() - self._last_pong
        if missing >= self.pace.heartbeat + self.pace.heartbeat_tolerance:
            return
        if self.wire.try_send(encoded(frames.ping(self.wall()))):
            self.wire.later("heartbeat", self.pace.heartbeat, self._beat)

    async def _listen(self) -> None:
        """Step 11: five consecutive errors end the loop, and nothing else."""
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
        self.zombie()

    def _pause(self, errors: int) -> float:
        return float(min(self.pace.error_pause * 2 ** (errors - 1), self.pace.error_pause_most))

    async def _reply(self) -> None:
        if self.answer is None or self.answer.kind == "pong":
            self._last_pong = self.clock()
            return
        await self.play(FaultStage.REPLY)
        reply = self.answer
        if self._is_deaf() and reply.kind != "ping":
            return
        if reply.agent:
            self._start_agent()
        for frame in reply.frames:
            self.story.replied_at = self.story.replied_at or self.clock()
            self.send(frame)
            if reply.agent:
                self._touch()
                await asyncio.sleep(self.pace.agent_step)
        self.story.answered += bool(reply.frames)

    def _is_deaf(self) -> bool:
        """True under the fault, or once the manager of this connection was taken away (section 5)."""
        return self.deaf or not self.backend.managers.has(self.user, self.connection_id)

    def _start_agent(self) -> None:
        """A further manager of the same user; a refusal is swallowed by the router."""
        self.backend.managers.take(self.user, self.backend.connection_id(self.user, self.wall()), self.clock())


def encoded(frame: Mapping[str, Any]) -> bytes:
    """A frame as the bytes of a text message."""
    return json.dumps(frame, separators=(",", ":")).encode()
