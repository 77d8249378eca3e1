"""One target as the scheduler runs it: its cycles, depths, identities, and the cost of its sessions.

Rule 1: frozen values and pure functions of absolute time.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from ipaddress import ip_address
from typing import Final, Self
from urllib.parse import urlsplit

from exporter.budget import SessionCost, endpoint_id, key_id, user_key
from exporter.classify import MIN_FAILURES
from exporter.config import (
    BackendLimits,
    Carrier,
    Jwt,
    Profile,
    Secret,
    Target,
    Tls,
    carrier_of,
    connects_anonymously,
    connects_without_token,
)
from exporter.plan.cadence import Cadence, SlotPattern, to_microseconds
from exporter.plan.side_schedule import SideContext, SideSchedule
from exporter.plan.side_schedulers import side_schedules
from exporter.profiles import probes_of
from exporter.result import Probe, Trigger

DEFAULT_PORTS: Final = {"ws": 80, "wss": 443, "http": 80, "https": 443}
KEY_KINDS: Final = ("key_file", "key_env", "token_file", "secret_file", "secret_env")


@dataclass(frozen=True, slots=True)
class HttpOrigin:
    """Where the request before the upgrade goes; fields as of `Job`."""

    tls: bool
    host: str
    port: int
    connect_to: str


@dataclass(frozen=True)
class Job:
    """One target with its profile and merged limits.

    host: as in Host, SNI and the certificate, without a trailing dot
    connect_to: the name or address to connect to; a trailing dot stays, as it keeps the resolver from trying search
        domains (RFC 1034 section 3.1)
    authority: host:port, which slots and key breakers belong to
    users: alias → `budget.user_key`
    endpoint: what rests after a rate limit (`budget.endpoint_id`)
    steps: probe → it runs in every n-th cycle
    rate: connects per minute that the host permits over all targets; None for loopback
    peaks: alias → most slots its user holds, by the schedules of all targets; set once all targets are known
    scheduled_rate: most connects per minute of all targets to this host; set once all targets are known
    before: where the request before the upgrade goes; None: the profile has none
    before_rate, scheduled_before_rate: as `rate` and `scheduled_rate`, of that host
    side_schedules: when the target's side probes run
    guards_logins: a target at this backend sends credentials that must be refused; set once all targets are known
    """

    target: Target
    profile: Profile
    limits: BackendLimits
    probes: tuple[Probe, ...]
    tls: bool
    host: str
    port: int
    connect_to: str
    authority: str
    users: Mapping[str, str]
    key: str | None
    carrier: Carrier | None
    endpoint: str
    cadence: Cadence
    slot_pattern: SlotPattern
    steps: Mapping[Probe, int]
    rate: int | None
    peaks: Mapping[str, int]
    scheduled_rate: int = 0
    before: HttpOrigin | None = None
    before_rate: int | None = None
    scheduled_before_rate: int = 0
    side_schedules: tuple[SideSchedule, ...] = ()
    guards_logins: bool = False

    @classmethod
    def of(cls, target: Target, profile: Profile, rate: int) -> Self:
        """Make the job of a target, without regard to others."""
        parts = urlsplit(target.url)
        host, port = host_of(target.url), parts.port or DEFAULT_PORTS[parts.scheme]
        connect_to = target.address or parts.hostname or ""
        authority = f"{host}:{port}"
        probes = probes_of(profile)
        before = _origin_before(profile, HttpOrigin(parts.scheme == "wss", host, port, connect_to))
        limits = _limits(target, profile)
        return cls(
            target=target,
            profile=profile,
            limits=limits,
            probes=probes,
            tls=parts.scheme == "wss",
            host=host,
            port=port,
            connect_to=connect_to,
            authority=authority,
            users={alias: user_key(authority, subject) for alias, subject in target.identities.items()},
            key=_key_id(authority, target.auth.source) if target.auth else None,
            carrier=carrier_of(target.auth, profile) if target.auth else None,
            endpoint=endpoint_id(parts.scheme, authority, parts.path or "/"),
            cadence=Cadence.of(target.name, target.interval),
            slot_pattern=_slot_pattern(target, profile, probes),
            steps={
                Probe.CONNECT: 1,
                Probe.AUTH: target.probes.auth.every,
                Probe.SEND: target.probes.send.every,
            },
            rate=None if is_loopback(connect_to.removesuffix(".")) else rate,
            peaks={},
            before=before,
            before_rate=None if before is None or is_loopback(before.connect_to.removesuffix(".")) else rate,
            side_schedules=side_schedules(SideContext(target, profile, limits, authority)),
        )

    @property
    def name(self) -> str:
        """The target's name."""
        return self.target.name

    @cached_property
    def tokenless(self) -> bool:
        """Whether a connect-deep session sends no token and takes no slot."""
        return connects_without_token(self.target.auth, self.profile)

    @property
    def connects_anonymously(self) -> bool:
        """Whether a connect-deep session may be anonymous: without an identity, a token and a slot."""
        return connects_anonymously(self.target.auth, self.profile)

    @property
    def sentinel_limit(self) -> float:
        """Seconds that a sentinel waits for its connect: it is over when the next one is due."""
        return (
            self.target.timeout
            if self.target.sentinel is None
            else min(self.target.timeout, self.target.sentinel.every)
        )

    @cached_property
    def fills_upgrade(self) -> bool:
        """Whether the upgrade request holds values that the request before it keeps."""
        return "${" in self.target.url or any(
            "${" in text for text in (*self.target.headers.values(), *self.profile.subprotocols)
        )

    @property
    def tls_before(self) -> Tls:
        """Trust, and client certificate, of the request before the upgrade.

        An `origin` of another host is offered no certificate: it would learn who connects to the target.
        """
        rules, tls = self.profile.before, self.target.tls
        if self.before is None or rules is None or self.before.host == self.host or rules.client_certificate:
            return tls
        return tls.model_copy(update={"cert_file": None, "key_file": None})

    @property
    def connects(self) -> Mapping[str, int]:
        """Host → connects of one session to it."""
        hosts = [self.host] if self.before is None else [self.host, self.before.host]
        return Counter(hosts)

    def rate_of(self, host: str) -> int | None:
        """Return the connects per minute that one of the hosts of `connects` permits; None for loopback."""
        return self.rate if host == self.host else self.before_rate

    @property
    def interval(self) -> float:
        """Seconds between two cycles."""
        return self.target.interval

    @property
    def open_for(self) -> float:
        """Seconds after which a session is certainly over."""
        return self.target.timeout + self.target.close_timeout

    @property
    def window(self) -> float:
        """Seconds that a session's slot is held at most: the backend starts its release at the disconnect."""
        return self.limits.slot_release + self.open_for

    @property
    def window_cycles(self) -> int:
        """Cycles after its own during which a session's slot may still be held."""
        return to_microseconds(self.window) // self.cadence.interval_us

    @property
    def identities(self) -> tuple[str, ...]:
        """The aliases, in round-robin order."""
        return tuple(self.target.identities)

    @property
    def allowed_slots(self) -> int | None:
        """Slots that one identity may hold; None: unlimited."""
        slots = self.limits.slots_per_identity
        return slots - self.limits.reserve if slots else None

    @property
    def confirm_runs(self) -> int:
        """Sessions that may follow a first failure."""
        return self.target.confirm.runs

    @property
    def confirm_after(self) -> float:
        """Seconds between confirm runs."""
        return self.target.confirm.after

    @property
    def repeat_after(self) -> float:
        """Seconds from a failure that no confirm run may follow to a repeat run: as long as three failures span."""
        return (MIN_FAILURES - 1) * self.confirm_after

    def speaking_as(self, identities: Mapping[str, str]) -> Self:
        """Return the job of sessions beside the cycles, with these users (alias → subject) as the only ones."""
        users = {alias: user_key(self.authority, subject) for alias, subject in identities.items()}
        return replace(self, target=self.target.model_copy(update={"identities": identities}), users=users, peaks={})

    def cycle_at(self, moment: float) -> int:
        """Return the absolute number of the last cycle due at or before `moment` (unix seconds)."""
        return self.cadence.cycle_at(moment)

    def due(self, cycle: int) -> float:
        """Return when the cycle is due, unix seconds."""
        return self.cadence.due(cycle)

    def every(self, probe: Probe) -> int:
        """Return n, where the probe runs in every n-th cycle."""
        return self.steps[probe]

    def depth(self, cycle: int) -> Probe:
        """Return the deepest probe due in this cycle."""
        return next(probe for probe in reversed(self.probes) if cycle % self.every(probe) == 0)

    def identity(self, cycle: int) -> str | None:
        """Return the identity of a cycle: round robin over the cycles that take a slot; None in the others."""
        if not self.target.identities or not self.slot_pattern.takes_slot(cycle):
            return None
        return self.identities[self.slot_pattern.slots_before(cycle) % len(self.target.identities)]

    def confirming_identities(self, failed: str | None) -> tuple[str | None, ...]:
        """Return the identities that may confirm a failure of `failed`: all others, the most recently used first."""
        if not self.target.identities:
            return (None,)
        pool = self.identities
        start = pool.index(failed) if failed in pool else len(pool)
        return tuple(alias for alias in (*reversed(pool[:start]), *reversed(pool[start:])) if alias != failed)

    def next_due(self, moment: float) -> dict[Probe, float]:
        """Return for each probe when, after `moment`, a cycle next goes as deep or deeper. Unix seconds."""
        first = self.cycle_at(moment) + 1
        cycles, soonest = {}, first + max(self.steps.values())
        for probe in reversed(self.probes):
            soonest = min(soonest, first + -first % self.steps[probe])
            cycles[probe] = soonest
        return {probe: self.due(cycles[probe]) for probe in self.probes}

    def session_cost(
        self, run: str, depth: Probe, identity: str | None, trigger: Trigger, *, due: float | None = None
    ) -> SessionCost:
        """Return the cost of a session of this depth as this identity; `due`: when its cycle was due, unix seconds."""
        anonymous = depth is Probe.CONNECT and self.tokenless
        return SessionCost(
            run=run,
            host=self.host,
            authority=self.authority,
            depth=depth,
            trigger=trigger,
            user=None if anonymous or identity is None else self.users[identity],
            key=None if anonymous else self.key,
            slots=self.limits.slots_per_identity,
            slot_release=self.limits.slot_release,
            reserve=self.limits.reserve,
            open_for=self.open_for,
            auth_retry=self.target.auth_retry,
            rate=self.rate,
            scheduled_peak=self.peaks.get(identity or "", 0),
            scheduled_rate=self.scheduled_rate,
            due=due,
            tokenless=self.tokenless,
            endpoint=self.endpoint,
            breakers=tuple(self.profile.breaker),
            before_host=None if self.before is None else self.before.host,
            before_rate=self.before_rate,
            scheduled_before_rate=self.scheduled_before_rate,
            guards_logins=self.guards_logins,
        )

    def own_peaks(self) -> Iterable[tuple[str, str, int]]:
        """Return alias, user, and the most slots that this target's schedule alone makes the user hold."""
        peaks = self.slot_pattern.max_slots_per_identity(self.window_cycles, len(self.users)) if self.users else []
        return ((alias, user, peak) for (alias, user), peak in zip(self.users.items(), peaks, strict=True))


