"""A JPEG's markers up to its picture, read so that every decoder must read the same.

Decoders forgive: libjpeg skips garbage, stuffing (`FF 00`) and restart markers between two segments, so that what one
parser takes for a segment is nothing to another, and the two see different sizes. No camera writes any of that. What is
no marker of a picture that our decoders know is refused here; fill bytes (`FF FF`) are legal, and some encoders write
them. ITU-T T.81, annex B.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from contract.errors import FrameError

# More segments before the picture than any encoder writes; bounds the walk over hostile ones.
MAX_SEGMENTS: Final = 1024
# A scan of a progressive JPEG is a pass over the whole picture, however few bytes it has. Encoders make about ten, and
# libjpeg eighteen of CMYK; thousands, which a record has room for, would keep a core busy for minutes.
MAX_SCANS: Final = 64

SOI: Final = b"\xff\xd8"
EOI: Final = b"\xff\xd9"
COMMENT: Final = 0xFE
_SOS: Final = 0xDA
_START_OF_SCAN: Final = bytes((0xFF, _SOS))
# Baseline, extended and progressive, and the latter two with arithmetic coding. Decoders refuse the hierarchical kinds,
# and no camera writes lossless ones.
_START_OF_FRAME: Final = frozenset({0xC0, 0xC1, 0xC2, 0xC9, 0xCA})
_PROGRESSIVE: Final = frozenset({0xC2, 0xCA})
# Huffman, arithmetic and quantisation tables, restart interval, APP0 to APP15, comments.
_TABLES_AND_NOTES: Final = frozenset({0xC4, 0xCC, 0xDB, 0xDD, COMMENT, *range(0xE0, 0xF0)})
_FILL: Final = re.compile(rb"\xff*")
# What ends the coded bytes of a scan: not stuffing, restarts and fill, nor what decoders skip without its length.
_MARKER: Final = re.compile(rb"\xff([\xc0-\xcf\xd8-\xfe])")


@dataclass(frozen=True, slots=True)
class Header:
    """What stands before the picture.

    Attributes:
        width, height: In pixels, before any EXIF rotation.
        sampling: Of each component, its samples across and down, 1 to 4 each.
        whole: Whether a decoder has to keep the coefficients of the whole picture, because it comes in several passes.
        factors_at: Places of the bytes that hold `sampling`.
        scan: Where the first scan begins.
    """

    width: int
    height: int
    sampling: tuple[tuple[int, int], ...]
    whole: bool
    factors_at: tuple[int, ...]
    scan: int

    @property
    def coefficients(self) -> int:
        """How many coefficients the picture has, with those of the blocks that pad it."""
        most_across = max(across for across, _ in self.sampling)
        most_down = max(down for _, down in self.sampling)
        columns = -(-self.width // (8 * most_across))
        rows = -(-self.height // (8 * most_down))
        return sum(64 * columns * across * rows * down for across, down in self.sampling)


def read_header(data: bytes) -> Header:
    """Walks the segments up to the first scan.

    Raises:
        FrameError: `truncated` or `undecodable`.
    """
    frame: tuple[int, int] | None = None  # marker and place of the frame header
    position, end = len(SOI), len(data)
    for _ in range(MAX_SEGMENTS):
        marker, position = _next_marker(data, position)
        length = int.from_bytes(data[position : position + 2], "big")
        if position + max(length, 2) > end:
            raise FrameError("truncated", f"a segment of {length} bytes is cut at byte {end}")
        if length < 2:
            raise FrameError("undecodable", f"a segment of length {length} at byte {position}")
        if marker == _SOS:
            if frame is None:
                raise FrameError("undecodable", "no frame header before the picture")
            return _header(data, *frame, position)
        if marker in _START_OF_FRAME:
            if frame is not None:
                raise FrameError("undecodable", f"a second frame header at byte {position}")
            frame = marker, position
        position += length
    raise FrameError("undecodable", f"more than {MAX_SEGMENTS} segments before the picture")


def check_picture(data: bytes, scan: int) -> None:
    """Looks at what follows the header, without decoding it.

    Raises:
        FrameError: `truncated`, or `undecodable` if there are too many scans.
    """
    # Decoders paint what is missing grey and say nothing, so a cut file is found here. Bytes of 0xFF inside a scan are
    # stuffed, hence this marker cannot occur in the picture itself. It is sought from the end, where it stands in all
    # others.
    if data.rfind(EOI, scan) < 0:
        raise FrameError("truncated", f"no end-of-image marker in {len(data)} bytes")
    # Never too few. It may be too many where a phone appends a film or a second picture; then the markers are read.
    if 1 + data.count(_START_OF_SCAN, scan) > MAX_SCANS and (scans := _count_scans(data, scan)) > MAX_SCANS:
        raise FrameError("undecodable", f"more than {scans - 1} scans: at most {MAX_SCANS} are allowed")


def _next_marker(data: bytes, position: int) -> tuple[int, int]:
    """The marker at a place, and the place behind it."""
    end = len(data)
    if position < end and data[position] != 0xFF:
        raise FrameError("undecodable", f"no marker at byte {position}")
    if data[position + 1 : position + 2] == b"\xff":
        fill = _FILL.match(data, position)
        assert fill is not None
        position = fill.end() - 1
    if position + 1 >= end:
        raise FrameError("truncated", f"the header is cut at byte {end}")
    marker = data[position + 1]
    if marker == EOI[1]:
        raise FrameError("truncated", f"the image ends at byte {position}, before its picture")
    if marker not in _TABLES_AND_NOTES and marker not in _START_OF_FRAME and marker != _SOS:
        raise FrameError("undecodable", f"ff {marker:02x} at byte {position} is no marker of a camera's JPEG")
    return marker, position + 2


def _header(data: bytes, marker: int, at: int, scan: int) -> Header:
    """Reads the frame header and the first scan's."""
    length = int.from_bytes(data[at : at + 2], "big")
    if length < 8 or length != 8 + 3 * data[at + 7]:
        raise FrameError("undecodable", f"a frame header of {length} bytes")
    precision, components = data[at + 2], data[at + 7]
    if precision != 8:
        raise FrameError("undecodable", f"{precision} bits a sample: 8 are allowed")
    if components not in (1, 3, 4):
        raise FrameError("undecodable", f"{components} components: 1, 3 or 4 are allowed")
    factors_at = tuple(at + 9 + 3 * number for number in range(components))
    sampling = tuple((data[place] >> 4, data[place] & 15) for place in factors_at)
    if not all(1 <= factor <= 4 for pair in sampling for factor in pair):
        raise FrameError("undecodable", f"sampling factors {data[at + 8 : at + length].hex(' ')}: 1 to 4 are allowed")
    scan_length, in_scan = int.from_bytes(data[scan : scan + 2], "big"), data[scan + 2]
    if not 1 <= in_scan <= components or scan_length != 6 + 2 * in_scan:
        raise FrameError("undecodable", f"a scan header of {scan_length} bytes for {in_scan} components")
    return Header(
        width=int.from_bytes(data[at + 5 : at + 7], "big"),
        height=int.from_bytes(data[at + 3 : at + 5], "big"),
        sampling=sampling,
        whole=marker in _PROGRESSIVE or in_scan < components,
        factors_at=factors_at,
        scan=scan + scan_length,
    )


def _count_scans(data: bytes, position: int) -> int:
    """Scans up to the image's end, whatever is appended to it; stops counting where there are too many."""
    scans = 1
    while scans <= MAX_SCANS and (found := _MARKER.search(data, position)) is not None:
        marker, position = found[1], found.end()
        if marker == EOI[1:]:
            break
        scans += marker == _START_OF_SCAN[1:]
        position += int.from_bytes(data[position : position + 2], "big")
    return scans
