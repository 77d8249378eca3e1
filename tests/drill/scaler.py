"""Multiplies every duration of a file by one factor, so that a drill of hours takes minutes.

Rule 1: text in, text out: nothing else changes, and by factor 1 nothing at all. Rule 2: a duration is
- in alerts.yml: what stands in square brackets of an expression (also of a template query) or after `offset`, the
  seconds that `predict_linear` looks ahead, `for`, `keep_firing_for` and `interval`;
- in prometheus.yml and alertmanager.yml: the value of a key that ends in `_interval`, `_timeout` or `_wait`;
- in exporter.yml: every plain value that is written as a duration.
Rule 3: not scaled: names of recorded series, prose, counts, ratios, multiples of `ws_probe_interval_seconds`; the skew
of two clocks and the days of a certificate (they compare dates, they do not wait); the 2 s
above which a session is slow (what a session lasts, and a busy machine would make 133 ms of it: slow rows are played in
full seconds, on a longer interval); the minute of `max_connects_per_minute`, which loopback is exempt from.
"""

import re
from fractions import Fraction

UNITS = {
    "ms": Fraction(1, 1000),
    "s": Fraction(1),
    "m": Fraction(60),
    "h": Fraction(3600),
    "d": Fraction(86_400),
    "w": Fraction(7 * 86_400),
}
DURATION = r"(?:\d+(?:ms|[smhdw]))+"
PART = re.compile(r"(\d+)(ms|[smhdw])")

ALERT_KEYS = re.compile(rf"(?m)^(\s*(?:- )?(?:for|keep_firing_for|interval): )({DURATION})(?=\s*(?:#|$))")
RANGES = re.compile(rf"(\[)({DURATION}(?::(?:{DURATION})?)?)(?=\])")
OFFSETS = re.compile(rf"(\boffset )({DURATION})\b")
HORIZONS = re.compile(r"(\bpredict_linear\([^()]*, )(\d+)(?=\))")
SERVER_KEYS = re.compile(rf"(?m)^(\s*(?:- )?[a-z_]+_(?:interval|timeout|wait): )({DURATION})(?=\s*(?:#|$))")
EXPORTER_VALUES = re.compile(rf"([:\s]\s)({DURATION})(?=\s*(?:[,}}#]|$))", re.MULTILINE)


def seconds(text):
    """The seconds of a Prometheus duration such as `1h30m`, exactly."""
    return sum((int(amount) * UNITS[unit] for amount, unit in PART.findall(text)), Fraction(0))


def duration(text, factor):
    """A duration times the factor: as written if that is the same, else in whole seconds or milliseconds."""
    before = seconds(text)
    after = round(before * factor * 1000)
    if after == before * 1000:
        return text
    assert after > 0, f"{text} times {factor} is no time at all"
    return f"{after // 1000}s" if after % 1000 == 0 else f"{after}ms"


def _spans(text, factor):
    return ":".join(duration(part, factor) if part else "" for part in text.split(":"))


def _seconds_ahead(text, factor):
    return f"{float(int(text) * factor):g}"


def _replace(pattern, text, write, factor):
    return pattern.sub(lambda match: match[1] + write(match[2], factor), text)


ROWS = {
    "alerts": ((ALERT_KEYS, duration), (RANGES, _spans), (OFFSETS, duration), (HORIZONS, _seconds_ahead)),
    "prometheus": ((SERVER_KEYS, duration),),
    "alertmanager": ((SERVER_KEYS, duration),),
    "exporter": ((EXPORTER_VALUES, duration),),
}
"""What is a duration in which file, and how it is written."""


def scaled(kind, text, factor):
    """The file's text (`kind` of ROWS) with every duration times `factor`, a Fraction."""
    for pattern, write in ROWS[kind]:
        text = _replace(pattern, text, write, factor)
    return text
