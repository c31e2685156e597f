"""From the network's raw output to detections: threshold, best class, non-maximum suppression."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Of overlapping boxes; ultralytics' default, by which the weights are evaluated.
IOU_THRESHOLD = 0.7
# Candidates that enter the suppression, most confident first; bounds its cost on a hostile frame.
MAX_CANDIDATES = 3000


def select(
    output: NDArray[np.float32], confidence_threshold: float, max_detections: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int32]]:
    """Chooses the detections of one image.

    Args:
        output: [4 + classes, anchors]: centre x, centre y, width, height, then a score a class.
        confidence_threshold: Scores must be above it.
        max_detections: The most confident ones that are kept.

    Returns:
        Boxes x1 y1 x2 y2 [N, 4], confidences [N] and class ids [N], most confident first.
    """
    best = output[4:].max(axis=0)
    candidates = np.flatnonzero(best > confidence_threshold)
    order = np.argsort(-best[candidates], kind="stable")[:MAX_CANDIDATES]
    candidates = candidates[order]
    scores = best[candidates]
    class_ids = output[4:, candidates].argmax(axis=0).astype(np.int32)
    centre, size = output[:2, candidates].T, output[2:4, candidates].T
    boxes = np.concatenate((centre - size / 2, centre + size / 2), axis=1).astype(np.float32)
    kept = suppress(boxes, class_ids, max_detections)
    return boxes[kept], scores[kept], class_ids[kept]


def suppress(boxes: NDArray[np.float32], class_ids: NDArray[np.int32], limit: int) -> NDArray[np.intp]:
    """Class-aware greedy suppression of boxes [N, 4] that come most confident first.

    Returns:
        The indices of at most `limit` boxes that no better one of their class covers.
    """
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    alive = np.ones(len(boxes), bool)
    kept: list[int] = []
    for index in range(len(boxes)):
        if not alive[index]:
            continue
        kept.append(index)
        if len(kept) == limit:
            break
        rest = boxes[index + 1 :]
        overlap = np.minimum(boxes[index, 2:], rest[:, 2:]) - np.maximum(boxes[index, :2], rest[:, :2])
        shared = np.prod(np.maximum(overlap, 0), axis=1)
        union = areas[index] + areas[index + 1 :] - shared
        covered = (shared > IOU_THRESHOLD * union) & (class_ids[index + 1 :] == class_ids[index])
        alive[index + 1 :] &= ~covered
    return np.asarray(kept, np.intp)
