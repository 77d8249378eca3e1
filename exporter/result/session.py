"""What a session met, for `classify`, and what a finished one is."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from exporter.result.words import (
    CertificatePlace,
    Direction,
    Ending,
    ErrorKind,
    FactoryReason,
    Handshake,
    Holdup,
    Impairment,
    Initiator,
    Opcode,
    Phase,
    Probe,
    Reason,
    SkipCause,
    Software,
    TlsVerify,
    Trigger,
    Verdict,
)


class CertificateEnd(NamedTuple):
    """The earliest expiry in a chain, unix seconds; `place`: whose it is, None if only the server's was seen."""

    at: float
    place: CertificatePlace | None


class ProbeError(Exception):
    """What went wrong in a session: the one exception that leaves the packages below `probing`.

    detail: the exporter's own text (class name, errno name, member of `Handshake`), never one from the network
    status: HTTP status of a refused upgrade, or of the answer to the request before it
    retry_after: seconds of its Retry-After
    phase: the phase that failed, if another one met the error: a TLS 1.3 server refuses a client certificate only after
        the handshake (RFC 8446 section 4.4.2.4), so the alert arrives during the upgrade
    """

    def __init__(
        self,
        kind: ErrorKind,
        detail: str = "",
        *,
        status: int | None = None,
        retry_after: float | None = None,
        phase: Phase | None = None,
        tls_verify: TlsVerify | None = None,
    ) -> None:
        super().__init__(kind, detail)
        self.kind = kind
        self.detail = detail
        self.status = status
        self.retry_after = retry_after
        self.phase = phase
        self.tls_verify = tls_verify

    def __str__(self) -> str:
        return f"{self.kind.value} {self.detail}".rstrip()


@dataclass(frozen=True, slots=True)
class Close:
    """How a session's WebSocket ended: its first close frame (RFC 6455 section 7.1.5), or 1006 without one.

    `text`: the peer's reason, for `classify` only; the close in a `Result` has none.
    """

    code: int
    initiator: Initiator
    phase: Phase
    text: str = field(default="", repr=False)


class Frame(NamedTuple):
    """One line of a transcript: a WebSocket frame without its content.

    at: seconds from the session's start until the frame arrived, or the kernel took it
    size: bytes of the payload
    kind: kind of the message that the frame completed, from a closed list or the profile; None for other frames
    code: code of a close frame; the profile's name of an error frame
    """

    at: float
    direction: Direction
    opcode: Opcode
    size: int
    kind: str | None = None
    code: str | None = None


