"""Areas of a picture that nobody sees."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from contract.shapes import Polygon


def black_out(image: NDArray[np.uint8], masks: Sequence[Polygon], edge: int) -> None:
    """Fills masks with black, in place.

    Args:
        edge: Width, in pixels, of what is black along their edges: a JPEG keeps colour for two pixels at a time.
    """
    height, width = image.shape[:2]
    for mask in masks:
        corners = np.rint(np.array(mask, np.float64) * (width, height)).astype(np.int32)
        cv2.fillPoly(image, [corners], (0, 0, 0))
        cv2.polylines(image, [corners], isClosed=True, color=(0, 0, 0), thickness=edge)
