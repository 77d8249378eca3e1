"""The closed lists: every word that a result, a label or a page can show. Rule: a word never changes its name."""

from enum import StrEnum
from typing import Final


class Phase(StrEnum):
    """A part of a session. `prepare` is the exporter's own work and is never timed.

    `before` is one HTTP request ahead of the WebSocket, where the profile has one.
    """

    PREPARE = "prepare"
    BEFORE = "before"
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
    NO_ACCEPT = "no_accept"
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
    CLOCK = "clock"
    """The wall clock was set while a token was being judged that the clock before had signed (RFC 7519 section 4.1)."""


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
    FORGERY = "forgery"
    """A token that must be refused was sent a short time ago, or no good one was let in since."""


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
    REPEAT = "repeat"
    """The same again, after a failure that no confirm run may follow."""
    CHECK = "check"
    SIDE_PROBE = "side_probe"


EXTRA_RUNS: Final = frozenset({Trigger.CONFIRM, Trigger.REPEAT})
"""Sessions that follow a failed cycle and are none themselves."""


class SideProbe(StrEnum):
    """A question beside connect, auth and send, asked by sessions on a cadence of its own."""

    REFUSAL = "refusal"
    """Whether a credential that must be refused is refused."""
    CANARY = "canary"
    """Whether the backend gives slots back after the close of their connections."""
    SENTINEL = "sentinel"
    """Whether a WebSocket opens, between the cycles."""
    HOLD = "hold"
    """Whether an open connection stays usable, and how it ends."""
    STATS = "stats"
    """What the backend tells of itself over HTTP."""


class SentinelOutcome(StrEnum):
    """What a connect of the sentinel came to. A label value: names here never change."""

    PASSED = "passed"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"
    """The exporter could not make it, or the backend limits its rate."""
    SKIPPED = "skipped"
    """No session was opened: the ledger, or `max_sessions`, had no room for it."""


class SuspicionOutcome(StrEnum):
    """What became of a suspicion between the cycles. A label value: names here never change."""

    CONFIRMED = "confirmed"
    """Every confirm run failed."""
    UNCONFIRMED = "unconfirmed"
    """A confirm run passed, proved nothing, or found no room."""


class LineLevel(StrEnum):
    """At which level something passes over a held connection. A label value: names here never change."""

    PROTOCOL = "protocol"
    """Control frames of WebSocket: pings and pongs (RFC 6455 section 5.5)."""
    APPLICATION = "application"
    """Messages: the backend's own pings, and its replies."""


class HoldEnd(StrEnum):
    """How a held connection ended. A label value: names here never change."""

    OVER = "over"
    """The exporter closed it: its longest time was over."""
    CUT = "cut"
    """At an age at which the ones before it ended too: a limit of the path, and no incident."""
    RESTART = "restart"
    """The server closed it with 1001 or 1012: it stops, or recycles a worker."""
    CLOSED = "closed"
    """The server closed it with another code."""
    LOST = "lost"
    """The connection ended without a close frame."""
    UNANSWERED = "unanswered"
    """A ping got no pong in time; the exporter closed it."""
    BROKEN = "broken"
    """The server broke the protocol, or sent too much."""


class RefusalCase(StrEnum):
    """A credential that a backend must refuse. A label value: names here never change."""

    NO_TOKEN = "no_token"  # noqa: S105
    MALFORMED = "malformed"
    EXPIRED = "expired"
    WRONG_AUDIENCE = "wrong_audience"
    UNSIGNED = "unsigned"
    """With an algorithm of `none` (RFC 7519 section 6)."""
    OTHER_KEY = "other_key"
    DISABLED_USER = "disabled_user"
    """A good token for a user who is disabled."""


class RefusalOutcome(StrEnum):
    """What became of a credential that must be refused. A label value: names here never change."""

    REFUSED = "refused"
    WRONG_WAY = "wrong_way"
    """Refused, in a way from which a client cannot tell that it must log in again."""
    BYPASSED = "bypassed"
    """Let in."""
    INCONCLUSIVE = "inconclusive"
    """The session ended before the backend decided, or by an outage."""
    SKIPPED = "skipped"
    """No session was opened: the ledger, or `max_sessions`, had no room for it."""

    @property
    def is_decided(self) -> bool:
        """Whether the backend has decided about the credential."""
        return self not in (RefusalOutcome.INCONCLUSIVE, RefusalOutcome.SKIPPED)