def _origin_before(profile: Profile, own: HttpOrigin) -> HttpOrigin | None:
    """Return where the profile's request before the upgrade goes: to the target's own server, or to its `origin`."""
    if profile.before is None:
        return None
    if profile.before.origin is None:
        return own
    parts = urlsplit(profile.before.origin)
    port = parts.port or DEFAULT_PORTS[parts.scheme]
    return HttpOrigin(parts.scheme == "https", host_of(profile.before.origin), port, parts.hostname or "")


def host_of(url: str) -> str:
    """Return the host of a URL as in Host, SNI and certificates, without a trailing dot (RFC 6066 section 3)."""
    return (urlsplit(url).hostname or "").removesuffix(".")


def is_loopback(host: str) -> bool:
    """Whether the host is this machine by its name alone (RFC 6761 section 6.3) or by its address."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _limits(target: Target, profile: Profile) -> BackendLimits:
    """Merge the target's limits over the profile's; a reserve that the target does not set leaves at least one slot."""
    own = target.limits
    named = {name: getattr(own, name) for name in type(own).model_fields}
    limits = profile.limits.model_copy(update={name: value for name, value in named.items() if value is not None})
    if own.reserve is not None or not 0 < limits.slots_per_identity <= limits.reserve:
        return limits
    return limits.model_copy(update={"reserve": limits.slots_per_identity - 1})


def _key_id(authority: str, source: Jwt | Secret) -> str:
    kind, name = next((kind, name) for kind in KEY_KINDS if (name := getattr(source, kind, None)) is not None)
    return key_id(authority, kind, name)


def _slot_pattern(target: Target, profile: Profile, probes: tuple[Probe, ...]) -> SlotPattern:
    """Every cycle takes a slot, except connect-deep ones that send no token."""
    if not connects_without_token(target.auth, profile):
        return SlotPattern.every((1,))
    steps = {Probe.AUTH: target.probes.auth.every, Probe.SEND: target.probes.send.every}
    return SlotPattern.every(tuple(step for probe, step in steps.items() if probe in probes))
