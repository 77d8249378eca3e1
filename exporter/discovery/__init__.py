"""What messages say about the protocol of a backend, without their content.

Rule 1: no text of the network leaves this package unless its caller asked for values; secrets never do.
Rule 2: a recogniser is a row of evidence and a name; it connects to nothing.

`shapes` a message as keys and types · `replay` what a profile makes of recorded frames · `sightings` what connections
to an unknown backend met · `recognisers` which protocol that is · `starter` the config to begin with.
"""

from exporter.discovery.shapes import TYPES_ONLY, ShapeOptions, close_line, message_lines, shape, words_of

__all__ = ["TYPES_ONLY", "ShapeOptions", "close_line", "message_lines", "shape", "words_of"]
