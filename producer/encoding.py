"""Making records of pictures: JPEG, metadata, and below the stream's record limit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from contract import Metadata, embed
from contract.frame import SOI, Frame, FrameError
from producer.picture import Image, Picture

# Tried in turn when a frame is over the record limit: first the quality falls, then the size.
QUALITIES: Final = (75, 60, 45, 30)
SCALES: Final = (0.75, 0.5, 0.35, 0.25)


@dataclass(frozen=True, slots=True)
class Encoder:
    """Makes JPEGs of pictures.

    Attributes:
        quality: 1 to 100; None leaves JPEG files as they are and encodes others at 80.
        width: Wider pictures are scaled down to it; None leaves their size.
        max_bytes: Of a record: data and partition key.
    """

    quality: int | None = None
    width: int | None = None
    max_bytes: int = 1024 * 1024

    def encode(self, picture: Picture, metadata: Metadata) -> bytes | None:
        """Makes a record's data; None if the picture does not fit at any quality and size.

        Raises:
            SourceError: If the picture cannot be decoded but has to be.
        """
        limit = self.max_bytes - len(metadata.source)
        if picture.jpeg is not None and self.quality is None and self.width is None:
            whole = _embed_if_frame(picture.jpeg, metadata)
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
        if self.width is None or width <= self.width:
            return image
        size = self.width, max(1, round(height * self.width / width))
        return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def _jpeg(image: Image, quality: int) -> bytes:
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return data.tobytes()


def _embed_if_frame(jpeg: bytes, metadata: Metadata) -> bytes | None:
    """A file that the worker would refuse is sent through the encoder instead."""
    try:
        if not jpeg.startswith(SOI):
            return None
        data = embed(jpeg, metadata)
        Frame.parse(data)
    except FrameError:
        return None
    return data
