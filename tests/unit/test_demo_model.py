from __future__ import annotations

import numpy as np
import pytest

from kcl_worker.vision.detections import Detections
from kcl_worker.vision.openvino_detector import OpenVinoDetector
from local.processes import ROOT
from models.drawings import held_out
from models.evaluate import mean_average_precision
from producer.street import CLASSES, Label

MODEL = ROOT / "models" / "street.onnx"


@pytest.mark.slow
def test_the_demo_model_finds_what_is_drawn() -> None:
    detector = OpenVinoDetector(MODEL, confidence_threshold=0.001, max_detections=300)
    assert detector.class_names == CLASSES
    pairs = [(detector.detect(image), labels) for image, labels in held_out(80)]
    precision = mean_average_precision(pairs, len(CLASSES))
    print(f"mAP50 {precision[:, 0].mean():.3f}, mAP50-95 {precision.mean():.3f}")
    assert precision[:, 0].mean() >= 0.9


def test_the_demo_model_is_small() -> None:
    assert MODEL.stat().st_size < 4_000_000


def found(*rows: tuple[float, int, tuple[float, float, float, float]]) -> Detections:
    return Detections(
        np.array([box for _, _, box in rows], np.float32).reshape(-1, 4),
        np.array([confidence for confidence, _, _ in rows], np.float32),
        np.array([class_id for _, class_id, _ in rows], np.int32),
    )


def test_the_measure_itself() -> None:
    box, other = (0.0, 0.0, 10.0, 10.0), (50.0, 50.0, 60.0, 60.0)
    truth = [Label(0, box), Label(0, other)]
    perfect = found((0.9, 0, box), (0.8, 0, other))
    assert mean_average_precision([(perfect, truth)], 1).mean() == 1
    half = found((0.9, 0, box))
    assert abs(mean_average_precision([(half, truth)], 1).mean() - 0.5) < 0.01
    twice = found((0.9, 0, box), (0.8, 0, box), (0.7, 0, other))  # a second hit is a miss
    assert 0.8 < mean_average_precision([(twice, truth)], 1).mean() < 0.85
    shifted = found((0.9, 0, (0.0, 0.0, 10.0, 7.0)), (0.8, 0, other))  # IoU 0.7
    by_threshold = mean_average_precision([(shifted, truth)], 1)[0]
    assert by_threshold[0] == 1
    assert by_threshold[-1] < 0.6
    assert mean_average_precision([(found(), truth)], 1).mean() == 0
    wrong_class = found((0.9, 1, box), (0.8, 1, other))
    assert mean_average_precision([(wrong_class, truth)], 2).mean() == 0
