"""Where detected objects stand in their picture."""

from __future__ import annotations

from contract.geometry import Place
from kcl_worker.vision.detections import Detections


def feet(detections: Detections, width: int, height: int) -> list[Place]:
    """Where each object stands: the middle of its box's lower edge."""
    return [((x1 + x2) / 2 / width, y2 / height) for x1, _, x2, y2 in detections.xyxy.tolist()]
