"""The table of faults and the parser of their specs.

A spec is `name` or `name:key=value,key=value`. A comma ends a value only before another `key=`, so that a reason text
may hold spaces and commas. Every fault takes `share`, the fraction of connections it meets.

Rule 1: pure data and text. What a fault does is in `fault_actions` and `wire_fault_actions`, under the same name.
Rule 2: active faults run in the order of the table: those that send something before those that end the connection.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

MAX_REASON_BYTES: Final = 123
"""Bytes of a close reason (RFC 6455 section 5.5)."""
MAX_CODE: Final = 65_535
NEXT_PARAMETER: Final = re.compile(r",(?=[a-z_]+=)")


class FaultStage(StrEnum):
    """A point in a connection's life at which a fault acts."""

    TCP = "tcp"
    """The connection is accepted; no byte is read and no path is known."""
    TLS = "tls"
    """The certificate of the TLS handshake is chosen."""
    UPGRADE = "upgrade"
    """The request is read and not answered."""
    OPENED = "opened"
    """The 101 is sent (step 1)."""
    AUTH = "auth"
    """Before the token check (step 2)."""
    FACTORY = "factory"
    """After the token check, before the manager factory (step 4)."""
    STARTUP = "startup"
    """The manager is made; the start-up gate and the services (steps 5 to 7)."""
    ADMISSION = "admission"
    """The connection is registered; instead of the welcome, or just before it (step 8)."""
    WELCOME = "welcome"
    """The welcome is made and not sent; a fault can change it (step 9)."""
    GREETED = "greeted"
    """The welcome is sent, the ping is not (step 9)."""
    REPLY = "reply"
    """A message of the client was read; its answer is made and not sent."""
    CLOSE = "close"
    """The client's close frame has arrived and is not answered."""


LISTENER_STAGES: Final = (FaultStage.TCP, FaultStage.TLS)
"""Stages before the path is known: their faults apply to the whole listener."""


class ParamKind(StrEnum):
    """The type of a parameter."""

    TEXT = "text"
    SECONDS = "seconds"
    COUNT = "count"
    SHARE = "share"
    FLAG = "flag"
    CHOICE = "choice"


@dataclass(frozen=True, slots=True)
class FaultParam:
    """One parameter. `default` None: the backend's own figure. `stages`: for the one that says where a fault acts."""

    name: str
    kind: ParamKind
    default: Any
    text: str
    choices: tuple[str, ...] = ()
    stages: Mapping[str, FaultStage] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fault:
    """One row: what the fault does, its parameters, and the stages it acts at (absent: a parameter says which)."""

    name: str
    text: str
    params: tuple[FaultParam, ...] = ()
    stages: tuple[FaultStage, ...] = ()
    shareable: bool = True

    def param(self, name: str) -> FaultParam | None:
        """The parameter of that name."""
        return next((param for param in (*self.params, SHARE_PARAM) if param.name == name), None)


@dataclass(frozen=True, slots=True)
class ActiveFault:
    """A fault with its values, as parsed from `spec`."""

    fault: Fault
    values: Mapping[str, Any]
    share: float
    spec: str

    @property
    def name(self) -> str:
        """The fault's name."""
        return self.fault.name

    @property
    def stages(self) -> tuple[FaultStage, ...]:
        """Where it acts."""
        places = (param.stages[self.values[param.name]] for param in self.fault.params if param.stages)
        return self.fault.stages or tuple(places)

    @property
    def needs_listener(self) -> bool:
        """True if it acts before a path is known."""
        return not self.fault.shareable or any(stage in LISTENER_STAGES for stage in self.stages)


SHARE_PARAM: Final = FaultParam(
    "share", ParamKind.SHARE, 1.0, "fraction of connections it meets, above 0 and at most 1"
)


def _text(name: str, default: str, text: str) -> FaultParam:
    return FaultParam(name, ParamKind.TEXT, default, text)


