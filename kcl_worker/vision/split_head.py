"""The head of YOLOv8 and its kin, whose boxes are computed for candidates only; see `box_head`."""

from __future__ import annotations

import threading

import openvino as ov

from kcl_worker.vision import box_head, nms
from kcl_worker.vision.box_head import BoxHead
from kcl_worker.vision.detections import Detections
from kcl_worker.vision.head import Compile, Floats, Head


class SplitHead(Head):
    """Runs the box branches on the surroundings of what the scores select.

    Raises:
        ValueError: If the network's head is another.
    """

    def __init__(self, model: ov.Model, compile_part: Compile) -> None:
        self.network, branches = box_head.split(model)
        self.classes = self.network.output(0).partial_shape[1].get_length()
        self._branches = [compile_part(branch) for branch in branches]
        self._local = threading.local()

    def find(self, outputs: list[Floats], shape: tuple[int, int], threshold: float, limit: int) -> Detections:
        logits, *maps = outputs
        candidates = box_head.select(logits, threshold, nms.MAX_CANDIDATES)
        if not len(candidates.cell):
            return Detections.empty()
        xyxy = self.boxes.boxes(candidates.cell, maps, shape)
        found = Detections(xyxy, candidates.confidence, candidates.class_id)
        return found[nms.suppress(xyxy, candidates.class_id, limit)]

    @property
    def boxes(self) -> BoxHead:
        """This thread's box branches."""
        known: BoxHead | None = getattr(self._local, "boxes", None)
        if known is None:
            known = self._local.boxes = BoxHead(self._branches)
        return known
