"""What the day after needs: the factory and its users, latencies, the error budget, findings. Rules: see `on_call`."""
# ruff: noqa: INP001 - a script's folder, no package

from typing import Final

from panel_json import Panel, Query, Row
from vocabulary import BYPASSED, FAILED_CYCLES, HELD, PASSES, RATIO, REFUSED, RESTS, THIS_TARGET, VALID

FACTORY = Row(
    "The factory and its test users",
    (
        Panel(
            "states",
            "Valid context",
            "Whether the factory gave the last session that could tell a context of its own, ready and correct.",
            "none",
            (Query("min by (target) (ws_factory_valid{OF})", "{{target}}"),),
            width=12,
            states=VALID,
            link=THIS_TARGET,
            alerts=("WebSocketFactoryValidationFailing",),
        ),
        Panel(
            "bars",
            "Factory failures by reason",
            """Sessions a minute that got no valid context. slot_limit: the user holds all its connections; init_failed,
            internal_error: the factory broke; user_mismatch: somebody else's context, a security incident.""",
            "cpm",
            (
                Query(
                    """sum by (target, reason) (
                      60 * rate(ws_factory_validation_failures_total{OF}[$__rate_interval])
                    ) > 0""",
                    "{{target}} {{reason}}",
                ),
            ),
            width=12,
            empty="Every session got a valid context",
            link=THIS_TARGET,
            alerts=("WebSocketFactoryValidationFailing", "WebSocketFactorySlotsExhausted"),
        ),
        Panel(
            "lines",
            "Slots held and allowed",
            """What our own ledger says that we hold of each identity, and, dashed, what we may hold. If the backend
            refuses while we hold little, others hold the slots, or it leaks them.""",
            "short",
            (
                Query("max by (target, identity) (ws_factory_slots_held{OF})", "{{target}} {{identity}} held"),
                Query("min by (target, identity) (ws_factory_slots_budget{OF})", "{{target}} {{identity}} allowed"),
            ),
            width=12,
            least=0,
            dashed="/ allowed$/",
            link=THIS_TARGET,
            alerts=("WebSocketFactorySlotsExhausted", "WebSocketProbeBudgetSkips"),
        ),
        Panel(
            "lines",
            "Slots that did not come back",
            """What a canary found: slots of its user that the backend had not given back after their release. It
            rises with each round while the leak goes on; nobody is refused yet.""",
            "short",
            (Query("max by (target) (ws_factory_slots_leaked{OF})", "{{target}}"),),
            width=12,
            least=0,
            empty="No canary, or no round has ended",
            link=THIS_TARGET,
            alerts=("WebSocketFactorySlotLeak",),
        ),
        Panel(
            "lines",
            "Time until a slot comes back",
            """What a canary found: within this time after a disconnect a slot came back. A little over slot_release is
            well; a multiple of it is a clean-up that works late.""",
            "s",
            (Query("max by (target) (ws_factory_slot_release_seconds{OF})", "{{target}}"),),
            width=12,
            least=0,
            empty="No canary, or no round has ended",
            link=THIS_TARGET,
            alerts=("WebSocketFactorySlotLeak",),
        ),
        Panel(
            "lines",
            "The backend's own figures, as a share of their limits",
            """What the backend tells of itself (`stats`), of figures with a limit. At 100 % it is there; a ticket comes
            hours before if it grows beyond all of the day before.""",
            "percentunit",
            (
                Query(
                    "max by (target, field) (ws_stats_value{OF}) / min by (target, field) (ws_stats_limit{OF})",
                    "{{target}} {{field}}",
                ),
            ),
            width=24,
            least=0,
            empty="No target with stats and a limit",
            link=THIS_TARGET,
            alerts=("WebSocketStatsNearingLimit",),
        ),
        Panel(
            "figure",
            "Slot limit, as learned",
            """Connections that the backend allows a user, as read from its last refusal; lower than configured binds
            us.""",
            "short",
            (Query("min by (target) (ws_factory_slot_limit{OF})", "{{target}}"),),
            width=4,
            steps=((None, "blue"),),
            empty="never refused",
            link=THIS_TARGET,
        ),
        Panel(
            "states",
            "Identities resting",
            """After a slot refusal an identity rests, after two rejected tokens its key: only connect is probed
            meanwhile.""",
            "none",
            (Query("max by (target, identity) (ws_probe_identity_resting{OF})", "{{target}} {{identity}}"),),
            states=RESTS,
            link=THIS_TARGET,
            alerts=("WebSocketFactorySlotsExhausted", "WebSocketAuthFailing"),
        ),
        Panel(
            "lines",
            "Failure ratio of identities",
            """Share of its sessions that failed, within 10 minutes: an identity's turn may come once a minute. One at
            100 % beside others at 0: that user, or the shape of its name.""",
            "percentunit",
            (
                Query(
                    """sum by (target, identity) (rate(ws_probe_identity_failures_total{OF}[10m]))
                    / sum by (target, identity) (rate(ws_probe_identity_attempts_total{OF}[10m]))""",
                    "{{target}} {{identity}}",
                ),
            ),
            width=24,
            least=0,
            most=1,
            link=THIS_TARGET,
            alerts=("WebSocketIdentityFailing",),
        ),
    ),
)

