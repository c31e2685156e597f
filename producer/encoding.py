"""Makes records of pictures: JPEGs with metadata, below the stream's record limit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from contract import Metadata, embed
from contract.errors import FrameError
from contract.frame import DEFAULT_MAX_PIXELS, Frame
from contract.jpeg import SOI
from producer.picture import Image, Picture

# The encoder tries these in turn when a frame is over the record limit: it lowers the quality first, then the size.
QUALITIES: Final = (75, 60, 45, 30)
SCALES: Final = (0.75, 0.5, 0.35, 0.25)
# The most that libjpeg writes, in pixels.
MAX_SIDE: Final = 65_500


@dataclass(frozen=True, slots=True)
class Encoder:
    """Makes JPEGs of pictures.

    Attributes:
        quality: 1 to 100; None leaves JPEG files as they are and encodes other pictures at 80.
        width: Wider pictures are scaled down to this width; None keeps their size.
        max_bytes: The size limit of a record: data and partition key.
        max_pixels: Larger pictures are scaled down, for the worker would refuse them.
    """

    quality: int | None = None
    width: int | None = None
    max_bytes: int = 1024 * 1024
    max_pixels: int = DEFAULT_MAX_PIXELS

    def encode(self, picture: Picture, metadata: Metadata) -> bytes | None:
        """Makes a record's data; None if the picture does not fit at any quality and size.

        Raises:
            PictureError: If the picture has to be decoded and cannot be.
        """
        limit = self.max_bytes - len(metadata.source)
        if picture.jpeg is not None and self.quality is None and self.width is None:
            whole = _embed_if_frame(picture.jpeg, metadata, self.max_pixels)
            if whole is not None and len(whole) <= limit:
                return whole
        image = self._resized(picture.pixels())
        first = self.quality or 80
        for quality in (first, *(lower for lower in QUALITIES if lower < first)):
            data = embed(_jpeg(image, quality), metadata)
            if len(data) <= limit:
                return data
        for scale in SCALES:
            smaller = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            data = embed(_jpeg(np.asarray(smaller, np.uint8), QUALITIES[-1]), metadata)
            if len(data) <= limit:
                return data
        return None

    def _resized(self, image: Image) -> Image:
        height, width = image.shape[:2]
        scale = min(1.0, math.sqrt(self.max_pixels / (width * height)), MAX_SIDE / max(width, height))
        columns = max(1, min(int(width * scale), self.width or width))
        if scale == 1.0 and columns == width:
            return image
        rows = min(max(1, round(height * columns / width)), self.max_pixels // columns, MAX_SIDE)
        size = columns, rows
        return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def _jpeg(image: Image, quality: int) -> bytes:
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return data.tobytes()


def _embed_if_frame(jpeg: bytes, metadata: Metadata, max_pixels: int) -> bytes | None:
    """Embeds metadata into a JPEG file; None for a file that the worker would refuse, which is then encoded again."""
    try:
        if not jpeg.startswith(SOI):
            return None
        data = embed(jpeg, metadata)
        Frame.parse(data, max_pixels=max_pixels)
    except FrameError:
        return None
    return data
