"""A framing is loaded when it is used, and gives values or one kind of error whatever a server sends."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.framing import FRAMINGS, FramingError, codec_of


@pytest.mark.parametrize(
    ("use", "modules"),
    [
        ("import exporter.framing", ["codec"]),
        ("import exporter.framing; exporter.framing.codec_of('json')", ["codec", "json_values"]),
    ],
)
def test_a_framing_is_loaded_when_it_is_used(use, modules):
    """The package alone loads no framing, and a profile of JSON loads JSON alone."""
    show = "; import sys; print(*sorted(name for name in sys.modules if name.startswith('exporter.framing.')))"

    loaded = subprocess.run([sys.executable, "-c", use + show], capture_output=True, text=True, check=True).stdout

    assert loaded.split() == [f"exporter.framing.{module}" for module in modules]


def test_an_unknown_framing_is_refused():
    """The error names the framings that exist."""
    with pytest.raises(FramingError, match="json"):
        codec_of("carrier-pigeon")


@pytest.mark.parametrize("name", FRAMINGS)
@given(data=st.binary(max_size=200), limit=st.integers(0, 5))
def test_any_bytes_give_values_or_a_framing_error(name, data, limit):
    """No bytes raise anything else, give more values than asked for, or use more bytes than there are."""
    try:
        values, consumed = codec_of(name).decode(data, limit)
    except FramingError:
        return
    assert (len(values) <= limit, 0 <= consumed <= len(data)) == (True, True)
