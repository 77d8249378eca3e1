"""What somebody woken at night needs: is it broken and where, is it us or them, what fails.

Rule 1: a panel says in its text what it shows and what to make of it. Rule 2: counters by rate over
`$__rate_interval`; another window is an exception, with its reason in dashboards/.lint.
"""
# ruff: noqa: INP001 - a script's folder, no package

from panel_json import BAD_FROM_ONE, Column, Panel, Query, Row
from vocabulary import (
    FAILED_CYCLES,
    FAILED_SESSIONS,
    FIRING,
    FRESH,
    FROM_SERVER,
    LOADED,
    OUR_UP,
    PASSES,
    RUNBOOK,
    STATUS_PAGE,
    THIS_TARGET,
    UP,
)

FIVE_SECONDS = Row(
    "In five seconds: is it broken, where, since when",
    (
        Panel(
            "figure",
            "Pages firing",
            "Alerts of severity critical that fire now; the table below names them.",
            "short",
            (Query(f'count({FIRING},severity="critical"}}) or vector(0)'),),
            width=4,
            height=4,
            steps=BAD_FROM_ONE,
        ),
        Panel(
            "figure",
            "Targets failing",
            "Targets of which a probe failed when it was last asked, as seen by any exporter.",
            "short",
            (Query("count(count by (target) (ws_probe_success{OF} == 0)) or vector(0)"),),
            width=4,
            height=4,
            steps=BAD_FROM_ONE,
        ),
        Panel(
            "figure",
            "Factories invalid",
            "Targets whose factory gave our last session no valid context: connected and let in, but not served.",
            "short",
            (Query("count(count by (target) (ws_factory_valid{OF} == 0)) or vector(0)"),),
            width=4,
            height=4,
            steps=BAD_FROM_ONE,
            alerts=("WebSocketFactoryValidationFailing",),
        ),
        Panel(
            "figure",
            "1011 by the server, last hour",
            """Sessions that the server ended with 1011 before we closed them. A fixed hour, so that the figure means
            the same at every zoom.""",
            "short",
            (Query(f'sum(increase({FROM_SERVER},phase!="close"}}[1h]))'),),
            width=4,
            height=4,
            steps=BAD_FROM_ONE,
            alerts=("WebSocketInternalErrorSpike",),
        ),
        Panel(
            "figure",
            "Probes that nobody runs",
            """Probes that are scheduled and have not run for three intervals, or never. What the other panels say of
            them is old. Identities that rest stop auth and send too: see below.""",
            "short",
            (Query(f"count(group by (target, probe) (ws_probe_interval_seconds{{OF}}) unless {FRESH}) or vector(0)"),),
            width=4,
            height=4,
            steps=((None, "green"), (1, "orange")),
            alerts=("WebSocketProbeStale", "WebSocketProbeNeverRan"),
        ),
        Panel(
            "figure",
            "Exporters down",
            """Exporters that do not answer a scrape, or answer without their figures; 1 too if Prometheus knows of
            none. Then nobody is watching.""",
            "short",
            (
                Query(
                    f"""(count({OUR_UP} == 0) or vector(0)) + (count(absent({OUR_UP})) or vector(0))
                    + (count({OUR_UP} == 1 unless on (job, instance) ws_exporter_build_info{{OWN}}) or vector(0))"""
                ),
            ),
            width=4,
            height=4,
            steps=BAD_FROM_ONE,
            alerts=("WebSocketExporterDown", "WebSocketExporterAbsent", "WebSocketExporterEmpty"),
        ),
        Panel(
            "states",
            "Every probe of every target",
            """Red from the first session that failed, as seen by any exporter. A gap: the probe has not run for three
            intervals, so nothing is known. Connect is the way to the 101, auth the welcome, send the reply to our
            message. A click leads to the target alone.""",
            "none",
            (
                Query(
                    f"min by (target, probe) (ws_probe_success{{OF}}) and on (target, probe) {FRESH}",
                    "{{target}} {{probe}}",
                ),
            ),
            width=16,
            height=10,
            states=PASSES,
            link=THIS_TARGET,
        ),
        Panel(
            "table",
            "Alerts firing",
            """What fires now, pages and tickets, with those that Alertmanager mutes because another explains them. A
            click on a name opens its page of the runbook.""",
            "none",
            (Query(f"count by (severity, alertname, target, probe, identity) ({FIRING}}})"),),
            height=10,
            columns=(
                Column("alertname", link=f"{RUNBOOK}${{__value.text}}.md"),
                Column(
                    "severity",
                    states={"critical": ("page", "red"), "warning": ("ticket", "orange")},
                ),
            ),
            hidden=("Value",),
            empty="Nothing fires",
        ),
        Panel(
            "table",
            "Targets",
            """Each probe: what it said last, how long ago it last passed, and over the dashboard's time range the share
            of scheduled cycles that passed and what is left of the error budget of 0.5 %.""",
            "none",
            (
                Query("min by (target, probe) (ws_probe_success{OF})", "last"),
                Query(
                    "min by (target, probe) (time() - ws_probe_last_success_timestamp_seconds{OF})", "since it passed"
                ),
                Query(f"1 - {FAILED_CYCLES}", "success"),
                Query(f"1 - {FAILED_CYCLES} / 0.005", "budget left"),
            ),
            width=24,
            columns=(
                Column("last", states=PASSES),
                Column("since it passed", "s"),
                Column("success", "percentunit", steps=((None, "red"), (0.95, "orange"), (0.995, "green"))),
                Column("budget left", "percentunit", steps=((None, "red"), (0, "orange"), (0.5, "green"))),
                Column("target", link="/d/ws-factory?${__url_time_range}&var-target=${__value.text}"),
            ),
            empty="No probe has run yet",
        ),
    ),
)

