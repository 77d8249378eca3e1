"""What sessions meet in an outage: a letter each."""

from exporter.result import (
    Close,
    Evidence,
    FactoryReason,
    Impairment,
    Initiator,
    Phase,
    Probe,
    Reason,
    Verdict,
)

PASS, FAIL, NONE = Verdict.PASS, Verdict.FAIL, Verdict.NONE


def remote(code, phase):
    return Close(code, Initiator.REMOTE, phase)


MEETS = {
    ".": {},
    "C": {"verdicts": (FAIL, FAIL, FAIL), "phase": Phase.TCP, "reason": Reason.REFUSED},
    "1": {  # the first of two addresses; the other one is not tried yet
        "verdicts": (FAIL, FAIL, FAIL),
        "phase": Phase.TCP,
        "reason": Reason.REFUSED,
        "evidence": Evidence(address="192.0.2.1", address_number=1, addresses=2),
    },
    "2": {
        "verdicts": (FAIL, FAIL, FAIL),
        "phase": Phase.TCP,
        "reason": Reason.TIMEOUT,
        "evidence": Evidence(address="192.0.2.2", address_number=2, addresses=2, failed_addresses=("192.0.2.1",)),
    },
    "H": {"verdicts": (FAIL, FAIL, FAIL), "phase": Phase.UPGRADE, "reason": Reason.HTTP_STATUS},
    "L": {"verdicts": (FAIL, FAIL, FAIL), "phase": Phase.UPGRADE, "reason": Reason.RATE_LIMITED},
    "R": {"verdicts": (PASS, FAIL, FAIL), "phase": Phase.ADMISSION, "reason": Reason.AUTH_REJECTED},
    "U": {"verdicts": (PASS, FAIL, FAIL), "phase": Phase.ADMISSION, "reason": Reason.AUTH_UNAVAILABLE},
    "N": {"verdicts": (PASS, FAIL, FAIL), "phase": Phase.ADMISSION, "reason": Reason.TIMEOUT},
    "F": {
        "verdicts": (PASS, NONE, FAIL),
        "phase": Phase.ADMISSION,
        "reason": Reason.FACTORY,
        "factory_reason": FactoryReason.OTHER,
    },
    "D": {
        "verdicts": (PASS, PASS, FAIL),
        "phase": Phase.ADMISSION,
        "reason": Reason.FACTORY,
        "factory_reason": FactoryReason.DEGRADED,
    },
    "S": {
        "verdicts": (PASS, PASS, FAIL),
        "phase": Phase.ADMISSION,
        "reason": Reason.FACTORY,
        "factory_reason": FactoryReason.SLOT_LIMIT,
    },
    "I": {
        "verdicts": (PASS, PASS, FAIL),
        "phase": Phase.REPLY,
        "reason": Reason.SERVER_ERROR,
        "close": remote(1011, Phase.REPLY),
    },
    "Z": {"verdicts": (PASS, PASS, FAIL), "phase": Phase.REPLY, "reason": Reason.TIMEOUT},
    "W": {
        "verdicts": (PASS, NONE, FAIL),
        "phase": Phase.ADMISSION,
        "reason": Reason.CLOSED,
        "close": remote(1012, Phase.ADMISSION),
    },
    "c": {"depth": Probe.CONNECT, "verdicts": (PASS, NONE, NONE)},
    "r": {
        "verdicts": (PASS, FAIL, FAIL),
        "phase": Phase.ADMISSION,
        "reason": Reason.AUTH_REJECTED,
        "close": remote(1011, Phase.ADMISSION),
    },
    "A": {
        "verdicts": (FAIL, FAIL, FAIL),
        "phase": Phase.UPGRADE,
        "reason": Reason.AUTH_REJECTED,
        "http_status": 401,
    },
    "a": {
        "depth": Probe.CONNECT,
        "verdicts": (FAIL, NONE, NONE),
        "phase": Phase.UPGRADE,
        "reason": Reason.HTTP_STATUS,
        "http_status": 401,
    },
    "v": {"verdicts": (NONE, NONE, NONE), "void": True},
    "i": {"verdicts": (NONE, NONE, NONE), "impairment": Impairment.TOKEN},
    "g": {"close": remote(1001, Phase.CLOSE)},
    "e": {"close": remote(1011, Phase.CLOSE)},
}
"""What a session meets, by a letter; one in brackets is a confirm run."""
