"""A staging backend on loopback that plays the incident and many other faults, for demo, drills and tests.

    async with StandIn.start(timings=Timings.quick()) as standin:
        standin.set_fault("/ws", "slot_limit:limit=5")
        ...  # probe standin.url()

It behaves as the backend with 20 slots (docs/backend-protocol.md#versions). Every path `/ws/NAME` (a-z, 0-9, -) is a
backend process of its own; `/ws` and `/websocket` share one.

Rule 1: imports nothing from above `tokens`, and no other package than `tokens`. Rule 2: the model (`backend`,
`slots`, `breaker`, `replies`, `credentials`, `frames`, `faults`) does no I/O and has no clock.
"""

from exporter.standin.connection_record import ConnectionRecord
from exporter.standin.demonstration import DEMO_TIMINGS, demo_config
from exporter.standin.faults import FAULTS, ROWS, Fault, FaultParam, parse
from exporter.standin.incidents import Incident, load_incidents
from exporter.standin.server import StandIn
from exporter.standin.timings import Timings

__all__ = [
    "DEMO_TIMINGS",
    "FAULTS",
    "ROWS",
    "ConnectionRecord",
    "Fault",
    "FaultParam",
    "Incident",
    "StandIn",
    "Timings",
    "demo_config",
    "load_incidents",
    "parse",
]
