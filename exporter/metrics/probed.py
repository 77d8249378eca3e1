"""The answer of /probe: the metrics of one session, under blackbox_exporter's names where it has them.

Rule 1: an answer is a function of its session; nothing is stored or counted. Rule 2: all families are gauges; counters
are on `/metrics`. Rule 3: an unknown value is absent, as on `/metrics`; only `probe_websocket_status_code` is then 0,
as in blackbox_exporter.

blackbox_exporter: CONFIGURATION.md and prober/{handler,websocket,http,utils}.go of its main branch, 2026.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any, Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.openmetrics import exposition as openmetrics

from exporter.config import Profile
from exporter.metrics.exposition import ExpositionFormat
from exporter.profiles import has_factory
from exporter.result import Phase, Probe, Result, Verdict

BLACKBOX_PHASES: Final[Mapping[str, tuple[Phase, ...]]] = {
    "resolve": (Phase.RESOLVE,),
    "connect": (Phase.TCP,),
    "processing": (Phase.TLS, Phase.UPGRADE),
    "transfer": (Phase.ADMISSION, Phase.AUTH, Phase.REPLY),
}
"""The phases of blackbox_exporter's WebSocket prober: from TCP to the 101 is one, all messages are another."""

Sample = tuple[Sequence[str], float]
"""Label values, and the value."""


@dataclass(frozen=True, slots=True)
class ProbedSession:
    """One session for /probe.

    `depth`: the probe that was asked for. `took`: seconds of the whole session.
    `timeout`: seconds in which the session had to reach a verdict.
    """

    result: Result
    depth: Probe
    profile: Profile
    took: float
    timeout: float

    @property
    def verdict(self) -> Verdict:
        """The verdict of the probe that was asked for; the session may have gone deeper."""
        return self.result.verdicts.get(self.depth, Verdict.NONE)


@dataclass(frozen=True, slots=True)
class _GaugeFamily:
    """One family; `samples` derives its samples from a session."""

    name: str
    help: str
    samples: Callable[[ProbedSession], Iterable[Sample]]
    labels: tuple[str, ...] = ()


def probe_page(probed: ProbedSession, form: ExpositionFormat) -> str:
    """The whole answer in this format."""
    registry = CollectorRegistry()
    registry.register(_SessionCollector(probed))
    if form is ExpositionFormat.TEXT:
        return generate_latest(registry).decode()
    text: bytes = openmetrics.generate_latest(registry)  # type: ignore[no-untyped-call]
    return text.decode()


class _SessionCollector:
    """A collector of prometheus_client."""

    def __init__(self, probed: ProbedSession) -> None:
        self._probed = probed

    def collect(self) -> Iterator[Any]:
        for gauge in GAUGES:
            family = GaugeMetricFamily(gauge.name, gauge.help, labels=gauge.labels)
            for labels, value in gauge.samples(self._probed):
                family.add_metric(labels, value)
            if family.samples:
                yield family


def _unlabelled(value: float | None) -> list[Sample]:
    return [] if value is None else [((), value)]


def _by_blackbox_phase(probed: ProbedSession) -> Iterator[Sample]:
    completed = probed.result.phases
    for name, phases in BLACKBOX_PHASES.items():
        if phases[-1] in completed or (name == "transfer" and not completed.keys().isdisjoint(phases)):
            yield (name,), sum(completed.get(phase, 0.0) for phase in phases)


def _by_phase(probed: ProbedSession) -> Iterator[Sample]:
    return (((phase,), seconds) for phase, seconds in probed.result.phases.items())


def _status(result: Result) -> int:
    """Return the status of the answer to the upgrade, 0 if there was none; that of the request before it is another."""
    if result.phase is Phase.BEFORE:
        return 0
    upgraded = HTTPStatus.SWITCHING_PROTOCOLS if Phase.UPGRADE in result.phases else 0
    return result.http_status or upgraded


def _by_verdict(probed: ProbedSession) -> Iterator[Sample]:
    for probe, verdict in probed.result.verdicts.items():
        if verdict is not Verdict.NONE:
            yield (probe,), verdict is Verdict.PASS


def _failure(probed: ProbedSession) -> Iterator[Sample]:
    result = probed.result
    if probed.verdict is Verdict.FAIL and result.phase is not None and result.reason is not None:
        yield (result.phase, result.reason), 1


def _factory_valid(probed: ProbedSession) -> list[Sample]:
    """As `ws_factory_valid`: 1 after a faultless welcome, 0 if the result has a factory reason."""
    if not has_factory(probed.profile):
        return []
    if probed.result.factory_reason is not None:
        return _unlabelled(0)
    return _unlabelled(1) if Phase.ADMISSION in probed.result.phases else []


def _address(result: Result) -> bytes:
    return ip_address(result.evidence.address).packed if result.evidence.address else b""


def _ip_protocol(probed: ProbedSession) -> list[Sample]:
    packed = _address(probed.result)
    return _unlabelled({4: 4, 16: 6}.get(len(packed)))


