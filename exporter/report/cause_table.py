"""All rows of causes in their order, and the search for the one that explains a result."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from exporter.report.causes import Alert, Cause
from exporter.report.causes_before import BEFORE_CAUSES
from exporter.report.causes_connect import CONNECT_CAUSES
from exporter.report.causes_factory import FACTORY_CAUSES
from exporter.report.causes_session import ANSWER_CAUSES, SESSION_CAUSES
from exporter.report.situation import FailureSituation
from exporter.result import Impairment, Phase, Reason

IMPAIRED_CAUSES: Final = (
    Cause(
        "No session: OUR OWN token could not be made, so this says nothing about the backend.",
        Alert.PROBE_IMPAIRED,
        "Read the exporter's log line of this run: the key or token file is missing, unreadable or of the wrong kind, "
        "or its token has expired.",
        impairment=Impairment.TOKEN,
    ),
    Cause(
        "No session: THE EXPORTER itself failed, so this says nothing about the backend.",
        Alert.PROBE_IMPAIRED,
        "Read the exporter's log line of this run: a CA or certificate file, no free file descriptors, or a defect.",
        impairment=Impairment.INTERNAL,
    ),
    Cause(
        "No verdict: the clock of the EXPORTER'S MACHINE was set during the session, and the backend rejected a token "
        "signed by the clock before. This says nothing about the backend.",
        Alert.PROBE_IMPAIRED,
        "Nothing, if it happens once: the next session signs by the clock as it is now. If it goes on, look at what "
        "sets the clock (chronyc tracking, timedatectl): it should slew it, not step it.",
        impairment=Impairment.CLOCK,
    ),
)

CAUSES: Final = (*IMPAIRED_CAUSES, *BEFORE_CAUSES, *CONNECT_CAUSES, *ANSWER_CAUSES, *FACTORY_CAUSES, *SESSION_CAUSES)


@lru_cache
def _rows_of(reason: Reason | None, phase: Phase | None, status: int | None) -> Sequence[Cause]:
    """The rows that these facts leave: every failed session asks for its layer."""
    return [
        row
        for row in CAUSES
        if row.reason in (None, reason)
        and row.phase in (None, phase)
        and (row.statuses is None or status in row.statuses)
    ]


def find_cause(situation: FailureSituation) -> Cause | None:
    """The row that explains a result; None if nothing is wrong, or the session proved nothing."""
    result = situation.result
    if result.reason is None and result.factory_reason is None and result.impairment is None:
        return None
    return next((row for row in _rows_of(result.reason, result.phase, result.http_status) if row.fits(situation)), None)
