"""JPEGs of all kinds, good and bad."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

from contract import Metadata, embed
from producer.street import Street

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@cache
def street_jpeg(width: int = 320, height: int = 180, seed: int = 3, quality: int = 85) -> bytes:
    """A drawn street as a baseline JPEG."""
    return encode(rgb(width, height, seed), quality=quality)


def rgb(width: int = 320, height: int = 180, seed: int = 3) -> Image.Image:
    """A drawn street."""
    return Image.fromarray(np.ascontiguousarray(Street(seed, width, height).frame(2.0)[..., ::-1]))


def encode(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    """An image file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def grey() -> bytes:
    return encode(rgb().convert("L"))


def cmyk() -> bytes:
    return encode(rgb().convert("CMYK"))


def progressive() -> bytes:
    return encode(rgb(), progressive=True)


def heavy(width: int, height: int) -> bytes:
    """Few bytes that take 12 for each pixel while they are decoded: progressive CMYK."""
    return resized_header(encode(rgb(64, 64).convert("CMYK"), progressive=True), width, height)


def rotated() -> bytes:
    """320x180 in the file, 180x320 when shown."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return encode(rgb(), exif=exif)


def png() -> bytes:
    return encode(rgb(), "PNG")


def segment(marker: int, body: bytes) -> bytes:
    """A marker with its length."""
    return bytes((0xFF, marker)) + (len(body) + 2).to_bytes(2, "big") + body


def two_sizes(seen: tuple[int, int], decoded: tuple[int, int], hidden_by: bytes = b"\xff\x00") -> bytes:
    """A JPEG that has one size for whoever takes two bytes for the begin of a segment, another for who skips them."""

    def frame_header(width: int, height: int) -> bytes:
        size = height.to_bytes(2, "big") + width.to_bytes(2, "big")
        return segment(0xC0, b"\x08" + size + bytes.fromhex("03 01 22 00 02 11 01 03 11 01"))

    jpeg = street_jpeg(64, 64)
    start = jpeg.index(b"\xff\xc0")
    rest = jpeg[start + len(frame_header(1, 1)) :]
    # The first segment covers the larger frame header, and the head of the one that hides the smaller.
    small, large = frame_header(*seen), frame_header(*decoded)
    over = b"\xff\xe4" + (2 + len(small)).to_bytes(2, "big")
    cover = hidden_by + (2 + len(large) + len(over)).to_bytes(2, "big")
    return jpeg[:start] + cover + large + over + small + rest


def resized_header(jpeg: bytes, width: int, height: int) -> bytes:
    """Another size in the header than in the picture."""
    start = jpeg.index(b"\xff\xc2" if b"\xff\xc2" in jpeg else b"\xff\xc0")
    return jpeg[: start + 5] + height.to_bytes(2, "big") + width.to_bytes(2, "big") + jpeg[start + 9 :]


def with_comment(jpeg: bytes, text: bytes) -> bytes:
    """A JPEG with a comment straight after SOI, whatever it holds."""
    return jpeg[:2] + b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text + jpeg[2:]


def with_metadata(source: str, session: str, index: int, captured_at: datetime | None = None) -> bytes:
    """A camera's frame: a JPEG with metadata."""
    return embed(street_jpeg(), Metadata(source, session, index, captured_at or datetime.now(UTC)))


def padded(size: int) -> bytes:
    """A small picture in a file of this size."""
    data = street_jpeg()
    return data[:-2] + b"\x00" * (size - len(data)) + data[-2:]


def big(size: int = 1024 * 1024 - 200) -> bytes:
    """A JPEG of noise, nearly as large as a record may be."""
    noise = np.random.default_rng(0).integers(0, 256, (1000, 1000, 3), np.uint8)
    data = encode(Image.fromarray(noise), quality=80)
    assert len(data) < size
    return data[:-2] + b"\x00" * (size - len(data)) + data[-2:]
