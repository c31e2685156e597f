"""Hides parts of a picture before anybody sees it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np

from contract.source_settings import Privacy
from kcl_worker.vision.detections import Detections, Image

# So many squares along a box's longer side are left: no face, no plate, no text survives that.
SQUARES: Final = 6
_GREY: Final = (96, 96, 96)


def hide(image: Image, found: Detections, class_names: Sequence[str], privacy: Privacy) -> None:
    """Makes the objects of some classes unrecognisable, in place."""
    height, width = image.shape[:2]
    for box, class_id in zip(found.xyxy, found.class_id, strict=True):
        name = class_names[int(class_id)]
        if name not in privacy.blur and name not in privacy.fill:
            continue
        left, top = (max(0, int(np.floor(value))) for value in box[:2])
        right, bottom = (min(limit, int(np.ceil(value))) for value, limit in zip(box[2:], (width, height), strict=True))
        part = image[top:bottom, left:right]
        if not part.size:
            continue
        part[:] = _GREY if name in privacy.fill else _mosaic(part)


def _mosaic(part: Image) -> Image:
    """The picture in a few squares, each of its mean colour."""
    height, width = part.shape[:2]
    square = max(1, -(-max(height, width) // SQUARES))
    few = cv2.resize(part, (-(-width // square), -(-height // square)), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(few, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8)
