"""Package `metrics`: names and types, what is primed, what each result counts, what is gone after removal."""

import re
from dataclasses import replace
from itertools import product

import pytest
from prometheus_client import REGISTRY
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from support import exposition

from exporter.classify import LEGAL_FAILURES, LeakFindings, OutageCause, close_label, failing_phases, legal_closes
from exporter.config import Profile, Target
from exporter.metrics import ExpositionFormat, Metrics, target_series
from exporter.metrics import families as f
from exporter.metrics.layout import layout_of
from exporter.metrics.series import http_code, legal_series
from exporter.profiles import BUILT_IN, phases_of, probes_of
from exporter.result import (
    Close,
    Evidence,
    FactoryReason,
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

FACTORY = BUILT_IN["factory"]
LINES = 361
PASS = dict.fromkeys(Probe, Verdict.PASS)
REFUSED = {Probe.CONNECT: Verdict.PASS, Probe.AUTH: Verdict.PASS, Probe.SEND: Verdict.FAIL}
UNPROVED = {Probe.CONNECT: Verdict.PASS, Probe.AUTH: Verdict.NONE, Probe.SEND: Verdict.FAIL}
SECONDS = {
    Phase.RESOLVE: 0.001,
    Phase.TCP: 0.002,
    Phase.TLS: 0.02,
    Phase.UPGRADE: 0.01,
    Phase.ADMISSION: 0.11,
    Phase.REPLY: 0.003,
    Phase.CLOSE: 0.002,
}


def series_of(**changes):
    profile = changes.pop("profile_data", FACTORY)
    fields = {
        "name": "staging",
        "url": "wss://localhost/ws",
        "identities": {"pool-001": "u1", "pool-002": "u2", "uuid-001": "u3"},
        "probes": {"send": {"every": 3}},
        "interval": "20s",
        **changes,
    }
    return target_series(Target.model_validate(fields), profile)


def passed(**changes):
    result = Result(
        target="staging",
        identity="pool-001",
        run="r1",
        depth=Probe.SEND,
        trigger=Trigger.SCHEDULE,
        started_at=1_000.0,
        verdicts=PASS,
        durations={Probe.CONNECT: 0.03, Probe.AUTH: 0.14, Probe.SEND: 0.15},
        phases=SECONDS,
        close=Close(1000, Initiator.LOCAL, Phase.CLOSE),
        passed_over={"ping": 1},
        evidence=Evidence(
            connection_id="c1",
            server_time=1_001.0,
            clock_skew=0.4,
            heartbeat_interval=45.0,
            max_message_size=8192.0,
            certificate_expiry=2_000_000.0,
        ),
    )
    return replace(result, **changes)


def slot_limit(**changes):
    return passed(
        verdicts=REFUSED,
        durations={Probe.CONNECT: 0.03, Probe.AUTH: 0.04},
        phases={phase: SECONDS[phase] for phase in (Phase.RESOLVE, Phase.TCP, Phase.TLS, Phase.UPGRADE)},
        phase=Phase.ADMISSION,
        reason=Reason.FACTORY,
        factory_reason=FactoryReason.SLOT_LIMIT,
        slot_limit=5,
        close=Close(1011, Initiator.REMOTE, Phase.ADMISSION),
        passed_over={},
        evidence=Evidence(),
        **changes,
    )


@pytest.fixture
def metrics():
    made = Metrics("1.2.3")
    made.add_target(series_of())
    return made


scrape = exposition.samples


def value(metrics, name, **labels):
    return exposition.value(metrics, name, target="staging", **labels)


def changed(metrics, before):
    """Samples that differ from `before`, without buckets, sums and gauges of time."""
    plain = re.compile(r"ws_\w+(?<!_bucket)(?<!_sum)(?<!_timestamp_seconds)")
    return {
        (name, *sorted(value for key, value in labels if key != "target")): value - before.get((name, labels), 0)
        for (name, labels), value in scrape(metrics).items()
        if plain.fullmatch(name) and value != before.get((name, labels))
    }


# Families ---------------------------------------------------------------------------------------------------------

DESIGN = """
ws_probe_attempts_total counter target probe
ws_probe_failures_total counter target probe phase reason
ws_probe_layer_failures_total counter target layer
ws_probe_cycles_total counter target probe
ws_probe_cycle_failures_total counter target probe
ws_probe_impaired_total counter target reason
ws_probe_skips_total counter target cause
ws_probe_success gauge target probe
ws_probe_outage gauge target cause
ws_probe_sentinel_success gauge target
ws_probe_sentinel_connects_total counter target outcome
ws_probe_suspicions_total counter target outcome
ws_hold_up gauge target
ws_hold_opened_timestamp_seconds gauge target
ws_hold_round_trip_seconds histogram target level
ws_hold_deaf gauge target
ws_hold_heartbeats_total counter target level
ws_hold_heartbeat_lost gauge target level
ws_hold_heartbeat_interval_seconds gauge target level
ws_hold_ends_total counter target end
ws_hold_idle_cut_seconds gauge target
ws_hold_age_cut_seconds gauge target
ws_probe_duration_seconds histogram target probe
ws_probe_phase_duration_seconds histogram target phase
ws_probe_closes_total counter target phase code initiator
ws_probe_http_rejections_total counter target code
ws_probe_passed_over_messages_total counter target kind
ws_probe_last_run_timestamp_seconds gauge target probe
ws_probe_last_success_timestamp_seconds gauge target probe
ws_probe_due_timestamp_seconds gauge target probe
ws_probe_interval_seconds gauge target probe
ws_probe_timeout_seconds gauge target
ws_probe_target_info gauge target
ws_probe_slow_total counter target probe
ws_probe_slow_threshold_seconds gauge target probe
ws_probe_open_connections gauge target
ws_probe_certificate_expiry_timestamp_seconds gauge target
ws_probe_identity_attempts_total counter target identity
ws_probe_identity_failures_total counter target identity
ws_probe_identity_resting gauge target identity
ws_probe_token_resting gauge target
ws_factory_validation_failures_total counter target reason
ws_factory_valid gauge target
ws_factory_slot_limit gauge target
ws_factory_slots_held gauge target identity
ws_factory_slots_budget gauge target identity
ws_factory_slots_leaked gauge target
ws_factory_slot_release_seconds gauge target
ws_stats_value gauge target field
ws_stats_limit gauge target field
ws_stats_reads_total counter target outcome
ws_factory_clock_skew_seconds gauge target
ws_factory_heartbeat_interval_seconds gauge target
ws_factory_max_message_size_bytes gauge target
ws_factory_auth_bypassed gauge target
ws_probe_refusal_success gauge target case
ws_probe_refusal_bypassed gauge target case
ws_probe_refusal_attempts_total counter target case outcome
ws_exporter_build_info gauge version pythonversion
ws_exporter_origin_info gauge origin
ws_exporter_event_loop_lag_seconds gauge
ws_exporter_distorted_runs_total counter
ws_exporter_config_last_reload_successful gauge
ws_exporter_config_last_reload_success_timestamp_seconds gauge
ws_exporter_otlp_exports_total counter outcome
"""


def test_the_families_are_those_of_the_design():
    """Names, types and the order of labels are a contract (docs/design.md#metrics-contract)."""
    assert [" ".join((family.name, family.kind, *family.labels)) for family in f.ALL] == DESIGN.split("\n")[1:-1]


@pytest.mark.parametrize("family", f.ALL, ids=lambda family: family.name)
def test_every_help_is_one_short_sentence_that_says_where_the_figure_comes_from(family):
    """HELP names the unit where there is one, and scheduled probing or the exporter as the source."""
    assert family.help[0].isupper() or family.help[0].isdigit()
    assert family.help.endswith(".")
    assert family.help.count(". ") == 0
    assert len(family.help) < 130
    assert any(word in family.help for word in ("cheduled", "exporter", "target", "backend"))
    for unit in ("seconds", "bytes"):
        if family.name.endswith(f"_{unit}"):
            assert unit in family.help.lower()


@pytest.mark.parametrize("family", [f.DURATION, f.PHASE_DURATION], ids=lambda family: family.name)
def test_buckets_are_few_and_the_default_timeout_is_a_boundary(family):
    """At most ten buckets with +Inf, ascending, and 10 s lies on one."""
    assert len(family.buckets) + 1 <= 10
    assert sorted(set(family.buckets)) == list(family.buckets)
    assert Target.model_fields["timeout"].default in family.buckets


@pytest.mark.parametrize("form", ExpositionFormat)
def test_a_page_ends_with_the_figures_of_process_and_python(metrics, form):
    """Nothing of ours is on the global registry; process, platform and gc figures stand behind ours, nothing twice."""
    found = [family.name for family in exposition.PARSERS[form](exposition.page(metrics, form))]
    assert {"process_start_time_seconds", "python_info", "python_gc_collections"} <= set(found)
    assert len(found) == len(set(found))
    assert not any(family.name.startswith("ws_") for family in REGISTRY.collect())
    assert not any(name.endswith("_created") for name in found)


def test_two_live_side_by_side(metrics):
    """What one counts the other does not know."""
    other = Metrics("9")
    other.add_target(series_of())
    metrics.record_result(passed())
    assert value(other, "ws_probe_attempts_total", probe="send") == 0


# Priming ----------------------------------------------------------------------------------------------------------


def test_every_legal_failure_stands_at_zero(metrics):
    """Each (probe, phase, reason) that can be is there before the first session, and no other."""
    expected = {
        (probe.value, phase.value, reason.value)
        for probe in Probe
        for phase in failing_phases(probe, FACTORY, tls=True)
        for reason in LEGAL_FAILURES[phase]
    }
    found = {
        tuple(dict(labels)[name] for name in ("probe", "phase", "reason")): count
        for (name, labels), count in scrape(metrics).items()
        if name == "ws_probe_failures_total"
    }
    assert found == dict.fromkeys(expected, 0)
    assert ("connect", "admission", "factory") not in found


def test_every_legal_close_stands_at_zero(metrics):
    """Each (phase, code, initiator) that can be is there, the profile's own codes too."""
    for phase, code, initiator in legal_closes(FACTORY, tls=True):
        labels = {"phase": phase, "code": code, "initiator": initiator}
        assert value(metrics, "ws_probe_closes_total", **labels) == 0
    assert value(metrics, "ws_probe_closes_total", phase="admission", code="4001", initiator="remote") == 0


@pytest.mark.parametrize(
    "family",
    [
        "ws_probe_success",
        "ws_probe_last_run_timestamp_seconds",
        "ws_probe_last_success_timestamp_seconds",
        "ws_probe_due_timestamp_seconds",
        "ws_probe_certificate_expiry_timestamp_seconds",
        "ws_factory_valid",
        "ws_factory_slot_limit",
        "ws_factory_slots_budget",
        "ws_factory_clock_skew_seconds",
        "ws_factory_heartbeat_interval_seconds",
        "ws_factory_max_message_size_bytes",
    ],
)
def test_what_is_not_known_yet_is_absent(metrics, family):
    """A gauge of unknown value is no series: a 0 would page at start."""
    assert family not in {name for name, _ in scrape(metrics)}


def test_what_a_canary_knows_is_a_series_of_its_target_alone(metrics):
    """Absent until known and without a canary; unknown again with another URL; no other figure changes."""
    before = scrape(metrics)
    metrics.set_leak_findings("staging", LeakFindings(2, 328.5))
    assert scrape(metrics) == before
    canary = {"identity": {"canary-001": "u4"}}
    metrics.add_target(series_of(canary=canary))
    metrics.set_leak_findings("staging", LeakFindings(None, None))
    assert scrape(metrics) == before
    metrics.set_leak_findings("staging", LeakFindings(2, None))
    metrics.set_leak_findings("staging", LeakFindings(0, 328.5))
    assert value(metrics, "ws_factory_slots_leaked") == 0
    assert value(metrics, "ws_factory_slot_release_seconds") == 328.5
    metrics.clear_learned("staging")
    assert scrape(metrics) == before
    metrics.set_leak_findings("removed", LeakFindings(2, 328.5))
    assert scrape(metrics) == before


def test_what_the_config_says_is_there_at_once(metrics):
    """Interval × every, timeout, and zeros for what can only be counted."""
    assert value(metrics, "ws_probe_interval_seconds", probe="connect") == 20
    assert value(metrics, "ws_probe_interval_seconds", probe="send") == 60
    assert value(metrics, "ws_probe_timeout_seconds") == 10
    assert value(metrics, "ws_probe_open_connections") == 0
    assert value(metrics, "ws_probe_identity_resting", identity="uuid-001") == 0
    assert value(metrics, "ws_factory_slots_held", identity="uuid-001") == 0
    assert value(metrics, "ws_factory_auth_bypassed") == 0
    for cause in SkipCause:
        assert value(metrics, "ws_probe_skips_total", cause=cause) == 0
    for reason in FactoryReason:
        assert value(metrics, "ws_factory_validation_failures_total", reason=reason) == 0


def test_a_backend_without_welcome_has_no_factory_series_and_no_auth():
    """The echo profile, unencrypted, has two probes, no admission, no tls, nothing of a factory."""
    metrics = Metrics("1")
    metrics.add_target(series_of(profile_data=BUILT_IN["echo"], url="ws://localhost/", identities={}))
    metrics.record_result(passed(identity=None, phases={Phase.UPGRADE: 0.1, Phase.REPLY: 0.1}, evidence=Evidence()))
    ours = [(name, dict(labels)) for name, labels in scrape(metrics) if "target" in dict(labels)]
    assert not [name for name, _ in ours if name.startswith(("ws_factory", "ws_probe_identity", "ws_probe_certif"))]
    assert {labels["probe"] for _, labels in ours if "probe" in labels} == {"connect", "send"}
    assert {labels["phase"] for _, labels in ours if "phase" in labels} == {
        "resolve",
        "tcp",
        "upgrade",
        "reply",
        "close",
    }
    assert metrics.unexpected_series() == []


def test_no_target_takes_more_lines_than_we_promise():
    """With everything known, one wss target of the factory with three identities adds at most 360 lines."""
    metrics = Metrics("1")
    nothing = len(exposition.page(metrics).splitlines())
    target = series_of()
    metrics.add_target(target)
    metrics.record_result(slot_limit())
    metrics.record_result(passed())
    for probe in Probe:
        metrics.set_due("staging", probe, 5.0)
    for identity in target.identities:
        metrics.set_identity("staging", identity, held=1, budget=4, resting=False)
    lines = len(exposition.page(metrics).splitlines()) - nothing
    histograms = sum(len(key[0].buckets) + 2 for key in legal_series(target) if key[0].kind == "histogram")
    assert lines == len(legal_series(target)) + histograms
    assert lines <= LINES


def test_labels_of_the_config_stand_on_the_info_series_alone():
    """Whatever a value holds, the page parses back to it; every other series stays as it is."""
    value = 'pay "100%s" \\ü{}'
    plain, labelled = Metrics("1"), Metrics("1")
    plain.add_target(series_of())
    labelled.add_target(series_of(labels={"team": value, "env": "x"}))

    families = {family.name: family for family in parse_text(exposition.page(labelled))}
    (info,) = families["ws_probe_target_info"].samples
    assert (info.labels, info.value) == ({"target": "staging", "team": value, "env": "x"}, 1)
    shown = [
        [line for line in exposition.page(each).splitlines() if "target_info{" not in line]
        for each in (plain, labelled)
    ]
    ours = [[line for line in lines if line.startswith("ws_")] for lines in shown]
    assert ours[0] == ours[1]


def test_labels_change_and_no_count_is_lost():
    """A reload gives another value: the series is another one, the counts of the target go on."""
    metrics = Metrics("1")
    metrics.add_target(series_of(labels={"team": "one"}))
    metrics.record_result(passed())
    metrics.add_target(series_of(labels={"team": "two"}, slow_over="1s"))

    page = exposition.page(metrics)
    assert 'ws_probe_target_info{target="staging",team="two"} 1' in page
    assert 'team="one"' not in page
    assert 'ws_probe_attempts_total{target="staging",probe="send"} 1' in page
    assert 'ws_probe_slow_threshold_seconds{target="staging",probe="send"} 1.0' in page


@pytest.mark.parametrize(("limit", "slow"), [("50ms", 1), ("20s", 0)])
def test_a_passed_probe_that_takes_longer_than_slow_over_counts_as_slow(limit, slow):
    """By the target's own threshold, for each probe that is in the histogram."""
    metrics = Metrics("1")
    metrics.add_target(series_of(slow_over=limit))
    result = passed()
    metrics.record_result(replace(result, durations=dict.fromkeys(result.durations, 0.06)))
    metrics.record_result(replace(result, durations=dict.fromkeys(result.durations, 9.0), distorted=True))

    page = exposition.page(metrics)
    for probe in Probe:
        assert f'ws_probe_slow_total{{target="staging",probe="{probe}"}} {slow}\n' in page


# Results ----------------------------------------------------------------------------------------------------------


def test_a_passed_session_counts_once_everywhere(metrics):
    """Attempts, durations, phases, close, identity, message and gauges; no failure."""
    before = scrape(metrics)
    metrics.record_result(passed())
    expected = {("ws_probe_attempts_total", probe.value): 1 for probe in Probe}
    expected |= {("ws_probe_success", probe.value): 1 for probe in Probe}
    expected |= {("ws_probe_duration_seconds_count", probe.value): 1 for probe in Probe}
    expected |= {("ws_probe_phase_duration_seconds_count", phase.value): 1 for phase in SECONDS}
    expected |= {
        ("ws_probe_closes_total", "1000", "close", "local"): 1,
        ("ws_probe_passed_over_messages_total", "ping"): 1,
        ("ws_probe_identity_attempts_total", "pool-001"): 1,
        ("ws_factory_valid",): 1,
        ("ws_factory_clock_skew_seconds",): 0.4,
        ("ws_factory_heartbeat_interval_seconds",): 45,
        ("ws_factory_max_message_size_bytes",): 8192,
    }
    expected |= {("ws_probe_outage", cause.value): 0 for cause in OutageCause}
    assert changed(metrics, before) == expected
    assert value(metrics, "ws_probe_last_run_timestamp_seconds", probe="send") == 1_000
    assert value(metrics, "ws_probe_last_success_timestamp_seconds", probe="send") == 1_000
    assert value(metrics, "ws_probe_certificate_expiry_timestamp_seconds") == 2_000_000


def test_a_slot_limit_incident_reads_as_what_it_was(metrics):
    """Connect 1, auth 1, send 0; counted at admission as factory, slot_limit; remote 1011; the limit learned."""
    before = scrape(metrics)
    metrics.record_result(slot_limit())
    expected = {("ws_probe_attempts_total", probe.value): 1 for probe in Probe}
    expected |= {
        (f"ws_probe_{kind}", probe): 1
        for kind in ("success", "duration_seconds_count")
        for probe in ("connect", "auth")
    }
    expected |= {("ws_probe_phase_duration_seconds_count", p): 1 for p in ("resolve", "tcp", "tls", "upgrade")}
    expected |= {
        ("ws_probe_success", "send"): 0,
        ("ws_probe_failures_total", "admission", "factory", "send"): 1,
        ("ws_factory_validation_failures_total", "slot_limit"): 1,
        ("ws_factory_valid",): 0,
        ("ws_factory_slot_limit",): 5,
        ("ws_probe_closes_total", "1011", "admission", "remote"): 1,
        ("ws_probe_identity_attempts_total", "pool-001"): 1,
        ("ws_probe_identity_failures_total", "pool-001"): 1,
    }
    not_yet = {OutageCause.SLOTS, OutageCause.INTERNAL_ERROR}
    expected |= {("ws_probe_outage", cause.value): 0 for cause in OutageCause if cause not in not_yet}
    assert changed(metrics, before) == expected
    assert value(metrics, "ws_probe_last_run_timestamp_seconds", probe="send") == 1_000
    assert value(metrics, "ws_probe_last_success_timestamp_seconds", probe="send") is None


def test_nothing_proved_counts_nothing_but_was_a_run(metrics):
    """A verdict of `-` leaves attempts, failures and success alone; the probe was asked all the same."""
    metrics.record_result(passed())
    metrics.record_result(replace(slot_limit(), verdicts=UNPROVED, started_at=2_000.0))
    assert value(metrics, "ws_probe_attempts_total", probe="auth") == 1
    assert value(metrics, "ws_probe_success", probe="auth") == 1
    assert value(metrics, "ws_probe_last_run_timestamp_seconds", probe="auth") == 2_000
    assert value(metrics, "ws_probe_last_success_timestamp_seconds", probe="auth") == 1_000


def test_a_shallow_session_says_nothing_of_deeper_probes(metrics):
    """Connect depth touches connect alone, and no identity where the profile connects without a token."""
    verdicts = {Probe.CONNECT: Verdict.PASS, Probe.AUTH: Verdict.NONE, Probe.SEND: Verdict.NONE}
    before = scrape(metrics)
    metrics.record_result(
        passed(depth=Probe.CONNECT, verdicts=verdicts, durations={Probe.CONNECT: 0.1}, phases={}, evidence=Evidence())
    )
    assert not [key for key in changed(metrics, before) if {"auth", "send", "pool-001"} & set(key)]
    assert value(metrics, "ws_probe_last_run_timestamp_seconds", probe="auth") is None
    assert value(metrics, "ws_factory_valid") is None


def test_a_dead_network_is_a_failure_of_every_probe_in_its_own_phase(metrics):
    """A refused connection is tcp/refused for all three, and no close."""
    verdicts = dict.fromkeys(Probe, Verdict.FAIL)
    metrics.record_result(
        passed(
            verdicts=verdicts,
            durations={},
            phases={Phase.RESOLVE: 0.1},
            close=None,
            phase=Phase.TCP,
            reason=Reason.REFUSED,
        )
    )
    for probe in Probe:
        assert value(metrics, "ws_probe_failures_total", probe=probe, phase="tcp", reason="refused") == 1
        assert value(metrics, "ws_probe_success", probe=probe) == 0
    assert value(metrics, "ws_probe_closes_total", phase="close", code="1000", initiator="local") == 0
    assert metrics.unexpected_series() == []


@pytest.mark.parametrize("impairment", Impairment)
def test_our_own_failure_counts_as_impaired_and_nothing_else(metrics, impairment):
    """No verdict, no close, no run: nobody's outage."""
    before = scrape(metrics)
    metrics.record_result(passed(impairment=impairment, verdicts=dict.fromkeys(Probe, Verdict.NONE)))
    assert changed(metrics, before) == {("ws_probe_impaired_total", impairment.value): 1}
    assert value(metrics, "ws_probe_last_run_timestamp_seconds", probe="connect") is None


def test_a_distorted_session_counts_but_its_durations_do_not(metrics):
    """Verdicts count, histograms stay untouched, and the exporter says how often that was."""
    metrics.record_result(passed(distorted=True))
    assert value(metrics, "ws_probe_attempts_total", probe="send") == 1
    assert value(metrics, "ws_probe_duration_seconds_count", probe="send") == 0
    assert value(metrics, "ws_probe_phase_duration_seconds_count", phase="reply") == 0
    assert exposition.value(metrics, "ws_exporter_distorted_runs_total") == 1


def test_the_duration_of_a_failed_probe_is_never_observed(metrics):
    """Failures are faster than successes here: a duration handed in for one is left out."""
    metrics.record_result(replace(slot_limit(), durations=dict.fromkeys(Probe, 0.01)))
    assert value(metrics, "ws_probe_duration_seconds_count", probe="send") == 0
    assert value(metrics, "ws_probe_duration_seconds_count", probe="auth") == 1


@pytest.mark.parametrize(
    ("status", "label"),
    [
        (301, "3xx"),
        (307, "3xx"),
        (400, "400"),
        (403, "403"),
        (418, "other"),
        (429, "429"),
        (502, "502"),
        (599, "other"),
    ],
)
def test_http_statuses_become_a_closed_list(metrics, status, label):
    """What a proxy makes up is `other`."""
    assert http_code(status) == label
    metrics.record_result(passed(http_status=status))
    assert value(metrics, "ws_probe_http_rejections_total", code=label) == 1


def test_a_switched_protocol_is_no_rejection(metrics):
    """101 counts nowhere."""
    before = scrape(metrics)
    metrics.record_result(passed(http_status=101))
    assert not [key for key in changed(metrics, before) if "rejections" in key[0]]


def test_kinds_that_the_profile_does_not_know_are_other(metrics):
    """A kind is never a text of the network."""
    metrics.record_result(passed(passed_over={"evil\n{}": 3, "ping": 2}))
    assert value(metrics, "ws_probe_passed_over_messages_total", kind="other") == 3
    assert value(metrics, "ws_probe_passed_over_messages_total", kind="ping") == 2


@pytest.mark.parametrize(("code", "label"), [(1011, "1011"), (4001, "4001"), (4999, "4xxx"), (3333, "3xxx")])
def test_close_codes_become_the_labels_of_the_profile(metrics, code, label):
    """Registered codes and the profile's own are themselves, the rest a class."""
    metrics.record_result(passed(close=Close(code, Initiator.REMOTE, Phase.ADMISSION)))
    assert value(metrics, "ws_probe_closes_total", phase="admission", code=label, initiator="remote") == 1
    assert close_label(code, FACTORY) == label


def test_an_unexpected_series_is_counted_and_can_be_found(metrics):
    """An illegal combination makes its series all the same, and `unexpected_series` names it."""
    assert metrics.unexpected_series() == []
    metrics.record_result(passed(close=Close(1000, Initiator.NONE, Phase.RESOLVE)))
    assert value(metrics, "ws_probe_closes_total", phase="resolve", code="1000", initiator="none") == 1
    assert metrics.unexpected_series() == [("ws_probe_closes_total", ("staging", "resolve", "1000", "none"))]


def test_no_legal_series_is_unexpected(metrics):
    """Every legal failure and close of every depth, observed, makes no series that was not there."""
    for phase, reason in ((phase, reason) for phase, reasons in LEGAL_FAILURES.items() for reason in reasons):
        for probe in Probe:
            if phase in failing_phases(probe, FACTORY, tls=True):
                metrics.record_result(passed(verdicts={probe: Verdict.FAIL}, phase=phase, reason=reason))
    for phase, code, initiator in legal_closes(FACTORY, tls=True):
        metrics.record_result(passed(close=Close(int(code.replace("xxx", "999")), initiator, phase)))
    for reason, status in product(FactoryReason, (301, 404, 999)):
        metrics.record_result(replace(slot_limit(), factory_reason=reason, http_status=status))
    assert metrics.unexpected_series() == []


# Cycles, skips, states --------------------------------------------------------------------------------------------


def test_a_cycle_counts_one_verdict_for_each_probe_that_has_one(metrics):
    """`-` is no verdict; only `cycle` feeds these counters."""
    metrics.record_result(passed())
    metrics.record_cycle(replace(slot_limit(), verdicts=UNPROVED))
    assert [value(metrics, "ws_probe_cycles_total", probe=probe) for probe in Probe] == [1, 0, 1]
    assert [value(metrics, "ws_probe_cycle_failures_total", probe=probe) for probe in Probe] == [0, 0, 1]


def test_skips_are_counted_by_cause(metrics):
    """Each cause has its counter."""
    for cause in SkipCause:
        metrics.record_skip(Skip("staging", cause))
        assert value(metrics, "ws_probe_skips_total", cause=cause) == 1


def test_gauges_are_set(metrics):
    """Due, connections, slots, rest, bypass, lag and reload are set as said."""
    metrics.set_due("staging", Probe.SEND, 77.0)
    metrics.set_open_connections("staging", 2)
    metrics.set_identity("staging", "pool-001", held=3, budget=None, resting=True)
    metrics.set_identity("staging", "pool-002", held=1, budget=4, resting=False)
    metrics.set_auth_bypassed("staging", bypassed=True)
    metrics.set_loop_lag(0.25)
    metrics.record_reload(500.0, successful=True)
    metrics.record_reload(600.0, successful=False)
    assert value(metrics, "ws_probe_due_timestamp_seconds", probe="send") == 77
    assert value(metrics, "ws_probe_open_connections") == 2
    assert value(metrics, "ws_probe_identity_resting", identity="pool-001") == 1
    assert value(metrics, "ws_factory_slots_held", identity="pool-001") == 3
    assert value(metrics, "ws_factory_slots_budget", identity="pool-001") is None
    assert value(metrics, "ws_factory_slots_budget", identity="pool-002") == 4
    assert value(metrics, "ws_factory_auth_bypassed") == 1
    assert exposition.value(metrics, "ws_exporter_event_loop_lag_seconds") == 0.25
    assert exposition.value(metrics, "ws_exporter_config_last_reload_successful") == 0
    assert exposition.value(metrics, "ws_exporter_config_last_reload_success_timestamp_seconds") == 500


def test_the_build_says_its_version(metrics):
    """One series with the version in a label."""
    builds = [
        (dict(labels)["version"], shown) for (name, labels), shown in scrape(metrics).items() if "build_info" in name
    ]
    assert builds == [("1.2.3", 1)]


def test_the_origin_is_one_series_of_its_own():
    """An exporter with an origin says so once, and no other series has the label; one without says nothing of it."""
    with_origin, without = Metrics("1", "site-a"), Metrics("1")
    for each in (with_origin, without):
        each.add_target(series_of())

    assert exposition.value(with_origin, "ws_exporter_origin_info", origin="site-a") == 1
    (only,) = scrape(with_origin).keys() - scrape(without).keys()
    assert only == ("ws_exporter_origin_info", frozenset({("origin", "site-a")}))


# Targets that come and go -----------------------------------------------------------------------------------------


def test_a_removed_target_leaves_nothing_and_does_not_come_back(metrics):
    """Every series goes, strays too, and a session that ends later makes none."""
    metrics.record_result(passed(close=Close(1000, Initiator.NONE, Phase.RESOLVE)))
    metrics.remove_target("staging")
    metrics.remove_target("staging")
    metrics.record_result(passed())
    metrics.record_cycle(passed())
    metrics.record_skip(Skip("staging", SkipCause.LATE))
    metrics.set_due("staging", Probe.SEND, 1.0)
    metrics.set_open_connections("staging", 0)
    metrics.set_identity("staging", "pool-001", held=0, budget=1, resting=False)
    metrics.set_auth_bypassed("staging", bypassed=False)
    assert not [labels for _, labels in scrape(metrics) if "target" in dict(labels)]


def test_a_removed_target_leaves_its_neighbour_alone(metrics):
    """Only the series of that name go."""
    metrics.add_target(series_of(name="other"))
    metrics.record_result(passed(target="other"))
    metrics.remove_target("staging")
    assert exposition.value(metrics, "ws_probe_attempts_total", target="other", probe="send") == 1


def test_targets_share_a_layout_whatever_their_identities_are_called(metrics):
    """A thousand pools of their own names cost a thousand lists, and each name stands on its own series."""
    before = layout_of.cache_info().misses
    for number in range(20):
        pool = {f"one-{number}": "u1", f"two-{number}": "u2", f"three-{number}": "u3"}
        metrics.add_target(series_of(name=f"t{number}", identities=pool))
    metrics.record_result(passed(target="t7", identity="two-7"))
    assert layout_of.cache_info().misses == before
    assert exposition.value(metrics, "ws_probe_identity_attempts_total", target="t7", identity="two-7") == 1
    assert exposition.value(metrics, "ws_probe_identity_attempts_total", target="t7", identity="one-7") == 0
    assert exposition.value(metrics, "ws_probe_identity_attempts_total", target="t8", identity="two-8") == 0
    assert metrics.unexpected_series() == []


def test_a_pool_that_is_reordered_keeps_the_counts_of_each_name(metrics):
    """An identity's figures follow its name, not its place."""
    metrics.record_result(passed(identity="uuid-001"))
    metrics.add_target(series_of(identities={"uuid-001": "u3", "pool-001": "u1"}))
    assert value(metrics, "ws_probe_identity_attempts_total", identity="uuid-001") == 1
    assert value(metrics, "ws_probe_identity_attempts_total", identity="pool-001") == 0


def test_a_changed_target_keeps_its_counts_and_loses_what_it_has_no_more(metrics):
    """A reload keeps counters; identities, phases and probes that went leave no series."""
    metrics.record_result(passed())
    metrics.record_result(passed(identity="pool-002"))
    metrics.add_target(series_of(url="ws://localhost/ws", identities={"pool-001": "u1", "new": "u4"}, interval="40s"))
    assert value(metrics, "ws_probe_attempts_total", probe="send") == 2
    assert value(metrics, "ws_probe_success", probe="send") == 1
    assert value(metrics, "ws_probe_interval_seconds", probe="connect") == 40
    assert value(metrics, "ws_probe_identity_attempts_total", identity="pool-001") == 1
    assert value(metrics, "ws_probe_identity_attempts_total", identity="new") == 0
    assert value(metrics, "ws_probe_identity_attempts_total", identity="pool-002") is None
    assert value(metrics, "ws_probe_phase_duration_seconds_count", phase="tls") is None
    assert metrics.unexpected_series() == []


def test_a_page_is_of_one_moment_however_long_it_takes(metrics):
    """What comes, goes, changes shape and counts while a page is being written shows on the next one, whole."""
    for name in ("gone", "changed"):
        metrics.add_target(series_of(name=name))
    before = exposition.samples(metrics)
    reading = metrics.samples(ExpositionFormat.TEXT)
    first = next(reading)
    metrics.record_result(slot_limit())
    metrics.record_result(passed(close=Close(1000, Initiator.NONE, Phase.RESOLVE)))
    metrics.remove_target("gone")
    metrics.add_target(series_of(name="changed", url="ws://localhost/ws", identities={"new": "u9"}))
    metrics.add_target(series_of(name="new"))
    metrics.record_result(passed(target="new"))
    metrics.set_loop_lag(9.0)
    assert exposition.parsed(first + "".join(reading)) == before
    assert value(metrics, "ws_probe_attempts_total", probe="send") == 2
    assert exposition.value(metrics, "ws_probe_attempts_total", target="new", probe="send") == 1
    assert exposition.value(metrics, "ws_exporter_event_loop_lag_seconds") == 9


def test_an_unfinished_scrape_blocks_no_other(metrics):
    """Each reading has its own moment; an abandoned one ends with its iterator, and later ones see what was counted."""
    before = exposition.samples(metrics)
    reading = metrics.samples(ExpositionFormat.TEXT)
    first = next(reading)
    metrics.record_result(passed())
    other = metrics.samples(ExpositionFormat.TEXT)
    second = next(other)
    metrics.record_result(passed())
    assert exposition.parsed(second + "".join(other)) != before
    assert exposition.parsed(first + "".join(reading)) == before
    assert value(metrics, "ws_probe_attempts_total", probe="send") == 2
    metrics.samples(ExpositionFormat.TEXT).close()
    assert all(not store._copies for store in [metrics._storage.own(), *metrics._storage._stores.values()])


def test_text_and_openmetrics_have_the_same_samples(metrics):
    """Text and OpenMetrics differ in heads and end only; every sample is in both."""
    metrics.record_result(passed())
    metrics.record_result(slot_limit())
    told = [
        [
            (sample.name, sample.labels, sample.value)
            for family in exposition.families(metrics, form)
            for sample in family.samples
        ]
        for form in ExpositionFormat
    ]
    assert told[0] == told[1]
    assert [family.type for family in exposition.families(metrics)] == [family.kind for family in f.ALL]


def test_a_histogram_counts_as_the_library_would(metrics):
    """Buckets are cumulative, a value on a boundary belongs to it (le), count and sum are of all."""
    for seconds in (0.0, 0.005, 0.0051, 10.0, 99.0):
        metrics.record_result(passed(phases={Phase.REPLY: seconds}))
    bounds = [*map(str, map(float, f.PHASE_BUCKETS)), "+Inf"]
    name = "ws_probe_phase_duration_seconds"
    assert [value(metrics, f"{name}_bucket", phase="reply", le=le) for le in bounds] == [2, 3, 3, 3, 3, 4, 5]
    assert value(metrics, f"{name}_count", phase="reply") == 5
    assert value(metrics, f"{name}_sum", phase="reply") == pytest.approx(109.0101)


def test_a_profile_of_the_config_is_primed_like_a_built_in_one():
    """Own noise kinds, an auth message and the phases it brings."""
    profile = Profile.model_validate(
        {
            "welcome": {"match": {"type": "hello"}},
            "auth": {"message": {"t": "${token}"}, "match": {"ok": True}},
            "send": {"message": {"id": "${nonce}"}, "match": {"id": "${nonce}"}},
            "noise": [{"type": "tick"}],
        }
    )
    metrics = Metrics("1")
    metrics.add_target(series_of(profile_data=profile))
    assert value(metrics, "ws_probe_passed_over_messages_total", kind="tick") == 0
    assert value(metrics, "ws_probe_phase_duration_seconds_count", phase="auth") == 0
    assert value(metrics, "ws_probe_failures_total", probe="auth", phase="auth", reason="auth_rejected") == 0
    assert probes_of(profile) == tuple(Probe)
    assert Phase.AUTH in phases_of(profile, tls=True)


def test_a_scrape_parses_as_openmetrics(metrics):
    """The library's own strict parser takes what we make."""
    metrics.record_result(passed())
    metrics.record_result(slot_limit())
    text = exposition.page(metrics, ExpositionFormat.OPENMETRICS)
    assert {family.name for family in parse_openmetrics(text)} >= {"ws_probe_attempts", "ws_factory_valid"}
