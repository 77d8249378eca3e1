"""Package `metrics`: the page of one session that was asked for: blackbox_exporter's names and meanings, and ours."""

from dataclasses import replace

import pytest
from prometheus_client import REGISTRY
from support import exposition
from support.probed_pages import DNS, EVERY, GATEWAY, HEALTHY, INCIDENT, NOT_PROVED, REFUSED, SECONDS, SILENT, page

from exporter.config import Profile
from exporter.metrics import ExpositionFormat, Metrics
from exporter.result import Phase, Probe


def shown(result, **asked):
    """(name, values of the labels) → figure."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in exposition.PARSERS[ExpositionFormat.TEXT](page(result, **asked))
        for sample in family.samples
    }


def named(told, name):
    """Label value → figure of one family."""
    return {key[1]: value for key, value in told.items() if key[0] == name}


def test_a_healthy_session_has_blackbox_exporters_metrics():
    """Success, durations, timeout, address, status, expiry: what a dashboard for blackbox_exporter asks for."""
    told = shown(HEALTHY)

    assert told["probe_success",] == 1
    assert told["probe_duration_seconds",] == 0.2
    assert told["probe_timeout_seconds",] == 9.5
    assert told["probe_dns_lookup_time_seconds",] == 0.001
    assert told["probe_ip_protocol",] == 4
    assert told["probe_ip_addr_hash",] > 0
    assert told["probe_ssl_earliest_cert_expiry",] == 4_102_358_400
    assert told["probe_websocket_status_code",] == 101
    assert told["probe_websocket_connection_upgraded",] == 1
    assert named(told, "probe_websocket_duration_seconds") == pytest.approx(
        {"resolve": 0.001, "connect": 0.002, "processing": 0.03, "transfer": 0.15}
    )


def test_a_healthy_session_has_our_own_metrics():
    """Every phase, every verdict, the close and who sent it, the factory; no failure."""
    told = shown(HEALTHY)

    assert named(told, "probe_websocket_phase_duration_seconds") == SECONDS
    assert named(told, "probe_websocket_verdict") == {"connect": 1, "auth": 1, "send": 1}
    assert named(told, "probe_websocket_verdict_duration_seconds") == HEALTHY.durations
    assert told["probe_websocket_close_code",] == 1000
    assert named(told, "probe_websocket_close_initiator_info") == {"local": 1}
    assert told["probe_factory_valid",] == 1
    assert told["probe_factory_clock_skew_seconds",] == -0.5
    assert told["probe_websocket_distorted",] == 0
    assert not [key for key in told if "failure" in key[0] or "slot_limit" in key[0]]


def test_an_incident_has_all_its_metrics():
    """Connected, let in, refused by the factory: each is said, with code, initiator, phase, reason and the limit."""
    told = shown(INCIDENT)

    assert told["probe_success",] == 0
    assert told["probe_websocket_connection_upgraded",] == 1
    assert named(told, "probe_websocket_verdict") == {"connect": 1, "auth": 1, "send": 0}
    assert told["probe_failure_info", "admission", "factory"] == 1
    assert told["probe_websocket_close_code",] == 1011
    assert named(told, "probe_websocket_close_initiator_info") == {"remote": 1}
    assert (told["probe_factory_valid",], told["probe_factory_slot_limit",]) == (0, 5)
    assert named(told, "probe_factory_failure_info") == {"slot_limit": 1}
    assert "transfer" not in named(told, "probe_websocket_duration_seconds")


def test_what_did_not_come_is_absent_and_the_status_is_0():
    """A host that refuses us has an address and no phase after it; one without a name not even that."""
    refused, dns = shown(REFUSED), shown(DNS)

    assert refused["probe_ip_protocol",] == 6
    assert named(refused, "probe_websocket_duration_seconds") == {"resolve": 0.001}
    assert not {key[0] for key in dns} & {
        "probe_ip_protocol",
        "probe_ip_addr_hash",
        "probe_dns_lookup_time_seconds",
        "probe_websocket_duration_seconds",
    }
    for told in (refused, dns):
        assert told["probe_success",] == told["probe_websocket_status_code",] == 0
        assert told["probe_websocket_connection_upgraded",] == 0
        assert not [key for key in told if "close" in key[0] or "ssl" in key[0] or "factory" in key[0]]


def test_a_refused_upgrade_is_its_status():
    """The status of the answer, no upgrade; TLS was done, the processing was not."""
    told = shown(GATEWAY)

    assert told["probe_websocket_status_code",] == 502
    assert told["probe_websocket_connection_upgraded",] == 0
    assert named(told, "probe_websocket_duration_seconds").keys() == {"resolve", "connect"}
    assert "tls" in named(told, "probe_websocket_phase_duration_seconds")


def test_a_refused_request_before_the_upgrade_is_no_status_of_the_upgrade():
    """No upgrade was sent, so none was answered; the phase and the reason stand in their own series."""
    told = shown(replace(GATEWAY, phase=Phase.BEFORE, phases={}))

    assert told["probe_websocket_status_code",] == 0
    assert told["probe_websocket_connection_upgraded",] == 0


@pytest.mark.parametrize(
    ("result", "depth", "success", "info"),
    [
        (INCIDENT, Probe.SEND, 0, {"admission": 1}),
        (INCIDENT, Probe.AUTH, 1, {}),
        (INCIDENT, Probe.CONNECT, 1, {}),
        (SILENT, Probe.AUTH, 0, {"admission": 1}),
        (SILENT, Probe.CONNECT, 1, {}),
        (REFUSED, Probe.CONNECT, 0, {"tcp": 1}),
        (NOT_PROVED, Probe.AUTH, 0, {}),
        (NOT_PROVED, Probe.CONNECT, 1, {}),
    ],
)
def test_success_and_failure_are_those_of_the_probe_that_was_asked(result, depth, success, info):
    """A session may have gone deeper than one asks; what failed there is no failure of what was asked."""
    told = shown(result, depth=depth)

    assert told["probe_success",] == success
    assert named(told, "probe_failure_info") == info


def test_nothing_proved_is_no_success_and_no_verdict():
    """Closed before it was said whether we are let in: 0, no verdict, and what the factory did."""
    told = shown(NOT_PROVED, depth=Probe.AUTH)

    assert named(told, "probe_websocket_verdict") == {"connect": 1}
    assert named(told, "probe_factory_failure_info") == {"internal_error": 1}


def test_a_session_that_cannot_tell_says_nothing_of_a_factory():
    """A profile without one has no such series; nor has a session that did not get there."""
    echo = shown(HEALTHY, profile=Profile())

    assert not [key for key in echo if key[0] == "probe_factory_valid"]
    assert not [key for key in shown(GATEWAY) if key[0] == "probe_factory_valid"]


def test_a_distorted_session_says_so():
    """Its seconds are told, and that they are not to be believed."""
    assert shown(replace(HEALTHY, distorted=True))["probe_websocket_distorted",] == 1


@pytest.mark.parametrize("result", EVERY)
def test_text_and_openmetrics_of_a_probe_have_the_same_samples(result):
    """Each parses as what it is, with the same samples; OpenMetrics ends with its end."""
    text, openmetrics = (
        [
            (family.name, family.type, sample.name, tuple(sample.labels.items()), sample.value)
            for family in exposition.PARSERS[form](page(result, form))
            for sample in family.samples
        ]
        for form in (ExpositionFormat.TEXT, ExpositionFormat.OPENMETRICS)
    )
    assert text == openmetrics
    assert {kind for _, kind, *_ in text} == {"gauge"}
    assert page(result, ExpositionFormat.OPENMETRICS).endswith("# EOF\n")


def test_no_name_of_it_is_one_of_the_scheduled_page():
    """`probe_*` stand here alone, so that no name has two meanings; a page leaves nothing in the library's registry."""
    metrics = Metrics("1.2.3")
    scheduled = {family.name for family in exposition.families(metrics, whole=True)}
    before = page(HEALTHY)
    page(INCIDENT)

    names = {key[0] for result in EVERY for key in shown(result)}
    assert not names & scheduled
    assert all(name.startswith("probe_") for name in names)
    assert page(HEALTHY) == before
    assert "probe_success" not in REGISTRY._names_to_collectors