def _count(name: str, default: int | None, text: str) -> FaultParam:
    return FaultParam(name, ParamKind.COUNT, default, text)


def _delay(default: float | None, text: str = "seconds it takes") -> FaultParam:
    return FaultParam("delay", ParamKind.SECONDS, default, text)


def _flag(name: str, text: str, *, default: bool = False) -> FaultParam:
    return FaultParam(name, ParamKind.FLAG, default, text)


def _choice(name: str, text: str, *choices: str) -> FaultParam:
    return FaultParam(name, ParamKind.CHOICE, choices[0], text, choices)


def _place(name: str, default: str, **stages: FaultStage) -> FaultParam:
    text = "the point at which it happens"
    return FaultParam(name, ParamKind.CHOICE, default, text, tuple(stages), stages)


AT_ANY: Final = {
    "tcp": FaultStage.TCP,
    "upgrade": FaultStage.UPGRADE,
    "admission": FaultStage.ADMISSION,
    "reply": FaultStage.REPLY,
    "close": FaultStage.CLOSE,
}
AT_FRAME: Final = _place("at", "admission", admission=FaultStage.ADMISSION, reply=FaultStage.REPLY)

ROWS: Final = (
    Fault("none", "nothing is wrong"),
    # The listener.
    Fault("refuse", "stops listening: connections are refused", shareable=False),
    Fault("not_tls", "answers plain HTTP on the TLS port", stages=(FaultStage.TCP,)),
    Fault("tls_expired", "shows a certificate that has expired", stages=(FaultStage.TLS,)),
    Fault("tls_untrusted", "shows a certificate of an unknown issuer", stages=(FaultStage.TLS,)),
    Fault("tls_wrong_host", "shows a certificate for another name", stages=(FaultStage.TLS,)),
    Fault("tls_client_required", "refuses who shows no client certificate of its CA", stages=(FaultStage.TLS,)),
    # What only delays or adds, and so goes on.
    Fault("slow_upgrade", "answers the upgrade late", (_delay(1.0),), (FaultStage.UPGRADE,)),
    Fault("fragments", "sends every message in three fragments with a ping in between", stages=(FaultStage.OPENED,)),
    Fault("no_close_answer", "never answers a close frame and keeps the connection", stages=(FaultStage.CLOSE,)),
    Fault("forged_token_accepted", "lets any token in unverified", stages=(FaultStage.AUTH,)),
    Fault("bad_accept", "answers the upgrade with a wrong Sec-WebSocket-Accept", stages=(FaultStage.UPGRADE,)),
    Fault("slow_services", "waits for services, sends service_info, then the welcome", (_delay(None),),
          (FaultStage.STARTUP,)),
    Fault("slow_welcome", "sends the welcome late", (_delay(3.0),), (FaultStage.ADMISSION,)),
    Fault("slow_reply", "answers late", (_delay(1.0),), (FaultStage.REPLY,)),
    Fault("noise", "sends pings, notices, other people's acks and agent events before the welcome and each reply",
          (_count("count", 8, "frames each time"),), (FaultStage.ADMISSION, FaultStage.REPLY)),
    Fault("huge_frame", "sends a text message of that size",
          (AT_FRAME, _count("size", 2_097_152, "bytes")), ()),
    Fault("bad_utf8", "sends a text message that is not UTF-8", (AT_FRAME,)),
    Fault("bad_opcode", "sends a frame of a reserved opcode", (AT_FRAME,)),
    # The upgrade.
    Fault("http", "answers the upgrade by another status than 101", (
        _count("status", None, "the status; by kind when absent: 302, 101 or 503"),
        _choice("kind", "redirect: with location; unfinished: announces more than it sends and stays; "
                "http10: HTTP/1.0; noreason: no reason phrase; early_hints: 103 first",
                "plain", "html", "redirect", "unfinished", "http10", "noreason", "early_hints"),
        _count("retry_after", None, "a Retry-After header, in seconds"),
        _text("location", "https://elsewhere.invalid/ws", "where a redirect points"),
    ), (FaultStage.UPGRADE,)),
    Fault("random_bytes", "sends garbage that cannot be HTTP or a frame", (
        _place("at", "admission", upgrade=FaultStage.UPGRADE, admission=FaultStage.ADMISSION, reply=FaultStage.REPLY),
        _count("size", 256, "bytes"),
    )),
    # The token.
    Fault("auth_rejected", "the auth service refuses every token: VALIDATION_FAILED, 1008", (
        _text("text", "token_rejected", "first word of the frame's text"),
        _text("code", "VALIDATION_FAILED", "the frame's error_code"),
        _flag("breaker", "count the refusals in the auth breaker, as the backend does"),
    ), (FaultStage.AUTH,)),
    Fault("auth_unavailable", "the auth service cannot be asked: VALIDATION_FAILED, 1008", (
        _text("text", "auth_service_unreachable", "first word of the frame's text; others seen: "
              "validation_failed_circuitbreakertimeout, inter_service_auth_failed"),
        _text("code", "VALIDATION_FAILED", "the frame's error_code"),
        _delay(0.0, "seconds until the refusal"),
        _flag("breaker", "count the refusals in the auth breaker, as the backend does"),
    ), (FaultStage.AUTH,)),
    Fault("wrong_refusal", "refuses a bad token, or none, by a close that does not say so; good tokens get in", (
        _count("code", 1011, "the close code; its reason is `Internal error`"),
    ), (FaultStage.AUTH,)),
    Fault("relabelled_auth", "refuses every token by 1011 `SSOT Auth failed`",
          (_flag("frame", "send the error frame first", default=True),), (FaultStage.AUTH,)),
    # The factory and what stands before it.
    Fault("too_many", "1008 `Too many concurrent connections (n/m)`",
          (_count("limit", 3, "n and m"),), (FaultStage.FACTORY,)),
    Fault("rate_limit_close", "1008 `Rate limit exceeded - retry after Ns`",
          (_count("retry_after", 30, "seconds to stay away"),), (FaultStage.FACTORY,)),
    Fault("name_shape", "a format check refuses one shape of user name: 1011 `Internal error`, no frame", (
        _choice("shape", "pool: staging-e2e-user-001; digits: 18 to 21 of them", "pool", "uuid", "digits"),
    ), (FaultStage.FACTORY,)),
    Fault("slot_limit", "others hold all slots: FACTORY_INIT_FAILED (N), 1011", (
        _text("user", "", "only this subject is refused; empty: everybody"),
        _count("limit", None, "N; the path's own limit when absent"),
    ), (FaultStage.FACTORY,)),
    Fault("init_failed", "the factory fails for another cause: FACTORY_INIT_FAILED, 1011", (
        _text("text", "SSOT factory validation failed: unexpected error in user context", "details.error_message"),
    ), (FaultStage.FACTORY,)),
    # Between the factory and the welcome.
    Fault("slot_leak", "some managers stay until the process ends: no clean-up drops them any more", (
        _count("every", 1, "every n-th connection of a user keeps its manager"),
    ), (FaultStage.STARTUP,)),
    Fault("manager_leak", "each connection leaves managers behind that are no user's: only `/ws/stats` shows them", (
        _count("managers", 10, "managers for each connection"),
    ), (FaultStage.STARTUP,)),
    Fault("startup_incomplete", "waits for a start-up that does not complete: STARTUP_INCOMPLETE, 1011",
          (_delay(None),), (FaultStage.STARTUP,)),
    Fault("degraded", "sends degraded_mode, then nothing",
          (_flag("welcome", "go on to a welcome with startup_complete false"),), (FaultStage.STARTUP,)),
    Fault("internal_error", "1011 `Internal error` without an error frame", (AT_FRAME,)),
    Fault("unavailable", "1013 in place of the welcome",
          (_text("text", "Service temporarily unavailable", "the reason"),), (FaultStage.ADMISSION,)),
    Fault("component", "a component's code in place of the welcome, on the wire even if 1004 to 1006", (
        _count("code", 1003, "1002 auth, 1003 factory, 1004 handler, 1005 database, 1006 dependencies, 1007 Redis, "
               "1008 supervisor, 1009 bridge, 1010 other"),
        _text("component", "", "the component's name; by code when absent"),
        _text("text", "initialization failed", "the rest of the reason, cut at 50 characters in all"),
    ), (FaultStage.ADMISSION,)),
    Fault("recovery_frame", "connection_recovery in place of the welcome, then a zombie",
          stages=(FaultStage.ADMISSION,)),
    Fault("no_welcome", "never sends the welcome; pings and close are answered", stages=(FaultStage.ADMISSION,)),
    # The welcome.
    Fault("wrong_user", "welcomes somebody else", (_text("user", "somebody-else", "the name it says"),),
          (FaultStage.WELCOME,)),
    Fault("wrong_environment", "welcomes to another environment",
          (_text("environment", "production", "the name it says"),), (FaultStage.WELCOME,)),
    Fault("repeated_connection_id", "gives every connection the same id", stages=(FaultStage.WELCOME,)),
    Fault("frozen_time", "server_time stands still from the first welcome on", stages=(FaultStage.WELCOME,)),
    Fault("not_ready", "a field of the welcome is false",
          (_choice("field", "which one", "connection_ready", "startup_complete"),), (FaultStage.WELCOME,)),
    Fault("factory_disabled", "factory_pattern_enabled is false", stages=(FaultStage.WELCOME,)),
    Fault("invalid_welcome", "the welcome lacks a field, or has values of the wrong type", (
        _text("missing", "", "field of data to leave out; connection_id if `type` is not given either"),
        _text("type", "", "field of data of the wrong type; `wrong`: all but event"),
    ), (FaultStage.WELCOME,)),
    Fault("malformed_json", "sends text that is no JSON in place of the welcome or the reply",
          (_place("at", "welcome", welcome=FaultStage.WELCOME, reply=FaultStage.REPLY),)),
    Fault("binary_welcome", "sends the welcome as a binary message", stages=(FaultStage.WELCOME,)),
    # After it.
    Fault("zombie", "welcomes, then answers nothing but protocol pings and the close",
          (_delay(0.0, "seconds until then"),), (FaultStage.GREETED,)),
    Fault("deaf", "welcomes, then answers pings but no request",
          (_delay(0.0, "seconds until then"),), (FaultStage.GREETED,)),
    Fault("frozen", "welcomes and serves, then says nothing more, not even a pong, and keeps the connection",
          (_delay(60.0, "seconds until then"),), (FaultStage.GREETED,)),
    Fault("no_heartbeat", "welcomes and serves, then sends no heartbeat more, and answers as before",
          (_delay(60.0, "seconds until then"),), (FaultStage.GREETED,)),
    Fault("cut", "ends its side of the connection (FIN) without a close frame at that age, as proxies do", (
        _delay(60.0, "seconds until then"),
        _flag("idle", "since the client's last ping instead"),
    ), (FaultStage.GREETED,)),
    # Any end at any point.
    Fault("silent", "says nothing from that point on, not even a pong",
          (_place("after", "upgrade", tcp=FaultStage.TCP, tls=FaultStage.UPGRADE, upgrade=FaultStage.OPENED,
                  welcome=FaultStage.GREETED,
                  send=FaultStage.REPLY, close=FaultStage.CLOSE),)),
    Fault("half_close", "ends its side of the connection (FIN) without a close frame",
          (_place("at", "admission", **AT_ANY),)),
    Fault("abort", "resets the connection", (_place("at", "admission", **AT_ANY),)),
    Fault("close", "closes; at=close in place of the close answer, at=welcome right after the welcome", (
        _count("code", 1011, "any number, on the wire as it is; 1005: an empty close frame"),
        _text("reason", "", "the reason"),
        _place("at", "admission", admission=FaultStage.ADMISSION, welcome=FaultStage.GREETED, reply=FaultStage.REPLY,
               close=FaultStage.CLOSE),
        _text("frame", "", "error_code of an error frame to send first"),
        _text("text", "refused", "error_message of that frame"),
    )),
)  # fmt: skip

