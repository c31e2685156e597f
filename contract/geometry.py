"""Zones and lines: where an object stands in a picture and what it crosses. Places are fractions of the picture.

The worker counts by it, and whoever draws a zone or a line tries it by the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

Place = tuple[float, float]


def inside(place: Place, polygon: Sequence[Place]) -> bool:
    """Whether a place is in a polygon or on its edge."""
    return cv2.pointPolygonTest(np.array(polygon, np.float32), place, measureDist=False) >= 0


def crossing(before: Place, after: Place, start: Place, end: Place) -> int:
    """How a step crosses a line: 1 from left to right, -1 from right to left, 0 not at all.

    Left and right are seen from the line's start to its end. A step that ends on the line has
    not crossed it yet.
    """
    was_right, is_right = _side(start, end, before) > 0, _side(start, end, after) > 0
    if was_right == is_right:
        return 0
    # The step crosses only if it touches an end of the line, or the ends lie on different sides of it.
    ends = _side(before, after, start), _side(before, after, end)
    if min(ends) > 0 or max(ends) < 0:
        return 0
    return 1 if is_right else -1


def distance(place: Place, start: Place, end: Place, width: int, height: int) -> float:
    """How far a place is from the straight line through two others, in pixels; positive to the right of start → end."""
    length = math.hypot((end[0] - start[0]) * width, (end[1] - start[1]) * height)
    return _side(start, end, place) * width * height / length if length else 0.0


def _side(start: Place, end: Place, place: Place) -> float:
    """Positive to the right of start → end, because y grows downwards."""
    return (end[0] - start[0]) * (place[1] - start[1]) - (end[1] - start[1]) * (place[0] - start[0])
