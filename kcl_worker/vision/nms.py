"""Non-maximum suppression."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# The IoU above which boxes overlap: ultralytics' default, with which the weights are evaluated.
IOU_THRESHOLD = 0.7
# The number of candidates that enter the suppression, most confident first; it bounds the cost of a hostile frame.
MAX_CANDIDATES = 3000


def suppress(boxes: NDArray[np.float32], class_ids: NDArray[np.int32], limit: int) -> NDArray[np.intp]:
    """Class-aware greedy suppression of boxes [N, 4] that come most confident first.

    Returns:
        The indices of at most `limit` boxes that no more confident box of their class overlaps.
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
