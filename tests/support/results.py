"""Results as sessions bring them, made by hand: for the tests of what is kept of them."""

from dataclasses import replace

from exporter.result import Impairment, Probe, Trigger, Verdict
from support import report_cases as cases

NOW = 1_800_000_000.0


def passed(target="staging", at=NOW, **changes):
    """A whole session that passed."""
    known = {"target": target, "started_at": at, "run": f"{int(at * 1000):016x}", "trigger": Trigger.SCHEDULE}
    return replace(cases.PASSED, **{**known, **changes})


def failed(target="staging", at=NOW, like=cases.SLOT_LIMIT, **changes):
    """A session that failed; `like`: as which of `report_cases`."""
    known = {"target": target, "started_at": at, "run": f"{int(at * 1000):016x}", "trigger": Trigger.SCHEDULE}
    return replace(like, **{**known, **changes})


def connected(target="staging", at=NOW, **changes):
    """A session that came for the upgrade alone, and got it."""
    verdicts = {Probe.CONNECT: Verdict.PASS, Probe.AUTH: Verdict.NONE, Probe.SEND: Verdict.NONE}
    return passed(target, at, depth=Probe.CONNECT, verdicts=verdicts, **changes)


def impaired(target="staging", at=NOW, why=Impairment.TOKEN, **changes):
    """No session, by our own failure."""
    return failed(target, at, cases.IMPAIRED, impairment=why, **changes)


def void(target="staging", at=NOW):
    """A session whose deadline we slept through."""
    return passed(target, at, verdicts=dict.fromkeys(Probe, Verdict.NONE), distorted=True, void=True)
