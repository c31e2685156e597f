"""Decoding, drawing and encoding: what a frame costs beside the network."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from contract import Frame, FrameError
from kcl_worker.vision.detections import Detections, Image

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_EXIF = b"Exif\0\0"
# Width and height: a distant person still covers one of these pixels.
_GLANCE = (48, 27)
# The part of a side that a corner takes.
_CORNER = 4

# Frames are what runs in parallel here; OpenCV's own threads would only compete for the same cores.
cv2.setNumThreads(1)


def decode(frame: Frame) -> Image:
    """Decodes a frame to BGR, upright by its EXIF orientation; grey and CMYK come out as BGR too.

    Raises:
        FrameError: `undecodable`, before any pixel has its memory if it is the size that is wrong.
        MemoryError: If there is too little of it; that is no fault of the frame's.
    """
    _check_size(frame)
    # OpenCV knows every kind of JPEG, libjpeg-turbo by itself decodes the usual kind three times as fast
    # to the very same pixels.
    if _EXIF not in frame.jpeg:
        try:
            return np.asarray(simplejpeg.decode_jpeg(frame.jpeg, "BGR", strict=False), np.uint8)
        except ValueError:
            pass
    try:
        image = cv2.imdecode(np.frombuffer(frame.jpeg, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:
            raise MemoryError(error.err) from None
        raise FrameError("undecodable", f"{_size(frame)}: {error.err}") from None
    if image is None:
        raise FrameError("undecodable", f"{_size(frame)}: the decoder gives up")
    return np.asarray(image, np.uint8)


def glance(frame: Frame) -> NDArray[np.uint8]:
    """A frame, grey and tiny: [height, width]. Of a usual JPEG, the decoder makes an eighth of the size at once.

    Raises:
        FrameError: `undecodable`, as of `decode`.
        MemoryError: As `decode`.
    """
    _check_size(frame)
    if _EXIF not in frame.jpeg:
        try:
            eighth = simplejpeg.decode_jpeg(frame.jpeg, "GRAY", strict=False, min_height=1, min_width=1)
        except ValueError:
            pass
        else:
            return np.asarray(cv2.resize(eighth, _GLANCE, interpolation=cv2.INTER_AREA), np.uint8)
    small = cv2.resize(decode(frame), _GLANCE, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), np.uint8)


def _check_size(frame: Frame) -> None:
    """Compares the size that we read with the one that the decoder will make room for; it decodes nothing.

    OpenCV decodes with the same library.
    """
    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(frame.jpeg, strict=False)
    except (ValueError, KeyError):
        # It refuses to name some samplings that OpenCV decodes. The size does not hang on them.
        height, width = _size_whatever_the_sampling(frame)
    if (width, height) != (frame.width, frame.height):
        raise FrameError("undecodable", f"{_size(frame)} in the header, {width}x{height} for the decoder")


def _size_whatever_the_sampling(frame: Frame) -> tuple[int, int]:
    head = bytearray(frame.jpeg[: frame.header.scan])
    for place in frame.header.factors_at:
        head[place] = 0x11
    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(bytes(head), strict=False)
    except (ValueError, KeyError) as error:
        raise FrameError("undecodable", f"{_size(frame)}: {error}") from None
    return height, width


def _size(frame: Frame) -> str:
    return f"{frame.width}x{frame.height} pixels"


def encode(image: Image, quality: int) -> bytes:
    """Encodes BGR as a JPEG; the same picture always gives the same bytes."""
    _, jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return jpeg.tobytes()


def annotate(image: Image, detections: Detections, class_names: Sequence[str], *, corners: bool = False) -> None:
    """Draws boxes with class and confidence into the image, in place.

    Args:
        corners: Draws no more than the corners of boxes.
    """
    height, width = image.shape[:2]
    line = max(1, round(max(height, width) / 500))
    scale = max(0.35, max(height, width) / 1800)
    for xyxy, confidence, class_id in zip(detections.xyxy, detections.confidence, detections.class_id, strict=True):
        x1, y1, x2, y2 = (round(float(value)) for value in xyxy)
        colour = class_colour(int(class_id))
        if corners:
            _bracket(image, (x1, y1, x2, y2), colour, line)
        else:
            cv2.rectangle(image, (x1, y1), (x2, y2), colour, line)
        text = f"{class_names[int(class_id)]} {confidence:.2f}"
        (text_width, text_height), baseline = cv2.getTextSize(text, _FONT, scale, 1)
        # Above the box, or inside it where the picture ends.
        bottom = y1 if y1 >= text_height + baseline else y1 + text_height + baseline
        left = max(0, min(x1, width - text_width))
        top_left = (left, bottom - text_height - baseline)
        cv2.rectangle(image, top_left, (left + text_width, bottom), colour, cv2.FILLED)
        ink = (0, 0, 0) if sum(colour) > 380 else (255, 255, 255)
        cv2.putText(image, text, (left, bottom - baseline), _FONT, scale, ink, 1, cv2.LINE_AA)


def _bracket(image: Image, box: tuple[int, int, int, int], colour: tuple[int, int, int], line: int) -> None:
    """Draws the corners of a box."""
    x1, y1, x2, y2 = box
    right, down = (x2 - x1) // _CORNER, (y2 - y1) // _CORNER
    for x, along in ((x1, right), (x2, -right)):
        for y, across in ((y1, down), (y2, -down)):
            corner = np.array([(x + along, y), (x, y), (x, y + across)], np.int32)
            cv2.polylines(image, [corner], isClosed=False, color=colour, thickness=line)


def class_colour(class_id: int) -> tuple[int, int, int]:
    """A class's colour, BGR: hues a golden section apart, so that neighbours differ."""
    hue = round(180 * ((class_id * 0.618034 + 0.33) % 1))
    blue, green, red = cv2.cvtColor(np.array([[[hue, 190, 240]]], np.uint8), cv2.COLOR_HSV2BGR)[0, 0]
    return int(blue), int(green), int(red)