class StatsOutcome(StrEnum):
    """What a read of the backend's own figures came to. A label value: names here never change."""

    READ = "read"
    UNREADABLE = "unreadable"
    """An answer of 2xx in which a field is missing or no finite number, or that is no JSON, or too large."""
    HTTP_STATUS = "http_status"
    """Any other status, redirects included."""
    FAILED = "failed"
    """No whole answer came in time."""
    IMPAIRED = "impaired"
    """The exporter could not ask: a key or certificate of its own cannot be read."""
    SKIPPED = "skipped"
    """Nothing was asked: the ledger, or `max_sessions`, had no room for it, or the token rests."""


class ExportOutcome(StrEnum):
    """What became of one export of the metrics by OTLP."""

    ACCEPTED = "accepted"
    PARTIAL = "partial"
    """The receiver took some of the points and refused others."""
    REFUSED = "refused"
    """It answered with another status than 200."""
    UNREACHABLE = "unreachable"
    """There was no connection to it, or it broke."""
    TIMEOUT = "timeout"
    IMPAIRED = "impaired"
    """The exporter's own failure: a file that the flags name cannot be used, or a defect."""


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


class Software(StrEnum):
    """Programs that answer an upgrade: the proxies and servers that `software.fingerprints` can tell apart.

    `BACKEND`: a server behind the proxies that were seen, which does not say what it is.
    """

    NGINX = "nginx"
    HAPROXY = "haproxy"
    APACHE = "apache"
    CADDY = "caddy"
    ENVOY = "envoy"
    TRAEFIK = "traefik"
    VARNISH = "varnish"
    SQUID = "squid"
    LIGHTTPD = "lighttpd"
    NGHTTPX = "nghttpx"
    STUNNEL = "stunnel"
    CLOUDFLARE = "cloudflare"
    CLOUDFRONT = "cloudfront"
    ALB = "alb"
    GFE = "gfe"
    UVICORN = "uvicorn"
    GUNICORN = "gunicorn"
    HYPERCORN = "hypercorn"
    DAPHNE = "daphne"
    GRANIAN = "granian"
    AIOHTTP = "aiohttp"
    TORNADO = "tornado"
    SANIC = "sanic"
    ROBYN = "robyn"
    WEBSOCKETS = "websockets"
    WERKZEUG = "werkzeug"
    FLASK_SOCK = "flask-sock"
    UWSGI = "uwsgi"
    NODE = "node"
    WS = "ws"
    SOCKETIO = "socketio"
    FASTIFY = "fastify"
    NEST = "nest"
    GRAPHQL_WS = "graphql-ws"
    FAYE = "faye"
    GORILLA = "gorilla"
    CODER = "coder"
    GOBWAS = "gobwas"
    GWS = "gws"
    TOMCAT = "tomcat"
    JETTY = "jetty"
    UNDERTOW = "undertow"
    VERTX = "vertx"
    JAVA_WEBSOCKET = "java-websocket"
    SPRING = "spring"
    QUARKUS = "quarkus"
    AXUM = "axum"
    ACTIX = "actix"
    TUNGSTENITE = "tungstenite"
    COWBOY = "cowboy"
    PUMA = "puma"
    KESTREL = "kestrel"
    BACKEND = "backend"


PROXIES: Final = frozenset(
    {
        Software.NGINX,
        Software.HAPROXY,
        Software.APACHE,
        Software.CADDY,
        Software.ENVOY,
        Software.TRAEFIK,
        Software.VARNISH,
        Software.SQUID,
        Software.LIGHTTPD,
        Software.NGHTTPX,
        Software.STUNNEL,
        Software.CLOUDFLARE,
        Software.CLOUDFRONT,
        Software.ALB,
        Software.GFE,
    }
)
"""Software that stands in front of a backend."""
SERVERS: Final = tuple(software for software in Software if software not in {*PROXIES, Software.BACKEND})
"""Software that a backend runs on, by its name."""


class Ending(StrEnum):
    """How the peer ended the transport (RFC 9293 section 3.6, RFC 8446 section 6.1)."""

    FIN = "fin"
    RESET = "reset"
    CLOSE_NOTIFY = "close_notify"
    TLS_CUT = "tls_cut"
    """The end of a TLS connection without its close_notify: a killed process, or a proxy that cuts."""


class Layer(StrEnum):
    """Who is at fault: to whom the person on call must go."""

    NETWORK = "network"
    TLS = "tls"
    PROXY = "proxy"
    SERVER = "server"
    """The backend's process or its server program: stopped, killed, recycled, its port closed."""
    APPLICATION = "application"
    LOGIN = "login"
    FACTORY = "factory"
    CLIENT = "client"
    """The exporter, its configuration or its host."""
    UNKNOWN = "unknown"


class Confidence(StrEnum):
    """How sure a diagnosis is. `OPEN`: the evidence fits several layers, and the sentence names them."""

    CERTAIN = "certain"
    LIKELY = "likely"
    OPEN = "open"
