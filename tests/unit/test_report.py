"""The live line of a session: what a person at a terminal reads while the demo runs."""

from dataclasses import replace

import pytest

from exporter.report import session_line, skip_line
from exporter.report.formatting import HOLDUPS
from exporter.result import (
    Close,
    FactoryReason,
    Holdup,
    Impairment,
    Initiator,
    Phase,
    Probe,
    Reason,
    Result,
    Skip,
    SkipCause,
    Trigger,
    Verdict,
)

PASSED = Result(
    target="staging",
    identity="pool-001",
    run="r",
    depth=Probe.SEND,
    trigger=Trigger.SCHEDULE,
    started_at=0.0,
    verdicts=dict.fromkeys(Probe, Verdict.PASS),
    durations={Probe.CONNECT: 0.0021, Probe.AUTH: 0.0149, Probe.SEND: 0.02},
    close=Close(1000, Initiator.LOCAL, Phase.CLOSE),
)
REFUSED = replace(
    PASSED,
    verdicts={Probe.CONNECT: Verdict.PASS, Probe.AUTH: Verdict.PASS, Probe.SEND: Verdict.FAIL},
    durations={Probe.CONNECT: 0.0021},
    phase=Phase.ADMISSION,
    reason=Reason.FACTORY,
    factory_reason=FactoryReason.SLOT_LIMIT,
    close=Close(1011, Initiator.REMOTE, Phase.ADMISSION),
)
UNKNOWN = dict.fromkeys(Probe, Verdict.NONE)

LINES = {
    "pool-001  connect pass 0.002s  auth pass 0.015s  send pass 0.020s  closed 1000 by us": PASSED,
    "pool-001  connect pass 0.002s  auth pass  send FAIL  admission: factory (slot_limit)  closed 1011 by the server": (
        REFUSED
    ),
    "-  connect pass 0.002s  closed 1000 by us": replace(
        PASSED, identity=None, depth=Probe.CONNECT, durations={Probe.CONNECT: 0.0021}
    ),
    "pool-001  connect -  auth -  send -  our own failure: token": replace(
        PASSED, verdicts=UNKNOWN, durations={}, impairment=Impairment.TOKEN, close=None
    ),
    "pool-001  connect FAIL  auth FAIL  send FAIL  tcp: refused": replace(
        PASSED,
        verdicts=dict.fromkeys(Probe, Verdict.FAIL),
        durations={},
        phase=Phase.TCP,
        reason=Reason.REFUSED,
        close=None,
    ),
    "pool-001  connect pass 0.002s  auth -  send FAIL  reply: reset  closed 1006 without a close frame": replace(
        REFUSED,
        verdicts=UNKNOWN | {Probe.CONNECT: Verdict.PASS, Probe.SEND: Verdict.FAIL},
        phase=Phase.REPLY,
        reason=Reason.RESET,
        factory_reason=None,
        close=Close(1006, Initiator.NONE, Phase.REPLY),
    ),
}


@pytest.mark.parametrize(("wanted", "result"), LINES.items(), ids=range(len(LINES)))
def test_a_session_is_one_line(wanted, result):
    """Who, each probe asked with its verdict and seconds, where and why it failed, how the connection ended."""
    assert session_line(result) == wanted


@pytest.mark.parametrize("cause", SkipCause)
def test_a_skip_says_its_cause(cause):
    """A cycle that opened no session is a line as well."""
    assert skip_line(Skip("staging", cause)) == f"-  skipped: {cause}"


def test_a_line_says_what_rests():
    """A session without a token, and a cycle that opened none, say why and until when."""
    shallow = replace(PASSED, depth=Probe.CONNECT)
    until = 1757372530.0

    assert session_line(shallow, (Holdup.IDENTITY, until)).endswith(
        "no token: the identity rests after a slot limit, until 2025-09-08 23:02:10 UTC"
    )
    assert session_line(shallow, (Holdup.BREAKER_TOKEN, None)).endswith(
        "no token: one failed login more may open a circuit breaker of the backend"
    )
    assert skip_line(Skip("staging", SkipCause.RATE, Holdup.ENDPOINT, until)) == (
        "-  skipped: rate (the endpoint limits the rate of our connects, until 2025-09-08 23:02:10 UTC)"
    )


def test_every_holdup_has_words():
    """Of each word of the ledger's list there is a sentence."""
    assert set(HOLDUPS) == set(Holdup)
    assert len(set(HOLDUPS.values())) == len(Holdup)
