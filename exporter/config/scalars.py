"""The single values of a config file, each with the sentence for what it is not.

Rule 1: a value is never quoted: a secret may have been pasted into the wrong field.
Rule 2: every check raises ValueError with the sentence for the user, and nothing else, whatever it is given.
"""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, PlainValidator

DURATION_TEXT = re.compile(
    r"(?:(?P<y>\d{1,9})y)?(?:(?P<w>\d{1,9})w)?(?:(?P<d>\d{1,9})d)?"
    r"(?:(?P<h>\d{1,9})h)?(?:(?P<m>\d{1,9})m)?(?:(?P<s>\d{1,9}(?:\.\d{1,9})?)s)?(?:(?P<ms>\d{1,9})ms)?",
    re.ASCII,
)
SECONDS_OF_UNIT: Final = {
    "y": 31_536_000.0,
    "w": 604_800.0,
    "d": 86_400.0,
    "h": 3600.0,
    "m": 60.0,
    "s": 1.0,
    "ms": 0.001,
}
DAY_SECONDS: Final = 86_400.0
YEAR_SECONDS: Final = 31_536_000.0

TARGET_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,62}")
FIELD_PATH = re.compile(r"[^.\s]{1,64}(\.[^.\s]{1,64}){0,15}")
VARIABLE_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
HTTP_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""The syntax of a header name and a subprotocol (RFC 9110 section 5.6.2)."""
CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
LINK_URL = re.compile(r"https?://[A-Za-z0-9\[][!%&()*+,./:;=?\[\]^_|~A-Za-z0-9-]*", re.ASCII)
SURROGATE = re.compile(r"[\ud800-\udfff]")

MAX_EXACT_INTEGER: Final = 2**53
"""The largest number that every JSON implementation carries without loss (RFC 8259 section 6)."""
MAX_JSON_DEPTH: Final = 16
MAX_JSON_VALUES: Final = 2_000
MAX_TEXT_LENGTH: Final = 4_096
MAX_PATTERN_LENGTH: Final = 1_000
MAX_LABEL_LENGTH: Final = 128

LABEL_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
# fmt: off
OUR_LABELS: Final = frozenset({
    "alertname", "alertstate", "case", "cause", "code", "end", "field", "identity", "initiator", "instance", "job",
    "kind", "layer", "le", "level", "origin", "outcome", "phase", "probe", "pythonversion", "quantile", "reason",
    "severity", "target", "version",
})
# fmt: on
"""Labels that series, Prometheus and alerts already have."""


def seconds(value: object, most: float = DAY_SECONDS) -> float:
    """Seconds of a duration such as `15s`, `1m30s`, `250ms`, `1d`, as Prometheus writes them.

    Raises ValueError with the sentence for the user, if it is more than `most` seconds too.
    """
    match = DURATION_TEXT.fullmatch(value) if isinstance(value, str) and value else None
    if match is None:
        raise ValueError("must be a duration such as 15s, 1m30s or 250ms")
    total = sum(float(amount) * SECONDS_OF_UNIT[unit] for unit, amount in match.groupdict().items() if amount)
    if total > most:
        raise ValueError("must be at most 24h" if most == DAY_SECONDS else f"must be at most {most / YEAR_SECONDS:g}y")
    return total


def _positive(value: float) -> float:
    if value <= 0:
        raise ValueError("must be more than 0s")
    return value


def checked_name(value: str) -> str:
    """The name, if it may be a label value; raises ValueError with the sentence for the user."""
    if not TARGET_NAME.fullmatch(value):
        raise ValueError(
            "must be a name: at most 63 letters, digits and _ . : - and a letter, digit or _ at the beginning"
        )
    return value


def _field_path(value: str) -> str:
    if not FIELD_PATH.fullmatch(value):
        raise ValueError("must be the path of a field, such as data.user_id")
    return value


def _figure_limit(value: object) -> float | str:
    if isinstance(value, str):
        return _field_path(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ValueError("must be a number over 0, or the path of a field that holds it")
    return float(value)


def _text(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be empty")
    if len(value) > MAX_TEXT_LENGTH:
        raise ValueError(f"must be at most {MAX_TEXT_LENGTH} characters long")
    if CONTROL_CHARACTER.search(value):
        raise ValueError("must not hold line breaks or other control characters")
    return value


def _file_path(value: str) -> str:
    if "-----BEGIN" in value or "\n" in value:
        raise ValueError("must be the path of a file, not what stands in it")
    if "${" in value:
        raise ValueError("no ${…} is filled in here, from the environment neither: write the path out")
    return _text(value)


def link_url(value: str) -> str:
    """A URL that can stand in YAML, JSON, Markdown, a template of Prometheus and a link of Grafana as it is.

    `{name}` in it is a placeholder. Raises ValueError with the sentence for the user.
    """
    if not LINK_URL.fullmatch(value.replace("{name}", "name")):
        raise ValueError(
            "must be an http or https URL in ASCII, without user, space, quote, backslash, #, $ and braces"
        )
    return value


REQUEST_LINE = re.compile(r"(GET|POST) (/(?!/)[\x21-\x22\x24-\x7e]*)")
ORIGIN = re.compile(r"(https?)://((?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(?::(\d{1,5}))?)", re.ASCII)
MAX_PORT: Final = 65_535


def _request_line(value: str) -> str:
    if not REQUEST_LINE.fullmatch(_text(value)):
        raise ValueError(
            "must be GET or POST and a path, such as POST /ws-ticket: ASCII without spaces and #; another host stands "
            "under origin"
        )
    return value


def _origin(value: str) -> str:
    found = ORIGIN.fullmatch(value)
    if found is None or not 0 < int(found[3] or 1) <= MAX_PORT:
        raise ValueError(
            "must be http or https, a host, and a port if it is not the usual one, such as https://auth.example.com: "
            "the path stands under request"
        )
    return value


def _environment_name(value: str) -> str:
    if not ENVIRONMENT_NAME.fullmatch(value):
        raise ValueError("must be the name of an environment variable, not its value")
    return value


def _regex(value: str) -> str:
    if len(value) > MAX_PATTERN_LENGTH:
        raise ValueError(f"must be at most {MAX_PATTERN_LENGTH} characters long")
    return value


def _plain(value: object) -> bool:
    """Whether the value is a JSON scalar that can be sent without loss: finite, exact, valid in UTF-8."""
    if isinstance(value, str):
        return not SURROGATE.search(value)
    if isinstance(value, int):
        return abs(value) <= MAX_EXACT_INTEGER
    return isinstance(value, float) and math.isfinite(value)


def _claim(value: object) -> Any:
    if value is None:
        raise ValueError("must be text, a number, true, false, a list or a mapping, but there is nothing")
    return _json(value)


def _header_name(value: str) -> str:
    if not HTTP_TOKEN.fullmatch(value):
        raise ValueError("is no header name: letters, digits and !#$%&'*+-.^_`|~ are allowed")
    return value


def _label_name(value: str) -> str:
    if not LABEL_NAME.fullmatch(value) or value.startswith("__"):
        raise ValueError("must be a label name: at most 63 letters, digits and _, no digit and no __ at the beginning")
    if value in OUR_LABELS:
        raise ValueError("is a label of the exporter, of Prometheus or of its alerts: choose another name")
    return value


def _label_value(value: str) -> str:
    if len(_text(value)) > MAX_LABEL_LENGTH:
        raise ValueError(f"must be at most {MAX_LABEL_LENGTH} characters long")
    return value


def _json_scalar(value: object) -> Any:
    if isinstance(value, float) or not _plain(value):
        raise ValueError("must be text, a whole number, true or false")
    return value


def _json(value: object) -> Any:
    """Accept any JSON value that can be sent without loss."""
    for count, (depth, part) in enumerate(_walk(value)):
        if depth > MAX_JSON_DEPTH or count > MAX_JSON_VALUES:
            raise ValueError(f"must be at most {MAX_JSON_DEPTH} levels deep and hold at most {MAX_JSON_VALUES} values")
        if not (part is None or isinstance(part, dict | list) or _plain(part)):
            raise ValueError("must be a JSON value: its keys are text, its numbers finite")
    return value


def _message(value: object) -> Any:
    if value is None:
        raise ValueError("must be a JSON value, but there is nothing")
    return _json(value)


def _pattern(value: object) -> Any:
    if value in ({}, [], ""):
        raise ValueError("must not be empty")
    return _message(value)


def _noise_pattern(value: object) -> Any:
    return {} if value == {} else _pattern(value)


def _walk(value: Any) -> Iterator[tuple[int, Any]]:
    """Yield every part of a JSON value with its depth, keys included; lazily, because it may be endless."""
    waiting = [(0, value)]
    while waiting:
        depth, part = waiting.pop()
        yield depth, part
        if isinstance(part, Mapping):
            waiting.extend((depth + 1, inner) for pair in part.items() for inner in (_key(pair[0]), pair[1]))
        elif isinstance(part, list):
            waiting.extend((depth + 1, inner) for inner in part)


def _key(key: object) -> object:
    """Replace a key that is not text by something that no JSON value is."""
    return key if isinstance(key, str) else math.nan


RESERVED_VARIABLES: Final = frozenset({"nonce", "number", "identity", "token", "basic", "plain", "any", "heartbeat"})


def _variable_name(value: str) -> str:
    if not VARIABLE_NAME.fullmatch(value):
        raise ValueError("must be a name of small letters, digits and _, at most 40 characters, a letter first")
    if value in RESERVED_VARIABLES:
        raise ValueError("is a variable of the exporter: choose another name")
    return value


Duration = Annotated[float, BeforeValidator(seconds)]
"""Seconds, 0 to a day."""
Period = Annotated[Duration, AfterValidator(_positive)]
Name = Annotated[str, AfterValidator(checked_name)]
"""What may be a label value."""
FieldPath = Annotated[str, AfterValidator(_field_path)]
FigureLimit = Annotated[float | str, PlainValidator(_figure_limit)]
"""A number, or the path of a field that holds it."""
Text = Annotated[str, AfterValidator(_text)]
"""One line that is not blank."""
FilePath = Annotated[str, AfterValidator(_file_path)]
LinkUrl = Annotated[str, AfterValidator(link_url)]
VariableName = Annotated[str, AfterValidator(_variable_name)]
"""What `keep` may call a value."""
EnvironmentName = Annotated[str, AfterValidator(_environment_name)]
Regex = Annotated[str, AfterValidator(_regex)]
Claim = Annotated[Any, PlainValidator(_claim)]
"""Any JSON value but null."""
RequestLine = Annotated[str, AfterValidator(_request_line)]
"""`POST /path?query`."""
HttpOrigin = Annotated[str, AfterValidator(_origin)]
"""`https://host:port` (RFC 6454)."""
HeaderName = Annotated[str, AfterValidator(_header_name)]
LabelName = Annotated[str, AfterValidator(_label_name)]
"""A Prometheus label that a config may set."""
LabelValue = Annotated[str, AfterValidator(_label_value)]
Scalar = Annotated[bool | str | int, PlainValidator(_json_scalar)]
Message = Annotated[Any, PlainValidator(_message)]
"""A JSON value to send."""
Pattern = Annotated[Any, PlainValidator(_pattern)]
"""A JSON value that a message must contain: objects contain, lists agree item by item (see `profiles.matches`)."""
NoisePattern = Annotated[Any, PlainValidator(_noise_pattern)]
"""A pattern, or `{}` for the empty object alone (see `profiles.matches_noise`)."""