def _ip_hash(probed: ProbedSession) -> list[Sample]:
    packed = _address(probed.result)
    return _unlabelled(_fnv(packed)) if packed else []


def _fnv(data: bytes) -> int:
    """FNV-1a in 32 bits (draft-eastlake-fnv section 2), blackbox_exporter's hash of an address."""
    value = 0x811C9DC5
    for byte in data:
        value = (value ^ byte) * 0x01000193 % 2**32
    return value


GAUGES: Final = (
    # blackbox_exporter's, for every prober
    _GaugeFamily(
        "probe_success",
        "1 if the probe that was asked passed, 0 if it failed or nothing was proved.",
        lambda probed: _unlabelled(probed.verdict is Verdict.PASS),
    ),
    _GaugeFamily(
        "probe_duration_seconds",
        "Seconds the whole session took, its close included.",
        lambda probed: _unlabelled(probed.took),
    ),
    _GaugeFamily(
        "probe_timeout_seconds",
        "Seconds the session had to reach a verdict.",
        lambda probed: _unlabelled(probed.timeout),
    ),
    _GaugeFamily(
        "probe_dns_lookup_time_seconds",
        "Seconds the look-up of the host took.",
        lambda probed: _unlabelled(probed.result.phases.get(Phase.RESOLVE)),
    ),
    _GaugeFamily("probe_ip_protocol", "4 or 6: the version of IP of the address that was probed.", _ip_protocol),
    _GaugeFamily("probe_ip_addr_hash", "Hash of the address that was probed, to see when it changes.", _ip_hash),
    _GaugeFamily(
        "probe_ssl_earliest_cert_expiry",
        "Unix time in seconds at which the first certificate ends of the chain that was verified.",
        lambda probed: _unlabelled(probed.result.evidence.certificate_expiry),
    ),
    # blackbox_exporter's WebSocket prober's
    _GaugeFamily(
        "probe_websocket_status_code",
        "HTTP status of the answer to the upgrade request, 0 if none came.",
        lambda probed: _unlabelled(_status(probed.result)),
    ),
    _GaugeFamily(
        "probe_websocket_connection_upgraded",
        "1 if the connection became a WebSocket, else 0.",
        lambda probed: _unlabelled(Phase.UPGRADE in probed.result.phases),
    ),
    _GaugeFamily(
        "probe_websocket_duration_seconds",
        "Seconds of the session by phase as blackbox_exporter cuts them, completed ones: processing is from TCP to the "
        "101, TLS included; transfer all messages.",
        _by_blackbox_phase,
        ("phase",),
    ),
    # without a counterpart in blackbox_exporter
    _GaugeFamily(
        "probe_websocket_phase_duration_seconds",
        "Seconds of each completed phase of the session.",
        _by_phase,
        ("phase",),
    ),
    _GaugeFamily(
        "probe_websocket_verdict",
        "1 if the session passed the probe, 0 if it failed it; absent where nothing was proved.",
        _by_verdict,
        ("probe",),
    ),
    _GaugeFamily(
        "probe_websocket_verdict_duration_seconds",
        "Seconds from the start of the session to the probe's verdict, passed probes only.",
        lambda probed: (((probe,), seconds) for probe, seconds in probed.result.durations.items()),
        ("probe",),
    ),
    _GaugeFamily(
        "probe_failure_info",
        "Where and why the probe that was asked failed; absent if it did not.",
        _failure,
        ("phase", "reason"),
    ),
    _GaugeFamily(
        "probe_websocket_close_code",
        "Code of the session's first close frame, 1006 if there was none; absent without a WebSocket.",
        lambda probed: _unlabelled(probed.result.close.code if probed.result.close else None),
    ),
    _GaugeFamily(
        "probe_websocket_close_initiator_info",
        "Who sent the session's first close frame.",
        lambda probed: [((probed.result.close.initiator,), 1)] if probed.result.close else [],
        ("initiator",),
    ),
    _GaugeFamily(
        "probe_factory_valid",
        "1 if the factory gave the session a valid context, 0 if not; absent if the session cannot tell.",
        _factory_valid,
    ),
    _GaugeFamily(
        "probe_factory_failure_info",
        "Why the factory gave the session no valid context; absent if it did.",
        lambda probed: [((probed.result.factory_reason,), 1)] if probed.result.factory_reason else [],
        ("reason",),
    ),
    _GaugeFamily(
        "probe_factory_slot_limit",
        "Connections the backend allows each identity, as its refusal said.",
        lambda probed: _unlabelled(probed.result.slot_limit),
    ),
    _GaugeFamily(
        "probe_factory_clock_skew_seconds",
        "Seconds the server's clock was ahead of the exporter's in the welcome.",
        lambda probed: _unlabelled(probed.result.evidence.clock_skew),
    ),
    _GaugeFamily(
        "probe_websocket_distorted",
        "1 if the exporter was too busy for the seconds of this session to be believed, else 0.",
        lambda probed: _unlabelled(probed.result.distorted),
    ),
)
"""In the order of the page."""