FAULTS: Final[Mapping[str, Fault]] = {fault.name: fault for fault in ROWS}
FAULT_RANKS: Final[Mapping[str, int]] = {fault.name: rank for rank, fault in enumerate(ROWS)}


def parse(spec: str) -> ActiveFault:
    """A spec's fault and values; raises ValueError with a sentence that lists what is known."""
    name, _, rest = spec.strip().partition(":")
    fault = FAULTS.get(name)
    if fault is None:
        raise ValueError(f"unknown fault {name!r}; known are {', '.join(FAULTS)}")
    given = dict(_pair(fault, part) for part in NEXT_PARAMETER.split(rest)) if rest else {}
    values = {param.name: given.get(param.name, param.default) for param in (*fault.params, SHARE_PARAM)}
    share = values.pop("share")
    if "share" in given and not fault.shareable:
        raise ValueError(f"{name} takes no share: a listener listens or it does not")
    _check(name, values)
    return ActiveFault(fault, values, share, spec.strip())


def _pair(fault: Fault, part: str) -> tuple[str, Any]:
    key, equals, text = part.partition("=")
    param = fault.param(key.strip())
    if not equals or param is None:
        known = ", ".join(param.name for param in (*fault.params, SHARE_PARAM))
        raise ValueError(f"unknown parameter {key.strip()!r} of {fault.name}; known are {known}")
    return param.name, _value(fault, param, text.strip())


