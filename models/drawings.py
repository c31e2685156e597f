"""Labelled street drawings for training and for measuring the demo model.

Training and held-out drawings come from disjoint ranges of seeds, so that no house, light or passer-by
of a held-out drawing is in the training data.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from producer.picture import Image
from producer.street import Label, Street

HELD_OUT_SEED = 1_000_000


def drawing(seed: int, width: int = 640, height: int = 360) -> tuple[Image, list[Label]]:
    """One labelled picture as a camera would send it, with JPEG artefacts."""
    random = np.random.default_rng(seed)
    street = Street(seed, width, height)
    image, labels = street.labelled_frame(float(random.uniform(0, street.loop)))
    if random.random() < 0.2:
        image = np.asarray(cv2.GaussianBlur(image, (3, 3), 0), np.uint8)
    quality = int(random.integers(35, 96))
    _, jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR), np.uint8), labels


def held_out(count: int) -> Iterator[tuple[Image, list[Label]]]:
    """The drawings on which the figures are measured."""
    return (drawing(HELD_OUT_SEED + number) for number in range(count))


def write_dataset(folder: Path, seeds: range) -> None:
    """Writes drawings in the layout that ultralytics reads: `images/*.jpg` and `labels/*.txt`."""
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        image, labels = drawing(seed)
        height, width = image.shape[:2]
        cv2.imwrite(str(folder / "images" / f"{seed}.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 95])
        rows = []
        for label in labels:
            x1, y1, x2, y2 = label.xyxy
            centre = (x1 + x2) / 2 / width, (y1 + y2) / 2 / height
            size = (x2 - x1) / width, (y2 - y1) / height
            rows.append(f"{label.class_id} " + " ".join(f"{v:.6f}" for v in (*centre, *size)))
        (folder / "labels" / f"{seed}.txt").write_text("\n".join(rows) + "\n")
