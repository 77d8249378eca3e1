"""The incidents of deploy/incidents/incidents.jsonl: what a client sees in each, step by step, as data.

The format: deploy/incidents/schema.json. `player` turns the steps of the server into bytes.

Rule 1: reads files, and nothing else; who plays an incident and when is none of its concern.
"""

import base64
import binascii
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

FILE: Final = Path(__file__).parents[1] / "assets" / "deploy" / "incidents" / "incidents.jsonl"
"""A link to deploy/incidents; the wheel contains the file."""

CLIENT_KINDS: Final = frozenset({"connect", "http_request", "text", "binary", "ping", "pong", "close", "fin"})
SERVER_KINDS: Final = frozenset(
    {"refuse", "tls", "http_status", "101", "text", "binary", "ping", "close", "fin", "rst", "silence"}
)
CERTIFICATE_KINDS: Final = ("good", "expired", "untrusted", "wrong_host")
MAX_WAIT_SECONDS: Final = 3600.0


@dataclass(frozen=True, slots=True)
class IncidentStep:
    """What one side does `at` seconds after the client's connect; `values`: the other keys of the step."""

    at: float
    by_client: bool
    kind: str
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Pulse:
    """In each of the first `times` windows of `every` seconds, the first `connections` connections are met."""

    connections: int
    every: float
    times: int


@dataclass(frozen=True, slots=True)
class IncidentScript:
    """What happens to the connections of some `users`. `pulse` None: to each of their connections."""

    users: tuple[str, ...]
    pulse: Pulse | None
    steps: tuple[IncidentStep, ...]

    def has(self, kind: str) -> bool:
        """Whether the server does this at any time."""
        return any(step.kind == kind and not step.by_client for step in self.steps)


@dataclass(frozen=True, slots=True)
class Incident:
    """One line of the file. `why_not`: why no server can play it; `scripts` is then empty."""

    name: str
    what: str
    why_not: str | None
    scripts: tuple[IncidentScript, ...]
    tls: bool = False

    @property
    def refuses(self) -> bool:
        """Whether nothing listens."""
        return any(script.has("refuse") for script in self.scripts)

    @property
    def certificate(self) -> str:
        """The certificate that its TLS port shows: `good`, `expired`, `untrusted` or `wrong_host`."""
        shown = (step.values["certificate"] for script in self.scripts for step in script.steps if step.kind == "tls")
        return next(shown, "good")


def load_incidents(file: Path = FILE) -> dict[str, Incident]:
    """The incidents by name, in the order of the file.

    Raises OSError, and ValueError with a sentence that names the line and the field.
    """
    incidents: dict[str, Incident] = {}
    for number, line in enumerate(file.read_text("utf-8").splitlines(), 1):
        if line.strip():
            with_line = f"line {number}: "
            try:
                incident = _incident(json.loads(line))
            except json.JSONDecodeError as error:
                raise ValueError(f"{with_line}is no JSON: {error.msg}") from None
            except ValueError as error:
                raise ValueError(f"{with_line}{error}") from None
            if incident.name in incidents:
                raise ValueError(f"{with_line}the name {incident.name!r} is taken by an earlier line")
            incidents[incident.name] = incident
    return incidents


def _field(value: Any, name: str, kind: type | tuple[type, ...], where: str) -> Any:
    """A field of a JSON object; raises ValueError."""
    found = value.get(name) if isinstance(value, dict) else None
    if not isinstance(found, kind) or (isinstance(found, bool) and kind is not bool):
        raise ValueError(f"{where}{name} is missing or of the wrong type; schema.json says what it must be")
    return found


def _incident(value: Any) -> Incident:
    played = _field(value, "played", bool, "")
    entries = _field(value, "connections", list, "")
    scripts = tuple(_script(entry, f"connections[{number}].") for number, entry in enumerate(entries))
    why_not = None if played else _field(value, "why_not", str, "")
    if played and not any(script.pulse is None for script in scripts):
        raise ValueError("connections needs an entry without a pulse: it plays whenever no pulse does")
    tls = _field(value, "transport", str, "") == "wss"
    return Incident(_field(value, "name", str, ""), _field(value, "what", str, ""), why_not, scripts, tls)