@dataclass(frozen=True, slots=True)
class SessionObservation:
    """What one session observed, for `classify`. It may hold texts from the network and never leaves `probing`.

    phases: seconds of each completed phase
    marks: seconds from the start of `resolve` to the end of each phase
    ended: the phase in which the session ended (`CLOSE` if it reached its depth)
    refusal: the error frame, a JSON value
    notices: kinds of the frames that were passed over
    refused_after, error_word, unknown_keys, answered_by, via, interim_status, stream_status, ending: see `Result`
    subprotocol: the one of the profile's that the server chose; never one that carries a token
    address, address_number, addresses, failed_addresses: see `Evidence`
    address_answered: it accepted a TCP connection
    late: the longest delay of the exporter itself, in reading or at the deadline, seconds
    """

    phases: Mapping[Phase, float]
    marks: Mapping[Phase, float]
    ended: Phase
    fault: ProbeError | None = None
    close: Close | None = None
    welcome: Mapping[str, Any] | None = field(default=None, repr=False)
    refusal: Any = field(default=None, repr=False)
    notices: tuple[str, ...] = ()
    passed_over: Mapping[str, int] = field(default_factory=dict)
    unknown_keys: tuple[str, ...] = ()
    refused_after: float | None = None
    error_word: str | None = None
    certificate_end: CertificateEnd | None = None
    subprotocol: str | None = None
    address: str | None = None
    address_number: int | None = None
    addresses: int | None = None
    failed_addresses: tuple[str, ...] = ()
    address_answered: bool = False
    slot_taken: bool = False
    late: float = 0.0
    transcript: tuple[Frame, ...] = ()
    frames_left_out: int = 0
    answered_by: Software | None = None
    via: tuple[Software, ...] = ()
    interim_status: int | None = None
    stream_status: int | None = None
    ending: Ending | None = None

    @property
    def handshake(self) -> Handshake | None:
        """What was wrong with the answer to the upgrade; None: nothing."""
        fault = self.fault
        return Handshake(fault.detail) if fault is not None and fault.kind is ErrorKind.UPGRADE else None

    def seconds_until(self, phases: Collection[Phase]) -> float | None:
        """Return the seconds from the start to the end of the last of these phases; None if none was completed."""
        return max((self.marks[phase] for phase in phases if phase in self.marks), default=None)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What only a live server can have sent, and what it reports of itself (times in unix seconds, sizes in bytes).

    certificate_expiry: the earliest expiry in the chain that was verified, or refused as expired
    certificate_place: the certificate with that expiry
    address: the one that was tried
    address_number: its place among the name's `addresses`, in the order of the system's preference; the first is 1
    failed_addresses: those that refused a TCP connection when they were last tried
    """

    connection_id: str | None = None
    server_time: float | None = None
    clock_skew: float | None = None
    heartbeat_interval: float | None = None
    max_message_size: float | None = None
    certificate_expiry: float | None = None
    address: str | None = None
    address_number: int | None = None
    addresses: int | None = None
    failed_addresses: tuple[str, ...] = ()
    certificate_place: CertificatePlace | None = None


Address = tuple[int, Any]
"""Address family and the socket address that `socket.connect` takes."""


@dataclass(frozen=True, slots=True)
class Result:
    """One finished session.

    phases: seconds of each completed phase
    durations: seconds from the start to the verdict, of passed probes only
    phase, reason: where and why the deepest failing probe failed
    impairment: a failure of the exporter itself, which left all verdicts at `-`
    distorted: the exporter was too busy for reliable durations
    void: the exporter was too busy for its deadline, so nothing is proved
    slot_limit: number of slots in a refusal; retry_after: seconds of a rate limit
    transcript: the first and the last frames; frames_left_out: the number of frames between them
    handshake: what was wrong with a response to the upgrade that is `bad_handshake`
    error_word: the profile's word for the error frame
    rule: path of the profile's rule that sorted what ended the session, such as `closes[0]`
    no_token: the server reports that no token arrived
    refused_after: seconds from the start to a refusal (HTTP status, error frame, wrong reply, close), or to the loss of
        the connection
    credential_sent: the upgrade request held a credential, or the one before it if that failed; None: unknown
    origin_sent: the upgrade request held an Origin; None: unknown
    unknown_keys: outermost fields of messages that the profile does not know, at most 8 that `key_name` permits
    answered_by: who made the answer to the upgrade: a proxy by itself, or a server; None: it does not say
    via: proxies that passed that answer on
    interim_status: status of the last interim answer (RFC 9110 section 15.2) before the final one
    stream_status: status of an HTTP answer that came on the open WebSocket in place of a frame
    ending: how the peer ended the connection; None: it had not when the session was over
    """

    target: str
    identity: str | None
    run: str
    depth: Probe
    trigger: Trigger
    started_at: float
    verdicts: Mapping[Probe, Verdict]
    durations: Mapping[Probe, float] = field(default_factory=dict)
    phases: Mapping[Phase, float] = field(default_factory=dict)
    phase: Phase | None = None
    reason: Reason | None = None
    factory_reason: FactoryReason | None = None
    impairment: Impairment | None = None
    close: Close | None = None
    http_status: int | None = None
    tls_verify: TlsVerify | None = None
    passed_over: Mapping[str, int] = field(default_factory=dict)
    evidence: Evidence = Evidence()
    slot_limit: int | None = None
    retry_after: float | None = None
    distorted: bool = False
    void: bool = False
    transcript: tuple[Frame, ...] = ()
    frames_left_out: int = 0
    handshake: Handshake | None = None
    error_word: str | None = None
    rule: str | None = None
    no_token: bool = False
    refused_after: float | None = None
    credential_sent: bool | None = None
    origin_sent: bool | None = None
    unknown_keys: tuple[str, ...] = ()
    answered_by: Software | None = None
    via: tuple[Software, ...] = ()
    interim_status: int | None = None
    stream_status: int | None = None
    ending: Ending | None = None

    @property
    def failed(self) -> bool:
        """Whether any probe of this session failed."""
        return Verdict.FAIL in self.verdicts.values()

    @property
    def decided(self) -> bool:
        """Whether any probe of this session passed or failed."""
        return any(verdict is not Verdict.NONE for verdict in self.verdicts.values())

    @property
    def untried_addresses(self) -> int:
        """The number of addresses of the name that may take connections although this one refused.

        0 if the address took the connection: a connected client tries no other.
        """
        if self.phase is not Phase.TCP:
            return 0
        evidence = self.evidence
        return max(0, (evidence.addresses or 0) - len({evidence.address, *evidence.failed_addresses}))


@dataclass(frozen=True, slots=True)
class Skip:
    """A due cycle that opened no session, or one that proved nothing (`distorted`).

    holdup: what the ledger refused it for
    until: when asking again may succeed, unix seconds; None: unknown
    """

    target: str
    cause: SkipCause
    holdup: Holdup | None = None
    until: float | None = None
