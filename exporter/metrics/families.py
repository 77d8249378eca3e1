"""Every metric family: name, type, labels in order, HELP.

Rule 1: every family is defined here. Rule 2: a label value is a name of the config or a word of a closed list.
Rule 3: this module counts nothing; `series` has the legal label values, `storage` the samples.
"""

from dataclasses import dataclass
from typing import Final, Literal

PROBE_BUCKETS: Final = (0.025, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 10.0)
"""Seconds to a verdict. Loopback takes 0.1, staging 0.6-1.3, a cold start 1.1-3.9
(docs/backend-protocol.md#the-handshake-step-by-step); the default timeout, 10 s, and the thresholds of alerts lie on a
boundary. With +Inf 9 buckets."""

PHASE_BUCKETS: Final = (0.005, 0.05, 0.25, 1.0, 4.0, 10.0)
"""Seconds of one phase: an ack on loopback 0.002-0.004, a round trip to staging 0.05-0.8. With +Inf 7 buckets: there
are seven phases, and a target may have 360 lines."""


@dataclass(frozen=True, eq=False, slots=True)
class Family:
    """One metric family; compared by identity, so that it is a cheap key. Names never change: they are a contract."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    help: str
    buckets: tuple[float, ...] = ()
    with_config_labels: bool = False
    """Whether the labels that the config gives the target follow `labels`."""


_BY_PROBE: Final = ("target", "probe")
_BY_IDENTITY: Final = ("target", "identity")
_BY_TARGET: Final = ("target",)

ATTEMPTS: Final = Family(
    "ws_probe_attempts_total",
    "counter",
    _BY_PROBE,
    "Sessions of scheduled probing that reached a verdict for the probe, confirm and repeat runs included.",
)
FAILURES: Final = Family(
    "ws_probe_failures_total",
    "counter",
    ("target", "probe", "phase", "reason"),
    "Sessions of scheduled probing that failed the probe, by the phase where it happened and why.",
)
LAYER_FAILURES: Final = Family(
    "ws_probe_layer_failures_total",
    "counter",
    ("target", "layer"),
    "Sessions of scheduled probing that failed a probe, by the layer that the diagnosis holds at fault.",
)
CYCLES: Final = Family(
    "ws_probe_cycles_total",
    "counter",
    _BY_PROBE,
    "Scheduled cycles with a verdict for the probe, one per cycle however many sessions it took.",
)
CYCLE_FAILURES: Final = Family(
    "ws_probe_cycle_failures_total",
    "counter",
    _BY_PROBE,
    "Scheduled cycles whose verdict for the probe was a failure.",
)
IMPAIRED: Final = Family(
    "ws_probe_impaired_total",
    "counter",
    ("target", "reason"),
    "Sessions of scheduled probing without a verdict because of the exporter's own failure.",
)
SKIPS: Final = Family(
    "ws_probe_skips_total",
    "counter",
    ("target", "cause"),
    "Scheduled cycles that were due and opened no session, or one that proves nothing (distorted), by cause.",
)
SUCCESS: Final = Family(
    "ws_probe_success",
    "gauge",
    _BY_PROBE,
    "1 if the probe passed in the last scheduled session that had a verdict for it, 0 if it failed.",
)
OUTAGE: Final = Family(
    "ws_probe_outage",
    "gauge",
    ("target", "cause"),
    "1 while the last scheduled sessions and confirm runs make an outage of this cause, 0 if not; absent until known.",
)
SENTINEL_SUCCESS: Final = Family(
    "ws_probe_sentinel_success",
    "gauge",
    _BY_TARGET,
    "1 if the last scheduled connect of the sentinel passed, 0 if it failed, which alone is no outage.",
)
SENTINEL_CONNECTS: Final = Family(
    "ws_probe_sentinel_connects_total",
    "counter",
    ("target", "outcome"),
    "Scheduled connects of the sentinel, by what they came to.",
)
SUSPICIONS: Final = Family(
    "ws_probe_suspicions_total",
    "counter",
    ("target", "outcome"),
    "Times that the target's sentinel or held connection started the confirm runs at once, by whether all failed.",
)
HOLD_UP: Final = Family("ws_hold_up", "gauge", _BY_TARGET, "1 while the held connection of the target is open, else 0.")
HOLD_OPENED_AT: Final = Family(
    "ws_hold_opened_timestamp_seconds",
    "gauge",
    _BY_TARGET,
    "Unix time, in seconds, when the held connection to the target was last opened.",
)
HOLD_ROUND_TRIP: Final = Family(
    "ws_hold_round_trip_seconds",
    "histogram",
    ("target", "level"),
    "Seconds from a ping (protocol) or a request (application) on the target's held connection to its answer.",
    PHASE_BUCKETS,
)
HOLD_DEAF: Final = Family(
    "ws_hold_deaf",
    "gauge",
    _BY_TARGET,
    "1 if the last request on the held connection got no answer within the target's timeout, 0 if it got one.",
)
HEARTBEATS: Final = Family(
    "ws_hold_heartbeats_total",
    "counter",
    ("target", "level"),
    "Heartbeats that the backend sent on held connections: WebSocket pings (protocol), messages (application).",
)
HEARTBEAT_LOST: Final = Family(
    "ws_hold_heartbeat_lost",
    "gauge",
    ("target", "level"),
    "1 if no heartbeat of the backend came for three of its intervals on the held connection, else 0.",
)
HOLD_HEARTBEAT_INTERVAL: Final = Family(
    "ws_hold_heartbeat_interval_seconds",
    "gauge",
    ("target", "level"),
    "Seconds between two heartbeats of the backend, as its welcome announces or held connections have shown.",
)
HOLD_ENDS: Final = Family(
    "ws_hold_ends_total",
    "counter",
    ("target", "end"),
    "Held connections that have ended, by how; a reload and a stop of the exporter are not counted.",
)
HOLD_IDLE_CUT: Final = Family(
    "ws_hold_idle_cut_seconds",
    "gauge",
    _BY_TARGET,
    "Seconds without traffic after which the path to the target cuts a connection, as its ends have shown; 0: none.",
)
HOLD_AGE_CUT: Final = Family(
    "ws_hold_age_cut_seconds",
    "gauge",
    _BY_TARGET,
    "Seconds after which the path to the target cuts every connection, as its ends have shown; 0: none.",
)
DURATION: Final = Family(
    "ws_probe_duration_seconds",
    "histogram",
    _BY_PROBE,
    "Seconds from the start of a scheduled session to the probe's verdict, passed probes only.",
    PROBE_BUCKETS,
)
PHASE_DURATION: Final = Family(
    "ws_probe_phase_duration_seconds",
    "histogram",
    ("target", "phase"),
    "Seconds a phase of a scheduled session took, completed phases only.",
    PHASE_BUCKETS,
)
CLOSES: Final = Family(
    "ws_probe_closes_total",
    "counter",
    ("target", "phase", "code", "initiator"),
    "First close frames of scheduled sessions, by phase, code and who sent it; 1006/none: none came.",
)
HTTP_REJECTIONS: Final = Family(
    "ws_probe_http_rejections_total",
    "counter",
    ("target", "code"),
    "Upgrade requests of scheduled sessions that got an HTTP status other than 101.",
)
PASSED_OVER: Final = Family(
    "ws_probe_passed_over_messages_total",
    "counter",
    ("target", "kind"),
    "Messages in scheduled sessions that were no answer to ours, by kind.",
)
LAST_RUN: Final = Family(
    "ws_probe_last_run_timestamp_seconds",
    "gauge",
    _BY_PROBE,
    "Unix time in seconds at which the last scheduled session started that asked for the probe and was not void.",
)
LAST_SUCCESS: Final = Family(
    "ws_probe_last_success_timestamp_seconds",
    "gauge",
    _BY_PROBE,
    "Unix time in seconds at which the last scheduled session that passed the probe started.",
)
DUE: Final = Family(
    "ws_probe_due_timestamp_seconds",
    "gauge",
    _BY_PROBE,
    "Unix time in seconds at which the probe is scheduled to run next.",
)
INTERVAL: Final = Family(
    "ws_probe_interval_seconds",
    "gauge",
    _BY_PROBE,
    "Seconds between two scheduled runs of the probe, and so the most that its figures lag behind.",
)
TIMEOUT: Final = Family(
    "ws_probe_timeout_seconds",
    "gauge",
    _BY_TARGET,
    "Seconds a scheduled session may take.",
)
TARGET_INFO: Final = Family(
    "ws_probe_target_info",
    "gauge",
    _BY_TARGET,
    "Always 1; beside the target, the labels that the config gives it, to join with.",
    with_config_labels=True,
)
SLOW: Final = Family(
    "ws_probe_slow_total",
    "counter",
    _BY_PROBE,
    "Passed probes of scheduled sessions that took longer than the target's slow_over, of those in the histogram.",
)
SLOW_OVER: Final = Family(
    "ws_probe_slow_threshold_seconds",
    "gauge",
    _BY_PROBE,
    "Seconds to the verdict above which a passed probe of the target counts as slow.",
)
OPEN_CONNECTIONS: Final = Family(
    "ws_probe_open_connections",
    "gauge",
    _BY_TARGET,
    "Connections the exporter holds open to the target now.",
)
CERTIFICATE_EXPIRY: Final = Family(
    "ws_probe_certificate_expiry_timestamp_seconds",
    "gauge",
    _BY_TARGET,
    "Unix time in seconds at which the first certificate of the target's chain ends, as verified by the last session.",
)
IDENTITY_ATTEMPTS: Final = Family(
    "ws_probe_identity_attempts_total",
    "counter",
    _BY_IDENTITY,
    "Scheduled sessions with a verdict that presented themselves as the identity.",
)
IDENTITY_FAILURES: Final = Family(
    "ws_probe_identity_failures_total",
    "counter",
    _BY_IDENTITY,
    "Scheduled sessions that presented themselves as the identity and failed a probe.",
)
IDENTITY_RESTING: Final = Family(
    "ws_probe_identity_resting",
    "gauge",
    _BY_IDENTITY,
    "1 while the identity rests after a refusal and is kept out of scheduled sessions, else 0.",
)
TOKEN_RESTING: Final = Family(
    "ws_probe_token_resting",
    "gauge",
    _BY_TARGET,
    "1 while scheduled sessions send no token to the target because the backend has rejected some, else 0.",
)
FACTORY_FAILURES: Final = Family(
    "ws_factory_validation_failures_total",
    "counter",
    ("target", "reason"),
    "Scheduled sessions in which the server-side factory gave no valid context, by reason.",
)
FACTORY_VALID: Final = Family(
    "ws_factory_valid",
    "gauge",
    _BY_TARGET,
    "1 if the factory gave the last scheduled session that could tell a valid context, 0 if not.",
)
SLOT_LIMIT: Final = Family(
    "ws_factory_slot_limit",
    "gauge",
    _BY_TARGET,
    "Connections the backend allows each identity, as learned from its last refusal.",
)
SLOTS_HELD: Final = Family(
    "ws_factory_slots_held",
    "gauge",
    _BY_IDENTITY,
    "Slots of the identity that the exporter's own ledger counts as held on the backend.",
)
SLOTS_BUDGET: Final = Family(
    "ws_factory_slots_budget",
    "gauge",
    _BY_IDENTITY,
    "Slots of the identity that the exporter may hold on the backend.",
)
SLOTS_LEAKED: Final = Family(
    "ws_factory_slots_leaked",
    "gauge",
    _BY_TARGET,
    "Slots of the canary's user that the backend had not given back after their release, at least; 0 if all came back.",
)
SLOT_RELEASE: Final = Family(
    "ws_factory_slot_release_seconds",
    "gauge",
    _BY_TARGET,
    "Seconds after a close within which the backend gave a slot of the canary's user back, at most.",
)
STATS_VALUE: Final = Family(
    "ws_stats_value",
    "gauge",
    ("target", "field"),
    "A figure of the backend, as its own statistics had it at the last read.",
)
STATS_LIMIT: Final = Family(
    "ws_stats_limit",
    "gauge",
    ("target", "field"),
    "What the backend's figure of this name must not reach, as the config or the last read had it.",
)
STATS_READS: Final = Family(
    "ws_stats_reads_total",
    "counter",
    ("target", "outcome"),
    "Scheduled reads of the backend's own figures, by what they came to.",
)
CLOCK_SKEW: Final = Family(
    "ws_factory_clock_skew_seconds",
    "gauge",
    _BY_TARGET,
    "Seconds the server's clock was ahead of the exporter's in the last welcome of a scheduled session.",
)
HEARTBEAT_INTERVAL: Final = Family(
    "ws_factory_heartbeat_interval_seconds",
    "gauge",
    _BY_TARGET,
    "Seconds between heartbeats, as announced in the last welcome of a scheduled session.",
)
MAX_MESSAGE_SIZE: Final = Family(
    "ws_factory_max_message_size_bytes",
    "gauge",
    _BY_TARGET,
    "Bytes a message may have, as announced in the last welcome of a scheduled session.",
)
AUTH_BYPASSED: Final = Family(
    "ws_factory_auth_bypassed",
    "gauge",
    _BY_TARGET,
    "1 if the target's configured headers switch off the backend's token check, so that auth proves nothing, else 0.",
)
REFUSAL_SUCCESS: Final = Family(
    "ws_probe_refusal_success",
    "gauge",
    ("target", "case"),
    "1 if the backend refused the last credential of this case as it must, 0 if it let it in or refused it otherwise.",
)
REFUSAL_BYPASSED: Final = Family(
    "ws_probe_refusal_bypassed",
    "gauge",
    ("target", "case"),
    "1 if the backend let in the last credential of this case, which it must refuse, 0 if it refused it somehow.",
)
REFUSALS: Final = Family(
    "ws_probe_refusal_attempts_total",
    "counter",
    ("target", "case", "outcome"),
    "Scheduled runs of the refusal probe, by what became of the credential that must be refused.",
)
BUILD_INFO: Final = Family(
    "ws_exporter_build_info",
    "gauge",
    ("version", "pythonversion"),
    "Always 1; the labels say which exporter this is.",
)
ORIGIN_INFO: Final = Family(
    "ws_exporter_origin_info",
    "gauge",
    ("origin",),
    "Always 1; the label is the name of the place that this exporter probes from, to join with.",
)
LOOP_LAG: Final = Family(
    "ws_exporter_event_loop_lag_seconds",
    "gauge",
    (),
    "Seconds by which the exporter's event loop was late at worst within the last minute.",
)
DISTORTED_RUNS: Final = Family(
    "ws_exporter_distorted_runs_total",
    "counter",
    (),
    "Scheduled sessions during which the exporter was too busy for their durations to be believed.",
)
RELOAD_OK: Final = Family(
    "ws_exporter_config_last_reload_successful",
    "gauge",
    (),
    "1 if the exporter's last attempt to load its config worked, 0 if the config before it is still in force.",
)
RELOADED_AT: Final = Family(
    "ws_exporter_config_last_reload_success_timestamp_seconds",
    "gauge",
    (),
    "Unix time in seconds at which the exporter last loaded its config.",
)
OTLP_EXPORTS: Final = Family(
    "ws_exporter_otlp_exports_total",
    "counter",
    ("outcome",),
    "Times that the exporter sent its metrics by OTLP, by what became of it.",
)

ALL: Final[tuple[Family, ...]] = tuple(family for family in list(globals().values()) if isinstance(family, Family))
"""The families in the order of their definition, which is the order of a scrape."""
