"""metrics.md: every family with its labels, all their values, and when a series is absent."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

import yaml
from cells import code, codes, page, plain, table

from exporter.classify import LEGAL_FAILURES, PHASES_OF_PROBE, OutageCause, legal_closes
from exporter.config import Profile
from exporter.metrics import families as f
from exporter.metrics.probed import GAUGES
from exporter.metrics.series import HTTP_CODES
from exporter.profiles import FACTORY, OTHER_KINDS
from exporter.result import (
    ExportOutcome,
    FactoryReason,
    HoldEnd,
    Impairment,
    Initiator,
    Layer,
    LineLevel,
    Phase,
    Probe,
    Reason,
    RefusalCase,
    RefusalOutcome,
    SentinelOutcome,
    SkipCause,
    StatsOutcome,
    SuspicionOutcome,
)

VALUES: Final[Mapping[str, Mapping[str, str]]] = yaml.safe_load(
    Path(__file__).with_name("label_values.yml").read_text("utf-8")
)
CLOSED_LISTS: Final[Mapping[str, Iterable[str]]] = {
    **{
        each.__name__: each
        for each in (
            *(Probe, Reason, FactoryReason, Layer, Impairment, SkipCause, OutageCause, Initiator),
            *(
                SentinelOutcome,
                SuspicionOutcome,
                RefusalCase,
                RefusalOutcome,
                HoldEnd,
                LineLevel,
                ExportOutcome,
                StatsOutcome,
            ),
        )
    },
    "Phase": [phase for phase in Phase if phase is not Phase.PREPARE],
    "Kind": OTHER_KINDS,
}
TITLES: Final = {
    "Probe": "Probes",
    "Phase": "Phases",
    "Reason": "Failure reasons",
    "FactoryReason": "Factory reasons",
    "Layer": "Layers",
    "Impairment": "Reasons of impairment",
    "SkipCause": "Causes of skips",
    "OutageCause": "Causes of outages",
    "Initiator": "Initiators",
    "Kind": "Kinds of messages",
    "SentinelOutcome": "Outcomes of the sentinel",
    "SuspicionOutcome": "Outcomes of suspicions",
    "RefusalCase": "Cases of refusal",
    "RefusalOutcome": "Outcomes of refusal",
    "HoldEnd": "Ends of held connections",
    "LineLevel": "Levels of a held connection",
    "ExportOutcome": "Outcomes of exports",
    "StatsOutcome": "Outcomes of a read",
}

_FROM_START: Final = "Never: it starts at 0 before the first session."
_FACTORY: Final = "For profiles without a factory. Otherwise never: it starts at 0."
_UNKNOWN_FACTORY: Final = "For profiles without a factory, and until a welcome has named it."
_FIRST: Final = "Until the first session that had a verdict for the probe."
ABSENT: Final[Mapping[f.Family, str]] = {
    **dict.fromkeys(
        (f.ATTEMPTS, f.FAILURES, f.CYCLES, f.CYCLE_FAILURES, f.IMPAIRED, f.SKIPS, f.DURATION, f.CLOSES, f.SLOW),
        _FROM_START,
    ),
    **dict.fromkeys((f.PHASE_DURATION, f.HTTP_REJECTIONS, f.PASSED_OVER, f.OPEN_CONNECTIONS), _FROM_START),
    **dict.fromkeys((f.IDENTITY_ATTEMPTS, f.IDENTITY_FAILURES, f.IDENTITY_RESTING), "For targets without identities."),
    **dict.fromkeys((f.INTERVAL, f.TIMEOUT, f.TARGET_INFO, f.SLOW_OVER), "Never."),
    **dict.fromkeys((f.LOOP_LAG, f.DISTORTED_RUNS, f.RELOAD_OK, f.RELOADED_AT, f.BUILD_INFO), "Never."),
    **dict.fromkeys((f.HEARTBEAT_INTERVAL, f.MAX_MESSAGE_SIZE, f.CLOCK_SKEW), _UNKNOWN_FACTORY),
    f.ORIGIN_INFO: "Without `--origin`.",
    f.OTLP_EXPORTS: "Without `--otlp.endpoint`; else it starts at 0.",
    f.LAYER_FAILURES: "The layers `tls` and `factory` for targets without them. Otherwise never: it starts at 0.",
    f.SUCCESS: _FIRST,
    f.LAST_RUN: "Until the first session that asked for the probe.",
    f.LAST_SUCCESS: "Until the first session that passed the probe.",
    f.DUE: "While nothing is scheduled.",
    f.SENTINEL_SUCCESS: "For targets without a sentinel, and until its first connect has passed or failed.",
    f.SENTINEL_CONNECTS: "For targets without a sentinel. Otherwise never.",
    f.SUSPICIONS: "For targets without a sentinel and without `hold`. Otherwise never.",
    **dict.fromkeys(
        (f.HOLD_UP, f.HOLD_ROUND_TRIP, f.HEARTBEATS, f.HOLD_ENDS), "For targets without `hold`. Otherwise never."
    ),
    f.HOLD_OPENED_AT: "For targets without `hold`, and until a connection was opened.",
    f.HOLD_DEAF: "For targets without `hold`, and on each connection until a request was answered or not.",
    f.HEARTBEAT_LOST: "For targets without `hold`, and while the interval of the heartbeats is not known.",
    f.HOLD_HEARTBEAT_INTERVAL: "For targets without `hold`, and until it was announced or learned.",
    **dict.fromkeys((f.HOLD_IDLE_CUT, f.HOLD_AGE_CUT), "For targets without `hold`, and until the ends have shown it."),
    f.OUTAGE: "Until sessions have shown whether there is one; causes that the profile cannot show.",
    f.CERTIFICATE_EXPIRY: "For `ws://` targets, and until a certificate was verified.",
    f.TOKEN_RESTING: "For targets that send no token.",
    f.FACTORY_FAILURES: _FACTORY,
    f.AUTH_BYPASSED: _FACTORY,
    f.SLOTS_HELD: _FACTORY,
    f.FACTORY_VALID: "For profiles without a factory, and until a session has shown it.",
    f.SLOT_LIMIT: "For profiles without a factory, and until a refusal has named the limit.",
    **dict.fromkeys((f.SLOTS_LEAKED, f.SLOT_RELEASE), "For targets without a canary, and until a round has shown it."),
    f.REFUSALS: "Where `refusals` is off; else it starts at 0.",
    **dict.fromkeys(
        (f.REFUSAL_SUCCESS, f.REFUSAL_BYPASSED), "Where `refusals` is off, and until the backend has decided about one."
    ),
    f.STATS_READS: "For targets without `stats`; else it starts at 0.",
    **dict.fromkeys((f.STATS_VALUE, f.STATS_LIMIT), "Without `stats`, and unless the last read had it."),
    f.SLOTS_BUDGET: "For profiles without a factory, and where slots are unlimited.",
}
"""When a series of the family is not on the page."""

_LINKS: Final = {key: f"[{title.lower()}](#{title.lower().replace(' ', '-')})" for key, title in TITLES.items()}
_CONFIG: Final = "a name from the config"
_LABELS: Final = {
    "target": _CONFIG,
    "identity": "an alias from the config",
    "probe": _LINKS["Probe"],
    "phase": f"one of the {_LINKS['Phase']}",
    "initiator": _LINKS["Initiator"],
    "layer": _LINKS["Layer"],
    "case": _LINKS["RefusalCase"],
    "outcome": _LINKS["RefusalOutcome"],
    "end": _LINKS["HoldEnd"],
    "level": _LINKS["LineLevel"],
    "field": "a name of `stats.fields` in the config",
    "version": "the exporter's version",
    "origin": "the name that `--origin` gives",
    "pythonversion": "the interpreter's version",
}
_OF_FAMILY: Final = {
    (f.FAILURES, "reason"): _LINKS["Reason"],
    (f.IMPAIRED, "reason"): _LINKS["Impairment"],
    (f.FACTORY_FAILURES, "reason"): _LINKS["FactoryReason"],
    (f.SKIPS, "cause"): _LINKS["SkipCause"],
    (f.OUTAGE, "cause"): _LINKS["OutageCause"],
    (f.SENTINEL_CONNECTS, "outcome"): _LINKS["SentinelOutcome"],
    (f.SUSPICIONS, "outcome"): _LINKS["SuspicionOutcome"],
    (f.OTLP_EXPORTS, "outcome"): _LINKS["ExportOutcome"],
    (f.STATS_READS, "outcome"): _LINKS["StatsOutcome"],
    (f.CLOSES, "code"): "[close codes](#close-codes)",
    (f.HTTP_REJECTIONS, "code"): codes(HTTP_CODES),
    (f.PASSED_OVER, "kind"): f"the profile's `noise[].kind`, and {_LINKS['Kind']}",
}

JOIN: Final = """\
Every target has the label names of all targets, empty where it sets none. No other series has them: join with this one,
for example the failures of one team:

    sum by (target) (increase(ws_probe_failures_total[1h]))
    * on (target) group_left (team) max by (target, team) (ws_probe_target_info{team="payments"})"""

ORIGIN_JOIN: Final = """\
No other series has the origin: join with this one, for example which places see an outage:

    max by (origin, target) (
      ws_probe_outage * on (job, instance) group_left (origin) ws_exporter_origin_info
    )"""

JOINS: Final = {f.TARGET_INFO: JOIN, f.ORIGIN_INFO: ORIGIN_JOIN}

INTRO: Final = """\
Values on `/metrics` are counted when a session ends, not when Prometheus scrapes. Every counter that a target can have
starts at 0 before its first session, so `increase()` sees the first failure. Only scheduled sessions and their confirm
runs are counted here; `/probe` and `check` change nothing on this page. No text from the network is ever a label value:
each value is a name from the config or a word of a closed list."""

QUESTIONS: Final[tuple[tuple[str, tuple[f.Family, ...]], ...]] = (
    ("Does it work now?", (f.SUCCESS,)),
    ("Is it an outage, and of which cause?", (f.OUTAGE,)),
    ("Does a WebSocket open between the cycles?", (f.SENTINEL_SUCCESS, f.SENTINEL_CONNECTS, f.SUSPICIONS)),
    (
        "Does an open connection stay usable, and how does it end?",
        (f.HOLD_UP, f.HOLD_DEAF, f.HEARTBEAT_LOST, f.HOLD_ENDS, f.HOLD_IDLE_CUT, f.HOLD_AGE_CUT),
    ),
    ("How often does it fail, where, and why?", (f.ATTEMPTS, f.FAILURES, f.HTTP_REJECTIONS)),
    ("How did connections end?", (f.CLOSES,)),
    ("Is what must be refused refused?", (f.REFUSAL_SUCCESS, f.REFUSAL_BYPASSED, f.REFUSALS)),
    ("Did the factory do its work?", (f.FACTORY_VALID, f.FACTORY_FAILURES, f.SLOT_LIMIT)),
    ("What does the backend tell of itself?", (f.STATS_VALUE, f.STATS_LIMIT, f.STATS_READS)),
    ("How long does each phase take?", (f.PHASE_DURATION, f.DURATION)),
    ("What is the error budget made of?", (f.CYCLES, f.CYCLE_FAILURES)),
    ("What was not probed, and why?", (f.SKIPS, f.IMPAIRED)),
    ("When did it run last, and when is it due?", (f.LAST_RUN, f.LAST_SUCCESS, f.DUE)),
    (
        "What does the exporter hold at the backend?",
        (f.SLOTS_HELD, f.SLOTS_BUDGET, f.IDENTITY_RESTING, f.TOKEN_RESTING),
    ),
    ("Can the durations be believed?", (f.LOOP_LAG, f.DISTORTED_RUNS, f.SKIPS)),
)
"""What people ask, and the families that answer."""


def metrics_page() -> str:
    """The whole page."""
    return page(
        "Metrics",
        INTRO,
        table(
            ("question", "families"),
            [(asked, ", ".join(f"[{one.name}](#{one.name})" for one in answer)) for asked, answer in QUESTIONS],
        ),
        "## Families of /metrics",
        *_families(),
        "## Label values",
        *_closed_lists(),
        *_combinations(),
        *_probe(),
    )


def _families() -> Iterator[str]:
    for family in f.ALL:
        yield f"### {family.name}"
        unit = f" Buckets: {', '.join(f'{bound:g}' for bound in family.buckets)} s." if family.buckets else ""
        yield f"{family.kind.capitalize()}. {plain(family.help)}{unit}"
        if family.labels:
            rows = [(code(label), _OF_FAMILY.get((family, label)) or _LABELS[label]) for label in family.labels]
            rows += [("`labels` of the config", "as the config has them")] if family.with_config_labels else []
            yield table(("label", "values"), rows)
        if family in JOINS:
            yield JOINS[family]
        yield f"Absent: {ABSENT[family][0].lower()}{ABSENT[family][1:]}"


def _closed_lists() -> Iterator[str]:
    for name, title in TITLES.items():
        yield f"### {title}"
        yield table(("value", "meaning"), [(code(value), VALUES[name][value]) for value in CLOSED_LISTS[name]])


def _combinations() -> Iterator[str]:
    yield "### Failures: phases and reasons"
    yield "A probe can fail in its own phases and in those of the probes before it. A series exists for each of these:"
    owner = {phase: probe for probe, phases in PHASES_OF_PROBE.items() for phase in phases}
    rows = [
        (code(phase), code(owner[phase]), codes(reason for reason in Reason if reason in LEGAL_FAILURES[phase]))
        for phase in Phase
        if phase in LEGAL_FAILURES
    ]
    yield table(("phase", "first probe that fails", "reasons"), rows)
    yield "### Close codes"
    yield (
        "The first close frame of a session counts. 1005 is a close frame without a code, 1006 a connection that ended "
        "without a close frame. A code from 3000 to 4999 that the profile's `closes` names is a value of its own; the "
        "rest are `3xxx` and `4xxx`."
    )
    found: dict[tuple[str, str], list[str]] = {}
    for phase, label, initiator in legal_closes(
        Profile(welcome=FACTORY.welcome, auth=FACTORY.send, send=FACTORY.send), tls=True
    ):
        found.setdefault((phase, initiator), []).append(label)
    yield table(
        ("phase", "initiator", "codes"),
        [(code(phase), code(initiator), codes(labels)) for (phase, initiator), labels in found.items()],
    )


def _probe() -> Iterator[str]:
    yield "## Families of /probe"
    yield (
        "`/probe` answers with gauges of one session, under blackbox_exporter's names where it has them. What is not "
        "known is absent."
    )
    yield table(
        ("family", "labels", "meaning"), [(code(each.name), codes(each.labels), plain(each.help)) for each in GAUGES]
    )