def _value(fault: Fault, param: FaultParam, text: str) -> Any:
    reader, what = READERS[param.kind]
    try:
        value = reader(text)
    except (ValueError, KeyError):
        value = None
    if value is None or (param.choices and value not in param.choices):
        wanted = f"one of {', '.join(param.choices)}" if param.choices else what
        raise ValueError(f"{param.name} of {fault.name} must be {wanted}, not {text!r}")
    return value


def _seconds(text: str) -> float | None:
    value = float(text.removesuffix("s"))
    return value if 0 <= value < float("inf") else None


def _share(text: str) -> float | None:
    value = float(text)
    return value if 0 < value <= 1 else None


FLAGS: Final = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
READERS: Final[Mapping[ParamKind, tuple[Any, str]]] = {
    ParamKind.TEXT: (str, "text"),
    ParamKind.SECONDS: (_seconds, "seconds such as 0.5"),
    ParamKind.COUNT: (lambda text: int(text) if text.isdecimal() and len(text) < len("1000000000") else None,
                 "a whole number below 1000000000"),
    ParamKind.SHARE: (_share, "above 0 and at most 1"),
    ParamKind.FLAG: (lambda text: FLAGS[text.lower()], "true or false"),
    ParamKind.CHOICE: (str, ""),
}  # fmt: skip


def _check(name: str, values: Mapping[str, Any]) -> None:
    """Check limits that depend on the parameter's name. Raises ValueError."""
    if len(values.get("reason", "").encode()) > MAX_REASON_BYTES:
        raise ValueError(f"reason of {name} must be at most {MAX_REASON_BYTES} bytes (RFC 6455 section 5.5)")
    if isinstance(values.get("code"), int) and values["code"] > MAX_CODE:
        raise ValueError(f"code of {name} must be at most {MAX_CODE}")
    if values.get("status") is not None and not 100 <= values["status"] <= 999:  # noqa: PLR2004
        raise ValueError(f"status of {name} must be 100 to 999")