US_OR_THEM = Row(
    "Is it us or them: what is wrong here is no outage of a backend",
    (
        Panel(
            "states",
            "Exporters",
            "Whether Prometheus gets an answer from each exporter. A click leads to its status page.",
            "none",
            (Query(OUR_UP, "{{instance}}"),),
            height=6,
            states=UP,
            link=STATUS_PAGE,
            alerts=("WebSocketExporterDown", "WebSocketExporterRestarting"),
        ),
        Panel(
            "states",
            "Config",
            "Whether the exporter could load its config the last time it tried; refused: the one before is in force.",
            "none",
            (Query("ws_exporter_config_last_reload_successful{OWN}", "{{instance}}"),),
            height=6,
            states=LOADED,
            link=STATUS_PAGE,
            alerts=("WebSocketExporterConfigReloadFailed",),
        ),
        Panel(
            "lines",
            "Age of the last run",
            """In intervals of the probe, as the freshest exporter has it. Above 3 a probe is stale; a clock that
            differs from Prometheus' shows too.""",
            "short",
            (
                Query(
                    """min by (target, probe) (
                      (time() - ws_probe_last_run_timestamp_seconds{OF}) / ws_probe_interval_seconds{OF}
                    )""",
                    "{{target}} {{probe}}",
                ),
            ),
            height=6,
            least=0,
            steps=((None, "green"), (3, "orange")),
            alerts=("WebSocketProbeStale",),
        ),
        Panel(
            "lines",
            "Event loop lag",
            "By how much the exporter came late at worst within a minute. From 50 ms on, sessions are distorted.",
            "s",
            (Query("ws_exporter_event_loop_lag_seconds{OWN}", "{{instance}}"),),
            height=6,
            least=0,
            steps=((None, "green"), (0.05, "orange")),
            link=STATUS_PAGE,
            alerts=("WebSocketProbeDistorted",),
        ),
        Panel(
            "lines",
            "Distorted sessions",
            "Sessions a minute whose durations are not counted because the exporter was late. Verdicts are.",
            "cpm",
            (Query("60 * rate(ws_exporter_distorted_runs_total{OWN}[$__rate_interval])", "{{instance}}"),),
            height=6,
            least=0,
            link=STATUS_PAGE,
            alerts=("WebSocketProbeDistorted",),
        ),
        Panel(
            "lines",
            "Connections open",
            """What the exporters hold open now, by target. It falls to 0 between sessions; what stays is a leak of
            ours.""",
            "short",
            (Query("sum by (target) (ws_probe_open_connections{OF})", "{{target}}"),),
            height=6,
            least=0,
            link=THIS_TARGET,
        ),
        Panel(
            "bars",
            "Skipped cycles",
            """Cycles a minute that were due and proved nothing, by target and cause. Budget: no slot to probe with.
            Rate: the host rests after a 429. Resting: after a refusal. The rest is load of ours.""",
            "cpm",
            (
                Query(
                    "sum by (target, cause) (60 * rate(ws_probe_skips_total{OF}[$__rate_interval])) > 0",
                    "{{target}} {{cause}}",
                ),
            ),
            width=12,
            empty="No cycle was skipped",
            link=THIS_TARGET,
            alerts=("WebSocketProbeBudgetSkips", "WebSocketRateLimited"),
        ),
        Panel(
            "bars",
            "Impaired sessions",
            "Sessions a minute that had no verdict because of our own failure: a key or token, or a bug.",
            "cpm",
            (
                Query(
                    "sum by (target, reason) (60 * rate(ws_probe_impaired_total{OF}[$__rate_interval])) > 0",
                    "{{target}} {{reason}}",
                ),
            ),
            width=12,
            empty="No session was impaired",
            link=THIS_TARGET,
            alerts=("WebSocketProbeImpaired",),
        ),
    ),
)

