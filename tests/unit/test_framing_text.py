"""The framing text: the whole message is one string."""

import pytest

from exporter.framing import Decoded, FramingError, codec_of

TEXT = codec_of("text")


@pytest.mark.parametrize("text", ["", "402::Unknown client", "a\r\nb\0", "ü"])
def test_a_message_is_one_text(text):
    """Nothing is taken away or added, white space and control characters included: there are no commands to begin."""
    assert TEXT.decode(text.encode(), 1) == Decoded([text], len(text.encode()))
    assert TEXT.encode(text) == text.encode()


@pytest.mark.parametrize("value", [None, 1, {"a": "b"}, ["a"], "\ud800"])
def test_what_is_no_text_is_refused(value):
    """Only a text that UTF-8 can hold is sent."""
    with pytest.raises(FramingError, match="text"):
        TEXT.encode(value)


def test_bytes_that_are_no_text_are_refused():
    """A binary message is no text."""
    with pytest.raises(FramingError):
        TEXT.decode(b"\xff", 1)
