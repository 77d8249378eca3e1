"""The table of expectations `tests/data/faults.yml` is well formed and does not contradict itself."""

import re
from collections import Counter

import pytest
import yaml
from support.paths import DATA

from exporter.result import FactoryReason, Impairment, Initiator, Phase, Probe, Reason, SkipCause, Verdict

TEXT = (DATA / "faults.yml").read_text(encoding="utf-8")
ROWS = yaml.safe_load(TEXT)

# fmt: off
MUST = {
    "fault", "over", "depth", "connect", "auth", "send", "phase", "reason", "factory_reason", "close",
    "slot_limit", "http_status", "impairment", "source",
}
MAY = {"next", "setup", "note"}
FAULTS = {
    "none", "slot_limit", "init_failed", "startup_incomplete", "internal_error", "recovery_frame",
    "auth_rejected", "auth_unavailable", "no_welcome", "silent", "slow_services", "slow_welcome", "slow_reply",
    "zombie", "deaf", "noise", "wrong_user", "wrong_environment", "repeated_connection_id", "frozen_time",
    "not_ready", "factory_disabled", "invalid_welcome", "degraded", "name_shape", "close", "abort",
    "half_close", "http", "bad_accept", "slow_upgrade", "tls_expired", "tls_untrusted", "tls_wrong_host",
    "tls_client_required", "not_tls", "refuse", "huge_frame", "bad_utf8", "bad_opcode", "fragments",
    "no_close_answer", "forged_token_accepted", "malformed_json", "binary_welcome", "random_bytes", "too_many",
    "rate_limit_close", "unavailable", "component", "relabelled_auth", "slot_leak", "manager_leak",
    "wrong_refusal", "frozen", "no_heartbeat", "cut",
}
# fmt: on
SPEC = re.compile(r"(?P<name>[a-z0-9_]+)(?::(?P<parameters>[a-z_]+=[^,=]+(?:,[a-z_]+=[^,=]+)*))?")
SOURCE = re.compile(r"\bdocs/[\w-]+\.md#[\w-]+|\bRFC \d+|\bIANA|\bdecision: \w")
BY_STATUS = {"http_status", "rate_limited", "redirect", "auth_rejected", "auth_unavailable"}
PROBES = tuple(probe.value for probe in Probe)
OUT_OF_REACH = {Reason.DNS, Reason.UNREACHABLE}  # a server on loopback cannot make these


def words(kind):
    return {member.value for member in kind}


def fields_and_words_are_those_of_the_house(row):
    """A row has every field, no unknown one, and only words of the closed lists."""
    assert set(row) >= MUST
    assert set(row) <= MUST | MAY
    assert row["depth"] in PROBES
    assert row["over"] in (["plain", "tls"], ["plain"], ["tls"])
    assert {row[probe] for probe in PROBES} <= words(Verdict)
    for field, kind in (("phase", Phase), ("reason", Reason), ("factory_reason", FactoryReason)):
        assert row[field] is None or row[field] in words(kind)
    assert row["impairment"] is None or row["impairment"] in words(Impairment)


def fault_is_one_of_the_stand_in(row):
    """A spec is `name` or `name:key=value,...`, and the name is one of the fixed ones."""
    spec = SPEC.fullmatch(row["fault"])
    assert spec is not None
    assert spec["name"] in FAULTS


def source_says_where_it_is_written(row):
    """A row cites at least one heading, standard or decision."""
    assert SOURCE.search(row["source"])


def consequences_and_setup_are_known_words(row):
    """What follows and what must be set up is said in a fixed vocabulary."""
    after, setup = row.get("next", {}), row.get("setup", {})
    assert set(after) <= {"identity_rests", "host_rests", "confirm", "skips"}
    assert after.get("skips", "rate") in words(SkipCause)
    assert set(setup) <= {"environment", "session", "apart", "identity", "key_file", "timeout"}
    if row["depth"] == Probe.SEND:
        assert isinstance(after["confirm"], bool)