WHAT_FAILS = Row(
    "What fails, and in which phase",
    (
        Panel(
            "bars",
            "Failures by phase and reason",
            """Failed sessions a minute, each counted once, in the phase where it failed: a dead network never looks
            like a broken login.""",
            "cpm",
            (Query(f"sum by (phase, reason) ({FAILED_SESSIONS}) > 0", "{{phase}} {{reason}}"),),
            width=12,
            empty="No session failed",
            alerts=(
                "WebSocketConnectFailing",
                "WebSocketAuthFailing",
                "WebSocketAuthUnavailable",
                "WebSocketNoWelcome",
                "WebSocketSendFailing",
            ),
        ),
        Panel(
            "bars",
            "Failures by target",
            """Failed sessions a minute. One target: look at that backend. All at once: look at what they share, or at
            us.""",
            "cpm",
            (Query(f"sum by (target) ({FAILED_SESSIONS}) > 0", "{{target}}"),),
            width=12,
            empty="No session failed",
            link=THIS_TARGET,
        ),
        Panel(
            "bars",
            "1011 by the server",
            """Sessions that the server ended with 1011 within 5 minutes, before we closed them, by target and phase. In
            admission the factory or what stands before it, in reply the message loop.""",
            "short",
            (
                Query(
                    f'sum by (target, phase) (increase({FROM_SERVER},phase!="close"}}[5m])) > 0',
                    "{{target}} {{phase}}",
                ),
            ),
            empty="The server sent no 1011",
            link=THIS_TARGET,
            alerts=("WebSocketInternalErrorSpike",),
        ),
        Panel(
            "lines",
            "1011 that is no outage",
            """Within 5 minutes. In answer to our close: an untidy server, no more. Not by the server: we never send
            one, so this must stay 0; if it does not, report it.""",
            "short",
            (
                Query(f'sum(increase({FROM_SERVER},phase="close"}}[5m]))', "by the server, in answer to our close"),
                Query(
                    f"""sum(increase(ws_probe_closes_total{{OF,code="1011"}}[5m]))
                    - sum(increase({FROM_SERVER}}}[5m]))""",
                    "not by the server",
                ),
            ),
            least=0,
        ),
        Panel(
            "bars",
            "First closes by code and initiator",
            """Sessions a minute by the first close frame: its code and who sent it. Our 1000 is a session that got all
            it came for; 1006 none: the connection ended without a close; 1012 and 1001: a worker stops.""",
            "cpm",
            (
                Query(
                    "sum by (code, initiator) (60 * rate(ws_probe_closes_total{OF}[$__rate_interval])) > 0",
                    "{{code}} {{initiator}}",
                ),
            ),
            empty="No session was closed",
            alerts=("WebSocketServerRestarting",),
        ),
        Panel(
            "lines",
            "Success of scheduled cycles",
            "Share of cycles that passed, by target and probe: what the error budget counts. A gap: no cycle ended.",
            "percentunit",
            (
                Query(
                    """1 - sum by (target, probe) (rate(ws_probe_cycle_failures_total{OF}[$__rate_interval]))
                    / sum by (target, probe) (rate(ws_probe_cycles_total{OF}[$__rate_interval]))""",
                    "{{target}} {{probe}}",
                ),
            ),
            least=0,
            most=1,
            link=THIS_TARGET,
        ),
        Panel(
            "bars",
            "Upgrades refused by HTTP",
            "Upgrade requests a minute that got another status than 101. 429: the host is left alone for a while.",
            "cpm",
            (
                Query(
                    "sum by (target, code) (60 * rate(ws_probe_http_rejections_total{OF}[$__rate_interval])) > 0",
                    "{{target}} {{code}}",
                ),
            ),
            empty="No upgrade was refused",
            link=THIS_TARGET,
            alerts=("WebSocketConnectFailing", "WebSocketRateLimited"),
        ),
        Panel(
            "lines",
            "Messages passed over",
            """Messages a minute that were no answer to ours, by kind. foreign_reply: an answer to somebody else;
            degraded and recovery: the backend's own word of how it is.""",
            "cpm",
            (
                Query(
                    "sum by (kind) (60 * rate(ws_probe_passed_over_messages_total{OF}[$__rate_interval])) > 0",
                    "{{kind}}",
                ),
            ),
            least=0,
            empty="No message was passed over",
        ),
    ),
)
