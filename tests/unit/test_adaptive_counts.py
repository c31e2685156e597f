"""Events and crossings of a source that is detected in every second frame, compared with detection in every frame."""

from __future__ import annotations

import hashlib
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from benchmarks.adaptive import FPS, Run, f1, film, images_of, way
from contract.source_settings import SourceSettings
from kcl_worker.settings import Settings
from kcl_worker.vision.compute import Compute
from kcl_worker.vision.detections import Detections, Image
from kcl_worker.vision.detector import Detector
from kcl_worker.vision.openvino_detector import OpenVinoDetector
from local.processes import ROOT
from producer.street import Street


class Remembering(Detector):
    """A detector that looks once at each picture, however often it is asked."""

    def __init__(self, model: Path) -> None:
        self._detector = OpenVinoDetector(model)
        self.name, self.class_names = self._detector.name, self._detector.class_names
        self.parallelism, self.max_detections = self._detector.parallelism, self._detector.max_detections
        self._found: dict[tuple[bytes, float | None], Detections] = {}

    def detect(
        self, image: Image, confidence_threshold: float | None = None, max_detections: int | None = None
    ) -> Detections:
        key = hashlib.sha256(image.tobytes()).digest(), confidence_threshold
        if key not in self._found:
            self._found[key] = self._detector.detect(image, confidence_threshold, max_detections)
        return self._found[key]


def wanted(lines: list[float], detect: dict[str, int]) -> SourceSettings:
    """Upright lines there, and rules of each kind that says something of a film."""
    left, right, near = (
        [[0, 0], [0.4, 0], [0.4, 1], [0, 1]],
        [[0.6, 0], [1, 0], [1, 1], [0.6, 1]],
        [[0, 0.6], [1, 0.6], [1, 1], [0, 1]],
    )
    return SourceSettings.model_validate(
        {
            "store": "none",
            "detect": detect,
            "lines": [{"name": f"at_{x}", "start": [x, 0], "end": [x, 1]} for x in lines],
            "zones": [
                {"name": "left", "polygon": left},
                {"name": "right", "polygon": right},
                {"name": "near", "polygon": near},
            ],
            "events": [
                {"name": "anybody", "kind": "appear"},
                {"name": "comes_near", "kind": "appear", "zone": "near"},
                {"name": "on_the_right", "kind": "appear", "zone": "right"},
                {"name": "has_left", "kind": "leave", "zone": "near"},
                {"name": "stays_near", "kind": "dwell", "zone": "near", "seconds": 5},
                {"name": "many", "kind": "count", "zone": "right", "more_than": 2, "gap_seconds": 5},
                *({"name": f"crosses_{x}", "kind": "cross", "line": f"at_{x}"} for x in lines),
            ],
        }
    )


def compared(model: Path, jpegs: list[bytes], lines: list[float]) -> tuple[Run, Run]:
    """A film's way with detection in every frame, and in every second one."""
    settings: Any = Settings(
        kinesis_stream_name="film", s3_bucket_name="film", sqs_queue_url="http://film", yolo_model_path=model
    )
    compute = Compute(Remembering(model), settings.jpeg_quality, settings.confidence_threshold)
    every, half = (way(compute, settings, {"film": jpegs}, wanted(lines, detect)) for detect in ({}, {"every": 2}))
    assert (every.tracked, half.tracked) == (0, len(jpegs) // 2)
    return every, half


@pytest.mark.thorough
def test_a_drawn_street_has_the_same_events_and_crossings() -> None:
    jpegs = film("film", islice(Street(7).frames(FPS), 300))
    every, half = compared(ROOT / "models" / "street.onnx", jpegs, [0.5, 0.7])
    assert sum(map(sum, every.crossings.values())) >= 15
    assert (half.crossings, half.starts) == (every.crossings, every.starts)
    assert f1(half.boxes, every.boxes) >= 0.95


@pytest.mark.thorough
def test_a_street_camera_has_the_same_events_and_crossings(reference: Path) -> None:
    jpegs = film("film", images_of(reference / "vtest.avi"))
    every, half = compared(reference / "yolov8n.onnx", jpegs, [0.2, 0.8])
    assert sum(map(sum, every.crossings.values())) >= 40
    assert (half.crossings, half.starts) == (every.crossings, every.starts)
    assert f1(half.boxes, every.boxes) >= 0.97
