"""What keeps a session, or its token, from being sent, in words: on the page, in the lines of the demo."""

from collections.abc import Mapping
from typing import Final

from exporter.report.formatting import moment
from exporter.result import Holdup

HOLDUPS: Final[Mapping[Holdup, str]] = {
    Holdup.ENDPOINT: "the endpoint limits the rate of our connects",
    Holdup.RATE: "max_connects_per_minute of the host is reached",
    Holdup.REJECTED: "its key rests after rejected tokens",
    Holdup.BREAKER_TOKEN: "one failed login more may open a circuit breaker of the backend",
    Holdup.BREAKER_CONNECT: "one connect more without a token may open a circuit breaker of the backend",
    Holdup.VERDICT: "the verdict on another token of this key is waited for",
    Holdup.IDENTITY: "the identity rests after a slot limit",
    Holdup.BUSY: "the identity has a connection open",
    Holdup.SLOTS: "no slot is left",
    Holdup.MEMORY: "what was held before the start is not known yet",
}


def held_up(holdup: Holdup, until: float | None) -> str:
    """`the identity rests after a slot limit, until 2025-09-08 23:01:40 UTC`."""
    return HOLDUPS[holdup] + ("" if until is None else f", until {moment(until)}")
