"""Heads whose network runs as it was exported, the boxes of all cells included."""

from __future__ import annotations

from typing import Final

import numpy as np
import openvino as ov

from kcl_worker.vision import nms
from kcl_worker.vision.detections import Detections
from kcl_worker.vision.head import Floats, Head

# Of a cell: the box's centre, width and height. Scores follow.
BOX: Final = 4
# Of a detection that needs no suppression: left, top, right, bottom, confidence, class.
FOUND: Final = 6


class WholeHead(Head):
    """Reads [N, 4 + classes, cells]: boxes as centre, width and height, then scores."""

    def __init__(self, model: ov.Model, classes: int, reason: str) -> None:
        self.network, self.classes = model, classes
        self.notice = (
            "its boxes are computed for all cells, which would cost YOLOv8n a sixth of its speed; "
            f"its head is not YOLOv8's: {reason}"
        )

    def find(self, outputs: list[Floats], shape: tuple[int, int], threshold: float, limit: int) -> Detections:
        scores = outputs[0][BOX:]
        best = scores.max(axis=0)
        cells = np.flatnonzero(best > threshold)
        cells = cells[np.argsort(-best[cells], kind="stable")[: nms.MAX_CANDIDATES]]
        class_id = scores[:, cells].argmax(axis=0).astype(np.int32)
        centre, size = outputs[0][:2, cells].T, outputs[0][2:BOX, cells].T
        xyxy = np.asarray(np.concatenate((centre - size / 2, centre + size / 2), axis=1), np.float32)
        found = Detections(xyxy, best[cells], class_id)
        return found[nms.suppress(xyxy, class_id, limit)]


class EndToEndHead(Head):
    """Reads [N, detections, 6]: what is left of them when the network has done its own selection.

    The number of detections is a constant of the export. A network that selects them from fewer cells fails.
    """

    def __init__(self, model: ov.Model, classes: int, least_area: int) -> None:
        self.network, self.classes, self.least_area = model, classes, least_area
        self.notice = "it suppresses or selects by itself: what it leaves out no threshold brings back"

    def find(self, outputs: list[Floats], shape: tuple[int, int], threshold: float, limit: int) -> Detections:
        rows = outputs[0][outputs[0][:, 4] > threshold]
        rows = rows[np.argsort(-rows[:, 4], kind="stable")[:limit]]
        return Detections(rows[:, :4].copy(), rows[:, 4].copy(), rows[:, 5].astype(np.int32))
