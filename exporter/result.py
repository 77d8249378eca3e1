"""The closed lists of the results, and one finished session.

Rule 1: imports no module of the exporter.
Rule 2: a `Result` is finished, frozen, and holds no text from the network: only members of the closed lists below,
numbers, and identifiers that passed `evidence_text`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, NamedTuple


class Phase(StrEnum):
    """A part of a session. `prepare` is the exporter's own work and is never timed."""

    PREPARE = "prepare"
    RESOLVE = "resolve"
    TCP = "tcp"
    TLS = "tls"
    UPGRADE = "upgrade"
    ADMISSION = "admission"
    AUTH = "auth"
    REPLY = "reply"
    CLOSE = "close"


class Probe(StrEnum):
    """A question, in order of depth: a session that answers one answers all before it."""

    CONNECT = "connect"
    AUTH = "auth"
    SEND = "send"

    @property
    def rank(self) -> int:
        """0 for the shallowest; a session of rank n answers all probes up to n."""
        return RANKS[self]


RANKS: Final = {probe: rank for rank, probe in enumerate(Probe)}


class Verdict(StrEnum):
    """A probe's outcome. `NONE`: the session did not reach the probe, or proved nothing."""

    PASS = "pass"  # noqa: S105
    FAIL = "fail"
    NONE = "-"


class Reason(StrEnum):
    """Why a probe failed. A label value: names here never change."""

    DNS = "dns"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    RESET = "reset"
    TIMEOUT = "timeout"
    TLS_CERTIFICATE = "tls_certificate"
    TLS_HANDSHAKE = "tls_handshake"
    HTTP_STATUS = "http_status"
    RATE_LIMITED = "rate_limited"
    REDIRECT = "redirect"
    BAD_HANDSHAKE = "bad_handshake"
    AUTH_REJECTED = "auth_rejected"
    AUTH_UNAVAILABLE = "auth_unavailable"
    FACTORY = "factory"
    CLOSED = "closed"
    SERVER_ERROR = "server_error"
    BAD_REPLY = "bad_reply"
    PROTOCOL_ERROR = "protocol_error"
    TOO_BIG = "too_big"


class FactoryReason(StrEnum):
    """What the server-side factory did wrong. A label value: names here never change."""

    SLOT_LIMIT = "slot_limit"
    INIT_FAILED = "init_failed"
    STARTUP_INCOMPLETE = "startup_incomplete"
    INTERNAL_ERROR = "internal_error"
    USER_MISMATCH = "user_mismatch"
    ENVIRONMENT_MISMATCH = "environment_mismatch"
    DUPLICATE_CONNECTION_ID = "duplicate_connection_id"
    FROZEN_TIME = "frozen_time"
    NOT_READY = "not_ready"
    FACTORY_DISABLED = "factory_disabled"
    DEGRADED = "degraded"
    INVALID_WELCOME = "invalid_welcome"
    OTHER = "other"


class Handshake(StrEnum):
    """What is wrong with a response to an upgrade request that is not a refusal by status."""

    NO_HTTP = "no_http"
    TOO_LARGE = "too_large"
    BAD_HEADER = "bad_header"
    NO_UPGRADE = "no_upgrade"
    WRONG_ACCEPT = "wrong_accept"
    EXTENSION = "extension"
    SUBPROTOCOL_NOT_CHOSEN = "subprotocol_not_chosen"
    """Subprotocols were offered and the server chose none: browsers refuse that."""
    SUBPROTOCOL_NOT_OFFERED = "subprotocol_not_offered"
    """The server chose a subprotocol that was not offered, or several."""


class Impairment(StrEnum):
    """A failure of the exporter itself, never an outage of a target."""

    TOKEN = "token"  # noqa: S105
    INTERNAL = "internal"


class SkipCause(StrEnum):
    """Why a due cycle has no verdict."""

    OVERLAP = "overlap"
    BUDGET = "budget"
    RESTING = "resting"
    RATE = "rate"
    LATE = "late"
    CAPACITY = "capacity"
    DRAINING = "draining"
    DISTORTED = "distorted"


