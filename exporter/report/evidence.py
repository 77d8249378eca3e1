"""What a session brought back, as named lines: every format that is read by people shows these."""

from collections.abc import Iterator, Mapping
from typing import Final

from exporter.report.addresses import tried
from exporter.report.context import ORIGIN_HEADER, USER_AGENT_HEADER, TargetContext
from exporter.report.formatting import closed, counts, expiry, moment
from exporter.result import CertificatePlace, Result

ABOVE: Final[Mapping[CertificatePlace | None, str]] = {
    CertificatePlace.INTERMEDIATE: "an intermediate",
    CertificatePlace.ROOT: "the root",
}


def evidence(result: Result, now: float) -> Iterator[tuple[str, str]]:
    """Name and words of everything that was told to us, in the order in which one looks at it."""
    told = result.evidence
    if result.close is not None:
        yield "close", closed(result.close)
    if result.http_status is not None:
        yield "http status", str(result.http_status)
    if result.retry_after is not None:
        yield "retry after", f"{result.retry_after:.0f} s"
    if result.slot_limit is not None:
        yield "slot limit", f"{result.slot_limit} per user, says the backend"
    if told.connection_id is not None:
        yield "connection", told.connection_id
    if told.server_time is not None:
        skew = "" if told.clock_skew is None else f", clock skew {told.clock_skew:+.3f} s"
        yield "server time", f"{moment(told.server_time)}{skew}"
    yield from _limits(result)
    if told.certificate_expiry is not None:
        yield "certificate", f"{expiry(told.certificate_expiry, now)}{_whose(told.certificate_place)}"
    if result.tls_verify is not None:
        yield "certificate refused", result.tls_verify.replace("_", " ")
    yield from (("address", words) for words in tried(told))


def _whose(place: CertificatePlace | None) -> str:
    """Whose end it is; the server's own needs no words."""
    if place not in ABOVE:
        return ""
    return f": {ABOVE[place]} above the server's, which itself ends later"


def circumstances(context: TargetContext) -> Iterator[tuple[str, str]]:
    """Name and words of what a backend may treat us by, and of what a diagnosis rests on."""
    if context.profile is not None:
        yield "profile", context.profile + (" (assumed: the target names none)" if context.assumed else "")
    if context.headers is not None:
        yield "headers", f"{', '.join(_headers(context))}; a backend may treat a session by these"


def _headers(context: TargetContext) -> Iterator[str]:
    yield from context.headers or ()
    if not context.sets(USER_AGENT_HEADER):
        yield "the exporter's User-Agent"
    if not context.sets(ORIGIN_HEADER):
        yield "no Origin"


def _limits(result: Result) -> Iterator[tuple[str, str]]:
    told = result.evidence
    said = [
        None if told.heartbeat_interval is None else f"heartbeat every {told.heartbeat_interval:g} s",
        None if told.max_message_size is None else f"messages up to {told.max_message_size:,.0f} bytes",
    ]
    if any(said):
        yield "server says", ", ".join(part for part in said if part)
    if result.passed_over:
        yield "passed over", counts(result.passed_over)
    if result.unknown_keys:
        yield "fields", f"{', '.join(result.unknown_keys)}, in messages that the profile does not know"
