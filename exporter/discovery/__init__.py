"""What messages say about the protocol of a backend, without their content.

Rule 1: no text of the network leaves this package unless its caller asked for values; secrets never do.
Rule 2: a recogniser is a row of evidence and a name; it connects to nothing.

`shapes` a message as keys and types · `replay` what a profile makes of recorded frames · `written` a profile as the
YAML that a user would write.
"""

from exporter.discovery.replay import FrameFinding, RecordedFrame, TranscriptError, read_transcript, replay
from exporter.discovery.shapes import TYPES_ONLY, ShapeOptions, close_line, message_lines, shape, words_of
from exporter.discovery.written import profile_yaml

__all__ = [
    "TYPES_ONLY",
    "FrameFinding",
    "RecordedFrame",
    "ShapeOptions",
    "TranscriptError",
    "close_line",
    "message_lines",
    "profile_yaml",
    "read_transcript",
    "replay",
    "shape",
    "words_of",
]
