"""Package `result`: closed lists, and values that hold no text of the network."""

import dataclasses
import re
from enum import StrEnum

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter import result as r
from exporter.result import (
    Close,
    ErrorKind,
    Initiator,
    Phase,
    Probe,
    ProbeError,
    Result,
    SessionObservation,
    Trigger,
    Verdict,
    evidence_text,
)

calm = settings(deadline=None, database=None)  # a busy machine is no finding

# docs/design.md#metrics-contract: what stands here is a label value somebody's alert is written on.
LISTS = {
    r.Phase: "prepare before resolve tcp tls upgrade admission auth reply close",
    r.Probe: "connect auth send",
    r.Verdict: "pass fail -",
    r.Reason: "dns refused unreachable reset timeout tls_certificate tls_handshake http_status rate_limited redirect "
    "bad_handshake auth_rejected auth_unavailable factory closed server_error bad_reply protocol_error too_big",
    r.FactoryReason: "slot_limit init_failed startup_incomplete internal_error user_mismatch environment_mismatch "
    "duplicate_connection_id frozen_time not_ready factory_disabled degraded invalid_welcome other",
    r.Impairment: "token internal clock",
    r.SkipCause: "overlap budget resting rate late capacity draining distorted",
    r.Initiator: "remote local none",
    r.SentinelOutcome: "passed failed inconclusive skipped",
    r.SuspicionOutcome: "confirmed unconfirmed",
    r.RefusalCase: "no_token malformed expired wrong_audience unsigned other_key disabled_user",
    r.RefusalOutcome: "refused wrong_way bypassed inconclusive skipped",
    r.HoldEnd: "over cut restart closed lost unanswered broken",
    r.LineLevel: "protocol application",
    r.ExportOutcome: "accepted partial refused unreachable timeout impaired",
    r.StatsOutcome: "read unreadable http_status failed impaired skipped",
    r.Layer: "network tls proxy server application login factory client unknown",
}


def finished(**verdicts):
    return Result(
        target="staging",
        identity="pool-001",
        run="0",
        depth=Probe.SEND,
        trigger=Trigger.SCHEDULE,
        started_at=0.0,
        verdicts={Probe(probe): verdict for probe, verdict in verdicts.items()},
    )


@pytest.mark.parametrize("words", LISTS, ids=lambda words: words.__name__)
def test_the_lists_are_closed(words):
    """Each list of words is the one of the design, in its order: it is extended there first."""
    assert LISTS[words].split() == list(words)


def test_every_list_of_label_values_is_held():
    """No list of words is left out of the test above, but those that no label shows."""
    lists = {value for value in vars(r).values() if isinstance(value, type) and issubclass(value, StrEnum)}

    assert lists - {
        ErrorKind,
        Trigger,
        r.SideProbe,
        r.Direction,
        r.Opcode,
        r.CertificatePlace,
        r.Handshake,
        r.Holdup,
        r.TlsVerify,
        r.Software,
        r.Ending,
        r.Confidence,
    } == set(LISTS)


def test_probes_are_ranked_by_depth():
    """A deeper probe has a higher rank, so that a session answers all up to its own."""
    assert [probe.rank for probe in (Probe.CONNECT, Probe.AUTH, Probe.SEND)] == [0, 1, 2]


@pytest.mark.parametrize(
    ("verdicts", "failed"),
    [
        ({"connect": Verdict.PASS, "auth": Verdict.PASS, "send": Verdict.PASS}, False),
        ({"connect": Verdict.PASS, "auth": Verdict.NONE, "send": Verdict.FAIL}, True),
        ({"connect": Verdict.NONE, "auth": Verdict.NONE, "send": Verdict.NONE}, False),
        ({}, False),
    ],
)
def test_a_result_failed_if_a_probe_did(verdicts, failed):
    """A session has failed if any of its probes has; one that proved nothing has not."""
    assert finished(**verdicts).failed is failed


@pytest.mark.parametrize(
    "value", [finished(), Close(1000, Initiator.LOCAL, Phase.CLOSE), SessionObservation({}, {}, Phase.CLOSE)]
)
def test_what_is_finished_cannot_change(value):
    """A finished value is frozen: every sink is told the same."""
    name = dataclasses.fields(value)[0].name

    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(value, name, None)


def test_texts_of_the_network_are_not_shown_by_accident():
    """The values that carry the peer's texts leave them out of their repr, where a log or traceback would find them."""
    close = Close(1008, Initiator.REMOTE, Phase.ADMISSION, "Bearer secret")
    facts = SessionObservation({}, {}, Phase.ADMISSION, close=close, welcome={"a": "secret"}, refusal={"b": "secret"})

    assert "secret" not in repr(facts)


def test_a_result_has_no_place_for_a_text_of_the_network():
    """Its texts are names of ours, words of the profile, addresses we looked up, names and ids fit to be shown."""
    fields = {**r.Result.__annotations__, **r.Evidence.__annotations__, **r.Frame.__annotations__}

    texts = [name for name, kind in fields.items() if "str" in str(kind)]

    assert texts == [
        "target", "identity", "run", "passed_over", "error_word", "rule", "unknown_keys",
        "connection_id", "address", "failed_addresses", "kind", "code",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (ProbeError(ErrorKind.RESET, "ECONNRESET"), "reset ECONNRESET"),
        (ProbeError(ErrorKind.DEADLINE), "deadline"),
        (ProbeError(ErrorKind.STATUS, status=429, retry_after=7.0), "status"),
    ],
)
def test_a_fault_says_its_kind_and_our_detail(fault, words):
    """A fault in words is its kind and a detail of ours, nothing else."""
    assert str(fault) == words


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("ws_staging-_1757372500_9f3a2b1c", "ws_staging-_1757372500_9f3a2b1c"),
        ("a.b:c-d_E9", "a.b:c-d_E9"),
        ("x" * 64, "x" * 64),
        ("x" * 65, None),
        ("", None),
        ("a b", None),
        ("a\n", None),
        ("a\x1b[31m", None),
        ("é", None),
        ("١", None),
        ("<b>", None),
        ("a/b", None),
        (7, "7"),
        (10**64, None),
        (True, None),
        (None, None),
        (["a"], None),
        ({"a": 1}, None),
    ],
)
def test_only_plain_short_identifiers_are_shown(value, shown):
    """An identifier of the network is shown if it is 1 to 64 plain ASCII characters, else not at all."""
    assert evidence_text(value) == shown


@calm
@given(st.one_of(st.text(), st.binary(), st.floats(), st.from_regex(r"[\w.:-]{1,70}")))
def test_whatever_is_shown_is_harmless(value):
    """What passes needs no escaping in a log line, a label or a page, and is unchanged."""
    shown = evidence_text(value)

    assert shown is None or (shown == value and re.fullmatch(r"[A-Za-z0-9_.:-]{1,64}", shown))
