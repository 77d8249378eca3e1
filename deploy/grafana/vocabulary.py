"""What several panels share: links, words for states, parts of queries.

Rule 1: in a query `{OF` stands for the matchers of job, instance and target, `{OWN` for those of job and instance,
`{OF_RULES` for those of an alert: `panel_json.query` puts them in, the first in every selector.
"""
# ruff: noqa: INP001 - a script's folder, no package

from typing import Final

from panel_json import States

JOB: Final = "ws-factory-exporter"
"""The job of deploy/prometheus.yml, by which our `up` is told from that of everybody else."""
RUNBOOK: Final = "deploy/runbook/"
"""As in alerts.yml, and changed by the same command."""
THIS_TARGET: Final = ("This target alone", "/d/ws-factory?${__url_time_range}&var-target=${__field.labels.target}")
STATUS_PAGE: Final = ("Status page of this exporter", "http://${__field.labels.instance}/")

PASSES: Final[States] = {0: ("fails", "red"), 1: ("passes", "green")}
VALID: Final[States] = {0: ("invalid", "red"), 1: ("valid", "green")}
UP: Final[States] = {0: ("down", "red"), 1: ("up", "green")}
LOADED: Final[States] = {0: ("refused", "orange"), 1: ("loaded", "green")}
RESTS: Final[States] = {0: ("takes turns", "green"), 1: ("rests", "orange")}
REFUSED: Final[States] = {0: ("not as it must be", "red"), 1: ("refused", "green")}
HELD: Final[States] = {0: ("alive", "green"), 1: ("silent", "orange")}
BYPASSED: Final[States] = {0: ("checked", "green"), 1: ("bypassed", "orange")}

OUR_UP: Final = f'up{{OWN,job="{JOB}"}}'
FIRING: Final = 'ALERTS{OF_RULES,alertname=~"WebSocket.+",alertstate="firing"'
FRESH: Final = """
    group by (target, probe) (
      time() - ws_probe_last_run_timestamp_seconds{OF} <= 3 * ws_probe_interval_seconds{OF}
    )"""
FAILED_CYCLES: Final = """(
      sum by (target, probe) (increase(ws_probe_cycle_failures_total{OF}[$__range]))
      / sum by (target, probe) (increase(ws_probe_cycles_total{OF}[$__range]))
    )"""
FAILED_SESSIONS: Final = """
    max by (job, instance, target, phase, reason) (60 * rate(ws_probe_failures_total{OF}[$__rate_interval]))"""
"""A failed session counts once for each probe that it failed, always in one phase and for one reason: the greatest of
the probes is the sessions."""
RATIO: Final = "instance_target_probe:ws_probe_cycle_failures_per_cycle:ratio_rate"
"""The recorded series of alerts.yml, without their window."""
FROM_SERVER: Final = 'ws_probe_closes_total{OF,code="1011",initiator="remote"'
