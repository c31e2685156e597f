"""How much memory a frame takes while it is decoded, drawn on and encoded."""

from __future__ import annotations

from typing import Final

from contract import Frame

# Rows at work, tables, and what an allocator keeps.
_OVERHEAD: Final = 2**20
_BYTES_A_COEFFICIENT: Final = 2  # libjpeg's JCOEF
_BGR: Final = 3


def footprint(frame: Frame) -> int:
    """Bytes at the peak, as the header lets one expect: an upper bound by a tenth, measured for each kind of JPEG.

    Decoders keep the coefficients of a picture that comes in several passes until the last of them. Afterwards it lies
    there twice for a moment, when it is turned by its EXIF orientation, brought from CMYK to BGR, or encoded.
    """
    header = frame.header
    pixels = header.width * header.height
    decoded = pixels * max(_BGR, len(header.sampling))
    coefficients = header.coefficients * _BYTES_A_COEFFICIENT if header.whole else 0
    return decoded + max(coefficients, _BGR * pixels) + len(frame.jpeg) + _OVERHEAD