def _script(value: Any, where: str) -> IncidentScript:
    users = tuple(map(str, _field(value, "users", list, where)))
    pulse = value.get("pulse")
    steps = _field(value, "steps", list, where)
    return IncidentScript(
        users,
        None if pulse is None else _pulse(pulse, f"{where}pulse."),
        tuple(_step(step, f"{where}steps[{number}].") for number, step in enumerate(steps)),
    )


def _pulse(value: Any, where: str) -> Pulse:
    connections, times = (_field(value, name, int, where) for name in ("connections", "times"))
    every = float(_field(value, "every_s", (int, float), where))
    if every <= 0:
        raise ValueError(f"{where}every_s must be more than 0 seconds")
    return Pulse(connections, every, times)


def _step(value: Any, where: str) -> IncidentStep:
    sender, kind = (_field(value, name, str, where) for name in ("from", "kind"))
    known = CLIENT_KINDS if sender == "client" else SERVER_KINDS
    if sender not in ("client", "server") or kind not in known:
        raise ValueError(f"{where}kind: {sender!r} does no {kind!r}; known are {', '.join(sorted(known))}")
    at = float(_field(value, "t", (int, float), where))
    if not 0 <= at <= MAX_WAIT_SECONDS:
        raise ValueError(f"{where}t must be 0 to {MAX_WAIT_SECONDS:.0f} seconds")
    if sender == "server":
        for check in CHECKS.get(kind, ()):
            check(value, where)
    return IncidentStep(at, sender == "client", kind, value)


def _needs(name: str, kind: type) -> Callable[[Any, str], None]:
    return lambda value, where: _field(value, name, kind, where) and None


def _within(name: str, least: int, most: int) -> Callable[[Any, str], None]:
    def check(value: Any, where: str) -> None:
        if not least <= _field(value, name, int, where) <= most:
            raise ValueError(f"{where}{name} must be {least} to {most}")

    return check


def _has_payload(value: Any, where: str) -> None:
    if "json" not in value:
        _field(value, "text", str, where)


def _shows_certificate(value: Any, where: str) -> None:
    if _field(value, "certificate", str, where) not in CERTIFICATE_KINDS:
        raise ValueError(f"{where}certificate must be one of {', '.join(CERTIFICATE_KINDS)}")


def _has_base64(value: Any, where: str) -> None:
    try:
        base64.b64decode(_field(value, "base64", str, where), validate=True)
    except binascii.Error:
        raise ValueError(f"{where}base64 is no base64") from None


CHECKS: Final[Mapping[str, tuple[Callable[[Any, str], None], ...]]] = {
    "tls": (_shows_certificate,),
    "http_status": (_within("status", 200, 599), _needs("headers", dict), _needs("body", str)),
    "text": (_has_payload,),
    "binary": (_has_base64,),
    "close": (_within("code", 0, 65_535), _needs("reason", str)),
    "silence": (_needs("answers", list),),
}
"""Kind of a step of the server → what it needs."""


def substituted(value: Any, variables: Mapping[str, Any]) -> Any:
    """A payload with `${name}` filled in. A text that is a variable alone becomes the value with its own type."""
    if isinstance(value, dict):
        return {key: substituted(each, variables) for key, each in value.items()}
    if isinstance(value, list):
        return [substituted(each, variables) for each in value]
    if not isinstance(value, str) or "${" not in value:
        return value
    for name, filling in _placeholders(variables):
        if value == name:
            return filling
        value = value.replace(name, str(filling))
    return value


def _placeholders(variables: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    return ((f"${{{name}}}", filling) for name, filling in variables.items())