class Holdup(StrEnum):
    """What keeps a session, or its token, from being sent."""

    ENDPOINT = "endpoint"
    """The endpoint limits the rate of connects (429, 503 with Retry-After)."""
    RATE = "rate"
    """`max_connects_per_minute` of the host."""
    REJECTED = "rejected"
    """The key rests after rejected tokens, for `auth_retry`."""
    BREAKER_TOKEN = "breaker_token"  # noqa: S105
    """One more failed login may open a circuit breaker of the backend: no token is sent."""
    BREAKER_CONNECT = "breaker_connect"
    """The same, and a connect without a token counts too."""
    VERDICT = "verdict"
    """Another token is in flight, and its verdict is awaited."""
    IDENTITY = "identity"
    """The identity rests after a slot limit."""
    BUSY = "busy"
    """The identity has a connection open."""
    SLOTS = "slots"
    """No slot is left for the identity."""
    MEMORY = "memory"
    """What was held before the start is unknown."""


class Initiator(StrEnum):
    """Who sent the first close frame of a session; `NONE`: no close frame arrived."""

    REMOTE = "remote"
    LOCAL = "local"
    NONE = "none"


class Direction(StrEnum):
    """The direction of a frame, as the exporter sees it."""

    IN = "in"
    OUT = "out"


class Opcode(StrEnum):
    """The kind of a frame (RFC 6455 section 5.2)."""

    CONTINUATION = "continuation"
    TEXT = "text"
    BINARY = "binary"
    CLOSE = "close"
    PING = "ping"
    PONG = "pong"


class Trigger(StrEnum):
    """Why a session was opened."""

    SCHEDULE = "schedule"
    CONFIRM = "confirm"
    CHECK = "check"


class ErrorKind(StrEnum):
    """What went wrong; `classify` derives a `Reason` from it."""

    DNS = "dns"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    RESET = "reset"
    EOF = "eof"
    DEADLINE = "deadline"
    CERTIFICATE = "certificate"
    TLS = "tls"
    STATUS = "status"
    UPGRADE = "upgrade"
    PROTOCOL = "protocol"
    TOO_BIG = "too_big"
    CLOSED = "closed"
    REFUSAL = "refusal"
    WRONG_REPLY = "wrong_reply"


class TlsVerify(StrEnum):
    """Why a server's certificate is refused. Not a label: nine series for each target would be too many."""

    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    WRONG_NAME = "wrong_name"
    UNKNOWN_ISSUER = "unknown_issuer"
    SELF_SIGNED = "self_signed"
    INCOMPLETE_CHAIN = "incomplete_chain"
    WRONG_PURPOSE = "wrong_purpose"
    WEAK = "weak"
    OTHER = "other"


class CertificatePlace(StrEnum):
    """Where a certificate stands in the chain from the server's own to a trusted one."""

    LEAF = "leaf"
    INTERMEDIATE = "intermediate"
    ROOT = "root"


class CertificateEnd(NamedTuple):
    """The earliest expiry in a chain, unix seconds; `place`: whose it is, None if only the server's was seen."""

    at: float
    place: CertificatePlace | None


class ProbeError(Exception):
    """What went wrong in a session: the one exception that leaves the packages below `probing`.

    detail: the exporter's own text (class name, errno name, member of `Handshake`), never one from the network
    status: HTTP status of a refused upgrade
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
    refused_after, error_word, unknown_keys: see `Result`
    subprotocol: the one of the profile's that the server chose; never one that carries a token
    address, address_number, addresses, failed_addresses: see `Evidence`
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
    slot_taken: bool = False
    late: float = 0.0
    transcript: tuple[Frame, ...] = ()
    frames_left_out: int = 0


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
    refused_after: seconds from the start to a refusal (HTTP status, error frame, wrong reply, close)
    credential_sent, origin_sent: the upgrade request held a credential, an Origin; None: unknown
    unknown_keys: outermost fields of messages that the profile does not know, at most 8 that `key_name` permits
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


IDENTIFIER: Final = re.compile(r"[\w.:-]{1,64}", re.ASCII)


def evidence_text(value: object) -> str | None:
    """Return an identifier from the network that may be shown: at most 64 of `A-Z a-z 0-9 . _ : -`; else None.

    An integer is accepted as its decimal text.
    """
    text = str(value) if type(value) is int and abs(value) < MAX_NUMERIC_IDENTIFIER else value
    return text if isinstance(text, str) and IDENTIFIER.fullmatch(text) else None


MAX_NUMERIC_IDENTIFIER: Final = 10**63
"""From here on an integer has more digits than an identifier has characters."""

KEY_NAME: Final = re.compile(r"\w{1,24}", re.ASCII)
MAX_KEYS: Final = 8


def key_name(value: object) -> str | None:
    """Return the name of a message's field that may be shown: at most 24 letters, digits and `_`; else None."""
    return value if isinstance(value, str) and KEY_NAME.fullmatch(value) else None
