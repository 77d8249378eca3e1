"""A picture with a palette: a screenshot needs no more than 256 colours, and is a third as large with them.

PNG (third edition): section 9.2 for the filters, 11.2.2 for the palette.
"""

import struct
import zlib
from collections import Counter

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHANNELS = 3
COLOURS = 256


def indexed(png):
    """The same picture of 8-bit RGB with its most frequent colours; each other one becomes the nearest of them."""
    chunks = dict(_chunks(png))
    width, height = struct.unpack(">II", chunks[b"IHDR"][:8])
    assert chunks[b"IHDR"][8:10] == b"\x08\x02", "not 8-bit RGB"
    rows = [list(zip(*[iter(row)] * CHANNELS, strict=True)) for row in _rows(zlib.decompress(chunks[b"IDAT"]), width)]
    counts = Counter(pixel for row in rows for pixel in row)
    palette = [colour for colour, _ in counts.most_common(COLOURS)]
    places = {colour: palette.index(_nearest(colour, palette)) for colour in counts}
    lines = b"".join(b"\0" + bytes([places[pixel] for pixel in row]) for row in rows)
    parts = {
        b"IHDR": struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0),
        b"PLTE": bytes(value for colour in palette for value in colour),
        b"IDAT": zlib.compress(lines, 9),
        b"IEND": b"",
    }
    return SIGNATURE + b"".join(_chunk(name, data) for name, data in parts.items())


def _nearest(colour, palette):
    return min(palette, key=lambda other: sum((a - b) ** 2 for a, b in zip(colour, other, strict=True)))


def _chunks(png):
    """Names and data; that of several IDAT as one."""
    at, image = len(SIGNATURE), b""
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        name, data = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        image += data if name == b"IDAT" else b""
        yield name, image if name == b"IDAT" else data
        at += length + 12


def _chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _rows(raw, width):
    """Each row as it was before the filters."""
    size = width * CHANNELS
    above = bytearray(size)
    for start in range(0, len(raw), size + 1):
        row = bytearray(raw[start + 1 : start + 1 + size])
        FILTERS[raw[start]](row, above)
        yield row
        above = row


def _sub(row, _above):
    for at in range(CHANNELS, len(row)):
        row[at] = (row[at] + row[at - CHANNELS]) & 0xFF


def _up(row, above):
    row[:] = bytes([(one + other) & 0xFF for one, other in zip(row, above, strict=True)])


def _average(row, above):
    for at, over in enumerate(above):
        left = row[at - CHANNELS] if at >= CHANNELS else 0
        row[at] = (row[at] + (left + over) // 2) & 0xFF


def _paeth(row, above):
    for at, over in enumerate(above):
        left, corner = (row[at - CHANNELS], above[at - CHANNELS]) if at >= CHANNELS else (0, 0)
        guess = left + over - corner
        row[at] = (row[at] + min((left, over, corner), key=lambda one: abs(guess - one))) & 0xFF


FILTERS = (lambda *_: None, _sub, _up, _average, _paeth)
