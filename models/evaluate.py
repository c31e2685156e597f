"""Mean average precision of a detector on labelled images, by COCO's definition."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from kcl_worker.vision.detections import Detections
from producer.street import Label

IOU_THRESHOLDS = np.arange(0.5, 1.0, 0.05)


def mean_average_precision(pairs: Iterable[tuple[Detections, list[Label]]], classes: int) -> NDArray[np.float64]:
    """Compares detections with the truth.

    Args:
        pairs: For each image, the detections down to a confidence near 0, and the truth.
        classes: The number of classes.

    Returns:
        The average precision of each class at each threshold of IoU, 0.50 to 0.95: [classes, 10].
        `[:, 0].mean()` is mAP50, `.mean()` is mAP50-95.
    """
    hits: list[list[tuple[float, NDArray[np.bool_]]]] = [[] for _ in range(classes)]
    truths = np.zeros(classes, int)
    for found, labels in pairs:
        for class_id in range(classes):
            mine = found.class_id == class_id
            boxes = np.array([label.xyxy for label in labels if label.class_id == class_id], float).reshape(-1, 4)
            truths[class_id] += len(boxes)
            matched = _match(found.xyxy[mine].astype(float), boxes)
            hits[class_id] += zip(found.confidence[mine].tolist(), matched, strict=True)
    return np.array([_average_precision(rows, total) for rows, total in zip(hits, truths, strict=True)])


def _match(boxes: NDArray[np.float64], truth: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which detections, most confident first, match a truth that is still free: [N, thresholds]."""
    hit = np.zeros((len(boxes), len(IOU_THRESHOLDS)), bool)
    if not len(truth):
        return hit
    overlap = iou(boxes, truth)
    for column, threshold in enumerate(IOU_THRESHOLDS):
        free = np.ones(len(truth), bool)
        for row in range(len(boxes)):
            candidates = np.where(free, overlap[row], 0)
            best = int(candidates.argmax())
            if candidates[best] >= threshold:
                free[best], hit[row, column] = False, True
    return hit


def iou(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intersection over union of each pair of boxes x1 y1 x2 y2, [N, 4] and [M, 4]: [N, M]."""
    corner = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])
    shared = np.maximum(corner, 0).prod(axis=2)
    area_a, area_b = (np.prod(x[:, 2:] - x[:, :2], axis=1) for x in (a, b))
    return np.asarray(shared / (area_a[:, None] + area_b[None] - shared), np.float64)


def _average_precision(rows: list[tuple[float, NDArray[np.bool_]]], truths: int) -> NDArray[np.float64]:
    """The area under the precision-recall curve at COCO's 101 points, for each threshold."""
    if not rows or not truths:
        return np.zeros(len(IOU_THRESHOLDS))
    ordered = np.array([hit for _, hit in sorted(rows, key=lambda row: -row[0])])
    true = ordered.cumsum(axis=0)
    recall, precision = true / truths, true / np.arange(1, len(rows) + 1)[:, None]
    envelope = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    points = np.linspace(0, 1, 101)
    areas = []
    for column in range(len(IOU_THRESHOLDS)):
        place = np.searchsorted(recall[:, column], points)
        reached = np.append(envelope[:, column], 0.0)[place]
        areas.append(reached.mean())
    return np.array(areas)