PHASES: Final = ("before", "resolve", "tcp", "tls", "upgrade", "admission", "auth", "reply", "close")
"""In the order of a session, so that the stack reads from the bottom up."""

HOW_LONG = Row(
    "How long it takes: sessions that passed, phases that were completed",
    (
        Panel(
            "lines",
            "Seconds to the verdict",
            """From the start of a session to the verdict of each probe: the median, and what one in twenty exceeds.
            Above the dashed lines, the target's slow_over, the backend is slow.""",
            "s",
            (
                *(
                    Query(
                        f"""histogram_quantile({quantile}, sum by (le, probe) (
                          rate(ws_probe_duration_seconds_bucket{{OF}}[$__rate_interval])
                        ))""",
                        f"{{{{probe}}}} {name}",
                    )
                    for quantile, name in ((0.5, "median"), (0.95, "p95"))
                ),
                Query("max by (probe) (ws_probe_slow_threshold_seconds{OF})", "{{probe}} slow_over"),
            ),
            least=0,
            dashed="/ slow_over$/",
            alerts=("WebSocketProbeSlow",),
        ),
        Panel(
            "heatmap",
            "Seconds to our reply",
            "Passed sessions by the bucket of their duration up to the reply. Two bands: two kinds of answers.",
            "short",
            (
                Query(
                    'sum by (le) (increase(ws_probe_duration_seconds_bucket{OF,probe="send"}[$__rate_interval]))',
                    "{{le}}",
                ),
            ),
        ),
        Panel(
            "stack",
            "Mean seconds by phase",
            "Where a session's time goes, in the order of a session. Registration and start-up are in admission.",
            "s",
            tuple(
                Query(
                    f"""sum(rate(ws_probe_phase_duration_seconds_sum{{OF,phase="{phase}"}}[$__rate_interval]))
                    / sum(rate(ws_probe_phase_duration_seconds_count{{OF,phase="{phase}"}}[$__rate_interval]))""",
                    phase,
                )
                for phase in PHASES
            ),
            least=0,
            alerts=("WebSocketProbeSlow",),
        ),
    ),
)

WINDOWS: Final = (("1h", "14.4 * 0.005", "page"), ("6h", "6 * 0.005", "page"), ("1d", "3 * 0.005", "ticket"),
                  ("3d", "0.005", "ticket"))  # fmt: skip
"""Of WebSocketErrorBudgetBurn: window, the failure ratio from which it burns, and what that is."""

BUDGET = Row(
    "Error budget: 99.5 % of the scheduled cycles of each probe",
    (
        Panel(
            "gauges",
            "Budget left",
            "Of what may fail within the dashboard's time range; set it to 30 days for the month. Below 0: used up.",
            "percentunit",
            (Query(f"1 - {FAILED_CYCLES} / 0.005", "{{target}} {{probe}}"),),
            least=0,
            most=1,
            steps=((None, "red"), (0, "orange"), (0.5, "green")),
            empty="No cycle has ended yet",
            link=THIS_TARGET,
            alerts=("WebSocketErrorBudgetBurn",),
        ),
        Panel(
            "lines",
            "Burn, as a share of the alert's threshold",
            """The worst probe, by window. An alert wants 1 or more in a long and in a short window, a floor in
            failures, and that no other alert explains it.""",
            "percentunit",
            tuple(
                Query(f"max({RATIO}{window}{{OF}}) / ({threshold})", f"{window}, {what}")
                for window, threshold, what in WINDOWS
            ),
            least=0,
            steps=((None, "green"), (1, "red")),
            alerts=("WebSocketErrorBudgetBurn",),
        ),
        Panel(
            "lines",
            "Failed cycles, last hour",
            """Share of the scheduled cycles that failed, by target and probe. At 7.2 % the month's budget lasts two
            days.""",
            "percentunit",
            (Query(f"max by (target, probe) ({RATIO}1h{{OF}})", "{{target}} {{probe}}"),),
            least=0,
            steps=((None, "green"), (0.072, "red")),
            link=THIS_TARGET,
            alerts=("WebSocketErrorBudgetBurn",),
        ),
    ),
)

