"""Decoding, hiding, drawing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from consumer.errors import RefusedError
from contract.errors import FrameError
from contract.frame import Frame
from contract.message import Summary

Image = NDArray[np.uint8]

QUALITY: Final = 90
_FONT: Final = cv2.FONT_HERSHEY_SIMPLEX


def decode(jpeg: bytes) -> Image:
    """Decodes a frame to BGR, upright.

    Raises:
        RefusedError: If it is no picture, or one of too many pixels.
    """
    try:
        Frame.parse(jpeg)
        image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    except (FrameError, cv2.error) as error:
        raise RefusedError(f"a frame that is none: {error}".splitlines()[0]) from None
    if image is None:
        raise RefusedError("a frame that cannot be decoded")
    return np.asarray(image, np.uint8)


def encode(image: Image) -> bytes:
    """Encodes BGR as a JPEG."""
    _, jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return jpeg.tobytes()


def draw_boxes(image: Image, found: Sequence[Summary]) -> None:
    """Draws boxes with class and confidence, in place."""
    height, width = image.shape[:2]
    line, scale = max(1, round(max(height, width) / 500)), max(0.35, max(height, width) / 1800)
    for item in found:
        x, y, across, down = item.bbox
        left, top = round(x * width), round(y * height)
        colour = _colour(item.class_name)
        cv2.rectangle(image, (left, top), (round((x + across) * width), round((y + down) * height)), colour, line)
        # OpenCV's letters are ASCII.
        text = f"{item.class_name.encode('ascii', 'replace').decode()} {item.conf:.2f}"
        cv2.putText(image, text, (left, max(12, top - 4)), _FONT, scale, colour, line, cv2.LINE_AA)


def _colour(name: str) -> tuple[int, int, int]:
    """A class's colour, BGR."""
    hue = sum(name.encode(errors="replace")) * 37 % 180
    blue, green, red = cv2.cvtColor(np.array([[[hue, 190, 240]]], np.uint8), cv2.COLOR_HSV2BGR)[0, 0]
    return int(blue), int(green), int(red)