def verdicts_fit_depth_and_phase(row):
    """No verdict lies beyond the depth, none follows a failed one but a failure, and a failure has phase and reason."""
    verdicts = [row[probe] for probe in PROBES]
    reached = verdicts[: PROBES.index(row["depth"]) + 1]
    assert set(verdicts[len(reached) :]) <= {Verdict.NONE}
    failed = Verdict.FAIL in verdicts
    assert failed == (row["reason"] is not None)
    assert failed == (row["phase"] is not None and row["impairment"] is None)
    if failed:
        assert reached[-1] == Verdict.FAIL
        assert Verdict.PASS not in verdicts[verdicts.index(Verdict.FAIL) :]
    if row["connect"] != Verdict.PASS:
        assert set(reached) == {row["connect"]}
        assert row["phase"] in {"prepare", "resolve", "tcp", "tls", "upgrade"}


def factory_findings_are_whole(row):
    """`factory` always has its factory reason, and a slot limit is read exactly where slots are the reason."""
    if row["reason"] == Reason.FACTORY:
        assert row["factory_reason"] is not None
        assert row["phase"] == Phase.ADMISSION
    elif row["factory_reason"] is not None:
        assert (row["reason"], row["depth"]) == (None, Probe.AUTH)  # send was not asked
    assert (row["slot_limit"] is not None) == (row["factory_reason"] == FactoryReason.SLOT_LIMIT)
    assert row.get("next", {}).get("identity_rests", False) == (row["factory_reason"] == FactoryReason.SLOT_LIMIT)


def close_stands_where_a_websocket_was(row):
    """No 101, no close; no frame is 1006; our own closes are 1000 or a named violation and never a 1011."""
    close = row["close"]
    assert (close is None) == (row["connect"] != Verdict.PASS)
    if close is None:
        return
    assert set(close) == {"code", "initiator", "phase"}
    assert close["initiator"] in words(Initiator)
    assert close["phase"] in {Phase.ADMISSION, Phase.REPLY, Phase.CLOSE}
    assert (close["code"] == 1006) == (close["initiator"] == Initiator.NONE)
    if close["initiator"] == Initiator.LOCAL:
        assert close["code"] in {1000, 1002, 1007, 1009}
        assert (close["code"] == 1000) == (close["phase"] == Phase.CLOSE)
    if close["phase"] != Phase.CLOSE and row["phase"] is not None:
        assert close["phase"] == row["phase"]


def http_status_and_tls_stand_where_they_can(row):
    """A status belongs to a refused upgrade, and the phase tls to a wss target."""
    by_status = row["phase"] == Phase.UPGRADE and row["reason"] in BY_STATUS
    assert (row["http_status"] is not None) == by_status
    if row["phase"] == Phase.TLS:
        assert row["over"] == ["tls"]


CHECKS = (
    fields_and_words_are_those_of_the_house,
    fault_is_one_of_the_stand_in,
    source_says_where_it_is_written,
    consequences_and_setup_are_known_words,
    verdicts_fit_depth_and_phase,
    factory_findings_are_whole,
    close_stands_where_a_websocket_was,
    http_status_and_tls_stand_where_they_can,
)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['fault']}-{row['depth']}-{'-'.join(row['over'])}")
def test_a_row_is_well_formed(row):
    """A row holds only words of the closed lists, does not contradict itself, and says where it is written."""
    for check in CHECKS:
        check(row)


def test_every_fault_and_every_word_is_expected_somewhere():
    """Every fault name, and every reason and factory reason that a stand-in can cause, has a row."""
    assert {row["fault"].partition(":")[0] for row in ROWS} == FAULTS
    assert {row["reason"] for row in ROWS} == words(Reason) - words(OUT_OF_REACH) | {None}
    assert {row["factory_reason"] for row in ROWS} == words(FactoryReason) | {None}


def test_no_case_is_expected_twice():
    """One fault, depth, setup and transport has one expectation."""
    cases = Counter((r["fault"], r["depth"], str(r.get("setup")), over) for r in ROWS for over in r["over"])
    assert [case for case, count in cases.items() if count > 1] == []


def test_no_row_says_a_field_twice():
    """No key stands twice in a row: the YAML loader would keep the last one without a word."""
    for row in yaml.compose(TEXT, Loader=yaml.SafeLoader).value:
        keys = [key.value for key, _ in row.value]
        assert len(keys) == len(set(keys)), keys