FINDINGS = Row(
    "Findings that are no outage yet",
    (
        Panel(
            "gauges",
            "Certificate: days left",
            "Until the first certificate of the target's chain expires. Below 14 it is a ticket; at 0 nobody connects.",
            "d",
            (
                Query(
                    "(min by (target) (ws_probe_certificate_expiry_timestamp_seconds{OF}) - time()) / 86400",
                    "{{target}}",
                ),
            ),
            least=0,
            most=90,
            steps=((None, "red"), (14, "green")),
            empty="No target over TLS",
            link=THIS_TARGET,
            alerts=("WebSocketCertificateExpiring",),
        ),
        Panel(
            "lines",
            "Clock skew",
            """By how much the server's clock is ahead of the exporter's. From 30 s on a ticket; at 60 s tokens are
            refused.""",
            "s",
            (Query("ws_factory_clock_skew_seconds{OF}", "{{target}} {{instance}}"),),
            steps=((None, "orange"), (-30, "green"), (30, "orange")),
            link=THIS_TARGET,
            alerts=("WebSocketClockSkew",),
        ),
        Panel(
            "states",
            "Token check",
            "Bypassed: our headers make the backend accept any token there, so that auth passes proves nothing.",
            "none",
            (Query("max by (target) (ws_factory_auth_bypassed{OF})", "{{target}}"),),
            states=BYPASSED,
            link=THIS_TARGET,
            alerts=("WebSocketAuthBypassed",),
        ),
        Panel(
            "states",
            "What must be refused",
            """Whether bad credentials are refused, by case; only targets with `refusals`. Red is a page if one was let
            in, and a ticket if it was refused in another way.""",
            "none",
            (Query("min by (target, case) (ws_probe_refusal_success{OF})", "{{target}} {{case}}"),),
            states=REFUSED,
            empty="No target with refusals",
            link=THIS_TARGET,
            alerts=("WebSocketAuthBypassed", "WebSocketRefusalWrong"),
        ),
        Panel(
            "states",
            "Between the cycles",
            """Whether a WebSocket opened when the sentinel last tried; only targets with `sentinel`. Red alone is a
            suspicion and no outage: confirm runs decide.""",
            "none",
            (Query("min by (target) (ws_probe_sentinel_success{OF})", "{{target}}"),),
            states=PASSES,
            empty="No target with a sentinel",
            link=THIS_TARGET,
            alerts=("WebSocketConnectFailing",),
        ),
        Panel(
            "bars",
            "Suspicions",
            """Failed connects of the sentinel, a minute, that started confirm runs at once. Confirmed: all of those
            failed. Many unconfirmed: blips on the way, too short for a cycle to meet.""",
            "cpm",
            (
                Query(
                    "sum by (target, outcome) (60 * rate(ws_probe_suspicions_total{OF}[$__rate_interval]))",
                    "{{target}} {{outcome}}",
                ),
            ),
            empty="No target with a sentinel",
            link=THIS_TARGET,
        ),
        Panel(
            "states",
            "Held connections",
            """What the connection that is kept open shows; only targets with `hold`. Silent: requests get no answer, or
            the backend's heartbeats of that level stay out, while new connections are served.""",
            "none",
            (
                Query("max by (target) (ws_hold_deaf{OF})", "{{target}} requests"),
                Query("max by (target, level) (ws_hold_heartbeat_lost{OF})", "{{target}} heartbeats, {{level}}"),
            ),
            width=12,
            states=HELD,
            empty="No target with hold",
            link=THIS_TARGET,
            alerts=("WebSocketHeartbeatLost",),
        ),
        Panel(
            "lines",
            "Where the path cuts connections",
            """Seconds without traffic (idle), or of age whatever passes, after which connections end each time, as held
            connections have shown; 0: they do not.""",
            "s",
            (
                Query("max by (target) (ws_hold_idle_cut_seconds{OF})", "{{target}} idle"),
                Query("max by (target) (ws_hold_age_cut_seconds{OF})", "{{target}} age"),
            ),
            width=12,
            least=0,
            empty="No target with hold, or nothing is known yet",
            link=THIS_TARGET,
            alerts=("WebSocketIdleCut",),
        ),
    ),
)
