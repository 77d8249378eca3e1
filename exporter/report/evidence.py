"""What a session observed, as rows of a name and a text: every format for people shows these."""

from collections.abc import Iterator, Mapping
from typing import Final

from exporter.report.formatting import closed, counts, expiry, moment
from exporter.report.situation import ORIGIN_HEADER, USER_AGENT_HEADER, TargetContext
from exporter.result import PROXIES, CertificatePlace, Ending, Evidence, Phase, Result, Software

ISSUER_TEXTS: Final[Mapping[CertificatePlace | None, str]] = {
    CertificatePlace.INTERMEDIATE: "an intermediate",
    CertificatePlace.ROOT: "the root",
}
ENDING_TEXTS: Final[Mapping[Ending, str]] = {
    Ending.FIN: "a FIN of the other end",
    Ending.RESET: "a RST of the other end",
    Ending.CLOSE_NOTIFY: "the TLS close_notify of the other end",
    Ending.TLS_CUT: "a FIN without TLS close_notify",
}
ORDINALS: Final = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")


def evidence_rows(result: Result, now: float) -> Iterator[tuple[str, str]]:
    """Name and text of everything that the server sent and the session measured; the most telling first."""
    evidence = result.evidence
    yield from _answer_rows(result)
    if result.retry_after is not None:
        yield "retry after", f"{result.retry_after:.0f} s"
    if result.slot_limit is not None:
        yield "slot limit", f"{result.slot_limit} per user, says the backend"
    if evidence.connection_id is not None:
        yield "connection", evidence.connection_id
    if evidence.server_time is not None:
        skew = "" if evidence.clock_skew is None else f", clock skew {evidence.clock_skew:+.3f} s"
        yield "server time", f"{moment(evidence.server_time)}{skew}"
    yield from _limits(result)
    if evidence.certificate_expiry is not None:
        yield "certificate", f"{expiry(evidence.certificate_expiry, now)}{_expiring(evidence.certificate_place)}"
    if result.tls_verify is not None:
        yield "certificate refused", result.tls_verify.replace("_", " ")
    yield from (("address", text) for text in tried_address(evidence))


def _answer_rows(result: Result) -> Iterator[tuple[str, str]]:
    """How the session ended, and who answered its upgrade."""
    if result.close is not None:
        yield "close", closed(result.close)
    if result.ending is not None:
        yield "ended by", ENDING_TEXTS[result.ending]
    if result.http_status is not None:
        yield "http status", str(result.http_status)
    if result.answered_by is not None or result.via:
        yield "answered by", _answered_by(result)
    if result.stream_status is not None:
        yield "in the stream", f"an HTTP answer, HTTP {result.stream_status}"
    if result.interim_status is not None:
        yield "before it", f"an interim answer, HTTP {result.interim_status}"


def _answered_by(result: Result) -> str:
    """Who made the answer to the upgrade, and what passed it on."""
    via = " and ".join(result.via)
    behind = f", behind {via}" if via else ""
    if result.answered_by is None and result.http_status is not None:
        return f"{via}, or a server behind it"
    if result.answered_by in (None, Software.BACKEND):
        return f"a server that does not name itself{behind}"
    return f"{result.answered_by}{' itself' if result.answered_by in PROXIES else ''}{behind}"


def _expiring(place: CertificatePlace | None) -> str:
    """Which certificate of the chain ends first, if it is not the server's own."""
    if place not in ISSUER_TEXTS:
        return ""
    return f": {ISSUER_TEXTS[place]} above the server's, which itself ends later"


def context_rows(context: TargetContext) -> Iterator[tuple[str, str]]:
    """Name and text of the settings by which a backend may treat a session, and on which an explanation relies."""
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
    evidence = result.evidence
    limits = [
        None if evidence.heartbeat_interval is None else f"heartbeat every {evidence.heartbeat_interval:g} s",
        None if evidence.max_message_size is None else f"messages up to {evidence.max_message_size:,.0f} bytes",
    ]
    if any(limits):
        yield "server says", ", ".join(limit for limit in limits if limit)
    if result.passed_over:
        yield "passed over", counts(result.passed_over)
    if result.unknown_keys:
        yield "fields", f"{', '.join(result.unknown_keys)}, in messages that the profile does not know"


# Addresses: a verdict on one of several addresses is no verdict on the host -------------------------------------------


def tried_address(evidence: Evidence) -> Iterator[str]:
    """The address that the session used, and its place if the host has several."""
    if evidence.address is not None:
        place = f", {_place(evidence)}" if (evidence.addresses or 1) > 1 else ""
        yield f"{evidence.address}{place}"


def other_addresses(result: Result) -> Iterator[str]:
    """Sentences about the other addresses of the host; none if there are no others, or nothing is known of them."""
    evidence = result.evidence
    if (evidence.addresses or 1) == 1:
        return
    failed = ", ".join(address for address in evidence.failed_addresses if address != evidence.address)
    if result.phase is not Phase.TCP:
        if failed:
            yield f"This was {evidence.address}, {_place(evidence)} addresses: {failed} took no TCP connection before."
        return
    yield f"This was {evidence.address}, {_place(evidence)} addresses of the name."
    if failed:
        yield f"Before it, {failed} took no TCP connection either."
    untried = result.untried_addresses
    if untried:
        are = "is" if untried == 1 else "are"
        yield f"A client goes on to the next one and may get in: {untried} {are} not tried yet."
    else:
        yield "No other one is left to try."


def _place(evidence: Evidence) -> str:
    number = evidence.address_number or 1
    place = f"the {ORDINALS[number - 1]}" if 1 <= number <= len(ORDINALS) else f"number {number}"
    return f"{place} of {evidence.addresses}"
