"""The room `config`."""

import pytest

from exporter.config import seconds


@pytest.mark.parametrize(("text", "expected"), [("15s", 15), ("1m30s", 90), ("250ms", 0.25), ("1h", 3600)])
def test_durations_are_seconds(text, expected):
    """A duration is written with units and read in seconds."""
    assert seconds(text) == expected


@pytest.mark.parametrize("value", ["abc", "", "15", 15, None, "s", True])
def test_a_duration_without_a_unit_is_refused(value):
    """What is no duration is refused with a sentence that shows one."""
    with pytest.raises(ValueError, match="such as 15s"):
        seconds(value)
