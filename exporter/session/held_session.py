"""A session whose connection stays open once it has passed."""

from collections.abc import Callable
from math import inf

from exporter.resolver import Resolver
from exporter.result import Phase
from exporter.session.conversation import END_OF_STREAM, Session
from exporter.session.holding import LineHold
from exporter.session.request import SessionRequest
from exporter.transport import Clock


class HeldSession(Session):
    """As `Session`; between its last reply and its close, `hold` keeps the connection."""

    def __init__(
        self,
        hold: LineHold,
        request: SessionRequest,
        resolver: Resolver,
        clock: Clock,
        *,
        kernel_stamps: bool = True,
        max_loop_stall: Callable[[], float] = lambda: inf,
    ) -> None:
        super().__init__(request, resolver, clock, kernel_stamps=kernel_stamps, max_loop_stall=max_loop_stall)
        self._hold = hold

    async def _converse_until_deadline(self) -> None:
        """Hold what has passed; the deadline is that of the phases, and bounds no held connection."""
        await super()._converse_until_deadline()
        if self._error is None and self._stream is not None:
            early_bytes, self._early_bytes = self._early_bytes, END_OF_STREAM
            await self._hold.run(self._stream, self._session_messages, self._welcome, early_bytes)
            self._record_close(Phase.CLOSE)
