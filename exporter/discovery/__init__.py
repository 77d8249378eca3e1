"""What messages say about the protocol of a backend, without their content.

Rule 1: no text of the network leaves this package unless its caller asked for values; secrets never do.
Rule 2: a recogniser is a row of evidence and a name; it connects to nothing.

`shapes` a message as keys and types · `recording` a session's frames as a transcript, masked · `replay` what a profile
makes of recorded frames · `written` a profile as the YAML that a user would write · `sightings` what connections to an
unknown backend met · `recognisers` which protocol that is · `starter` the config to begin with.
"""

from exporter.discovery.recognisers import (
    OFFERED_SUBPROTOCOLS,
    RECOGNISERS,
    Candidates,
    Recognised,
    Recogniser,
    candidates,
    recognise,
)
from exporter.discovery.recording import TranscriptRecorder
from exporter.discovery.replay import FrameFinding, RecordedFrame, TranscriptError, read_transcript, replay
from exporter.discovery.shapes import TYPES_ONLY, ShapeOptions, close_line, message_lines, shape, words_of
from exporter.discovery.sightings import (
    ASKED_CALL,
    ASKED_ID,
    UNKNOWN_SUBPROTOCOL,
    BackendEvidence,
    Payload,
    Sighting,
    decoded,
)
from exporter.discovery.starter import Starter, starter_config
from exporter.discovery.written import profile_yaml

__all__ = [
    "ASKED_CALL",
    "ASKED_ID",
    "OFFERED_SUBPROTOCOLS",
    "RECOGNISERS",
    "TYPES_ONLY",
    "UNKNOWN_SUBPROTOCOL",
    "BackendEvidence",
    "Candidates",
    "FrameFinding",
    "Payload",
    "Recognised",
    "Recogniser",
    "RecordedFrame",
    "ShapeOptions",
    "Sighting",
    "Starter",
    "TranscriptError",
    "TranscriptRecorder",
    "candidates",
    "close_line",
    "decoded",
    "message_lines",
    "profile_yaml",
    "read_transcript",
    "recognise",
    "replay",
    "shape",
    "starter_config",
    "words_of",
]
